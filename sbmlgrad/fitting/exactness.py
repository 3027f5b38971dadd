"""What a table says of how exact its numbers are: cells behind moments, standard errors, measurement errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sbmlgrad.errors import TableError
from sbmlgrad.headers import factors
from sbmlgrad.tables.measurements import Measurements, Series

_FLOOR = 0.03  # of the largest error of a column: what one of 0 is taken for


@dataclass(frozen=True)
class Exactness:
    """The columns ``-n``, ``-sem`` and ``-error`` of a table, and ``-sd`` where it says how many cells there are."""

    source: str
    series: Mapping[tuple[str, str, str | None], Series]

    @classmethod
    def of(cls, measurements: Measurements) -> Exactness:
        """Those of a table, by observable, statistic and trajectory."""
        return cls(measurements.source, {(s.observable, s.statistic, s.replicate): s for s in measurements.series})

    def told(
        self, series: Series, times: np.ndarray, labels: Sequence[str | None], seen: np.ndarray
    ) -> dict[str, np.ndarray]:
        """What is said of the numbers of a series at some times (K,); see :class:`~sbmlgrad.fitting.loss.Target`.

        ``labels`` are those of the trajectories, and ``seen`` (labels, K) where they have values.
        """
        nothing = np.full(len(times), np.nan)
        cells = stated = nothing
        name, single = series.observable, series.statistic == "value"
        if not single:
            cells = self._cells(name, times)
            for part in factors(name) if series.statistic == "cov" else ():
                cells = np.where(np.isnan(cells), self._cells(part, times), cells)
            if series.statistic == "mean":
                stated = np.square(self.errors(name, "sem", None, times))
        added = np.zeros(len(times))
        if single:
            every = np.stack([np.square(self.errors(name, "error", label, times)) for label in labels])
            added = np.where(seen, np.nan_to_num(every), 0.0).sum(axis=0) / seen.sum(axis=0)
        elif series.statistic == "mean":
            added = np.nan_to_num(np.square(self.errors(name, "error", None, times)))
        counted = ~np.isnan(cells)
        return {
            "cells": np.where(counted, cells, 1.0),
            "counted": counted,
            "stated": np.where(counted, np.nan, stated),  # the number of cells says it for the model's own spread
            "added": added,
        }

    def _cells(self, name: str, times: np.ndarray) -> np.ndarray:
        """Cells behind moments (K,), nan where nothing says how many: a standard error beside a deviation does."""
        stated = self._column(name, "n", None, times)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.square(self._column(name, "sd", None, times) / self._column(name, "sem", None, times))
        cells = np.where(np.isfinite(ratio) & (ratio > 0), np.maximum(ratio, 1.0), np.nan)
        return np.where(np.isnan(stated), cells, stated)

    def errors(self, name: str, statistic: str, label: str | None, times: np.ndarray) -> np.ndarray:
        """Standard errors or measurement errors (K,), nan where there are none."""
        errors = self._column(name, statistic, label, times)
        if np.all(np.isnan(errors)):
            return errors
        largest = float(np.nanmax(errors))
        if largest == 0:
            column = self.series[name, statistic, label].column
            raise TableError(f"{self.source}: column {column!r}: all errors are 0, which no number has; correct it")
        return np.where(errors == 0, _FLOOR * largest, errors)

    def errors_by_cells(self, name: str, times: np.ndarray) -> np.ndarray:
        """Standard errors of means (K,) from the spread and the number of cells, nan where either is missing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = self._column(name, "sd", None, times) / np.sqrt(self._column(name, "n", None, times))
        return np.where(errors > 0, errors, np.nan)

    def _column(self, name: str, statistic: str, label: str | None, times: np.ndarray) -> np.ndarray:
        """The numbers of a column at these times (K,), nan where there are none."""
        result, series = np.full(len(times), np.nan), self.series.get((name, statistic, label))
        if series is not None:
            indices = np.searchsorted(times, series.times)
            here = (indices < len(times)) & (times[np.minimum(indices, len(times) - 1)] == series.times)
            result[indices[here]] = series.values[here]
        return result
