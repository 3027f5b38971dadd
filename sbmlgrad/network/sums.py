"""Sums whose numbers outweigh what is subtracted, as in ``V - V*x/(K + x)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from typing import Any

import sympy

from sbmlgrad.model.evaluate import evaluate

_MOST_TERMS = 64  # of a sum that is multiplied out


@dataclass(frozen=True)
class _Term:
    """A number times powers of expressions that are no numbers; exponents by expression."""

    number: float
    powers: Mapping[Any, float] = field(default_factory=dict)

    def times(self, other: _Term, exponent: float = 1.0) -> _Term:
        powers = dict(self.powers)
        for base, own in other.powers.items():
            powers[base] = powers.get(base, 0.0) + exponent * own
        kept = {base: power for base, power in powers.items() if power}
        return _Term(self.number * other.number**exponent, kept)


def outweighs(node: sympy.Add, positive: Callable[[Any], bool]) -> bool:
    """Whether the numbers in a sum outweigh what is subtracted, by its form, after what all terms have in common.

    ``positive`` says of expressions whether they are never negative.
    """
    if not any(_may_subtract(arg) for arg in node.args):
        return False
    common, items = _without_common(_terms(node))
    if not any(item.number < 0 and item.powers for item in items):
        return False
    least = sum(item.number * (_largest(item) if item.number < 0 else not item.powers) for item in items)
    return least >= 0 and all(positive(base) for item in (common, *items) for base in item.powers)


def _may_subtract(term: Any) -> bool:
    """Whether a term is anything but a symbol or a number that is not negative; many sums are of such terms alone."""
    return not (isinstance(term, sympy.Symbol) or (isinstance(term, sympy.Number) and bool(term >= 0)))


def _largest(item: _Term) -> float:
    """A bound for ``x/(K + x)``, the fraction that the bases of a term are; infinite where they are none."""
    if not item.powers:
        return 1.0
    below = [base for base, power in item.powers.items() if power == -1 and base.func is sympy.Add]
    if len(below) != 1:
        return float("inf")
    above = {base: power for base, power in item.powers.items() if base != below[0]}
    share = sum(part.number for part in _terms(below[0]) if part.powers == above)
    return 1.0 / share if share > 0 else float("inf")


def _terms(node: Any) -> list[_Term]:
    """The terms of an expression, multiplied out; what cannot be taken apart, or is too long, is a base of its own."""
    if isinstance(node, sympy.Symbol):
        return [_Term(1.0, {node: 1.0})]
    if isinstance(node, sympy.Number) or not node.free_symbols:
        return [_Term(evaluate(node, {}))]
    if node.func is sympy.Add:
        return [term for arg in node.args for term in _terms(arg)]
    if node.func is sympy.Mul:
        factors = [_terms(arg) for arg in node.args]
        if reduce(lambda size, factor: size * len(factor), factors, 1) <= _MOST_TERMS:
            return [reduce(_Term.times, chosen) for chosen in product(*factors)]
    if node.func is sympy.Pow and isinstance(node.args[1], sympy.Number):
        base = _terms(node.args[0])
        if len(base) == 1 and base[0].number > 0:
            return [_Term(1.0).times(base[0], float(node.args[1]))]
        return [_Term(1.0, {node.args[0]: float(node.args[1])})]
    return [_Term(1.0, {node: 1.0})]


def _without_common(items: Sequence[_Term]) -> tuple[_Term, list[_Term]]:
    """The bases that all terms have in common, with the exponents they share, and the terms divided by them."""
    shared = {}
    for base in items[0].powers:
        powers = [item.powers.get(base, 0.0) for item in items]
        if min(powers) > 0 or max(powers) < 0:
            shared[base] = min(powers, key=abs)
    common = _Term(1.0, shared)
    return common, [item.times(common, -1.0) for item in items]
