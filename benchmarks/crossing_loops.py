"""Where the loop of sparse networks overtakes the plain one: both run the same networks, in seconds of all cores.

    python benchmarks/crossing_loops.py -o crossing_loops.json

Cascades, in which two propensities follow a firing; rings with pairs, in which a dozen do; and cascades whose species
vanish by Michaelis and Menten's law, no product. Each in several sizes, by 64 trajectories and by 1,024, second calls,
by turns. Seconds are of processor time in all threads, as other work on the machine would enter those of a clock.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import sbmlgrad as sg
from sbmlgrad.network.mass_action import mass_action_of
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.prepare import Prepared, prepare
from sbmlgrad.simulation.sparse import costs, run_sparse

SIZES = (10, 20, 40, 80, 160)
SHAPES = ("cascade", "ring", "enzymes")
FIRINGS = 4e6  # of all trajectories together, about
_MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">'


def document(shape: str, reactions: int) -> str:
    """A network of so many reactions, of which each fires about once in a unit of time and molecule."""
    count = reactions // 2
    laws: list[tuple[list[int], list[int], str]] = []
    for i in range(count):
        if shape == "ring":
            after = (i + 1) % count
            laws.append(([i], [after], _times("1", f"S{i}")))
            laws.append(([i, (i + 2) % count], [after, after], _times("0.01", f"S{i}", f"S{(i + 2) % count}")))
        else:
            made = "<cn>20</cn>" if not i else _times("1", f"S{i - 1}")
            laws.append(([i - 1] if i else [], [i - 1, i] if i else [0], made))
            below = f"<apply><plus/><cn>380</cn><ci>S{i}</ci></apply>"
            gone = f"<apply><divide/>{_times('400', f'S{i}')}{below}</apply>"
            laws.append(([i], [], gone if shape == "enzymes" else _times("1", f"S{i}")))
    species = "".join(
        f'<species id="S{i}" compartment="c" initialAmount="20" hasOnlySubstanceUnits="true" boundaryCondition="false" '
        'constant="false"/>'
        for i in range(count)
    )
    reacting = "".join(_reaction(f"R{j}", *law) for j, law in enumerate(laws))
    return (
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">'
        '<model substanceUnits="item" extentUnits="item" timeUnits="second"><listOfCompartments>'
        '<compartment id="c" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>'
        f"<listOfSpecies>{species}</listOfSpecies><listOfReactions>{reacting}</listOfReactions></model></sbml>"
    )


def _times(number: str, *species: str) -> str:
    return f"<apply><times/><cn>{number}</cn>{''.join(f'<ci>{name}</ci>' for name in species)}</apply>"


def _reaction(name: str, taken: Sequence[int], made: Sequence[int], law: str) -> str:
    def side(name: str, species: Sequence[int]) -> str:
        inside = "".join(f'<speciesReference species="S{s}" stoichiometry="1" constant="true"/>' for s in species)
        return f"<{name}>{inside}</{name}>" if species else ""

    sides = side("listOfReactants", taken) + side("listOfProducts", made)
    law = f"<kineticLaw>{_MATH}{law}</math></kineticLaw>"
    return f'<reaction id="{name}" reversible="false" fast="false">{sides}{law}</reaction>'


def measured(prepared: Prepared, n: int, repeats: int) -> dict[str, float]:
    """Nanoseconds of a firing in each loop, medians; what is compiled is not in it."""
    network, data = prepared.network, mass_action_of(prepared.network)
    assert data is not None
    total = float(data.propensities(np.round(prepared.counts)[:, None], data.numbers(prepared.coefficients)).sum())
    times = np.array([FIRINGS / n / total])
    took: dict[str, list[float]] = {"sparse": [], "plain": []}
    for seed in range(repeats + 1):
        for name, loop in (("sparse", lambda e: run_sparse(e, data)), ("plain", run)):
            ensemble = Ensemble(network, prepared.counts, prepared.coefficients, times, n, seed)
            begin = time.process_time()
            fired = sum(chunk.events for chunk in loop(ensemble))
            if seed:  # the first call compiles
                took[name].append(1e9 * (time.process_time() - begin) / fired)
    return {name: round(statistics.median(values), 1) for name, values in took.items()}


def rows(shapes: Sequence[str], sizes: Sequence[int], counts: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """One for each network and number of trajectories."""
    for shape in shapes:
        for size in sizes:
            prepared = prepare(sg.read_sbml(document(shape, size)))
            data = mass_action_of(prepared.network)
            assert data is not None
            here, plain = costs(data)
            for n in counts:
                row = {"shape": shape, "reactions": size, "updates": round(data.updates, 1), "n": n}
                row |= {"expected": [round(here, 1), round(plain, 1)], **measured(prepared, n, repeats)}
                print(json.dumps(row), flush=True)
                yield row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--trajectories", default="64,1024")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args(arguments)
    sizes, counts = ([int(part) for part in text.split(",")] for text in (given.sizes, given.trajectories))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/crossing_loops.py",
        "versions": {name: version(name) for name in ("sbmlgrad", "numba", "jax", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "rows": list(rows(given.shapes.split(","), sizes, counts, given.repeats)),
    }
    if given.output:
        given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
