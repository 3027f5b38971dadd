"""Hold solutions of files that other tools wrote against libroadrunner, file by file; writes a table as JSON.

    python benchmarks/other_tools.py FILES... -o other-tools.json [--root FOLDER] [--end 100] [--limit SECONDS]

Each file runs from 0 to the end at 51 times, by the rate equations with the values in it, at tolerances far below what
is compared: all species, as amounts, and whatever else rules and events change. A difference is relative to the value
of the reference, or to a thousandth of the largest value of the same variable where that is more; what stays below
1e-12 of the largest of all species counts as nothing. Both simulators run in processes of their own and are given
``--limit`` seconds for each file. A row has the file (below ``--root``), the tool that wrote it, by the marks that it
leaves there, and one of these statuses:

    agrees            to 1e-6; ``difference`` is the largest
    differs           by more; ``where`` has variable, time and both values
    refused           here, with the reason; ``reference`` says whether libroadrunner runs it
    failed, lost      here, with the reason, or nothing came of it
    reference failed  libroadrunner does not load or run it
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from biomodels import Accuracy, compared, largest, reason_of, reference_course, unset

import sbmlgrad as sg
from sbmlgrad.errors import SbmlError, SbmlgradError, UnsupportedError
from sbmlgrad.files import write_text
from sbmlgrad.testsuite.workers import Lost, in_workers

AGREEMENT = 1e-6
POINTS = 51
AT_ONCE = 8  # files, by one process
SMALL, NOTHING = 1e-3, 1e-12  # of the largest value of a variable; of all species
PREFIXES = (1000, 20_000)  # characters of a file in which a tool names itself; in which its annotations begin
MARKS = (  # what tools write into their files; the first that is there counts
    ("iBioSim", "ibiosim|async.ece.utah"),
    ("BioNetGen", "Created by BioNetGen"),
    ("VCell", "sourceforge.net/projects/vcell"),
    ("COPASI", "Created by COPASI|www.copasi.org"),
    ("Antimony", "libAntimony"),
    ("CellDesigner", "celldesigner"),
    ("SBMLsqueezer", "squeezer"),
    ("sbmlutils", "sbmlutils"),
    ("SimBiology", "simbiology"),
    ("MathSBML", "mathsbml"),
    ("JDesigner", "jdesigner|sys-bio.org/sbml"),
    ("Jarnac", "jarnac"),
    ("Gepasi", "gepasi"),
    ("JWS Online", r"jjj\.(bio|mib)|jws"),
    ("PottersWheel", "potterswheel"),
    ("CellML", "cellml"),
    ("SBToolbox", "sbtoolbox"),
    ("MOCCASIN", "moccasin"),
    ("SBMLeditor", "sbmleditor"),
    ("cobra", "cobra"),
    ("tellurium", "tellurium"),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Course:
    """The solution of a file here: values (times, names), or why there is none."""

    status: str
    reason: str = ""
    names: tuple[str, ...] = ()
    species: frozenset[str] = frozenset()
    values: np.ndarray | None = None


def tool_of(text: str) -> str:
    """The tool that left its marks in a file: by what is said at the beginning, else by its annotations."""
    for length in PREFIXES:
        for tool, pattern in MARKS:
            if re.search(pattern, text[:length], re.IGNORECASE):
                return tool
    return "unknown"


def solved(path: Path, end: float) -> Course:
    """Read and simulate one file."""
    try:
        model = sg.read_sbml(path)
        names = compared(model)
        simulation = sg.simulate(
            model,
            np.linspace(0.0, end, POINTS),
            method=sg.ODE(rtol=1e-10),
            select=names,
            parameters=unset(model),
        )
    except SbmlgradError as error:
        refused = isinstance(error, UnsupportedError | SbmlError)
        return Course("refused" if refused else "failed", reason_of(error, path))
    species = frozenset(model.elements.species) & frozenset(names)
    return Course("solved", "", names, species, simulation.mean.to_numpy())


def judged(item: tuple[Path, Course], end: float) -> Row:
    """The row of a file: its solution held against the reference's."""
    path, course = item
    if course.values is None:
        return {"status": course.status, "reason": course.reason, "reference": _runs(path, end)}
    sizes = largest(course.names, course.values)
    best: Row = {}
    for accuracy in (Accuracy(1e-12, 1e-15), Accuracy(1e-10, 1e-14, steps=2000), Accuracy(1e-10, 1e-12, stiff=False)):
        try:
            reference = reference_course(path, course.names, end, sizes, accuracy, POINTS)
        except Exception as error:  # the reference raises whatever its C++ throws
            best = best or {"status": "reference failed", "reason": " ".join(f"{error}".split())}
            continue
        row = _compared(course, reference, end)
        if "difference" not in best or row["difference"] < best["difference"]:
            best = row
        if best["status"] == "agrees":
            break
    return best


