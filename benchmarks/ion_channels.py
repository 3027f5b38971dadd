"""Recordings of single ion channels, fitted by their dwell times and held against records that the fit has not seen.

    python benchmarks/ion_channels.py DATA -o benchmarks/results/DATE-ion-channels.json

DATA holds the files named in ``RECORDS``: idealised openings and closings of a human nicotinic receptor (Hatton et al.
2003) and of a rat glycine receptor at four concentrations, and the raw current of a patch with two channels
(``two channels``; idealised at thresholds halfway between its three levels).

Records are cut where a channel is shut for longer than 100 ms or was marked unusable. Every second piece is fitted with
``loss="dwells"``, missed events corrected for, by schemes of shut states in a row, of which the first ones open:
``CmOk``. The one with the lowest BIC is kept. R^2 is 1 - sum (seen - expected)^2 / sum (seen - mean seen)^2 over the
bins, five a decade, of the histograms of dwell times at all levels in the pieces that were not fitted; ``ceiling`` is
what it would be on average if the scheme were the truth, so that sojourns fell into its bins by chance alone. Where
sojourns are too few for bins (the current, a tenth of a second), R^2 is that of the share of sojourns that last longer
than each that was seen, which is told of all records (``r_squared_lasting``, with a ceiling of its own).
"""

from __future__ import annotations

import argparse
import re
import sys
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from gradients import facts, write

import sbmlgrad as sg
from sbmlgrad.likelihood.dwell_records import DwellRecord
from sbmlgrad.likelihood.dwells import Dwells

Piece = tuple[np.ndarray, np.ndarray]
"""Times (K,) in ms, and levels (K,) from then on; the last repeats the one before."""

LONGEST = 100.0  # ms, beyond which a closing may be another channel's
BINS_A_DECADE = 5
BOUNDS = (1e-4, 100.0)  # of rates, per ms; three events in a resolution of 0.03 ms cannot be told from more
SCHEMES = ((2, 1), (3, 1), (3, 2), (4, 2), (4, 3), (5, 3))
FEW = ((1, 1), (2, 1))  # of a record of 140 sojourns
LEVELS = (-0.79, 1.12, 2.94)  # of the raw current, with no, one and two channels open


@dataclass(frozen=True)
class Record:
    """A file, how it is read, its resolution in ms, and how many channels there are."""

    file: str
    form: str
    resolution: float
    channels: int = 1
    schemes: tuple[tuple[int, int], ...] = SCHEMES


RECORDS = {
    "nicotinic 1": Record("nachr_hatton1.txt", "text", 0.025),
    "nicotinic 2": Record("nachr_hatton2.txt", "text", 0.025),
    "nicotinic 3": Record("nachr_hatton3.txt", "text", 0.025),
    "glycine 10 uM": Record("glyr_A-10.scn", "scn", 0.03),
    "glycine 30 uM": Record("glyr_B-30.scn", "scn", 0.03),
    "glycine 100 uM": Record("glyr_C-100.scn", "scn", 0.03),
    "glycine 1000 uM": Record("glyr_D-1000.scn", "scn", 0.03),
    "two channels": Record("deep_channel_unseen_biological.csv", "current", 0.03, 2, FEW),
}


def pieces(path: Path, form: str) -> list[Piece]:
    """What is in a file, cut where it cannot be one channel's, or one that was seen."""
    if form == "current":
        seconds, current = np.loadtxt(path, delimiter=",").T
        level = np.digitize(current, np.convolve(LEVELS, [0.5, 0.5], "valid")).astype(float)
        halves = np.array_split(np.arange(len(level)), 2)
        return [(1e3 * seconds[half], level[half]) for half in halves]
    if form == "text":
        _, duration, amplitude, flag = np.loadtxt(path).T
    else:  # version, offset and number; a title; durations, amplitudes and flags one after the other
        content = path.read_bytes()
        offset, number = (int(n) for n in np.frombuffer(content, "<i4", 2, 4))
        kinds, found, at = ("<f4", "<i2", "i1"), [], offset - 1
        for kind in kinds:
            found.append(np.frombuffer(content, kind, number, at).astype(float))
            at += number * np.dtype(kind).itemsize
        duration, amplitude, flag = found
    opened = (amplitude != 0).astype(float)
    cut = (flag.astype(int) & 8 != 0) | ((opened == 0) & (duration > LONGEST))
    result = []
    for part in np.split(np.arange(len(cut)), np.flatnonzero(cut)):
        own = part[~cut[part]]
        if len(own) > 1:
            result.append((np.append(0.0, np.cumsum(duration[own])), np.append(opened[own], opened[own[-1]])))
    return result


