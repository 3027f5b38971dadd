"""What the fit of a PEtab problem gives back: estimates, how sure they are, and files to go on with."""

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
from sbmlgrad.files import write_text
from sbmlgrad.fitting.ascent import inverse_information
from sbmlgrad.fitting.outcome import Outcome, estimates, in_a_line, in_html, warnings_of
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.profiled import Profile, chosen, profiled
from sbmlgrad.fitting.sampled import Posterior, evaluations, sampled
from sbmlgrad.model.model import Model
from sbmlgrad.petab.definition import Definition
from sbmlgrad.petab.evaluate import Evaluation
from sbmlgrad.petab.fit import Ended, MultiStart
from sbmlgrad.petab.surface import Drawn, has_priors, surface_of
from sbmlgrad.petab.verdict import judge
from sbmlgrad.report.content import FitContent
from sbmlgrad.sbml.write import FitRecord, write_sbml
from sbmlgrad.simulation.progress import bar

if TYPE_CHECKING:
    import pandas

_SAME = 0.1  # of the objective: ends so close together count as one
_SAME_DRAWN = 1.0  # the same where chance moves it
EQUATIONS = "rate equations, forward sensitivities"


@dataclass(frozen=True, eq=False)
class PetabFit:
    """A fitted PEtab problem.

    Attributes
    ----------
    parameters
        DataFrame by estimated parameter, on the linear scale: ``estimate``, ``stderr``, ``lower``, ``upper`` (the
        bounds), ``at_bound``, and 95 % confidence limits ``ci_lower`` and ``ci_upper`` by the Fisher information
        (and the prior, if any), symmetric on the scale on which the parameter was estimated.
    correlation
        DataFrame of correlations between the estimates.
    llh, chi2, log_posterior
        As in :class:`~sbmlgrad.petab.evaluate.Evaluation`, at the estimates.
    objective
        What was made small: minus the log of the likelihood, or of likelihood times prior.
    starts
        DataFrame by number of the start, best first: ``objective`` (nan where nothing could be simulated),
        ``converged``, ``evaluations``, ``seconds``, ``message``, and the parameters where the search ended.
    goodness
        Series: ``log_likelihood``, ``n_data``, ``dof``, ``chi2``, its ``p_value`` (nan where noise is estimated),
        ``aic``, ``bic``.
    verdict
        Whether the model explains the data, in words.
    simulations
        The table of measurements, with the column ``simulation`` in the place of ``measurement``.
    models
        The models with the estimates put in, by id; what only the problem knows is not in them.
    """

    parameters: pandas.DataFrame
    correlation: pandas.DataFrame
    llh: float
    chi2: float
    log_posterior: float | None
    objective: float
    starts: pandas.DataFrame
    goodness: pandas.Series
    verdict: str
    converged: bool
    message: str
    warnings: tuple[str, ...]
    seconds: float
    seed: int
    method: str
    source: str
    models: Mapping[str, Model] = field(repr=False)
    simulations: pandas.DataFrame = field(repr=False)
    table: pandas.DataFrame = field(repr=False)
    """the parameter table of the problem, with the estimates as nominal values"""
    measured: pandas.DataFrame = field(repr=False)
    stderr: Any = field(repr=False)
    """standard errors of the simulations (n,); 0 by rate equations"""
    searches: MultiStart = field(repr=False)
    best: Ended = field(repr=False)
    """what was searched, and the end that counts"""
    profiles: Profile | None = field(default=None, repr=False)
    """what limits are taken from, and a report shows; see :meth:`with_profile`"""
    posterior: Posterior | None = field(default=None, repr=False)
    """draws that a report shows; see :meth:`with_posterior`"""

    def __repr__(self) -> str:
        return f"<PetabFit: {in_a_line(self.parameters, f'llh {self.llh:.6g}', self.converged)}>"

    def _repr_html_(self) -> str:
        return in_html(self.message, self.parameters, self.goodness, (self.verdict, *self.warnings))

    def profile(
        self, parameters: str | Sequence[str] | None = None, *, points: int = 16, progress: bool = False
    ) -> Profile:
        """How well the model fits while one parameter is held and the others are fitted again, and 95 % limits by it.

        As :meth:`sbmlgrad.fitting.result.Fit.profile`; where the problem has priors, of likelihood times prior.

        Raises
        ------
        FitError
            for parameters that were not fitted, fewer than 4 points, and a fit by exact simulation.
        """
        indices = chosen(self.searches.parameters.names, parameters, points)
        with bar(progress, desc="profile", unit="evaluation") as shown:
            return profiled(surface_of(self.searches, self.best, shown), indices, points)

    def with_profile(self, profile: Profile) -> PetabFit:
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
        """Draws from the posterior, with the problem's priors; what has none has one that is flat on its scale.

        As :meth:`sbmlgrad.fitting.result.Fit.sample`. The column ``log_likelihood`` of the draws is, with priors, the
        log of likelihood times prior on the scale of the search.

        Raises
        ------
        FitError
            for too few draws, and a fit by exact simulation.
        """
        own = self.seed if seed is None else seed
        prior = "priors of the problem" if has_priors(self.searches.definition) else ""
        with bar(progress, desc="sample", unit="evaluation", total=evaluations(n, chains, warmup)) as shown:
            surface = surface_of(self.searches, self.best, shown)
            return sampled(Drawn(self.searches, shown), surface, n, chains, warmup, own, prior)

    def with_posterior(self, posterior: Posterior) -> PetabFit:
        """The same fit with draws in its report, and their summary in its JSON."""
        return replace(self, posterior=posterior, warnings=(*self.warnings, *posterior.warnings))

    def to_dict(self) -> dict[str, Any]:
        """The contents of ``fit.json``; infinite numbers become null."""
        columns = ("estimate", "stderr", "lower", "upper", "ci_lower", "ci_upper")
        return {
            "parameters": {
                name: {column: _finite(row[column]) for column in columns} for name, row in self.parameters.iterrows()
            },
            "llh": self.llh,
            "chi2": _finite(self.chi2),
            **({} if self.log_posterior is None else {"log_posterior": _finite(self.log_posterior)}),
            "loss": self.objective,
            "loss_name": self.loss_name,
            "seconds": self.seconds,
            "seed": self.seed,
            "version": __version__,
            "converged": self.converged,
            "message": self.message,
            "verdict": self.verdict,
            "warnings": list(self.warnings),
            "method": self.method,
            "data": [os.path.basename(self.source)],
            "goodness": {str(name): _finite(value) for name, value in self.goodness.items()},
            "correlation": {
                str(name): {str(other): _finite(value) for other, value in row.items()}
                for name, row in self.correlation.iterrows()
            },
            **({} if self.posterior is None else {"posterior": self.posterior.to_dict()}),
            "starts": [
                {
                    "start": int(str(number)),
                    "objective": _finite(row["objective"]),
                    "converged": bool(row["converged"]),
                    "evaluations": int(row["evaluations"]),
                    "seconds": float(row["seconds"]),
                    "message": str(row["message"]),
                }
                for number, row in self.starts.iterrows()
            ],
        }

    @property
    def loss_name(self) -> str:
        """What was made small."""
        return "minus log-likelihood" if self.log_posterior is None else "minus log of likelihood times prior"

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_dict` as JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    def write(self, folder: str | os.PathLike[str]) -> list[str]:
        """Write ``simulations.tsv``, ``parameters.tsv`` (the problem's table with the estimates), the fitted models as
        ``fitted.xml`` and a report, ``report/index.html``, into a folder; the paths of what was written.

        Several models of a problem are ``fitted_ID.xml`` each. Raises :class:`SbmlgradError` where a file cannot be
        written, or another folder ``report`` is in the way, before anything is.
        """
        from sbmlgrad.report.html import check_folder, write_report

        target = Path(folder)
        check_folder(target / "report")
        target.mkdir(parents=True, exist_ok=True)
        models = []
        for name, model in self.models.items():  # first, since a document is what may be refused
            models.append(target / ("fitted.xml" if len(self.models) == 1 else f"fitted_{name}.xml"))
            write_sbml(model, models[-1], fit=self.record())
        tables = {target / "simulations.tsv": self.simulations, target / "parameters.tsv": self.table}
        for path, table in tables.items():
            write_text(path, table.to_csv(sep="\t", index=False, lineterminator="\n"))
        write_report(self.content(), target / "report")
        return [str(path) for path in (*tables, *models, target / "report" / "index.html")]

    def record(self) -> FitRecord:
        """What the annotation of a fitted document says."""
        rows = self.parameters.iterrows()
        return FitRecord(
            parameters={str(name): (float(row["estimate"]), float(row["stderr"])) for name, row in rows},
            data=os.path.basename(self.source),
            loss=self.loss_name,
            loss_value=self.objective,
            seed=self.seed,
            version=__version__,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        )

    def content(self) -> FitContent:
        """What the report shows; the searches from all starts stand for the steps of one."""
        import pandas

        parameters = self.parameters.copy()
        parameters.insert(0, "start", np.nan)
        curves = self.measured.rename(columns={"predicted": "mean"}).assign(mean_stderr=self.stderr, sd=0.0)
        ends = self.starts[np.isfinite(self.starts["objective"])].drop(columns=["converged", "seconds", "message"])
        steps = pandas.DataFrame({"step": range(len(ends)), "phase": "ends of searches, best first", "n": 1})
        steps = steps.assign(loss=ends["objective"].to_numpy(), loss_stderr=0.0)
        traces = ends.drop(columns=["objective", "evaluations"]).reset_index(drop=True)
        return FitContent(
            title=f"Fit of {Path(self.source).stem}",
            model=", ".join(model.elements.source.path for model in self.models.values()),
            data=self.source,
            parameters=parameters,
            measured=self.measured,
            curves=curves[["condition", "observable", "time", "mean", "mean_stderr", "sd"]],
            history=pandas.concat([steps, traces], axis=1),
            correlation=self.correlation,
            facts={
                "Loss": f"{self.loss_name}: {self.objective:.6g}",
                "Stopped": self.message,
                "Verdict": self.verdict,
                "Goodness": ", ".join(f"{name} {value:.6g}" for name, value in self.goodness.items()),
                "Gradient": self.method,
                "Seed": str(self.seed),
                "Wall time": f"{self.seconds:.1f} s",
                **({} if self.profiles is None else {"Limits": self.profiles.note}),
                **({} if self.posterior is None else {"Posterior": self.posterior.note}),
                "sbmlgrad": __version__,
            },
            warnings=self.warnings,
            posterior=None if self.posterior is None else (self.posterior.draws, self.posterior.summary),
            profiles=None if self.profiles is None else (self.profiles.table, self.profiles.limits),
        )


def result_of(
    fit: MultiStart, ends: Sequence[Ended], best: Ended, evaluation: Evaluation, seconds: float, method: str
) -> PetabFit:
    """The result of a fit: the end of its searches that counts, ``evaluation`` there, and what ``method`` it was by."""
    import pandas

    definition, parameters = fit.definition, fit.parameters
    assert best.point is not None
    assert best.posterior is not None
    prior = None if evaluation.log_prior is None else sum(evaluation.log_prior.values())
    verdict = judge(definition, best.posterior, prior, evaluation.stderr)
    starts = _starts(ends, best, parameters)
    message = f"best of {len(ends)} starts: {best.message}"
    measured = _measured(definition, best)
    at_bound = parameters.at_bound(parameters.from_scale(best.point))
    outcome = Outcome(
        point=best.point,
        covariance=inverse_information(best.posterior.curvature, at_bound) + fit.mc_covariance,
        freedom=np.inf,
        loss=best.value,
        loss_name="minus log-likelihood",
        converged=best.converged,
        message=message,
        warnings=(
            *(() if best.converged else (message,)),
            *_remarks(starts, _SAME if fit.exact else _SAME_DRAWN),
            *((verdict.text,) * verdict.poor),
        ),
        history=starts,
        measured=measured,
        curves=measured,
        goodness=verdict.goodness,
    )
    table, correlation = estimates(outcome, parameters)
    table["estimate"] = table["estimate"].clip(table["lower"], table["upper"])  # the way back from the scale rounds
    values = {str(name): float(value) for name, value in table["estimate"].items()}
    models, left_out = _models(definition, values)
    return PetabFit(
        parameters=table,
        correlation=correlation,
        llh=evaluation.llh,
        chi2=evaluation.chi2,
        log_posterior=evaluation.log_posterior,
        objective=best.value,
        starts=starts,
        goodness=pandas.Series(verdict.goodness),
        verdict=verdict.text,
        converged=best.converged,
        message=message,
        warnings=(*warnings_of(outcome, table), *left_out),
        seconds=seconds,
        seed=fit.options.seed,
        method=method,
        source=definition.source,
        models=models,
        simulations=evaluation.simulations,
        table=_parameter_table(definition, values),
        measured=measured,
        stderr=0.0 if evaluation.stderr is None else evaluation.stderr,
        searches=fit,
        best=best,
    )


def _starts(ends: Sequence[Ended], best: Ended, parameters: Parameters) -> pandas.DataFrame:
    """The table of starts, the one that counts first."""
    import pandas

    nowhere = np.full(len(parameters.names), np.nan)
    rows = {
        "objective": [item.value if np.isfinite(item.value) else np.nan for item in ends],
        "converged": [item.converged for item in ends],
        "evaluations": [item.evaluations for item in ends],
        "seconds": [item.seconds for item in ends],
        "message": [item.message for item in ends],
    }
    places = [nowhere if item.point is None else parameters.from_scale(item.point) for item in ends]
    numbers = pandas.RangeIndex(len(ends), name="start")
    named = pandas.DataFrame(places, columns=list(parameters.names), index=numbers)
    order = sorted(range(len(ends)), key=lambda index: (ends[index] is not best, ends[index].value))
    return pandas.concat([pandas.DataFrame(rows, index=numbers), named], axis=1).iloc[order]


def _remarks(starts: pandas.DataFrame, same: float) -> tuple[str, ...]:
    """What to know of the searches."""
    texts = []
    values = starts["objective"].to_numpy()
    failed = int(np.sum(np.isnan(values)))
    if failed:
        reason = starts["message"].iloc[-1]
        texts.append(f"{failed} of {len(values)} starts could not be simulated ({reason})")
    if len(values) > 1 and int(np.sum(values <= np.nanmin(values) + same)) == 1:
        texts.append(f"only 1 of {len(values)} starts ended at the best value; more starts may find a better one")
    return tuple(texts)


def _measured(definition: Definition, best: Ended) -> pandas.DataFrame:
    """A row per measurement, as a report shows it."""
    import pandas

    assert best.posterior is not None
    items = definition.measurements
    return pandas.DataFrame(
        {
            "condition": [item.experiment for item in items],
            "observable": [item.observable for item in items],
            "statistic": "value",
            "time": [item.time for item in items],
            "measured": [item.value for item in items],
            "predicted": best.posterior.simulated.values,
            "error": best.posterior.simulated.noise,
            "residual": best.posterior.residuals,
        }
    )


def _models(definition: Definition, values: Mapping[str, float]) -> tuple[dict[str, Model], tuple[str, ...]]:
    """The models with estimates, and what to say of those that a document cannot hold."""
    models, texts = {}, []
    for key, model in definition.models.items():
        elements, changes = model.elements, {}
        ruled = {*elements.initial_assignments, *elements.assignment_rules}
        for name, value in values.items():
            own = definition.aliases.get(name, name)
            if own in ruled:
                texts.append(f"{own} is set by a rule or an initial assignment, so the fitted model is without it")
            elif own in model.quantities():
                changes[own] = value
        models[key] = model.with_parameters(changes)
    return models, tuple(texts)


def _parameter_table(definition: Definition, values: Mapping[str, float]) -> pandas.DataFrame:
    table = definition.parameter_table.copy()
    if "nominalValue" not in table:
        table["nominalValue"] = ""
    table["nominalValue"] = [
        repr(values[name]) if name in values else nominal
        for name, nominal in zip(table["parameterId"], table["nominalValue"], strict=True)
    ]
    return table


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