def _compared(course: Course, reference: np.ndarray, end: float) -> Row:
    assert course.values is not None
    sizes = np.abs(np.where(np.isfinite(reference), reference, 0.0)).max(axis=0, initial=0.0)
    of_species = np.array([name in course.species for name in course.names], bool)
    nothing = NOTHING * np.where(of_species, sizes[of_species].max(initial=0.0), sizes)
    same = (course.values == reference) | (np.isnan(course.values) & np.isnan(reference))
    with np.errstate(all="ignore"):
        off = np.abs(course.values - reference)
        relative = off / np.maximum(np.abs(reference), SMALL * sizes)
    relative = np.where(same | (off <= nothing), 0.0, np.where(np.isnan(relative), np.inf, relative))
    if not relative.size:
        return {"status": "agrees", "difference": 0.0, "variables": 0}
    index, column = np.unravel_index(relative.argmax(), relative.shape)
    worst = float(relative[index, column])
    row = {"status": "agrees" if worst <= AGREEMENT else "differs", "difference": worst, "variables": len(course.names)}
    if worst > AGREEMENT:
        values = course.values[index, column], reference[index, column]
        time = end * index / (POINTS - 1)
        row["where"] = f"{course.names[column]} at time {time:g}: {values[0]:.10g}, the reference has {values[1]:.10g}"
    return row


def _runs(path: Path, end: float) -> str:
    """Whether the reference runs a file, in words."""
    try:
        reference_course(path, (), end, {}, Accuracy(1e-6, 1e-8))
    except Exception as error:
        return " ".join(f"fails: {error}".split())
    return "runs"


def rows(paths: Sequence[Path], root: Path, end: float, limit: float) -> Iterator[Row]:
    """One row a file, in order: first some are solved here, then the reference runs them."""
    for first in range(0, len(paths), AT_ONCE):
        yield from _some_rows(paths[first : first + AT_ONCE], root, end, limit)


def _some_rows(paths: Sequence[Path], root: Path, end: float, limit: float) -> Iterator[Row]:
    outcomes = in_workers(partial(solved, end=end), paths, limit, 1)
    courses = [Course("lost", item.reason) if isinstance(item, Lost) else item for item in outcomes]
    items = list(zip(paths, courses, strict=True))
    for (path, course), row in zip(items, in_workers(partial(judged, end=end), items, limit, 1), strict=True):
        if isinstance(row, Lost):
            lost = course.values is None
            row = {"status": course.status if lost else "reference failed", "reason": course.reason or row.reason}
        text = path.read_text(encoding="utf-8", errors="replace")
        yield {"file": path.relative_to(root).as_posix(), "tool": tool_of(text), **row}


def summary(table: Sequence[Row]) -> Row:
    """How many ended how, the tools, and which are refused though the reference runs them."""
    return {
        "files": len(table),
        "statuses": dict(Counter(row["status"] for row in table).most_common()),
        "tools": dict(Counter(row["tool"] for row in table).most_common()),
        "not here, but the reference runs": [row["file"] for row in table if row.get("reference") == "runs"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, and write the table after each file."""
    parser = argparse.ArgumentParser(description="Hold files of other tools against libroadrunner.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="SBML documents")
    parser.add_argument("-o", "--output", required=True, metavar="JSON")
    parser.add_argument("--root", type=Path, default=Path(), metavar="FOLDER", help="what file names are given below")
    parser.add_argument("--end", type=float, default=100.0, metavar="T", help="the time to which they run (100)")
    parser.add_argument("--limit", type=float, default=90.0, metavar="SECONDS", help="time for a simulator (90)")
    given = parser.parse_args(arguments)
    versions = {name: version(name) for name in ("sbmlgrad", "libroadrunner", "python-libsbml")}
    head = {"date": f"{date.today()}", "command": "python benchmarks/other_tools.py FILES... -o JSON --root FOLDER"}
    table: list[Row] = []
    for row in rows(given.files, given.root, given.end, given.limit):
        table.append(row)
        text = {**head, "versions": versions, "end": given.end, "summary": summary(table), "rows": table}
        write_text(given.output, json.dumps(text, indent=1) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)
    print(json.dumps(summary(table), indent=1))


if __name__ == "__main__":
    main()