def network(shut: int, opened: int, channels: int, record: DwellRecord) -> sg.ReactionNetwork:
    """Shut states in a row, the first of which open; ``open`` counts the channels that are. Rates by guess."""
    species = (*(f"C{i}" for i in range(shut)), *(f"O{i}" for i in range(opened)), "open")
    gaps, stays = (record.duration[side] for side in (record.level == 0, record.level == 1))
    slow, long = np.quantile(gaps, np.linspace(0.2, 0.97, shut)), np.quantile(stays, np.linspace(0.3, 0.9, opened))
    steps = [(f"f{i}", f"C{i + 1}", f"C{i}", 1 / slow[i + 1]) for i in range(shut - 1)]
    steps += [(f"b{i}", f"C{i}", f"C{i + 1}", 0.3 / slow[i]) for i in range(shut - 1)]
    steps += [(f"o{i}", f"C{i}", f"O{i}", 1 / slow[i]) for i in range(opened)]
    steps += [(f"c{i}", f"O{i}", f"C{i}", 1 / long[i]) for i in range(opened)]
    jumps = np.zeros((len(species), len(steps)), int)
    for column, (_, before, after, _) in enumerate(steps):
        jumps[species.index(before), column] -= 1
        jumps[species.index(after), column] += 1
        jumps[-1, column] = after.startswith("O") - before.startswith("O")
    sources = [(name, species.index(before)) for name, before, _, _ in steps]

    def propensities(x: Any, p: Any) -> Any:
        return jnp.stack([p[name] * x[index] for name, index in sources])

    start = [channels] + [0] * (len(species) - 1)
    return sg.ReactionNetwork(jumps, propensities, start, {step[0]: step[3] for step in steps}, species=species)


def table(seen: Sequence[Piece], resolution: float) -> pd.DataFrame:
    """Pieces as a table to be fitted."""
    columns = [
        pd.DataFrame({"time": times, "open": levels, "open-resolution": resolution, "replicate": number})
        for number, (times, levels) in enumerate(seen)
    ]
    return pd.concat(columns, ignore_index=True)


def agreement(dwells: Dwells, values: np.ndarray) -> dict[str, float]:
    """R^2 of the histograms of a record, the ceiling that chance sets, and the share of time at levels above 0."""
    record, squares, noise, spread = dwells.record, 0.0, 0.0, 0.0
    off, chance, around = 0.0, 0.0, 0.0
    whole = ~np.isnan(record.after)
    levels = np.unique(record.level)
    for index, level in enumerate(levels):
        durations = record.duration[whole & (record.level == level)]
        decades = np.log10(durations.max() / record.resolution)
        edges = np.geomspace(record.resolution, durations.max(), int(np.ceil(BINS_A_DECADE * decades)) + 1)
        lasting = np.array(dwells.lasting(values, edges))[index]
        lasting[0], lasting[-1] = 1.0, 0.0
        seen = np.histogram(np.clip(durations, edges[0], edges[-1]), edges)[0]
        expected = -np.diff(lasting) * len(durations)
        squares += float(np.sum((seen - expected) ** 2))
        noise += float(np.sum(expected * (1 - expected / len(durations))))
        spread += float(np.sum((seen - seen.mean()) ** 2))
        number, each = len(durations), np.sort(durations)
        share = 1 - (np.arange(number) + 0.5) / number
        longer = np.array(dwells.lasting(values, each))[index]
        off += float(np.sum((share - longer) ** 2))
        chance += 1 / 6  # a sum over sojourns of p (1 - p) / number, whatever the law
        around += float(np.sum((share - share.mean()) ** 2))
    occupied = float(record.duration @ record.level / record.duration.sum())
    return {
        "r_squared": 1 - squares / spread,
        "ceiling": 1 - noise / spread,
        "r_squared_lasting": 1 - off / around,
        "ceiling_lasting": 1 - chance / around,
        "occupancy": occupied,
    }


