"""Estimators of derivatives on the battery: bias, noise and cost of each, beside exact values.

    python benchmarks/gradients.py -o benchmarks/results/DATE-gradients.json --page docs/gradient-battery.md

runs every case of `battery.py` through the default estimator with --n trajectories, through the others with a fifth of
that, and through finite differences with common random numbers. Standard errors and seconds are scaled to --n. The
bias of the default is measured with three times more trajectories on top. Seconds are the shorter of two runs after
one that compiles; the forward run is the same ensemble without derivatives. Estimators run one after the other in one
process. With the table of `battery_stochastix.py`, --stochastix shows those of its DifferentiableDirect on the page.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from battery import CASES, Case, exact, law
from scipy import stats

from sbmlgrad.gradient.catalogue import ESTIMATORS
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.observables import Expectation, Moment, Observable, Probability
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.moments import Moments

DEFAULT = "auto"
ORDER = (
    *("auto", "score", "alternative_path", "coupled_fd", "crn_fd"),
    *("straight_through", "straight_through_plain", "propensity_straight_through", "stochastix"),
)
SHARE = 5  # others than the default run with a fifth of the trajectories
BIAS_RUNS = 3  # more ensembles for the bias of the default


@dataclass(frozen=True)
class Row:
    """One derivative by one estimator: all that was measured, ``stderr`` and ``seconds`` being those of --n."""

    case: str
    parameter: str
    estimator: str
    exact: float
    estimate: float
    error: float
    stderr: float
    seconds: float
    forward: float

    @property
    def bias(self) -> float:
        """As a part of the exact derivative."""
        return (self.estimate - self.exact) / abs(self.exact)

    @property
    def z(self) -> float:
        """In standard errors; infinite where there are none and still a difference."""
        off = self.estimate - self.exact
        return off / self.error if self.error > 0 else float(np.copysign(np.inf, off)) if off else 0.0

    @property
    def noise(self) -> float:
        """Standard deviation of one trajectory's sample over the derivative, times the square root of --n."""
        return self.stderr / abs(self.exact)

    @property
    def work(self) -> float:
        """Variance times seconds."""
        return self.stderr**2 * self.seconds


class Runs(Protocol):
    """What an estimator is to this benchmark."""

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        """Derivatives at a task."""


@dataclass(frozen=True)
class CommonRandomNumbers:
    """Central finite differences with the same random numbers in both runs, the plain way of old."""

    step: float = 0.05

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        """One pair of ensembles for each parameter."""
        values, rows = np.asarray(task.values, float), []
        for p, value in enumerate(values):
            shift = self.step * value * np.eye(len(values))[p]
            pairs = zip(_forward(problem, values + shift, task), _forward(problem, values - shift, task), strict=True)
            moments = Moments()
            for above, below in pairs:
                moments.add((above - below) / (2 * self.step * value))
            rows.append(moments)
        mean, stderr = (np.stack([getattr(m, kind) for m in rows]) for kind in ("mean", "stderr"))
        nothing = np.zeros(mean.shape[1:])  # of the expectations themselves
        return Estimate(nothing, nothing, mean, stderr, task.n, nothing)


def _forward(problem: Problem, values: np.ndarray, task: Task) -> Any:
    """Functions (functions, times, n) without derivatives, chunk by chunk."""
    point = problem.at(values)
    ensemble = Ensemble(problem.network, point.counts, point.coefficients, task.times, task.n, task.seed)
    for chunk in run(ensemble):
        yield np.stack([np.asarray(v) for v in problem.values(chunk.records, point.coefficients)])


def posed(case: Case) -> Problem:
    """The case as a problem; a variance is the second moment about the exact mean, which has the same derivative."""
    kind, species, *bounds = case.observable
    function: Observable
    if kind == "mean":
        function = Moment(species)
    elif kind == "probability":
        function = Probability(species, *(float(b) for b in bounds))
    else:
        rows_of = law(case.network, case.time)
        middle = float(rows_of.space.x[case.network.species.index(species)] @ rows_of.p)
        function = Expectation((species,), lambda y: (y - middle) ** 2, f"variance({species})")
    return differentiable(case.network, case.parameters, [function])


