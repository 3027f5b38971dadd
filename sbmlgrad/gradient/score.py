"""The score function estimator (likelihood ratio, Girsanov): unbiased, with no derivative of the observable.

d E F = E F W_t with W_t = d log p(path up to t) = sum over events of d log a_j - integral of d a0 du, for every
function F of the path up to t (Plyasunov & Arkin, J. Comput. Phys. 2007). Centred: F minus its sample mean, which
W's zero mean allows. With a window w, only the score of the last w before t: less noise, and a bias by what
parameters did before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.accumulator import Accumulator, Direct
from sbmlgrad.gradient.estimator import Estimate, Task, walk, walk_on_device
from sbmlgrad.gradient.problem import Point, Problem, Tangents, are_off, probes, push, stack, total
from sbmlgrad.gradient.sparse_score import served, sparse_estimate
from sbmlgrad.simulation import grains
from sbmlgrad.simulation.ensemble import on_accelerator
from sbmlgrad.simulation.moments import GrainMoments, Moments, grain_moments
from sbmlgrad.simulation.shares import GRAIN
from sbmlgrad.simulation.ssa import Arrays, Step, select_by


@dataclass(frozen=True)
class Score:
    """The centred score function; initial counts have no density and so no score."""

    window: float | None = None
    """How far before each time the score reaches back, in the model's unit of time; to the start if None."""
    name: str = "score"

    @property
    def unbiased(self) -> bool:
        return self.window is None

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        point = problem.at(task.values)
        refuse_counts(self.name, problem, point.tangents)
        data = None if self.window is not None else served(problem)
        if data is not None and (found := sparse_estimate(self.name, problem, data, point, task)) is not None:
            return found
        refuse_switched_off(self.name, problem, point)
        back = np.array([] if self.window is None else np.maximum(task.times - self.window, task.start))
        network = problem.network_at(task.values)
        grid, indices = problem.grid(task.times, task.start, back.tolist())
        functional = problem.once("score", lambda: _PathScore(problem))
        samples = _Samples(problem, grid, indices, task.start, self.window)
        values, slopes = Moments(), Moments()
        walked = (network, point.counts, point.coefficients, functional, point.tangents, task, grid)
        if on_accelerator():
            moments = problem.once(("moments of scores", samples.key), lambda: jax.jit(samples.moments))

            def take(arrays: tuple[Array, ...], count: int) -> tuple[GrainMoments, ...]:
                return tuple(grains.fetched(part, count) for part in moments(arrays, np.int32(count)))

            chunks = walk_on_device(*walked, take)
        else:
            chunks = walk(*walked, lambda records: tuple(map(grain_moments, samples.of(records, mean_of_others))))
        for seen, sample in chunks:
            values.add_grains(*seen)
            slopes.add_grains(*sample)
        return Estimate(values.mean, values.stderr, slopes.mean, slopes.stderr, task.n, values.sd)


