"""Which propensities depend on which parameters, read off their functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from sbmlgrad.network.network import ReactionNetwork

_CHOOSING = ("select_n", "cond", "while", "max", "min", "clamp", "sort", "top_k", "argmax", "argmin")
_LOOKING_UP = ("gather", "dynamic_slice", "reduce_max", "reduce_min", "cummax", "cummin")
_COMPARING = ("lt", "le", "gt", "ge", "eq", "ne", "lt_to", "le_to", "eq_to", "is_finite")
_SELECTING = frozenset((*_CHOOSING, *_LOOKING_UP, *_COMPARING))
"""Operations behind which NaN may be lost. What is multiplied by a comparison is: XLA makes a choice of that."""

_GOLDEN = 0.6180339887498949


def dependence(network: ReactionNetwork) -> np.ndarray:
    """Which propensities may depend on which coefficients: bool (reactions, coefficients), True when in doubt."""
    assert network.rates is not None
    rates, size = network.rates, len(network.species)
    point = [*(np.array([float(count)]) for count in network.x0), *network.coefficients]
    return arrivals(lambda *values: tuple(rates(values[:size], values[size:])), point, size)


def arrivals(function: Callable[..., Sequence[Any]], point: Sequence[Any], first: int = 0) -> np.ndarray:
    """Which outputs may depend on which arguments from the first on: bool (outputs, arguments), True when in doubt.

    ``point`` has the arguments' shapes; what their values are does not count. A function that chooses nothing is asked
    with NaN, which comes out wherever it goes in; but for 1 to an unknown power, so that other arguments are no such
    numbers. In any other function the operations are followed.
    """
    with jax.ensure_compile_time_eval():  # whoever asks may be traced; numbers are wanted
        traced = jax.make_jaxpr(function)(*(jnp.asarray(value) for value in point))
        if _selects(traced):
            return reach(traced.jaxpr)[:, first:]
        odd = [_odd(index, np.shape(value)) for index, value in enumerate(point)]
        unknown = _are_unknown(function(*odd))
        rows = [
            _are_unknown(function(*odd[:index], jnp.full_like(odd[index], jnp.nan), *odd[index + 1 :]))
            for index in range(first, len(odd))
        ]
    found = np.array(rows, bool).reshape(len(rows), len(unknown)).T
    return np.where(unknown[:, None], reach(traced.jaxpr)[:, first:], found) if unknown.any() else found


def _odd(index: int, shape: tuple[int, ...]) -> Array:
    """Numbers below 1, of which no two are the same."""
    places = (1 + index + np.sqrt(2) * np.arange(np.prod(shape, dtype=int))) * _GOLDEN
    return jnp.asarray(0.3 + 0.6 * (places % 1).reshape(shape))


def _are_unknown(outputs: Sequence[Any]) -> np.ndarray:
    return np.array([bool(np.any(np.isnan(np.asarray(output)))) for output in outputs], bool)


def _selects(traced: ClosedJaxpr) -> bool:
    return any(_any_primitive(equation, _SELECTING) for equation in traced.jaxpr.eqns)


def _any_primitive(equation: Any, names: frozenset[str]) -> bool:
    if equation.primitive.name in names:
        return True
    inner = [p for p in equation.params.values() if hasattr(p, "jaxpr") or hasattr(p, "eqns")]
    return any(_any_primitive(e, names) for p in inner for e in getattr(p, "jaxpr", p).eqns)


def reach(program: Jaxpr) -> np.ndarray:
    """Which outputs depend on which inputs: bool (outputs, inputs), by the operations between them.

    An output depends on whatever an operation on its way was given.
    """
    nothing = np.zeros(len(program.invars), bool)
    rows_of: dict[Any, np.ndarray] = dict.fromkeys(program.constvars, nothing)
    rows_of.update(zip(program.invars, np.eye(len(program.invars), dtype=bool), strict=True))

    def of(variables: Sequence[Any]) -> np.ndarray:
        rows = [nothing if isinstance(v, Literal) else rows_of[v] for v in variables]
        return np.array(rows, bool).reshape(len(rows), len(nothing))

    for equation in program.eqns:
        union: np.ndarray = np.any(of(equation.invars), axis=0)
        rows_of.update(dict.fromkeys(equation.outvars, union))
    return of(program.outvars)
