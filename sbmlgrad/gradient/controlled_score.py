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
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from threadpoolctl import ThreadpoolController

from sbmlgrad.gradient.accumulator import Accumulator, Direct
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
from sbmlgrad.simulation.ensemble import GRAIN
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.ssa import Arrays, Step

_BACK = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)  # where intervals begin, as parts of the time before t
_PER_CONTROL = 50  # trajectories that a coefficient needs at least: with fewer, standard errors come out too small
_LEARN_FROM = 200  # trajectories for each coefficient, where there are so many: rare reactions need them
_PENALTIES = (1e-10, 1e-7, 1e-5, 1e-3)  # of ridge regression, over the largest eigenvalue
_MOST_PRODUCTS = 2_000_000  # of controls with each other, over all parameters and times, a trajectory


@dataclass(frozen=True)
class ControlledScore:
    """The score function, corrected by martingales of features of the state."""

    name: str = "controlled_score"
    unbiased: bool = True

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        # Simulations beside it keep the cores busy; threads of linear algebra would wait for each other on them.
        with _linear_algebra().limit(limits=1):
            return self._estimate(problem, task)

    def _estimate(self, problem: Problem, task: Task) -> Estimate:
        point = problem.at(task.values)
        refuse_counts(self.name, problem, point.tangents)
        refuse_switched_off(self.name, problem, point)
        functional = _functional(problem, point.tangents)
        network = problem.network_at(task.values)
        grid, indices = problem.grid(task.times, task.start, _between(task))
        parameters = len(problem.parameters)
        latest = problem.latest(grid, indices)
        targets = [int(target) for target in np.unique(latest)]
        intervals = _intervals(functional, task.n, parameters * len(targets))
        learned = _LEARN_FROM * (1 + 2 * functional.features.size * intervals) // GRAIN * GRAIN + GRAIN
        fits = {(p, t): _CrossFit(np.argwhere(latest == t), learned) for t in targets for p in range(parameters)}
        levels = {t: _CrossFit(np.argwhere(latest == t), learned) for t in targets}
        values = Moments()
        centre: np.ndarray | None = None  # keeps numbers small; the control W makes up for it
        for records in walk(network, point.counts, point.coefficients, functional, point.tangents, task, grid):
            raw, scores, rest = split(records, (problem.size, parameters))
            seen = problem.finish(raw, grid, indices, task.start)
            values.add(seen)
            centre = seen[..., :GRAIN].mean(axis=-1, keepdims=True) if centre is None else centre
            tracks = functional.read(rest)
            direct = direct_part(problem, raw, tracks.direct, parameters, grid, indices, task.start)
            for target in targets:
                bounds = _bounds(grid, target, task.start, intervals)
                martingales = _increments(tracks.features, bounds) - _increments(tracks.drift, bounds)
                f, k = levels[target].cells.T
                levels[target].add((seen - centre)[f, k], _Martingales(martingales))
                for p in range(parameters):
                    fit = fits[p, target]
                    samples = (seen - centre)[f, k] * scores[p, target]
                    if isinstance(direct, np.ndarray):
                        samples = samples + direct[p, f, k]
                    fit.add(samples, _Controls(scores[p, target], martingales, _increments(tracks.gains[p], bounds)))
        shape = (parameters, problem.size, len(task.times))
        slopes, stderr = np.zeros(shape), np.zeros(shape)
        for (p, _), fit in fits.items():
            f, k = fit.cells.T
            slopes[p, f, k], stderr[p, f, k] = fit.result()
        mean, error = np.zeros(shape[1:]), np.zeros(shape[1:])
        for level in levels.values():
            f, k = level.cells.T
            mean[f, k], error[f, k] = level.result()
        mean = mean if centre is None else mean + centre[..., 0]
        return Estimate(mean, error, slopes, stderr, task.n, values.sd)


@cache
def _linear_algebra() -> ThreadpoolController:
    return ThreadpoolController()


def _functional(problem: Problem, tangents: Tangents) -> _Tracked:
    def build() -> _Tracked:
        features = choose(problem, len(problem.parameters)) or Features(problem, (), ())
        return _Tracked(problem, features, _pairs(problem, features, tangents))

    tracked: _Tracked = problem.once("controlled_score", build)
    return tracked


def _between(task: Task) -> list[float]:
    """Times to record at besides those asked for, so that intervals before them can be told apart."""
    chosen = task.times if len(task.times) <= 3 else task.times[[0, -1]]
    return [task.start, *(float(t - part * (t - task.start)) for t in chosen for part in _BACK)]