def measure(case: Case, n: int, names: Sequence[str]) -> list[Row]:
    """All rows of a case."""
    problem, (_, slopes) = posed(case), exact(case)
    values = [float(case.network.parameters[p]) for p in case.parameters]
    task = Task(values, np.array([case.time]), n, seed=1)
    forward, _ = _timed(lambda seed: [*_forward(problem, np.array(values), Task(values, task.times, n, seed))])
    rows = []
    for name in names:
        runs: Runs = CommonRandomNumbers() if name == "crn_fd" else ESTIMATORS[name]
        share = 1 if name == DEFAULT else SHARE
        seconds, first = _timed(lambda seed: runs.estimate(problem, Task(values, task.times, n // share, seed)))  # noqa: B023
        more = [
            runs.estimate(problem, Task(values, task.times, n, seed=10 + i))
            for i in range(BIAS_RUNS if name == DEFAULT else 0)
        ]
        every = [first, *more]
        mean = np.mean([e.derivatives[:, 0, 0] for e in every], axis=0)
        error = np.sqrt(np.sum([e.stderr[:, 0, 0] ** 2 for e in every], axis=0)) / len(every)
        stderr = np.sqrt(np.mean([e.stderr[:, 0, 0] ** 2 for e in every], axis=0) / share)
        rows += [
            Row(case.name, p, name, float(slope), float(found), float(off), float(wide), seconds * share, forward)
            for p, slope, found, off, wide in zip(case.parameters, slopes, mean, error, stderr, strict=True)
        ]
    return rows


def _timed(work: Callable[[int], Any]) -> tuple[float, Any]:
    """The shorter of two runs after one that compiles, and what the last one gave."""
    work(1)
    seconds = []
    for seed in (2, 3):
        begun = time.perf_counter()
        result = work(seed)
        seconds.append(time.perf_counter() - begun)
    return min(seconds), result


# ---- what it comes to ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """An estimator over the battery."""

    estimator: str
    derivatives: int
    within: int  # bias at most 2 % or one standard error at --n
    largest: float
    p: float  # how likely so large z are without bias
    noise: float
    cost: float
    work: float  # median of the default's variance times seconds over this one's
    beaten: float  # part of derivatives in which the default has the smaller


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict for each estimator that ran."""
    default = {(r.case, r.parameter): r for r in rows if r.estimator == DEFAULT}
    verdicts = []
    for name in ORDER:
        own = [r for r in rows if r.estimator == name]
        if not own:
            continue
        ratios = [
            default[r.case, r.parameter].work / r.work for r in own if r.work > 0 and (r.case, r.parameter) in default
        ]
        verdicts.append(
            Verdict(
                estimator=name,
                derivatives=len(own),
                within=sum(abs(r.bias) <= max(0.02, r.noise) for r in own),
                largest=max(abs(r.bias) for r in own),
                p=_surprise(own),
                noise=float(np.median([r.noise for r in own])),
                cost=float(np.median([r.seconds / r.forward for r in own])),
                work=float(np.median(ratios)) if ratios else float("nan"),
                beaten=float(np.mean([ratio < 1 for ratio in ratios])) if ratios else float("nan"),
            )
        )
    return verdicts


def _surprise(rows: Sequence[Row]) -> float:
    """A p-value for no bias at all: of each case the largest z (Bonferroni), and over cases Fisher's method.

    Derivatives of a case come from the same trajectories, and those of different cases do not.
    """
    pvalues = []
    for case in dict.fromkeys(r.case for r in rows):
        z = [abs(r.z) for r in rows if r.case == case]
        pvalues.append(max(min(1.0, len(z) * 2 * float(stats.norm.sf(max(z)))), 1e-300))
    return float(stats.combine_pvalues(pvalues).pvalue)


def of_stochastix(path: str, rows: Sequence[Row], n: int) -> list[Row]:
    """Rows of a table of `battery_stochastix.py`, scaled to ``n`` trajectories; cost is over its own forward run."""
    table = csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines())
    measured = {(r.case, r.parameter) for r in rows}
    rows_of = []
    for line in (row for row in table if (row["case"], row["parameter"]) in measured):
        exact_value, mean, sd, trajectories, seconds, forward = (
            float(line[k]) for k in ("exact", "estimate", "sd", "trajectories", "seconds", "forward_seconds")
        )
        share = n / trajectories
        error, stderr = sd / np.sqrt(trajectories), sd / np.sqrt(n)
        numbers = (exact_value, mean, float(error), float(stderr), seconds * share, forward * share)
        rows_of.append(Row(line["case"], line["parameter"], "stochastix", *numbers))
    return rows_of


def page(rows: Sequence[Row], about: Mapping[str, str]) -> str:
    """The page of the documentation."""
    n = int(about["trajectories"])
    lines = [
        "# Estimators on a battery of exact cases",
        "",
        f"Made by `{about['command']}` on {about['date']}: {about['processor']}, {about['cores']} cores, "
        f"sbmlgrad {about['sbmlgrad']}, JAX {about['jax']}.",
        "",
        f"{len({r.case for r in rows})} cases (`benchmarks/battery.py`) with "
        f"{len({(r.case, r.parameter) for r in rows})} derivatives, beside exact ones from finite "
        f"state projection. Standard errors and seconds are those of {n:,} trajectories. `crn_fd` are central finite "
        "differences with common random numbers, `stochastix` is DifferentiableDirect in reverse mode and float32.",
        "",
        "- *within*: derivatives whose measured bias is at most 2 % or one standard error. That of `auto` is measured "
        f"with {(1 + BIAS_RUNS) * n:,} trajectories, of others with {n // SHARE:,}, so that noise alone takes most of "
        "theirs out;",
        "- *p*: how likely z-scores this large are without bias, the largest of a case by Bonferroni and cases by "
        "Fisher's method (below 0.001 counts as biased: at most one false alarm in a thousand batteries);",
        "- *stderr*: median standard error over the derivative; *cost*: median seconds over those of the forward run;",
        "- *work*: median of variance times seconds over that of `auto`; *auto wins*: how often that of `auto` is the "
        "smaller.",
        "",
        "| estimator | within | largest bias | p | stderr | cost | work | auto wins |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for v in judge(rows):
        rest = "| 1 | |" if v.estimator == DEFAULT else f"| {1 / v.work:.3g} | {v.beaten:.0%} |"
        lines.append(
            f"| `{v.estimator}` | {v.within} of {v.derivatives} | {v.largest:.2%} | {v.p:.2g} | {v.noise:.2%} "
            f"| {v.cost:.3g} {rest}"
        )
    names = [name for name in ORDER if any(r.estimator == name for r in rows)]
    lines += [
        "",
        "## Every derivative",
        "",
        "Measured bias, and after it in brackets the standard error, both as parts of the exact derivative.",
        "",
        "| case | by | exact | " + " | ".join(f"`{name}`" for name in names) + " |",
        "| --- " * (3 + len(names)) + "|",
    ]
    rows_of = {(r.case, r.parameter, r.estimator): r for r in rows}
    for case, parameter in dict.fromkeys((r.case, r.parameter) for r in rows):
        cells = []
        for name in names:
            row = rows_of.get((case, parameter, name))
            cells.append("" if row is None else f"{row.bias:+.1%} ({row.noise:.2g})")
        value = rows_of[case, parameter, DEFAULT].exact
        lines.append(f"| {case} | {parameter} | {value:.4g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def facts(script: str, arguments: Sequence[str], n: int) -> dict[str, str]:
    """What a recorded run says of itself."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.machine())
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join([f"python benchmarks/{script}", *arguments]),
        "sbmlgrad": version("sbmlgrad"),
        "jax": version("jax"),
        "processor": processor,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "trajectories": str(n),
    }


def write(path: str, about: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON with a line a row, to six digits."""
    short = [json.dumps({k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()}) for row in rows]
    text = f'{{"facts": {json.dumps(about)}, "rows": [\n' + ",\n".join(short) + "\n]}\n"
    Path(path).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line a derivative, and write what was asked for."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Bias, noise and cost of estimators of derivatives, on exact cases.")
    parser.add_argument("words", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("--n", type=int, default=100_000, help="trajectories")
    parser.add_argument("--estimators", default=",".join(ORDER[:-1]), help="names, separated by commas")
    parser.add_argument("-o", "--output", help="JSON file for all that was measured")
    parser.add_argument("--page", help="Markdown file; with --from made without measuring anything")
    parser.add_argument("--from", dest="source", help="JSON file of an earlier run")
    parser.add_argument("--stochastix", help="table of battery_stochastix.py, to be shown on the page")
    options = parser.parse_args(given)
    if options.source:
        kept = json.loads(Path(options.source).read_text(encoding="utf-8"))
        about, rows = kept["facts"], [Row(**row) for row in kept["rows"]]
    else:
        about, rows = facts("gradients.py", given, options.n), []
        for case in CASES:
            if options.words and not any(word in case.name for word in options.words):
                continue
            for row in measure(case, options.n, options.estimators.split(",")):
                rows.append(row)
                print(
                    f"{row.case:44s} {row.parameter:5s} {row.estimator:24s} bias {row.bias:+8.2%} "
                    f"stderr {row.noise:8.2%} z {row.z:+6.1f} {row.seconds:8.2f} s, "
                    f"{row.seconds / row.forward:6.1f} x forward",
                    flush=True,
                )
            if options.output:  # after each case, so that a run cut short is not lost
                write(options.output, about, [asdict(row) for row in rows])
    if options.stochastix:
        rows = [r for r in rows if r.estimator != "stochastix"]
        rows += of_stochastix(options.stochastix, rows, int(about["trajectories"]))
        if options.output:
            write(options.output, about, [asdict(row) for row in rows])
    for verdict in judge(rows):
        print(verdict)
    if options.page:
        Path(options.page).write_text(page(rows, about), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
