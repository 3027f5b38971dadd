"""Derivatives of models that flow and jump, against the master equation with rates that change in time.

The judge is scipy's: the probabilities of X = 0, 1, ... solve a linear differential equation, events at known times are
matrices, and derivatives are central differences of that solution. Every derivative is held within 4.5 standard errors:
of about 60 comparisons with a fixed seed, 0.0004 would fail by chance with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import sbmlgrad as sg

Make = Callable[..., sg.Model]
Values = Mapping[str, float]
MOST = 60  # molecules
TIMES = (0.7, 2.0)
N = 8192
ALARM = 4.5
FUNCTIONS = (sg.Moment("X"), sg.Moment("X", "X"), sg.Probability("X", 3, 7))
COUNTS = np.arange(MOST)
SEEN = np.stack([COUNTS, COUNTS**2, (COUNTS >= 3) & (COUNTS < 7)]).astype(float)


@dataclass(frozen=True)
class Case:
    """A document, and its truth: the rates of jumps from X over time, and what happens at known times.

    ``rates(t, X, values)`` gives pairs of a number of molecules and a rate, of one X or of an array; ``lands`` says
    where a jump ends; ``events(values)`` pairs of a time and where every number goes. ``unseen`` are the parameters
    that the score does not see.
    """

    reactions: Mapping[str, tuple[str, str]]
    parameters: Values
    rates: Callable[[float, Any, Values], Sequence[tuple[int, Any]]]
    more: Mapping[str, Any] = field(default_factory=dict)
    events: Callable[[Values], Sequence[tuple[float, Callable[[int], int]]]] = lambda values: ()
    lands: Callable[[int], int] = lambda x: x
    unseen: Sequence[str] = ()
    by: Sequence[str] | None = None
    start: int = 4

    def document(self, model: Make) -> sg.Model:
        return model({"X": {"amount": self.start}}, self.reactions, self.parameters, **self.more)

    def expectations(self, values: Values) -> np.ndarray:
        """The functions (functions, times)."""
        start = int(values.get("X", self.start))
        p, now, actual = np.eye(MOST)[start], 0.0, []
        for time, move in sorted([*((t, None) for t in TIMES), *self.events(values)], key=lambda pair: pair[0]):
            p = self._solved(p, now, time, values)
            now = time
            if move is None:
                actual.append(SEEN @ p)
            else:
                p = sum(weight * np.eye(MOST)[move(x)] for x, weight in enumerate(p) if x < MOST - 10)
        return np.array(actual).T

    def _solved(self, p: np.ndarray, begin: float, end: float, values: Values) -> np.ndarray:
        def change(time: float, p: np.ndarray) -> np.ndarray:
            result = np.zeros(MOST)
            for jump, rate in self.rates(time, COUNTS[:-1], values):
                flow = rate * p[:-1]
                result[:-1] -= flow
                np.add.at(result, self.targets[jump], flow)
            return result

        columns = [change(begin, row) for row in np.eye(MOST)] if self._still else None
        matrix = None if columns is None else np.array(columns).T
        flow = change if matrix is None else (lambda _, p: matrix @ p)
        return solve_ivp(flow, (begin, end), p, rtol=1e-9, atol=1e-12, max_step=0.25).y[:, -1]

    @cached_property
    def targets(self) -> Mapping[int, Sequence[int]]:
        """Where a jump from each number of molecules ends."""
        jumps = [jump for jump, _ in self.rates(0.0, COUNTS[:-1], self.parameters)]
        return {jump: [min(self.lands(x + jump), MOST - 1) for x in range(MOST - 1)] for jump in jumps}

    @property
    def _still(self) -> bool:
        return all(self.rates(0.0, x, self.parameters) == self.rates(1.3, x, self.parameters) for x in (0, 5))

    def derivatives(self, names: Sequence[str]) -> np.ndarray:
        """By each parameter (parameters, functions, times)."""
        values = {**self.parameters, "X": float(self.start)}
        rows = []
        for name in names:
            step = 1e-3 * values[name]
            above, below = (self.expectations({**values, name: values[name] + s}) for s in (step, -step))
            rows.append((above - below) / (2 * step))
        return np.array(rows)


def birth_death(birth: Callable[[float, Values], float]) -> Callable[[float, Any, Values], Sequence[tuple[int, Any]]]:
    return lambda t, x, v: ((1, birth(t, v)), (-1, v["g"] * x))


BOTH = {"birth": (" -> X", "k"), "death": ("X -> ", "g*X")}
RATES = {"k": 3.0, "g": 0.8}


def born(law: str) -> Mapping[str, tuple[str, str]]:
    return {**BOTH, "birth": (" -> X", law)}


def at(time: str, **assigned: str) -> Mapping[str, Any]:
    return {"events": {"e": {"trigger": f"time >= {time}", "set": assigned}}}


def relaxed(t: float, v: Values) -> float:
    """y of y' = a - b y from 1."""
    return v["a"] / v["b"] + (1 - v["a"] / v["b"]) * np.exp(-v["b"] * t)


