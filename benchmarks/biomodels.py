"""Hold deterministic simulation of published models against libroadrunner, file by file; writes a table.

    python benchmarks/biomodels.py FOLDER_OR_FILES... -o biomodels.csv

Each model runs from 0 to 10 and from 0 to 100 with the values in its file, at 50 times. All species (as amounts) and
whatever else rules and events change are compared at every time: the difference may be 1e-4 of the value, plus 1e-9
of the largest value of the run, among all species for a species, among its own values for anything else. Where other
values are computed rather than followed, 1e-12 of the largest value of all is allowed too, which is what remains of
the difference of two of that size. A model that differs is tried again with the reference at other tolerances, and
the table says so. Species whose initial value the file leaves open are given the reference's, which is 0.

The columns of the table: model; status and reason (several have ` | ` between them); seconds to read, to compile
(a first simulation less a second one) and to run (the second); whether exact stochastic simulation is possible, and
why not. The statuses:

    agrees            as described above, to the last time to which both simulators get
    differs           the reason names variable, time and both values
    refused           the model uses what is not supported, or breaks the rules of SBML
    failed            simulation ended with an error of this package
    crashed, timeout  nothing came of it
    reference_failed  the reference does not load or simulate the model
"""

from __future__ import annotations

import argparse
import csv
import functools
import io
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

import sbmlgrad as sg
from sbmlgrad.errors import SbmlError, SbmlgradError, UnsupportedError
from sbmlgrad.files import write_text
from sbmlgrad.info import describe
from sbmlgrad.model import Model
from sbmlgrad.testsuite.workers import Lost, in_workers

COLUMNS = ("model", "status", "reason", "read_s", "compile_s", "run_s", "exact", "exact_reason")
ENDS = (10.0, 100.0)
POINTS = 50
RELATIVE = 1e-4
FLOOR = 1e-9
CANCELLED = 1e-12
MANY_STEPS = 1_000_000
MOST_REASONS = 5  # why exact simulation is not possible


@dataclass(frozen=True)
class Accuracy:
    """Settings of the reference: tolerances, the absolute one as a fraction of each variable's largest value."""

    relative: float = 1e-10
    absolute: float = 1e-12
    stiff: bool = True
    steps: int = 0  # at least so many to the end, for what changes by itself and could be stepped over

    def __str__(self) -> str:
        kind = "" if self.stiff else ", by Adams' method"
        return f"relative tolerance {self.relative:g}{kind}{f', {self.steps} steps or more' if self.steps else ''}"


BEST = Accuracy()
OTHERS = (  # for where the first one fails or differs
    Accuracy(1e-10, 1e-14, steps=2000),
    Accuracy(1e-12, 1e-15),
    Accuracy(1e-8, 1e-10),
    Accuracy(1e-10, 1e-12, stiff=False),
    Accuracy(1e-6, 1e-8),
)


