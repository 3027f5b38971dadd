"""How often the error bars of fits to single cells and trajectories hold the truth.

    python benchmarks/single_cells.py -o benchmarks/results/DATE-single-cells.json

Data are drawn event by event with numpy: counts that are born and die, and a gene's messages (hidden) and proteins
(seen), with mean counts near 2, 10 and 50. Kinds of data: ``single`` (one trajectory), ``noisy`` (the same, with errors
of measurement that the table states), ``replicates`` (20 trajectories), ``snapshots`` (500 other cells, at five times).
Two rates are fitted. For each rate: how often the interval ``ci_lower`` to ``ci_upper`` holds the truth, with the two
standard deviations that chance leaves, and the mean and root mean square of log(estimate / truth) in units of the
standard error of that logarithm.
"""

from __future__ import annotations

import argparse
import sys
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from held import Tally, asked, judge, numbers
from scipy.stats import norm

import sbmlgrad as sg

Kind = tuple[str, float, str]
"""The model, its mean count, and the data."""


@dataclass(frozen=True)
class Case:
    """Jumps (species, reactions), rates with the truth, start values of the two that are fitted, what is seen."""

    jumps: tuple[tuple[int, ...], ...]
    laws: tuple[tuple[str, int | None], ...]
    """for each reaction its rate and the species that it is in proportion to"""
    truth: Mapping[str, float]
    start: Mapping[str, float]
    observed: str
    species: tuple[str, ...]
    spacing: float
    level: float

    def network(self) -> sg.ReactionNetwork:
        """The network to be fitted."""
        laws = self.laws

        def propensities(x: Any, p: Any) -> tuple[Any, ...]:
            return tuple(p[name] + 0 * x[0] if i is None else p[name] * x[i] for name, i in laws)

        return sg.ReactionNetwork(
            self.jumps, propensities, [0] * len(self.species), {**self.truth, **self.start}, species=self.species
        )

    def draw(self, random: np.random.Generator, times: np.ndarray) -> np.ndarray:
        """The observed counts (times,) of one cell."""
        x, now, row = [0] * len(self.species), 0.0, []
        jumps = list(zip(*self.jumps, strict=True))
        seen = self.species.index(self.observed)
        for time in times:
            while True:
                rates = [self.truth[name] * (1 if i is None else x[i]) for name, i in self.laws]
                wait = random.exponential(1 / sum(rates))
                if now + wait > time:
                    now = time
                    break
                now += wait
                fired = int(np.searchsorted(np.cumsum(rates), random.random() * sum(rates), side="right"))
                x = [count + step for count, step in zip(x, jumps[fired], strict=True)]
            row.append(x[seen])
        return np.array(row, float)


def birth_death(level: float, fitted: Sequence[str]) -> Case:
    """Born at ``level``, lost at 1."""
    away = {"k": 1.6 * level, "g": 0.6}
    return Case(
        ((1, -1),),
        (("k", None), ("g", 0)),
        {"k": level, "g": 1.0},
        {name: away[name] for name in fitted or away},
        "X",
        ("X",),
        0.25,
        level,
    )


def expression(level: float, fitted: Sequence[str]) -> Case:
    """Two messages in the mean, lost at 1, and proteins, lost at 0.5. Of proteins alone, the rates at which messages
    and proteins are made (``k``, ``b``) are hardly told apart."""
    rates = {"k": 2.0, "d": 1.0, "b": level / 4, "g": 0.5}
    away = {"k": 3.0, "d": 0.7, "b": 0.6 * rates["b"], "g": 0.3}
    return Case(
        ((1, -1, 0, 0), (0, 0, 1, -1)),
        (("k", None), ("d", 0), ("b", 0), ("g", 1)),
        rates,
        {name: away[name] for name in fitted or ("k", "b")},
        "P",
        ("M", "P"),
        0.5,
        level,
    )


MODELS = {"birth_death": birth_death, "expression": expression}


def table(case: Case, kind: str, random: np.random.Generator) -> pd.DataFrame:
    """One data set."""
    name, times = case.observed, case.spacing * np.arange(1, 61)
    if kind == "snapshots":
        rows = [(time, case.draw(random, np.array([time]))[0]) for time in times[3:60:12] for _ in range(100)]
        return pd.DataFrame(rows, columns=["time", name])
    if kind == "replicates":
        times = times[1:30:2]
        runs = [pd.DataFrame({"time": times, name: case.draw(random, times), "replicate": r}) for r in range(20)]
        return pd.concat(runs)
    counts = case.draw(random, times)
    if kind == "single":
        return pd.DataFrame({"time": times, name: counts})
    error = 0.5 * np.sqrt(case.level)
    return pd.DataFrame({"time": times, name: counts + random.normal(0, error, len(times)), f"{name}-error": error})


def kinds(options: argparse.Namespace) -> Iterator[Kind]:
    """All that are asked for."""
    for model, level, data in product(options.models.split(","), options.levels.split(","), options.data.split(",")):
        yield model, float(level), data


def judged(kind: Kind, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each rate."""
    model, level, kind_of_data = kind
    case = MODELS[model](level, [name for name in options.rates.split(",") if name])
    network, tally = case.network(), Tally()
    for number in numbers(options.first, options.sets, options.minutes):
        random = np.random.default_rng([number, len(model), int(level), len(kind_of_data)])
        data = table(case, kind_of_data, random)
        begun = clock.perf_counter()
        fit = sg.fit(network, data, dict.fromkeys(case.start), loss=options.loss)
        seconds, found = clock.perf_counter() - begun, {}
        for rate in case.start:
            row, truth = fit.parameters.loc[rate], case.truth[rate]
            limited = row["ci_lower"] > 0 and np.isfinite(row["ci_upper"])
            width = np.log(row["ci_upper"] / row["ci_lower"]) / (2 * norm.ppf(0.975)) if limited else np.nan
            held = bool(row["ci_lower"] <= truth <= row["ci_upper"])
            found[rate] = held, float(np.log(row["estimate"] / truth) / width)
        tally.add(found, seconds, bool(fit.warnings))
    return tally.rows({"model": model, "mean_count": level, "data": kind_of_data, "loss": options.loss})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each rate of each kind of data."""
    parser = asked("Coverage of fits to single cells and trajectories.")
    parser.add_argument("--models", default="birth_death,expression")
    parser.add_argument("--levels", default="2,10,50", help="mean counts")
    parser.add_argument("--data", default="single,noisy,replicates,snapshots")
    parser.add_argument("--rates", default="", help="that are fitted, instead of two that the model names")
    parser.add_argument("--loss", default="auto")
    return judge("single_cells.py", parser, kinds, judged, arguments)


if __name__ == "__main__":
    sys.exit(main())