STEADY = birth_death(lambda t, v: v["k"])
CASES = {
    "dose": Case(BOTH, RATES, STEADY, at("1", X="X + 8"), lambda v: [(1.0, lambda x: x + 8)]),
    "washout": Case(BOTH, RATES, STEADY, at("1", X="0"), lambda v: [(1.0, lambda x: 0)]),
    "step": Case(
        born("piecewise(k, time < 1, 3*k)"),
        RATES,
        birth_death(lambda t, v: v["k"] * (1 if t < 1 else 3)),
        events=lambda v: [(1.0, lambda x: x)],
    ),
    "periodic input": Case(
        born("k*(1 + 0.5*sin(w*time))"),
        {**RATES, "w": 2.0},
        birth_death(lambda t, v: v["k"] * (1 + 0.5 * np.sin(v["w"] * t))),
    ),
    "decaying input": Case(
        born("k*exp(-d*time)"), {**RATES, "d": 0.6}, birth_death(lambda t, v: v["k"] * np.exp(-v["d"] * t))
    ),
    "event on counts": Case(
        BOTH,
        RATES,
        STEADY,
        {"events": {"e": {"trigger": "X >= 7", "set": {"X": "1"}}}},
        lands=lambda x: 1 if x == 7 else x,
    ),
    "rate rule": Case(
        born("k*y"),
        {**RATES, "a": 0.5, "b": 1.2, "y": 1.0},
        birth_death(lambda t, v: v["k"] * relaxed(t, v)),
        {"rates": {"y": "a - b*y"}},
        by=["k", "g", "a", "b"],
    ),
    "growing volume": Case(
        {"birth": (" -> X", "k"), "pair": ("2 X -> ", "g*X*(X - 1)/cell")},
        {"k": 3.0, "g": 0.8, "r": 0.7},
        lambda t, x, v: ((1, v["k"]), (-2, v["g"] * x * (x - 1) / np.exp(v["r"] * t))),
        {"rates": {"cell": "r*cell"}},
    ),
    "event on a rate": Case(
        BOTH,
        RATES,
        birth_death(lambda t, v: v["k"] if t < 1 else v["k"] ** 2 / 2),
        at("1", k="k^2/2"),
        lambda v: [(1.0, lambda x: x)],
    ),
    "time of a step": Case(
        born("piecewise(k, time < T, 3*k)"),
        {**RATES, "T": 1.1},
        birth_death(lambda t, v: v["k"] * (1 if t < v["T"] else 3)),
        events=lambda v: [(v["T"], lambda x: x)],
        unseen=["T"],
    ),
    "time of a dose": Case(
        BOTH,
        {**RATES, "T": 1.1},
        STEADY,
        at("T", X="X + 8"),
        lambda v: [(v["T"], lambda x: x + 8)],
        unseen=["T"],
    ),
    "period": Case(
        born("k*rem(time, T)"),
        {**RATES, "T": 0.9},
        birth_death(lambda t, v: v["k"] * (t % v["T"])),
        events=lambda v: [(v["T"], lambda x: x), (2 * v["T"], lambda x: x)],
        unseen=["T"],
    ),
}