@dataclass(frozen=True)
class Ours:
    """What this package makes of a file; ``courses`` are values (times, names) or errors, one for each end."""

    status: str = ""
    reason: str = ""
    read: float | None = None
    compile: float | None = None
    run: float | None = None
    exact: bool | None = None
    exact_reason: str = ""
    names: tuple[str, ...] = ()
    species: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()  # by assignment rules or events
    courses: tuple[np.ndarray | str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """How a model ended, and whether the reference got anywhere with it."""

    status: str
    reason: str = ""
    reference_runs: bool = False


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    model: str
    ours: Ours = field(repr=False)
    verdict: Verdict

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of ``COLUMNS``."""
        ours = self.ours
        seconds = ("" if value is None else f"{value:.3f}" for value in (ours.read, ours.compile, ours.run))
        exact = "" if ours.exact is None else ("yes" if ours.exact else "no")
        return (self.model, self.verdict.status, self.verdict.reason, *seconds, exact, ours.exact_reason)


# ---- this package ----------------------------------------------------------------------------------------


def compared(model: Model) -> tuple[str, ...]:
    """Species that can change, and parameters and compartments that rules or events change."""
    elements = model.elements
    moved = {*elements.assignment_rules, *elements.rate_rules, *elements.set_by_events}
    species = [item.id for item in elements.species.values() if item.id in moved or not item.boundary]
    return (*species, *(name for name in (*elements.parameters, *elements.compartments) if name in moved))


def unset(model: Model) -> dict[str, float]:
    """0 for each species whose initial value nothing in the file gives."""
    elements = model.elements
    assigned = {*elements.initial_assignments, *elements.assignment_rules}
    start = model.initial_values()
    return {name: 0.0 for name in elements.species if name not in assigned and math.isnan(start[name])}


def simulated(path: Path, ends: Sequence[float] = ENDS) -> Ours:
    """Read, simulate and time one file."""
    _begun()
    began = perf_counter()
    try:
        model = sg.read_sbml(path)
    except (UnsupportedError, SbmlError) as error:
        return Ours("refused", reason_of(error, path), perf_counter() - began)
    ours = Ours(read=perf_counter() - began)
    names = compared(model)
    species = frozenset(model.elements.species) & frozenset(names)
    computed = frozenset(names) - species - frozenset(model.elements.rate_rules)
    ours = replace(ours, names=names, species=species, computed=computed)
    values = unset(model)
    if values:
        ours = replace(ours, reason=f"{len(values)} species without an initial value start at 0 here")

    def course(end: float) -> np.ndarray:
        simulation = sg.simulate(model, np.linspace(0.0, end, POINTS), method="ode", select=names, parameters=values)
        return simulation.mean.to_numpy()

    courses: list[np.ndarray | str] = []
    began = perf_counter()
    try:
        courses.append(course(ends[0]))
        first = perf_counter() - began
        began = perf_counter()
        course(ends[0])
        ours = replace(ours, run=perf_counter() - began)
        ours = replace(ours, compile=first - (ours.run or 0.0))
        courses.extend(course(end) for end in ends[1:])
    except UnsupportedError as error:
        ours = replace(ours, status="refused", reason=reason_of(error, path))
    except SbmlgradError as error:
        if ours.compile is None:
            ours = replace(ours, compile=perf_counter() - began)
        courses.append(reason_of(error, path))
    exact, exact_reason = exactness(path)
    return replace(ours, courses=tuple(courses), exact=exact, exact_reason=exact_reason)


def exactness(path: Path) -> tuple[bool | None, str]:
    """Whether exact stochastic simulation is possible, and why not."""
    try:
        info = describe(path)
    except SbmlgradError as error:
        return None, reason_of(error, path)
    reasons = [*info.reasons[:MOST_REASONS]]
    if len(info.reasons) > len(reasons):
        reasons.append(f"and {len(info.reasons) - len(reasons)} more reasons")
    return info.exact, one_line(" | ".join(reasons))


@functools.cache
def _begun() -> None:
    """Start what a process starts once, so that the first model is not charged for it."""
    import jax
    import pandas as pd

    jax.jit(lambda x: x + 1.0)(np.zeros(1)).block_until_ready()
    pd.DataFrame({"a": [0.0]})


# ---- the reference ---------------------------------------------------------------------------------------


def reference_course(
    path: Path, names: Sequence[str], end: float, sizes: Mapping[str, float], how: Accuracy, points: int = POINTS
) -> np.ndarray:
    """Values (times, names) by libroadrunner; ``sizes`` are the largest absolute values to expect of them.

    Raises RuntimeError, with the reference's words, where it fails.
    """
    import roadrunner

    roadrunner.Logger.disableLogging()
    runner = roadrunner.RoadRunner(str(path))
    solver = runner.getIntegrator()
    solver.relative_tolerance = how.relative
    solver.absolute_tolerance = absolute_tolerances(runner, sizes, how)
    solver.maximum_num_steps = MANY_STEPS
    solver.stiff = how.stiff
    if how.steps:
        solver.maximum_time_step = end / how.steps
    with quiet():
        course = runner.simulate(0.0, end, points, ["time", *names])
    return np.array(course, dtype=np.float64)[:, 1:]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the words of a C library on standard error, which come by the thousand."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def absolute_tolerances(runner: Any, sizes: Mapping[str, float], how: Accuracy) -> list[float] | float:
    """One for each variable of the reference's state; nothing is known of those without a size."""
    states = len(runner.getIntegrator().getAbsoluteToleranceVector())
    ids = [runner.model.getStateVectorId(index) for index in range(states)]
    smallest = 1e-2 * how.absolute * max(sizes.values(), default=1.0) or 1e-14
    return [how.absolute * sizes[i] if sizes.get(i) else smallest for i in ids] or 1e-14


def refer(item: tuple[Path, Ours], ends: Sequence[float] = ENDS, patience: float = 40.0) -> Verdict:
    """Run the reference on a file and compare; ``patience`` is after how many seconds it is not tried again."""
    path, ours = item
    deadline = monotonic() + patience
    if not ours.courses:  # only whether it runs at all is of interest
        try:
            reference_course(path, (), ends[0], {}, OTHERS[-1])
        except Exception:
            return Verdict(ours.status, ours.reason)
        return Verdict(ours.status, ours.reason, reference_runs=True)
    verdicts: list[Verdict] = []
    for end, course in zip(ends, ours.courses, strict=False):
        verdict = judged(path, ours, end, course, deadline)
        verdicts.append(verdict)
        if verdict.status != "agrees":
            break
    last, notes = verdicts[-1], [ours.reason, *(verdict.reason for verdict in verdicts)]
    if last.status in ("reference_failed", "neither") and len(verdicts) > 1:
        notes[-1] = f"to time {ends[len(verdicts) - 2]:g}; beyond, {last.reason}"
        return Verdict("agrees", joined(notes), True)
    status = "failed" if last.status == "neither" else last.status
    return Verdict(status, joined(notes), last.reference_runs)


def judged(path: Path, ours: Ours, end: float, course: np.ndarray | str, deadline: float) -> Verdict:
    """One simulation held against the reference, at other settings too where they differ."""
    failures: list[str] = []
    differences: list[str] = []
    sizes = {} if isinstance(course, str) else largest(ours.names, course)
    for how in (BEST, *OTHERS):
        try:
            reference = reference_course(path, ours.names, end, sizes, how)
        except Exception as error:  # the reference raises whatever its C++ throws
            failures.append(one_line(f"{error}"))
        else:
            if isinstance(course, str):
                return Verdict("failed", f"{course} (the reference gets to time {end:g})", True)
            difference = worst(ours, end, course, reference)
            if not difference:
                return Verdict("agrees", f"with the reference at {how}, not at {BEST}" if differences else "", True)
            differences.append(f"{difference} (reference: {how})")
        if monotonic() > deadline:
            break
    if differences:
        return Verdict("differs", f"{differences[0]}; at other settings: {'; '.join(differences[1:])}", True)
    if isinstance(course, str):
        return Verdict("neither", f"{course} (the reference fails too: {failures[0]})")
    return Verdict("reference_failed", failures[0])


def largest(names: Sequence[str], course: np.ndarray) -> dict[str, float]:
    """The largest finite absolute value of each variable."""
    finite = np.where(np.isfinite(course), np.abs(course), 0.0)
    return dict(zip(names, finite.max(axis=0).tolist(), strict=True))


def worst(ours: Ours, end: float, course: np.ndarray, reference: np.ndarray) -> str:
    """The largest deviation in words, or nothing where all are small enough."""
    sizes = np.where(np.isfinite(reference), np.abs(reference), 0.0).max(axis=0, initial=0.0)
    species, computed = (
        np.array([name in group for name in ours.names], dtype=bool) for group in (ours.species, ours.computed)
    )
    floors = FLOOR * np.where(species, sizes[species].max(initial=0.0), sizes)
    floors += np.where(computed, CANCELLED * sizes.max(initial=0.0), 0.0)
    same = (course == reference) | (np.isnan(course) & np.isnan(reference))
    with np.errstate(all="ignore"):
        excess = np.abs(course - reference) / (RELATIVE * np.abs(reference) + floors)
    excess = np.where(same, 0.0, np.where(np.isnan(excess), np.inf, excess))
    if excess.size == 0 or excess.max() <= 1.0:
        return ""
    row, column = np.unravel_index(excess.argmax(), excess.shape)
    times = np.linspace(0.0, end, POINTS)
    first = int(np.argmax((excess > 1.0).any(axis=1)))
    here, there = course[row, column], reference[row, column]
    return (
        f"{ours.names[column]!r} at time {times[row]:g}: {here:.8g}, the reference has {there:.8g}; "
        f"{np.count_nonzero((excess > 1.0).any(axis=0))} of {len(ours.names)} variables differ, from time "
        f"{times[first]:g} of {end:g}"
    )


# ---- the whole ------------------------------------------------------------------------------------------


def results(paths: Sequence[Path], limit: float, processes: int | None = None) -> Iterator[Row]:
    """One row a file, in order; both simulators run in other processes and are given ``limit`` seconds each."""
    outcomes = [
        Ours(*lost(outcome, "crashed")) if isinstance(outcome, Lost) else outcome
        for outcome in _progress("sbmlgrad", paths, in_workers(simulated, paths, limit, processes))
    ]
    work = functools.partial(refer, patience=limit / 3)
    verdicts = in_workers(work, list(zip(paths, outcomes, strict=True)), limit, processes)
    for path, ours, verdict in zip(paths, outcomes, _progress("reference", paths, verdicts), strict=True):
        if isinstance(verdict, Lost):
            reason = lost(verdict, "")[1]
            verdict = Verdict("reference_failed", reason) if ours.courses else Verdict(ours.status, ours.reason)
        yield Row(path.stem, ours, verdict)


def lost(outcome: Lost, crashed: str) -> tuple[str, str]:
    """Status and reason of what a process did not get done."""
    return ("timeout" if outcome.reason.startswith("took") else crashed), one_line(outcome.reason)


def _progress(what: str, paths: Sequence[Path], outcomes: Iterable[Any]) -> Iterator[Any]:
    for index, outcome in enumerate(outcomes, start=1):
        if sys.stderr.isatty():
            print(f"\r{what}: {index} of {len(paths)}", end="\n" if index == len(paths) else "", file=sys.stderr)
        yield outcome


def files(given: Sequence[str], only: Sequence[str] | None) -> list[Path]:
    """The files that are named and those in folders that are; ``only`` holds parts of their names."""
    paths: list[Path] = []
    for name in given:
        path = Path(name)
        paths += sorted(path.glob("*.xml")) if path.is_dir() else [path]
    return [path for path in paths if not only or any(part in path.name for part in only)]


def reason_of(error: SbmlgradError, path: Path) -> str:
    """The words of an error without the path of the file."""
    if isinstance(error, UnsupportedError):
        return one_line(" | ".join(error.reasons))
    return one_line(str(error).removeprefix(f"{path}: "))


def joined(reasons: Iterable[str]) -> str:
    """Those that are not empty, each once, on one line."""
    return one_line(" | ".join(dict.fromkeys(reason for reason in reasons if reason)))


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())


