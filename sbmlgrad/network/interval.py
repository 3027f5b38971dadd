"""Interval arithmetic on graphs: between which bounds the values of a node lie while its inputs lie between theirs.

The bounds of a node hold for every value of its inputs (Moore, Kearfott & Cloud, Introduction to Interval Analysis,
SIAM 2009), so what they exclude need not be looked for. They are wide where one input comes in several times, and
become as narrow as the values themselves as the inputs do. Rounding is not directed: bounds are as exact as values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sbmlgrad.model.elementary import ELEMENTARY
from sbmlgrad.network.graph import Graph

Interval = tuple[np.ndarray, np.ndarray]
"""Lower and upper bounds, arrays of one shape."""

Function = Callable[..., np.ndarray]


def enclosures(graph: Graph, indices: Sequence[int], inputs: Mapping[int, Interval]) -> dict[int, Interval]:
    """The intervals of nodes, which are in an order in which each comes after its arguments or those are ``inputs``."""
    intervals = dict(inputs)
    with np.errstate(all="ignore"):
        for index in indices:
            if index in intervals:
                continue
            node = graph.nodes[index]
            if node.operation == "constant":
                value = np.asarray(float.fromhex(node.detail))
                intervals[index] = (value, value)
                continue
            arguments = [intervals[arg] for arg in node.args]
            same = len(node.args) == 2 and node.args[0] == node.args[1]
            if node.operation == "mul" and same:
                low, high = _square(*arguments[0])
            else:
                low, high = OPERATIONS[node.operation](*arguments)
            # not a number at an end: nothing is known on that side
            intervals[index] = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    return intervals


def _monotone(function: Function, trend: int, domain: tuple[float, float]) -> Callable[[Interval], Interval]:
    """A function that grows, or falls, on what of its domain is in the interval."""

    def bounds(a: Interval) -> Interval:
        ends = function(np.clip(a[0], *domain)), function(np.clip(a[1], *domain))
        return ends if trend > 0 else ends[::-1]

    return bounds


def _corners(function: Function, a: Interval, b: Interval) -> Interval:
    """The bounds of a function that is monotone in each of its two arguments."""
    values = [np.nan_to_num(function(x, y), nan=0.0, posinf=np.inf, neginf=-np.inf) for x in a for y in b]
    return np.minimum.reduce(np.broadcast_arrays(*values)), np.maximum.reduce(np.broadcast_arrays(*values))


def _mul(a: Interval, b: Interval) -> Interval:
    return _corners(np.multiply, a, b)  # 0 times infinity is 0: an end at infinity is never reached


def _square(low: np.ndarray, high: np.ndarray) -> Interval:
    ends = low * low, high * high
    return np.where((low <= 0) & (high >= 0), 0.0, np.minimum(*ends)), np.maximum(*ends)


def _div(a: Interval, b: Interval) -> Interval:
    low, high = b
    across = (low < 0) & (high > 0)
    inverse = (
        np.where(high == 0, -np.inf, 1.0 / high),
        np.where(low == 0, np.where(high == 0, -np.inf, np.inf), 1.0 / low),
    )
    single = low == high  # a division like any other, zeros included
    bounds = _mul(a, inverse)
    exact = _corners(np.divide, a, (np.where(single, low, 1.0), np.where(single, low, 1.0)))
    lower = np.where(single, exact[0], np.where(across, -np.inf, bounds[0]))
    return lower, np.where(single, exact[1], np.where(across, np.inf, bounds[1]))


def _pow(a: Interval, b: Interval) -> Interval:
    positive = _corners(np.power, (np.maximum(a[0], 0.0), np.maximum(a[1], 0.0)), b)
    exponent = b[0]
    whole = (b[0] == b[1]) & (exponent == np.floor(exponent))
    low, high = np.power(a[0], exponent), np.power(a[1], exponent)
    across = (a[0] <= 0) & (a[1] >= 0)
    even = np.mod(exponent, 2) == 0
    least = np.where(across & even & (exponent > 0), 0.0, np.minimum(low, high))
    least = np.where(across & ~even & (exponent < 0), -np.inf, least)
    most = np.where(across & (exponent < 0), np.inf, np.maximum(low, high))
    nonnegative = a[0] >= 0
    lower = np.where(whole, least, np.where(nonnegative, positive[0], -np.inf))
    return lower, np.where(whole, most, np.where(nonnegative, positive[1], np.inf))


def _abs(a: Interval) -> Interval:
    ends = np.abs(a[0]), np.abs(a[1])
    return np.where((a[0] <= 0) & (a[1] >= 0), 0.0, np.minimum(*ends)), np.maximum(*ends)


def _wave(function: Function, top: float) -> Callable[[Interval], Interval]:
    """A sine or cosine, whose values are largest at ``top``."""

    def passes(a: Interval, where: float) -> np.ndarray:
        turns = 2.0 * np.pi
        return np.ceil((a[0] - where) / turns) <= np.floor((a[1] - where) / turns)

    def bounds(a: Interval) -> Interval:
        ends = function(a[0]), function(a[1])
        least = np.where(passes(a, top + np.pi), -1.0, np.minimum(*ends))
        return least, np.where(passes(a, top), 1.0, np.maximum(*ends))

    return bounds


def _tan(a: Interval) -> Interval:
    pole = np.floor(a[0] / np.pi + 0.5) != np.floor(a[1] / np.pi + 0.5)
    return np.where(pole, -np.inf, np.tan(a[0])), np.where(pole, np.inf, np.tan(a[1]))


def _cosh(a: Interval) -> Interval:
    size = _abs(a)
    return np.cosh(size[0]), np.cosh(size[1])


def _quotient(a: Interval, b: Interval) -> Interval:
    ratio = _div(a, b)
    return np.trunc(ratio[0]), np.trunc(ratio[1])


def _rem(a: Interval, b: Interval) -> Interval:
    """Exact where no multiple of ``b`` is passed; else what remains has the sign of ``a``, and is less than either."""
    whole = _quotient(a, b)
    within = (whole[0] == whole[1]) & (b[0] == b[1])
    size = np.minimum(np.maximum(np.abs(b[0]), np.abs(b[1])), np.maximum(np.abs(a[0]), np.abs(a[1])))
    lower = np.where(within, np.fmod(a[0], b[0]), np.where(a[0] < 0, -size, 0.0))
    return lower, np.where(within, np.fmod(a[1], b[1]), np.where(a[1] > 0, size, 0.0))


def _factorial(a: Interval) -> Interval:
    from scipy.special import gamma  # for the few models that have factorials

    low, high = gamma(a[0] + 1.0), gamma(a[1] + 1.0)
    grows = (a[0] >= 0.5) | (a[0] == a[1])
    return np.where(grows, low, -np.inf), np.where(grows, high, np.inf)


def _truth(certain: np.ndarray, possible: np.ndarray) -> Interval:
    return np.where(certain, 1.0, 0.0), np.where(possible, 1.0, 0.0)


def _less(a: Interval, b: Interval) -> Interval:
    return _truth(a[1] < b[0], a[0] < b[1])


def _at_most(a: Interval, b: Interval) -> Interval:
    return _truth(a[1] <= b[0], a[0] <= b[1])


def _equal(a: Interval, b: Interval) -> Interval:
    return _truth((a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0]), (a[0] <= b[1]) & (b[0] <= a[1]))


def _not(a: Interval) -> Interval:
    return 1.0 - a[1], 1.0 - a[0]


def _where(condition: Interval, a: Interval, b: Interval) -> Interval:
    holds = (condition[0] > 0) | (condition[1] < 0)
    fails = (condition[0] == 0) & (condition[1] == 0)
    both = np.minimum(a[0], b[0]), np.maximum(a[1], b[1])
    return tuple(np.where(holds, x, np.where(fails, y, z)) for x, y, z in zip(a, b, both, strict=True))  # type: ignore[return-value]


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "mul": _mul,
    "div": _div,
    "neg": lambda a: (-a[1], -a[0]),
    "pow": _pow,
    "sqrt": _monotone(np.sqrt, 1, (0.0, np.inf)),
    "max": lambda a, b: (np.maximum(a[0], b[0]), np.maximum(a[1], b[1])),
    "min": lambda a, b: (np.minimum(a[0], b[0]), np.minimum(a[1], b[1])),
    "rem": _rem,
    "quotient": _quotient,
    "factorial": _factorial,
    "where": _where,
    "lt": _less,
    "le": _at_most,
    "gt": lambda a, b: _less(b, a),
    "ge": lambda a, b: _at_most(b, a),
    "eq": _equal,
    "ne": lambda a, b: _not(_equal(a, b)),
    "and": _mul,
    "or": lambda a, b: (np.maximum(a[0], b[0]), np.maximum(a[1], b[1])),
    "xor": lambda a, b: _abs((a[0] - b[1], a[1] - b[0])),
    "not": _not,
    **{item.name: _monotone(item.evaluate, item.trend, item.domain) for item in ELEMENTARY if item.trend},
    "abs": _abs,
    "sin": _wave(np.sin, np.pi / 2),
    "cos": _wave(np.cos, 0.0),
    "tan": _tan,
    "cosh": _cosh,
}
