"""The straight-through Gumbel-Softmax estimator as published (Vilar & Saiz, arXiv 2602.19775).

Forward, the exact choice of a reaction; backward, softmax((log a + gumbel) / temperature). Waiting times are E / a0.
The state is read off at the time of observation, so that how many reactions happen before it has no derivative: right
for averages over long times, and wrong for transients (docs/gradients.md has figures). For comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.gradient.estimator import Estimate, Task, walk
from sbmlgrad.gradient.problem import Problem, total
from sbmlgrad.gradient.score import split
from sbmlgrad.gradient.straight_through import Part, Pushforward, refuse_paths, weighted
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.random import threefry2x32
from sbmlgrad.simulation.ssa import Arrays, Step


@dataclass(frozen=True)
class StraightThroughPlain:
    """Gumbel-Softmax straight-through, of the state at the time of observation."""

    temperature: float = 0.2
    name: str = "straight_through_plain"
    unbiased: bool = False

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        refuse_paths(self.name, problem)
        functional = problem.once((self.name, self.temperature), lambda: _Relaxed(problem, self.temperature))
        return estimate_at_observation(problem, task, functional)


def estimate_at_observation(problem: Problem, task: Task, functional: AtObservation) -> Estimate:
    """Means of the functions and of their tangents at the states, as they are when they are observed."""
    point = problem.at(task.values)
    parameters = len(problem.parameters)
    network = problem.network_at(task.values)
    grid, indices = problem.grid(task.times, task.start)
    values, slopes = Moments(), Moments()
    for records in walk(network, point.counts, point.coefficients, functional, point.tangents, task, grid):
        raw, change = split(records, (problem.size,))
        values.add(problem.finish(raw, grid, indices, task.start))
        changes = change.reshape(parameters, problem.size, *change.shape[1:])
        slopes.add(np.stack([problem.finish(c, grid, indices, task.start) for c in changes]))
    return Estimate(values.mean, values.stderr, slopes.mean, slopes.stderr, task.n, values.sd)


@dataclass(frozen=True, eq=False)
class AtObservation(Pushforward):
    """Tangents of the state at the time of observation; integrals of the functions themselves, which averages use."""

    def integrands(self, x: Arrays, coefficients: Arrays) -> tuple[Arrays, Arrays]:
        assert self.problem.network.rates is not None
        rates = tuple(jnp.broadcast_to(a, x[0].shape) for a in self.problem.network.rates(x, coefficients))
        return rates, self.problem.values(x, coefficients)

    def tangents(self, x: Arrays, coefficients: Arrays, parts: list[Part]) -> list[Any]:
        """For each parameter and function its tangent at the state, or an average's integral's."""
        values = self.problem.values(x, coefficients)
        return [
            integral - value * part.time if function.is_integral else tangent
            for part in parts
            for function, tangent, integral, value in zip(
                self.problem.functions, self.at_state(x, coefficients, part), part.integrals, values, strict=True
            )
        ]


@dataclass(frozen=True, eq=False)
class _Relaxed(AtObservation):
    """Gumbel-Softmax choices."""

    temperature: float

    def choices(self, step: Step) -> Callable[[Arrays, Any], list[Any]]:
        soft = self._soft_choice(step)

        def shifts(drates: Arrays, dlog_total: Any) -> list[Any]:
            dlogs = [jnp.where(a > 0, d / a, 0.0) for a, d in zip(step.propensities, drates, strict=True)]
            mean = total([p * d for p, d in zip(soft, dlogs, strict=True)])
            dsoft = tuple(p * (d - mean) / self.temperature for p, d in zip(soft, dlogs, strict=True))
            return [weighted(row, dsoft) for row in self.problem.network.stoichiometry]

        return shifts

    def _soft_choice(self, step: Step) -> list[Array]:
        """softmax((log a + g) / temperature), with Gumbel noise g given that the reaction that fired has the largest.

        The largest is a Gumbel variable at log a0; the others are cut off there (Maddison, Tarlow, Minka, "A*
        sampling", NeurIPS 2014). What they need of randomness is drawn from the bits of the step's uniform.
        """
        top = -jnp.log(_fresh(step.uniform, len(step.propensities)) / step.total)
        values = []
        for j, a in enumerate(step.propensities):
            below = -jnp.log(jnp.exp(-top) + _fresh(step.uniform, j) / jnp.where(a > 0, a, 1.0))
            values.append(jnp.where(a > 0, jnp.where(step.reaction == np.float32(j), top, below), -jnp.inf))
        return _softmax([value / self.temperature for value in values])


def _fresh(uniform: Array, which: int) -> Array:
    """Exponential variables from a uniform's bits, independent for each ``which``."""
    bits = jax.lax.bitcast_convert_type(uniform, jnp.uint64)
    words = ((bits >> np.uint64(32)).astype(jnp.uint32), bits.astype(jnp.uint32))
    high, low = threefry2x32((np.uint32(0x9E3779B9), np.uint32(which)), words)
    fraction = high.astype(jnp.float64) * 2.0**-32 + (low.astype(jnp.float64) + 0.5) * 2.0**-64
    return -jnp.log(fraction)


def _softmax(values: Sequence[Array]) -> list[Array]:
    largest = values[0]
    for value in values[1:]:
        largest = jnp.maximum(largest, value)
    powers = [jnp.where(value > -jnp.inf, jnp.exp(value - largest), 0.0) for value in values]
    return [power / total(powers) for power in powers]
