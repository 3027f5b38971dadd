"""Formulas as PEtab writes them, from expressions of symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sympy
from sympy.codegen.cfunctions import log2, log10

from sbmlgrad.errors import FitError
from sbmlgrad.model.elements import TIME

_ID = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_RESERVED = {"time", "inf", "nan", "true", "false"}

_FUNCTIONS: Mapping[Any, str] = {
    sympy.exp: "exp",
    sympy.log: "ln",
    log2: "log2",
    log10: "log10",
    sympy.Abs: "abs",
    **{getattr(sympy, name): name for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{getattr(sympy, name): name for name in ("sec", "csc", "cot", "sech", "csch", "coth")},
    **{getattr(sympy, f"a{name}"): f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{getattr(sympy, f"a{name}"): f"arc{name}" for name in ("sec", "csc", "cot", "sech", "csch", "coth")},
}
_OF_TWO = {sympy.Max: "max", sympy.Min: "min"}
_BETWEEN: Mapping[Any, str] = {
    sympy.Add: "+",
    sympy.Pow: "^",
    sympy.And: "&&",
    sympy.Or: "||",
    sympy.Eq: "==",
    sympy.Ne: "!=",
    sympy.Lt: "<",
    sympy.Le: "<=",
    sympy.Gt: ">",
    sympy.Ge: ">=",
}


def is_id(name: str) -> bool:
    """Whether PEtab can call something so."""
    return bool(_ID.fullmatch(name)) and name.lower() not in _RESERVED


def petab_formula(expression: Any, where: str) -> str:
    """The text of an expression in the grammar of PEtab; ``where`` is for messages.

    Nothing is evaluated, so that 0/0 stays what it is.

    Raises
    ------
    FitError
        for an id or a function that the grammar does not have.
    """
    return _Writer(where).text(expression)


class _Writer:
    def __init__(self, where: str):
        self.where = where

    def text(self, node: Any) -> str:
        if node == TIME:
            return "time"
        if isinstance(node, sympy.Symbol):
            return self._name(node.name)
        if node in (sympy.true, sympy.false):
            return "true" if node is sympy.true else "false"
        if node is sympy.nan:
            raise FitError(f"{self.where}: a value is not set; set it in the model")
        if node.is_Number:
            return _number(node)
        if node.func is sympy.Mul:
            return self._product(node.args)
        if node.func is sympy.Piecewise:
            return self._piecewise(node.args)
        if node.func is sympy.Not:
            return f"!{self._part(node.args[0])}"
        if node.func in _BETWEEN:
            return f" {_BETWEEN[node.func]} ".join(map(self._part, node.args))
        if node.func in _OF_TWO:
            return self._folded(_OF_TWO[node.func], node.args)
        if node.func in _FUNCTIONS:
            return f"{_FUNCTIONS[node.func]}({self.text(node.args[0])})"
        if node.is_number:
            return repr(float(node))
        raise FitError(f"{self.where}: PEtab has no function {node.func.__name__!r}; write the formula without it")

    def _name(self, name: str) -> str:
        if not is_id(name):
            raise FitError(f"{self.where}: {name!r} is no id of PEtab; rename it in the model, or leave it out")
        return name

    def _part(self, node: Any) -> str:
        """In brackets where it is more than one word."""
        text = self.text(node)
        plain = isinstance(node, sympy.Symbol) or (node.is_Number and not text.startswith("-"))
        return text if plain or node.func in _FUNCTIONS else f"({text})"

    def _product(self, factors: tuple[Any, ...]) -> str:
        over = [factor for factor in factors if not _is_inverse(factor)]
        under = [factor.args[0] for factor in factors if _is_inverse(factor)]
        top = " * ".join(map(self._part, over)) or "1"
        return " / ".join([top, *map(self._part, under)])

    def _piecewise(self, pairs: tuple[Any, ...]) -> str:
        *pieces, (otherwise, _) = pairs
        words = [self.text(part) for piece in pieces for part in piece]
        return f"piecewise({', '.join([*words, self.text(otherwise)])})" if words else self.text(otherwise)

    def _folded(self, function: str, args: tuple[Any, ...]) -> str:
        first, *others = map(self.text, args)
        for other in others:
            first = f"{function}({first}, {other})"
        return first


def _is_inverse(factor: Any) -> bool:
    return factor.func is sympy.Pow and factor.args[1] == -1


def _number(node: Any) -> str:
    if node is sympy.oo or node is -sympy.oo:
        return "inf" if node is sympy.oo else "-inf"
    return str(int(node)) if node.is_Integer else repr(float(node))
