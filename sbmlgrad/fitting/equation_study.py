"""One condition of a fit by likelihood whose model is a set of rate equations, with noise around its solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.outcome import curves, dense
from sbmlgrad.fitting.study import compared, trajectories_of
from sbmlgrad.fitting.trials import Trial
from sbmlgrad.likelihood.equations import MeasuredEquations
from sbmlgrad.likelihood.likelihood import Expected, Likelihood
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities, solve
from sbmlgrad.simulation.path import Settings

if TYPE_CHECKING:
    import pandas


class EquationStudy:
    """The values of one condition, and its rate equations ready to be solved."""

    def __init__(self, trial: Trial, settings: Settings):
        self.trial, self._settings = trial, settings
        self.data = trajectories_of(trial, ("value", "mean"))
        for index, name in enumerate(self.data.observables):
            seen = ~np.isnan(self.data.values[:, index])
            if name not in trial.laws and not np.all(self.data.variance[:, index][seen] > 0):
                raise FitError(
                    f"noise: there is none of {name!r}; give one for each observable, or a column '{name}-error'"
                )
        variables = tuple(law.parameter for law in trial.laws.values() if law.parameter)
        self._equations, self._quantities = prepare_equations(trial.model, None, (*self.data.observables, *variables))
        self.quantities = self._equations.quantities
        self._indices = [list(self.quantities).index(name) for name in trial.names]

    def reaches(self, values: np.ndarray) -> list[bool]:
        """Whether anything depends on each parameter (own,) of the condition."""
        return [bool(np.any(row)) for row in self._moved(values)]

    def moves(self, values: np.ndarray) -> np.ndarray:
        """Whether what is measured depends on each parameter (own,), rather than its noise alone."""
        return np.array([np.any(row[: len(self.data.observables)]) for row in self._moved(values)], bool)

    def _moved(self, values: np.ndarray) -> np.ndarray:
        """Which observables, and after them parameters of laws, each parameter moves (own, variables)."""
        variables = len(self._equations.observables)
        if not self._indices:
            return np.zeros((0, variables), bool)
        fixed = (self.data.times, self.data.start, self._settings)
        slopes = sensitivities(self._equations, self._at(values), self._indices, *fixed)[1]
        moved: np.ndarray = np.any(slopes != 0, axis=2)
        return moved

    def likelihood(self, loss: str, values: np.ndarray) -> Likelihood:
        """That of the values."""
        found = MeasuredEquations(
            self._equations, self._quantities, self._indices, self.data, self.trial.laws, self._settings
        )
        found.prepare(values)
        return found

    def refined(self, rough: Likelihood, values: np.ndarray) -> Likelihood:
        """The same."""
        return rough

    def warn(self) -> None:
        """Nothing: the rate equations take fractions of molecules as they are."""

    def measured(self, expected: Expected) -> pandas.DataFrame:
        """What was measured beside what the model says of it."""
        return compared(self.trial.condition, self.data.observables, expected)

    def curves(self, part: Likelihood, values: np.ndarray) -> pandas.DataFrame:
        """The solution at these values (own,) on a dense grid of times."""
        grid, names = dense(self.data.times), self.data.observables
        levels = solve(self._equations, self._at(values), grid, self.data.start, settings=self._settings)[: len(names)]
        nothing = np.zeros_like(levels)
        return curves(names, grid, levels, nothing, nothing, self.trial.condition)

    def _at(self, values: np.ndarray) -> np.ndarray:
        every = self._quantities.copy()
        every[self._indices] = values
        return every
