"""Reversible dimerisation: rates recovered from moments of cells by exact trajectories, and how exactly.

    python benchmarks/dimerisation.py -o benchmarks/results/DATE-dimerisation.json

2A <-> D from ``A`` molecules on, for three volumes (20, 100 and 500 molecules at one concentration, and c1 A = c2), and
for 100 molecules three ratios of 2 c1 A to c2; ten data sets each. **Data**: means and standard deviations of A in N
cells at eight times, other cells each time, drawn by numpy from the master equation that scipy solves (nothing of
sbmlgrad). **Fit**: ``sg.fit`` with its defaults, which simulates exact trajectories, reads their states at the times of
the data and follows the gradient; it begins at three times ``c1`` and a third of ``c2``. In rows ``exact`` the data are
the master equation's own moments, so that all that is left is the noise of the simulation; in ``growing`` other numbers
of cells (both of the first setting).

``floor`` is the standard deviation of log(estimate / truth) that the data leave, whatever the fit: from the Fisher
information of means and standard deviations (their covariance by third and fourth central moments); ``counts`` is that
of all counts instead.

What comes of reading trajectories on a straight line between one event and the next, in place of the state (rows
``interpolated``): trajectories by Gillespie's method in numpy, both readings of each, and rates that the master
equation needs to have either one's moments. The difference is the error that no ensemble takes away.
"""

from __future__ import annotations

import argparse
import json
import sys
import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from gradients import facts, write
from scipy.optimize import least_squares
from scipy.sparse import diags_array
from scipy.sparse.linalg import expm_multiply

import sbmlgrad as sg

TIMES = np.array([0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])  # in relaxation times
CELLS = 100_000_000  # times molecules in a cell: a million cells of 100 molecules
STEPS = 200  # ensembles that are as many trajectories as there are cells
GROWING = (10_000, 100_000)  # other numbers of cells of 100 molecules, to see errors fall
FOLLOWED = 2_000_000  # molecules in trajectories that are interpolated
DISSOCIATION = 0.1