def _intervals(functional: _Tracked, n: int, fits: int) -> int:
    """How many intervals the number of trajectories, and of fits to be made, allows."""
    each = 2 * functional.features.size
    if not each:
        return 0
    most = min(len(_BACK) + 1, (n / _PER_CONTROL - 1) // each, np.sqrt(_MOST_PRODUCTS / fits) // each)
    return max(int(most), 0)


def _bounds(grid: np.ndarray, target: int, start: float, intervals: int) -> list[int]:
    """Places in the grid at which intervals begin and end, the shorter the nearer to the target."""
    targets = grid[target] - np.array(_BACK[: max(intervals - 1, 0)]) * (grid[target] - start)
    nearest = {int(np.argmin(np.abs(grid[: target + 1] - t))) for t in targets}
    return sorted({0, target} | nearest) if intervals else [0]


def _increments(tracks: np.ndarray, bounds: list[int]) -> np.ndarray:
    """What tracks (features, grid, n) gain in each interval: (intervals * features, n)."""
    return np.diff(tracks[:, bounds], axis=1).transpose(1, 0, 2).reshape(-1, tracks.shape[-1])


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


class _Controls(NamedTuple):
    """Control variates of one parameter and time: the score W, the martingales M, and gain - W M for each."""

    score: np.ndarray
    martingales: np.ndarray
    gains: np.ndarray

    def part(self, which: slice) -> _Controls:
        """Those of some of the trajectories."""
        return _Controls(self.score[which], self.martingales[:, which], self.gains[:, which])

    def stacked(self) -> np.ndarray:
        """One row a control."""
        return np.concatenate([self.score[None], self.martingales, self.gains - self.score * self.martingales])

    def weighted(self, slopes: np.ndarray) -> np.ndarray:
        """``slopes`` (controls, cells) of the controls, without stacking them: (cells, n)."""
        size = len(self.martingales)
        by_score, by_martingale, by_gain = slopes[:1].T, slopes[1 : size + 1].T, slopes[size + 1 :].T
        along = by_gain @ self.martingales
        return self.score * (by_score - along) + by_martingale @ self.martingales + by_gain @ self.gains


class _Martingales(NamedTuple):
    """The martingales alone (controls, n), which correct expectations themselves."""

    rows: np.ndarray

    def part(self, which: slice) -> _Martingales:
        """Those of some of the trajectories."""
        return _Martingales(self.rows[:, which])

    def stacked(self) -> np.ndarray:
        """One row a control, and at least one."""
        return self.rows if len(self.rows) else np.zeros((1, self.rows.shape[1]))

    def weighted(self, slopes: np.ndarray) -> np.ndarray:
        """``slopes`` (controls, cells) of the controls: (cells, n)."""
        return slopes.T @ self.stacked()


class _CrossFit:
    """Samples (cells, n) regressed on controls of mean 0.

    Of the first ``learned`` trajectories each half is corrected with the coefficients of the other, and all later ones
    with those of both. Of several penalties on coefficients each cell takes that of least variance in the other half.
    Beside it go the strongest penalty and the score alone: where later trajectories turn out wilder than the first
    ones, one of these has the smaller error in the end, and is taken.
    """

    def __init__(self, cells: np.ndarray, learned: int):
        self.cells = cells
        self._left = learned
        self._halves = (_Sums(), _Sums())
        self._slopes: list[np.ndarray] = []
        self._early: list[tuple[np.ndarray, np.ndarray]] = []
        self._later = (Moments(), Moments(), Moments())

    def add(self, samples: np.ndarray, controls: _Controls | _Martingales) -> None:
        """More trajectories; each grain is halved, so that sums do not depend on how an ensemble is cut."""
        early = min(self._left, samples.shape[-1])
        if early:
            self._left -= early
            self._learn(samples[:, :early], controls.part(slice(early)).stacked())
        if early < samples.shape[-1]:
            later = slice(early, None)
            for moments, slopes in zip(self._later, self._learned(), strict=True):
                moments.add(samples[:, later] - controls.part(later).weighted(slopes))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors (cells,)."""
        self._learned()
        early = self._halves[0].n + self._halves[1].n
        n = early + self._later[0].count
        means, errors = [], []
        for (mean, error), later in zip(self._early, self._later, strict=True):
            if later.count:
                mean = (early * mean + later.count * later.mean) / n
                error = np.hypot(early * error, later.count * later.stderr) / n
            means.append(mean)
            errors.append(error)
        best, every = np.argmin(np.nan_to_num(errors, nan=np.inf), axis=0), np.arange(len(self.cells))
        return np.array(means)[best, every], np.array(errors)[best, every]

    def _learn(self, samples: np.ndarray, controls: np.ndarray) -> None:
        whole = samples.shape[-1] // GRAIN * GRAIN
        for size, part in ((GRAIN, slice(whole)), (samples.shape[-1] - whole, slice(whole, None))):
            if size:
                for sums, half in zip(self._halves, (slice(size // 2), slice(size // 2, None)), strict=True):
                    sums.add(_grains(samples[:, part], size, half), _grains(controls[:, part], size, half))

    def _learned(self) -> list[np.ndarray]:
        """Coefficients (controls, cells) from all that was learned from: the best, the most penalised, the score's."""
        if not self._slopes:
            first, second = self._halves
            crossed = [_crossed(first, second, a, b) for a, b in zip(first.slopes(), second.slopes(), strict=True)]
            means, errors = (np.array([item[k] for item in crossed]) for k in (0, 1))
            best, every = np.argmin(np.nan_to_num(errors, nan=np.inf), axis=0), np.arange(len(self.cells))
            both = np.stack((first + second).slopes())
            self._early = [(means[best, every], errors[best, every]), crossed[-2], crossed[-1]]
            self._slopes = [both[best, :, every].T, both[-2], both[-1]]
        return self._slopes


def _crossed(first: _Sums, second: _Sums, one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error (cells,) of two halves, each corrected with the other's coefficients."""
    (a, error), (b, other) = first.corrected(two), second.corrected(one)
    n = first.n + second.n
    return (first.n * a + second.n * b) / n, np.hypot(first.n * error, second.n * other) / n


class _Sums:
    """Sums of products of samples (cells) and controls."""

    def __init__(self) -> None:
        self.n = 0
        self._level = self._squares = self._controls = self._gram = self._cross = np.zeros(())

    def add(self, samples: np.ndarray, controls: np.ndarray) -> None:
        """Grains of samples (grains, cells, n) and controls (grains, controls, n), one after the other."""
        self.n += samples.shape[0] * samples.shape[-1]
        self._level = _added(self._level, samples.sum(axis=-1))
        self._squares = _added(self._squares, np.square(samples).sum(axis=-1))
        self._controls = _added(self._controls, controls.sum(axis=-1))
        self._gram = _added(self._gram, controls @ controls.transpose(0, 2, 1))
        self._cross = _added(self._cross, controls @ samples.transpose(0, 2, 1))

    def __add__(self, other: _Sums) -> _Sums:
        result = _Sums()
        result.n = self.n + other.n
        for name in ("_level", "_squares", "_controls", "_gram", "_cross"):
            setattr(result, name, getattr(self, name) + getattr(other, name))
        return result

    def slopes(self) -> list[np.ndarray]:
        """Least-squares coefficients (controls, cells) for each penalty, and last of the score (the first) alone."""
        scale = np.sqrt(np.diag(self._gram))
        scale = np.where(scale > 0, scale, np.inf)
        values, vectors = np.linalg.eigh(self._gram / np.outer(scale, scale))
        right = (self._cross - np.outer(self._controls, self._level / max(self.n, 1))) / scale[:, None]
        along = vectors.T @ right
        largest = max(float(values.max(initial=0.0)), np.finfo(float).tiny)
        penalised = [
            (vectors @ (along / (np.maximum(values, 0.0) + penalty * largest)[:, None])) / scale[:, None]
            for penalty in _PENALTIES
        ]
        alone = np.zeros_like(right)
        alone[0] = right[0] / scale[0]
        return [*penalised, alone]

    def corrected(self, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of samples less ``slopes`` (controls, cells) of the controls, and its standard error."""
        n = max(self.n, 1)
        mean = (self._level - slopes.T @ self._controls) / n
        fitted = np.sum(slopes * (self._gram @ slopes), axis=0)
        square = (self._squares - 2 * np.sum(slopes * self._cross, axis=0) + fitted) / n
        if self.n == 1:
            return mean, np.full_like(mean, np.nan)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0) / max(self.n - 1, 1))


def _grains(rows: np.ndarray, size: int, half: slice) -> np.ndarray:
    """Half of each grain of rows (rows, n) as (grains, rows, half), laid out for fast products."""
    return np.ascontiguousarray(rows.reshape(len(rows), -1, size)[..., half].transpose(1, 0, 2))


def _added(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Old plus each of the new in turn."""
    for item in new:
        old = old + item
    return old


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
