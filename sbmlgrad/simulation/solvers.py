"""Solvers of differential equations, by what one step of them does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Protocol, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.simulation.rosenbrock import Flow, Slopes, Step, rosenbrock_step

Result = TypeVar("Result")


_NODES = (0.2, 0.3, 0.8, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
TABLEAU = (np.array([row + (0.0,) * (7 - len(row)) for row in ((), *_STAGES)]), np.array(_ERROR))
"""Dormand and Prince's stages (7, 7), of which the last ends the step, and weights (7,) of the error."""

_INNER = (
    *(-12715105075 / 11282082432, 0.0, 87487479700 / 32700410799, -10690763975 / 1880347072),
    *(701980252875 / 199316789632, -1453857185 / 822651844, 69997945 / 29380423),
)


class Solver(Protocol):
    """One step of y' = flow(t, y); frozen and hashable, since loops are compiled for each."""

    @property
    def order(self) -> float:
        """By which its estimate of the error falls with the step."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether it needs no estimate, as it is for flows that it is exact for."""
        ...

    def step(self, flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None) -> Step:
        """A step from ``time`` on; ``slopes`` are the derivatives of the flow by state and time, where known."""
        ...


@dataclass(frozen=True)
class Rosenbrock:
    """Rodas5P, of order 5, for stiff equations (see :mod:`sbmlgrad.simulation.rosenbrock`)."""

    order: float = 5
    is_exact: bool = False

    def step(self, flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None) -> Step:
        return rosenbrock_step(flow, time, step, state, slopes)


@dataclass(frozen=True)
class DormandPrince:
    """Dormand and Prince's pair of orders 5 and 4, for equations that are not stiff.

    J. R. Dormand, P. J. Prince, J. Comput. Appl. Math. 6:19 (1980); dense output of order 4 as in E. Hairer,
    S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd ed., II.6.
    """

    order: float = 5
    is_exact: bool = False

    def step(self, flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None) -> Step:
        return _dormand_prince(flow, time, step, state)


@dataclass(frozen=True)
class Euler:
    """Euler's method, where it is exact: rates of change are constant between events."""

    order: float = 1
    is_exact: bool = True

    def step(self, flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None) -> Step:
        change = step * flow(time, state)
        return step_without_noise(state + change, jnp.zeros_like(state), lambda part: state + part * change, step)


ROSENBROCK = Rosenbrock()


def step_without_noise(state: Array, error: Array, dense: Callable[[Array], Array], step: Array) -> Step:
    """The step of a solver that takes no account of rounding, to ``state`` (variables,) with this ``error``.

    ``dense`` gives the state at a part of the step, from 0 to 1.
    """
    return Step(state, error, dense, jnp.zeros_like(state), jnp.zeros_like, jnp.full_like(state, step))


def _dormand_prince(flow: Flow, time: Array, step: Array, state: Array) -> Step:
    rates = [flow(time, state)]
    after = state
    for node, row in zip(_NODES, _STAGES, strict=True):
        after = state + step * _weighted(row, rates)
        rates.append(flow(time + node * step, after))
    change = after - state
    begin, end = step * rates[0] - change, change - step * rates[-1]
    bend, inner = end - begin, step * _weighted(_INNER, rates)

    def dense(fraction: Array) -> Array:
        left = 1.0 - fraction
        return state + fraction * (change + left * (begin + fraction * (bend + left * inner)))

    return step_without_noise(after, step * _weighted(_ERROR, rates), dense, step)


def _weighted(weights: Sequence[float], rates: Sequence[Array]) -> Array:
    return reduce(add, [weight * rate for weight, rate in zip(weights, rates, strict=True) if weight])


_INSIDE = 1e-12  # stages stay this fraction of a step away from its ends, where conditions on time change


def largest_error(error: Array, tolerance: Array) -> Array:
    """The error in units of the tolerance, as root of the mean square; infinite where it is not a number."""
    if not error.shape[0]:
        return jnp.zeros(())
    size = jnp.sqrt(jnp.mean(jnp.square(error / tolerance)))
    return lax.stop_gradient(jnp.where(jnp.isfinite(size), size, jnp.inf))


def without(noise: Array | float, state: Array) -> Array:
    """The state with 0 for what is below it by no more than noise."""
    return jnp.where((state < 0) & (state >= -noise), 0.0, state)


def inside(flow: Callable[[Array, Array], Result], begin: Array, step: Array) -> Callable[[Array, Array], Result]:
    """The flow with times at the very ends of a step moved inside: conditions on time change only between steps."""
    margin = lax.stop_gradient(jnp.maximum(_INSIDE * step, jnp.minimum(0.01 * step, 8.0 * 2.0**-53 * jnp.abs(begin))))

    def inner(time: Array, state: Array) -> Result:
        return flow(time + margin * (1.0 - 2.0 * (time - begin) / step), state)

    return inner
