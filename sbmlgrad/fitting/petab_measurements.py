"""What was measured in a fit, and the noise around it, in the words of PEtab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.exactness import Exactness
from sbmlgrad.fitting.petab_conditions import Words
from sbmlgrad.fitting.trials import Trial, Trials, plain_id
from sbmlgrad.headers import column
from sbmlgrad.likelihood.measurement import Measurement
from sbmlgrad.model.derive import amount, concentration
from sbmlgrad.model.elements import symbol
from sbmlgrad.model.model import Model
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.methods import ODE
from sbmlgrad.tables.measurements import Series

_PREDICTED = ("value", "mean")


@dataclass(frozen=True, eq=False)
class Row:
    """A measured number, what the rate equations have in its place, and its error, nan where none is stated."""

    trial: Trial
    time: float
    value: float
    simulated: float
    error: float


@dataclass(frozen=True, eq=False)
class Measured:
    """One thing that was measured: values, or means of many, of an observable.

    Attributes
    ----------
    id, name
        In PEtab, and of the column it comes from.
    formula
        What it is, of ids of the model.
    law, noise
        The law of its noise and the parameter of that, None where it is stated or estimated.
    sigma
        The id of the standard deviation of those numbers that have neither a law nor an error, if it is needed.
    rows
        The numbers.
    """

    id: str
    name: str
    formula: Any
    law: str
    noise: Any
    sigma: str
    rows: tuple[Row, ...]

    @property
    def states_errors(self) -> bool:
        """Whether an error stands beside any number."""
        return any(np.isfinite(row.error) for row in self.rows)

    @property
    def spread(self) -> float:
        """Of numbers without an error around the rate equations: the standard deviation that is likeliest."""
        off = [row.simulated - row.value for row in self.rows if not np.isfinite(row.error)]
        size = float(np.sqrt(np.mean(np.square(off))))
        largest = max(abs(row.value) for row in self.rows) or 1.0
        return max(size, 1e-6 * largest)  # a perfect fit has a likelihood without a maximum


def measured(trials: Trials, words: Words, estimates: Mapping[str, float]) -> tuple[list[Measured], tuple[str, ...]]:
    """Everything that was measured, and the names of columns that PEtab has no words for.

    Raises
    ------
    FitError
        for single cells, and where nothing is left.
    """
    found: dict[tuple[str, str], list[tuple[Trial, Series]]] = {}
    left_out: dict[str, None] = {}
    for trial in trials.every:
        if trial.measurements.cells is not None:
            name = trial.measurements.cells.observables[0]
            raise FitError(
                f"{trial.measurements.source}: PEtab has no words for single cells; fit their means, columns "
                f"{column(name, 'mean')!r} and {column(name, 'sem')!r}"
            )
        for series in trial.measurements.series:
            if series.statistic in _PREDICTED:
                found.setdefault((series.observable, series.statistic), []).append((trial, series))
            elif series.statistic in ("sd", "cov"):
                left_out[series.column] = None
    if not found:
        raise FitError(
            f"{trials.data[0]}: PEtab has no words for standard deviations, and there is nothing else; give means"
        )
    solutions = {id(trial): _solution(trial, estimates) for trial in trials.every}
    every = [_measured(words, name, statistic, parts, solutions) for (name, statistic), parts in found.items()]
    return every, tuple(left_out)


def _measured(
    words: Words,
    name: str,
    statistic: str,
    parts: list[tuple[Trial, Series]],
    solutions: Mapping[int, Any],
) -> Measured:
    trial = parts[0][0]
    rows = tuple(row for trial, series in parts for row in _rows(trial, series, solutions[id(trial)]))
    law = next((trial.laws[name] for trial, _ in parts if name in trial.laws), None)
    own = words.new_observable(name, statistic)
    needs_sigma = law is None and any(not np.isfinite(row.error) for row in rows)
    return Measured(
        id=own,
        name=column(name, statistic),
        formula=words.seen(trial, _formula(trial, name)),
        law="normal" if law is None else law.law,
        noise=None if law is None else words.seen(trial, _parameter(law)),
        sigma=words.ids.new(f"sigma_{own}") if needs_sigma else "",
        rows=rows,
    )


def _parameter(law: Measurement) -> Any:
    """The variable that holds the parameter of a law; 1, which says nothing, where it has none."""
    return symbol(law.parameter) if law.parameter else sympy.Integer(1)


def _rows(trial: Trial, series: Series, solution: Any) -> Iterator[Row]:
    errors = _errors(trial, series)
    simulated = solution[series.observable].loc[series.times].to_numpy()
    for time, value, own, error in zip(series.times, series.values, simulated, errors, strict=True):
        yield Row(trial, float(time), float(value), float(own), float(error))


def _errors(trial: Trial, series: Series) -> np.ndarray:
    """Errors (m,) that the table states, nan where it does not: measurement errors, else standard errors of means."""
    name, times, exactness = series.observable, series.times, Exactness.of(trial.measurements)
    errors = exactness.errors(name, "error", series.replicate, times)
    if series.statistic == "mean" and np.all(np.isnan(errors)):
        errors = exactness.errors(name, "sem", None, times)
        if np.all(np.isnan(errors)):
            errors = exactness.errors_by_cells(name, times)
    return errors


def _formula(trial: Trial, name: str) -> Any:
    """An observable, of symbols as kinetic laws have them."""
    assert isinstance(trial.model, Model)
    elements, plain = trial.model.elements, plain_id(name)
    if plain not in elements.species:
        return symbol(plain)
    return amount(elements, plain) if plain == name else concentration(elements, plain)


def _solution(trial: Trial, estimates: Mapping[str, float]) -> Any:
    """The rate equations' solution at the estimates: a DataFrame by time, with a column for each observable."""
    assert isinstance(trial.model, Model)
    series = [s for s in trial.measurements.series if s.statistic in _PREDICTED]
    if not series:
        return None
    times = np.unique(np.concatenate([s.times for s in series]))
    select = tuple(dict.fromkeys(s.observable for s in series))
    own = {name: estimates[name] for name in trial.names}
    experiment = Experiment(times, select, own)
    return ODE().simulate(trial.model, experiment).mean
