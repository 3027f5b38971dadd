"""Estimates of expectations and derivatives, corrected by regression on martingales and on the score.

Beside the estimates go control variates of mean 0: the score W, martingales M over intervals before each time, and for
each what is expected of W M, less W M. Coefficients come from least squares, those of one half of the trajectories from
the other half, so that nothing is biased (Glasserman, Monte Carlo Methods, 2004, section 4.1).
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from sbmlgrad.gradient.estimator import Task
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.shares import GRAIN

BACK = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
"""Where intervals begin, as parts of the time before t."""

_PER_CONTROL = 50  # trajectories that a coefficient needs at least: with fewer, standard errors come out too small
_LEARN_FROM = 200  # trajectories for each coefficient, where there are so many: rare reactions need them
_PENALTIES = (1e-10, 1e-7, 1e-5, 1e-3)  # of ridge regression, over the largest eigenvalue
_MOST_PRODUCTS = 2_000_000  # of controls with each other, over all parameters and times, a trajectory
_AT_ONCE = 1 << 20  # numbers, of the controls of some regressions and some trajectories


class Controlled:
    """Expectations (functions, times) and their derivatives by each parameter, from samples chunk by chunk.

    ``latest`` (functions, times) are places in the ``grid`` up to which each function looks at the path; ``features``
    is how many martingales there are, each recorded at all of the grid.
    """

    def __init__(self, latest: np.ndarray, grid: np.ndarray, start: float, n: int, parameters: int, features: int):
        self._latest, self._parameters = latest, parameters
        targets = [int(target) for target in np.unique(latest)]
        intervals = _intervals(features, n, parameters * len(targets))
        controls = 1 + 2 * features * intervals
        self._fits = _alike(
            latest, targets, [_bounds(grid, t, start, intervals) for t in targets], parameters, controls
        )
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
        for fits in self._fits:
            for begin in range(0, seen.shape[-1], fits.block):
                some = slice(begin, begin + fits.block)
                own = direct[..., some] if isinstance(direct, np.ndarray) else None
                fits.add(off[..., some], scores[..., some], martingales[..., some], gains[..., some], own)

    def expectations(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors (functions, times)."""
        mean, error = np.zeros((2, *self._latest.shape))
        for fits in self._fits:
            if fits.parameters is None:
                mean[fits.cells], error[fits.cells] = fits.regression.result()
        return mean if self._centre is None else mean + self._centre[..., 0], error

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors (parameters, functions, times)."""
        slopes, error = np.zeros((2, self._parameters, *self._latest.shape))
        for fits in self._fits:
            if fits.parameters is not None:
                cells = fits.parameters[:, None], *fits.cells
                slopes[cells], error[cells] = fits.regression.result()
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


class _Fits:
    """Regressions that are alike, at some ``targets`` (fits,) of functions and times ``cells`` (fits, cells) each.

    Of the functions themselves, or of their derivatives by ``parameters`` (fits,). Intervals have ``bounds`` (fits,
    intervals + 1) in the grid.
    """

    def __init__(
        self, controls: int, parameters: np.ndarray | None, targets: np.ndarray, bounds: np.ndarray, cells: np.ndarray
    ):
        self.parameters, self.targets, self.bounds = parameters, targets, bounds
        self.cells = cells[..., 0], cells[..., 1]
        self.block = max(_AT_ONCE // (len(targets) * controls * GRAIN), 1) * GRAIN
        self.regression = _CrossFit(_LEARN_FROM * controls // GRAIN * GRAIN + GRAIN)

    def add(
        self,
        off: np.ndarray,
        scores: np.ndarray,
        martingales: np.ndarray,
        gains: np.ndarray,
        direct: np.ndarray | None,
    ) -> None:
        """More trajectories, as for :class:`Controlled`."""
        samples, rows = off[self.cells], _increments(martingales.swapaxes(0, 1)[self.bounds])
        if self.parameters is None:
            self.regression.add(samples, _Martingales(rows))
            return
        score, of = scores[self.parameters, self.targets], self.parameters[:, None]
        samples = samples * score[:, None]
        if direct is not None:
            samples = samples + direct[of, *self.cells]
        self.regression.add(samples, _Controls(score, rows, _increments(gains.swapaxes(1, 2)[of, self.bounds])))


def _alike(
    latest: np.ndarray, targets: list[int], bounds: list[list[int]], parameters: int, controls: int
) -> list[_Fits]:
    """All regressions: those of one shape together, as many as may be at once."""
    groups = defaultdict(list)
    for target, ends in zip(targets, bounds, strict=True):
        cells = np.argwhere(latest == target)
        groups[len(cells), len(ends)].append((target, ends, cells))
    result, most = [], max(_AT_ONCE // (controls * GRAIN), 1)
    for group in groups.values():
        for of, repeated in ((None, 1), (np.repeat(np.arange(parameters), len(group)), parameters)):
            every = [np.array(column) for column in zip(*(group * repeated), strict=True)]
            for begin in range(0, len(group) * repeated, most):
                some = slice(begin, begin + most)
                own = (column[some] for column in every)
                result.append(_Fits(controls, None if of is None else of[some], *own))
    return result


def _increments(ends: np.ndarray) -> np.ndarray:
    """What tracks gain in each interval (fits, intervals * features, n), of tracks (fits, ends, features, n)."""
    fits, count, features, n = ends.shape
    return np.diff(ends, axis=1).reshape(fits, (count - 1) * features, n)


class _Controls(NamedTuple):
    """Control variates of regressions: scores W (fits, n), martingales M (fits, martingales, n), and gain - W M."""

    score: np.ndarray
    martingales: np.ndarray
    gains: np.ndarray

    def part(self, which: slice) -> _Controls:
        """Those of some of the trajectories."""
        return _Controls(self.score[:, which], self.martingales[..., which], self.gains[..., which])

    def stacked(self) -> np.ndarray:
        """One row a control (fits, controls, n)."""
        score = self.score[:, None]
        return np.concatenate([score, self.martingales, self.gains - score * self.martingales], axis=1)

    def weighted(self, slopes: np.ndarray) -> np.ndarray:
        """``slopes`` (fits, cells, controls) of the controls, without stacking them: (fits, cells, n)."""
        size = self.martingales.shape[1]
        by_score, by_martingale, by_gain = np.split(slopes, [1, size + 1], axis=-1)
        along = by_gain @ self.martingales
        return self.score[:, None] * (by_score - along) + by_martingale @ self.martingales + by_gain @ self.gains


class _Martingales(NamedTuple):
    """The martingales alone (fits, controls, n), which correct expectations themselves."""

    rows: np.ndarray

    def part(self, which: slice) -> _Martingales:
        """Those of some of the trajectories."""
        return _Martingales(self.rows[..., which])

    def stacked(self) -> np.ndarray:
        """One row a control, and at least one."""
        fits, controls, n = self.rows.shape
        return self.rows if controls else np.zeros((fits, 1, n))

    def weighted(self, slopes: np.ndarray) -> np.ndarray:
        """``slopes`` (fits, cells, controls) of the controls: (fits, cells, n)."""
        return slopes @ self.stacked()


class _CrossFit:
    """Samples (fits, cells, n) regressed on controls of mean 0.

    Of the first ``learned`` trajectories each half is corrected with the coefficients of the other, and all later ones
    with those of both. Of several penalties on coefficients each cell takes that of least variance in the other half.
    Beside it go the strongest penalty and the score alone: where later trajectories turn out wilder than the first
    ones, one of these has the smaller error in the end, and is taken.
    """

    def __init__(self, learned: int):
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
            self._learn(samples[..., :early], controls.part(slice(early)).stacked())
        if early < samples.shape[-1]:
            later = slice(early, None)
            for moments, slopes in zip(self._later, self._learned(), strict=True):
                moments.add(samples[..., later] - controls.part(later).weighted(slopes))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors (fits, cells)."""
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
        best = _least(errors)
        return _chosen(means, best), _chosen(errors, best)

    def _learn(self, samples: np.ndarray, controls: np.ndarray) -> None:
        whole = samples.shape[-1] // GRAIN * GRAIN
        for size, part in ((GRAIN, slice(whole)), (samples.shape[-1] - whole, slice(whole, None))):
            if size:
                for sums, half in zip(self._halves, (slice(size // 2), slice(size // 2, None)), strict=True):
                    sums.add(_grains(samples[..., part], size, half), _grains(controls[..., part], size, half))

    def _learned(self) -> list[np.ndarray]:
        """Coefficients (fits, cells, controls) from all learned: the best, the most penalised, the score's."""
        if not self._slopes:
            first, second = self._halves
            crossed = [_crossed(first, second, a, b) for a, b in zip(first.slopes(), second.slopes(), strict=True)]
            means, errors = ([item[k] for item in crossed] for k in (0, 1))
            best, both = _least(errors), (first + second).slopes()
            self._early = [(_chosen(means, best), _chosen(errors, best)), crossed[-2], crossed[-1]]
            self._slopes = [_chosen(both, best[..., None]), both[-2], both[-1]]
        return self._slopes


def _least(errors: list[np.ndarray]) -> np.ndarray:
    """Which of the errors (fits, cells) is the least."""
    least: np.ndarray = np.argmin(np.nan_to_num(errors, nan=np.inf), axis=0)
    return least


def _chosen(ways: list[np.ndarray], which: np.ndarray) -> np.ndarray:
    """Of some arrays, what the one of each index holds."""
    return np.take_along_axis(np.stack(ways), which[None], axis=0)[0]


def _crossed(first: _Sums, second: _Sums, one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error (fits, cells) of two halves, each corrected with the other's coefficients."""
    (a, error), (b, other) = first.corrected(two), second.corrected(one)
    n = first.n + second.n
    return (first.n * a + second.n * b) / n, np.hypot(first.n * error, second.n * other) / n


class _Sums:
    """Sums of products of samples (fits, cells) and controls."""

    def __init__(self) -> None:
        self.n = 0
        self._level = self._squares = self._controls = self._gram = self._cross = np.zeros(())

    def add(self, samples: np.ndarray, controls: np.ndarray) -> None:
        """Grains of samples (grains, fits, cells, n) and controls (grains, fits, controls, n), one after the other."""
        self.n += samples.shape[0] * samples.shape[-1]
        self._level = _added(self._level, samples.sum(axis=-1))
        self._squares = _added(self._squares, np.square(samples).sum(axis=-1))
        self._controls = _added(self._controls, controls.sum(axis=-1))
        self._gram = _added(self._gram, controls @ controls.swapaxes(-1, -2))
        self._cross = _added(self._cross, samples @ controls.swapaxes(-1, -2))

    def __add__(self, other: _Sums) -> _Sums:
        result = _Sums()
        result.n = self.n + other.n
        for name in ("_level", "_squares", "_controls", "_gram", "_cross"):
            setattr(result, name, getattr(self, name) + getattr(other, name))
        return result

    def slopes(self) -> list[np.ndarray]:
        """Least-squares coefficients (fits, cells, controls) for each penalty, and last of the score (the first)."""
        scale = np.sqrt(np.diagonal(self._gram, axis1=-2, axis2=-1))
        scale = np.where(scale > 0, scale, np.inf)[:, None]
        values, vectors = np.linalg.eigh(self._gram / (scale * scale.swapaxes(-1, -2)))
        right = (self._cross - self._level[..., None] * self._controls[:, None] / max(self.n, 1)) / scale
        along, back = right @ vectors, vectors.swapaxes(-1, -2)
        largest = np.maximum(values.max(axis=-1, initial=0.0), np.finfo(float).tiny)[:, None, None]
        sizes = np.maximum(values, 0.0)[:, None]
        penalised = [(along / (sizes + penalty * largest)) @ back / scale for penalty in _PENALTIES]
        alone = np.zeros_like(right)
        alone[..., 0] = right[..., 0] / scale[..., 0]
        return [*penalised, alone]

    def corrected(self, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (fits, cells) of samples less ``slopes`` (fits, cells, controls) of the controls, and its standard
        error."""
        n = max(self.n, 1)
        mean = (self._level - (slopes @ self._controls[..., None])[..., 0]) / n
        fitted = np.sum(slopes * (slopes @ self._gram), axis=-1)
        square = (self._squares - 2 * np.sum(slopes * self._cross, axis=-1) + fitted) / n
        if self.n == 1:
            return mean, np.full_like(mean, np.nan)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0) / max(self.n - 1, 1))


def _grains(rows: np.ndarray, size: int, half: slice) -> np.ndarray:
    """Half of each grain of rows (fits, rows, n) as (grains, fits, rows, half), laid out for fast products."""
    return np.ascontiguousarray(rows.reshape(*rows.shape[:2], -1, size)[..., half].transpose(2, 0, 1, 3))


def _added(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Old plus each of the new in turn."""
    for item in new:
        old = old + item
    return old
