"""Numbers from expressions: float64 as IEEE 754 has it, and the order in which assignments are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

import numpy as np
import sympy

from sbmlgrad.errors import SbmlError
from sbmlgrad.model.elementary import ELEMENTARY, INVERTED
from sbmlgrad.model.functions import DISTRIBUTIONS, delayed, draw, quotient, rem

T = TypeVar("T")


def evaluate(expression: Any, values: Mapping[str, float]) -> float:
    """The value of an expression with ``values`` for its symbols, by id.

    Arithmetic is IEEE float64 throughout: 1/0 is inf, 0/0 is nan, overflow is inf, and nothing raises for
    want of a number. A truth value comes back as 1.0 or 0.0. A value of the past is that of now, and a random
    number the mean of its (untruncated) distribution.

    Raises
    ------
    KeyError
        if a symbol has no value.
    """
    if isinstance(expression, sympy.Number):
        return float(expression)
    with np.errstate(all="ignore"):
        return float(_value(expression, values))


def assignment_order(dependencies: Mapping[str, Iterable[str]], source: str) -> tuple[str, ...]:
    """The keys in an order in which each comes after the keys that it depends on.

    Dependencies that are no key themselves are passed over. A cycle raises :class:`SbmlError` naming its ids.
    """
    graph = {key: [need for need in needs if need in dependencies] for key, needs in dependencies.items()}
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise SbmlError(
            f"{source}: the assignments of {cycle} depend on each other in a circle; break it by removing"
            " one of these rules or initial assignments"
        ) from None


def reaching(symbols: Set[T], needs: Mapping[T, Set[T]]) -> Set[T]:
    """These symbols, and those that are computed from them, directly or through others."""
    users: dict[T, list[T]] = {}
    for item, needed in needs.items():
        for other in needed:
            users.setdefault(other, []).append(item)
    reached, pending = set(symbols), list(symbols)
    while pending:
        new = [item for item in users.get(pending.pop(), ()) if item not in reached]
        reached.update(new)
        pending.extend(new)
    return reached


def symbol_ids(expression: Any) -> tuple[str, ...]:
    """The ids of the symbols in an expression, sorted."""
    return tuple(sorted(symbol.name for symbol in expression.free_symbols))


def _value(node: Any, values: Mapping[str, float]) -> Any:
    if isinstance(node, sympy.Symbol):
        return np.float64(values[node.name])
    rule = _RULES.get(node.func)
    if rule is not None:
        return rule(node.args, values)
    function = _FUNCTIONS.get(node.func)
    if function is not None:
        return function(*[_value(arg, values) for arg in node.args])
    if node in (sympy.true, sympy.false):
        return node is sympy.true
    if node is sympy.zoo:
        return np.float64(math.inf)
    if node.is_number and not node.has(sympy.I):
        return np.float64(float(node))
    raise TypeError(f"no rule to evaluate {node.func.__name__}")


def _sum(args: tuple[Any, ...], values: Mapping[str, float]) -> Any:
    total = np.float64(0.0)
    for arg in args:
        total = total + _value(arg, values)
    return total


def _product(args: tuple[Any, ...], values: Mapping[str, float]) -> Any:
    total = np.float64(1.0)
    for arg in args:
        # dividing, where a quotient was written, rounds once instead of twice
        if arg.func is sympy.Pow and arg.args[1] == -1:
            total = total / _value(arg.args[0], values)
        else:
            total = total * _value(arg, values)
    return total


def _power(args: tuple[Any, ...], values: Mapping[str, float]) -> Any:
    base = _value(args[0], values)
    if args[1] == -1:
        return 1.0 / base
    if args[1] == sympy.S.Half:
        return np.sqrt(base)
    return np.power(base, _value(args[1], values))


def _piecewise(args: tuple[Any, ...], values: Mapping[str, float]) -> Any:
    for value, condition in args:
        if _value(condition, values):
            return _value(value, values)
    return np.float64(math.nan)


def _mean(args: tuple[Any, ...], values: Mapping[str, float]) -> Any:
    distribution = DISTRIBUTIONS[int(args[0])]
    parameters = [float(_value(arg, values)) for arg in args[2:]]
    try:
        return np.float64(distribution.mean(*parameters[: distribution.parameters]))
    except (ArithmeticError, ValueError):
        return np.float64(math.nan)


def _fold(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def folded(*args: Any) -> Any:
        result = args[0]
        for arg in args[1:]:
            result = function(result, arg)
        return result

    return folded


_RULES: dict[Any, Callable[[tuple[Any, ...], Mapping[str, float]], Any]] = {
    sympy.Add: _sum,
    sympy.Mul: _product,
    sympy.Pow: _power,
    sympy.Piecewise: _piecewise,
    delayed: lambda args, values: _value(args[0], values),
    draw: _mean,
    sympy.And: lambda args, values: all(_value(arg, values) for arg in args),
    sympy.Or: lambda args, values: any(_value(arg, values) for arg in args),
    sympy.Xor: lambda args, values: sum(bool(_value(arg, values)) for arg in args) % 2 == 1,
    sympy.Not: lambda args, values: not _value(args[0], values),
}


def _inverted(function: Callable[[Any], Any], inside: bool) -> Callable[[Any], Any]:
    return (lambda x: function(1.0 / x)) if inside else (lambda x: 1.0 / function(x))


_OF_ONE = {function.name: function.evaluate for function in ELEMENTARY}

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{function.symbol: function.evaluate for function in ELEMENTARY},
    **{item.symbol: _inverted(_OF_ONE[item.of], item.inside) for item in INVERTED},
    sympy.Max: _fold(np.maximum),
    sympy.Min: _fold(np.minimum),
    quotient: lambda a, b: np.trunc(a / b),
    rem: np.fmod,
    sympy.Eq: lambda a, b: a == b,
    sympy.Ne: lambda a, b: a != b,
    sympy.Lt: lambda a, b: a < b,
    sympy.Le: lambda a, b: a <= b,
    sympy.Gt: lambda a, b: a > b,
    sympy.Ge: lambda a, b: a >= b,
}
