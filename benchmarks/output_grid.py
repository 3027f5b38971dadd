"""How far solutions of published models depend on the output grid, file by file; writes a table.

    python benchmarks/output_grid.py FOLDER_OR_FILES... -o grid.csv [--against before.csv]

The rate equations of each model run from 0 to 100 with 51 and with 501 output times, and are compared at the 51 times
that both have. A difference counts where it is more than 1e-12 of the variable's largest value; the table gives the
largest relative one. ``--against`` compares steps and seconds with an earlier table, model by model.

The columns: model; status (ran, refused, failed, timeout, crashed); the largest relative difference with its variable
and time; steps of the solver and seconds of a second run with 51 output times; seconds of the first one, with
compilation.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from biomodels import compared, reason_of, unset

import sbmlgrad as sg
from sbmlgrad.errors import SbmlError, SbmlgradError, UnsupportedError
from sbmlgrad.simulation.deterministic import prepare_equations, steps_taken
from sbmlgrad.testsuite.workers import Lost, in_workers

END = 100.0
COARSE, TIMES_FINER = 50, 10
FLOOR = 1e-12
LIMIT = 1e-5


@dataclass(frozen=True)
class Row:
    """One model: how it ended, how far it depends on the grid, and what it took."""

    model: str
    status: str
    difference: float = math.nan
    where: str = ""
    steps: int = 0
    run_s: float = math.nan
    first_s: float = math.nan


def examined(path: Path, end: float = END) -> Row:
    """Solve one file on both grids."""
    name = path.stem
    try:
        model = sg.read_sbml(path)
        names = compared(model)
        values = unset(model)
    except (UnsupportedError, SbmlError) as error:
        return Row(name, "refused", where=reason_of(error, path))
    coarse, fine = (np.linspace(0.0, end, number + 1) for number in (COARSE, COARSE * TIMES_FINER))

    def course(times: np.ndarray) -> np.ndarray:
        return sg.simulate(model, times, method="ode", select=names, parameters=values).mean.to_numpy()

    try:
        began = perf_counter()
        rough = course(coarse)
        first = perf_counter() - began
        began = perf_counter()
        course(coarse)
        run = perf_counter() - began
        steps = steps_taken(*prepare_equations(model, values, names), coarse)
        exact = course(fine)[::TIMES_FINER]
    except UnsupportedError as error:
        return Row(name, "refused", where=reason_of(error, path))
    except SbmlgradError as error:
        return Row(name, "failed", where=reason_of(error, path))
    difference, where = largest_difference(names, coarse, rough, exact)
    return Row(name, "ran", difference, where, steps, run, first)


def largest_difference(
    names: Sequence[str], times: np.ndarray, one: np.ndarray, other: np.ndarray
) -> tuple[float, str]:
    """The largest relative difference beyond the floor, of values (times, names), and where it is."""
    sizes = np.maximum(np.abs(one), np.abs(other))
    with np.errstate(all="ignore"):
        apart = np.abs(one - other)
        relative = np.where(apart > FLOOR * np.nanmax(sizes, axis=0, initial=0.0), apart / sizes, 0.0)
    if relative.size == 0 or not np.nanmax(relative) > 0:
        return 0.0, ""
    row, column = (int(index) for index in np.unravel_index(np.nanargmax(relative), relative.shape))
    return float(
        relative[row, column]
    ), f"{names[column]} at {times[row]:g}: {one[row, column]:.9g}, {other[row, column]:.9g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--against")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one model")
    parser.add_argument("--processes", type=int)
    options = parser.parse_args(arguments)
    files = sorted(f for path in options.models for f in (path.glob("*.xml") if path.is_dir() else [path]))
    rows: list[Row] = []
    with open(options.output, "w", newline="", encoding="utf-8") as handle:
        table = csv.DictWriter(handle, [item.name for item in fields(Row)])
        table.writeheader()
        for path, row in zip(
            files, in_workers(partial(examined), files, options.limit, options.processes), strict=True
        ):
            rows.append(Row(path.stem, "lost", where=row.reason) if isinstance(row, Lost) else row)
            table.writerow(asdict(rows[-1]))
            handle.flush()
    over = [row for row in rows if row.difference > LIMIT]
    for row in sorted(over, key=lambda row: -row.difference):
        print(f"{row.model}: {row.difference:.2g}, {row.where}")
    print(f"{len(over)} of {len(rows)} differ by more than {LIMIT:g};", dict(Counter(row.status for row in rows)))
    if options.against:
        print(compared_with(rows, options.against))
    return 0


def compared_with(rows: Sequence[Row], path: str) -> str:
    """Steps and seconds beside those of an earlier table, over the models that ran in both."""
    with open(path, newline="", encoding="utf-8") as handle:
        before = {row["model"]: row for row in csv.DictReader(handle) if row["status"] == "ran"}
    both = [(row, before[row.model]) for row in rows if row.status == "ran" and row.model in before]
    steps = np.array([row.steps / max(1, int(old["steps"])) for row, old in both])
    seconds = np.array([[row.run_s, float(old["run_s"])] for row, old in both])
    total = sum(row.steps for row, _ in both) / sum(int(old["steps"]) for _, old in both)
    return (
        f"{len(both)} models ran before and now: steps {np.median(steps):.2f} times in the median, {total:.2f} in all; "
        f"seconds {np.median(seconds[:, 0] / seconds[:, 1]):.2f} times in the median, "
        f"{seconds[:, 0].sum() / seconds[:, 1].sum():.2f} in all"
    )


if __name__ == "__main__":
    sys.exit(main())
