"""What each kind of fit ends with, in the form that is given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.stats import t as student
from tqdm import tqdm

from sbmlgrad.fitting.optimise import Descent, Row
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.profile import Margin, Surface
from sbmlgrad.fitting.uncertainty import Verdict, covariance
from sbmlgrad.markup import html_table

if TYPE_CHECKING:
    import pandas

MOMENTS = "weighted least squares of moments"
_MOST_SHOWN = 6  # estimates in one line


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where a fit ended.

    Attributes
    ----------
    point, covariance, freedom
        On the optimiser's scale (P,) and (P, P); of Student's t, by which limits are taken.
    loss, loss_name
        What was made small, and what it is called.
    history
        Columns step, phase, loss, loss_stderr, n, and one for each parameter.
    measured, curves
        As a report shows them.
    goodness
        Numbers that say how well the model fits.
    dwells
        Histograms of dwell times, where these were fitted: a row for each bin of each level.
    ends
        95 % confidence limits (P,) on the optimiser's scale, where they are not those of the covariance.
    """

    point: np.ndarray
    covariance: np.ndarray
    freedom: float
    loss: float
    loss_name: str
    converged: bool
    message: str
    warnings: tuple[str, ...]
    history: pandas.DataFrame = field(repr=False)
    measured: pandas.DataFrame = field(repr=False)
    curves: pandas.DataFrame = field(repr=False)
    goodness: Mapping[str, float] = field(repr=False)
    ends: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)
    dwells: pandas.DataFrame | None = field(default=None, repr=False)


def curves(
    observables: Sequence[str],
    times: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    stderr: np.ndarray,
    condition: str = "",
) -> pandas.DataFrame:
    """What is predicted over time in a condition, (observables, times) each, as a report draws it."""
    import pandas

    named = {"condition": condition} if condition else {}
    return pandas.concat(
        [
            pandas.DataFrame({**named, "observable": name, "time": times, "mean": m, "mean_stderr": e, "sd": s})
            for name, m, e, s in zip(observables, mean, stderr, sd, strict=True)
        ],
        ignore_index=True,
    )


def curves_of_trajectories(
    observables: Sequence[str], times: np.ndarray, values: np.ndarray, condition: str = ""
) -> pandas.DataFrame:
    """Means and sds over time of trajectories (observables, times, n), as a report draws them."""
    sd = values.std(axis=-1)
    return curves(observables, times, values.mean(axis=-1), sd, sd / np.sqrt(values.shape[-1]), condition)


def dense(times: np.ndarray) -> np.ndarray:
    """These times, and as many between them as make a curve."""
    return np.union1d(times, np.linspace(times[0], times[-1], 101))


class Posed(Protocol):
    """A fit that is ready to run."""

    @property
    def parameters(self) -> Parameters:
        """What is fitted."""
        ...

    @property
    def n(self) -> int:
        """Trajectories a step; 1 where nothing is drawn."""
        ...

    @property
    def unit(self) -> str:
        """What the progress bar counts."""
        ...

    def solve(self, bar: tqdm[Any]) -> Outcome:
        """Run to the end."""
        ...

    def warn(self) -> None:
        """Name what starts from, or is set to, fractions of molecules."""
        ...

    def surface(self, outcome: Outcome, bar: tqdm[Any]) -> Surface:
        """What was made large, or small, around where the fit ended."""
        ...


def of_least_squares(
    descent: Descent, verdict: Verdict, parameters: Parameters, n: int, curves: pandas.DataFrame
) -> Outcome:
    """The end of a fit of weighted residuals."""
    import pandas

    spread = covariance(verdict.covariance, descent.jacobians)
    spread = spread + (0.0 if descent.mc_covariance is None else descent.mc_covariance)
    aim = descent.target
    named = {"condition": [aim.conditions[k] for k in aim.trial]} if any(aim.conditions) else {}
    statistic = np.where(aim.spread, "sd", np.where(aim.trajectory & (aim.replicates == 1), "value", "mean"))
    measured = pandas.DataFrame(
        {
            **named,
            "observable": [aim.observables[i] for i in aim.observable],
            "statistic": np.where(aim.cross, "cov", statistic),
            "time": aim.times[aim.time],
            "measured": aim.value,
            "predicted": aim.value + descent.residuals * aim.error,
            "error": aim.error,
            "residual": descent.residuals,
        }
    )
    loss = float(np.sum(np.square(descent.residuals)))
    size, free = len(aim.value), len(parameters.names)
    poor = "; but the data contradict the fitted model, see the warnings" if verdict.poor else ""
    return Outcome(
        point=descent.point,
        covariance=spread,
        freedom=verdict.freedom,
        loss=loss,
        loss_name=MOMENTS,
        converged=descent.converged,
        message=descent.message + poor,
        warnings=(*(() if descent.converged else (descent.message,)), *verdict.warnings),
        history=history(descent.rows, parameters.names, n),
        measured=measured,
        curves=curves,
        goodness={"loss": loss, "n_data": size, "dof": size - free, **verdict.goodness},
    )


