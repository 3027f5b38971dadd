"""What a fit gives back: numbers, pictures, files."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbmlgrad.about import __version__
from sbmlgrad.errors import FitError
from sbmlgrad.files import write_text
from sbmlgrad.fitting.likelihood_fit import LikelihoodFit
from sbmlgrad.fitting.outcome import MOMENTS, Outcome, Posed, in_a_line, in_html
from sbmlgrad.fitting.petab_export import Origin, write_problem
from sbmlgrad.fitting.profiled import Profile, chosen, profiled
from sbmlgrad.fitting.sampled import Posterior, evaluations, sampled
from sbmlgrad.fitting.trials import Trials
from sbmlgrad.model.labels import Labels, labels_of
from sbmlgrad.model.model import Model
from sbmlgrad.report.content import FitContent
from sbmlgrad.sbml.write import FitRecord, write_sbml
from sbmlgrad.simulation.progress import bar

if TYPE_CHECKING:
    import pandas

    from sbmlgrad.report.plots import Picture


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model with its error bars.

    Attributes
    ----------
    model
        The model, or network, with the estimates put in.
    parameters
        DataFrame by parameter: ``estimate``, ``stderr``, ``lower``, ``upper`` (the bounds of the search, infinite
        where there are none), ``at_bound``, and 95 % confidence limits ``ci_lower`` and ``ci_upper``: symmetric on a
        logarithmic scale for parameters that stay positive.
    correlation
        DataFrame of correlations between the estimates.
    loss, loss_name
        What was made as small as possible, and what it is: the sum of squared weighted residuals, or minus twice the
        log-likelihood.
    goodness
        Series that says how well the model fits: ``log_likelihood`` or ``loss``, ``n_data`` (numbers, or cells),
        ``dof``, and, where the model tells how large residuals should be, ``chi2``, its ``p_value``, ``aic`` and
        ``bic``.
    converged, message
        Whether the stopping rule was met, and what it said; also whether the data contradict the fitted model.
    warnings
        What to know of the result: parameters at bounds or without a value, numbers that lie far from the rest,
        residuals that the noise of the data does not allow.
    """

    model: Any  # a Model or a ReactionNetwork, as was given
    parameters: pandas.DataFrame
    correlation: pandas.DataFrame
    loss: float
    loss_name: str
    goodness: pandas.Series
    converged: bool
    message: str
    seconds: float
    seed: int
    n: int
    estimator: str
    warnings: tuple[str, ...]
    start: Mapping[str, float]
    history: pandas.DataFrame = field(repr=False)
    measured: pandas.DataFrame = field(repr=False)
    curves: pandas.DataFrame = field(repr=False)
    trials: Trials = field(repr=False)
    """what was measured in which condition, with the model of each"""
    problem: Posed = field(repr=False)
    outcome: Outcome = field(repr=False)
    """what was solved, and where it ended"""
    profiles: Profile | None = field(default=None, repr=False)
    """what limits are taken from, and a report shows; see :meth:`with_profile`"""
    posterior: Posterior | None = field(default=None, repr=False)
    """draws that a report shows; see :meth:`with_posterior`"""

    @property
    def dwells(self) -> pandas.DataFrame | None:
        """Of a fit of dwell times: DataFrame of how many apparent sojourns at each ``level`` lasted from ``lower`` to
        ``upper`` (bins of equal width on a logarithmic axis): ``sojourns`` that were seen, ``expected`` by the fitted
        model; None for other fits."""
        return self.outcome.dwells

    @property
    def data(self) -> tuple[str, ...]:
        """The paths of the tables."""
        return self.trials.data

    def plot(self, path: str | os.PathLike[str] | None = None) -> Picture:
        """A picture of data against fit, which a notebook shows; also written to a png, svg or pdf file, if named."""
        from sbmlgrad.report.plots import plot_fit, save_figure

        figure = plot_fit(self.content())
        if path is not None:
            save_figure(figure, path)
        return figure

    def profile(
        self, parameters: str | Sequence[str] | None = None, *, points: int = 16, progress: bool = False
    ) -> Profile:
        """How well the model fits while one parameter is held and the others are fitted again, and 95 % limits by it.

        Parameters
        ----------
        parameters
            Which to hold, one after the other; all if None.
        points
            How many values of each, about: equally spaced on the scale of the search, to a fifth beyond the limits.

        Returns
        -------
        Profile
            of the likelihood; for moments, histograms and least squares of the loss, with the weights of the fit. What
            is simulated takes the same random numbers at all points, and several times the trajectories of a step.

        Raises
        ------
        FitError
            for parameters that were not fitted, and fewer than 4 points.
        """
        names = self.problem.parameters.names
        indices = chosen(names, parameters, points)
        with bar(progress, desc="profile", unit="evaluation") as shown:
            return profiled(self.problem.surface(self.outcome, shown), indices, points)

    def with_profile(self, profile: Profile) -> Fit:
        """The same fit with the limits of a profile in its table, and the profile in its report."""
        table = profile.limits_in(self.parameters)
        return replace(self, parameters=table, profiles=profile, warnings=(*self.warnings, *profile.warnings))

    def sample(
        self,
        n: int = 4000,
        *,
        chains: int = 4,
        warmup: int | None = None,
        seed: int | None = None,
        progress: bool = False,
    ) -> Posterior:
        """Draws from the posterior, with a prior that is flat within the bounds on the scale of the search.

        That scale is logarithmic for parameters that start positive and stay so. Likelihoods by particle filters are
        estimated anew at each step, which leaves the posterior as it is.

        Parameters
        ----------
        n
            Draws of all chains together.
        chains
            How many, begun apart from each other.
        warmup
            Steps of each chain before its first draw, in which steps learn to be of the right size; half as many as
            there are draws, and at least 100, if None.
        seed
            That of the fit if None. The same seed gives the same draws.

        Raises
        ------
        FitError
            for a fit of moments, histograms or least squares, which have no likelihood, and for too few draws.
        """
        if not isinstance(self.problem, LikelihoodFit):
            raise FitError(
                f"sample: a posterior is that of a likelihood, and this fit is by {self.loss_name}; take limits by "
                "profile instead, or give the noise of single values"
            )
        own = self.seed if seed is None else seed
        with bar(progress, desc="sample", unit="evaluation", total=evaluations(n, chains, warmup)) as shown:
            surface = self.problem.surface(self.outcome, shown)
            return sampled(self.problem.density(own, shown), surface, n, chains, warmup, own)

    def with_posterior(self, posterior: Posterior) -> Fit:
        """The same fit with draws in its report, and their summary in its JSON."""
        return replace(self, posterior=posterior, warnings=(*self.warnings, *posterior.warnings))

    def report(self, folder: str | os.PathLike[str]) -> None:
        """Write a report: ``index.html`` with pictures, and its tables as CSV.

        An earlier report in the folder is replaced; a folder that holds anything else, or a file that was read for the
        fit, raises :class:`SbmlgradError`.
        """
        from sbmlgrad.report.html import write_report

        write_report(self.content(), folder, self.trials.inputs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model: the document that was given, with the estimates and where they come from."""
        write_sbml(self.model, path, fit=self.record())

    def to_petab(self, folder: str | os.PathLike[str]) -> str:
        """Write what was fitted as a PEtab problem into a folder, and return the path of its YAML file.

        PEtab 1 where it can say everything, else PEtab 2 (something is changed on the way, or begins with a formula).
        ``model.xml`` is the fitted model, ``simulations.tsv`` what its rate equations have in place of measurements.

        Raises
        ------
        FitError
            for what PEtab has no words for: networks from Python, single cells, likelihoods of molecules that react at
            random. Nothing is written then.
        SbmlgradError
            where a file cannot be written.
        """
        path = write_problem(self.model, self.trials, self.parameters, self._origin, self.record(), folder)
        return str(path)

    @property
    def _origin(self) -> Origin:
        """What was made small."""
        if self.estimator == "ode":
            return Origin.EQUATIONS
        return Origin.MOMENTS if self.loss_name == MOMENTS else Origin.JUMPS

    def __repr__(self) -> str:
        return f"<Fit: {in_a_line(self.parameters, f'{self.loss_name} {self.loss:.6g}', self.converged)}>"

    def _repr_html_(self) -> str:
        return in_html(self.message, self.parameters, self.goodness, (f"warning: {text}" for text in self.warnings))

    def record(self) -> FitRecord:
        """What the annotation of the fitted document says."""
        return FitRecord(
            parameters={
                str(name): (float(row["estimate"]), float(row["stderr"])) for name, row in self.parameters.iterrows()
            },
            data=", ".join(self.data),
            loss=self.loss_name,
            loss_value=self.loss,
            seed=self.seed,
            version=__version__,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        )

    def to_dict(self) -> dict[str, Any]:
        """The contents of ``fit.json``; infinite numbers become null."""
        columns = ("estimate", "stderr", "lower", "upper", "ci_lower", "ci_upper")
        return {
            "parameters": {
                name: {column: _finite(row[column]) for column in columns} for name, row in self.parameters.iterrows()
            },
            "loss": _finite(self.loss),
            "loss_name": self.loss_name,
            "seconds": self.seconds,
            "seed": self.seed,
            "version": __version__,
            "converged": self.converged,
            "message": self.message,
            "warnings": list(self.warnings),
            "method": self.estimator,
            "data": list(self.data),
            "goodness": {str(name): _finite(value) for name, value in self.goodness.items()},
            "correlation": {
                str(name): {str(other): _finite(value) for other, value in row.items()}
                for name, row in self.correlation.iterrows()
            },
            **({} if self.posterior is None else {"posterior": self.posterior.to_dict()}),
        }

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_dict` as JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    def content(self) -> FitContent:
        """What the report shows."""
        title, path = "a network", "a network from Python"
        if isinstance(self.model, Model):
            path = self.model.elements.source.path
            title = self.model.name or Path(path).stem
        parameters = self.parameters.copy()
        parameters.insert(0, "start", [self.start[name] for name in parameters.index])
        return FitContent(
            title=f"Fit of {title}",
            model=path,
            data=", ".join(self.data),
            parameters=parameters,
            measured=self.measured,
            curves=self.curves,
            history=self.history,
            correlation=self.correlation,
            facts={
                "Loss": f"{self.loss_name}: {self.loss:.6g}",
                "Stopped": self.message,
                "Goodness": ", ".join(f"{name} {value:.6g}" for name, value in self.goodness.items()),
                "Gradient": self.estimator,
                "Trajectories a step": str(self.n),
                "Seed": str(self.seed),
                "Wall time": f"{self.seconds:.1f} s",
                **({} if self.profiles is None else {"Limits": self.profiles.note}),
                **({} if self.posterior is None else {"Posterior": self.posterior.note}),
                "sbmlgrad": __version__,
            },
            warnings=self.warnings,
            posterior=None if self.posterior is None else (self.posterior.draws, self.posterior.summary),
            labels=self._labels,
            dwells=self.dwells,
            profiles=None if self.profiles is None else (self.profiles.table, self.profiles.limits),
        )

    @property
    def _labels(self) -> Labels:
        if not isinstance(self.model, Model):
            return Labels()
        return labels_of(self.model.elements, set(map(str, self.measured["observable"])))


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
