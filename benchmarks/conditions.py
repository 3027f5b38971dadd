"""How often the error bars of fits of several conditions, or of noisy values, hold the truth.

    python benchmarks/conditions.py -o benchmarks/results/DATE-conditions.json

Birth and death, X born at k and lost at g each, from none; numpy draws the data from closed forms (survivors are
binomial, the new ones Poisson). Cases:

``strains``     500 cells at five times, counted, in two conditions that share g and have a k each (likelihood)
``dose``        means of 500 cells with their standard errors, of cells without and with 50 more molecules at time 2,
                ten times each, by the rate equations
``dose, ssa``   the same with standard deviations, in exact simulation
``relative``    60 values off by a normal error in proportion to the level, its size fitted too, by the rate equations
``lognormal``   the same with log-normal errors
``detection``   five trajectories of 24 counts in which each molecule is seen with probability 0.6 (likelihood)

For each parameter: how often ``ci_lower`` to ``ci_upper`` holds the truth, with the two standard deviations that chance
leaves, and the mean and root mean square of log(estimate / truth) in units of its standard error.
"""

from __future__ import annotations

import argparse
import sys
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from held import Tally, asked, judge, numbers, within
from known_times import document

import sbmlgrad as sg

K, G, CELLS, DOSE, AT = 10.0, 0.5, 500, 50, 2.0
TIMES = np.linspace(0.6, 6.0, 10)
Random = np.random.Generator


@dataclass(frozen=True)
class Case:
    """How data are drawn, what is true of them, and how they are fitted."""

    draw: Callable[[Random], pd.DataFrame]
    truth: Mapping[str, float]
    options: Mapping[str, Any] = field(default_factory=dict)


def level(k: float, times: np.ndarray | float) -> Any:
    """The mean of X."""
    return k / G * (1 - np.exp(-G * np.asarray(times)))


def strains(random: Random) -> pd.DataFrame:
    """Counts of cells."""
    rows = [
        pd.DataFrame({"condition": name, "time": time, "X": random.poisson(level(k, time), CELLS // 5)})
        for name, k in (("slow", K), ("fast", 2.5 * K))
        for time in TIMES[1::2]
    ]
    return pd.concat(rows)


def moments(random: Random, spread: bool) -> pd.DataFrame:
    """Means with standard errors, or with standard deviations and numbers of cells."""
    tables = []
    for name in ("control", "dosed"):
        cells = random.poisson(level(K, TIMES), (CELLS, len(TIMES)))
        if name == "dosed":
            left = np.where(TIMES >= AT, np.exp(-G * np.maximum(TIMES - AT, 0)), 0.0)
            cells = cells + random.binomial(DOSE, left, (CELLS, len(TIMES)))
        sd = cells.std(axis=0, ddof=1)
        told = {"X-sd": sd, "X-n": CELLS} if spread else {"X-sem": sd / np.sqrt(CELLS)}
        tables.append(pd.DataFrame({"condition": name, "time": TIMES, "X-mean": cells.mean(axis=0), **told}))
    return pd.concat(tables)


def values(random: Random, law: str) -> pd.DataFrame:
    """One curve with noise."""
    times = np.linspace(0.1, 6.0, 60)
    error = 0.1 * random.normal(size=60)
    return pd.DataFrame({"time": times, "X": level(K, times) * (np.exp(error) if law == "lognormal" else 1 + error)})


def seen(random: Random) -> pd.DataFrame:
    """Trajectories of which a part of the molecules is seen."""
    times, tables = np.linspace(0.25, 6.0, 24), []
    for replicate in range(5):
        x, now, row = 0, 0.0, []
        for time in times:
            kept = np.exp(-G * (time - now))
            x, now = random.binomial(x, kept) + random.poisson(K / G * (1 - kept)), time
            row.append(random.binomial(x, 0.6))
        tables.append(pd.DataFrame({"replicate": replicate, "time": times, "X": row}))
    return pd.concat(tables)


def cases() -> dict[str, Case]:
    """By name."""
    two = pd.DataFrame({"condition": ["slow", "fast"], "k": ["k_slow", "k_fast"]})
    dose = pd.DataFrame({"condition": ["control", "dosed"], "time": [np.nan, AT], "X": ["", f"X + {DOSE}"]})
    rates, ode = {"k": K, "g": G}, {"method": "ode"}
    return {
        "strains": Case(strains, {"k_slow": K, "k_fast": 2.5 * K, "g": G}, {"conditions": two}),
        "dose": Case(lambda r: moments(r, False), rates, {"conditions": dose, **ode}),
        "dose, ssa": Case(lambda r: moments(r, True), rates, {"conditions": dose, "n": 1000}),
        "relative": Case(lambda r: values(r, "normal"), {**rates, "s": 0.1}, {"noise": {"X": "s*X"}, **ode}),
        "lognormal": Case(
            lambda r: values(r, "lognormal"), {**rates, "s": 0.1}, {"noise": {"X": "lognormal(s)"}, **ode}
        ),
        "detection": Case(seen, rates, {"noise": {"X": "binomial(0.6)"}}),
    }


def judged(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each parameter."""
    case, model = cases()[name], sg.read_sbml(document().replace('initialAmount="100"', 'initialAmount="0"'))
    bounds = {p: None if p in ("k", "g") else (t / 30, t * 30) for p, t in case.truth.items()}
    start = {p: t * f for (p, t), f in zip(case.truth.items(), (1.5, 0.7, 1.3), strict=False)}
    tally = Tally()
    for number in numbers(options.first, options.sets, options.minutes):
        data, begun = case.draw(np.random.default_rng([number, len(name)])), clock.perf_counter()
        fit = sg.fit(model, data, bounds, init=start, seed=number, **case.options)
        found = {parameter: within(fit.parameters.loc[parameter], truth) for parameter, truth in case.truth.items()}
        tally.add(found, clock.perf_counter() - begun, not fit.converged or bool(fit.warnings))
    return tally.rows({"case": name})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each parameter of each case."""
    parser = asked("Coverage of fits of several conditions and of noisy values.")
    parser.add_argument("--cases", default=";".join(cases()), help="names, with ; between them")
    return judge("conditions.py", parser, lambda options: options.cases.split(";"), judged, arguments)


if __name__ == "__main__":
    sys.exit(main())
