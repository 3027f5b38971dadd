"""Formulas of PEtab: from text through the format's own grammar, and to numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from petab.v1.math import sympify_petab

from sbmlgrad.errors import PetabError
from sbmlgrad.model.evaluate import evaluate

Slopes = Mapping[str, np.ndarray]
"""Derivatives by the parameters of a fit (P,), by id; what has none does not move."""


@dataclass(frozen=True)
class Known:
    """What formulas see: the values of ids, and how they move with the parameters of a fit, if there is one."""

    values: Mapping[str, float]
    slopes: Slopes = field(default_factory=dict)


_UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)


def check_constants(formula: str, where: str) -> None:
    """Raise :class:`PetabError` for constant powers that no float64 holds: exactly computed, they take for ever.

    What is not a formula is passed over.
    """
    try:
        written = sympify_petab(formula, evaluate=False)
        constants = [
            node
            for node in sympy.preorder_traversal(written)
            if node.func in (sympy.Pow, sympy.exp) and not node.free_symbols and not node.has(sympy.oo, -sympy.oo)
        ]
        sizes = [evaluate(node, {}) for node in constants]
    except _UNREADABLE:
        return
    if not all(map(math.isfinite, sizes)):
        raise PetabError(f"{where}: {formula!r} has a power that no number can hold; write its value")


def parse(formula: Any, where: str) -> sympy.Basic:
    """The expression that a cell of a table holds, text or number; ``where`` is for messages.

    Raises
    ------
    PetabError
        if the text is not a formula.
    """
    if isinstance(formula, str):
        formula = formula.strip()
        check_constants(formula, where)
    try:
        return sympify_petab(formula)
    except _UNREADABLE as error:
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


def slope_of(formula: sympy.Basic, known: Known, where: str) -> np.ndarray | None:
    """The derivative of a formula by the parameters of a fit (P,), by the chain rule; None where nothing in it moves.

    Raises
    ------
    PetabError
        as :func:`value_of` does.
    """
    if isinstance(formula, sympy.Symbol):
        return known.slopes.get(formula.name)
    total: np.ndarray | None = None
    for name in _names(formula):
        if name in known.slopes:
            part = value_of(_derivative(formula, name), known.values, where) * known.slopes[name]
            total = part if total is None else total + part
    return total


@lru_cache(maxsize=10_000)
def _names(formula: sympy.Basic) -> tuple[str, ...]:
    return tuple(sorted(symbol.name for symbol in formula.free_symbols))


@lru_cache(maxsize=10_000)
def _derivative(formula: sympy.Basic, name: str) -> sympy.Basic:
    """The derivative by an id, of what has corners by the piece that holds."""
    x = sympy.Symbol(name, real=True)
    smooth = formula.subs({symbol: x for symbol in formula.free_symbols if symbol.name == name})
    return smooth.replace(lambda part: part.func in _CORNERS, lambda part: part.rewrite(sympy.Piecewise)).diff(x)


_CORNERS = (sympy.Max, sympy.Min, sympy.Abs)


def symbols(formulas: Iterable[sympy.Basic]) -> set[str]:
    """The ids in formulas."""
    return {item.name for formula in formulas for item in formula.free_symbols}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
