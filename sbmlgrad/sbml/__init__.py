"""SBML documents in and out: the only room that imports libsbml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar, overload

from sbmlgrad.model.model import Model

T = TypeVar("T")


@overload
def as_model(model: str | os.PathLike[str]) -> Model: ...
@overload
def as_model(model: T) -> T: ...
def as_model(model: Any) -> Any:
    """What has been read or made already; the model of a path, a BioModels id, or XML text is read."""
    if not isinstance(model, (str, os.PathLike)):
        return model
    from sbmlgrad.sbml.read import read_sbml  # libSBML takes time that networks from Python need not

    return read_sbml(model if isinstance(model, str) else Path(model))
