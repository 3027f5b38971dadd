"""Records of switching, such as of single ion channels: which tables are, and which dwell times they have."""

from __future__ import annotations

import numpy as np

from sbmlgrad.errors import FitError, TableError
from sbmlgrad.fitting.trials import Trial
from sbmlgrad.likelihood.dwell_records import DwellRecord
from sbmlgrad.model.model import Model
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.tables.columns import listing
from sbmlgrad.tables.measurements import Measurements


def resolution(measurements: Measurements) -> float:
    """What the shortest stay that was seen lasts, 0 where the table does not say.

    Raises :class:`TableError` where it says several things.
    """
    series = [one for one in measurements.series if one.statistic == "resolution"]
    every = np.unique(np.concatenate([[], *(one.values for one in series)]))
    if len(every) > 1:
        of = f" of condition {measurements.condition!r}" if measurements.condition else ""
        raise TableError(
            f"{measurements.source}: column {series[0].column!r} has {every[0]:g} and {every[1]:g}; a record{of} has "
            "one resolution"
        )
    return float(every[0]) if len(every) else 0.0


def by_dwells(trial: Trial, loss: str) -> bool:
    """Whether it is dwell times that are fitted."""
    return loss == "dwells" or (loss == "auto" and resolution(trial.measurements) > 0)


def check_resolution(trial: Trial, loss: str, method: str) -> None:
    """Raise :class:`FitError` where dwell times with a resolution are to be fitted as something else."""
    if resolution(trial.measurements) == 0:
        return
    column = next(one.column for one in trial.measurements.series if one.statistic == "resolution")
    where = f"{trial.measurements.source}: column {column!r} says that these are dwell times"
    if method != "ssa":
        raise FitError(f"{where}, which method {method!r} does not have; use method 'ssa', or remove the column")
    if loss not in ("auto", "dwells"):
        raise FitError(f"{where}, and loss {loss!r} is of something else; use loss 'dwells', or remove the column")


def without_dwells(trial: Trial) -> str:
    """Why a table has no dwell times, or the model none with a likelihood; "" where there is one."""
    model, measurements = trial.model, trial.measurements
    if measurements.cells is not None:
        return "is of trajectories, and the table has other cells at each time; number the trajectories"
    other = next((one for one in measurements.series if one.statistic not in ("value", "resolution")), None)
    if other is not None:
        return f"is of levels that are seen as they are, and there is a column {other.column!r}; remove it"
    if trial.laws:
        return f"is of levels that are seen as they are, and there is noise of {next(iter(trial.laws))!r}; remove it"
    observables = tuple(dict.fromkeys(one.observable for one in measurements.series))
    if len(observables) > 1:
        return f"is of one observable that switches, and the table has {listing(observables)}; keep one"
    if isinstance(model, Model) and not only_counts(model, observables):
        return (
            "is of models in which reactions alone change anything, at rates that do not follow the time; leave out "
            "what follows it"
        )
    return ""


def dwell_record(trial: Trial) -> DwellRecord:
    """The apparent dwell times of a condition, its resolution imposed on them."""
    series = [one for one in trial.measurements.series if one.statistic == "value"]
    records = [(one.times, one.values) for one in series]
    return DwellRecord.of(series[0].observable, records, resolution(trial.measurements))
