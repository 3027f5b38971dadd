"""What happens before the first number: imports, reading, and everything to the end of the command line.

    python benchmarks/first_call.py [MODEL.xml ...] [--cascades 1000,10000,58000] [--sites 5] -o first_call.json

Each figure is of a process of its own, in seconds of processor time in user mode and in megabytes at most: importing
what the command line needs, reading cascades of species that make the next and vanish, and ``sbmlgrad simulate`` and
``sbmlgrad info`` of the models, twice each with a cache of compiled loops that is empty at first. Of a molecule with so
many sites of five states each, all forms are one more model, such as rules expand to: 62,500 reactions between 3,130
species for five sites, about as many as the published network fceri_gamma2 has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
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
_SPECIES = 'compartment="c" hasOnlySubstanceUnits="true" boundaryCondition="false" constant="false"'


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


def _side(name: str, species: Sequence[str]) -> str:
    inside = "".join(f'<speciesReference species="{s}" stoichiometry="1" constant="true"/>' for s in species)
    return f"<listOf{name}>{inside}</listOf{name}>" if species else ""


def _reaction(name: str, taken: Sequence[str], made: Sequence[str]) -> str:
    law = "".join(f"<ci>{factor}</ci>" for factor in ("k", *taken))
    law = f"<kineticLaw>{_MATH}<apply><times/>{law}</apply></math></kineticLaw>"
    sides = _side("Reactants", taken) + _side("Products", made)
    return f'<reaction id="{name}" reversible="false" fast="false">{sides}{law}</reaction>\n'


def _document(amounts: Mapping[str, int], reactions: Iterable[str]) -> str:
    species = "".join(
        f'<species id="{name}" initialAmount="{amount}" {_SPECIES}/>\n' for name, amount in amounts.items()
    )
    return (
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">'
        '<model substanceUnits="item" extentUnits="item" timeUnits="second"><listOfCompartments>'
        '<compartment id="c" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>\n'
        f'<listOfSpecies>{species}</listOfSpecies><listOfParameters><parameter id="k" value="1" constant="true"/>'
        f"</listOfParameters><listOfReactions>{''.join(reactions)}</listOfReactions></model></sbml>\n"
    )


def cascade(reactions: int) -> str:
    """A document in which each species makes the next, and vanishes."""
    count = reactions // 2
    makes = (
        _reaction(f"M{i}", [f"S{i - 1}"] if i else [], [f"S{i - 1}", f"S{i}"] if i else ["S0"]) for i in range(count)
    )
    vanish = (_reaction(f"D{i}", [f"S{i}"], []) for i in range(count))
    return _document({f"S{i}": 0 for i in range(count)}, [*makes, *vanish])


def forms(sites: int, states: int = 5) -> str:
    """A document of a molecule in all its forms: at each of its sites each state turns into each other.

    From state 0 of a site to state 1, a ligand of this site is bound, and it is free again on the way back.
    """

    def reactions() -> Iterator[str]:
        for form in product(range(states), repeat=sites):
            for site, old in enumerate(form):
                for new in set(range(states)) - {old}:
                    other = (*form[:site], new, *form[site + 1 :])
                    bound = [f"L{site}"] if (old, new) == (0, 1) else []
                    free = [f"L{site}"] if (old, new) == (1, 0) else []
                    yield _reaction(f"{_form(form)}to{_form(other)}", [_form(form), *bound], [_form(other), *free])

    amounts = {_form(form): 0 for form in product(range(states), repeat=sites)}
    amounts[_form((0,) * sites)] = 200
    return _document({**{f"L{site}": 100 for site in range(sites)}, **amounts}, reactions())


def _form(states: Iterable[int]) -> str:
    return "R" + "".join(map(str, states))


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
    parser.add_argument("--sites", type=int, default=0, help="of the molecule whose forms are one more model")
    parser.add_argument("--end", type=float, default=1e-4, help="to which time models are simulated")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = list(given.models)
        if given.sites:
            models.append(Path(folder) / f"forms{given.sites}.xml")
            models[-1].write_text(forms(given.sites), encoding="utf-8")
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
                for index, model in enumerate(models)
            },
        }
    text = json.dumps(result, indent=2)
    if given.output:
        given.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
