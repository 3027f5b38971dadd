"""Runs that take more than a minute: whether each says so before it begins.

    python benchmarks/announcements.py FILES... -o announcements.json [--expected 90] [--limit 65]

Each model is simulated by the command line on one core, as many trajectories as are expected to take ``--expected``
seconds, compiling included, up to the time at which 1e5 reactions have fired in each. A run is stopped after
``--limit`` seconds of computing; one that comes that far has taken more than a minute, and should have said so before.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from forecasts import END, LONG, MOST, dynamics_of

import sbmlgrad as sg
from sbmlgrad.cores import use_cores
from sbmlgrad.files import write_text
from sbmlgrad.simulation.dynamics import Dynamics
from sbmlgrad.simulation.forecast import Forecast, forecast, seconds

Row = dict[str, Any]
_MOST_TRAJECTORIES = 2**30


def as_many(dynamics: Dynamics, ahead: Forecast, expected: float) -> int:
    """How many trajectories are expected to take so many seconds, or a little more."""
    n = 1
    while sum(seconds(dynamics, ahead, n)) < expected and n < _MOST_TRAJECTORIES:
        n = math.ceil(1.25 * n)
    return n


def told(path: Path, expected: float, limit: float) -> Row:
    """One run: what was expected of it, what it said, and how long it went on."""
    dynamics = dynamics_of(sg.read_sbml(path))
    end = forecast(dynamics, 0.0, END, MOST).limit_at or END
    ahead = forecast(dynamics, 0.0, end, 1e8)
    n = as_many(dynamics, ahead, expected)
    line = f"--end {float(end)!r} --points 2 -n {n} --seed 1 --jobs 1".split()
    limited = ["sh", "-c", f'ulimit -t {math.ceil(limit)}; exec "$@"', "sh"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as said:
        ended = subprocess.run(
            [*limited, sys.executable, "-m", "sbmlgrad", "simulate", str(path), *line],
            stdout=subprocess.DEVNULL,
            stderr=said,
            check=False,
        )
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for line in text.splitlines() if "which takes about" in line]
    return {
        "model": path.stem,
        "end": float(end),
        "n": n,
        "expected_s": [round(float(part), 1) for part in seconds(dynamics, ahead, n)],
        "computed_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "ended": ended.returncode == 0,
        "said": lines[0].replace(str(path), path.name) if lines else "",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, and write the table after each file."""
    parser = argparse.ArgumentParser(description="Whether runs of more than a minute say so before.")
    parser.add_argument("models", nargs="+", metavar="FILE", type=Path)
    parser.add_argument("-o", "--output", required=True, metavar="JSON")
    parser.add_argument("--expected", type=float, default=90.0, metavar="SECONDS")
    parser.add_argument("--limit", type=float, default=65.0, metavar="SECONDS")
    given = parser.parse_args(arguments)
    use_cores(1)
    rows: list[Row] = []
    for path in given.models:
        rows.append(told(path, given.expected, given.limit))
        print(json.dumps(rows[-1]), file=sys.stderr)
        long = [row for row in rows if row["computed_s"] > LONG]
        made = {"date": date.today().isoformat(), "sbmlgrad": sg.__version__, "limit": given.limit}
        summary = {"above 60 s of computing": len(long), "of those announced": sum(bool(row["said"]) for row in long)}
        write_text(given.output, json.dumps({**made, "summary": summary, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
