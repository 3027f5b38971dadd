"""How often the error bars of fits hold the truth where events, or the time, change what happens.

    python benchmarks/fits_of_processes.py -o benchmarks/results/DATE-fits-of-processes.json

Two models, each with a rate of birth and one of death to be found by exact simulation from the means and standard
deviations of 500 cells, others at each of 13 times, in a table that says how many: birth and death with a dose of 100
molecules at time 5, and a gene whose rate of transcription is a sine of time. Their laws are known (a Poisson number
of molecules that were born, and a binomial one of those of the dose), so numpy draws the cells. For each rate: how
often estimate +- 1.96 stderr holds the truth, with the two standard deviations that chance leaves, the mean and root
mean square of (estimate - truth) / stderr, and the median seconds of a fit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from gradients import facts, write
from held import Tally, numbers, told
from known_times import TIME, apply, document

import sbmlgrad as sg

CELLS, TIMES = 500, np.linspace(1.0, 13.0, 13)
DOSE, AT, PERIOD = 100, 5.0, 4.0


@dataclass(frozen=True)
class Case:
    """A model, its two rates, and the numbers of molecules in some cells at a time."""

    text: str
    truth: Mapping[str, float]
    cells: Callable[[np.random.Generator, float, int], np.ndarray]


def dosed(random: np.random.Generator, time: float, count: int) -> np.ndarray:
    """Born at 20, lost at 0.5; those of the dose decay from its time on."""
    born = random.poisson(20 / 0.5 * (1 - np.exp(-0.5 * time)), count)
    return born + (random.binomial(DOSE, np.exp(-0.5 * (time - AT)), count) if time >= AT else 0)


def rhythmic(random: np.random.Generator, time: float, count: int) -> np.ndarray:
    """Born at 20 (1 + sin(w t)), lost at 0.5: the mean solves m' = 20 (1 + sin(w t)) - 0.5 m."""
    k, g, w = 20.0, 0.5, 2 * np.pi / PERIOD
    forced = (g * np.sin(w * time) - w * np.cos(w * time) + w * np.exp(-g * time)) / (g**2 + w**2)
    return random.poisson(k * ((1 - np.exp(-g * time)) / g + forced), count)


def cases() -> dict[str, Case]:
    """Both, from no molecules."""
    more = apply("plus", "<ci>X</ci>", f"<cn>{DOSE}</cn>")
    angle = apply("times", f"<cn>{2 * np.pi / PERIOD!r}</cn>", TIME)
    sine = apply("times", "<ci>k</ci>", apply("plus", "<cn>1</cn>", apply("sin", angle)))
    texts = {
        "dose": document(events=[(apply("geq", TIME, f"<cn>{AT}</cn>"), more)]),
        "sinusoidal input": document(sine),
    }
    return {
        name: Case(text.replace('initialAmount="100"', 'initialAmount="0"'), {"k": 20.0, "g": 0.5}, draw)
        for (name, text), draw in zip(texts.items(), (dosed, rhythmic), strict=True)
    }


def table(case: Case, random: np.random.Generator) -> pd.DataFrame:
    """Means and standard deviations of other cells at each time, and how many cells there were."""
    counts = np.stack([case.cells(random, time, CELLS) for time in TIMES])
    mean, sd = counts.mean(axis=1), counts.std(axis=1, ddof=1)
    return pd.DataFrame({"time": TIMES, "X-mean": mean, "X-sd": sd, "X-n": CELLS})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each rate of each model."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Coverage of fits of models with events or inputs over time.")
    parser.add_argument("--sets", type=int, default=200, help="data sets of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first data set, which is its seed")
    parser.add_argument("--minutes", type=float, help="of each case, after which no fit begins")
    parser.add_argument("-n", type=int, default=1000, help="trajectories in a step of a fit")
    parser.add_argument("--cases", default="dose,sinusoidal input")
    parser.add_argument("-o", "--output", help="JSON file, written after each model")
    options = parser.parse_args(given)
    rows: list[dict[str, Any]] = []
    for name in options.cases.split(","):
        case, tally = cases()[name], Tally()
        model = sg.read_sbml(case.text)
        start = {rate: value * factor for (rate, value), factor in zip(case.truth.items(), (1.5, 0.7), strict=True)}
        for number in numbers(options.first, options.sets, options.minutes):
            data = table(case, np.random.default_rng([number, len(name)]))
            fit = sg.fit(model, data, dict.fromkeys(case.truth), init=start, n=options.n, seed=number)
            z = (fit.parameters["estimate"] - pd.Series(case.truth)) / fit.parameters["stderr"]
            found = {rate: (bool(abs(z[rate]) <= 1.959964), float(z[rate])) for rate in case.truth}
            tally.add(found, fit.seconds, not fit.converged or bool(fit.warnings))
        judgements = tally.rows({"model": name})
        rows += judgements
        for row in judgements:
            print(told(row), flush=True)
        if options.output:
            write(options.output, facts("fits_of_processes.py", given, options.n), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
