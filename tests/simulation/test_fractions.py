"""Numbers of molecules that are not whole become one of the two beside them, so that the mean is kept.

Seeds are fixed; means and frequencies are held to 4 standard errors (a false alarm in 16,000 for each of about 30).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.simulation.random import whole

Make = Callable[..., sg.Model]
N = 10_000


@contextmanager
def said(*words: str) -> Iterator[None]:
    """Exactly one warning, with these words."""
    with pytest.warns(sg.SbmlgradWarning) as caught:
        yield
    assert len(caught) == 1
    assert all(word in str(caught[0].message) for word in words)
    assert caught[0].filename == __file__  # it points at whoever asked


def assert_between(values: np.ndarray, mean: float) -> None:
    """Only the two neighbours of the mean, as often as they have to be."""
    low = np.floor(mean)
    assert set(np.unique(values)) <= {low, low + 1}
    share = mean - low
    assert abs(np.mean(values) - mean) <= 4 * np.sqrt(share * (1 - share) / len(values))


CASES = [
    ("06-halving-odd-counts/model.xml", "N", 3.5),
    ("06-halving-odd-counts/five.xml", "N", 2.5),
    ("24-fractional-start/model.xml", "A", 0.4),
]


@pytest.mark.parametrize(("file", "species", "mean"), CASES)
def test_cases(data_dir: Path, file: str, species: str, mean: float) -> None:
    model = sg.read_sbml(data_dir / "cases" / file)
    with said(repr(species), file, "so that the mean is kept"):
        simulation = sg.simulate(model, [10.0], n=N, seed=1)
    assert_between(simulation.counts[:, 0, simulation.species.index(species)], mean)


def test_whole_but_for_rounding() -> None:
    values = np.array([6.000000000001, 5.999999999999, 0.0, 7.5, 7.5, 1e9 + 1e-3])
    actual = whole(values, np.array([0.0, 1.0, 0.5, 0.49, 0.51, 0.0]))
    np.testing.assert_array_equal(actual, [6, 6, 0, 8, 7, 1e9])


def test_a_start_in_a_concentration(model: Make) -> None:
    """200 nM in 1 fL are 120.44 molecules."""
    system = model(
        {"A": {"concentration": 2e-7}}, {"r": ("A ->", "0*A")}, compartments={"cell": 1e-15}, substance=("mole", 0)
    )
    with said("'A' starts"):
        simulation = sg.simulate(system, [0.0, 1.0], n=N, seed=2)
    assert_between(simulation.counts[:, 0, 0], 120.44283)
    np.testing.assert_array_equal(simulation.counts[:, 0], simulation.counts[:, 1])


@pytest.mark.parametrize("more", [{}, {"rates": {"z": "-z"}}], ids=["plain", "with what flows"])
def test_a_start_that_is_set(model: Make, more: dict[str, dict[str, str]]) -> None:
    system = model({"S": {"amount": 3}}, {"r": ("S ->", "0*S")}, {"z": 1.0}, **more)
    with said("'S' starts"):
        simulation = sg.simulate(system, [1.0], n=N, seed=3, parameters={"S": 0.4})
    assert_between(simulation.counts[:, 0, 0], 0.4)


def test_a_start_that_is_assigned(model: Make) -> None:
    system = model({"S": {"amount": None}}, {"r": ("S ->", "0*S")}, {"k": 5.0}, initial={"S": "k/2"})
    with said("'S' starts"):
        simulation = sg.simulate(system, [1.0], n=N, seed=4)
    assert_between(simulation.counts[:, 0, 0], 2.5)


def test_whole_starts_say_nothing(model: Make) -> None:
    system = model(
        {"S": {"amount": 3}}, {"r": ("S ->", "S")}, events={"e": {"trigger": "time > 1", "set": {"S": "2*S"}}}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sg.simulate(system, [2.0], n=100)
        sg.simulate(system, [2.0], method="ode")


def test_events_draw_anew(model: Make) -> None:
    """Two events, two species, two kinds of assignment: all draws are independent."""
    system = model(
        {"A": {"amount": 7}, "B": {"amount": 9}},
        {"r": ("A -> B", "0*A*B")},
        events={
            "one": {"trigger": "time > 1", "set": {"A": "A/2", "B": "B/2"}},
            "two": {"trigger": "time > 2", "set": {"A": "3.5"}, "delay": "0.5", "from_trigger": False},
        },
    )
    with said("events set 'A', 'B'"):
        simulation = sg.simulate(system, [1.5, 3.0], n=N, seed=5)
    a, b = (simulation.counts[:, :, simulation.species.index(s)] for s in "AB")
    assert_between(a[:, 0], 3.5)
    assert_between(b[:, 0], 4.5)
    assert_between(a[:, 1], 3.5)
    for one, other in ((a[:, 0], b[:, 0]), (a[:, 0], a[:, 1])):
        assert abs(np.corrcoef(one, other)[0, 1]) <= 4 / np.sqrt(N)


def test_a_network_from_python() -> None:
    network = sg.ReactionNetwork(
        stoichiometry=[[-1]], propensities=lambda x, p: x * 0.0 * p["k"], x0=[2.25], parameters={"k": 1.0}
    )
    with said("the network"):
        simulation = sg.simulate(network, [1.0], n=N, seed=6)
    assert_between(simulation.counts[:, 0, 0], 2.25)


def test_the_same_in_derivatives(model: Make) -> None:
    """Simulation, sensitivities and the exact projection begin alike: E[S] is 0.4 exp(-k t)."""
    system = model({"S": {"amount": 0.4}}, {"r": ("S ->", "k*S")}, {"k": 0.5})
    with said("'S' starts"):
        simulation = sg.simulate(system, [1.0], n=N, seed=7)
    assert abs(simulation.mean["S"].iloc[0] - 0.4 * np.exp(-0.5)) <= 4 * 0.5 / np.sqrt(N)
    for estimator in ("auto", "exact"):
        with said("'S' starts"):
            table = sg.sensitivity(system, [1.0], parameters=["k"], n=N, seed=8, estimator=estimator)
        slope, stderr = table.loc[0, ["sensitivity", "stderr"]]
        assert abs(slope + 0.4 * np.exp(-0.5)) <= 4 * stderr + 1e-6


def test_the_same_seed_gives_the_same_bits(model: Make) -> None:
    system = model(
        {"S": {"amount": 7}}, {"r": ("S ->", "0.1*S")}, events={"e": {"trigger": "time > 1", "set": {"S": "S/2"}}}
    )
    with pytest.warns(sg.SbmlgradWarning):
        few, many = (sg.simulate(system, [2.0], n=n, seed=9).counts for n in (300, 3000))
    np.testing.assert_array_equal(few, many[:300])
