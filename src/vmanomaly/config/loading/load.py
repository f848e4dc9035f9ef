"""Files and folders -> `Config`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vmanomaly.config.config import Config
from vmanomaly.config.loading.build import build_config
from vmanomaly.config.loading.document import MAX_BYTES, Document, parse_document
from vmanomaly.config.loading.legacy import modernise
from vmanomaly.config.loading.merge import merge
from vmanomaly.config.presets import expanded, preset_name
from vmanomaly.config.problems import Findings
from vmanomaly.errors import ConfigError

logger = logging.getLogger("vmanomaly.config")

_SUFFIXES = (".yaml", ".yml")


def load_config(paths: Iterable[Path | str], environ: Mapping[str, str]) -> Config:
    """Read, merge and validate a configuration.

    Parameters
    ----------
    paths
        Files, and folders whose `.yaml` and `.yml` files are read in the order of their names,
        without their subfolders. Mappings merge, and what comes later wins.
    environ
        The environment variables.

    Returns
    -------
    Config
        What is worth mentioning but no error has been logged as a warning.

    Raises
    ------
    ConfigError
        With every problem there is.
    """
    findings = Findings()
    merged = _read_merged(paths, environ, findings)
    config = None if findings.problems else build_config(merged, environ, findings)
    for warning in findings.warnings:
        logger.warning("%s", warning)
    if config is None:
        raise ConfigError(findings.problems, findings.n_problems)
    return config


def load_sections(paths: Iterable[Path | str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Read and merge the files of a valid configuration, and the preset that they name.

    Parameters
    ----------
    paths, environ
        As for `load_config`.

    Returns
    -------
    dict of str to Any
        What the files say, by section, in its present form.

    Raises
    ------
    ConfigError
        With every problem of the files; what they say is not checked.
    """
    findings = Findings()
    sections = modernise(_read_merged(paths, environ, findings), Findings())
    preset = preset_name(sections.get("preset"), findings)
    if preset is None or findings.problems:
        raise ConfigError(findings.problems, findings.n_problems)
    return expanded(preset, sections)


def config_files(path: Path) -> list[Path]:
    """Return the files that `path` stands for: itself, or the YAML files of a folder.

    Raises
    ------
    ConfigError
        If the folder cannot be listed or holds none.
    """
    if not path.is_dir():
        return [path]
    try:
        names = sorted(path.iterdir())
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror})"]) from error
    files = [
        file
        for file in names
        if file.suffix in _SUFFIXES and not file.name.startswith(".") and _may_be_read(file)
    ]
    if not files:
        raise ConfigError([f"{path}: the folder holds no .yaml or .yml file"])
    return files


def _may_be_read(file: Path) -> bool:
    """Tell whether a name in a folder is that of a file, or of nothing, which is reported later.

    Reading a pipe would block, and a device never ends.
    """
    return file.is_file() or not file.exists()


def _read_merged(
    paths: Iterable[Path | str], environ: Mapping[str, str], findings: Findings
) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for document in _read_documents(paths, environ, findings):
        merged = merge(merged, document.sections)
    return merged


def _read_documents(
    paths: Iterable[Path | str], environ: Mapping[str, str], findings: Findings
) -> list[Document]:
    documents = []
    for path in paths:
        try:
            files = config_files(Path(path))
        except ConfigError as error:
            findings.problems += error.problems
            continue
        for file in files:
            try:
                document = parse_document(_read_text(file), str(file), environ)
            except ConfigError as error:
                findings.problems += error.problems
                continue
            documents.append(document)
            for place, line in document.repeated:
                findings.warn(
                    place,
                    f"occurs a second time here, and this one counts ({file}:{line}); "
                    "remove one of them",
                )
            for place, name in document.unset:
                findings.warn(
                    place,
                    f"the environment variable {name} is not set, so %{{{name}}} stays as it is "
                    f"({file})",
                )
    return documents


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read ({error.strerror})"]) from error
    if len(content) > MAX_BYTES:
        raise ConfigError([f"{file}: larger than {MAX_BYTES // 2**20} MiB"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{file}:{line}: not YAML: the file is not UTF-8 text"]) from error
