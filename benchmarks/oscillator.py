"""The genetic oscillator of Vilar, Kueh, Barkai & Leibler (PNAS 2002): fourteen rates recovered from means of cells.

    python benchmarks/oscillator.py -o benchmarks/results/DATE-oscillator.json
    python benchmarks/oscillator.py --seeds 1 --search-only --share 0.1 --long 0 --estimator auto,straight_through

**Data**: N cells by Gillespie's method, written here for this network (numba; nothing of sbmlgrad), their mean counts
of seven species at 38 times of thirteen hours. Many are early: genes bind and release within minutes, which the first
minutes tell of, and nothing later. **Fit**: all rates but ``alpha_R``, each begun off by up to a factor of 1.25.
Trajectories are exact, and their states are read at the times of the data; means and their covariances between species
and times are those of ``sg.simulate``. It has two parts:

1. A search by Gauss-Newton steps looks at the first hour: the moment at which the repressor takes over, later, is no
   straight line in rates that are off by a tenth. Derivatives are those of ``sg.sensitivity``, by two ensembles a step.
2. Over thirteen hours pairs of trajectories part, and one ensemble a rate is dearer than moving all rates at once:
   after the first hour derivatives are regressions of simulated means on a design of 32 points, all rates up or down by
   3 % (a Hadamard matrix and its mirror image, so that curvature drops out). Then steps are averaged that cost
   simulations only.

Errors of derivatives make estimates less sharp and do not bias them; directions in which there is nothing but noise are
left out (the shares of derivatives that are signal come from two ensembles that are independent). ``--search-only``
leaves out the second part, to compare estimators.

``floor`` is the standard deviation of log(estimate / truth) that N cells leave: from the derivatives and covariances at
the end of the fit, or at the true rates with ``--floors``, and ``alone`` the same when all others are known.
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
from scipy.linalg import eigh, hadamard

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
TIMES = np.array(
    [
        *(0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.22, 0.27, 0.33, 0.4, 0.5, 0.65, 0.8, 1),
        *(1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 10, 11, 12, 13),
    ]
)
START = np.log(1.25)
SEARCH = ((0.5, 0.15, 2000, 10_000), (0.5, 0.1, 2000, 20_000), (1.0, 0.05, 1000, 10_000))
"""Steps: up to which time data are looked at, by how much logarithms of rates may still be off, and how many
trajectories an ensemble for derivatives and one for means have."""
RADIUS = 0.03  # of the design, in logarithms
DESIGN = RADIUS * np.vstack([hadamard(16), -hadamard(16)])[:, 1:]
BLOCKS = 2  # independent ensembles of the design
AVERAGED = 6  # steps, the first half of which only goes there
LARGEST = 0.2  # step of a logarithm
SHRINKAGE = 0.02  # of correlations towards none, of fewer cells than would tell them all
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


def weighed(white: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What independent estimates (m, means, rates) of derivatives are worth.

    The information (rates, rates) without their noise; a matrix (rates, rates) that takes from the mean of their
    transposes what is noise rather than signal; and that matrix times the information. In coordinates in which the
    noise is white and the signal is diagonal, a direction with signal s counts s / (1 + s).
    """
    together, m = white.sum(axis=0), len(white)
    every = np.einsum("mfp,mfq->pq", white, white)
    signal = (together.T @ together - every) / (m * (m - 1))
    noise = together.T @ together / m**2 - signal
    noise += 1e-6 * np.trace(noise) / len(noise) * np.eye(len(noise))
    size, axes = eigh(signal, noise)
    size = np.maximum(size, 0.0)
    back = noise @ axes  # the inverse of the transposed axes
    share = size / (1 + size)
    return (back * size) @ back.T, (back * share) @ axes.T, (back * (share * size)) @ back.T


