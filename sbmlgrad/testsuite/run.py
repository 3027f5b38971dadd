"""Runs of the SBML Test Suite, whatever the kind of its cases, and tables of how they ended."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sbmlgrad.files import write_text
from sbmlgrad.testsuite import semantic, stochastic
from sbmlgrad.testsuite.cases import CaseResult, case_folders, kind_of

COLUMNS = ("case", "status", "seconds", "tags", "detail")


def run_cases(
    folder: str | Path, cases: Sequence[str] | None, n: int, seed: int, simulate: Any, limit: float
) -> Iterator[CaseResult]:
    """Run the named cases in ``folder``, or all of them, each as its settings ask.

    ``n`` and ``seed`` are for stochastic cases, ``limit`` (seconds for a case) is for semantic ones; see the
    ``run_cases`` of each kind.

    Raises
    ------
    TableError
        if ``folder`` holds no cases, or not one that is named.
    """
    for kind, group in groupby(case_folders(folder, cases), kind_of):
        names = [path.name for path in group]
        if kind == "stochastic":
            yield from stochastic.run_cases(folder, names, n, seed, simulate)
        else:
            yield from semantic.run_cases(folder, names, simulate, limit)


def summary(results: Iterable[CaseResult]) -> list[str]:
    """Lines of a table: for each tag the cases that have it, and how many of them passed, failed, were skipped."""
    ended: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        for tag in result.tags:
            ended[tag].update(("cases", result.status))
    heads = ("cases", "passed", "failed", "skipped")
    width = max(map(len, ("tag", *ended)))
    lines = [[f"{'tag':{width}}", *heads]]
    for tag, counts in sorted(ended.items()):
        lines.append([f"{tag:{width}}", *(f"{counts[head]:{len(head)}d}" for head in heads)])
    return ["  ".join(line) for line in lines]


def write_results(results: Iterable[CaseResult], path: str | Path) -> None:
    """Write the table ``case,status,seconds,tags,detail``; tags are separated by semicolons."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        seconds = f"{result.seconds:.3f}"
        writer.writerow((result.case, result.status, seconds, ";".join(result.tags), result.detail))
    write_text(path, text.getvalue())
