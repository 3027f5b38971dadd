"""The score function with martingale control variates: unbiased, with a fraction of the score's variance.

For a feature g of the state and an interval (s, e] before t, the martingale M = g(X_e) - g(X_s) - integral of (A g)
has mean 0, and E[W_t M] = E[D] with D = integral over (s, e] of sum_j d a_j (g(x + S_j) - g(x)) du. So F W_t may be
corrected by any multiple of D - W_t M, of M and of W_t, all of mean 0. Were g what is expected of F given the state,
F W_t - W_t M + D would be free of the noise of all events in the interval. Coefficients come from least squares over
features and intervals, those of one half of the trajectories from the other half, so that nothing is biased.

The identity behind it is that of Girsanov and Dynkin, as in integral path estimators (Gupta, Rathinam, Khammash, J.
Comput. Phys. 2018); control variates by regression are standard (Glasserman, Monte Carlo Methods, 2004, section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.accumulator import Accumulator, Direct
from sbmlgrad.gradient.controls import Controlled, between, linear_algebra
from sbmlgrad.gradient.estimator import Estimate, Task, walk
from sbmlgrad.gradient.features import Features, choose
from sbmlgrad.gradient.problem import Problem, Tangents, total
from sbmlgrad.gradient.score import (
    direct_part,
    rate_slopes,
    refuse_counts,
    refuse_switched_off,
    score_gain,
    split,
    split_tuple,
)
from sbmlgrad.gradient.sparse_score import served, sparse_estimate
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.ssa import Arrays, Step


@dataclass(frozen=True)
class ControlledScore:
    """The score function, corrected by martingales of features of the state."""

    name: str = "controlled_score"
    unbiased: bool = True

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        # Simulations beside it keep the cores busy; threads of linear algebra would wait for each other on them.
        with linear_algebra().limit(limits=1):
            return self._estimate(problem, task)

    def _estimate(self, problem: Problem, task: Task) -> Estimate:
        point = problem.at(task.values)
        refuse_counts(self.name, problem, point.tangents)
        data = served(problem)
        if data is not None and (found := sparse_estimate(self.name, problem, data, point, task)) is not None:
            return found
        refuse_switched_off(self.name, problem, point)
        functional = _functional(problem, point.tangents)
        network = problem.network_at(task.values)
        grid, indices = problem.grid(task.times, task.start, between(task))
        parameters = len(problem.parameters)
        latest = problem.latest(grid, indices)
        fits = Controlled(latest, grid, task.start, task.n, parameters, functional.features.size)
        values = Moments()
        for records in walk(network, point.counts, point.coefficients, functional, point.tangents, task, grid):
            raw, scores, rest = split(records, (problem.size, parameters))
            seen = problem.finish(raw, grid, indices, task.start)
            values.add(seen)
            tracks = functional.read(rest)
            direct = direct_part(problem, raw, tracks.direct, parameters, grid, indices, task.start)
            fits.add(seen, scores, tracks.features - tracks.drift, tracks.gains, direct)
        slopes, stderr = fits.derivatives()
        mean, error = fits.expectations()
        return Estimate(mean, error, slopes, stderr, task.n, values.sd)


def _functional(problem: Problem, tangents: Tangents) -> _Tracked:
    def build() -> _Tracked:
        features = choose(problem, len(problem.parameters)) or Features(problem, (), ())
        return _Tracked(problem, features, _pairs(problem, features, tangents))

    tracked: _Tracked = problem.once("controlled_score", build)
    return tracked


class _Tracks(NamedTuple):
    """Records as arrays (features, grid, n), ``gains`` one for each parameter."""

    features: np.ndarray
    drift: np.ndarray
    gains: np.ndarray
    direct: np.ndarray


@dataclass(frozen=True, eq=False)
class _Tracked:
    """Carries the score, and for each feature the integrals of its drift and of what each parameter does to it."""

    problem: Problem
    features: Features

    pairs: tuple[tuple[int, int, tuple[int, ...]], ...]
    """(parameter, feature, reactions) wherever the parameter moves rates that move the feature"""

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        parameters = len(aux.coefficients)
        zeros = tuple(jnp.zeros_like(x[0]) for _ in range(parameters + self.features.size + len(self.pairs)))
        return (*Accumulator(self.problem).initial(x), *zeros, *Direct(self.problem).initial(x, parameters))

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        accumulator, direct = Accumulator(self.problem), Direct(self.problem)
        seen, scores, drift, gains, slopes = self._parts(carry, len(aux.coefficients))
        rows = self.features.changes(step.x, step.coefficients)
        rates = rate_slopes(self.problem, step, aux)
        return (
            *accumulator.advance(seen, step.x, step.wait, step.coefficients),
            *(s + g for s, g in zip(scores, score_gain(step, rates), strict=True)),
            *(old + step.wait * _dot(step.propensities, row) for old, row in zip(drift, rows, strict=True)),
            *(
                old + step.wait * _dot([rates[p][j] for j in reactions], [rows[m][j] for j in reactions])
                for old, (p, m, reactions) in zip(gains, self.pairs, strict=True)
            ),
            *direct.advance(slopes, step.x, step.wait, step.coefficients, aux),
        )

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        seen, scores, drift, gains, slopes = self._parts(carry, len(aux.coefficients))
        return (
            *Accumulator(self.problem).record(seen, x, coefficients),
            *scores,
            *self.features.values(x, coefficients),
            *drift,
            *gains,
            *Direct(self.problem).record(slopes, x, coefficients, aux),
        )

    def read(self, records: np.ndarray) -> _Tracks:
        """Records (arrays, grid, n) after those of observables and scores."""
        size = self.features.size
        features, drift, gains, direct = split(records, (size, size, len(self.pairs)))
        by_parameter = np.zeros((len(self.problem.parameters), *features.shape))
        for (p, m, _), gain in zip(self.pairs, gains, strict=True):
            by_parameter[p, m] = gain
        return _Tracks(features, drift, by_parameter, direct)

    def _parts(self, carry: Arrays, parameters: int) -> list[Arrays]:
        return split_tuple(
            carry, (len(Accumulator(self.problem).tracked), parameters, self.features.size, len(self.pairs))
        )


def _dot(left: Sequence[Any], right: Sequence[Any]) -> Any:
    return total([a * b for a, b in zip(left, right, strict=True) if not _is_zero(b)])


def _pairs(problem: Problem, features: Features, tangents: Tangents) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    if not features.size:
        return ()
    reached = problem.reached
    probe = tuple(np.zeros(1) for _ in problem.network.species)
    rows = features.changes(probe, problem.network.coefficients)
    result = []
    for p, row in enumerate(tangents.coefficients):
        moves = [c for c, d in enumerate(row) if d is not None]
        moved = [j for j in range(len(reached)) if reached[j, moves].any()]
        for m, changes in enumerate(rows):
            reactions = tuple(j for j in moved if not _is_zero(changes[j]))
            if reactions:
                result.append((p, m, reactions))
    return tuple(result)


def _is_zero(value: Any) -> bool:
    return isinstance(value, float) and value == 0.0
