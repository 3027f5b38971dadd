"""Weighted moment matching: measured values against simulated moments, in units of errors that the model predicts.

Trajectories (``S``) are summed up: what is compared with the predicted mean at a time is the mean of the replicates,
which holds all that they tell about it. Moments (``S-mean``, ``S-sd``, ``A:B-cov``) are compared as they are.

Errors are standard deviations that the model predicts at the present estimate. They are held fixed while a search
runs, and made again where it ends, until neither moves (iteratively reweighted least squares; McCullagh & Nelder,
Generalized Linear Models, chapter 9). Errors from measured numbers would give low values large weights (Neyman's
chi-square), and errors that follow the parameters during a search would reward wide ensembles; both are biased, by more
than the standard errors where numbers are many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from sbmlgrad.fitting.exactness import Exactness
from sbmlgrad.gradient.estimator import Estimate
from sbmlgrad.gradient.observables import Moment, Observable
from sbmlgrad.headers import column, factors
from sbmlgrad.tables.measurements import Measurements, Series

_COMPARED = ("value", "mean", "sd", "cov")
_FLOOR = 0.03  # of the largest error of the series: where nothing varies yet
_FIRST_ERROR = 0.1  # of the largest value, until there is a prediction


@dataclass(frozen=True)
class Target:
    """Measured numbers as flat arrays (m,): what, when, how much, in units of ``error``.

    ``observable`` and ``time`` are indices in ``observables`` and ``times``; ``spread`` marks sds, and ``trajectory``
    means of replicates, of which ``replicates`` stand behind a number with the sample variance ``scatter`` (nan for a
    single one). ``shared`` (m, m) is the covariance of two numbers over that of one trajectory, or one cell, at them.

    What a table says of errors: ``counted`` marks moments of a known number of cells, which is in ``replicates``;
    ``stated`` is the variance of a mean by its standard error, nan where there is none, and ``added`` that of
    measurement errors, in a mean or in each trajectory, 0 where there is none. ``blur`` is by how much sds of n cells
    are too small in the mean, times n; 0 for other numbers, and until there is a prediction.

    Observables are those of one condition after the other: ``trials`` says which one each is of, ``conditions`` how
    these are called. ``functions`` are what is simulated of each: the observable itself, the chance of a range, or a
    product, for the covariance of the two observables in ``pairs``, which is None for others.
    """

    observables: tuple[str, ...]
    functions: tuple[Observable, ...]
    trials: tuple[int, ...]
    conditions: tuple[str, ...]
    times: np.ndarray
    observable: np.ndarray
    time: np.ndarray
    spread: np.ndarray
    value: np.ndarray
    trajectory: np.ndarray
    replicates: np.ndarray
    scatter: np.ndarray
    shared: np.ndarray
    error: np.ndarray
    counted: np.ndarray
    stated: np.ndarray
    added: np.ndarray
    blur: np.ndarray
    pairs: tuple[tuple[int, int] | None, ...] = ()

    @cached_property
    def cross(self) -> np.ndarray:
        """Which numbers (m,) are covariances."""
        which = [pair is not None for pair in self.pairs] or [False] * len(self.observables)
        return np.array(which, bool)[self.observable]

    @cached_property
    def _two(self) -> np.ndarray:
        """The observables (2, covariances) of which covariances are."""
        found = [self.pairs[index] for index in self.observable[self.cross]]
        return np.array([pair for pair in found if pair is not None], int).reshape(-1, 2).T

    @property
    def told(self) -> np.ndarray:
        """Which moments (m,) the table states the errors of, whatever the model says of cells."""
        return ~self.trajectory & ~self.counted & (~np.isnan(self.stated) | (self.added > 0))

    @property
    def squares(self) -> bool:
        """Whether second moments have to be differentiated."""
        return bool(self.spread.any())

    @property
    def series(self) -> np.ndarray:
        """A number (m,) for each thing measured over time: the mean of an observable, or its sd."""
        return 2 * self.observable + self.spread

    def column(self, number: int) -> str:
        """The column of the table that a number comes from."""
        statistic = "value" if self.trajectory[number] else "sd" if self.spread[number] else "mean"
        statistic = "cov" if self.cross[number] else statistic
        observable = int(self.observable[number])
        if not self.functions[observable].is_smooth:
            return self.observables[observable]
        condition = self.conditions[self.trials[observable]]
        where = f" of condition {condition!r}" if condition else ""
        return f"{column(self.observables[observable], statistic)}{where}"

    @property
    def trial(self) -> np.ndarray:
        """Which condition each number (m,) is of."""
        return np.array(self.trials)[self.observable]

    def own_times(self, trial: int) -> np.ndarray:
        """The times at which something was measured in one condition."""
        return self.times[np.unique(self.time[self.trial == trial])]

    def predicted(self, moments: Estimate) -> np.ndarray:
        """What is expected of the measured numbers (m,), by simulation."""
        mean, sd = self.mean_and_sd(moments)
        result = np.where(self.spread, sd[self.observable, self.time], mean[self.observable, self.time])
        if self.squares:
            result += self._of_samples(moments)
        if self.cross.any():  # the product of two noisy means is off by one over the trajectories of a covariance
            first, second = mean[self._two, self.time[self.cross]]
            result[self.cross] -= first * second
        return result

    def _of_samples(self, moments: Estimate) -> np.ndarray:
        """What the sds (m,) of so many cells are smaller than those of all cells, less the same of so many
        trajectories: the root of a variance that scatters is too small by its own variance over twice the root."""
        here = self.observable + len(self.observables), self.time
        with np.errstate(divide="ignore", invalid="ignore"):  # control variates count as more trajectories
            share = np.square(moments.values_stderr[here] / moments.values_sd[here])
        simulated = np.where(self.spread & np.isfinite(share), np.minimum(share, 1 / moments.n), 0.0)
        return self.blur * (simulated - np.where(self.counted, 1 / self.replicates, 0.0))

    def jacobian(self, moments: Estimate) -> np.ndarray:
        """Their derivatives (m, P)."""
        size = len(self.observables)
        slope = moments.derivatives[:, :size]
        result = slope[:, self.observable, self.time]
        if self.squares:
            mean, sd = self.mean_and_sd(moments)
            second = moments.derivatives[:, size:]
            with np.errstate(divide="ignore", invalid="ignore"):
                spread = (second - 2 * mean * slope) / (2 * sd)
            spread = np.where(sd > 0, spread, 0.0)
            result = np.where(self.spread, spread[:, self.observable, self.time], result)
        if self.cross.any():
            here = self._two, self.time[self.cross]
            (first, second), slopes = moments.values[here], slope[:, *here]
            result[:, self.cross] -= first * slopes[:, 1] + second * slopes[:, 0]
        return result.T

    def mean_and_sd(self, moments: Estimate) -> tuple[np.ndarray, np.ndarray]:
        """Simulated means and standard deviations (observables, times)."""
        size = len(self.observables)
        mean = moments.values[:size]
        if not self.squares:
            return mean, moments.values_sd[:size]
        # The square of a noisy mean is too large by the noise's variance.
        variance = moments.values[size:] - np.square(mean) + np.square(moments.values_stderr[:size])
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def residuals(self, moments: Estimate) -> np.ndarray:
        """(predicted - measured) / error (m,)."""
        return (self.predicted(moments) - self.value) / self.error

    def influence(self, values: np.ndarray) -> np.ndarray:
        """How much each trajectory of an ensemble moves each moment: (m, n) from values (observables, times, n).

        The covariance of its rows, over the number of trajectories, is that of the moments.
        """
        centred = values - values.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(variance > 0, (np.square(centred) - variance) / (2 * np.sqrt(variance)), 0.0)
        rows = centred[self.observable, self.time]
        if self.cross.any():
            products = np.prod(centred[self._two, self.time[self.cross]], axis=0)
            rows[self.cross] = products - products.mean(axis=-1, keepdims=True)
        return np.where(self.spread[:, None], spread[self.observable, self.time], rows)

    def blurred(self, values: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """The ``blur`` (m,), from values (observables, times, n) and what each number's variance (m,) is for one.

        Of many cells, ``variance`` over twice the sd; of few it is less, as no sd is below 0.
        """
        sd = values.std(axis=-1)[self.observable, self.time]
        there = self.spread & (sd > 0)
        sd = np.where(there, sd, 1.0)
        share = np.where(there, variance / np.square(sd), 0.0)  # of its square, that the sd of one would scatter by
        few = np.sqrt(1 + np.where(self.counted, share / self.replicates, 0.0))
        return sd * share / (few * (1 + few))

    def shown(self, values: np.ndarray) -> np.ndarray:
        """What a curve is the mean of (observables, times, n): the values, for covariances products of differences."""
        if not self.cross.any():
            return values
        centred, result = values - values.mean(axis=-1, keepdims=True), values.copy()
        for index, pair in enumerate(self.pairs):
            if pair is not None:
                result[index] = centred[pair[0]] * centred[pair[1]]
        return result

    def floor(self, variance: np.ndarray) -> np.ndarray:
        """The least variance of a number (m,) that is taken for an error, from predicted variances (m,)."""
        result = np.zeros(len(variance))
        for series in np.unique(self.series):
            rows = self.series == series
            largest = float(variance[rows].max())
            size = float(np.abs(self.value[rows]).max()) or 1.0
            result[rows] = _FLOOR**2 * (largest if largest > 0 else size**2)
        return result

    def select(self, rows: np.ndarray) -> dict[str, Any]:
        """The columns with some of the numbers only."""
        names = [field.name for field in fields(self) if field.name not in (*_OF_ALL, "shared")]
        return {**{name: getattr(self, name)[rows] for name in names}, "shared": self.shared[np.ix_(rows, rows)]}


_OF_ALL = ("observables", "functions", "trials", "conditions", "times", "pairs")


def joined(targets: Sequence[Target]) -> Target:
    """The numbers of several conditions, which have nothing in common."""
    if len(targets) == 1:
        return targets[0]
    times = np.unique(np.concatenate([one.times for one in targets]))
    columns: dict[str, list[np.ndarray]] = {}
    before, pairs = 0, list[tuple[int, int] | None]()
    for one in targets:
        own = one.pairs or (None,) * len(one.observables)
        pairs += [None if pair is None else (pair[0] + before, pair[1] + before) for pair in own]
        part = one.select(np.full(len(one.value), True))
        part |= {"observable": one.observable + before, "time": np.searchsorted(times, one.times[one.time])}
        before += len(one.observables)
        for name, values in part.items():
            columns.setdefault(name, []).append(values)
    shared = block_diag(*columns.pop("shared"))
    return Target(
        observables=tuple(name for one in targets for name in one.observables),
        functions=tuple(function for one in targets for function in one.functions),
        trials=tuple(index for index, one in enumerate(targets) for _ in one.observables),
        conditions=tuple(name for one in targets for name in one.conditions),
        pairs=tuple(pairs),
        times=times,
        shared=shared,
        **{name: np.concatenate(parts) for name, parts in columns.items()},
    )


def target(measurements: Measurements, followed: bool = False) -> Target:
    """Lay measurements out for comparison, replicates pooled.

    ``followed`` says that moments at different times are of the same cells, rather than of others each time.

    Raises :class:`TableError` for errors that are all 0.
    """
    series = tuple(one for one in measurements.series if one.statistic in _COMPARED)
    exactness = Exactness.of(measurements)
    alone = [name for s in series for name in (factors(s.observable) if s.statistic == "cov" else (s.observable,))]
    observables = tuple(dict.fromkeys([*alone, *(s.observable for s in series)]))
    times = np.unique(np.concatenate([s.times for s in series]))
    kinds = dict.fromkeys((s.observable, s.statistic) for s in series)
    pooled = [[s for s in series if (s.observable, s.statistic) == kind] for kind in kinds]
    labels = {label: index for index, label in enumerate(dict.fromkeys(s.replicate for s in series))}
    columns, present = [], []
    for group in pooled:
        table = np.full((len(labels), len(times)), np.nan)
        for s in group:
            table[labels[s.replicate], np.searchsorted(times, s.times)] = s.values
        seen = ~np.isnan(table)
        kept = np.flatnonzero(seen.any(axis=0))
        told = exactness.told(group[0], times[kept], list(labels), seen[:, kept])
        columns.append(_column(group[0], observables, kept, table[:, kept], series) | told)
        present.append(seen[:, kept].T)
    flat = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    flat["replicates"] = np.where(flat["counted"], flat.pop("cells"), flat["replicates"])
    flat["error"] = flat["error"] / np.where(flat["counted"], np.sqrt(flat["replicates"]), 1.0)
    flat["error"] = np.where(flat["stated"] > 0, np.sqrt(np.nan_to_num(flat["stated"])), flat["error"])
    flat["blur"] = np.zeros(len(flat["value"]))
    shared = _shared(np.concatenate(present), flat, followed)
    trials = (0,) * len(observables)
    covariances = {s.observable for s in series if s.statistic == "cov"}
    both = [factors(name) if name in covariances else (name,) for name in observables]
    return Target(
        observables,
        functions=tuple(Moment(*names) for names in both),
        trials=trials,
        conditions=(measurements.condition,),
        times=times,
        shared=shared,
        pairs=tuple((observables.index(n[0]), observables.index(n[1])) if len(n) > 1 else None for n in both),
        **flat,
    )


def _column(
    first: Series, observables: Sequence[str], time: np.ndarray, table: np.ndarray, every: Sequence[Series]
) -> dict[str, np.ndarray]:
    """Numbers of one series, from its values (replicates, times), nan where there is none."""
    behind = np.sum(~np.isnan(table), axis=0)
    value = np.nansum(table, axis=0) / behind
    squares = np.nansum(np.square(table - value), axis=0)
    size, single = len(time), first.statistic == "value"
    return {
        "observable": np.full(size, observables.index(first.observable)),
        "time": time,
        "spread": np.full(size, first.statistic == "sd"),
        "value": value,
        "trajectory": np.full(size, single),
        "replicates": behind,
        "scatter": np.where(behind > 1, squares / np.maximum(behind - 1, 1), np.nan),
        "error": _first_error(first, value, every) / np.sqrt(behind),
    }


def _first_error(series: Series, values: np.ndarray, every: Sequence[Series]) -> float:
    """One error for all numbers of a series, until there is a prediction."""
    spreads = [s.values for s in every if s.observable == series.observable and s.statistic == "sd"]
    typical = float(np.sqrt(np.mean(np.square(np.concatenate(spreads))))) if spreads else 0.0
    typical = typical or _FIRST_ERROR * float(np.abs(values).max()) or 1.0
    return typical * np.sqrt(0.5) if series.statistic == "sd" else typical


def _shared(present: np.ndarray, columns: Mapping[str, np.ndarray], followed: bool) -> np.ndarray:
    """See :class:`Target`, from whether there are values (m, replicates).

    The mean of N_a trajectories and that of N_b others, N_ab of them the same, have N_ab / (N_a N_b) of the covariance,
    and so have moments of known numbers of cells. Where how many cells stand behind moments is not known, it is 1;
    where cells are others at each time, those at different times have nothing in common.
    """
    trajectory, time, counted = columns["trajectory"], columns["time"], columns["counted"]
    seen = present.astype(np.float64)
    count = seen.sum(axis=1)
    both = (seen @ seen.T) / np.outer(count, count)
    together = np.ones_like(both) if followed else (time[:, None] == time[None, :]).astype(np.float64)
    cells = np.maximum.outer(columns["replicates"], columns["replicates"])
    together = np.where(counted[:, None], together / cells, together)
    kind = np.select([trajectory, counted, ~np.isnan(columns["stated"]), columns["added"] > 0], [0, 1, 2, 3], 4)
    return np.where(kind[:, None] == kind[None, :], np.where(trajectory[:, None], both, together), 0.0)
