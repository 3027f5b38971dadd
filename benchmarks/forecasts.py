"""Hold forecasts of how many reactions fire against what then happens, file by file; writes a table as JSON.

    python benchmarks/forecasts.py FOLDER_OR_FILES... -o forecasts.json [--part 1/8] [--limit SECONDS] [--again]

Each model that simulates exactly is asked for time 0 to 100 with the values in its file. Where more than 1e5 reactions
would fire in a trajectory, it runs only as far as so many do, by the forecast itself. Eight trajectories then run, and
the reactions that fired in them, on the average, are held against the forecast for the same time: it agrees where the
two are within a factor of 3, or differ by fewer than 10. Where time 100 is refused as hopeless, the seconds from the
model as read to the refusal are kept.

Beside that stand the seconds that compiling and running were expected to take, and the seconds of computing that they
took (nothing compiled is taken from the cache), and whether a run of more than a minute was announced.

A table that is there already is added to, so that it can be made in parts, and what did not come to its end runs again
where there is a larger limit; with ``--again``, its runs are kept and held against new forecasts.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import numpy as np

import sbmlgrad as sg
from sbmlgrad.errors import LongRunWarning, SbmlgradError, TruncationError, UnsupportedError
from sbmlgrad.files import write_text
from sbmlgrad.model import Model
from sbmlgrad.network.compiled import use_nothing_kept
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.simulation.dynamics import Dynamics, of_network, of_process
from sbmlgrad.simulation.forecast import Forecast, forecast, seconds
from sbmlgrad.simulation.prepare import prepare
from sbmlgrad.simulation.sparse import suited
from sbmlgrad.testsuite.workers import Lost, in_workers

END = 100.0
MOST = 1e5  # reactions in a trajectory that runs
TRAJECTORIES = 8
ALLOWED = 10_000_000
FACTOR, FEW = 3.0, 10.0
SOON = 10.0  # seconds, of which it does not matter how many they are
LONG = 60.0  # seconds, of which one is to be told before
_WAITING = 15  # times the limit, by the clock, for a process that shares its core
SHORT = 3.0  # seconds, that are spent again to tell running from compiling

Row = dict[str, Any]


def held(limit: float, path: Path, before: Row | None = None) -> Row:
    """One row: the forecast, and what happens within so many seconds of computing, or what happened ``before``."""
    warnings.simplefilter("ignore")
    use_nothing_kept()
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(process_time() + limit), most))  # beyond, the process is ended
    row: Row = {"model": path.stem}
    try:
        model = sg.read_sbml(path)
        dynamics = dynamics_of(model)
    except SbmlgradError as error:
        return {**row, "status": "not exact" if isinstance(error, UnsupportedError) else "not read"}
    if not dynamics.channels:
        return {**row, "status": "not exact"}  # nothing reacts
    row.update(refusal(model))
    ahead = forecast(dynamics, 0.0, END, MOST)
    end = ahead.limit_at or END
    if before is not None:
        end = before.get("end", end)
    begun = process_time()
    ahead = forecast(dynamics, 0.0, end, 1e8)
    row["forecast_s"] = round(process_time() - begun, 3)
    row.update(end=float(end), forecast=float(ahead.firings), complete=bool(ahead.complete))
    row.update(expected(dynamics, ahead))
    if before is not None:
        return {**row, **{key: before[key] for key in _RAN if key in before}, "status": _status(row, before)}
    return {**row, **ran(path, model, end, row)}


_RAN = ("fired", "reason", "computed_s", "again_s", "wall_s", "announced")


def _status(row: Row, before: Row) -> str:
    if "fired" not in before:
        return str(before["status"])
    return "agrees" if agree(row["forecast"], before["fired"]) else "off"


def ran(path: Path, model: Model, end: float, row: Row) -> Row:
    """What happens to trajectories to ``end``, what it takes, and what is said before."""
    did: Row = {}
    times = process_time(), monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LongRunWarning)
        try:
            simulation = sg.simulate(model, [end], n=TRAJECTORIES, seed=1, keep_counts=False, max_events=ALLOWED)
        except SbmlgradError as error:
            status = "too many" if isinstance(error, TruncationError) else "failed"
            did = {"status": status, "reason": str(error).replace(str(path), path.name).removeprefix(f"{path.name}: ")}
        else:
            fired = float(simulation.events / TRAJECTORIES)
            did = {"fired": fired, "status": "agrees" if agree(row["forecast"], fired) else "off"}
    did["announced"] = any(issubclass(warning.category, LongRunWarning) for warning in caught)
    did.update(computed_s=round(process_time() - times[0], 2), wall_s=round(monotonic() - times[1], 2))
    if "fired" in did and did["computed_s"] < SHORT:
        begun = process_time()
        sg.simulate(model, [end], n=TRAJECTORIES, seed=1, keep_counts=False, max_events=ALLOWED)
        did["again_s"] = round(process_time() - begun, 2)
    return did


def _renewed(rows: dict[str, Row], limit: float, path: Path) -> Row:
    return held(limit, path, rows[path.stem])


def dynamics_of(model: Model) -> Dynamics:
    """The mean dynamics of a model as it is in its file, as what simulates it sees them."""
    if only_counts(model):
        prepared = prepare(model)
        dynamics = of_network(prepared.network, prepared.counts, prepared.coefficients)
        as_data = suited(prepared.network, None, prepared.coefficients)
        return dynamics if as_data is None else replace(dynamics, updates=as_data.updates)
    process = jump_process(chemistry_of(model))
    return of_process(process, np.array(list(process.quantities.values())))


def expected(dynamics: Dynamics, ahead: Forecast) -> Row:
    """The seconds that are expected, for compiling and for running, and what they were expected by."""
    compiling, running = seconds(dynamics, ahead, TRAJECTORIES)
    return {
        "kind": "sparse" if dynamics.updates is not None else "counts" if dynamics.only_counts else "flows",
        "timed": bool(dynamics.timed),
        "events": dynamics.events is not None,
        "operations": int(dynamics.nodes),
        "channels": int(dynamics.channels),
        "variables": len(dynamics.state),
        "steps": int(ahead.steps),
        "compiling_s": round(float(compiling), 2),
        "running_s": round(float(running), 2),
    }


def refusal(model: Model) -> Row:
    """Whether time 100 is refused before anything runs, and after how many seconds of computing on one core."""
    before = process_time()
    fresh = model.with_parameters({})  # of which nothing has been made yet
    ahead = forecast(dynamics_of(fresh), 0.0, END, 1e8)
    return {"refused_s": round(process_time() - before, 3)} if ahead.hopeless else {}


def agree(forecast: float, fired: float) -> bool:
    """Whether two numbers of reactions are as good as the same."""
    return abs(forecast - fired) < FEW or max(forecast, fired) <= FACTOR * min(forecast, fired)


def _right(row: Row) -> bool:
    """Whether the forecast was good, also of a run that was given up because of more reactions than are allowed."""
    return row["status"] == "agrees" or (row["status"] == "too many" and row["forecast"] > ALLOWED / FACTOR)


def _estimated(row: Row) -> float:
    return float(row["compiling_s"] + row["running_s"])


def _timely(row: Row) -> bool:
    """Whether a run took about the seconds that were expected, or few of either."""
    took, expected = row["computed_s"], _estimated(row)
    return max(took, expected) <= FACTOR * min(took, expected) or max(took, expected) < SOON


def summary(rows: Sequence[Row]) -> Row:
    """What is to be read off the table."""
    compared = [row for row in rows if row["status"] in ("agrees", "off", "too many")]
    agreeing = sum(_right(row) for row in compared)
    ran = [row for row in compared if "computed_s" in row and row["status"] != "too many"]
    late = [row for row in rows if row["status"] == "out of time" and "compiling_s" in row]
    refusals = [row["refused_s"] for row in rows if "refused_s" in row]
    return {
        "files": len(rows),
        "compared": len(compared),
        "within a factor of 3, or 10 reactions": agreeing,
        "of more than 100 reactions": sum(max(row["forecast"], row.get("fired", 0)) > 100 for row in compared),
        "of those within a factor of 3": sum(
            _right(row) for row in compared if max(row["forecast"], row.get("fired", 0)) > 100
        ),
        "refused to time 100": len(refusals),
        "longest until refused, seconds": max(refusals, default=None),
        "runs to their end": len(ran),
        "of those in the time expected, within a factor of 3 or 10 s": sum(map(_timely, ran)),
        "of those above 60 s of computing": sum(row["computed_s"] > LONG for row in ran),
        "of those announced": sum(row["computed_s"] > LONG and row["announced"] for row in ran),
        "not at their end within the limit": len(late),
        "of these expected to take above 60 s, and announced": sum(_estimated(row) > LONG for row in late),
        "not compared": {
            status: sum(row["status"] == status for row in rows)
            for status in sorted({row["status"] for row in rows} - {"agrees", "off", "too many"})
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, and write the table after each file."""
    parser = argparse.ArgumentParser(description="Hold forecasts against what then happens.")
    parser.add_argument("models", nargs="+", metavar="FOLDER_OR_FILE")
    parser.add_argument("-o", "--output", required=True, metavar="JSON")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every N-th file, beginning with the I-th")
    parser.add_argument("--limit", type=float, default=60.0, metavar="SECONDS", help="computing for one model (60)")
    parser.add_argument("--again", action="store_true", help="other forecasts for runs that are in the table")
    parser.add_argument("--processes", type=int, default=1, help="how many models run at once")
    given = parser.parse_args(arguments)
    paths = [path for name in given.models for path in (sorted(Path(name).glob("*.xml")) or [Path(name)])]
    first, step = map(int, given.part.split("/"))
    output = Path(given.output)
    rows: dict[str, Row] = {}
    if output.exists():
        rows = {row["model"]: row for row in json.loads(output.read_text(encoding="utf-8"))["rows"]}
    done = {name for name, row in rows.items() if given.again or row.get("limit_s", math.inf) >= given.limit}
    paths = [path for path in paths[first - 1 :: step] if (path.stem in done) == given.again]
    work = partial(_renewed, rows, given.limit) if given.again else partial(held, given.limit)
    for path, row in zip(paths, in_workers(work, paths, _WAITING * given.limit, given.processes), strict=True):
        if not isinstance(row, Lost):
            rows[path.stem] = row
        elif not given.again:
            ended = "crashed" if "SIGXCPU" not in row.reason else "out of time"
            rows[path.stem] = {"model": path.stem, "status": ended, "reason": row.reason, "limit_s": given.limit}
        ordered = sorted(rows.values(), key=lambda item: str(item["model"]))
        write_text(
            str(output), json.dumps({"summary": summary(ordered), "rows": ordered}, indent=1, default=float) + "\n"
        )
        print(json.dumps(rows[path.stem]), file=sys.stderr)
    print(json.dumps(summary(list(rows.values())), indent=1))


if __name__ == "__main__":
    main()
