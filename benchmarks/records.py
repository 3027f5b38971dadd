"""Make the page of recorded figures from the files in `benchmarks/results`.

    python benchmarks/records.py -o docs/records.md

Every record stands there with its date, its command, its machine and versions, and its tables, the newest first. Long
tables are cut, and lists within a row left out: the file has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
COMMAND = "python benchmarks/records.py -o docs/records.md"
ROWS = 12  # of a table
NOT_RECORDED = "not recorded"
MACHINE = ("card", "device", "processor", "machine", "platform", "cores")
REMARKS = ("note", "remark", "mended since")

HEAD = f"""# Records

What benchmarks have measured, as it stands in [benchmarks/results](../benchmarks/results): each figure with the command
that gave it and the machine. Made by `{COMMAND}`; do not edit. A speed says
something beside another of the same run, and little beside one of another machine or of one that had other work.
"""


def page(folder: Path = RESULTS) -> str:
    """The page, of all records of a folder."""
    files = sorted(folder.glob("*.json"))
    files.sort(key=lambda path: path.name[:10], reverse=True)
    return "\n".join([HEAD, *(line for path in files for line in section(path))])


def section(path: Path) -> Iterator[str]:
    """The lines of one record."""
    record = json.loads(path.read_text(encoding="utf-8"))
    about = {**record, **record.get("facts", {}), **record.get("versions", {})}
    yield f"## {path.stem[11:].replace('-', ' ')}, {path.name[:10]}\n"
    command = about.get("command", NOT_RECORDED)
    yield f"- **Command**: `{command}`" if command is not NOT_RECORDED else f"- **Command**: {command}"
    machine = [f"{key} {short(about[key])}" for key in MACHINE if key in about]
    yield f"- **Machine**: {', '.join(machine) or NOT_RECORDED}"
    known = {"facts", "versions", "command", "date", *MACHINE, *REMARKS}
    rest = {key: value for key, value in record.items() if key not in known}
    stated = {**{k: v for k, v in about.items() if k not in known and k not in rest}, **scalars(rest)}
    yield f"- **Versions and settings**: {', '.join(f'{k} {short(v)}' for k, v in stated.items()) or NOT_RECORDED}"
    for key in REMARKS:
        if key in about:
            yield f"- **{key.capitalize()}**: {short(about[key])}"
    yield f"- **File**: [{path.name}](../benchmarks/results/{path.name})\n"
    for key, value in rest.items():
        yield from tables(key, value)


def tables(name: str, value: Any) -> Iterator[str]:
    """What is not said in a line: lists of rows, and rows by the names that lead to them."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        yield from table(name, value)
    elif isinstance(value, dict):
        if plain := scalars(value):
            yield f"{name}: {', '.join(f'{key} {short(item)}' for key, item in plain.items())}\n"
        yield from table(name, [{"": key, **scalars(row)} for key, row in within(value) if scalars(row)])
        for holder, row in [(name, value), *((f"{name}, {key}", row) for key, row in within(value))]:
            for key, item in row.items():
                if isinstance(item, list):
                    yield from tables(f"{holder}, {key}", item)


def within(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows within others, by the names that lead to them."""
    for key, row in value.items():
        if isinstance(row, dict):
            yield f"{path}{key}", row
            yield from within(row, f"{path}{key}, ")


def table(name: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table of what is plain in the first rows; nothing where nothing is."""
    columns = list(dict.fromkeys(key for row in rows for key in scalars(row)))
    if not set(columns) - {""}:
        return
    cut = f" (the first {ROWS} of {len(rows)})" if len(rows) > ROWS else ""
    yield f"{name}{cut}:\n"
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows[:ROWS]:
        yield f"| {' | '.join(short(row[key]) if key in scalars(row) else '' for key in columns)} |"
    yield ""


def scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row fits into a cell."""
    return {key: value for key, value in row.items() if not isinstance(value, (dict, list))}


def short(value: Any) -> str:
    """Numbers to four digits; text on one line that breaks no table."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "; ".join(map(short, value))
    return " ".join(str(value).split()).replace("|", "\\|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description="Make the page of recorded figures.")
    parser.add_argument("-o", "--output", metavar="MD", help="where the page goes; printed if not given")
    given = parser.parse_args(arguments)
    text = page()
    if given.output:
        Path(given.output).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
