"""Which propensities depend on which parameters, read off their functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from sbmlgrad.network.network import ReactionNetwork

_SELECTING = frozenset({"select_n", "cond", "while", "max", "min", "clamp"})


def dependence(network: ReactionNetwork) -> np.ndarray:
    """Which propensities may depend on which coefficients: bool (reactions, coefficients), True when in doubt."""
    with jax.ensure_compile_time_eval():  # whoever asks may be traced; numbers are wanted
        return _dependence(network)


def _dependence(network: ReactionNetwork) -> np.ndarray:
    assert network.rates is not None
    rates = network.rates
    point = (tuple(jnp.asarray([float(c)]) for c in network.x0), tuple(jnp.asarray(c) for c in network.coefficients))
    traced = jax.make_jaxpr(lambda x, c: tuple(rates(x, c)))(*point)
    if not _selects(traced):  # then NaN in, NaN out
        rows = []
        for index, coefficient in enumerate(point[1]):
            poisoned = list(point[1])
            poisoned[index] = jnp.full_like(coefficient, jnp.nan)
            rows.append([bool(np.any(np.isnan(np.asarray(a)))) for a in rates(point[0], tuple(poisoned))])
        return np.array(rows, bool).reshape(len(point[1]), len(network.reactions)).T
    return reach(traced.jaxpr)[:, len(point[0]) :]


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
