"""Laws as data and instructions against libroadrunner: the rates of published models' reactions at states by chance.

pytest tests/network/test_law_code.py -m ""   # all files; without -m "" a few
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError, UnsupportedError
from sbmlgrad.network.mass_action import MassAction, mass_action_of, not_as_data
from sbmlgrad.simulation.prepare import Prepared, prepare
from sbmlgrad.simulation.sparse_arrays import SparseArrays
from sbmlgrad.simulation.sparse_code import law

roadrunner = pytest.importorskip("roadrunner", reason="libroadrunner is not installed")

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SBMLGRAD_DATA", ROOT.parent / "shared" / "data"))
FILES = sorted((DATA / "biomodels").glob("*.xml"))
FEW = {f"BIOMD{number:010d}" for number in (3, 5, 61, 217)}
STATES = 5
LEAST, MOST = 200, 5000  # molecules: more than any reaction here takes at once
MINUTES = {"BIOMD0000000595"}  # takes over a minute to be read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not FILES, reason=f"no models at {DATA / 'biomodels'}; set SBMLGRAD_DATA to the data folder")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem in FEW else [pytest.mark.slow]) for path in FILES],
)
def test_rates_are_those_of_roadrunner(path: Path) -> None:
    """Of both directions of a reaction together, to 1e-9 of the sum of their sizes, since laws may be differences."""
    if path.stem in MINUTES:
        pytest.skip("takes over a minute to be read")
    model, prepared, data = as_data(path)
    elements, network = model.elements, prepared.network
    arrays = SparseArrays(data, data.numbers(prepared.coefficients))
    tables, code, rng = arrays.tables, arrays.code(), np.random.default_rng(1)
    roadrunner.Logger.disableLogging()
    runner = roadrunner.RoadRunner(str(path))
    for _ in range(STATES):
        counts = np.floor(np.exp(rng.uniform(np.log(LEAST), np.log(MOST), data.size)))
        runner.reset()
        for species, count in zip(network.species, counts, strict=True):
            runner.setValue(species, count / elements.species[species].molecules_per_unit)
        expected = dict(zip(runner.model.getReactionIds(), runner.model.getReactionRates(), strict=True))
        net: dict[str, float] = defaultdict(float)
        size: dict[str, float] = defaultdict(float)
        for reaction, name in enumerate(network.reactions):
            rate, identifier = law(tables, code, counts, reaction), name.removesuffix(" (reverse)")
            net[identifier] += rate if name == identifier else -rate
            size[identifier] += abs(rate)
        for identifier, value in net.items():
            reference = expected[identifier] * elements.extent_molecules
            if np.isnan(value) and np.isnan(reference):  # such as a root of what is negative at this state
                continue
            assert abs(value - reference) <= 1e-9 * max(size[identifier], abs(reference)), identifier


def as_data(path: Path) -> tuple[sg.Model, Prepared, MassAction]:
    """A model as the loop of large networks takes it; amounts are molecules where there would be too many."""
    try:
        model = sg.read_sbml(path)
        prepared = prepare(model)
    except UnsupportedError as error:
        if "hopeless" not in str(error) or "here only" in str(error):
            pytest.skip(str(error)[:200])
        try:
            model = sg.read_sbml(path, molecules_per_unit=1.0)
            prepared = prepare(model)
        except UnsupportedError as other:
            pytest.skip(str(other)[:200])
    except SimulationError as error:  # of models in which nothing reacts
        pytest.skip(str(error)[:200])
    if reason := not_as_data(prepared.network):
        pytest.skip(reason)
    data = mass_action_of(prepared.network)
    assert data is not None
    if not data.holds(prepared.coefficients):
        pytest.skip("a number of molecules in a law is times 0")
    return model, prepared, data
