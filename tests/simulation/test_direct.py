"""The direct method with events and known times between the reactions, against master equations.

Seeds are fixed. Each check of a law rejects below a probability of 1e-4; there are 29 of them, so that a change of all
random numbers raises a false alarm once in 340 times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.simulation import hybrid_ensemble
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.methods import SSA

Make = Callable[..., sg.Model]
Fits = Callable[[np.ndarray, np.ndarray], bool]
Known = Callable[[str], tuple[sg.Model, sg.Simulation]]
TIMES = (0.5, 1.0, 1.75, 3.0)
SIZE = 60  # numbers of molecules that the master equation knows
BOTH = {"birth": (" -> X", "k"), "death": ("X -> ", "g*X")}
RATES = {"k": 6.0, "g": 0.8}


@dataclass(frozen=True)
class Case:
    """A birth and death process of X from 3 molecules: what is added to the document, and what it does.

    ``births`` gives the rate of births in each span between two of the ``breaks``, ``lands`` where a state ends up
    at once, and ``events`` what happens to a number of molecules at each of the breaks.
    """

    extra: Mapping[str, Any] = field(default_factory=dict)
    birth: str = "k"
    breaks: Sequence[float] = ()
    births: Sequence[float] = (6.0,)
    events: Sequence[Callable[[int], int]] = ()
    lands: Callable[[float, int], int] = lambda time, x: x

    def document(self, model: Make) -> sg.Model:
        return model({"X": {"amount": 3}}, {**BOTH, "birth": (" -> X", self.birth)}, RATES, **self.extra)

    def law(self, time: float) -> np.ndarray:
        """The probabilities of 0, 1, ... molecules at a time, right after what happens then."""
        p, now = np.eye(SIZE)[3], 0.0
        for index, end in enumerate((*self.breaks, np.inf)):
            p = p @ self._moved(now, index, min(end, time) - now)
            if time < end:
                return p
            if self.events:
                p = p @ _moves([self.events[index](x) for x in range(SIZE)])
            p, now = p @ _moves([self.lands(end, x) for x in range(SIZE)]), end
        raise AssertionError

    def _moved(self, begin: float, index: int, span: float) -> np.ndarray:
        generator = np.zeros((SIZE, SIZE))
        for x in range(SIZE):
            for after, rate in ((x + 1, self.births[index]), (x - 1, RATES["g"] * x)):
                if rate and after < SIZE:
                    generator[x, self.lands(begin, after)] += rate
                    generator[x, x] -= rate
        return np.asarray(expm(generator * span))


def _moves(targets: Sequence[int]) -> np.ndarray:
    return np.eye(SIZE)[np.minimum(targets, SIZE - 1)]


def events(**triggers_and_sets: tuple[str, Mapping[str, str]]) -> Mapping[str, Any]:
    return {"events": {name: {"trigger": when, "set": what} for name, (when, what) in triggers_and_sets.items()}}


CASES = {
    "doses and a washout": Case(
        events(
            first=("time >= 0.4", {"X": "X + 8"}), wash=("time >= 1", {"X": "0"}), last=("time > 2", {"X": "X + 5"})
        ),
        breaks=(0.4, 1.0, 2.0),
        births=(6.0,) * 4,
        events=(lambda x: x + 8, lambda x: 0, lambda x: x + 5),
    ),
    "a dose at one instant": Case(
        events(e=("time == 1.75", {"X": "X + 4"})), breaks=(1.75,), births=(6.0,) * 2, events=(lambda x: x + 4,)
    ),
    "a step": Case(birth="piecewise(k, time < 1.2, 2*k)", breaks=(1.2,), births=(6.0, 12.0)),
    "a periodic input": Case(
        birth="piecewise(k, rem(floor(time/0.7), 2) == 0, 0)",
        breaks=(0.7, 1.4, 2.1, 2.8),
        births=(6.0, 0.0, 6.0, 0.0, 6.0),
    ),
    "a bent input": Case(birth="piecewise(k, time^2 < 2, 3*k)", breaks=(2**0.5,), births=(6.0, 18.0)),
    "an event on counts": Case(events(e=("X >= 7", {"X": "1"})), lands=lambda time, x: 1 if x >= 7 else x),
    "an event on counts from some time on": Case(
        events(e=("X >= 7 && time >= 1", {"X": "1"})),
        breaks=(1.0,),
        births=(6.0,) * 2,
        lands=lambda time, x: 1 if x >= 7 and time >= 1 else x,
    ),
}


@pytest.fixture(scope="module")
def known(model: Make) -> Known:
    """The model of a case, and its trajectories at the times above: compiled and simulated once for all tests."""

    @cache
    def simulated(name: str) -> tuple[sg.Model, sg.Simulation]:
        system = CASES[name].document(model)
        return system, sg.simulate(system, TIMES, n=20_000, seed=7)

    return simulated


@pytest.mark.parametrize("name", CASES)
def test_counts_follow_the_master_equation(name: str, known: Known, fits: Fits) -> None:
    sim = known(name)[1]
    for index, time in enumerate(TIMES):
        actual = np.bincount(sim.counts[:, index, 0], minlength=SIZE)
        assert fits(actual, CASES[name].law(time)), (name, time)


FEW = ("doses and a washout", "a periodic input", "an event on counts")  # one of each kind, in the default run


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FEW else [pytest.mark.slow]) for n in CASES])
def test_whatever_the_times_of_observation_and_the_layout(name: str, known: Known) -> None:
    """A trajectory belongs to its number alone; and known times are met wherever observations fall."""
    system, coarse = known(name)
    few = sg.simulate(system, TIMES, n=300, seed=7).counts
    np.testing.assert_array_equal(coarse.counts[:300], few)
    fine = sg.simulate(system, np.linspace(0.05, 3.0, 60), n=4000, seed=8)
    spread = float(np.hypot(fine.sd["X"].iloc[-1] / 4000**0.5, coarse.sd["X"].iloc[-1] / 20_000**0.5))
    assert abs(fine.mean["X"].iloc[-1] - coarse.mean["X"].iloc[-1]) < 5 * spread


def process_of(model: sg.Model) -> HybridModel:
    return hybrid_ensemble.prepare_hybrid(model, None, None)[0]


@pytest.mark.parametrize("name", CASES)
def test_these_are_seen_to_move_in_steps(name: str, model: Make) -> None:
    assert process_of(CASES[name].document(model)).stepwise is not None


@pytest.mark.parametrize(
    "extra",
    [
        {"birth": "k*(1 + sin(time))"},
        {"birth": "k*rem(time, 2)"},
        {"birth": "piecewise(k, time*X < 5, 0)"},  # reactions move when it changes
        {"birth": "piecewise(k, time^2*X < 5, 0)"},
        {"birth": "k*y", "rates": {"y": "-y"}},
        {"events": {"e": {"trigger": "time > X", "set": {"X": "0"}}}},
        {"events": {"e": {"trigger": "X + time > 8", "set": {"X": "0"}}}},
    ],
)
def test_what_moves_between_known_times_is_not(extra: dict[str, Any], model: Make) -> None:
    birth = extra.pop("birth", "k")
    system = model({"X": {"amount": 3}}, {**BOTH, "birth": (" -> X", birth)}, {**RATES, "y": 1.0}, **extra)
    assert process_of(system).stepwise is None


def test_both_loops_mean_the_same(model: Make, fits: Fits) -> None:
    """Delays, priorities, chance, times that events set: as where the flow is followed."""
    system = model(
        {"X": {"amount": 3}, "Y": {"amount": 0}},
        {**BOTH, "turn": ("X -> Y", "0.5*X")},
        {**RATES, "next": 0.5, "gap": 0.6},
        events={
            "again": {"trigger": "time >= next", "set": {"next": "next + gap", "X": "X + 2"}},
            "late": {"trigger": "Y >= 4", "delay": "0.3", "set": {"Y": "Y - 3"}, "from_trigger": False},
            "one": {"trigger": "time >= 2", "priority": "1", "set": {"Y": "Y + 1"}},
            "other": {"trigger": "time >= 2", "priority": "1", "set": {"Y": "2*Y"}},
        },
    )
    process, quantities = hybrid_ensemble.prepare_hybrid(system, None, None)
    actual = []
    for seed, loop in enumerate((process, replace(process, stepwise=None))):
        experiment = Experiment(np.asarray(TIMES), n=10_000, seed=seed)
        chunks = hybrid_ensemble.run_hybrid(loop, quantities, experiment, SSA().settings)
        states = np.concatenate([chunk.states for chunk in chunks], axis=-1)
        actual.append(dict(zip(process.variables, states, strict=True)))
    np.testing.assert_allclose(actual[0]["next"], actual[1]["next"], rtol=1e-12)
    for index in range(len(TIMES)):
        pairs = [(100 * part["X"] + part["Y"])[index].astype(int) for part in actual]
        seen = [np.bincount(pair, minlength=max(map(np.max, pairs)) + 1) for pair in pairs]
        both = (seen[0] + seen[1]) / 20_000
        assert fits(seen[0], both), TIMES[index]
