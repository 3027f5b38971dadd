"""Formulas of PEtab: from text through the format's own grammar, and to numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy
from petab.v1.math import sympify_petab

from sbmlgrad.errors import PetabError
from sbmlgrad.model.evaluate import evaluate


def parse(formula: Any, where: str) -> sympy.Basic:
    """The expression that a cell of a table holds, text or number; ``where`` is for messages.

    Raises
    ------
    PetabError
        if the text is not a formula.
    """
    try:
        return sympify_petab(formula.strip() if isinstance(formula, str) else formula)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise PetabError(f"{where}: {formula!r} is not a formula of PEtab ({_one_line(error)}); correct it") from None


def value_of(formula: sympy.Basic, values: Mapping[str, float], where: str) -> float:
    """The value of a formula with ``values`` for its ids; ``where`` is for messages.

    Raises
    ------
    PetabError
        if an id has no value, or a function is unknown.
    """
    try:
        return evaluate(formula, values)
    except KeyError as error:
        raise PetabError(
            f"{where}: {error.args[0]!r} has no value here; add it to the parameter table, or correct the id"
        ) from None
    except TypeError as error:
        raise PetabError(f"{where}: {formula} cannot be computed ({_one_line(error)}); write it differently") from None


def symbols(formulas: Iterable[sympy.Basic]) -> set[str]:
    """The ids in formulas."""
    return {item.name for formula in formulas for item in formula.free_symbols}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
