"""Net rate laws: which part of ``kf*A - kr*B`` is forward and which is backward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce
from itertools import compress
from typing import Any

import sympy

from sbmlgrad.model.functions import build, piecewise, size_and_depth, substitute
from sbmlgrad.network.sums import outweighs

Parts = tuple[sympy.Expr, sympy.Expr]
COUNT = "count:"  # begins the names of symbols that stand for whole numbers of molecules
_POSITIVE = (sympy.exp, sympy.Abs, sympy.factorial)
_LARGEST_PARTS = 5_000  # nodes of the two parts of a product of differences
_ZERO = sympy.Integer(0)


@lru_cache(maxsize=1000)
def signed_parts(law: sympy.Expr) -> Parts | None:
    """``law = positive - negative`` where both are non-negative as long as all symbols are.

    Works through sums, products, whole powers, positive denominators and piecewise branches, and knows that
    ``A*(A - 1)`` of a count is one positive part, and ``V - V*A/(K + A)`` another; None where a sign cannot be told
    from the form. The last laws that were asked about are remembered: the same are asked about several times.
    """
    return _signed_parts(law)


def _signed_parts(law: sympy.Expr) -> Parts | None:
    if law is sympy.nan:
        return None
    if isinstance(law, sympy.Number):
        return (law, _ZERO) if law >= 0 else (_ZERO, -law) if law < 0 else None
    if isinstance(law, sympy.Symbol):
        return law, _ZERO
    kind = law.func
    if kind in _POSITIVE:
        return law, _ZERO
    if kind is sympy.Add:
        if outweighs(law, _positive):
            return law, _ZERO
        return _each(law.args, lambda parts: (_sum(p for p, _ in parts), _sum(n for _, n in parts)))
    if kind is sympy.Mul:
        if all(isinstance(factor, sympy.Symbol) for factor in law.args):
            return law, _ZERO
        counted = [counts_down(factor, law.args) for factor in law.args]
        rest = [_signed_parts(factor) for factor, steps in zip(law.args, counted, strict=True) if not steps]
        steps: list[Parts | None] = [(factor, _ZERO) for factor in compress(law.args, counted)]
        return _whole([*rest, *steps]) or reduce(_multiply, [*rest, *steps])
    if kind is sympy.Pow:
        return _power(law)
    if kind in (sympy.Max, sympy.Min):
        inner = [_signed_parts(arg) for arg in law.args]
        return (law, _ZERO) if all(p and p[1] == 0 for p in inner) else None
    if kind is sympy.Piecewise:
        conditions = [branch.args[1] for branch in law.args]
        values = [branch.args[0] for branch in law.args]
        return _each(values, lambda parts: tuple(_branches(side, conditions) for side in zip(*parts, strict=True)))
    return None


def split_reversible(
    law: sympy.Expr, reactants: Sequence[sympy.Symbol], products: Sequence[sympy.Symbol]
) -> Parts | None:
    """Forward and backward laws of a net law, or None where it is not the difference of two.

    A backward law must vanish when a product is absent (or, with no products, not depend on the reactants), and
    a forward law when a reactant is. So ``k*A*(A - 1)`` is one law of a pair of molecules, not two reactions. Nor
    may the backward law need a reactant: ``k*A*(1 - B/full)`` is a forward law that room for B limits.
    """
    parts = signed_parts(law)
    if parts is None or parts[1] == 0:
        return None
    forward, backward = parts
    limited = any(vanishes(backward, symbol) for symbol in reactants if symbol not in products)
    if limited or not _needs(forward, reactants, products) or not _needs(backward, products, reactants):
        return None
    return parts


def vanishes(law: sympy.Expr, symbol: sympy.Symbol, value: int = 0) -> bool:
    """Whether the law is 0 by its form when ``symbol`` has this value (undecided counts as no)."""
    return _is_zero(substitute(law, {symbol: sympy.Integer(value)}))


def _is_zero(node: Any) -> bool:
    if isinstance(node, sympy.Number):
        return bool(node == 0)
    if node.func is sympy.Mul:
        return any(_is_zero(arg) for arg in node.args)
    if node.func is sympy.Add:
        if all(isinstance(arg, sympy.Number) for arg in node.args):
            return bool(sum(node.args) == 0)
        return all(_is_zero(arg) for arg in node.args)
    if node.func is sympy.Pow:
        exponent = node.args[1]
        return bool(isinstance(exponent, sympy.Number) and exponent > 0 and _is_zero(node.args[0]))
    if node.func is sympy.Piecewise:
        return all(_is_zero(branch.args[0]) for branch in node.args)
    return False


def _positive(node: sympy.Expr) -> bool:
    parts = _signed_parts(node)
    return parts is not None and parts[1] == 0


def _needs(law: sympy.Expr, consumed: Sequence[sympy.Symbol], others: Sequence[sympy.Symbol]) -> bool:
    if not consumed:
        return not law.free_symbols & set(others)
    return all(vanishes(law, symbol) for symbol in consumed)


def counts_down(factor: sympy.Expr, factors: Sequence[sympy.Expr]) -> bool:
    """Whether ``factor`` is ``A - n`` beside ``A, A - 1, ..., A - n + 1``: a falling factorial, never negative."""
    if factor.func is not sympy.Add or len(factor.args) != 2:
        return False
    symbols = [arg for arg in factor.args if isinstance(arg, sympy.Symbol) and arg.name.startswith(COUNT)]
    steps = [arg for arg in factor.args if isinstance(arg, sympy.Integer) and arg < 0]
    if not symbols or not steps:
        return False
    lower = symbols[0] if steps[0] == -1 else build(sympy.Add, symbols[0], steps[0] + 1)
    return any(
        set(f.args) == set(lower.args) and f.func is lower.func and (f.args or f == lower) for f in factors
    ) and (steps[0] == -1 or counts_down(next(f for f in factors if set(f.args) == set(lower.args)), factors))


def _each(nodes: Iterable[Any], combine: Callable[[list[Parts]], Any]) -> Parts | None:
    parts = [_signed_parts(node) for node in nodes]
    return None if any(p is None for p in parts) else combine([p for p in parts if p is not None])


def _power(law: sympy.Expr) -> Parts | None:
    base, exponent = law.args
    inner = _signed_parts(base)
    if inner is None:
        return None
    if inner[1] == 0:
        return law, _ZERO
    if isinstance(exponent, sympy.Integer) and exponent % 2 == 0:
        return law, _ZERO
    if isinstance(exponent, sympy.Integer) and 0 < exponent <= 5:
        factors: list[Parts | None] = [inner] * int(exponent)
        return reduce(_multiply, factors)
    return None


def _multiply(a: Parts | None, b: Parts | None) -> Parts | None:
    """The parts of a product; None where those of a factor are, or where they would become too long to be of use."""
    if a is None or b is None:
        return None
    if a[1] != 0 and b[1] != 0:  # each such product of two differences doubles what is written out
        size = sum(size_and_depth(part, _LARGEST_PARTS)[0] for part in (*a, *b))
        if 2 * size > _LARGEST_PARTS:
            return None
    return (
        _sum([_product(a[0], b[0]), _product(a[1], b[1])]),
        _sum([_product(a[0], b[1]), _product(a[1], b[0])]),
    )


def _whole(factors: Sequence[Parts | None]) -> Parts | None:
    """The parts of a product of which no factor is a difference; None of any other."""
    if any(factor is None or factor[1] != 0 for factor in factors):
        return None
    values = [factor[0] for factor in factors if factor is not None and factor[0] != 1]
    return (_ZERO if 0 in values else build(sympy.Mul, *values)), _ZERO


def _product(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    if a == 0 or b == 0:
        return _ZERO
    if a == 1:
        return b
    return a if b == 1 else build(sympy.Mul, a, b)


def _sum(terms: Iterable[sympy.Expr]) -> sympy.Expr:
    return build(sympy.Add, *[term for term in terms if term != 0])


def _branches(values: Sequence[sympy.Expr], conditions: Sequence[Any]) -> sympy.Expr:
    if all(value == 0 for value in values):
        return _ZERO
    return piecewise(list(zip(values[:-1], conditions[:-1], strict=True)), values[-1])
