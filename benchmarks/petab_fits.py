"""Fits of published PEtab problems from common starts, beside pyPESTO with AMICI and fides.

    python benchmarks/petab_fits.py Benchmark-Models -o petab-fits.json
    python benchmarks/petab_fits.py Benchmark-Models --peer peers/bin/python -o petab-fits.json

takes problems of https://github.com/Benchmarking-Initiative/Benchmark-Models-PEtab from a folder, draws starts
between the bounds on the parameters' scales, and fits from them: at the default tolerances, with 500 evaluations for
each start at most. Said of each tool: the best objective (minus the log of likelihood, or of likelihood times prior),
how many starts came within 0.1 of the best that either tool found, and the processor's seconds that all searches
took, which other work on the machine does not lengthen as it does those on the clock; `taskset -c 0` gives both one
core. What comes before is told apart: for sbmlgrad a fit from the nominal values and two starts, in which everything
is compiled (the processor's seconds), for AMICI the import of the model (seconds on the clock, since compilers run on
their own). ``--peer`` names the interpreter of an environment with `pip install pypesto amici fides`; it runs
``petab_fits_pypesto.py`` for the problems one after the other, from the same starts.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import sbmlgrad as sg
from sbmlgrad.files import write_text
from sbmlgrad.petab.objective import coordinates
from sbmlgrad.petab.starts import draw_starts

PROBLEMS = ("Boehm_JProteomeRes2014", "Crauste_CellSystems2017", "Elowitz_Nature2000", "Sneyd_PNAS2002")
MOST = 500
NEAR = 0.1


def measure(path: Path, count: int, seed: int, peer: str | None) -> dict[str, Any]:
    """The figures of one problem."""
    problem = sg.read_petab(path)
    parameters = coordinates(problem.definition)
    starts = draw_starts(problem.definition, parameters, count, seed)
    begin = process_time()
    problem.fit(starts[:2], seed, nominal=True, evaluations=MOST)  # compiles
    ready = process_time()
    rows = problem.fit(starts, seed, evaluations=MOST).starts.sort_index()
    ended = process_time()
    result: dict[str, Any] = {
        "problem": path.stem,
        "parameters": len(parameters.names),
        "measurements": len(problem.definition.measurements),
        "nominal": -problem.evaluate().llh,
        "sbmlgrad": {
            "objectives": [None if math.isnan(value) else float(value) for value in rows["objective"]],
            "evaluations": [int(number) for number in rows["evaluations"]],
            "preparation_seconds": ready - begin,
            "search_seconds": ended - ready,
        },
    }
    if peer:
        result["pypesto"] = of_peer(path, parameters.names, starts.tolist(), peer)
    tools = [result[tool] for tool in ("sbmlgrad", "pypesto") if "objectives" in result.get(tool, {})]
    best = min(value for tool in tools for value in tool["objectives"] if value is not None)
    for tool in tools:
        found = [value for value in tool["objectives"] if value is not None]
        tool["best"] = min(found, default=None)
        tool["near_best"] = sum(value <= best + NEAR for value in found)
    return result


def of_peer(path: Path, names: tuple[str, ...], starts: list[list[float]], peer: str) -> dict[str, Any]:
    """What the peer's script says, or why it does not."""
    script = Path(__file__).resolve().with_name("petab_fits_pypesto.py")
    with tempfile.TemporaryDirectory() as folder:
        task, answer = Path(folder, "task.json"), Path(folder, "answer.json")
        task.write_text(json.dumps({"names": names, "starts": starts, "most": MOST}))
        run = [peer, str(script), str(path.resolve()), str(task), str(answer)]
        ended = subprocess.run(run, capture_output=True, text=True, cwd=folder, check=False)
        if not answer.is_file():
            return {"failed": ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else "no answer"}
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def main() -> None:
    """Measure, print a line for each problem and tool, and write all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--problem", action="append", help=f"one of the folder (default: {', '.join(PROBLEMS)})")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", help="the Python interpreter of an environment with pypesto and amici")
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    results = []
    for name in options.problem or PROBLEMS:
        path = options.folder / name / f"{name}.yaml"
        results.append(measure(path, options.starts, options.seed, options.peer))
        for tool in ("sbmlgrad", "pypesto"):
            if tool in results[-1]:
                told = {key: value for key, value in results[-1][tool].items() if not isinstance(value, list)}
                print(name, tool, told, flush=True)
        if options.output:
            content = {"starts": options.starts, "seed": options.seed, "version": sg.__version__, "problems": results}
            write_text(options.output, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