def of_squares(outcome: Outcome, jacobians: np.ndarray) -> tuple[np.ndarray, tuple[Margin, ...]]:
    """Where 95 % limits are on a surface of weighted squares, from their derivatives (2, m, P) at the end.

    The inverse of the curvature (P, P), and margins in which the weights that leave out correlations are made up for:
    the threshold is that of the estimate's variance over the inverse of the curvature (Kent, Biometrika 69, 19, 1982).
    """
    inverse = covariance(np.eye(jacobians.shape[1]), jacobians)
    quantile = float(student.ppf(0.975, outcome.freedom))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.sqrt(np.diag(outcome.covariance) / np.diag(inverse))
    ratio = np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1.0)
    return inverse, tuple(Margin(quantile * one, quantile * one) for one in ratio.tolist())


def history(rows: Sequence[Row], names: Sequence[str], n: int) -> pandas.DataFrame:
    """The table of steps."""
    import pandas

    steps = pandas.DataFrame(
        {
            "step": range(len(rows)),
            "phase": [row.phase for row in rows],
            "loss": [row.loss for row in rows],
            "loss_stderr": [row.noise for row in rows],
            "n": n,
        }
    )
    traces = pandas.DataFrame([row.values for row in rows], columns=list(names))
    return pandas.concat([steps, traces], axis=1)  # a parameter may be called "n" or "loss"


def estimates(outcome: Outcome, parameters: Parameters) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Tables of the estimates and of their correlations."""
    import pandas

    values = parameters.within(outcome.point)
    stderr = np.sqrt(np.diag(outcome.covariance))
    with np.errstate(invalid="ignore"):
        correlation = outcome.covariance / np.outer(stderr, stderr)
    ends = parameters.interval(outcome.point, stderr, outcome.freedom)
    if outcome.ends is not None:
        with np.errstate(over="ignore"):
            ends = parameters.from_scale(outcome.ends[0]), parameters.from_scale(outcome.ends[1])
    names = pandas.Index(parameters.names, name="parameter")
    table = {
        "estimate": values,
        "stderr": parameters.stderr(values, stderr),
        "lower": parameters.lower,
        "upper": np.where(parameters.upper >= 1e300, np.inf, parameters.upper),
        "at_bound": parameters.at_bound(values),
        "ci_lower": ends[0],
        "ci_upper": ends[1],
    }
    correlations = pandas.DataFrame(correlation, index=names, columns=names.rename(None))
    return pandas.DataFrame(table, index=names), correlations


def warnings_of(outcome: Outcome, table: pandas.DataFrame) -> tuple[str, ...]:
    """What to know of the estimates, and what the fit itself says."""
    texts = []
    for name, row in table.iterrows():
        if row["at_bound"]:
            texts.append(f"{name} stands at a bound; widen its bounds or fix it")
        if not np.isfinite(row["stderr"]):
            texts.append(f"{name} is not determined by these data; fix it or measure more")
    first = () if outcome.converged else outcome.warnings[:1]
    return (*first, *texts, *outcome.warnings[len(first) :])


def in_a_line(parameters: pandas.DataFrame, objective: str, converged: bool) -> str:
    """The first estimates, what was made of the objective, and how the search ended."""
    shown = [f"{name}={value:.4g}" for name, value in parameters["estimate"].items()]
    more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    return f"{', '.join(shown[:_MOST_SHOWN])}{more}; {objective}, {'converged' if converged else 'not converged'}"


def in_html(message: str, parameters: pandas.DataFrame, goodness: pandas.Series, notes: Iterable[str]) -> str:
    """The estimates under a message, how good the fit is, and what is to be said beside it."""
    rows = parameters.reset_index(names="parameter")
    numbers = html_table(message, list(rows.columns), rows.itertuples(index=False))
    good = html_table("goodness of fit", list(map(str, goodness.index)), [goodness.tolist()])
    return numbers + good + "".join(f"<p>{escape(text)}</p>" for text in notes)
