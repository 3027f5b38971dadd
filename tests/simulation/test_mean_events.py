"""Events along a mean: when something happens, in which order, and what is assigned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sbmlgrad.model import Model
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.simulation.dynamics import of_process
from sbmlgrad.simulation.mean_events import MeanEvents

Make = Callable[..., Model]


@pytest.fixture
def events(model: Make) -> Callable[..., tuple[MeanEvents, dict[str, int], np.ndarray]]:
    """The events of a model of two parameters and a species, where each stands in the state, and the state."""

    def build(**described: Any) -> tuple[MeanEvents, dict[str, int], np.ndarray]:
        process = jump_process(
            chemistry_of(
                model(
                    species={"X": {"amount": 4}},
                    reactions={"decay": ("X ->", "X")},
                    parameters={"p": 1.0, "q": 1.0},
                    events=described,
                )
            )
        )
        dynamics = of_process(process, np.array(list(process.quantities.values())))
        return MeanEvents(dynamics), {name: i for i, name in enumerate(process.variables)}, dynamics.state

    return build


def test_what_happens_first_in_a_step_is_found_closely(events: Callable[..., Any]) -> None:
    own, at, state = events(e={"trigger": "time > 0.37", "set": {"p": "5"}})
    state = own.settle(0.0, state)

    def course(parts: np.ndarray) -> np.ndarray:
        return np.repeat(state[:, None], len(parts), axis=1)

    assert own.first(0.0, 1.0, course) == pytest.approx(0.37, abs=1 / 32**2)
    assert own.first(0.0, 0.3, course) == 1.0
    assert own.settle(0.4, state)[at["p"]] == 5.0
    assert own.first(0.4, 1.0, course) == 1.0  # it is true and stays so


def test_the_state_of_a_trigger_within_a_step_decides(events: Callable[..., Any]) -> None:
    own, at, state = events(e={"trigger": "X < 2", "set": {"p": "X"}})
    state = own.settle(0.0, state)

    def falling(parts: np.ndarray) -> np.ndarray:
        states = np.repeat(state[:, None], len(parts), axis=1)
        states[at["X"]] = 4.0 - 4.0 * parts
        return states

    assert own.first(0.0, 10.0, falling) == pytest.approx(0.5, abs=1 / 32**2)


@pytest.mark.parametrize(("from_trigger", "expected"), [(True, 8.0), (False, 2.0)])
def test_delays_wait_with_the_values_of_the_trigger_or_not(
    from_trigger: bool, expected: float, events: Callable[..., Any]
) -> None:
    own, at, state = events(
        e={"trigger": "time >= 1", "delay": "2", "set": {"p": "2 * X"}, "from_trigger": from_trigger}
    )
    state = own.settle(1.0, own.settle(0.0, state))
    assert state[at["p"]] == 1.0  # it waits
    assert own.first(1.0, 4.0, lambda parts: np.repeat(state[:, None], len(parts), axis=1)) == pytest.approx(0.5)
    state[at["X"]] = 1.0
    assert own.settle(3.0, state)[at["p"]] == expected


def test_priorities_decide_and_what_is_not_persistent_may_fall(events: Callable[..., Any]) -> None:
    """The first one executed takes the ground from under another that would have been next."""
    own, at, state = events(
        low={"trigger": "time >= 1 && q < 2", "priority": "1", "persistent": False, "set": {"p": "100"}},
        high={"trigger": "time >= 1", "priority": "2", "set": {"q": "7"}},
    )
    state = own.settle(1.0, own.settle(0.0, state))
    assert (state[at["q"]], state[at["p"]]) == (7.0, 1.0)


def test_events_that_set_off_each_other_end(events: Callable[..., Any]) -> None:
    own, _, state = events(up={"trigger": "p < 2", "set": {"p": "3"}}, down={"trigger": "p > 2", "set": {"p": "1"}})
    own.settle(0.0, state)
    assert own.looks <= 100
