"""How often the error bars of fits to switching records, of which short events were missed, hold the truth.

    python benchmarks/dwell_times.py -o benchmarks/results/DATE-dwell-times.json

numpy draws the stays of channels one after the other, and a dead time takes away what is shorter: such stays become a
part of the sojourn before. Times are in ms. Cases:

``bursts``        a channel that is shut for long, shut for 0.067 in a burst, and open for 1, with four rates; 1,000
                  sojourns that are seen, with a resolution of 0.05, which half of the short gaps are below
``all seen``      the same channel with no dead time, 1,000 sojourns
``not told``      the record of ``bursts``, fitted as if all had been seen
``two channels``  two equal channels in one patch, levels 0, 1 and 2, open for 1 and shut for 3, resolution 0.3

For each rate: how often ``ci_lower`` to ``ci_upper`` holds the truth, with the two standard deviations that chance
leaves, and the mean and root mean square of log(estimate / truth) in units of its standard error.
"""

from __future__ import annotations

import argparse
import sys
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from held import Tally, asked, judge, numbers, within

import sbmlgrad as sg

SOJOURNS = 1000


@dataclass(frozen=True)
class Case:
    """Reactions as (rate, species before, species after), how many molecules begin in the first, and the dead time."""

    truth: Mapping[str, float]
    reactions: tuple[tuple[str, str, str], ...]
    molecules: int
    dead_time: float
    told: bool = True

    @property
    def species(self) -> tuple[str, ...]:
        """Those of the scheme."""
        return tuple(dict.fromkeys(name for _, before, after in self.reactions for name in (before, after)))

    @property
    def jumps(self) -> np.ndarray:
        """Changes (species, reactions)."""
        ends = [[(name == after) - (name == before) for _, before, after in self.reactions] for name in self.species]
        return np.array(ends, int)

    def network(self) -> sg.ReactionNetwork:
        """The network to be fitted, with its rates off the truth."""
        reactions, species = self.reactions, self.species

        def propensities(x: Any, p: Any) -> tuple[Any, ...]:
            return tuple(p[rate] * x[species.index(before)] for rate, before, _ in reactions)

        start = {
            name: value * factor for (name, value), factor in zip(self.truth.items(), (2, 0.5, 0.6, 1.5), strict=False)
        }
        begin = [self.molecules, *[0] * (len(species) - 1)]
        return sg.ReactionNetwork(self.jumps, propensities, begin, start, species=species)

    def draw(self, random: np.random.Generator) -> pd.DataFrame:
        """A record of sojourns that are seen."""
        jumps, sources = self.jumps.T, [self.species.index(before) for _, before, _ in self.reactions]
        rates, opened = np.array([self.truth[name] for name, _, _ in self.reactions]), self.species.index("O")
        x, now = np.array([self.molecules, *[0] * (len(self.species) - 1)]), 0.0
        begin, levels = [0.0], [float(x[opened])]  # of sojourns
        came = 0.0  # to the present level
        while len(begin) <= SOJOURNS + 20:
            every = rates * x[sources]
            now += random.exponential(1 / every.sum())
            after = x + jumps[int(np.searchsorted(np.cumsum(every), random.uniform() * every.sum(), side="right"))]
            if after[opened] != x[opened]:
                if now - came >= self.dead_time and x[opened] != levels[-1]:
                    begin.append(came)
                    levels.append(float(x[opened]))
                came = now
            x = after
        table = pd.DataFrame({"time": begin, "O": levels})[20:]  # the first sojourns remember where the process began
        return table.assign(**{"O-resolution": self.dead_time}) if self.told and self.dead_time else table


def cases() -> dict[str, Case]:
    """By name."""
    burst = (("a", "R", "C"), ("b", "C", "R"), ("o", "C", "O"), ("c", "O", "C"))
    rates = {"a": 0.05, "b": 5.0, "o": 10.0, "c": 1.0}
    return {
        "bursts": Case(rates, burst, 1, 0.05),
        "all seen": Case(rates, burst, 1, 0.0),
        "not told": Case(rates, burst, 1, 0.05, told=False),
        "two channels": Case({"o": 1 / 3, "c": 1.0}, (("o", "C", "O"), ("c", "O", "C")), 2, 0.3),
    }


def judged(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each rate."""
    case, tally = cases()[name], Tally()
    network = case.network()
    for number in numbers(options.first, options.sets, options.minutes):
        data, begun = case.draw(np.random.default_rng([number, case.molecules])), clock.perf_counter()
        fit = sg.fit(network, data, dict.fromkeys(case.truth), loss="dwells")
        found = {rate: within(fit.parameters.loc[rate], truth) for rate, truth in case.truth.items()}
        tally.add(found, clock.perf_counter() - begun, not fit.converged or bool(fit.warnings))
    return tally.rows({"case": name})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each rate of each case."""
    parser = asked("Coverage of fits of dwell times.")
    parser.add_argument("--cases", default=";".join(cases()), help="names, with ; between them")
    return judge("dwell_times.py", parser, lambda options: options.cases.split(";"), judged, arguments)


if __name__ == "__main__":
    sys.exit(main())
