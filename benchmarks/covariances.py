"""How often the error bars of fits to means, standard deviations and covariances of two species hold the truth.

    python benchmarks/covariances.py -o benchmarks/results/DATE-covariances.json

Molecules of A are made alone, at the rate 6, and together with one of B, at the rate 3; each is lost at a rate of its
own, 1 and 0.5. 200 cells at 5 times, others each time, whose numbers numpy draws as sums of Poisson counts: pairs of
which both are left, one, or the other. The rates of both ways of making A are fitted; ``columns`` is what the table
has: means and standard deviations of A, which do not tell them apart, with the covariance of A and B, which does; or
all of both. For each rate: how often the interval ``ci_lower`` to ``ci_upper`` holds the truth, with the two standard
deviations that chance leaves, and log(estimate / truth) in units of its standard error.
"""

from __future__ import annotations

import argparse
import sys
import time as clock
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from held import Tally, asked, judge, numbers

import sbmlgrad as sg

CELLS = 200
TIMES = np.linspace(0.5, 4.0, 5)
TRUTH = {"alone": 6.0, "paired": 3.0}
LOST = {"A": 1.0, "B": 0.5}
COLUMNS = {
    "A and A:B": ("A-mean", "A-sd", "A:B-cov"),
    "all": ("A-mean", "A-sd", "B-mean", "B-sd", "A:B-cov"),
}


def network() -> sg.ReactionNetwork:
    """The model, away from the truth."""
    return sg.ReactionNetwork(
        [[1, 1, -1, 0], [0, 1, 0, -1]],
        lambda x, p: (p["alone"] + 0 * x[0], p["paired"] + 0 * x[0], LOST["A"] * x[0], LOST["B"] * x[1]),
        [0, 0],
        {"alone": 4.0, "paired": 4.0},
        species=("A", "B"),
    )


def cells(random: np.random.Generator, time: float) -> np.ndarray:
    """Counts (2, cells): what was made at a constant rate is left as Poisson counts, of pairs in three kinds."""

    def left(rate: float) -> float:  # how long what is lost at this rate has been there on average, so far
        return (1 - np.exp(-rate * time)) / rate

    both = left(LOST["A"] + LOST["B"])
    means = (left(LOST["A"]) - both, left(LOST["B"]) - both, both)
    only_a, only_b, pairs = (random.poisson(TRUTH["paired"] * mean, CELLS) for mean in means)
    alone = random.poisson(TRUTH["alone"] * left(LOST["A"]), CELLS)
    return np.stack([alone + only_a + pairs, only_b + pairs])


def table(random: np.random.Generator, columns: Sequence[str]) -> pd.DataFrame:
    """One data set."""
    rows = []
    for time in TIMES:
        a, b = cells(random, time)
        every = {"A-mean": a.mean(), "A-sd": a.std(ddof=1), "B-mean": b.mean(), "B-sd": b.std(ddof=1)}
        every["A:B-cov"] = np.cov(a, b)[0, 1]
        rows.append({"time": time} | {name: every[name] for name in columns})
    counted = {f"{name}-n": CELLS for name in ("A", "B") if f"{name}-mean" in columns}
    return pd.DataFrame(rows).assign(**counted)


def judged(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each rate."""
    tally, model = Tally(), network()
    for number in numbers(options.first, options.sets, options.minutes):
        data = table(np.random.default_rng([number, len(kind)]), COLUMNS[kind])
        begun = clock.perf_counter()
        fit = sg.fit(model, data, dict.fromkeys(TRUTH), n=options.n, seed=number)
        found = {}
        for rate, value in TRUTH.items():
            row = fit.parameters.loc[rate]
            z = np.log(row["estimate"] / value) * row["estimate"] / row["stderr"]
            found[rate] = bool(row["ci_lower"] <= value <= row["ci_upper"]), float(z)
        tally.add(found, clock.perf_counter() - begun, bool(fit.warnings))
    return tally.rows({"columns": kind, "cells": CELLS})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each rate of each kind of table."""
    parser = asked("Coverage of fits to covariances.")
    parser.add_argument("-n", type=int, default=1000, help="trajectories in a step of a fit")
    parser.add_argument("--columns", nargs="+", default=list(COLUMNS), choices=list(COLUMNS))
    return judge("covariances.py", parser, lambda options: options.columns, judged, arguments)


if __name__ == "__main__":
    sys.exit(main())
