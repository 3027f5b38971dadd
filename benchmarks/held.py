"""How often intervals hold the truth: what benchmarks of error bars count, and runs of them put together.

    python benchmarks/held.py part1.json part2.json -o whole.json

pools runs of one benchmark on other data sets (``--first``): rows that say the same of what was fitted become one.
Coverage comes with the two standard deviations that chance leaves; z is how far an estimate is off, in its standard
errors.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from gradients import facts, write
from scipy.stats import norm

Kind = TypeVar("Kind")  # of data

COUNTED = ("sets", "coverage", "two_sd", "mean_z", "median_z", "rms_z", "unknown", "warned", "seconds")


class Tally:
    """Fits to data sets of one kind."""

    def __init__(self) -> None:
        self.sets: list[Mapping[str, tuple[bool, float]]] = []
        self.seconds: list[float] = []
        self.warned: list[bool] = []

    def add(self, parameters: Mapping[str, tuple[bool, float]], seconds: float, warned: bool) -> None:
        """One fit: for each parameter whether its interval holds the truth, and z (nan where there is none)."""
        self.sets.append(parameters)
        self.seconds.append(seconds)
        self.warned.append(warned)

    def rows(self, about: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A row for each parameter, that begins with what was fitted."""
        rows = []
        for name in self.sets[0] if self.sets else ():
            held, z = zip(*(parameters[name] for parameters in self.sets), strict=True)
            rows.append(row({**about, "parameter": name}, held, z, self.seconds, self.warned))
        return rows


def row(
    about: Mapping[str, Any],
    held: Sequence[bool],
    z: Sequence[float],
    seconds: Sequence[float],
    warned: Sequence[bool],
) -> dict[str, Any]:
    """What is said of one parameter, with what it was counted from."""
    known = np.array([value for value in z if value is not None and np.isfinite(value)])
    return {
        **about,
        "sets": len(held),
        "coverage": float(np.mean(held)),
        "two_sd": 2 * float(np.sqrt(0.95 * 0.05 / len(held))),
        "mean_z": float(known.mean()),
        "median_z": float(np.median(known)),
        "rms_z": float(np.sqrt(np.mean(np.square(known)))),
        "unknown": 1 - len(known) / len(held),
        "warned": float(np.mean(warned)),
        "seconds": float(np.median(seconds)),
        "each": {
            "held": [int(value) for value in held],
            "z": [float(f"{v:.3f}") if v is not None and np.isfinite(v) else None for v in z],
            "seconds": [float(f"{v:.2f}") for v in seconds],
            "warned": [int(value) for value in warned],
        },
    }


def within(row: Any, truth: float) -> tuple[bool, float]:
    """Whether the interval of a row of ``fit.parameters`` holds the truth, and z on a logarithmic scale, in units of a
    standard error by the width of the interval."""
    width = np.log(row["ci_upper"] / row["ci_lower"]) / (2 * norm.ppf(0.975))
    return bool(row["ci_lower"] <= truth <= row["ci_upper"]), float(np.log(row["estimate"] / truth) / width)


def told(one: Mapping[str, Any]) -> str:
    """A row as a line to be printed."""
    about = " ".join(str(value) for key, value in one.items() if key not in (*COUNTED, "each"))
    return (
        f"{about}: {one['coverage']:.1%} of {one['sets']} sets, "
        f"z {one['mean_z']:+.2f} (median {one['median_z']:+.2f}), rms {one['rms_z']:.2f}, "
        f"{one['unknown']:.1%} unknown, {one['warned']:.1%} warned, {one['seconds']:.1f} s a fit"
    )


def numbers(first: int, sets: int, minutes: float | None) -> Iterator[int]:
    """The numbers of data sets, until so many minutes are over."""
    begun = perf_counter()
    for number in range(first, first + sets):
        if minutes is not None and perf_counter() - begun > 60 * minutes:
            return
        yield number


def asked(about: str) -> argparse.ArgumentParser:
    """The options that all benchmarks of error bars have."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--sets", type=int, default=200, help="data sets of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first data set, which is its seed")
    parser.add_argument("--minutes", type=float, help="of each kind, after which no fit begins")
    parser.add_argument("-o", "--output", help="JSON file, written after each kind")
    return parser


def judge(
    script: str,
    parser: argparse.ArgumentParser,
    kinds: Callable[[argparse.Namespace], Iterable[Kind]],
    judged: Callable[[Kind, argparse.Namespace], list[dict[str, Any]]],
    arguments: Sequence[str] | None,
) -> int:
    """The command line of a benchmark: prints a line for each row of each kind of data, and writes them all."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)
    rows: list[dict[str, Any]] = []
    for kind in kinds(options):
        rows += (judgements := judged(kind, options))
        for one in judgements:
            print(told(one), flush=True)
        if options.output:
            write(options.output, facts(script, given, getattr(options, "n", 0)), rows)
    return 0


def pooled(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row in the place of those that say the same of what was fitted."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in rows:
        about = {key: value for key, value in one.items() if key not in (*COUNTED, "each")}
        groups.setdefault(json.dumps(about), []).append(one["each"])
    columns = ("held", "z", "seconds", "warned")
    return [
        row(json.loads(about), *([value for part in parts for value in part[column]] for column in columns))
        for about, parts in groups.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each parameter of each kind of data."""
    parser = argparse.ArgumentParser(description="Runs of one benchmark of error bars, put together.")
    parser.add_argument("files", nargs="+", help="JSON files of runs on other data sets")
    parser.add_argument("-o", "--output", help="JSON file")
    options = parser.parse_args(arguments)
    runs = [json.loads(Path(file).read_text(encoding="utf-8")) for file in options.files]
    rows = pooled(one for run in runs for one in run["rows"])
    for one in rows:
        print(told(one))
    if options.output:
        commands = sorted({run["facts"]["command"] for run in runs})
        write(options.output, {**runs[0]["facts"], "command": "; ".join(commands)}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
