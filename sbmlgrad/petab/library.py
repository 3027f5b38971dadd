"""Calls of libpetab: its complaints in one line, its warnings about itself unheard."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pandas

from sbmlgrad.errors import PetabError, SbmlgradError
from sbmlgrad.petab.formulas import check_constants

_LONGEST = 300
_FORMULAS = ["observableFormula", "noiseFormula", "targetValue", "observableParameters", "noiseParameters"]


@contextmanager
def asking_libpetab(where: str) -> Iterator[None]:
    """Raise :class:`PetabError` for whatever libpetab refuses; ``where`` names the file for the message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, about how libpetab calls it
            yield
    except SbmlgradError:
        raise
    except Exception as error:  # libpetab raises what pandas, pydantic, jsonschema and PyYAML do
        raise PetabError(f"{where}: {_in_words(error)}; correct it there") from None


def beside(source: str, location: object) -> str:
    """The path of a file that a problem names, seen from the folder of the problem.

    Raises :class:`PetabError` if there is no such file.
    """
    path = os.path.join(os.path.dirname(source), str(location))
    if not os.path.isfile(path):
        raise PetabError(f"{source}: there is no file {str(location)!r} beside it; add it, or correct its name")
    return path


def text_table(path: str) -> pandas.DataFrame:
    """A table as its file has it, as text; raises :class:`PetabError` where it is none."""
    with asking_libpetab(path):
        return pandas.read_csv(path, sep="\t", dtype=str)


def check_formulas(path: str) -> None:
    """Look at the formulas of a table before libpetab, which computes their constants exactly, gets to see them."""
    table = text_table(path)
    for column in table.columns.intersection(_FORMULAS):
        for formula in {part.strip() for cell in table[column].dropna().unique() for part in cell.split(";")}:
            check_constants(formula, f"{path}: {column}")


def _in_words(error: Exception) -> str:
    """The first complaint of several, in one line."""
    details = getattr(error, "errors", None)  # of pydantic
    if callable(details):
        first = details()[0]
        location = ".".join(map(str, first.get("loc", ())))
        text = f"{location}: {first.get('msg')} (got {first.get('input')!r})"
    else:
        text = str(getattr(error, "message", None) or error) or type(error).__name__
    return " ".join(text.split())[:_LONGEST].rstrip(".")