def table(rows: Iterable[Row]) -> str:
    """All rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row.cells() for row in rows)
    return text.getvalue()


def summary(rows: Sequence[Row]) -> str:
    """Counts, the rate of agreement, and how long reading and compiling take."""
    counts = Counter(row.verdict.status for row in rows)
    lines = [f"{count:5d}  {status}" for status, count in counts.most_common()]
    runs = [row for row in rows if row.verdict.reference_runs]
    tried = [row for row in runs if row.verdict.status != "refused"]
    for text, among in (("where the reference runs", runs), ("of those, not refused", tried)):
        agree = sum(row.verdict.status == "agrees" for row in among)
        lines.append(f"{text}: {agree} of {len(among)} agree ({agree / max(1, len(among)):.1%})")
    exact = sum(row.ours.exact is True for row in rows)
    lines.append(f"exact stochastic simulation: {exact} of {len(rows)}")
    for text, seconds in (("reading and compiling", _waited), ("a run", lambda ours: ours.run)):
        lines.append(f"{text}: {_percentiles([seconds(row.ours) for row in rows])}")
    return "\n".join(lines)


def _waited(ours: Ours) -> float | None:
    return None if ours.read is None or ours.compile is None else ours.read + ours.compile


def _percentiles(seconds: Iterable[float | None]) -> str:
    times = [value for value in seconds if value is not None]
    if not times:
        return "no times"
    middle, high, most = np.percentile(times, [50, 95, 100])
    return f"median {middle:.2f} s, 95 % within {high:.2f} s, longest {most:.2f} s ({len(times)} models)"


def main(arguments: Sequence[str] | None = None, run: Callable[..., Iterator[Row]] = results) -> None:
    """Read the command line, run, write the table and print the summary."""
    parser = argparse.ArgumentParser(description="Hold deterministic simulation against libroadrunner.")
    parser.add_argument("models", nargs="+", metavar="FOLDER_OR_FILE", help="SBML files, or folders of *.xml")
    parser.add_argument("-o", "--output", required=True, metavar="CSV", help="where the table goes")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="time for one model (120)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only files whose name holds one of these")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many models run at once")
    given = parser.parse_args(arguments)
    paths = files(given.models, given.only)
    if not paths:
        raise SystemExit("error: no such files")
    rows = list(run(paths, given.limit, given.processes))
    write_text(given.output, table(rows))
    print(summary(rows))


if __name__ == "__main__":
    main()
