"""Steps of the Rosenbrock method Rodas5P: for stiff equations, of order 5, without iterations.

Each step solves eight linear systems with one matrix, which makes a small program and one that differentiates as it
stands. Coefficients, error estimate and dense output (order 4) are those of G. Steinebach, "Construction of
Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia Differential Equations package", BIT
Numerical Mathematics 63:27 (2023).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Flow = Callable[[Array, Array], Array]
Dense = Callable[[Array], Array]
Slopes = Callable[[Array, Array], tuple[Array, Array]]

_GAMMA = 0.21193756319429014
_STAGES = 8


def _lower(*rows: tuple[float, ...]) -> np.ndarray:
    matrix = np.zeros((_STAGES, _STAGES))
    for index, row in enumerate(rows, start=1):
        matrix[index, : len(row)] = row
    return matrix


_LAST = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)
_A = _lower(
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    _LAST,
    (*_LAST, 1.0),
    (*_LAST, 1.0, 1.0),
)
_C = _lower(
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        *(30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783),
        *(-19.097331116725623, -28.087943162872662),
    ),
    (
        *(37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047),
        *(-40.06618937091002, -54.66780262877968, -9.48861652309627),
    ),
)
_TIMES = np.array([0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0])
_TIME_WEIGHTS = np.array(
    [_GAMMA, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069, 0.0, 0.0, 0.0]
)
_DENSE = np.array(
    [
        [
            *(25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204),
            *(0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493),
        ],
        [
            *(-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796),
            *(20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372),
        ],
        [
            *(11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643),
            *(-52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722),
        ],
    ]
)


class Step(NamedTuple):
    """A step of y' = flow(t, y), from a state (n,)."""

    state: Array  # (n,) after the step
    error: Array  # (n,) an estimate of its error
    dense: Dense  # the way there, a function of the fraction of the step, 0 to 1
    terms: Array  # (n,) about the size of the terms of which the flow is the sum, as far as it is known
    spread: Callable[[Array], Array]  # how far errors of the state (n,) may move the flow (n,)
    memory: Array  # (n,) for how long what is added to a variable stays there, at most the step


def rosenbrock_step(flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None = None) -> Step:
    """One step of y' = flow(t, y).

    ``slopes`` are the derivatives of the flow by state and time, where they are known better than by differentiating
    it in every direction.
    """
    size = state.shape[0]
    # x**n with n < 1 has no slope at 0; without it the step is still a step, of lower order
    jacobian, slope = (
        jnp.where(jnp.isfinite(part), part, 0.0) for part in (slopes or partial(_slopes, flow))(time, state)
    )
    order, indices = _zeros_last(state)
    matrix = (jnp.eye(size) / (step * _GAMMA) - jacobian)[order][:, order]
    factors = jax.scipy.linalg.lu_factor(lax.stop_gradient(matrix))
    a, c, times, weights = (jnp.asarray(part) for part in (_A, _C, _TIMES, _TIME_WEIGHTS))

    def stage(index: Array, stages: Array) -> Array:
        inner = state + a[index] @ stages
        right = flow(time + times[index] * step, inner) + (c[index] @ stages) / step + step * weights[index] * slope
        return stages.at[index].set(_solved(factors, matrix, right[order])[indices])

    stages = lax.fori_loop(0, _STAGES, stage, jnp.zeros((_STAGES, size)))
    end = state + a[-1] @ stages + stages[-1]
    bends = jnp.asarray(_DENSE) @ stages

    def dense(fraction: Array) -> Array:
        left = 1.0 - fraction
        bend = bends[0] + fraction * (bends[1] + fraction * bends[2])
        return left * state + fraction * (end + left * bend)

    def spread(errors: Array) -> Array:
        return jnp.abs(jacobian) @ errors

    terms = spread(jnp.abs(state)) + jnp.abs(slope * time)  # as if each was a power of a variable
    return Step(end, stages[-1], dense, terms, spread, 1.0 / (1.0 / step + jnp.abs(jnp.diagonal(jacobian))))


def _slopes(flow: Flow, time: Array, state: Array) -> tuple[Array, Array]:
    """The derivatives of a flow by state (n, n) and time (n,)."""
    size = state.shape[0]
    both = jax.vmap(lambda v: jax.jvp(flow, (time, state), (v[-1], v[:-1]))[1], out_axes=1)(jnp.eye(size + 1))
    return both[:, :size], both[:, size]


def _zeros_last(state: Array) -> tuple[Array, Array]:
    """The variables in an order in which those that are exactly 0 come last, and the index of each in it.

    What is absent and made by nothing that is there has rows of zeros but for others like it. Ordered like this, no
    pivot of elimination mixes such a row with others, and it stays exactly absent. Otherwise rounding errors would
    bring it into being, which matters where it can multiply: nobody is infected by a rounding error.
    """
    there = state != 0
    indices = jnp.where(there, jnp.cumsum(there) - 1, jnp.sum(there) + jnp.cumsum(~there) - 1)
    numbers = jnp.arange(state.shape[0])
    return jnp.zeros_like(numbers).at[indices].set(numbers), indices


@jax.custom_jvp
def _solved(factors: tuple[Array, Array], matrix: Array, right: Array) -> Array:
    """``x`` with ``matrix x = right``, from the factors of the matrix."""
    del matrix
    return jax.scipy.linalg.lu_solve(factors, right)


@_solved.defjvp
def _solved_tangent(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    # the same factors serve for the derivative, which is cheaper than to differentiate the factors
    factors, matrix, right = primals
    _, change, right_change = tangents
    solution = _solved(factors, matrix, right)
    return solution, jax.scipy.linalg.lu_solve(factors, right_change - change @ solution)
