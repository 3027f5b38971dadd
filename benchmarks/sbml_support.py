"""Write docs/sbml-support.md: which constructs of SBML work with which method, from runs of the SBML Test Suite.

The tables that it reads are written by `sbmlgrad testsuite CASES_DIR -o CSV`; that of BioModels has the columns
model, status (agrees, differs, refused, reference_failed, ...) and reason. Several reasons of one model or case
have ` | ` between them.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sbmlgrad.files import write_text

Row = Mapping[str, str]

METHODS = ("ode", "ssa")
EXAMPLES = 3
RESULT_COLUMNS = ("case", "status", "tags", "detail")
BIOMODELS_COLUMNS = ("model", "status", "reason")

INTRODUCTION = """\
# What of SBML is supported

The constructs of SBML by method, as the SBML Test Suite finds them: `ode`, deterministic simulation, by the semantic
cases, and `ssa`, exact stochastic simulation, by the stochastic ones. This page is not written by hand. With the
suite's cases in two folders, these commands make it:

```sh
sbmlgrad testsuite semantic -o semantic.csv
sbmlgrad testsuite stochastic -o stochastic.csv
python benchmarks/sbml_support.py {tables} -o docs/sbml-support.md
```
"""


def read_rows(path: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table that must have these columns; ends the program where it has not."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise SystemExit(f"error: {path}: cannot be read as a table ({error})") from None
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise SystemExit(f"error: {path}: no column {', '.join(missing)}; the first line must name the columns")
    return rows


def page(results: Mapping[str, Sequence[Row]], biomodels: Sequence[Row] | None) -> str:
    """The whole page; ``results`` are the rows of each method."""
    tables = "semantic.csv stochastic.csv" + (" biomodels.csv" if biomodels is not None else "")
    sections = [INTRODUCTION.format(tables=tables), *totals(results), *constructs(results), *skipped(results)]
    sections += failed(results)
    if biomodels is not None:
        sections += published_models(biomodels)
    return "\n".join(sections)


def totals(results: Mapping[str, Sequence[Row]]) -> list[str]:
    """How the cases of each method ended."""
    rows = []
    for method, cases in results.items():
        ended = Counter(case["status"] for case in cases)
        rows.append((f"`{method}`", len(cases), ended["passed"], ended["failed"], ended["skipped"]))
    return table(("method", "cases", "passed", "failed", "skipped"), rows)


def constructs(results: Mapping[str, Sequence[Row]]) -> list[str]:
    """For each tag of the suite, how many of the cases that have it pass by each method."""
    total: dict[str, Counter[str]] = {method: Counter() for method in results}
    passed: dict[str, Counter[str]] = {method: Counter() for method in results}
    for method, cases in results.items():
        for case in cases:
            tags = [tag for tag in case["tags"].split(";") if tag]
            total[method].update(tags)
            if case["status"] == "passed":
                passed[method].update(tags)
    rows = [
        (escape(tag), *(f"{passed[m][tag]}/{total[m][tag]}" if total[m][tag] else "" for m in results))
        for tag in sorted({tag for counts in total.values() for tag in counts})
    ]
    text = "Passed cases of all that have the tag. A case has several tags, and fails or is skipped for one of them.\n"
    return ["## Constructs\n", text, *table(("tag", *(f"`{method}`" for method in results)), rows)]


def skipped(results: Mapping[str, Sequence[Row]]) -> list[str]:
    """Why cases are not run, by method."""
    sections = ["## Skipped cases\n"]
    for method, cases in results.items():
        groups = grouped((case["case"], case["detail"]) for case in cases if case["status"] == "skipped")
        sections.append(f"### By `{method}`\n")
        sections += table(("reason", "cases", "for example"), groups) if groups else ["None.\n"]
    return sections


def failed(results: Mapping[str, Sequence[Row]]) -> list[str]:
    """Every failed case with its sentence."""
    lines = [
        f"- {case['case']} by `{method}`: {escape(without_folders(case['detail']))}"
        for method, cases in results.items()
        for case in cases
        if case["status"] == "failed"
    ]
    return ["## Failed cases\n", "\n".join([*(lines or ["None."]), ""])]


def published_models(rows: Sequence[Row]) -> list[str]:
    """How the models of BioModels ended, and why some are refused."""
    ended = Counter(row["status"] for row in rows)
    refused = grouped((row["model"], row["reason"]) for row in rows if row["status"] == "refused")
    sections = ["## BioModels\n", "Published models, deterministic simulation beside a reference simulator.\n"]
    sections += table(("status", "models"), [(escape(status), count) for status, count in ended.most_common()])
    if refused:
        sections += ["Why models are refused:\n", *table(("reason", "models", "for example"), refused)]
    return sections


def grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, int, str]]:
    """(reason, how many names, examples) of (name, reasons), the most frequent first; a name counts once a reason."""
    names: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name, reasons in pairs:
        for reason in reasons.split(" | "):
            names[general(reason)][name] = None
    ordered = sorted(names.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(escape(reason), len(groups), ", ".join(list(groups)[:EXAMPLES])) for reason, groups in ordered]


def general(reason: str) -> str:
    """A reason without what is special to one model: ids, which are quoted, and numbers. Package names stay."""
    text = re.sub(r"(?<!package )'[^']*'", "…", without_folders(reason))
    text = re.sub(r"\b\w+=", "…=", text)
    text = re.sub(r"(?<![\w.'])-?\d+(\.\d+)?(e[+-]?\d+)?(?![\w'])", "N", text)
    return re.sub(r"…(, …)+( and …)?", "…", text)


def without_folders(text: str) -> str:
    """Paths of files as their last part: where the cases lay says nothing."""
    return re.sub(r"(?<!\S)\S*[/\\](?=[^\s/\\]+\.\w+)", "", text)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["\n".join([*(f"| {' | '.join(map(str, line))} |" for line in lines), ""])]


def escape(text: str) -> str:
    """Text in which no character means anything to Markdown."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text)


def main() -> None:
    """Read the tables that are named, write the page."""
    parser = argparse.ArgumentParser(description="Write the page on what of SBML is supported, from tables of results.")
    parser.add_argument("semantic", metavar="SEMANTIC.csv", help="results of the semantic cases")
    parser.add_argument("stochastic", metavar="STOCHASTIC.csv", help="results of the stochastic cases")
    parser.add_argument("biomodels", metavar="BIOMODELS.csv", nargs="?", help="results of published models")
    parser.add_argument("-o", "--output", required=True, metavar="MD", help="where the page goes")
    given = parser.parse_args()
    paths = zip(METHODS, (given.semantic, given.stochastic), strict=True)
    results = {method: read_rows(path, RESULT_COLUMNS) for method, path in paths}
    biomodels = read_rows(given.biomodels, BIOMODELS_COLUMNS) if given.biomodels else None
    write_text(given.output, page(results, biomodels))


if __name__ == "__main__":
    main()
