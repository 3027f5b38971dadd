"""Kinetic laws of published models against libroadrunner, at the initial state and at three random ones."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbmlgrad.errors import UnsupportedError
from sbmlgrad.model import Model
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import delayed
from sbmlgrad.network.formulas import formulas, undefined
from sbmlgrad.sbml.read import read_sbml

roadrunner = pytest.importorskip("roadrunner", reason="libroadrunner is not installed")

DATA = Path(os.environ.get("SBMLGRAD_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILES = sorted((DATA / "biomodels").glob("*.xml"))
FEW = {f"BIOMD{number:010d}" for number in range(1, 200, 8)}  # 25 of them: kept in the default run

RELATIVE = 1e-9
FLOOR = 1e-14  # of the largest rate in the model: a law that is a difference can cancel to rounding errors

# Species without an initial value: not a number here, but 0 in libroadrunner. So 0 is set for them.
UNSET = {"BIOMD0000000113": ["W_star"]}


@pytest.mark.skipif(not FILES, reason=f"no models at {DATA / 'biomodels'}; set SBMLGRAD_DATA to the data folder")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem in FEW else [pytest.mark.slow]) for path in FILES],
)
def test_rates_are_those_of_roadrunner(path: Path) -> None:
    try:
        model = read_sbml(path)
    except UnsupportedError as error:
        pytest.skip(f"unsupported: {error.reasons[0]}")
    unknown = undefined(model.elements)
    if unknown:
        pytest.skip(f"no method simulates it: {unknown[0]}")
    if any(formula.has(delayed) for _, formula in formulas(model.elements)):
        pytest.skip("libroadrunner does not know delays")
    if happens_at_once(model):
        pytest.skip("libroadrunner executes the events of time 0 when it loads a model")
    model = model.with_parameters(dict.fromkeys(UNSET.get(path.stem, []), 0.0))
    reference = roadrunner.RoadRunner(str(path))
    random = np.random.default_rng(int(path.stem.removeprefix("BIOMD")))
    for state in ({}, *(random_state(model, random) for _ in range(3))):
        for identifier, value in state.items():
            reference[identifier if means_amount(model, identifier) else f"[{identifier}]"] = value
        compare(model, state, reference)


def happens_at_once(model: Model) -> bool:
    """Whether an event is triggered at time 0."""
    start = model.initial_values()
    return any(not event.initial_value and evaluate(event.trigger, start) for event in model.elements.events)


def random_state(model: Model, random: np.random.Generator) -> dict[str, float]:
    """Floating species, as their symbols mean them, at 0.5 to 2 times their initial value."""
    start = model.initial_values()
    return {
        species.id: start[species.id] * random.uniform(0.5, 2.0)
        for species in model.elements.species.values()
        if not species.boundary and not species.constant and species.id not in model.elements.assignment_rules
    }


def means_amount(model: Model, identifier: str) -> bool:
    species = model.elements.species[identifier]
    return species.only_substance_units or model.elements.compartments[species.compartment].dimensions == 0


def compare(model: Model, state: dict[str, float], reference: Any) -> None:
    ours = model.reaction_rates(state)
    theirs = dict(zip(reference.model.getReactionIds(), reference.model.getReactionRates(), strict=True))
    assert theirs.keys() == set(ours.index)
    largest = max((abs(rate) for rate in theirs.values() if math.isfinite(rate)), default=0.0)
    for identifier, rate in ours.items():
        assert rate == pytest.approx(theirs[identifier], rel=RELATIVE, abs=FLOOR * largest, nan_ok=True), identifier
