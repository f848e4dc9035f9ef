"""A small valid config, and ways to change, load and break it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmanomaly.config import Config, load_config
from vmanomaly.config.section import Section
from vmanomaly.errors import ConfigError

MINIMAL: dict[str, Any] = {
    "reader": {
        "datasource_url": "http://localhost:8428",
        "sampling_period": "1m",
        "queries": {"cpu": {"expr": "avg(cpu)"}},
    },
    "schedulers": {"live": {"fit_window": "1d", "infer_every": "1m"}},
    "models": {"z": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
    "writer": {"datasource_url": "http://localhost:8428"},
}


def changed(changes: Mapping[str, Any], base: Mapping[str, Any] = MINIMAL) -> dict[str, Any]:
    """Return a copy of `base` with new values at dotted paths."""
    result = copy.deepcopy(dict(base))
    for path, value in changes.items():
        *parents, key = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
    return result


def without(path: str, base: Mapping[str, Any] = MINIMAL) -> dict[str, Any]:
    """Return a copy of `base` without the key at a dotted path."""
    result = copy.deepcopy(dict(base))
    *parents, key = path.split(".")
    place = result
    for parent in parents:
        place = place[parent]
    del place[key]
    return result


def load(content: str | Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """Load a config from the text, or the mapping, of one file."""
    text = content if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(text, encoding="utf-8")
        return load_config([file], environ or {})


def required(section: type[Section]) -> dict[str, Any]:
    """Return an example for each key of a section that has no default: what the section gives."""
    return {
        field.alias or name: (field.examples or [None])[0]
        for name, field in section.model_fields.items()
        if field.is_required() and name not in section.derived
    }


def problems(
    content: str | Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> list[str]:
    """Return what is wrong with a config."""
    with pytest.raises(ConfigError) as caught:
        load(content, environ)
    return caught.value.problems