@dataclass(frozen=True)
class Setting:
    """How many molecules of A there are at first, and 2 c1 A / c2, with c2 = 0.1."""

    molecules: int
    ratio: float

    @property
    def truth(self) -> np.ndarray:
        """``c1`` and ``c2``."""
        return np.array([self.ratio * DISSOCIATION / (2 * self.molecules), DISSOCIATION])

    @property
    def times(self) -> np.ndarray:
        """Of the data; the rate equations come to rest at 4 c1 A + c2 with A at rest."""
        c1, c2 = self.truth
        a = c2 / (8 * c1) * (np.sqrt(1 + 16 * c1 * self.molecules / c2) - 1)
        return np.round(TIMES / (8 * c1 * a + c2), 3)

    def law(self, rates: np.ndarray) -> np.ndarray:
        """Probabilities (times, states) of 0, 1, ... dimers."""
        dimers = np.arange(self.molecules // 2 + 1)
        free = self.molecules - 2 * dimers
        up, down = rates[0] * free * (free - 1.0), rates[1] * dimers
        generator = diags_array([up[:-1], down[1:], -up - down], offsets=[-1, 1, 0], format="csr")
        begin, rows, law = 0.0, [], (dimers == 0).astype(float)
        for time in self.times:
            law, begin = expm_multiply(generator * (time - begin), law), time
            rows.append(law)
        return np.clip(np.array(rows), 0.0, None)

    @property
    def counts(self) -> np.ndarray:
        """Of A, by state (states,)."""
        return self.molecules - 2.0 * np.arange(self.molecules // 2 + 1)

    def moments(self, law: np.ndarray) -> np.ndarray:
        """Means, then standard deviations (2 times,), of A."""
        mean = law @ self.counts
        return np.concatenate([mean, np.sqrt(law @ self.counts**2 - mean**2)])

    def network(self) -> sg.ReactionNetwork:
        """As it is fitted, far from the truth."""
        c1, c2 = self.truth
        return sg.ReactionNetwork(
            [[-2, 2], [1, -1]],
            lambda x, p: jnp.stack([p["c1"] * x[0] * (x[0] - 1), p["c2"] * x[1]]),
            [self.molecules, 0],
            {"c1": 3 * c1, "c2": c2 / 3},
            species=("A", "D"),
        )


SETTINGS = tuple(Setting(*numbers) for numbers in ((100, 2.0), (100, 0.2), (100, 20.0), (500, 2.0), (20, 2.0)))


@cache
def floors(setting: Setting, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Least standard deviations of log ``c1`` and log ``c2``: by moments, and by all counts, of that many cells."""
    law, step = setting.law(setting.truth), 1e-4
    sides = [[setting.law(setting.truth * np.exp(sign * step * axis)) for sign in (1, -1)] for axis in np.eye(2)]
    slopes = np.stack([(more - less) / (2 * step) for more, less in sides])
    off = setting.counts - (law @ setting.counts)[:, None]
    second, third, fourth = (np.sum(law * off**power, axis=1) for power in (2, 3, 4))
    mean = slopes @ setting.counts
    spread = np.sum(slopes * off**2, axis=2)  # of the variance; that of the mean drops out
    information = np.zeros((2, 2))
    for k in range(len(setting.times)):
        moved = np.stack([mean[:, k], spread[:, k]])
        covariance = np.array([[second[k], third[k]], [third[k], fourth[k] - second[k] ** 2]])
        information += moved.T @ np.linalg.pinv(covariance, hermitian=True) @ moved
    seen = law > 1e-300
    everything = np.einsum("itn,jtn->ij", slopes, np.divide(slopes, law, out=np.zeros_like(slopes), where=seen))
    deviations = [np.sqrt(np.diag(np.linalg.inv(cells * matrix))) for matrix in (information, everything)]
    return deviations[0], deviations[1]


def measured(setting: Setting, cells: int, random: np.random.Generator | None) -> pd.DataFrame:
    """A table of moments, of cells that numpy draws, or of the law itself."""
    law = setting.law(setting.truth)
    if random is not None:
        law = np.stack([random.multinomial(cells, row / row.sum()) for row in law]) / cells
    mean, sd = np.split(setting.moments(law), 2)
    return pd.DataFrame({"time": setting.times, "A-mean": mean, "A-sd": sd, "A-n": float(cells)})


def fitted(setting: Setting, network: sg.ReactionNetwork, cells: int, number: int, targets: str) -> dict[str, Any]:
    """What a fit to one data set comes to."""
    random = np.random.default_rng([number, setting.molecules, round(10 * setting.ratio), cells])
    table = measured(setting, cells, random if targets == "cells" else None)
    bounds = {name: (rate / 100, rate * 100) for name, rate in zip(("c1", "c2"), setting.truth, strict=True)}
    n = max(cells // STEPS, 200)
    fit = sg.fit(network, table, bounds, loss="moments", n=n, seed=number, progress=False)
    estimate, stderr = (fit.parameters[name].to_numpy() for name in ("estimate", "stderr"))
    off, (floor, counts) = np.log(estimate / setting.truth), floors(setting, cells)
    row: dict[str, Any] = {
        "kind": targets,
        "molecules": setting.molecules,
        "ratio": setting.ratio,
        "cells": cells,
        "seed": number,
        "n": n,
        "trajectories": n * len(fit.history),
    }
    for index, name in enumerate(("c1", "c2")):
        row |= {
            f"{name}_error": off[index],
            f"{name}_stderr": stderr[index] / estimate[index],
            f"{name}_floor": floor[index],
            f"{name}_counts": counts[index],
        }
    return {**row, "converged": bool(fit.converged), "seconds": fit.seconds}


def read_both_ways(setting: Setting, n: int, random: np.random.Generator) -> np.ndarray:
    """A (2, times, n) of trajectories by Gillespie's method: the state, and the straight line between two events."""
    c1, c2 = setting.truth
    a, now = np.full(n, float(setting.molecules)), np.zeros(n)
    seen = np.zeros((2, len(setting.times), n))
    left = np.arange(n)
    while len(left):
        up, down = c1 * a * (a - 1), c2 * (setting.molecules - a) / 2
        total = up + down
        following = now + random.exponential(size=len(left)) / total
        after = a + np.where(random.random(len(left)) * total < up, -2.0, 2.0)
        for k, time in enumerate(setting.times):
            inside = (now <= time) & (time < following)
            seen[0, k, left[inside]] = a[inside]
            share = (time - now[inside]) / (following - now)[inside]
            seen[1, k, left[inside]] = a[inside] + share * (after - a)[inside]
        on = following < setting.times[-1]
        left, a, now = left[on], after[on], following[on]
    return seen


def interpolated(setting: Setting, random: np.random.Generator) -> dict[str, Any]:
    """By how much rates move when trajectories are read on straight lines between events."""
    n = FOLLOWED // setting.molecules
    seen = read_both_ways(setting, n, random)
    moments = np.concatenate([seen.mean(axis=2), seen.std(axis=2)], axis=1)
    law = setting.moments(setting.law(setting.truth))
    errors = np.tile(law[len(setting.times) :], 2) * np.repeat([1.0, np.sqrt(0.5)], len(setting.times))

    def rates(targets: np.ndarray) -> np.ndarray:
        def residuals(off: np.ndarray) -> np.ndarray:
            return np.asarray((setting.moments(setting.law(setting.truth * np.exp(off))) - targets) / errors)

        return np.asarray(least_squares(residuals, np.zeros(2)).x)

    state, line = (rates(row) for row in moments)
    floor, _ = floors(setting, n)
    return {
        "kind": "interpolated",
        "molecules": setting.molecules,
        "ratio": setting.ratio,
        "n": n,
        **{f"c{i + 1}_moved": float(line[i] - state[i]) for i in range(2)},
        **{f"c{i + 1}_by_states": float(state[i]) for i in range(2)},
        **{f"c{i + 1}_floor": float(floor[i]) for i in range(2)},
    }


def plan(options: argparse.Namespace) -> Iterator[tuple[Setting, int, int, str]]:
    """Every fit: setting, cells, number of the data set, targets."""
    first, *others = SETTINGS
    for number in range(options.seeds):
        yield first, round(options.cells / first.molecules), number, "cells"
        yield first, round(options.cells / first.molecules), number, "exact"
        for cells in GROWING:
            yield first, round(cells * options.cells / CELLS), number, "growing"
        for setting in others:
            yield setting, round(options.cells / setting.molecules), number, "cells"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a fit, and medians in the end."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Rates of a reversible dimerisation from moments of cells.")
    parser.add_argument("--seeds", type=int, default=10, help="data sets of each kind")
    parser.add_argument("--cells", type=int, default=CELLS, help="times molecules in a cell")
    parser.add_argument("-o", "--output", help="JSON file, written after each setting; what is in it is not done again")
    options = parser.parse_args(given)
    path = Path(options.output) if options.output else None
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path and path.exists() else []
    done = {(row["kind"], row["molecules"], row["ratio"], row.get("cells"), row.get("seed")) for row in rows}
    about = facts("dimerisation.py", given, 0)
    networks: dict[Setting, sg.ReactionNetwork] = {}
    for setting, cells, number, targets in plan(options):
        if (targets, setting.molecules, setting.ratio, cells, number) in done:
            continue
        begun = clock.perf_counter()
        network = networks.setdefault(setting, setting.network())
        kind = "cells" if targets == "growing" else targets
        rows.append({**fitted(setting, network, cells, number, kind), "kind": targets})
        row = rows[-1]
        print(
            f"{targets} {setting.molecules} {setting.ratio:g} {cells:,} {number}: c1 {row['c1_error']:+.3%} (floor "
            f"{row['c1_floor']:.3%}), c2 {row['c2_error']:+.3%} ({row['c2_floor']:.3%}), "
            f"{clock.perf_counter() - begun:.1f} s",
            flush=True,
        )
        if path:
            write(str(path), about, rows)
    for setting in SETTINGS:
        if ("interpolated", setting.molecules, setting.ratio, None, None) not in done:
            random = np.random.default_rng([setting.molecules, round(10 * setting.ratio)])
            rows.append(interpolated(setting, random))
            print(rows[-1], flush=True)
    if path:
        write(str(path), about, rows)
    for line in summary(rows):
        print(line)
    return 0


def summary(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Median errors by kind, and setting."""
    fits = pd.DataFrame([row for row in rows if row["kind"] != "interpolated"])
    for kind, part in fits.groupby("kind"):
        for key, some in part.groupby(["molecules", "ratio", "cells"]):
            off, floor = (np.abs(some[[f"c1_{name}", f"c2_{name}"]].to_numpy()) for name in ("error", "floor"))
            ratio = np.sqrt(np.mean((off / floor) ** 2))
            yield (
                f"{kind} {key}: median {np.median(off):.3%}, largest {off.max():.3%}; root mean square "
                f"{ratio:.2f} floors; {some['seconds'].sum():.0f} s"
            )
        off = np.abs(part[["c1_error", "c2_error"]].to_numpy())
        yield f"{kind}: median {np.median(off):.3%}, 90 % below {np.quantile(off, 0.9):.3%}"


if __name__ == "__main__":
    sys.exit(main())
