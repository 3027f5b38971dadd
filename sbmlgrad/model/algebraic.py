"""Algebraic rules: which variable each one determines, and what that variable is then equal to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import sympy

from sbmlgrad.errors import UnsupportedError
from sbmlgrad.model.dynamics import by_reactions
from sbmlgrad.model.elements import Elements, symbol
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import build, size_and_depth, substitute

_ZERO, _ONE, _MINUS = sympy.Integer(0), sympy.Integer(1), sympy.Integer(-1)
_LARGEST = 10_000  # nodes of all rules, with those that are solved put in place
Affine = tuple[sympy.Expr, sympy.Expr]


def solve_algebraic_rules(elements: Elements, variables: Sequence[str]) -> Elements:
    """The elements with every algebraic rule that can be solved turned into an assignment rule.

    ``variables`` are the ids that the document lets vary. A rule is matched with one of those that nothing else
    determines, and solved for it where it is a linear equation in it; the others stay algebraic rules.
    """
    rules = list(elements.algebraic_rules)
    free = [identifier for identifier in variables if _undetermined(elements, identifier)]
    free.sort(key=lambda identifier: identifier in elements.set_by_events)
    solved, left = {}, []
    while rules:
        unknown = _match(rules, free)[0]
        rule = rules.pop(0)
        terms = _solvable(rule, unknown) if unknown is not None else None
        if unknown is None or terms is None:
            left.append(rule)
            continue
        slope, rest = terms
        value = _product(_MINUS, rest, build(sympy.Pow, slope, _MINUS) if slope != 1 else _ONE)
        solved[unknown] = value
        free.remove(unknown)
        rules = [substitute(other, {symbol(unknown): value}) for other in rules]
        _check_size(rules, elements)
    # a later one may hold what an earlier one was solved for, never the other way round
    return replace(
        elements,
        assignment_rules={**elements.assignment_rules, **_back_substituted(solved, elements)},
        algebraic_rules=tuple(left),
    )


def _back_substituted(solved: Mapping[str, sympy.Expr], elements: Elements) -> dict[str, sympy.Expr]:
    result: dict[str, sympy.Expr] = {}
    for identifier in reversed(list(solved)):
        values = {symbol(name): value for name, value in result.items()}
        result[identifier] = substitute(solved[identifier], values)
        _check_size(result.values(), elements)
    return result


def _check_size(formulas: Iterable[sympy.Expr], elements: Elements) -> None:
    """Raise :class:`UnsupportedError` where rules that are put into each other double and double."""
    total = 0
    for formula in formulas:
        total += size_and_depth(formula, _LARGEST)[0]
        if total > _LARGEST:
            raise UnsupportedError(
                elements.source.path,
                [
                    f"its {len(elements.algebraic_rules)} algebraic rules come to more than {_LARGEST} terms when they "
                    "are solved one after the other; solve them by hand, and write assignment rules instead"
                ],
            )


def _undetermined(elements: Elements, identifier: str) -> bool:
    if identifier in elements.assignment_rules or identifier in elements.rate_rules:
        return False
    return identifier not in elements.species or not by_reactions(elements, identifier)


def _match(rules: Sequence[sympy.Expr], free: Sequence[str]) -> list[str | None]:
    """For each rule, a variable of its own for which it can be solved, as far as there are any."""
    if not rules or not free:
        return [None] * len(rules)
    solvable = np.array([[_solvable(rule, name) is not None for name in free] for rule in rules])
    # few models have such rules, and all would wait for what they need
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    indices = maximum_bipartite_matching(csr_array(solvable.astype(np.int32)), perm_type="column")
    return [free[index] if index >= 0 else None for index in indices]


def _solvable(rule: sympy.Expr, unknown: str) -> Affine | None:
    """The rule as ``(a, b)`` of ``a * unknown + b``, where it is that and ``a`` is not the number 0."""
    terms = _affine(rule, symbol(unknown))
    if terms is None or not (terms[0].free_symbols or evaluate(terms[0], {})):
        return None
    return terms


def _affine(node: sympy.Basic, unknown: sympy.Symbol) -> Affine | None:
    """``(a, b)`` with ``node = a * unknown + b``, neither of which holds the unknown; None where there are none."""
    if unknown not in node.free_symbols:
        return _ZERO, node
    if node == unknown:
        return _ONE, _ZERO
    if node.func not in (sympy.Add, sympy.Mul):
        return None
    parts = [_affine(arg, unknown) for arg in node.args]
    linear_parts = [part for part in parts if part is not None]
    if len(linear_parts) < len(parts):
        return None
    if node.func is sympy.Add:
        return _sum(*[slope for slope, _ in linear_parts]), _sum(*[rest for _, rest in linear_parts])
    holders = [part for part in linear_parts if part[0] != 0]
    if len(holders) != 1:
        return None
    others = [rest for slope, rest in linear_parts if slope == 0]
    return _product(holders[0][0], *others), _product(holders[0][1], *others)


def _sum(*terms: sympy.Expr) -> sympy.Expr:
    left = [term for term in terms if term != 0]
    return build(sympy.Add, *left) if left else _ZERO


def _product(*factors: sympy.Expr) -> sympy.Expr:
    if any(factor == 0 for factor in factors):
        return _ZERO
    return build(sympy.Mul, *[factor for factor in factors if factor != 1])
