"""What events, inputs over time and rate rules cost: exact simulation of one model with and without them.

    python benchmarks/known_times.py -o benchmarks/results/DATE-known-times.json

Birth and death with a stationary mean of 100 molecules runs from 0 to 100 with 21 observation times: as it is; with
ten doses of 50 molecules; with an event that sets the count back from 121 to 80; with a step in the rate of birth; with
a periodic one that jumps; with one that follows a rate rule. Speeds are reactions that fire in a second, the best of
three runs after a first one that compiles; ``ratio`` is that of the model as it is, in the same process.
"""

from __future__ import annotations

import argparse
import sys
import time as clock
from collections.abc import Sequence
from typing import Any

import numpy as np
from gradients import facts, write

import sbmlgrad as sg

MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math>'
TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
DOCUMENT = """<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="birth_death"
 substanceUnits="item" extentUnits="item"><listOfCompartments><compartment id="cell" spatialDimensions="3" size="1"
 constant="true"/></listOfCompartments><listOfSpecies><species id="X" compartment="cell" initialAmount="100"
 substanceUnits="item" hasOnlySubstanceUnits="true" boundaryCondition="false" constant="false"/></listOfSpecies>
<listOfParameters><parameter id="k" value="100" constant="{constant}"/><parameter id="g" value="1" constant="true"/>
</listOfParameters>{rules}<listOfReactions><reaction id="birth" reversible="false" fast="false"><listOfProducts>
<speciesReference species="X" stoichiometry="1" constant="true"/></listOfProducts><kineticLaw>{birth}</kineticLaw>
</reaction><reaction id="death" reversible="false" fast="false"><listOfReactants><speciesReference species="X"
 stoichiometry="1" constant="true"/></listOfReactants><kineticLaw>{death}</kineticLaw></reaction></listOfReactions>
{events}</model></sbml>"""
END, POINTS = 100.0, 21


def apply(operation: str, *arguments: str) -> str:
    """MathML of an operation."""
    return f"<apply><{operation}/>{''.join(arguments)}</apply>"


def document(birth: str = "<ci>k</ci>", rule: str = "", events: Sequence[tuple[str, str]] = ()) -> str:
    """The model with another rate of birth, a rate rule of k, and events (trigger, new X)."""
    listed = "".join(
        f'<event id="e{index}" useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">'
        f"{MATH.format(trigger)}</trigger><listOfEventAssignments>"
        f'<eventAssignment variable="X">{MATH.format(value)}</eventAssignment></listOfEventAssignments></event>'
        for index, (trigger, value) in enumerate(events)
    )
    ruled = f'<listOfRules><rateRule variable="k">{MATH.format(rule)}</rateRule></listOfRules>'
    return DOCUMENT.format(
        constant="false" if rule else "true",
        rules=ruled if rule else "",
        birth=MATH.format(birth),
        death=MATH.format(apply("times", "<ci>g</ci>", "<ci>X</ci>")),
        events=f"<listOfEvents>{listed}</listOfEvents>" if listed else "",
    )


def models() -> dict[str, str]:
    """The documents by name, the plain one first."""
    more = apply("plus", "<ci>X</ci>", "<cn>50</cn>")
    before = f"<piece><ci>k</ci>{apply('lt', TIME, '<cn>50</cn>')}</piece>"
    half = apply("floor", apply("divide", TIME, "<cn>2</cn>"))
    odd = apply("minus", apply("floor", TIME), apply("times", "<cn>2</cn>", half))
    return {
        "as it is": document(),
        "10 doses": document(events=[(apply("geq", TIME, f"<cn>{5 + 9 * i}</cn>"), more) for i in range(10)]),
        "event on counts": document(events=[(apply("gt", "<ci>X</ci>", "<cn>120</cn>"), "<cn>80</cn>")]),
        "step": document(f"<piecewise>{before}<otherwise><cn>150</cn></otherwise></piecewise>"),
        "periodic": document(apply("times", "<ci>k</ci>", apply("plus", "<cn>1</cn>", odd))),
        "rate rule": document(rule=apply("times", "<cn>-0.01</cn>", "<ci>k</ci>")),
    }


def measured(text: str, n: int) -> dict[str, Any]:
    """Seconds of the first call and of the fastest of three more, and reactions."""
    model, times = sg.read_sbml(text), np.linspace(0.0, END, POINTS)
    seconds, reactions = [], 0
    for seed in range(4):
        begun = clock.perf_counter()
        reactions = sg.simulate(model, times, n=n, seed=seed, keep_counts=False).events
        seconds.append(clock.perf_counter() - begun)
    best = min(seconds[1:])
    return {"first_s": seconds[0], "run_s": best, "reactions": reactions, "per_second": reactions / best}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each model."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="The speed of models with events and inputs over time.")
    parser.add_argument("-n", type=int, default=2000, help="trajectories")
    parser.add_argument("-o", "--output", help="JSON file")
    options = parser.parse_args(given)
    rows: list[dict[str, Any]] = []
    for name, text in models().items():
        row = {"model": name, **measured(text, options.n)}
        row["ratio"] = row["per_second"] / rows[0]["per_second"] if rows else 1.0
        rows.append(row)
        print(
            f"{name:16s} first {row['first_s']:6.2f} s, then {row['run_s']:7.3f} s: "
            f"{row['per_second'] / 1e6:7.2f} million reactions/s, ratio {row['ratio']:5.3f}",
            flush=True,
        )
    if options.output:
        write(options.output, facts("known_times.py", given, options.n), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