@dataclass(frozen=True)
class Fitting:
    """A model, means (times, species) of cells, and where derivatives come from."""

    model: Model
    means: np.ndarray
    cells: int
    estimator: str
    n: int
    """Trajectories of a simulation."""
    times: np.ndarray = field(default_factory=lambda: TIMES)

    def until(self, horizon: float, n: int) -> Fitting:
        """As far as the data of earlier times go, by ``n`` trajectories."""
        early = self.times <= horizon
        return replace(self, times=self.times[early], means=self.means[early], n=n)

    def simulated(self, values: np.ndarray, seed: int, names: Sequence[str] = RATES) -> np.ndarray:
        """Counts (n, times, species) at logarithms of rates."""
        named = dict(zip(names, np.exp(values), strict=True))
        run = sg.simulate(self.model, self.times, n=self.n, seed=seed, parameters=named, select=SPECIES, progress=False)
        return np.asarray(run.values, float)

    def derivatives(self, values: np.ndarray, seed: int, n: int) -> np.ndarray:
        """Of means (times * species, rates) by logarithms of rates, as the estimator has them by n trajectories."""
        named = dict(zip(RATES, np.exp(values), strict=True))
        seen = sg.Experiment(self.times, select=SPECIES, parameters=named, n=n, seed=seed)
        found = sg.sensitivity(self.model, seen, parameters=RATES, estimator=self.estimator, progress=False).table
        wide = found.pivot_table("sensitivity", ["time", "observable"], "parameter", sort=False)
        index = pd.MultiIndex.from_product([found["time"].unique(), SPECIES])
        return wide.loc[index, list(RATES)].to_numpy() * np.exp(values)

    def regressed(self, values: np.ndarray, seed: int, names: Sequence[str] = RATES) -> np.ndarray:
        """The same derivatives by independent ensembles (blocks, times * species, rates) of the design."""
        design = DESIGN[:, : len(names)]
        means = []
        for number, row in enumerate(design):
            counts = self.simulated(values + row, seed + number, names)
            means.append(counts.reshape(BLOCKS, len(counts) // BLOCKS, -1).mean(axis=1))
        return np.einsum("kr,kbf->bfr", design, np.array(means)) / (len(design) * RADIUS**2)

    def step(self, values: np.ndarray, slopes: Sequence[np.ndarray], doubt: float, seed: int) -> np.ndarray:
        """Where logarithms of rates go from here, by the derivatives of two ensembles.

        Rates are thought to be off by some ``doubt``. If they are, errors of derivatives, which the two ensembles tell,
        make residuals uncertain, and neither they nor the step are trusted beyond that.
        """
        (one, two), residual = self.seen(values, slopes, seed)
        mean, error = (one + two) / 2, np.mean((one - two) ** 2) / 4
        variance = 1 + self.cells / self.n + error * doubt**2 * len(values)
        curvature = mean.T @ mean / variance + np.eye(len(values)) / doubt**2
        change = -np.linalg.solve(curvature, mean.T @ residual / variance)
        print(
            f"    mean square of residuals {np.mean(residual**2):.4g}, step up to {np.abs(change).max():.3g}",
            flush=True,
        )
        return values + np.clip(change, -LARGEST, LARGEST)

    def target(
        self, values: np.ndarray, slopes: Sequence[np.ndarray], seed: int, parts: Sequence[slice] = (slice(None),)
    ) -> tuple[np.ndarray, np.ndarray]:
        """An estimate near the end, and the information (rates, rates) of the data; derivatives differ in their noise
        from one part of the means to another."""
        white, residual = self.seen(values, slopes, seed)
        curvature, slope = np.eye(len(values)) / LARGEST**2, np.zeros(len(values))
        known = np.zeros_like(curvature)
        for part in parts:
            signal, left, own = weighed(white[:, part])
            curvature += own
            slope += left @ white[:, part].mean(axis=0).T @ residual[part]
            known += signal
        print(f"    mean square of residuals {np.mean(residual**2):.4g}", flush=True)
        return values + np.clip(-np.linalg.solve(curvature, slope), -LARGEST, LARGEST), known

    def seen(self, values: np.ndarray, slopes: Sequence[np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives (ensembles, means, rates) and what is left of the means, in units of the data's noise."""
        counts = self.simulated(values, seed)
        weights = Weights.of(counts, self.cells)
        white = np.stack([weights.white(one) for one in slopes])
        return white, weights.white((counts.mean(axis=0) - self.means).ravel())


def fitted(
    fitting: Fitting, design: Fitting | None, values: np.ndarray, seed: int, share: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of rates, from some on, and the information of the data about them; without a design by a search.

    ``share`` is that of the trajectories of ``SEARCH``."""
    for number, (horizon, doubt, pairs, n) in enumerate(SEARCH):
        part, first = fitting.until(horizon, n), 1000 * seed + 10 * number
        early = [part.derivatives(values, first + side, round(pairs * share)) for side in range(2)]
        if not np.all(np.isfinite(early)):
            print(f"  to {horizon:g}: derivatives are not finite", flush=True)
            return values, np.full((len(values), len(values)), np.nan)
        values = part.step(values, early, doubt, first + 2)
        print(f"  to {horizon:g}: {said(values)}, {clock.process_time():.0f} s of CPU", flush=True)
    if not design:
        return values, weighed(part.seen(values, early, 1000 * seed + 100)[0])[0]
    known, late = len(early[0]), design.regressed(values, 1000 * seed + 200)
    slopes = [np.concatenate([one, other[known:]]) for one, other in zip(early, late, strict=True)]
    parts = [slice(known), slice(known, None)]
    ends, told = [], []
    for number in range(AVERAGED):
        end, information = fitting.target(values, slopes, 1000 * seed + 100 + number, parts)
        ends.append(end)
        told.append(information)
        values = np.mean(ends[(number + 1) // 2 :], axis=0)
        used = f"{len(ends) - (number + 1) // 2}: {said(values)}, {clock.process_time():.0f} s of CPU"
        print(f"  average of {used}", flush=True)
    return values, np.mean(told[AVERAGED // 2 :], axis=0)


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
    begun, random = clock.process_time(), np.random.default_rng(seed)
    truth = np.array(list(TRUTH.values()))
    times = TIMES[SEARCH[-1][0] >= TIMES] if options.search_only else TIMES
    cells = gillespie(truth, times, options.cells, seed + 1)
    fitting = Fitting(model, cells.mean(axis=0), options.cells, options.estimator, options.n, times)
    start = np.log([TRUTH[name] for name in RATES]) + random.uniform(-START, START, len(RATES))
    print(f"seed {seed}: at the start {said(start)}", flush=True)
    design = None if options.search_only else replace(fitting, n=options.design)
    values, information = fitted(fitting, design, start, seed, options.share)
    seconds = clock.process_time() - begun
    print(f"seed {seed}: {said(values)}, {seconds:.0f} s of CPU", flush=True)
    floor = floors(information)
    rows: list[dict[str, Any]] = [
        {
            **{"kind": "rate", "estimator": options.estimator, "until": float(times[-1]), "share": options.share},
            **{"seed": seed, "cells": options.cells, "rate": name},
            **{"truth": TRUTH[name], "start": float(np.exp(start[i]))},
            **{"estimate": float(np.exp(values[i])), "error": float(values[i] - np.log(TRUTH[name]))},
            **{"floor": None if np.isnan(floor[i]) else float(floor[i]), "seconds": seconds},
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


def floors(information: np.ndarray) -> np.ndarray:
    """Standard deviations (rates,) that the data leave, NaN where nothing but noise is seen."""
    if not np.all(np.isfinite(information)):
        return np.full(len(information), np.nan)
    variance = np.diag(np.linalg.pinv(information, hermitian=True))
    return np.sqrt(np.where((np.diag(information) > 0) & (variance > 0), variance, np.nan))


def told(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What the cells tell of each rate, the others known (``alone``) or not (``floor``, ``alpha_R`` held)."""
    names, truth = (*RATES, LEAK), np.log([TRUTH[name] for name in (*RATES, LEAK)])
    fitting = Fitting(model, np.zeros((len(TIMES), 7)), options.cells, options.estimator, options.design)
    weights = Weights.of(fitting.simulated(truth, 1, names), options.cells)
    slopes = np.stack([weights.white(block) for block in fitting.regressed(truth, 2, names)])
    known = weighed(slopes)[0]
    alone = [value**-0.5 if value > 0 else None for value in np.diag(known).tolist()]
    joint = [None if np.isnan(value) else value for value in floors(known[:-1, :-1]).tolist()]
    rows: list[dict[str, Any]] = []
    for name, one, every in zip(names, alone, (*joint, None), strict=True):
        rows.append({"kind": "told", "cells": options.cells, "rate": name, "alone": one, "floor": every})
        print(rows[-1])
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a step, and medians in the end."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Rates of a genetic oscillator from means of cells.")
    parser.add_argument("--seeds", type=int, default=3, help="data sets")
    parser.add_argument("--cells", type=int, default=10_000, help="in the data")
    parser.add_argument("--n", type=int, default=2500, help="trajectories of a simulation")
    parser.add_argument("--design", type=int, default=800, help="trajectories at each of 32 points of a design")
    parser.add_argument("--share", type=float, default=1.0, help="of the trajectories for derivatives in the search")
    parser.add_argument("--estimator", default="coupled_fd", help="of derivatives, or several")
    parser.add_argument("--search-only", action="store_true", help="only what an estimator finds within the first hour")
    parser.add_argument("--long", type=int, default=40, help="trajectories for the period; 0 leaves it out")
    parser.add_argument("--floors", action="store_true", help="only what cells tell of each rate")
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
    every = options.estimator.split(",")
    for estimator, seed in ((name, number) for name in every for number in range(options.seeds)):
        if (estimator, seed) in done:
            continue
        options.estimator = estimator
        rows += judged(model, options, seed)
        if path:
            write(str(path), facts("oscillator.py", given, options.n), rows)
    rates = pd.DataFrame([row for row in rows if row["kind"] == "rate"])
    for name, part in rates.groupby("estimator"):
        off = part["error"].abs()
        medians = off.groupby(part["seed"]).median()
        print(f"{name}: median error {off.median():.3%} (by seed {medians.min():.3%} to {medians.max():.3%}), ", end="")
        floor = part["floor"].astype(float)
        print(f"90 % below {off.quantile(0.9):.2%}; {np.sqrt(np.mean((off / floor) ** 2)):.2f} floors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
