"""Deterministic trajectories with events: what happens, exactly when, and in which order.

Every expected value is analytic, or scipy's. Many independent variables share one model, as each compilation takes
seconds; a variable is named after what it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError, SimulationError, TruncationError
from sbmlgrad.simulation import deterministic
from sbmlgrad.simulation.path import Settings

Make = Callable[..., sg.Model]
HALF_TIME = np.log(2)


def event(trigger: str, /, **attributes: Any) -> dict[str, Any]:
    """An event; attributes that are no settings of its are assignments."""
    settings = {"delay", "priority", "initial", "persistent", "from_trigger"}
    options = {name: value for name, value in attributes.items() if name in settings}
    return {"trigger": trigger, "set": {k: v for k, v in attributes.items() if k not in settings}, **options}


def solved(model: sg.Model, times: Any, **options: Any) -> pd.DataFrame:
    """The course of all that varies."""
    elements = model.elements
    varying = (*elements.species, *elements.rate_rules, *sorted(elements.set_by_events))
    return sg.simulate(model, times, method="ode", select=list(dict.fromkeys(varying)), **options).mean


# ---- when events happen --------------------------------------------------------------------------------

EVENTS = {
    "kick": event("time >= 2", decaying="5"),
    "after": event("time > 2", strictly="1"),
    "equal": event("time == 2", equal="equal + 1"),
    "half": event("filling > 0.5", half_at="time"),
    "up": event("sine > 0.5", waves="waves + 1", last_wave="time"),
    "fire": event("charge >= 1", charge="0", fired="fired + 1"),
    "from trigger": event("time >= 1", delay="0.5", stored="filling"),
    "from assignment": event("time >= 1", delay="0.5", from_trigger=False, fresh="filling"),
    "delay of state": event("time >= 1", delay="filling", from_trigger=False, delayed_to="time"),
    "called off": event("time >= 1 && time < 1.3", delay="0.5", persistent=False, called_off="1"),
    "kept": event("time >= 1 && time < 1.3", delay="0.5", from_trigger=False, kept="time"),
    "again": event(
        "time >= 1 && time < 1.2 || time > 1.3", delay="0.5", persistent=False, from_trigger=False, again="time"
    ),
    "first": event("time >= 3", priority="3", from_trigger=False, order="10*order + 1"),
    "third": event("time >= 3", priority="-1", from_trigger=False, order="10*order + 3"),
    "second": event("time >= 3", priority="filling", from_trigger=False, order="10*order + 2"),
    "first of old": event("time >= 3", priority="2", old_order="10*old_order + 1"),
    "second of old": event("time >= 3", priority="1", old_order="10*old_order + 2"),
    "at the start": event("time >= 0", initial=False, started="started + 1"),
    "not at the start": event("time >= 0", unstarted="1"),
    "one": event("time > 1", one="one + 1", was_one="one"),
    "two": event("time > 1", two="2"),
    "follows": event("one > 0", followed_at="time"),
    "follows that": event("followed_at > 0", followed="followed_at + one"),
    "narrow": event("filling > 0.3 && filling < 0.3001", narrow_at="time"),
}
WRITTEN = {name for item in EVENTS.values() for name in item["set"]} - {"decaying", "charge"}
TIMES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.5, 10.5])


@pytest.fixture(scope="module")
def course(model: Make) -> pd.DataFrame:
    starts = {**dict.fromkeys(sorted(WRITTEN), 0.0), "decaying": 1.0, "cosine": 1.0}
    rates = {
        "decaying": "-decaying",
        "filling": "1 - filling",
        "sine": "cosine",
        "cosine": "-sine",
        "charge": "1",
        "pulse": "piecewise(1, time > 1.3 && time < 1.30001, 0)",
        "switched": "piecewise(2, time < 1, 5)",
        "blinking": "piecewise(1, sine > 0, 0)",
    }
    parameters = {**dict.fromkeys(rates, 0.0), **starts}
    return solved(model({}, parameters=parameters, rates=rates, events=EVENTS), TIMES)


def close(values: Any, expected: Any) -> None:
    np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-9)


def test_an_event_at_a_given_time_happens_then_and_is_seen_then(course: pd.DataFrame) -> None:
    close(course["decaying"], np.where(TIMES < 2, np.exp(-TIMES), 5 * np.exp(2 - TIMES)))
    assert course["strictly"].tolist() == (TIMES > 2).tolist()
    assert course["equal"].tolist() == (TIMES >= 2).tolist()


def test_a_trigger_of_the_state_changes_at_its_crossing(course: pd.DataFrame) -> None:
    close(course["half_at"], np.where(TIMES < HALF_TIME, 0, HALF_TIME))
    close(course["narrow_at"].iloc[-1], -np.log(0.7))  # true for less than a step
    crossings = np.pi * np.array([1, 13]) / 6
    close(course["last_wave"], [crossings[crossings <= t].max(initial=0) for t in TIMES])
    assert course["waves"].tolist() == [np.sum(crossings <= t) for t in TIMES]
    close(course["charge"].iloc[[1, 3, 5, 8]], 0.5)
    assert course["fired"].iloc[[1, 3, 5, 8]].tolist() == [0, 1, 2, 10]


def test_delays(course: pd.DataFrame) -> None:
    after = np.where(TIMES < 1.5, 0, 1)
    close(course["stored"], after * -np.expm1(-1.0))
    close(course["fresh"], after * -np.expm1(-1.5))
    close(course["delayed_to"].iloc[-1], 1 - np.expm1(-1.0))


def test_only_what_is_not_persistent_is_called_off(course: pd.DataFrame) -> None:
    assert course["called_off"].tolist() == [0] * len(TIMES)
    close(course["kept"].iloc[-1], 1.5)
    close(course["again"].iloc[-1], 1.8)


def test_priorities_order_what_happens_at_once(course: pd.DataFrame) -> None:
    assert course["order"].tolist() == [0] * 6 + [123] * 3
    assert course["old_order"].tolist() == [0] * 6 + [2] * 3, "both values are those of the time of the triggers"


def test_the_start(course: pd.DataFrame) -> None:
    assert course["started"].tolist() == [1] * len(TIMES)
    assert course["unstarted"].tolist() == [0] * len(TIMES)


def test_events_at_once_and_in_consequence(course: pd.DataFrame) -> None:
    last = course.iloc[-1]
    assert (last["one"], last["was_one"], last["two"]) == (1, 0, 2)
    close([last["followed_at"], last["followed"]], [1, 2])


def test_rates_that_jump(course: pd.DataFrame) -> None:
    close(course["pulse"], np.where(TIMES > 1.3, 1e-5, 0))
    close(course["switched"], np.where(TIMES < 1, 2 * TIMES, 2 + 5 * (TIMES - 1)))
    halves, rest = np.divmod(TIMES, 2 * np.pi)
    np.testing.assert_allclose(course["blinking"], halves * np.pi + np.minimum(rest, np.pi), rtol=1e-6)


def test_events_of_equal_rank_come_in_an_order_that_chance_decides(model: Make) -> None:
    """Both orders in 20 runs, but for one chance in 500,000; the same seed has the same order."""
    events = {name: event("time > 1", from_trigger=False, order=f"10*order + {name[1]}") for name in ("e1", "e2")}
    system = model({}, parameters={"order": 0.0}, events=events)
    orders = [solved(system, [2.0], seed=seed)["order"].iloc[0] for seed in range(20)]
    assert set(orders) == {12, 21}
    assert orders[:5] == [solved(system, [2.0], seed=seed)["order"].iloc[0] for seed in range(5)]


def test_one_event_may_wait_many_times(model: Make) -> None:
    """Triggered every 0.1 and executed 1 later: ten wait at any time, more than are made room for at first."""
    events = {
        "tick": event("clock > 0.1", clock="clock - 0.1"),
        "wait": event("clock > 0.1", delay="1", from_trigger=False, count="count + 1"),
    }
    system = model({}, parameters={"clock": 0.0, "count": 0.0}, rates={"clock": "1"}, events=events)
    assert solved(system, [0.55, 1.05, 1.55, 3.05])["count"].tolist() == [0, 0, 5, 20]


def test_a_later_start_has_its_own_beginning(model: Make) -> None:
    """Initial values hold at the start, whatever its time; conditions on time are those of the time."""
    events = {
        "past": event("time > 2", past="1"),
        "at once": event("time > 2", initial=False, at_once="time"),
        "later": event("time > 7.5", later="time"),
    }
    names = dict.fromkeys(("past", "at_once", "later", "stepped"), 0.0)
    rates = {"decaying": "-decaying", "stepped": "piecewise(1, time > 7, 0)"}
    system = model({}, parameters={**names, "decaying": 1.0}, rates=rates, events=events)
    actual = solved(system, [5.0, 6.0, 8.0], start=5.0)
    close(actual["decaying"], np.exp([0, -1, -3]))
    close(actual["stepped"], [0, 0, 1])
    assert actual["past"].tolist() == [0, 0, 0]
    close(actual["at_once"], [5, 5, 5])
    close(actual["later"], [0, 0, 7.5])


# ---- chemistry -----------------------------------------------------------------------------------------


def test_compartments_grow_and_jump_while_amounts_stay(model: Make) -> None:
    """A cell doubles in time ln 2 and halves at an event at 1; S decays, [S] is also diluted, T is given anew."""
    system = model(
        {"S": {"concentration": 3.0, "only": False}, "T": {"amount": 4.0}, "U": {"amount": 2.0, "only": False}},
        {"decay": ("S -> ", "0.5*S*cell")},
        compartments={"cell": 2.0},
        rates={"cell": "cell"},
        events={"halve": event("time >= 1", cell="cell/2"), "give": event("time >= 1.5", T="T + cell", U="7")},
    )
    times = np.array([0.0, 0.5, 1.0, 2.0])
    names = ["S", "[S]", "T", "[T]", "U", "[U]", "cell"]
    actual = sg.simulate(system, times, method="ode", select=names).mean
    size = 2 * np.exp(times) / np.where(times < 1, 1, 2)
    close(actual["cell"], size)
    close(actual["S"], 6 * np.exp(-0.5 * times))
    close(actual["[S]"], 6 * np.exp(-0.5 * times) / size)
    given = times >= 1.5
    close(actual["T"], 4 + given * np.exp(1.5))
    close(actual["[T]"], (4 + given * np.exp(1.5)) / size)
    close(actual["U"], np.where(given, 7 * np.exp(1.5), 2))  # a concentration of 7 in a cell of exp(1.5)
    close(actual["[U]"], actual["U"] / size)


def test_a_stiff_problem_against_scipy(model: Make) -> None:
    """Robertson's: rate constants from 0.04 to 3e7, and 1e5 units of time."""
    system = model(
        {"A": {"amount": 1.0}, "B": {"amount": 0.0}, "C": {"amount": 0.0}},
        {"one": ("A -> B", "0.04*A"), "two": ("2 B -> B + C", "3e7*B^2"), "three": ("B + C -> A + C", "1e4*B*C")},
    )

    def flow(time: float, y: np.ndarray) -> list[float]:
        one, two, three = 0.04 * y[0], 3e7 * y[1] ** 2, 1e4 * y[1] * y[2]
        return [three - one, one - two - three, two]

    times = np.array([1e-4, 0.4, 40.0, 4e3, 1e5])
    actual = sg.simulate(system, times, method="ode").mean
    exact = solve_ivp(flow, (0, 1e5), [1.0, 0.0, 0.0], "Radau", times, rtol=1e-10, atol=1e-14).y.T
    np.testing.assert_allclose(actual, exact, rtol=1e-6)
    np.testing.assert_allclose(actual.sum(axis=1), 1.0, rtol=1e-9)


# ---- what cannot be done -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ({"parameters": {"x": None}, "rates": {"x": "1"}}, "'x' has no finite initial value; .* x=value"),
        ({"parameters": {"x": 1.0}, "rates": {"x": "x^2"}}, "beyond time 1, .*the largest is 'x'"),
        (
            {
                "parameters": {"x": 0.0},
                "events": {"up": event("x < 1 && time > 0.3", x="2"), "down": event("x >= 1", x="0")},
            },
            "events trigger each other without end at time 0.3",
        ),
    ],
    ids=["unset", "blow-up", "endless events"],
)
def test_what_cannot_be_followed_is_named(model: Make, system: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message) as caught:
        solved(model({}, **system), [0.5, 2.0])
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, SbmlgradError)


def test_too_many_steps_are_said(model: Make) -> None:
    system = model({}, parameters={"x": 1.0, "y": 0.0}, rates={"x": "100*y", "y": "-100*x"})
    equations, quantities = deterministic.prepare_equations(system, None, None)
    with pytest.raises(TruncationError, match="the solver has taken 50 steps and will not be at the end with the 50"):
        deterministic.solve(equations, quantities, np.array([100.0]), settings=Settings(most_steps=50))
