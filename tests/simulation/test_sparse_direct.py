"""Events and known times in the loop of sparse networks: the law of the plain loop, and what is refused.

Seeds are fixed; 4.5 standard errors, 7e-6 for each number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SimulationError, TruncationError
from sbmlgrad.simulation.hybrid_ensemble import prepare_hybrid
from sbmlgrad.simulation.sparse_direct import suited_process

Models = Callable[..., sg.Model]

SPECIES = {"A": {"amount": 40}, "B": {"amount": 0}}
REACTIONS = {"go": ("A -> B", "k * A"), "back": ("B -> A", "b * B / (K + B)"), "in": ("-> A", "f")}
PARAMETERS = {"k": 0.5, "b": 3.0, "K": 4.0, "f": 2.0}
EVENTS: dict[str, dict[str, Any]] = {
    "dose": {"trigger": "time >= 1", "set": {"A": "A + 30", "f": "4"}},
    "low": {"trigger": "A < 20", "set": {"B": "0"}},
    "late": {"trigger": "B > 25 && time > 0.2", "set": {"k": "0.2"}, "delay": "0.3"},
}
TIMES = [0.5, 1.0, 1.5, 3.0]


@pytest.fixture(scope="module")
def eventful(model: Models) -> sg.Model:
    """A dose, an event on counts, and a delayed one on counts and the time; two set what is inside laws."""
    return model(SPECIES, REACTIONS, PARAMETERS, events=EVENTS)


def test_both_loops_have_one_law(eventful: sg.Model) -> None:
    n = 3000
    plain, sparse = (
        sg.simulate(eventful, TIMES, n=n, seed=seed, method=method) for seed, method in ((3, "ssa"), (4, "ssa-sparse"))
    )
    error = np.sqrt((plain.sd**2 + sparse.sd**2) / n).to_numpy()
    assert np.all(np.abs((plain.mean - sparse.mean).to_numpy()) < 4.5 * error)
    of_a, of_b = (np.asarray(sim.counts, float).var(axis=0, ddof=1) for sim in (plain, sparse))
    fourth = ((np.asarray(plain.counts, float) - np.asarray(plain.counts).mean(axis=0)) ** 4).mean(axis=0)
    assert np.all(np.abs(of_a - of_b) < 4.5 * np.sqrt(2 * (fourth - of_a**2) / n))
    assert abs(sparse.events / plain.events - 1) < 0.01


def test_bits_depend_on_seed_and_trajectory_alone(eventful: sg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(n: int) -> np.ndarray:
        return np.asarray(sg.simulate(eventful, TIMES, n=n, seed=3, method="ssa-sparse").counts)

    many = counts(600)
    monkeypatch.setattr("sbmlgrad.simulation.sparse_direct._BUDGET", 100)  # so that trajectories stop anywhere
    np.testing.assert_array_equal(counts(40), many[:40])


def test_laws_that_change_in_steps(model: Models) -> None:
    """Molecules that live until time 1 at rate 2, then at rate 0.5: binomial with a known chance."""
    step = model({"A": {"amount": 60}}, {"die": ("A ->", "A * piecewise(2, time < 1, 0.5)")}, {})
    n, chance = 4000, np.exp(-2 - 0.5 * 0.7)
    counts = np.asarray(sg.simulate(step, [1.7], n=n, seed=5, method="ssa-sparse").counts)[:, 0, 0]
    assert abs(counts.mean() - 60 * chance) < 4.5 * np.sqrt(60 * chance * (1 - chance) / n)
    seen = np.mean(counts <= 5)
    expected = binom.cdf(5, 60, chance)
    assert abs(seen - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n)


def test_trajectories_are_those_of_the_plain_loop(eventful: sg.Model) -> None:
    """In a network so small that both look for the next reaction in the same order; rounding may tell a few apart."""
    plain, sparse = (sg.simulate(eventful, TIMES, n=200, seed=3, method=method) for method in ("ssa", "ssa-sparse"))
    alike = np.all(np.asarray(plain.counts) == np.asarray(sparse.counts), axis=(1, 2))
    assert alike.mean() > 0.95


def test_it_is_taken_by_itself_where_there_are_many_reactions(
    eventful: sg.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, quantities = prepare_hybrid(eventful, None, None)
    assert suited_process(process, quantities, None) is None
    asked = suited_process(process, quantities, True)
    assert asked is not None
    monkeypatch.setattr("sbmlgrad.simulation.sparse_direct.FEWEST", 3)
    assert suited_process(process, quantities, None) is asked
    assert suited_process(process, quantities, False) is None


KICK: dict[str, dict[str, Any]] = {"kick": {"trigger": "time > 1", "set": {"A": "5"}}}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"rates": {"f": "1"}}, "something flows, or laws or triggers follow time other than in steps"),
        ({"initial": {"f": "poisson(3)"}}, "random numbers are drawn for initial values"),
    ],
)
def test_what_it_cannot_is_named(model: Models, more: dict[str, Any], reason: str) -> None:
    system = model(SPECIES, REACTIONS, PARAMETERS, events=KICK, **more)
    with pytest.raises(SimulationError, match=f"'ssa-sparse': {reason}; use method 'ssa'"):
        sg.simulate(system, [2.0], n=2, method="ssa-sparse")


def test_long_triggers_are_named(model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.network.law_code.LONGEST", 3)
    trigger = {"kick": {"trigger": "A + 2 * B > 50", "set": {"A": "5"}}}
    system = model(SPECIES, {"go": ("A -> B", "k * A")}, PARAMETERS, events=trigger)
    with pytest.raises(SimulationError, match="'ssa-sparse': the trigger of event 'kick' is too long"):
        sg.simulate(system, [2.0], n=2, method="ssa-sparse")


def test_limits_and_faults_are_those_of_the_plain_loop(model: Models) -> None:
    system = model(SPECIES, REACTIONS, PARAMETERS, events=KICK)
    with pytest.raises(TruncationError):
        sg.simulate(system, [200.0], n=2, method="ssa-sparse", max_events=100)
    wrong = {"kick": {"trigger": "time > 1", "set": {"K": "-25.5"}}}  # b * B / (K + B) is negative for B below 25.5
    system = model(SPECIES, REACTIONS, PARAMETERS, events=wrong)
    with pytest.raises(PropensityError, match="'back'"):
        sg.simulate(system, [30.0], n=20, method="ssa-sparse")
