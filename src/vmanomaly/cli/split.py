"""The subcommand `split`: a configuration -> one file for each of its sub-configs."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vmanomaly.cli.parser import Parser
from vmanomaly.config.loading.load import load_as_written
from vmanomaly.config.members import STRATEGIES
from vmanomaly.config.presets import without_rest
from vmanomaly.config.spec import written_yaml
from vmanomaly.config.splitting import SubConfig, split, sub_mapping
from vmanomaly.errors import ConfigError, UsageError
from vmanomaly.logs import configure_logging
from vmanomaly.service.plan import with_custom_classes

logger = logging.getLogger("vmanomaly.cli")

_SUFFIX = ".yaml"
_LONGEST_NAME = 200
_NOT_IN_NAMES = re.compile(r"[^\w.,:=+@-]", re.ASCII)
_HASH_BYTES = 8


def split_files(arguments: Sequence[str]) -> int:
    """Write one file for each sub-config; return the exit status.

    Each file holds the sections as they were written: what came from an environment variable is
    `%{NAME}` again, and what is not split is copied. So it may hold a secret that the configuration
    itself holds, and only its owner can read it.

    Parameters
    ----------
    arguments
        The command line after the name of the subcommand.

    Raises
    ------
    UsageError
        An option is wrong, or a file cannot be written.
    ConfigError
        With every problem of the configuration.
    """
    options = _parser().parse_args(arguments)
    configure_logging(options.logger_level)
    config, sections = load_as_written(options.configs, os.environ)
    sub_configs = split(with_custom_classes(config), options.split_by)
    if not sub_configs:
        raise ConfigError(["models: there is nothing to split, since no model runs"])
    folder: Path = options.output_dir
    names = file_names(sub_configs, options.file_name_format)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sub_config, name in zip(sub_configs, names, strict=True):
            part = without_rest(config.preset, sub_mapping(sections, sub_config))
            _write(folder / name, written_yaml(part))
        others = sorted({file.name for file in folder.glob(f"*{_SUFFIX}")} - set(names))
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from error
    logger.info("Split by %s: %d files in %s", options.split_by, len(names), folder)
    if others:
        logger.warning(
            "%s also holds %d files that this did not write, such as %s",
            folder,
            len(others),
            others[0],
        )
    return 0


def file_names(sub_configs: Sequence[SubConfig], file_name_format: str) -> list[str]:
    """Return a different file name for each sub-config.

    Parameters
    ----------
    sub_configs
        The sub-configs, in order.
    file_name_format
        `raw`, its name, with `_` for what does not belong in file names; `hash`, a digest of its
        name; `int`, its number from 0.

    Examples
    --------
    >>> parts = [SubConfig(name, frozenset()) for name in ("a:b", '{env="x"}', "{env='x'}")]
    >>> file_names(parts, "raw")
    ['a:b.yaml', '_env=_x__.yaml', '_env=_x__-2.yaml']
    >>> file_names(parts, "int")
    ['0.yaml', '1.yaml', '2.yaml']
    """
    taken: set[str] = set()
    names = []
    for number, sub_config in enumerate(sub_configs):
        stem = _STEMS[file_name_format](sub_config.name, number)
        name, n = f"{stem}{_SUFFIX}", 1
        while name.lower() in taken:
            n += 1
            name = f"{stem}-{n}{_SUFFIX}"
        taken.add(name.lower())
        names.append(name)
    return names


def _raw(name: str, _: int) -> str:
    stem = _NOT_IN_NAMES.sub("_", name)
    if stem.startswith((".", "-")):
        # Of no hidden file, and no option.
        stem = f"_{stem[1:]}"
    if len(stem) > _LONGEST_NAME:
        stem = f"{stem[:_LONGEST_NAME]}-{_hash(name, 0)}"
    return stem


def _hash(name: str, _: int) -> str:
    return hashlib.blake2b(name.encode(), digest_size=_HASH_BYTES).hexdigest()


def _int(_: str, number: int) -> str:
    return str(number)


_STEMS: dict[str, Callable[[str, int], str]] = {"raw": _raw, "hash": _hash, "int": _int}


def _write(path: Path, text: str) -> None:
    """Write a file that is never seen half written, and that only its owner can read."""
    new = path.with_name(f".{path.name}.tmp")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vmanomaly split",
        description=(
            "Cuts a configuration into sub-configs that can run on their own, and writes each to "
            "a file."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "configs",
        nargs="+",
        type=Path,
        metavar="CONFIG",
        help="YAML files, or directories of them, merged in order",
    )
    parser.add_argument(
        *_spellings("splitBy"),
        dest="split_by",
        type=str.lower,
        choices=STRATEGIES,
        default=STRATEGIES[0],
        help="what one sub-config is (default: %(default)s)",
    )
    parser.add_argument(
        *_spellings("outputDir"),
        dest="output_dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the files are written",
    )
    parser.add_argument(
        *_spellings("fileNameFormat"),
        dest="file_name_format",
        type=str.lower,
        choices=_STEMS,
        default="raw",
        help="what the files are called: by name, digest or number (default: %(default)s)",
    )
    parser.add_argument(
        *_spellings("loggerLevel"),
        dest="logger_level",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "FATAL"),
        default="INFO",
        help="how much is logged (default: %(default)s)",
    )
    return parser


def _spellings(name: str) -> Iterable[str]:
    return f"--{name}", f"-{name}"
