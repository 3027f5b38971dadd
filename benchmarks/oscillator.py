"""The genetic oscillator of Vilar, Kueh, Barkai & Leibler (PNAS 2002): fourteen rates recovered from means of cells.

    python benchmarks/oscillator.py -o benchmarks/results/DATE-oscillator.json
    python benchmarks/oscillator.py --seeds 1 --estimator straight_through_plain

**Data**: N cells by Gillespie's method, written here for this network (numba; nothing of sbmlgrad), their mean counts
of seven species at twelve times of thirteen hours. **Fit**: all rates but ``alpha_R``, each begun off by up to
a factor of 1.25. Trajectories are exact, and their states are read at the times of the data. First come Gauss-Newton
steps, which look at longer and longer parts of the data: the moment at which the repressor takes over is no straight
line in rates that are off by a tenth. Derivatives are those of ``sg.sensitivity``, by two ensembles a step, means and
their covariances between species and times those of ``sg.simulate``. In the end steps are averaged that go by the
derivatives of the last two, products of which take one factor from each so that their noise does not enter squared, and
that cost simulations only. (``sg.fit`` would pay for derivatives with every evaluation.)

``floor`` is the standard deviation of log(estimate / truth) that N cells leave: from the derivatives and covariances at
the end of the fit; ``--floors`` has, without a fit, what cells tell of each rate when all others are known.
``alpha_R`` (0.01 an hour: a messenger of the repressor without activator, once in a hundred hours) is not told by such
cells, and held.

At the end, rates that were found and true ones are simulated for longer: period, its coefficient of variation, and the
frequency at which the spectrum of R is highest, none of which was fitted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
from gradients import facts, write

import sbmlgrad as sg
from sbmlgrad.model.model import Model

SPECIES = ("DAp", "DRp", "MA", "MR", "A", "R", "C")
TRUTH = {
    **{"alpha_A": 50.0, "alpha_Ap": 500.0, "alpha_R": 0.01, "alpha_Rp": 50.0, "beta_A": 50.0, "beta_R": 5.0},
    **{"delta_MA": 10.0, "delta_MR": 0.5, "delta_A": 1.0, "delta_R": 0.2, "gamma_A": 1.0, "gamma_R": 1.0},
    **{"gamma_C": 2.0, "theta_A": 50.0, "theta_R": 100.0},
}
LEAK = "alpha_R"
RATES = tuple(name for name in TRUTH if name != LEAK)
TIMES = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 5, 6.5, 8, 10, 13])
START = np.log(1.25)
SEARCH = ((3.0, 0.15), (3.0, 0.1), (6.5, 0.1), (6.5, 0.06), (13.0, 0.05), (13.0, 0.02))
"""Steps: up to which time data are looked at, and by how much logarithms of rates may still be off."""
AVERAGED = 5  # steps more
LARGEST = 0.2  # step of a logarithm
LEAST_SEEN = 0.003  # of the information in the direction that is seen best
SHRINKAGE = 0.2  # of correlations towards none, of fewer cells than would tell them all
LEAST_VARIANCE = 1e-3  # of a gene that was found in one state in all cells
LONG = np.arange(0.0, 250.0, 0.5)
RISEN, FALLEN = 200, 20  # A, where a period begins, and where it may begin anew


@numba.njit
def gillespie(rates: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Counts (n, times, species) of cells that begin with two free genes; rates in the order of ``TRUTH``."""
    np.random.seed(seed)  # noqa: NPY002 - numba knows no other
    jumps = np.array(  # those that happen most come first
        [
            *((0, 0, 0, 0, -1, 0, 0), (0, 0, 0, 0, 1, 0, 0), (0, 0, 0, 0, -1, -1, 1), (0, 0, 0, 0, 0, 1, -1)),
            *((0, 0, 1, 0, 0, 0, 0), (0, 0, -1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, -1, 0)),
            *((1, 0, 0, 0, -1, 0, 0), (-1, 0, 0, 0, 1, 0, 0), (0, 1, 0, 0, -1, 0, 0), (0, -1, 0, 0, 1, 0, 0)),
            *((0, 0, 0, 1, 0, 0, 0), (0, 0, 0, -1, 0, 0, 0)),
        ]
    )
    a, a_on, r, r_on, make_a, make_r, lose_ma, lose_mr, lose_a, lose_r, on_a, on_r, bind, off_a, off_r = rates
    seen, law = np.zeros((n, len(times), 7)), np.zeros(len(jumps))
    for cell in range(n):
        x, now, k = np.zeros(7), 0.0, 0
        while k < len(times):
            law[0], law[1] = lose_a * x[4], make_a * x[2]
            law[2], law[3] = bind * x[4] * x[5], lose_a * x[6]
            law[4], law[5] = a + (a_on - a) * x[0], lose_ma * x[2]
            law[6], law[7] = make_r * x[3], lose_r * x[5]
            law[8], law[9] = on_a * x[4] * (1 - x[0]), off_a * x[0]
            law[10], law[11] = on_r * x[4] * (1 - x[1]), off_r * x[1]
            law[12], law[13] = r + (r_on - r) * x[1], lose_mr * x[3]
            total = law.sum()
            now -= np.log(1 - np.random.random()) / total  # noqa: NPY002
            while k < len(times) and times[k] < now:
                seen[cell, k] = x
                k += 1
            left, j = np.random.random() * total - law[0], 0  # noqa: NPY002
            while left >= 0 and j < len(law) - 1:
                j += 1
                left -= law[j]
            for s in range(7):
                x[s] += jumps[j, s]
    return seen


