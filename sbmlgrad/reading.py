"""Public functions of a model take the path, the BioModels id or the text of a document in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

P = ParamSpec("P")
M = TypeVar("M")
R = TypeVar("R")


def takes_documents(
    function: Callable[Concatenate[M, P], R],
) -> Callable[Concatenate[M | str | os.PathLike[str], P], R]:
    """The same function, which reads what it is given in place of a model."""

    @wraps(function)
    def call(model: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        if isinstance(model, (str, os.PathLike)):
            from sbmlgrad.sbml.read import read_sbml  # libSBML takes time that networks from Python need not

            model = read_sbml(model if isinstance(model, str) else Path(model))
        return function(model, *args, **kwargs)

    call.__module__ = __package__  # where it is found: pickle, and so every pool of processes, looks there
    return cast("Callable[Concatenate[M | str | os.PathLike[str], P], R]", call)