@dataclass(frozen=True, eq=False)
class _Samples:
    """What each trajectory contributes, of the records that :class:`_PathScore` makes at times of ``grid``."""

    problem: Problem
    grid: np.ndarray
    indices: np.ndarray
    start: float
    window: float | None

    @property
    def key(self) -> tuple[Any, ...]:
        """Tells apart what is compiled."""
        return self.grid.tobytes(), self.indices.tobytes(), self.start, self.window

    def of(self, records: Sequence[Any], others: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Functions (functions, times, n), and samples (parameters, functions, times, n) of their derivatives."""
        problem, grid, indices, parameters = self.problem, self.grid, self.indices, len(self.problem.parameters)
        raw, scores, direct = split(records, (problem.size, parameters))
        seen = problem.finish(raw, grid, indices, self.start)
        latest = problem.latest(grid, indices)
        weight = scores[:, latest]
        if self.window is not None:
            weight = weight - scores[:, np.searchsorted(grid, np.maximum(grid[latest] - self.window, self.start))]
        samples = (seen - others(seen))[None] * weight
        return seen, samples + direct_part(problem, raw, direct, parameters, grid, indices, self.start)

    def moments(self, records: Sequence[Array], count: Array) -> tuple[GrainMoments, GrainMoments]:
        """Moments by grain of both, of the first ``count`` trajectories of a batch."""
        seen, samples = self.of(records, lambda values: grains.mean_of_others(values, count))
        return grains.moments_of(seen, count), grains.moments_of(samples, count)


@dataclass(frozen=True, eq=False)
class _PathScore:
    """The observables, the score of the path for each parameter, and direct derivatives."""

    problem: Problem

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        scores = tuple(jnp.zeros_like(x[0]) for _ in aux.coefficients)
        return (*Accumulator(self.problem).initial(x), *scores, *Direct(self.problem).initial(x, len(scores)))

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        accumulator, direct = Accumulator(self.problem), Direct(self.problem)
        seen, scores, slopes = split_tuple(carry, (len(accumulator.tracked), len(aux.coefficients)))
        return (
            *accumulator.advance(seen, step.x, step.wait, step.coefficients),
            *(s + gain for s, gain in zip(scores, score_gain(step, rate_slopes(self.problem, step, aux)), strict=True)),
            *direct.advance(slopes, step.x, step.wait, step.coefficients, aux),
        )

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        accumulator, direct = Accumulator(self.problem), Direct(self.problem)
        seen, scores, slopes = split_tuple(carry, (len(accumulator.tracked), len(aux.coefficients)))
        return (
            *accumulator.record(seen, x, coefficients),
            *scores,
            *direct.record(slopes, x, coefficients, aux),
        )


def score_gain(step: Step, slopes: Sequence[Any]) -> list[Any]:
    """What a step adds to the score for each parameter, from the derivatives of propensities by it."""
    inverse = 1.0 / select_by(step.reaction, step.propensities, 1.0)
    return [select_by(step.reaction, list(rates), 0.0) * inverse - step.wait * total(rates) for rates in slopes]


def rate_slopes(problem: Problem, step: Step, aux: Tangents) -> list[Any]:
    """Derivatives of the propensities by each parameter, one array a reaction, or 0.0 where there is none."""
    assert problem.network.rates is not None
    reached = problem.reached
    no_tangent = [None] * len(step.x)
    slopes = []
    for row in aux.coefficients:
        moves = [c for c, d in enumerate(row) if d is not None]
        pushed = push(problem.network.rates, step.x, step.coefficients, no_tangent, row)[1]
        slopes.append([slope if reached[j, moves].any() else 0.0 for j, slope in enumerate(pushed)])
    return slopes


def refuse_counts(name: str, problem: Problem, tangents: Tangents) -> None:
    """Raise :class:`EstimatorError` for parameters that move initial counts: those are fixed, not drawn."""
    for index, parameter in enumerate(problem.parameters):
        if tangents.moves_counts(index):
            raise EstimatorError(
                f"estimator {name!r} has no derivative for initial amounts, which {parameter!r} moves: they are "
                "fixed, not drawn; use 'auto', 'coupled_fd', 'alternative_path' or 'straight_through'"
            )


def refuse_switched_off(name: str, problem: Problem, point: Point) -> None:
    """Raise :class:`EstimatorError` for parameters at 0 that switch a reaction off, which then no path shows."""
    rates_of = problem.network.rates
    assert rates_of is not None
    probe = tuple(probes(point.counts))
    no_tangent = [None] * len(probe)
    compiled = problem.once(
        "rates and slopes", lambda: jax.jit(lambda x, values, row: push(rates_of, x, values, no_tangent, row))
    )
    for parameter, row in zip(problem.parameters, point.tangents.coefficients, strict=True):
        rates, slopes = compiled(probe, point.coefficients, row)
        for reaction, rate, slope in zip(problem.network.reactions, rates, slopes, strict=True):
            if are_off(rate, slope).any():
                raise EstimatorError(
                    f"estimator {name!r} learns from reactions that fire, and {parameter!r} at its value switches "
                    f"{reaction!r} off; use 'auto' or 'alternative_path'"
                )


def direct_part(
    problem: Problem,
    raw: np.ndarray,
    direct: np.ndarray,
    parameters: int,
    grid: np.ndarray,
    indices: np.ndarray,
    start: float,
) -> np.ndarray | float:
    """Direct derivatives (parameters, functions, times, n) from records of :class:`Direct`."""
    if not len(direct):
        return 0.0
    changes = direct.reshape(parameters, problem.size, *direct.shape[1:])
    return stack([problem.finish_tangent(raw, change, grid, indices, start) for change in changes])


def split(records: Sequence[np.ndarray] | np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Records as arrays (size, grid, n): parts of these sizes, and the rest."""
    bounds = [0, *np.cumsum(sizes).tolist(), len(records)]
    empty = np.zeros((0, *records[0].shape))
    return [stack(list(records[a:b])) if b > a else empty for a, b in itertools.pairwise(bounds)]


def split_tuple(items: Arrays, sizes: Sequence[int]) -> list[Arrays]:
    """Parts of these sizes, and the rest."""
    bounds = [0, *np.cumsum(sizes).tolist(), len(items)]
    return [items[a:b] for a, b in itertools.pairwise(bounds)]


def mean_of_others(values: np.ndarray) -> np.ndarray:
    """For each trajectory, the mean (functions, times, n) of the others of its grain.

    So that centring adds no bias, and chunks of whole grains give the same samples however an ensemble is cut.
    """
    begins = np.arange(0, values.shape[-1], GRAIN)
    sizes = np.diff(begins, append=values.shape[-1])
    sums = np.repeat(np.add.reduceat(values, begins, axis=-1), sizes, axis=-1)
    return (sums - values) / np.repeat(np.maximum(sizes - 1, 1), sizes)