@dataclass(frozen=True)
class Weights:
    """What is known of means of ``cells``: a matrix that makes their noise white."""

    factor: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, cells: int) -> Weights:
        """From counts (n, times, species) of simulated cells."""
        flat = counts.reshape(len(counts), -1)
        covariance = np.cov(flat.T)
        shrunk = (1 - SHRINKAGE) * covariance + np.diag(SHRINKAGE * np.diag(covariance) + LEAST_VARIANCE)
        return cls(np.linalg.cholesky(shrunk / cells))

    def white(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers (times * species, ...) in units of that noise."""
        return np.linalg.solve(self.factor, numbers)


@dataclass(frozen=True)
class Fitting:
    """A model, means (times, species) of cells, and where derivatives come from."""

    model: Model
    means: np.ndarray
    cells: int
    estimator: str
    n: int
    """Trajectories of a simulation."""
    slopes: int
    """Trajectories of an ensemble for derivatives."""
    times: np.ndarray = field(default_factory=lambda: TIMES)

    def until(self, horizon: float) -> Fitting:
        """As far as the data of earlier times go."""
        return replace(self, times=self.times[self.times <= horizon], means=self.means[self.times <= horizon])

    def simulated(self, values: np.ndarray, seed: int) -> np.ndarray:
        """Counts (n, times, species) at logarithms of rates."""
        named = dict(zip(RATES, np.exp(values), strict=True))
        run = sg.simulate(self.model, self.times, n=self.n, seed=seed, parameters=named, select=SPECIES, progress=False)
        return np.asarray(run.values, float)

    def derivatives(self, values: np.ndarray, seed: int, names: Sequence[str] = RATES) -> np.ndarray:
        """Of means (times * species, rates) by logarithms of rates."""
        named = dict(zip(RATES, np.exp(values), strict=True))
        seen = sg.Experiment(self.times, select=SPECIES, parameters=named, n=self.slopes, seed=seed)
        found = sg.sensitivity(self.model, seen, parameters=names, estimator=self.estimator, progress=False).table
        wide = found.pivot_table("sensitivity", ["time", "observable"], "parameter", sort=False)
        index = pd.MultiIndex.from_product([found["time"].unique(), SPECIES])
        return wide.loc[index, list(names)].to_numpy() * np.array([{**TRUTH, **named}[name] for name in names])

    def step(self, values: np.ndarray, slopes: Sequence[np.ndarray], doubt: float, seed: int) -> np.ndarray:
        """Where logarithms of rates go from here, by the derivatives of two ensembles.

        Rates are thought to be off by some ``doubt``. If they are, errors of derivatives, which the two ensembles tell,
        make residuals uncertain, and neither they nor the step are trusted beyond that.
        """
        (one, two), residual = self._seen(values, slopes, seed)
        mean, error = (one + two) / 2, np.mean((one - two) ** 2) / 4
        variance = 1 + error * doubt**2 * len(values)
        curvature = mean.T @ mean / variance + np.eye(len(values)) / doubt**2
        change = -np.linalg.solve(curvature, mean.T @ residual / variance)
        print(
            f"    mean square of residuals {np.mean(residual**2):.4g}, step up to {np.abs(change).max():.3g}",
            flush=True,
        )
        return values + np.clip(change, -LARGEST, LARGEST)

    def target(self, values: np.ndarray, slopes: Sequence[np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """An estimate near the end, and the information (rates, rates) of the data."""
        white, residual = self._seen(values, slopes, seed)
        together, m = white.sum(axis=0), len(white)
        information = (together.T @ together - np.einsum("mfp,mfq->pq", white, white)) / (m * (m - 1))
        scale = np.sqrt(np.diag(together.T @ together)) / m
        size, axes = np.linalg.eigh(information / np.outer(scale, scale))
        size = np.maximum(size, LEAST_SEEN * size.max())  # directions that noise alone may have made small
        change = -(axes @ (axes.T @ (together.T @ residual / m / scale) / size)) / scale
        return values + np.clip(change, -LARGEST, LARGEST), (axes * size) @ axes.T * np.outer(scale, scale)

    def _seen(self, values: np.ndarray, slopes: Sequence[np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives (ensembles, means, rates) and what is left of the means, in units of the data's noise."""
        counts = self.simulated(values, seed)
        weights = Weights.of(counts, self.cells)
        white = np.stack([weights.white(one) for one in slopes])
        return white, weights.white((counts.mean(axis=0) - self.means).ravel())


def fitted(fitting: Fitting, values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of rates, from some on, and the information of the data about them."""
    slopes: list[np.ndarray] = []
    for number, (horizon, doubt) in enumerate(SEARCH):
        part, first = fitting.until(horizon), 1000 * seed + 10 * number
        latest = [part.derivatives(values, first + side) for side in range(2)]
        slopes = [*(slopes[-2:] if horizon == SEARCH[number - 1][0] else []), *latest]
        values = part.step(values, latest, doubt, first + 2)
        print(f"  to {horizon:g}: {said(values)}", flush=True)
    ends, information = [], []
    for number in range(AVERAGED):
        end, known = fitting.target(values, slopes, 1000 * seed + 100 + number)
        ends.append(end)
        information.append(known)
        values = np.mean(ends, axis=0)
        print(f"  average of {number + 1}: {said(values)}", flush=True)
    return values, np.mean(information, axis=0)


def said(values: np.ndarray) -> str:
    """How far off, in words."""
    off = np.abs(values - np.log([TRUTH[name] for name in RATES]))
    return f"median error {np.median(off):.3%}, largest {off.max():.2%} ({RATES[int(off.argmax())]})"


def beats(counts: np.ndarray) -> dict[str, float]:
    """Period and its variation from A, and the peak of R's spectrum, of counts (n, times, species) at ``LONG``."""
    spans: list[float] = []
    for a in counts[:, :, SPECIES.index("A")]:
        low, risen = True, []
        for time, count in zip(LONG, a, strict=True):
            if low and count >= RISEN:
                risen.append(time)
            low = count <= FALLEN or (low and count < RISEN)
        spans += np.diff(risen[1:]).tolist()  # the first is of cells that are in step
    later = counts[:, LONG >= 50, SPECIES.index("R")]
    power = np.mean(np.abs(np.fft.rfft(later - later.mean(), axis=1)) ** 2, axis=0)[1:]
    frequency = np.fft.rfftfreq(later.shape[1], LONG[1] - LONG[0])[1:]
    near = power > power.max() / 2
    return {
        "period": float(np.mean(spans)),
        "period_stderr": float(np.std(spans) / np.sqrt(len(spans))),
        "variation": float(np.std(spans) / np.mean(spans)),
        "frequency": float(np.sum(frequency[near] * power[near]) / np.sum(power[near])),
    }


def judged(model: Model, options: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Rows of one data set: a rate each, and one of periods."""
    begun, random = clock.perf_counter(), np.random.default_rng(seed)
    truth = np.array(list(TRUTH.values()))
    cells = gillespie(truth, TIMES, options.cells, seed + 1)
    fitting = Fitting(model, cells.mean(axis=0), options.cells, options.estimator, options.n, options.slopes)
    start = np.log([TRUTH[name] for name in RATES]) + random.uniform(-START, START, len(RATES))
    print(f"seed {seed}: at the start {said(start)}", flush=True)
    values, information = fitted(fitting, start, seed)
    seconds = clock.perf_counter() - begun
    print(f"seed {seed}: {said(values)}, {seconds:.0f} s", flush=True)
    floor = np.sqrt(np.diag(np.linalg.inv(information)))
    rows: list[dict[str, Any]] = [
        {
            **{"kind": "rate", "estimator": options.estimator, "seed": seed, "cells": options.cells, "rate": name},
            **{"truth": TRUTH[name], "start": float(np.exp(start[i]))},
            **{"estimate": float(np.exp(values[i])), "error": float(values[i] - np.log(TRUTH[name]))},
            **{"floor": float(floor[i]), "seconds": seconds},
        }
        for i, name in enumerate(RATES)
    ]
    if options.long:
        run = sg.simulate(
            model,
            LONG,
            n=options.long,
            seed=seed,
            parameters=dict(zip(RATES, np.exp(values), strict=True)),
            select=SPECIES,
            progress=False,
        )
        found = beats(np.asarray(run.values, float))
        true = beats(gillespie(truth, LONG, options.long, seed + 101))
        rows.append(
            {"kind": "period", "seed": seed, "n": options.long, **found, **{f"true_{k}": true[k] for k in true}}
        )
        print(f"seed {seed}: {rows[-1]}", flush=True)
    return rows


def told(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What the cells tell of each rate, all others known: the least standard deviation of its logarithm, if any."""
    cells = gillespie(np.array(list(TRUTH.values())), TIMES, options.n, 0)
    fitting = Fitting(model, cells.mean(axis=0), options.cells, options.estimator, options.n, options.slopes)
    values, weights = np.log([TRUTH[name] for name in RATES]), Weights.of(cells, options.cells)
    one, two = (weights.white(fitting.derivatives(values, seed, tuple(TRUTH))) for seed in (1, 2))
    information = np.sum(one * two, axis=0)  # so that noise does not enter squared
    rows: list[dict[str, Any]] = []
    for name, known in zip(TRUTH, information.tolist(), strict=True):
        floor = known**-0.5 if known > 0 else None
        rows.append({"kind": "told", "cells": options.cells, "rate": name, "floor": floor})
        print(rows[-1])
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a step, and medians in the end."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Rates of a genetic oscillator from means of cells.")
    parser.add_argument("--seeds", type=int, default=3, help="data sets")
    parser.add_argument("--cells", type=int, default=4000, help="in the data")
    parser.add_argument("--n", type=int, default=1000, help="trajectories of a simulation")
    parser.add_argument("--slopes", type=int, default=20, help="trajectories of an ensemble for derivatives")
    parser.add_argument("--estimator", default="coupled_fd", help="of derivatives, as sbmlgrad.sensitivity names them")
    parser.add_argument("--long", type=int, default=20, help="trajectories for the period; 0 leaves it out")
    parser.add_argument("--floors", action="store_true", help="only what cells tell of each rate, others known")
    parser.add_argument(
        "-o", "--output", help="JSON file, written after each data set; what is in it is not done again"
    )
    options = parser.parse_args(given)
    path = Path(options.output) if options.output else None
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path and path.exists() else []
    done = {(row.get("estimator"), row.get("seed")) for row in rows}
    model = sg.read_sbml(Path(__file__).resolve().parents[1] / "models" / "vilar_oscillator" / "model.xml")
    if options.floors:
        rows += told(model, options)
        if path:
            write(str(path), facts("oscillator.py", given, options.n), rows)
        return 0
    for seed in range(options.seeds):
        if (options.estimator, seed) in done:
            continue
        rows += judged(model, options, seed)
        if path:
            write(str(path), facts("oscillator.py", given, options.n), rows)
    rates = pd.DataFrame([row for row in rows if row["kind"] == "rate"])
    for name, part in rates.groupby("estimator"):
        off = part["error"].abs()
        medians = off.groupby(part["seed"]).median()
        print(f"{name}: median error {off.median():.3%} (by seed {medians.min():.3%} to {medians.max():.3%}), ", end="")
        print(f"90 % below {off.quantile(0.9):.2%}; {np.sqrt(np.mean((off / part['floor']) ** 2)):.2f} floors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
