"""Numbers of reactions along the mean, against what can be said of them on paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.model import Model
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.simulation.dynamics import Dynamics, of_process
from sbmlgrad.simulation.mean_course import follow


def dynamics_of(model: Model) -> Dynamics:
    process = jump_process(chemistry_of(model))
    return of_process(process, np.array(list(process.quantities.values())))


@pytest.fixture
def birth_death(models_dir: Path) -> Model:
    return sg.read_sbml(models_dir / "birth_death" / "model.xml")


def test_birth_and_death(birth_death: Model) -> None:
    course = follow(dynamics_of(birth_death), 0.0, 8.0, limit=50.0)
    died = 10 * (8 - (1 - math.exp(-8)))  # the integral of g times the mean, k/g (1 - exp(-g t))
    assert course.reached == 8.0
    assert course.firings == pytest.approx(80 + died, rel=0.02)
    at = course.limit_at
    assert at is not None
    assert 20 * at - 10 * (1 - math.exp(-at)) == pytest.approx(50, rel=0.03)


def test_a_fast_equilibrium_takes_few_steps(birth_death: Model) -> None:
    model = birth_death.with_parameters({"k": 1e9, "g": 1e6})
    course = follow(dynamics_of(model), 0.0, 100.0, limit=1e8)
    assert course.firings == pytest.approx(2e11, rel=0.02)
    assert course.limit_at == pytest.approx(0.05, rel=0.02)
    assert course.steps < 100


def test_an_explosion_is_seen_though_it_ends_the_course(model: Callable[..., Model]) -> None:
    described = model(
        parameters={"k": 0.01},
        species={"X": {"amount": 10}},
        reactions={"grow": ("2 X -> 3 X", "k * X * (X - 1)")},
    )
    course = follow(dynamics_of(described), 0.0, 100.0, limit=1e6)
    assert course.limit_at == pytest.approx(math.log(10 / 9) / 0.01, rel=0.01)  # where dX/dt = k X (X - 1) ends
    assert course.reached < 11.0


def test_events_are_passed(model: Callable[..., Model]) -> None:
    described = model(
        parameters={"k": 1.0},
        species={"X": {"amount": 0}},
        reactions={"make": ("-> X", "k")},
        events={
            "faster": {"trigger": "time > 4.25", "set": {"k": "1000"}},
            "stop": {"trigger": "X > 500", "set": {"k": "0"}},
        },
    )
    course = follow(dynamics_of(described), 0.0, 10.0, limit=1e8)
    assert course.reached == 10.0
    assert course.firings == pytest.approx(500, rel=0.02)


def test_the_answer_does_not_depend_on_the_machine(birth_death: Model) -> None:
    courses = [follow(dynamics_of(birth_death), 0.0, 8.0, limit=50.0, seconds=1e-3) for _ in range(2)]
    assert courses[0] == courses[1]
    assert courses[0].steps < 10
