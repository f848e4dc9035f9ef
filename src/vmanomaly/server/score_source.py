"""Where the scores are that a request asks for."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request

from vmanomaly.config import Config
from vmanomaly.config.reader import VmReaderSection
from vmanomaly.config.writer import DuckdbWriterSection, HttpWriterSection
from vmanomaly.scores import QueriedScores, ScoreSource, StoredScores
from vmanomaly.server.datasource import DatasourceFields, datasource_of, section_like
from vmanomaly.server.terms import keep_terms, terms_of_writer
from vmanomaly.server.values import WrongValueError


def score_source(fields: DatasourceFields, request: Request, config: Config) -> ScoreSource:
    """Return where the scores are: in the named datasource, else where the writer puts them.

    Parameters
    ----------
    fields
        What the request says about its datasource.
    request
        The request.
    config
        The configuration that runs.

    Raises
    ------
    HTTPException
        403 for a datasource that is not allowed.
    WrongValueError
        It is none that can be asked for scores, or there is none.
    """
    writer = config.writer
    metric_format = writer.metric_format
    is_named = bool(fields.datasource_url) or config.ui_datasource is not None
    if not is_named and isinstance(writer, DuckdbWriterSection):
        return StoredScores(Path(writer.path), metric_format)
    if is_named or isinstance(config.reader, VmReaderSection):
        datasource = datasource_of(fields, request, config)
        if not isinstance(datasource.section, VmReaderSection):
            raise WrongValueError("datasource_type", "scores are in a datasource of the type vm")
        return QueriedScores(datasource.section, metric_format, datasource.guard)
    if isinstance(writer, HttpWriterSection):
        keep_terms(request, terms_of_writer)
        return QueriedScores(section_like(writer), metric_format)
    raise WrongValueError(
        "datasource_url", "required: the writer of the configuration keeps no scores"
    )
