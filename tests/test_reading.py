"""Functions of a model take documents in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sbmlgrad as sg
from sbmlgrad.reading import takes_documents


def kind(model: object, suffix: str = "") -> str:
    """The name of the type of what comes first."""
    return type(model).__name__ + suffix


def test_paths_and_texts_are_read_and_all_else_passed_on(text: Callable[..., str], tmp_path: Path) -> None:
    document = text({"S": {"amount": 1}}, {"r": ("S -> ", "S")})
    path = tmp_path / "model.xml"
    path.write_text(document)
    function = takes_documents(kind)
    assert [function(item, suffix="!") for item in (document, path, str(path))] == ["Model!"] * 3
    assert function(sg.read_sbml(path)) == "Model"
    assert function(3.0) == "float"
    assert (function.__name__, function.__doc__) == (kind.__name__, kind.__doc__)
