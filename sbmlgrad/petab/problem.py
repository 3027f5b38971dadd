"""A PEtab problem: read once, evaluated at any parameters."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from html import escape
from types import MappingProxyType
from typing import Any

import numpy as np

from sbmlgrad.errors import FitError, PetabError
from sbmlgrad.fitting.checkpoint import Checkpoint, Ended
from sbmlgrad.gradient.catalogue import as_estimator
from sbmlgrad.gradient.estimator import Estimator
from sbmlgrad.markup import counted, html_table
from sbmlgrad.petab.counts import check_counts
from sbmlgrad.petab.definition import Definition
from sbmlgrad.petab.evaluate import Evaluation, Evaluator
from sbmlgrad.petab.fit import MultiStart, Options
from sbmlgrad.petab.fitted import EQUATIONS, PetabFit, result_of
from sbmlgrad.petab.identity import identity
from sbmlgrad.petab.stochastic import Ensembles
from sbmlgrad.petab.stochastic_fit import StochasticStarts
from sbmlgrad.petab.stochastic_slopes import Sampling
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.experiment import check_seed
from sbmlgrad.simulation.methods import ODE, SSA, Method, as_method
from sbmlgrad.simulation.path import Settings

_TOLERANCE = 1e-10  # relative: some published problems magnify errors ten thousandfold


class Problem:
    """Models, experiments, measurements and parameters of a PEtab problem, as :func:`read_petab` reads them.

    Attributes
    ----------
    definition
        What the files say, in the same form for all versions of the format.
    nominal
        The nominal values of all parameters in the table, on the linear scale, by id.
    """

    def __init__(self, definition: Definition):
        self.definition = definition
        self.nominal = MappingProxyType({name: row.nominal for name, row in definition.parameters.items()})

    def __repr__(self) -> str:
        parts = self.definition
        return (
            f"<PEtab {parts.version} problem {parts.source}: {counted(len(parts.measurements), 'measurement')} of "
            f"{counted(len(parts.observables), 'observable')} in {counted(len(parts.experiments), 'experiment')}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            (row.id, row.nominal, row.lower, row.upper, row.estimated) for row in self.definition.parameters.values()
        ]
        header = ["parameter", "nominal", "lower", "upper", "estimated"]
        return f"<p>{escape(repr(self))}</p>" + html_table("parameters, on the linear scale", header, rows)

    def with_measurements(self, values: Sequence[float] | np.ndarray) -> Problem:
        """The same problem with other measured values (n,), in the order of the table, as for a bootstrap.

        Raises :class:`PetabError` for another number of them, and for what is no count where counts are measured.
        """
        new, items = np.asarray(values, dtype=float), self.definition.measurements
        if new.shape != (len(items),):
            raise PetabError(
                f"{self.definition.source}: measurements of shape {new.shape}; give {len(items)}, one for each row"
            )
        definition = replace(
            self.definition,
            measurements=tuple(replace(item, value=float(new[item.row])) for item in items),
            table=self.definition.table.assign(measurement=new),
        )
        check_counts(definition)
        result = Problem(definition)
        result.__dict__["_evaluator"] = self._evaluator.measured(definition)  # with what is compiled
        return result

    def evaluate(
        self,
        parameters: Mapping[str, float] | None = None,
        *,
        method: str | Method = "ode",
        n: int = 10_000,
        seed: int = 0,
    ) -> Evaluation:
        """Simulate every experiment and compare with the measurements.

        Parameters
        ----------
        parameters
            Values on the linear scale, by id, that replace nominal ones of the parameter table.
        method
            ``ode``: rate equations. ``ssa``: what is measured is the mean of an observable over trajectories by exact
            stochastic simulation; noise is computed with means, too. Or an object, as for :func:`sbmlgrad.simulate`.
        n, seed
            How many trajectories for each experiment; the same seed gives the same result. Chance moves the simulations
            by the standard errors that the evaluation has.

        Raises
        ------
        UnknownIdError
            for a parameter that is not in the table.
        PetabError
            where a formula, a condition or an override cannot be computed, or noise is not positive.
        SimulationError
            where the experiments cannot be simulated, or a pre-equilibration finds no steady state.
        UnsupportedError
            for a model that the method does not take.
        """
        require_float64()
        chosen = as_method(method)
        if isinstance(chosen, ODE):
            settings = None if isinstance(method, str) else chosen.settings
            return self._evaluator.evaluate(parameters or {}, settings)
        return Ensembles(chosen, n, check_seed(seed)).evaluate(self._evaluator, parameters or {})

    def fit(
        self,
        starts: Any = 20,
        seed: int = 0,
        *,
        method: str | Method = "ode",
        n: int = 10_000,
        estimator: str | Estimator = "auto",
        max_events: int = 1_000_000,
        nominal: bool = False,
        evaluations: int = 500,
        tolerance: float = 1e-8,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = False,
    ) -> PetabFit:
        """Estimate the parameters by maximum likelihood, or by likelihood times prior where the problem has priors.

        By rate equations and their forward sensitivities, which give exact gradients, or by exact simulation; by
        searches from several starts, each within the bounds and on the scales of the parameters.

        Parameters
        ----------
        starts
            How many starts to draw, by a Latin hypercube between the bounds on the parameters' scale, or by the priors
            for it; or an array (starts, parameters) of values on the linear scale, in the order of the estimated
            parameters in the table.
        seed
            The same seed draws the same starts, and trajectories.
        method
            ``ode``: rate equations. ``ssa``: what is measured is the mean of an observable over exact stochastic
            trajectories, as for :meth:`evaluate`; what chance in simulations adds is part of standard errors.
        n, estimator, max_events
            With ``ssa``: trajectories for each experiment in an evaluation; what estimates gradients, as for
            :func:`sbmlgrad.sensitivity`; how many reactions may fire in a trajectory: where it needs more, a search
            does not go.
        nominal
            Whether the nominal values are one more start, the first.
        evaluations
            How often the objective is computed at most, in a search.
        tolerance
            The relative tolerance of the solver in searches; made finer where a search finds itself misled by it. With
            ``ssa`` it is not used.
        checkpoint, resume
            A file into which the search is written as it goes on, and whether to go on from it, to the same estimates.
        progress
            Whether a bar is shown, on a terminal.

        Raises
        ------
        FitError
            if nothing is to be estimated, starts do not fit, or none of them can be simulated.
        PetabError, UnsupportedError
            as :meth:`evaluate` does.
        CheckpointError
            for a file that is no checkpoint, or that of another fit.
        """
        require_float64()
        if resume and checkpoint is None:
            raise FitError("resume: there is no checkpoint to go on from; name its file")
        begin, seed = time.perf_counter(), check_seed(seed)
        chosen, estimates = as_method(method), as_estimator(estimator)
        options = Options(starts, seed, nominal, evaluations, tolerance, progress)
        with ExitStack() as stack:
            kept: Checkpoint | None = None
            if checkpoint is not None:
                said = {"method": chosen, "n": n, "estimator": estimates, "seed": seed, "nominal": nominal}
                said |= {"max_events": max_events, "evaluations": evaluations, "tolerance": tolerance}
                kept = stack.enter_context(Checkpoint(checkpoint, identity(self.definition, starts, said), resume))
                kept.new_round()
                kept.begin(0)
                options = replace(options, memory=kept.remember)
            fit, by = self._searches(chosen, options, n, estimates, max_events)
            ends, best = fit.run()
            evaluation = fit.evaluation(best)
            if kept is not None:
                kept.end(Ended(best.value))
        fit.warn()
        return result_of(fit, ends, best, evaluation, time.perf_counter() - begin, by)

    def _searches(
        self, method: Method, options: Options, n: int, estimator: Estimator, max_events: int
    ) -> tuple[MultiStart, str]:
        """What searches, and what its gradients are."""
        if isinstance(method, ODE):
            return MultiStart(self._evaluator, options), EQUATIONS
        if not isinstance(method, SSA):
            raise FitError(f"method {method.name!r}: a fit has no derivatives of it; use 'ssa' or 'ode'")
        sampling = Sampling(method, estimator, max_events)
        said = f"exact simulation of {n} trajectories, estimator {estimator.name}"
        return StochasticStarts(self._evaluator, options, n, sampling), said

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.definition, Settings(relative=_TOLERANCE))
