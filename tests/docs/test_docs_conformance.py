"""The tests that the tables of statements name are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = sorted((ROOT / "docs" / "conformance").glob("*.md"))
_TEST = re.compile(r"`(tests/\S+\.py)(?:::(\S+))?`")


@cache
def names(path: Path) -> set[str]:
    """Return the functions of a file, and the methods as `Class::method`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if hasattr(one, "name")}
    return found


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_named_tests_are_there(table: Path) -> None:
    named = _TEST.findall(table.read_text())
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or (test and test not in names(ROOT / file))
    ]
    assert missing == []
