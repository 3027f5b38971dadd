"""A benchmark beside an earlier one, as it was recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from sbmlgrad.errors import SbmlgradError

KEYS = ["model", "task", "tool"]
SPEED, RATIO = "million_events_per_second", "ratio"
_SAME = ("processor", "device", "cores")  # without these, speeds say little beside each other


@dataclass(frozen=True)
class Record:
    """What a benchmark wrote: what it says of itself, and a table with a row for each measurement."""

    path: str
    facts: Mapping[str, str]
    rows: pd.DataFrame


def read_record(path: str | os.PathLike[str]) -> Record:
    """Read what ``sbmlgrad benchmark -o`` wrote.

    Raises :class:`SbmlgradError` for another file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        facts, rows = dict(record["facts"]), pd.DataFrame(record["results"])
        rows = rows[[*KEYS, SPEED, RATIO]].astype({SPEED: float, RATIO: float})
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no record of a benchmark"
        raise SbmlgradError(f"{path}: {reason}; take a file that `sbmlgrad benchmark -o` wrote") from None
    return Record(str(path), {str(key): str(value) for key, value in facts.items()}, rows)


def compared(earlier: Record, facts: Mapping[str, str], table: pd.DataFrame) -> Iterator[str]:
    """Lines that say how fast each measurement is beside the earlier one, and ratios to other simulators.

    Ratios are of one run, and so hold on another machine and under other load; speeds do not.
    """
    yield f"\nbeside {earlier.path} of {earlier.facts.get('date', 'no date')}"
    other = [f"{key} {earlier.facts[key]}" for key in _SAME if earlier.facts.get(key, facts[key]) != facts[key]]
    if other:
        yield f"  that was another machine ({', '.join(other)}): speeds say little, ratios to other simulators more"
    both = table[[*KEYS, SPEED, RATIO]].merge(earlier.rows, on=KEYS, how="left", suffixes=("", " before"))
    for row in both.to_dict("records"):
        name = f"  {row['model']:18s} {row['task']:10s} {row['tool']:42s}"
        if pd.isna(row[f"{SPEED} before"]):
            yield f"{name} not measured then"
            continue
        change = row[SPEED] / row[f"{SPEED} before"]
        line = f"{name} {change:6.2f} x the speed"
        if not row["tool"].startswith("sbmlgrad"):
            line += f"; ours is {row[RATIO]:.1f} x its speed, was {row[f'{RATIO} before']:.1f} x"
        yield line
