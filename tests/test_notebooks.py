"""Notebooks run from top to bottom, with few trajectories, and their objects show themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # else pictures are not shown
    nbclient = pytest.importorskip("nbclient", reason="pip install '.[notebooks]'")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "keep notebooks without their outputs"
    for cell in notebook.cells:
        cell.source = re.sub(r"\bn=[\d_]+", "n=50", cell.source)
    run = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    shown = [output for cell in run.execute().cells for output in cell.get("outputs", ())]
    streams = [output["text"] for output in shown if output.output_type == "stream"]
    said = [re.sub(r"\r[^\r\n]*", "", text).strip() for text in streams]  # but for progress, where it takes long
    assert not any(said), "nothing is printed, and nobody warns"
    assert {"text/html", "image/png"} <= {kind for output in shown for kind in data_of(output)}


def data_of(output: Any) -> dict[str, Any]:
    return dict(output.get("data", {}))


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["beyond_cells", "epidemic", "inverse_design", "tour"]
