"""All estimators on one problem: what each gets wrong, how noisy it is, what it costs, and which to use."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sbmlgrad.errors import EstimatorError, SbmlgradError, SimulationError
from sbmlgrad.gradient.catalogue import ESTIMATORS
from sbmlgrad.gradient.estimator import Estimate, Estimator, Task
from sbmlgrad.gradient.exact import Exact
from sbmlgrad.gradient.problem import Problem

if TYPE_CHECKING:
    import pandas

_JUDGE_STATES = 20_000
_CLEARLY = 4.0  # standard errors: by chance about once in 16,000 comparisons
_SMALL = 0.02  # of a derivative: a bias that harms few


@dataclass(frozen=True)
class Comparison:
    """The table, the judge that biases are measured against, warnings, and the estimator to use.

    Columns of ``table``, one row an estimator: ``bias`` the largest difference from the judge, ``bias_z`` the largest
    in standard errors of both, ``stderr`` the median standard error, ``seconds`` for the ensemble (compiled before),
    ``efficiency`` one over variance times seconds, in units of the plain score's, and ``remark``. Bias and stderr are
    in parts of the largest derivative of that observable by that parameter over time; derivatives of less than a
    thousandth of the observable over the parameter are left out.
    """

    table: pandas.DataFrame
    judge: str
    warnings: tuple[str, ...]
    recommended: str

    def __str__(self) -> str:
        lines = [
            f"{'estimator':24s}{'bias':>9s}{'bias/se':>9s}{'stderr':>10s}{'seconds':>9s}{'efficiency':>11s}  remark"
        ]
        for name, row in self.table.iterrows():
            if np.isnan(row["seconds"]):
                lines.append(f"{name:24s}{'-':>9s}{'-':>9s}{'-':>10s}{'-':>9s}{'-':>11s}  {row['remark']}")
                continue
            lines.append(
                f"{name:24s}{row['bias']:9.2%}{row['bias_z']:9.1f}{row['stderr']:10.3%}{row['seconds']:9.3f}"
                f"{row['efficiency']:11.3g}  {row['remark']}"
            )
        lines.append(f"bias and stderr in parts of the largest derivative over time; judged by {self.judge}")
        lines.append(f"recommended: {self.recommended}")
        return "\n".join(lines)


class _Seen(NamedTuple):
    """An estimate beside the judge: differences and noise in parts of the size of derivatives (cells,), and seconds."""

    off: np.ndarray
    noise: np.ndarray
    stderr: np.ndarray
    seconds: float

    @property
    def z(self) -> np.ndarray:
        """Differences in standard errors of both; 0 where there is no noise."""
        return np.where(self.noise > 0, np.abs(self.off) / np.where(self.noise > 0, self.noise, 1.0), 0.0)

    @property
    def wrong(self) -> np.ndarray:
        """Which derivatives are clearly off."""
        return (self.z > _CLEARLY) & (np.abs(self.off) > _SMALL)

    @property
    def useless(self) -> np.ndarray:
        """Which derivatives drown in noise, or overflow."""
        return ~(self.stderr <= 1.0)


def compare(problem: Problem, task: Task) -> Comparison:
    """Run every estimator that can serve, and judge them."""
    import pandas

    estimates: dict[str, tuple[Estimate, float]] = {}
    refused = {}
    for name, estimator in ESTIMATORS.items():
        if name in ("auto", "exact"):
            continue
        try:
            estimator.estimate(problem, task.with_n(min(task.n, 512)))  # compiles
            begun = clock.perf_counter()
            estimates[name] = (estimator.estimate(problem, task), clock.perf_counter() - begun)
        except EstimatorError as error:
            refused[name] = str(error)
    judge, reference = _judge(problem, task, {name: e for name, (e, _) in estimates.items()})
    size, kept = _sizes(problem, task, reference)
    if not kept.any():
        raise SbmlgradError("all these derivatives are zero, so there is nothing to compare")
    seen = {
        name: _Seen(
            ((e.derivatives - reference.derivatives) / size)[kept],
            (np.hypot(e.stderr, 0.0 if judge == "exact" else reference.stderr) / size)[kept],
            (e.stderr / size)[kept],
            seconds,
        )
        for name, (e, seconds) in estimates.items()
    }
    rows = {name: _row(ESTIMATORS[name], item) for name, item in seen.items()}
    nothing = dict.fromkeys(("bias", "bias_z", "stderr", "seconds", "efficiency"), np.nan)
    rows |= {name: {**nothing, "remark": reason} for name, reason in refused.items()}
    table = pandas.DataFrame.from_dict(rows, orient="index").rename_axis("estimator")
    efficiency = table["efficiency"]
    table["efficiency"] = efficiency / (efficiency["score"] if "score" in seen else efficiency.min())
    table = table.sort_values("efficiency", ascending=False)
    sound = [str(name) for name in table.index if name in seen and not (seen[name].wrong | seen[name].useless).any()]
    warnings = [
        _warning(name, problem, task, estimates[name][0], reference, judge, seen[name], kept)
        for name in ("straight_through", "straight_through_plain", "propensity_straight_through")
        if name in seen and (seen[name].wrong | seen[name].useless).any()
    ]
    return Comparison(table, judge, tuple(warnings), sound[0] if sound else "score")


def _judge(problem: Problem, task: Task, seen: dict[str, Estimate]) -> tuple[str, Estimate]:
    """The exact values where there are few states, else the least noisy unbiased estimate."""
    try:
        return "exact", Exact(tolerance=1e-10, limit=_JUDGE_STATES).estimate(problem, task)
    except SimulationError:  # too many states
        unbiased = {name: e for name, e in seen.items() if ESTIMATORS[name].unbiased}
        if not unbiased:
            raise SbmlgradError("no unbiased estimator can serve these observables and parameters") from None
        return min(unbiased.items(), key=lambda item: float(np.nanmedian(item[1].stderr)))


def _sizes(problem: Problem, task: Task, reference: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """The size of each derivative (parameters, functions, times), the largest over time, and which are worth a look."""
    size = np.abs(reference.derivatives).max(axis=2, keepdims=True)
    parameters = np.abs(problem.own(task.values))
    scale = np.abs(reference.values).max(axis=1) / np.where(parameters > 0, parameters, 1.0)[:, None]
    kept = (size > 1e-3 * scale[..., None]) & (task.times > task.start)
    return np.where(size > 0, size, 1.0), kept


def _row(estimator: Estimator, seen: _Seen) -> dict[str, float | str]:
    """A row of the table; efficiency by the geometric mean of variances, in which no single derivative decides."""
    if seen.wrong.any():
        remark = f"biased here: {seen.wrong.sum()} of {seen.wrong.size} derivatives are off by more than {_SMALL:.0%}"
    elif seen.useless.any():
        remark = f"too noisy here: {seen.useless.sum()} of {seen.useless.size} derivatives are below their error"
    else:
        remark = "unbiased" if estimator.unbiased else "no clear bias here"
    noisy = seen.stderr[(seen.stderr > 0) & np.isfinite(seen.stderr)]
    square = float(np.exp(np.mean(2 * np.log(noisy)))) if noisy.size else np.inf
    return {
        "bias": float(np.max(np.abs(seen.off))),
        "bias_z": float(np.max(seen.z)),
        "stderr": float(np.median(seen.stderr)),
        "seconds": seen.seconds,
        "efficiency": 1.0 / (square * seen.seconds),
        "remark": remark,
    }


def _warning(
    name: str,
    problem: Problem,
    task: Task,
    estimate: Estimate,
    reference: Estimate,
    judge: str,
    seen: _Seen,
    kept: np.ndarray,
) -> str:
    """Where an estimator is worst."""
    p, f, k = np.argwhere(kept)[int(np.argmax(np.where(seen.wrong | seen.useless, np.abs(seen.off), 0.0)))]
    return (
        f"{name} is not to be trusted here: d {problem.functions[f].label} / d {problem.parameters[p]} at time "
        f"{task.times[k]:g} is {estimate.derivatives[p, f, k]:.4g} +- {estimate.stderr[p, f, k]:.2g}, and "
        f"{reference.derivatives[p, f, k]:.4g} by {judge}"
    )
