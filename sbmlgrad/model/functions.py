"""Sympy nodes built exactly as a file writes them, and the functions that sympy lacks.

Sympy's constructors simplify, sort and fold as they build: they cancel ``S/S``, they fold ``9**9**9**9`` in
exact integers, they compare the conditions of a piecewise pairwise. All of that changes what a formula means
at 0/0 or takes time that a hostile file can choose. :func:`build` makes the node and leaves it alone;
:func:`substitute` replaces symbols in the same spirit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import Boolean

_EXACT_INTEGERS = 2**53  # every integer below is a float64


class quotient(sympy.Function):
    """``quotient(a, b)``: a/b rounded towards zero."""

    nargs = 2


class rem(sympy.Function):
    """``rem(a, b)``: what remains of a after division by b, with the sign of a (C's ``fmod``)."""

    nargs = 2


class delayed(sympy.Function):
    """``delayed(x, tau)``: the value that x had a time tau ago."""

    nargs = 2


class draw(sympy.Function):
    """``draw(kind, index, *parameters)``: a random number; each place in the document draws its own.

    ``kind`` is the index of the distribution in :data:`DISTRIBUTIONS`. Two more parameters than the distribution
    has are bounds: the number is drawn from the distribution truncated there.
    """


@dataclass(frozen=True)
class Distribution:
    """A distribution as the SBML package ``distrib`` defines it: its name, parameters and mean.

    Where a file gives one parameter less, the first is ``default``.
    """

    name: str
    parameters: int
    mean: Callable[..., float]
    default: float | None = None


DISTRIBUTIONS: tuple[Distribution, ...] = (
    Distribution("normal", 2, lambda mean, sd: mean),
    Distribution("uniform", 2, lambda low, high: (low + high) / 2),
    Distribution("bernoulli", 1, lambda probability: probability),
    Distribution("binomial", 2, lambda trials, probability: trials * probability),
    Distribution("cauchy", 2, lambda location, scale: location, 0.0),  # the median: no mean
    Distribution("chisquare", 1, lambda degrees: degrees),
    Distribution("exponential", 1, lambda rate: 1 / rate),
    Distribution("gamma", 2, lambda shape, scale: shape * scale),
    Distribution("laplace", 2, lambda location, scale: location, 0.0),
    Distribution("lognormal", 2, lambda mean, sd: math.exp(mean + sd * sd / 2)),
    Distribution("poisson", 1, lambda rate: rate),
    Distribution("rayleigh", 1, lambda scale: scale * math.sqrt(math.pi / 2)),
)


@lru_cache(maxsize=10_000)
def number(value: float) -> sympy.Expr:
    """The sympy number for a float: an Integer where it is integral, else a 53-bit Float, oo, -oo or nan."""
    value = float(value)
    if value != value:
        return sympy.nan
    if value in (float("inf"), float("-inf")):
        return sympy.oo if value > 0 else -sympy.oo
    if value == int(value) and abs(value) < _EXACT_INTEGERS:
        return sympy.Integer(int(value))
    return sympy.Float(value)


def build(kind: Any, *args: Any) -> Any:
    """The node ``kind(*args)`` without sympy's evaluation; nested sums and products are flattened."""
    if kind in (sympy.Add, sympy.Mul):
        return _flat(kind, args)
    if kind in (sympy.And, sympy.Or, sympy.Xor):
        return _logical(kind, args)
    if kind is sympy.Piecewise:  # the constructor folds piecewise conditions, at exponential cost
        return sympy.Basic.__new__(kind, *args)
    if kind is ExprCondPair:
        return sympy.Tuple.__new__(kind, *args)
    if kind in (sympy.Max, sympy.Min):  # the constructor sorts its arguments, in minutes where they are many
        return _once(kind, tuple(dict.fromkeys(args)))
    return kind(*args, evaluate=False)


def piecewise(pairs: list[tuple[Any, Any]], otherwise: Any) -> sympy.Expr:
    """``Piecewise`` of (value, condition) pairs in order, with ``otherwise`` under the condition true."""
    branches = [build(ExprCondPair, value, condition) for value, condition in pairs]
    return build(sympy.Piecewise, *branches, build(ExprCondPair, otherwise, sympy.true))


def as_number(node: Any) -> sympy.Expr:
    """The node itself where it is a number; 1 or 0 for a truth value."""
    if not isinstance(node, Boolean) or isinstance(node, sympy.Symbol):
        return node
    if node in (sympy.true, sympy.false):
        return sympy.Integer(1 if node is sympy.true else 0)
    return piecewise([(sympy.Integer(1), node)], sympy.Integer(0))


def as_truth(node: Any) -> Boolean:
    """The node itself where it is a truth value; "differs from 0" for a number."""
    if isinstance(node, Boolean) and not isinstance(node, sympy.Symbol):
        return node
    if isinstance(node, sympy.Number):
        return sympy.false if node == 0 else sympy.true
    return build(sympy.Ne, node, sympy.Integer(0))


def substitute(expression: Any, replacements: Mapping[Any, Any]) -> Any:
    """The expression with symbols replaced, nothing evaluated; parts without them are kept as they are."""
    if expression in replacements:
        return replacements[expression]
    if not expression.args:
        return expression
    args = [substitute(arg, replacements) for arg in expression.args]
    if all(new is old for new, old in zip(args, expression.args, strict=True)):
        return expression
    return build(expression.func, *args)


def holds(expression: Any, kind: type) -> bool:
    """Whether any node of the expression is of a kind, such as :class:`draw`."""
    pending = [expression]
    while pending:
        node = pending.pop()
        if isinstance(node, kind):
            return True
        pending.extend(node.args)
    return False


def size_and_depth(expression: Any, largest: int) -> tuple[int, int]:
    """Nodes and levels of an expression, written out; counting stops beyond ``largest`` nodes."""
    size = deepest = 0
    stack = [(expression, 1)]
    while stack and size <= largest:
        node, depth = stack.pop()
        size, deepest = size + 1, max(deepest, depth)
        stack.extend((arg, depth + 1) for arg in node.args)
    return size, deepest


def _flat(kind: Any, args: tuple[Any, ...]) -> Any:
    flat: list[Any] = []
    for arg in args:
        flat.extend(arg.args if arg.func is kind else (arg,))
    if len(flat) < 2:
        return flat[0] if flat else kind.identity
    return kind._from_args(flat, is_commutative=True)


def _logical(kind: Any, args: tuple[Any, ...]) -> Any:
    neutral = sympy.true if kind is sympy.And else sympy.false
    if kind is not sympy.Xor and ~neutral in args:
        return ~neutral
    # sympy holds these as sets, so an argument may stand once; two equal ones cancel under Xor
    counts = Counter(arg for arg in args if arg is not neutral)
    once = tuple(arg for arg, times in counts.items() if kind is not sympy.Xor or times % 2)
    return _once(kind, once) if once else neutral  # the constructors canonicalise and compare all relations


def _once(kind: Any, args: tuple[Any, ...]) -> Any:
    """The node of arguments of which sympy makes a set, as they are; one alone is the node itself."""
    if len(args) == 1:
        return args[0]
    node = sympy.Basic.__new__(kind, *args)
    node._argset = frozenset(args)
    return node
