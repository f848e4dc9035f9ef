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
from vmanomaly.config.presets import expanded
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
    config, _ = load_as_written(paths, environ)
    return config


def load_again(paths: Iterable[Path | str], environ: Mapping[str, str]) -> Config:
    """Read, merge and validate a configuration that was loaded before.

    Parameters
    ----------
    paths, environ
        As for `load_config`.

    Returns
    -------
    Config
        As `load_config` returns it.

    Raises
    ------
    ConfigError
        With every problem there is, or where a file is a pipe, which could keep a reader waiting
        for ever.
    """
    files = [Path(path) for path in paths]
    pipes = [file for file in files if file.exists() and not (file.is_file() or file.is_dir())]
    if pipes:
        raise ConfigError(
            [f"{file}: a pipe or device is not read again; use a file" for file in pipes]
        )
    return load_config(files, environ)


def load_as_written(
    paths: Iterable[Path | str], environ: Mapping[str, str]
) -> tuple[Config, dict[str, Any]]:
    """Read, merge and validate a configuration, and return what the files say too.

    Parameters
    ----------
    paths, environ
        As for `load_config`.

    Returns
    -------
    Config
        As `load_config` returns it.
    dict of str to Any
        What the files say, by section, merged over the preset that they name. Old forms have become
        the present ones; apart from that the values are as they were written.

    Raises
    ------
    ConfigError
        With every problem there is.
    """
    findings = Findings()
    merged: dict[str, Any] = {}
    for document in _read_documents(paths, environ, findings):
        merged = merge(merged, document.sections)
    config = None if findings.problems else build_config(merged, environ, findings)
    for warning in findings.warnings:
        logger.warning("%s", warning)
    if config is None:
        raise findings.as_error()
    return config, expanded(config.preset, modernise(merged, Findings()))


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