def judged(name: str, folder: Path, schemes: Sequence[tuple[int, int]] = ()) -> list[dict[str, Any]]:
    """A row for each scheme, of a record or as given; the kept one is marked."""
    record = RECORDS[name]
    every = pieces(folder / record.file, record.form)
    fitted, held = every[::2], every[1::2]
    known, new = (DwellRecord.of("open", part, record.resolution) for part in (fitted, held))
    rows: list[dict[str, Any]] = []
    for shut, opened in schemes or record.schemes:
        model = network(shut, opened, record.channels, known)
        begun = clock.perf_counter()
        fit = sg.fit(model, table(fitted, record.resolution), dict.fromkeys(model.parameters, BOUNDS), loss="dwells")
        seconds, values = clock.perf_counter() - begun, fit.parameters["estimate"].to_numpy()
        differentiated = fit.problem.parts[0].problem  # type: ignore[attr-defined]
        sides = [Dwells(differentiated, part) for part in (known, new)]
        for side in sides:
            side.prepare(values)
        own, other = (agreement(side, values) for side in sides)
        rows.append(
            {
                "record": name,
                "scheme": f"C{shut}O{opened}",
                "rates": len(values),
                "sojourns": known.size,
                "held_out": new.size,
                "log_likelihood": float(fit.goodness["log_likelihood"]),
                "bic": float(fit.goodness["bic"]),
                "held_out_log_likelihood": sides[1].evaluate(values).value,
                "r_squared_fitted": own["r_squared"],
                "r_squared": other["r_squared"],
                "ceiling": other["ceiling"],
                "r_squared_lasting": other["r_squared_lasting"],
                "ceiling_lasting": other["ceiling_lasting"],
                "open": sides[1].at_rest(values)[0],
                "open_held_out": other["occupancy"],
                "converged": bool(fit.converged),
                "seconds": seconds,
            }
        )
        print(said(rows[-1]), flush=True)
    best = min(row["bic"] for row in rows)
    return [{**row, "kept": row["bic"] == best} for row in rows]


def said(row: dict[str, Any]) -> str:
    """A line of text."""
    ends = "" if row["converged"] else ", not converged"
    return (
        f"{row['record']} {row['scheme']}: BIC {row['bic']:.1f}, R^2 {row['r_squared']:.4f} of {row['held_out']} "
        f"sojourns held out (ceiling {row['ceiling']:.4f}), {row['r_squared_fitted']:.4f} of {row['sojourns']} fitted; "
        f"of how long they last {row['r_squared_lasting']:.4f} ({row['ceiling_lasting']:.4f}); "
        f"open {row['open']:.3f}, seen {row['open_held_out']:.3f}; {row['seconds']:.0f} s{ends}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each scheme of each record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Ion channels against records that were held out.")
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--records", default=",".join(RECORDS), help="which, by name")
    parser.add_argument("--schemes", default="", help="other ones, such as C3O2,C4O3")
    parser.add_argument("-o", "--output", help="JSON file, written after each record")
    options = parser.parse_args(given)
    schemes = [(int(shut), int(opened)) for shut, opened in re.findall(r"C(\d+)O(\d+)", options.schemes)]
    rows: list[dict[str, Any]] = []
    for name in options.records.split(","):
        rows += judged(name, options.data, schemes)
        if options.output:
            write(options.output, facts("ion_channels.py DATA", given[1:], 0), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