MORE = ("washout", "step", "decaying input", "event on a rate", "time of a step")  # as others do, in one way or another


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in MORE else []) for n in CASES])
def test_derivatives_are_those_of_the_master_equation(name: str, model: Make) -> None:
    case = CASES[name]
    by = list(case.by or case.parameters)
    exact = case.derivatives(by)
    table = sg.sensitivity(case.document(model), TIMES, by, n=N, seed=3, select=FUNCTIONS)
    actual, error = (by_parameter(table, column, by) for column in ("sensitivity", "stderr"))
    worst = np.abs(actual - exact) - ALARM * error - 2e-3 * np.abs(exact)  # differences have a bias of their step
    assert np.all(worst <= 1e-9), (actual, exact, error)
    assert np.median(error / np.maximum(np.abs(exact), 0.1)) < 0.3, "the noise hides everything"
    for parameter in by:
        assert (f"'{parameter}'" in table.attrs["note"]) == (parameter in case.unseen), table.attrs["note"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_by_a_hundred_thousand_trajectories(name: str, model: Make) -> None:
    """Each within 2 % or what chance allows, and all errors together of the size that they are said to have."""
    case = CASES[name]
    by = list(case.by or case.parameters)
    exact = case.derivatives(by)
    table = sg.sensitivity(case.document(model), TIMES, by, n=100_000, seed=5, select=FUNCTIONS)
    actual, error = (by_parameter(table, column, by) for column in ("sensitivity", "stderr"))
    off = np.abs(actual - exact)
    z = np.where(error > 0, off / np.where(error > 0, error, 1.0), np.where(off <= 1e-9, 0.0, np.inf))
    near = (off <= 0.02 * np.abs(exact)) | (z <= 1.0)
    print(f"\n{name}: {near.sum()} of {near.size} within 2 % or one standard error, rms z {np.sqrt((z**2).mean()):.2f}")
    assert np.all((off <= 0.02 * np.abs(exact)) | (z <= ALARM)), (actual, exact, error)
    assert near.mean() > 0.75
    assert np.sqrt((z**2).mean()) < 2.0  # derivatives of one ensemble are correlated


def test_martingales_take_the_noise_off(model: Make) -> None:
    """By a factor of five at least, beside the score alone; a dose does not disturb them."""
    case = CASES["dose"]
    document = case.document(model)
    table = sg.sensitivity(document, TIMES, ["k"], n=N, seed=3, select=FUNCTIONS[:1])
    alone = sg.sensitivity(document, TIMES, ["k"], n=200, seed=3, select=FUNCTIONS[:1])  # too few to learn from
    assert np.all(table["stderr"] < alone["stderr"] * np.sqrt(200 / N) / 5)


def by_parameter(table: pd.DataFrame, column: str, names: Sequence[str]) -> np.ndarray:
    """A column of the table as an array (parameters, functions, times)."""
    shape = (len(TIMES), len(FUNCTIONS))
    return np.stack([table.loc[table["parameter"] == name, column].to_numpy().reshape(shape).T for name in names])


SET_LATER = {"later": {"trigger": "time > 1.5", "set": {"k": "1"}}}
DOSED = {"dose": {"trigger": "time > 0.5", "set": {"B": "B + 5"}}}


@pytest.mark.parametrize(
    ("law", "parameters", "more"),
    [
        ("k * A", {"k": 0.0}, {"events": SET_LATER}),
        ("k * A", {"k": 9.0, "k0": 0.0}, {"events": SET_LATER, "initial": {"k": "k0"}}),
        ("x * A", {"x": 0.0, "a": 0.0}, {"rates": {"x": "a"}}),
        ("A * (a - 1)", {"a": 1.0}, {"events": DOSED}),
    ],
    ids=["start of a variable", "assigned at the start", "flows", "difference"],
)
def test_reactions_that_a_parameter_keeps_from_firing_are_noticed(
    model: Make, law: str, parameters: dict[str, float], more: dict[str, Any]
) -> None:
    """Each derivative is -A or more of it, and no trajectory shows it."""
    species = {"A": {"amount": 40}, "B": {"amount": 0}}
    system, name = model(species, {"go": ("A -> B", law)}, parameters, **more), list(parameters)[-1]
    with pytest.raises(sg.errors.EstimatorError, match=f"'score': {name!r} switches a reaction off, .* use 'auto'"):
        sg.sensitivity(system, [1.0], parameters=[name], n=8, seed=1, estimator="score")
