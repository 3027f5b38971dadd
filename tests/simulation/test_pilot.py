"""Rough trajectories: the right number of reactions where the mean of the equations is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.model import Model
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.simulation.dynamics import Dynamics, of_process
from sbmlgrad.simulation.forecast import forecast
from sbmlgrad.simulation.mean_course import follow
from sbmlgrad.simulation.pilot import fly

Make = Callable[..., Model]


def dynamics_of(model: Model) -> Dynamics:
    process = jump_process(chemistry_of(model))
    return of_process(process, np.array(list(process.quantities.values())))


def test_one_by_one_and_in_leaps(model: Make) -> None:
    """16 trajectories of 3 and of 1e6 reactions, Poisson: beyond 4 sd once in 16,000 times."""
    for rate in (0.3, 1e5):
        births = dynamics_of(model({"X": {"amount": 0}}, {"make": (" -> X", "k")}, {"k": rate}))
        pilot = fly(births, 0.0, 10.0)
        assert pilot.reached == 10.0
        assert abs(pilot.firings - 10 * rate) < 4 * math.sqrt(10 * rate / 16)


def test_what_dies_out_fires_no_more(model: Make) -> None:
    """A critical branching process: extinct by time t but for a chance of 3/t a trajectory, 1 in 20,000 in all."""
    described = model({"X": {"amount": 3}}, {"make": ("X -> 2 X", "k*X"), "lose": ("X -> ", "k*X")}, {"k": 1.0})
    pilot = fly(dynamics_of(described), 0.0, 1e6)
    assert pilot.reached == 1e6
    assert pilot.firings < 5e5  # the mean is 3 for ever, and with it the equations have 6e6
    assert follow(dynamics_of(described), 0.0, 1e6, 1e8).firings == pytest.approx(6e6, rel=0.02)


def test_the_work_is_bounded(model: Make) -> None:
    species, turns = {"X": {"amount": 1}, "Y": {"amount": 0}}, {"on": ("X -> Y", "k*X"), "off": ("Y -> X", "k*Y")}
    turning = dynamics_of(model(species, turns, {"k": 1e3}))
    pilot = fly(turning, 0.0, 1e9, seconds=0.05)
    assert pilot.reached < 1.0
    assert pilot.will == pytest.approx(1e12, rel=0.3)


def test_forecasts_go_by_it_where_molecules_are_few(model: Make) -> None:
    """Pairs react, one molecule cannot: the equations know better only on the average."""
    described = model(
        {"X": {"amount": 1}},
        {"make": (" -> X", "a"), "pair": ("2 X -> ", "b*X*X")},
        {"a": 1.0, "b": 1000.0},
    )
    fired = sg.simulate(described, [1000.0], n=40, seed=1).events / 40
    assert forecast(dynamics_of(described), 0.0, 1000.0, 1e8).firings == pytest.approx(fired, rel=0.1)
