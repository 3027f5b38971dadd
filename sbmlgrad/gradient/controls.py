"""Estimates of expectations and derivatives, corrected by regression on martingales and on the score.

Beside the estimates go control variates of mean 0: the score W, martingales M over intervals before each time, and for
each what is expected of W M, less W M. Coefficients come from least squares, those of one half of the trajectories from
the other half, so that nothing is biased (Glasserman, Monte Carlo Methods, 2004, section 4.1).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from sbmlgrad.gradient.estimator import Task
from sbmlgrad.simulation.ensemble import GRAIN
from sbmlgrad.simulation.moments import Moments

BACK = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
"""Where intervals begin, as parts of the time before t."""

_PER_CONTROL = 50  # trajectories that a coefficient needs at least: with fewer, standard errors come out too small
_LEARN_FROM = 200  # trajectories for each coefficient, where there are so many: rare reactions need them
_PENALTIES = (1e-10, 1e-7, 1e-5, 1e-3)  # of ridge regression, over the largest eigenvalue
_MOST_PRODUCTS = 2_000_000  # of controls with each other, over all parameters and times, a trajectory


class Controlled:
    """Expectations (functions, times) and their derivatives by each parameter, from samples chunk by chunk.

    ``latest`` (functions, times) are places in the ``grid`` up to which each function looks at the path; ``features``
    is how many martingales there are, each recorded at all of the grid.
    """

    def __init__(self, latest: np.ndarray, grid: np.ndarray, start: float, n: int, parameters: int, features: int):
        self._latest, self._grid, self._start, self._parameters = latest, grid, start, parameters
        self._targets = [int(target) for target in np.unique(latest)]
        self._intervals = _intervals(features, n, parameters * len(self._targets))
        learned = _LEARN_FROM * (1 + 2 * features * self._intervals) // GRAIN * GRAIN + GRAIN
        cells = {t: np.argwhere(latest == t) for t in self._targets}
        self._slopes = {(p, t): _CrossFit(cells[t], learned) for t in self._targets for p in range(parameters)}
        self._levels = {t: _CrossFit(cells[t], learned) for t in self._targets}
        self._centre: np.ndarray | None = None  # keeps numbers small; the control W makes up for it

    def add(
        self,
        seen: np.ndarray,
        scores: np.ndarray,
        martingales: np.ndarray,
        gains: np.ndarray,
        direct: np.ndarray | float,
    ) -> None:
        """More trajectories.

        What functions see (functions, times, n), scores (parameters, grid, n), martingales (features, grid, n), what is
        expected of their products (parameters, features, grid, n), and the functions' own derivatives (parameters,
        functions, times, n), or 0.
        """
        if self._centre is None:
            self._centre = seen[..., :GRAIN].mean(axis=-1, keepdims=True)
        off = seen - self._centre
        for target in self._targets:
            bounds = _bounds(self._grid, target, self._start, self._intervals)
            rows = _increments(martingales, bounds)
            f, k = self._levels[target].cells.T
            self._levels[target].add(off[f, k], _Martingales(rows))
            for p in range(self._parameters):
                samples = off[f, k] * scores[p, target]
                if isinstance(direct, np.ndarray):
                    samples = samples + direct[p, f, k]
                self._slopes[p, target].add(samples, _Controls(scores[p, target], rows, _increments(gains[p], bounds)))

    def expectations(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors (functions, times)."""
        mean, error = np.zeros((2, *self._latest.shape))
        for level in self._levels.values():
            f, k = level.cells.T
            mean[f, k], error[f, k] = level.result()
        return mean if self._centre is None else mean + self._centre[..., 0], error

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors (parameters, functions, times)."""
        slopes, error = np.zeros((2, self._parameters, *self._latest.shape))
        for (p, _), fit in self._slopes.items():
            f, k = fit.cells.T
            slopes[p, f, k], error[p, f, k] = fit.result()
        return slopes, error


@cache
def linear_algebra() -> ThreadpoolController:
    """What limits the threads of linear algebra."""
    return ThreadpoolController()


def between(task: Task) -> list[float]:
    """Times to record at besides those asked for, so that intervals before them can be told apart."""
    chosen = task.times if len(task.times) <= 3 else task.times[[0, -1]]
    return [task.start, *(float(t - part * (t - task.start)) for t in chosen for part in BACK)]


def _intervals(features: int, n: int, fits: int) -> int:
    """How many intervals the number of trajectories, and of fits to be made, allows."""
    each = 2 * features
    if not each:
        return 0
    most = min(len(BACK) + 1, (n / _PER_CONTROL - 1) // each, np.sqrt(_MOST_PRODUCTS / fits) // each)
    return max(int(most), 0)


def _bounds(grid: np.ndarray, target: int, start: float, intervals: int) -> list[int]:
    """Places in the grid at which intervals begin and end, the shorter the nearer to the target."""
    targets = grid[target] - np.array(BACK[: max(intervals - 1, 0)]) * (grid[target] - start)
    nearest = {int(np.argmin(np.abs(grid[: target + 1] - t))) for t in targets}
    return sorted({0, target} | nearest) if intervals else [0]


def _increments(tracks: np.ndarray, bounds: list[int]) -> np.ndarray:
    """What tracks (features, grid, n) gain in each interval: (intervals * features, n)."""
    return np.diff(tracks[:, bounds], axis=1).transpose(1, 0, 2).reshape(-1, tracks.shape[-1])


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
