"""How well a problem's model explains its data at given parameters."""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbmlgrad.about import __version__
from sbmlgrad.errors import PetabError, UnknownIdError
from sbmlgrad.files import write_text
from sbmlgrad.markup import html_table
from sbmlgrad.petab.check import check_ids, formulas
from sbmlgrad.petab.counts import COUNTS, is_noise
from sbmlgrad.petab.course import Surroundings, course
from sbmlgrad.petab.definition import Definition, Measurement, Observable
from sbmlgrad.petab.formulas import Known, Slopes, symbols, value_of
from sbmlgrad.petab.likelihood import told_by_all
from sbmlgrad.petab.observe import Observer, Simulated
from sbmlgrad.petab.priors import log_prior
from sbmlgrad.petab.restart import Equations
from sbmlgrad.petab.steady import SteadyStates
from sbmlgrad.simulation.path import Settings

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A problem evaluated at some parameters.

    Attributes
    ----------
    chi2
        Sum of squared residuals, on the scale of each observable and in units of its noise.
    llh
        Log of the likelihood of all measurements.
    log_prior
        Log of the prior density by estimated parameter, truncated at its bounds; None where there are no priors.
    simulations
        The table of measurements, with the column ``simulation`` in the place of ``measurement``.
    n_data
        How many measurements there are.
    parameters
        The values at which it was evaluated, on the linear scale, by id.
    stderr
        Standard errors of the simulations (n,) where these are means of stochastic trajectories, else None.
    """

    chi2: float
    llh: float
    log_prior: Mapping[str, float] | None
    simulations: pandas.DataFrame = field(repr=False)
    n_data: int
    parameters: Mapping[str, float] = field(repr=False)
    stderr: np.ndarray | None = field(default=None, repr=False)

    @property
    def log_posterior(self) -> float | None:
        """Log of likelihood times prior, which is the posterior density up to a factor; None without priors."""
        return None if self.log_prior is None else self.llh + math.fsum(self.log_prior.values())

    def _repr_html_(self) -> str:
        table = self.simulations
        return f"<p>{escape(repr(self))}</p>" + html_table("", list(table.columns), table.itertuples(index=False))

    def to_dict(self) -> dict[str, Any]:
        """What is written as JSON; infinite numbers become null."""
        prior = {name: _finite(value) for name, value in (self.log_prior or {}).items()}
        return {
            "chi2": _finite(self.chi2),
            "llh": _finite(self.llh),
            **({} if self.log_prior is None else {"log_prior": prior, "log_posterior": _finite(self.log_posterior)}),
            "n_data": self.n_data,
            "parameters": {name: _finite(value) for name, value in self.parameters.items()},
            "version": __version__,
        }

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_dict` as JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    def save_simulations(self, path: str | os.PathLike[str]) -> None:
        """Write the simulations as a table of PEtab, separated by tabs."""
        write_text(path, self.simulations.to_csv(sep="\t", index=False, lineterminator="\n"))

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``simulations.tsv`` into a folder, which is made if it is not there."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.save_simulations(Path(folder, "simulations.tsv"))


def parameter_values(definition: Definition, changes: Mapping[str, float]) -> dict[str, float]:
    """The nominal parameters with changes, by id.

    Raises
    ------
    UnknownIdError
        for a change of what is not in the parameter table.
    PetabError
        for a parameter without any value.
    """
    for name in changes:
        if name not in definition.parameters:
            raise UnknownIdError(
                f"{definition.source}: the parameter table has no {name!r}; it has {', '.join(definition.parameters)}"
            )
    nominal = {name: parameter.nominal for name, parameter in definition.parameters.items()}
    values = {**nominal, **{name: float(value) for name, value in changes.items()}}
    for name, value in values.items():
        if math.isnan(value):
            raise PetabError(f"{definition.source}: parameter {name!r} has no nominal value; give it one")
    return values


class Evaluator:
    """The equations of a problem, compiled once and evaluated at any parameters."""

    def __init__(self, definition: Definition, settings: Settings):
        self.definition, self.settings = definition, settings
        check_ids(definition)
        needed = symbols(formula for _, formula, _ in formulas(definition))
        needed |= {definition.aliases[name] for name in needed if name in definition.aliases}
        self.equations = {name: Equations(model, needed) for name, model in definition.models.items()}
        self.runs = _by_run(definition)

    def measured(self, definition: Definition) -> Evaluator:
        """The same with other measured values."""
        result = copy(self)
        result.definition, result.runs = definition, _by_run(definition)
        return result

    def evaluate(self, changes: Mapping[str, float], settings: Settings | None = None) -> Evaluation:
        """Solve the rate equations of all experiments and compare; see :meth:`Problem.evaluate`."""
        definition = self.definition
        values = parameter_values(definition, changes)
        seen = self.courses(Surroundings(values, definition.aliases), settings or self.settings)
        observed = [
            self._observed(definition.observables[item.observable], item, seen[item.row].values)
            for item in definition.measurements
        ]
        return self.compared(values, observed)

    def compared(
        self, values: Mapping[str, float], observed: Sequence[tuple[float, float]], stderr: np.ndarray | None = None
    ) -> Evaluation:
        """The evaluation at parameters at which this was simulated in place of each measurement, with such noise."""
        definition = self.definition
        for item, (_, noise) in zip(definition.measurements, observed, strict=True):
            self.check_noise(noise, item)
        simulated, noises = np.array(observed).T
        found = told_by_all(definition, simulated, noises)
        return Evaluation(
            chi2=_total(np.square(found.residuals).tolist()),
            llh=_total(found.density.tolist()),
            log_prior=log_prior(definition.parameters, values, definition.source),
            simulations=definition.table.rename(columns={"measurement": "simulation"}).assign(simulation=simulated),
            n_data=len(observed),
            parameters=values,
            stderr=stderr,
        )

    def simulate(self, values: Mapping[str, float], slopes: Slopes, settings: Settings) -> Simulated:
        """Simulate all experiments at ``values`` of all parameters, with derivatives by those of a fit, with which
        they move as ``slopes`` say.

        Raises as :meth:`Problem.evaluate` does.
        """
        seen = self.courses(Surroundings(values, self.definition.aliases, slopes), settings)
        simulated = self._observer.observe(seen, len(next(iter(slopes.values()))))
        for item in self.definition.measurements:
            self.check_noise(simulated.noise[item.row], item)
        return simulated

    def courses(self, surroundings: Surroundings, settings: Settings) -> dict[int, Known]:
        """What is known at each measurement, by its row, after all experiments were followed."""
        definition, steady = self.definition, SteadyStates(settings)
        known: dict[int, Known] = {}
        for (model, experiment), measurements in self.runs.items():
            times = {measurement.time for measurement in measurements}
            equations, periods = self.equations[model], definition.experiments[experiment]
            seen = course(equations, periods, times, surroundings, steady, definition.source)
            known.update({item.row: seen[item.time] for item in measurements})
        return known

    @cached_property
    def _observer(self) -> Observer:
        return Observer(self.definition)

    def _observed(self, observable: Observable, item: Measurement, seen: Mapping[str, float]) -> tuple[float, float]:
        """What is simulated in place of a measurement, and the noise around it."""
        where = f"{self.definition.source}: observable {observable.id!r}"
        values = dict(seen)
        for names, overrides in (
            (observable.placeholders, item.overrides),
            (observable.noise_placeholders, item.noise_overrides),
        ):
            for name, formula in zip(names, overrides, strict=True):
                values[name] = value_of(formula, seen, f"{where}: placeholder {name!r}")
        simulated = value_of(observable.formula, values, where)
        return simulated, value_of(observable.noise, {**values, observable.id: simulated}, f"{where}: noise")

    def check_noise(self, noise: float, item: Measurement) -> None:
        """Raise :class:`PetabError` for noise that is none."""
        distribution = self.definition.observables[item.observable].distribution
        if not (is_noise(distribution, noise) if distribution in COUNTS else 0 < noise < math.inf):
            must = "be a probability above 0" if distribution == "binomial" else "be positive"
            raise PetabError(
                f"{self.definition.source}: observable {item.observable!r}: the noise is {noise:g} at time "
                f"{item.time:g} of experiment {item.experiment!r}; it must {must}: check the noise formula and "
                "its parameters"
            )


def _by_run(definition: Definition) -> dict[tuple[str, str], list[Measurement]]:
    """The measurements of each experiment of a model."""
    runs: defaultdict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for measurement in definition.measurements:
        runs[measurement.model, measurement.experiment].append(measurement)
    return dict(runs)


def _total(terms: list[float]) -> float:
    """The sum; infinite or nan terms make it so."""
    return math.fsum(terms) if all(map(math.isfinite, terms)) else sum(terms)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
