"""How often the error bars of fits to moments of cells hold the truth.

    python benchmarks/moments_of_cells.py -o benchmarks/results/DATE-moments-of-cells.json

Means, with or without standard deviations, of 200 cells at 5, 11 or 41 times: other cells each time, or the same ones
followed. Numpy draws the cells by closed forms: isomerisation (binomial), birth and death (binomial and Poisson), and a
gene that switches and transcribes in bursts (numbers that are Poisson given the gene, whose switching is drawn event by
event). Two rates of each are fitted. ``says`` is what the table says of its errors: nothing, the number of cells, or
the standard errors of the means. For each rate: how often the interval ``ci_lower`` to ``ci_upper`` holds the truth,
with the two standard deviations that chance leaves, and the mean and root mean square of log(estimate / truth) in units
of its standard error.
"""

from __future__ import annotations

import argparse
import sys
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from held import Tally, asked, judge, numbers

import sbmlgrad as sg

CELLS = 200
Draw = Callable[[np.random.Generator, np.ndarray, int], np.ndarray]
Kind = tuple[str, int, str, bool, str]
"""The model, how many times, cells, whether with standard deviations, and what the table says."""


@dataclass(frozen=True)
class Case:
    """A network far from the truth, the two rates to be found, the observed species, and counts of cells."""

    network: sg.ReactionNetwork
    truth: Mapping[str, float]
    observed: str
    end: float
    draw: Draw
    """(random, times, cells) -> counts (times, cells) of cells that are followed"""


def isomerised(random: np.random.Generator, times: np.ndarray, cells: int) -> np.ndarray:
    """B of 50 molecules that were A, with rates 0.6 and 0.4: each is a chain of two states."""
    b, now, rows = np.zeros(cells, int), 0.0, []
    for time in times:
        mixed = 1 - np.exp(-(time - now))
        b = random.binomial(b, 1 - 0.4 * mixed) + random.binomial(50 - b, 0.6 * mixed)
        now = time
        rows.append(b)
    return np.array(rows)


def born(random: np.random.Generator, times: np.ndarray, cells: int) -> np.ndarray:
    """Born at 10, lost at 1: survivors are binomial, the new ones Poisson."""
    x, now, rows = np.zeros(cells, int), 0.0, []
    for time in times:
        kept = np.exp(-(time - now))
        x = random.binomial(x, kept) + random.poisson(10 * (1 - kept), cells)
        now = time
        rows.append(x)
    return np.array(rows)


def burst(random: np.random.Generator, times: np.ndarray, cells: int) -> np.ndarray:
    """A gene that is on for 1/1 and off for 1/0.3 in the mean, transcribes at 20, and loses at 0.5."""
    on, x, now, rows = np.zeros(cells, bool), np.zeros(cells, int), 0.0, []
    for time in times:
        left, new = np.full(cells, time - now), np.zeros(cells)
        while np.any(left > 0):
            wait = np.minimum(random.exponential(size=cells) / np.where(on, 1.0, 0.3), left)
            after = left - wait  # what is made in this stretch decays for the rest of the time
            new += np.where(on, 40.0 * (np.exp(-0.5 * after) - np.exp(-0.5 * left)), 0.0)
            on = np.where(after > 0, ~on, on)
            left = after
        x = random.binomial(x, np.exp(-0.5 * (time - now))) + random.poisson(new)
        now = time
        rows.append(x)
    return np.array(rows)


def cases() -> dict[str, Case]:
    """All three."""
    return {
        "isomerisation": Case(
            sg.ReactionNetwork(
                [[-1, 1], [1, -1]],
                lambda x, p: (p["k"] * x[0], p["g"] * x[1]),
                [50, 0],
                {"k": 0.9, "g": 0.3},
                species=("A", "B"),
            ),
            {"k": 0.6, "g": 0.4},
            "B",
            4.0,
            isomerised,
        ),
        "birth_death": Case(
            sg.ReactionNetwork(
                [[1, -1]], lambda x, p: (p["k"], p["g"] * x[0]), [0], {"k": 14.0, "g": 0.7}, species=("X",)
            ),
            {"k": 10.0, "g": 1.0},
            "X",
            5.0,
            born,
        ),
        "bursts": Case(
            sg.ReactionNetwork(
                [[1, -1, 0, 0], [0, 0, 1, -1]],
                lambda x, p: (p["on"] * (1 - x[0]), x[0], p["k"] * x[0], 0.5 * x[1]),
                [0, 0],
                {"on": 0.4, "k": 15.0},
                species=("G", "M"),
            ),
            {"on": 0.3, "k": 20.0},
            "M",
            12.0,
            burst,
        ),
    }


def table(case: Case, random: np.random.Generator, points: int, cells: str, spread: bool, says: str) -> pd.DataFrame:
    """One data set."""
    times = np.linspace(case.end / points, case.end, points)
    if cells == "followed":
        counts = case.draw(random, times, CELLS)
    else:
        counts = np.stack([case.draw(random, np.array([time]), CELLS)[0] for time in times])
    name, mean, sd = case.observed, counts.mean(axis=1), counts.std(axis=1, ddof=1)
    columns = {"time": times, f"{name}-mean": mean}
    if spread:
        columns[f"{name}-sd"] = sd
    if says == "cells":
        columns[f"{name}-n"] = np.full(points, CELLS)
    if says == "errors":
        columns[f"{name}-sem"] = sd / np.sqrt(CELLS)
    return pd.DataFrame(columns)


def kinds(options: argparse.Namespace) -> Iterator[Kind]:
    """All that are asked for."""
    chosen = (options.models, options.points, options.cells, options.spread, options.says)
    for name, points, cells, spread, says in product(*(text.split(",") for text in chosen)):
        yield name, int(points), cells, spread == "yes", says


def judged(kind: Kind, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each rate."""
    name, points, cells, spread, says = kind
    case = cases()[name]
    tally = Tally()
    for number in numbers(options.first, options.sets, options.minutes):
        random = np.random.default_rng([number, points, len(name), len(cells), spread])
        data, begun = table(case, random, points, cells, spread, says), clock.perf_counter()
        fit = sg.fit(
            case.network, data, dict.fromkeys(case.truth), n=options.n, seed=number, method=options.method, cells=cells
        )
        found = {}
        for rate, value in case.truth.items():
            row = fit.parameters.loc[rate]
            z = np.log(row["estimate"] / value) * row["estimate"] / row["stderr"]
            found[rate] = bool(row["ci_lower"] <= value <= row["ci_upper"]), float(z)
        tally.add(found, clock.perf_counter() - begun, bool(fit.warnings))
    about = {"model": name, "method": options.method, "points": points, "cells": cells, "spread": spread, "says": says}
    return tally.rows(about)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each rate of each kind of data."""
    parser = asked("Coverage of fits to moments of cells.")
    parser.add_argument("-n", type=int, default=1000, help="trajectories in a step of a fit")
    parser.add_argument("--method", default="ssa")
    parser.add_argument("--models", default="isomerisation,birth_death,bursts")
    parser.add_argument("--points", default="5,11,41")
    parser.add_argument("--cells", default="independent,followed")
    parser.add_argument("--spread", default="no,yes", help="whether there are standard deviations")
    parser.add_argument("--says", default="nothing,cells,errors")
    return judge("moments_of_cells.py", parser, kinds, judged, arguments)


if __name__ == "__main__":
    sys.exit(main())
