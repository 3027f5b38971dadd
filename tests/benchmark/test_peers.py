"""Other simulators must simulate what we simulate: birth and death of X, whose moments are known.

From 0 with births at rate 10 and deaths at rate 1 a molecule, X is Poisson with mean 10 (1 - exp(-t)). A
mean of N trajectories is 5 standard errors off with probability 6e-7 for each test.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from sbmlgrad.benchmark import peers as peers_module
from sbmlgrad.benchmark.peer_network import read_network
from sbmlgrad.benchmark.peer_run import Peer, measure
from sbmlgrad.benchmark.peers import PEERS
from sbmlgrad.errors import UnsupportedError

BIRTHS, DEATHS, END = 10.0, 1.0, 1.5
MEAN = BIRTHS / DEATHS * (1 - math.exp(-DEATHS * END))
N = 400

BIRTH_DEATH = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
<model id="m" substanceUnits="item" extentUnits="item" timeUnits="second">
<listOfCompartments>
  <compartment id="cell" size="2" spatialDimensions="3" constant="true"/>
</listOfCompartments>
<listOfSpecies>
  <species id="lambda" compartment="cell" initialAmount="0" hasOnlySubstanceUnits="{amounts}"
    boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters>
  <parameter id="E" value="10" constant="true"/>
  <parameter id="pi" value="{deaths}" constant="true"/>
</listOfParameters>
<listOfReactions>
  <reaction id="birth" reversible="false" fast="false">
    <listOfProducts><speciesReference species="lambda" stoichiometry="1" constant="true"/></listOfProducts>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>E</ci></math></kineticLaw>
  </reaction>
  <reaction id="death" reversible="false" fast="false">
    <listOfReactants><speciesReference species="lambda" stoichiometry="1" constant="true"/></listOfReactants>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
      <apply><times/><ci>pi</ci>{factor}<ci>lambda</ci></apply></math></kineticLaw>
  </reaction>
</listOfReactions>
</model></sbml>
"""
TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'


def write(path: Path, amounts: str = "true", deaths: float = DEATHS, factor: str = "") -> Path:
    path.write_text(BIRTH_DEATH.format(amounts=amounts, deaths=deaths, factor=factor))
    return path


@pytest.fixture
def birth_death(tmp_path: Path) -> Path:
    """The model, with ids that are words or constants of the languages it passes through."""
    return write(tmp_path / "model.xml")


@pytest.fixture(params=PEERS, ids=lambda peer: peer.name)
def peer(request: pytest.FixtureRequest) -> Peer:
    reason = request.param.available()
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("points", [2, 4])
def test_a_peer_simulates_birth_and_death(peer: Peer, birth_death: Path, points: int) -> None:
    run = peer.run(birth_death, END, points, N, seed=1)
    assert (run.name, run.trajectories) == (peer.name, N)
    assert run.version
    assert run.seconds > 0
    assert set(run.mean) == {"lambda"}
    assert abs(run.mean["lambda"] - MEAN) < 5 * math.sqrt(MEAN / N)
    assert set(run.gradient) <= {"E", "pi"}
    assert np.isfinite(list(run.gradient.values())).all()


def test_species_may_be_concentrations(tmp_path: Path) -> None:
    in_amounts = read_network(write(tmp_path / "amounts.xml"))
    # a law in concentrations, in a compartment of size 2, with twice the rate: the same propensity
    in_concentrations = read_network(write(tmp_path / "concentrations.xml", amounts="false", deaths=2 * DEATHS))
    for network in (in_amounts, in_concentrations):
        rates = [float(rate(np.array([6.0]), network.values)) for rate in network.propensities]
        assert rates == [BIRTHS, 6 * DEATHS]
        np.testing.assert_array_equal(network.products - network.reactants, [[1, -1]])


def test_laws_that_depend_on_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="death depends on time"):
        read_network(write(tmp_path / "model.xml", factor=TIME))


@pytest.mark.parametrize(("per_trajectory", "expected"), [(0.0001, 5000), (0.01, 2000), (0.1, 100)])
def test_slow_peers_run_fewer_trajectories(
    monkeypatch: pytest.MonkeyPatch, per_trajectory: float, expected: int
) -> None:
    clock = [0.0]
    sizes = []

    def sample(n: int, seed: int) -> int:
        clock[0] += n * per_trajectory
        sizes.append(n)
        return seed

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    seconds, n, seed = measure(sample, 5000, seed=7)
    assert (n, seed) == (expected, 8)
    assert seconds == pytest.approx(n * per_trajectory)
    assert sizes[-2:] == [n, n]  # once to compile, once to time


def test_a_missing_peer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert all("install" in str(peer.available()) for peer in PEERS)
    monkeypatch.setattr(peers_module.shutil, "which", lambda name: None)
    assert any("g++ and make" in str(peer.available()) for peer in PEERS)
