"""The notebook runs, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first-look.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {cell.source: said(cell.outputs) for cell in cells}
    (found,) = (text for source, text in shown.items() if source.endswith("\nfound"))
    assert "1 incident" in found
    assert "1 of 1 windows found" in next(
        text for source, text in shown.items() if source.startswith("found.evaluate")
    )
    assert shown[cells[-1].source] == "[]"
    (picture,) = (cell for cell in cells if "plot" in cell.source)
    assert any("image/png" in output.get("data", {}) for output in picture.outputs)


def said(outputs: list[Any]) -> str:
    return "".join(output.get("data", {}).get("text/plain", "") for output in outputs)
