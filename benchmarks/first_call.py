"""What happens before the first number: imports, reading, and everything to the end of the command line.

    python benchmarks/first_call.py [MODEL.xml ...] [--cascades 1000,10000,58000] -o first_call.json

Each figure is of a process of its own, in seconds of processor time in user mode and in megabytes at most: importing
what the command line needs, reading cascades of species that make the next and vanish, and ``sbmlgrad simulate`` and
``sbmlgrad info`` of the models, twice each with a cache of compiled loops that is empty at first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_IMPORTS = {
    "libsbml": "import libsbml",
    "sympy": "import sympy",
    "pandas": "import pandas",
    "jax": "import jax, jax.numpy",
    "all four": "import libsbml, sympy, pandas, jax, jax.numpy",
    "simulate": "import sbmlgrad.cli, pandas, sbmlgrad.simulation.snapshots, sbmlgrad.sbml.read",
}
_READ = "import sys, sbmlgrad.sbml.read as read; len(sys.argv) > 1 and read.read_sbml(sys.argv[1])"
_MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">'
_SPECIES = 'compartment="c" initialAmount="0" hasOnlySubstanceUnits="true" boundaryCondition="false" constant="false"'


def measured(command: Sequence[str], cache: str = "") -> dict[str, float]:
    """Seconds in user mode and megabytes of a command that must succeed."""
    # a process of its own between, since a process keeps the largest size of all its children
    count = (
        "import json, resource, subprocess, sys;"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); used = resource.getrusage"
        "(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([done.returncode, used.ru_utime, used.ru_maxrss / 1024]))"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": cache} if cache else None
    said = subprocess.run(
        [sys.executable, "-c", count, *command], env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    status, seconds, size = json.loads(said.stdout)
    if status:
        raise SystemExit(f"error: {' '.join(command)} ended with status {status}")
    return {"seconds": round(seconds, 3), "megabytes": round(size)}


def cascade(reactions: int) -> str:
    """A document in which each species makes the next, and vanishes."""

    def side(name: str, *species: str) -> str:
        inside = "".join(f'<speciesReference species="{s}" stoichiometry="1" constant="true"/>' for s in species)
        return f"<listOf{name}>{inside}</listOf{name}>" if species else ""

    def reaction(name: str, taken: Sequence[str], made: Sequence[str]) -> str:
        law = "<ci>k</ci>" if not taken else f"<apply><times/><ci>k</ci><ci>{taken[0]}</ci></apply>"
        sides = side("Reactants", *taken) + side("Products", *made)
        law = f"<kineticLaw>{_MATH}{law}</math></kineticLaw>"
        return f'<reaction id="{name}" reversible="false" fast="false">{sides}{law}</reaction>\n'

    count = reactions // 2
    species = "".join(f'<species id="S{i}" {_SPECIES}/>\n' for i in range(count))
    makes = (
        reaction(f"M{i}", [f"S{i - 1}"] if i else [], [f"S{i - 1}", f"S{i}"] if i else ["S0"]) for i in range(count)
    )
    vanish = (reaction(f"D{i}", [f"S{i}"], []) for i in range(count))
    return (
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">'
        '<model substanceUnits="item" extentUnits="item" timeUnits="second"><listOfCompartments>'
        '<compartment id="c" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>\n'
        f'<listOfSpecies>{species}</listOfSpecies><listOfParameters><parameter id="k" value="1" constant="true"/>'
        f"</listOfParameters><listOfReactions>{''.join(makes)}{''.join(vanish)}</listOfReactions></model></sbml>\n"
    )


def reading(cascades: Sequence[int], folder: Path) -> list[dict[str, float]]:
    """Cascades of so many reactions, less what importing takes."""
    nothing = measured([sys.executable, "-c", _READ])["seconds"]
    rows = []
    for reactions in cascades:
        path = folder / f"cascade{reactions}.xml"
        path.write_text(cascade(reactions), encoding="utf-8")
        row = measured([sys.executable, "-c", _READ, str(path)])
        row["seconds"] = round(row["seconds"] - nothing, 3)
        rows.append({"reactions": reactions, **row, "microseconds_each": round(1e6 * row["seconds"] / reactions)})
    return rows


def commands(model: Path, end: float, cache: str) -> dict[str, Any]:
    """The command line on a model: simulate twice, info once."""
    run = [sys.executable, "-m", "sbmlgrad"]
    simulate = [*run, "simulate", str(model), "--end", str(end), "--points", "2", "-n", "1"]
    first, second = measured(simulate, cache), measured(simulate, cache)
    return {"simulate": first, "simulate again": second, "info": measured([*run, "info", str(model)], cache)}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--cascades", default="1000,10000,58000")
    parser.add_argument("--end", type=float, default=1e-4, help="to which time models are simulated")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("jax", "sympy", "pandas", "python-libsbml")},
            "imports": {name: measured([sys.executable, "-c", code]) for name, code in _IMPORTS.items()},
            "reading": reading([int(part) for part in given.cascades.split(",")], Path(folder)),
            "models": {
                model.stem if model.stem != "model" else model.parent.name: commands(
                    model, given.end, str(Path(folder) / f"cache{index}")
                )
                for index, model in enumerate(given.models)
            },
        }
    text = json.dumps(result, indent=2)
    if given.output:
        given.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
