"""Exact simulation of models that flow and jump, against laws that are known.

Seeds are fixed. Each statistical check rejects below a probability of 1e-4; there are about 60 of them in the default
run, so that a change of all random numbers raises a false alarm once in 150 times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SimulationError, TruncationError
from sbmlgrad.simulation import hybrid
from sbmlgrad.simulation.simulate import Simulation

Make = Callable[..., sg.Model]
Fits = Callable[[np.ndarray, np.ndarray], bool]
ALARM = 1e-4


def at(sim: Simulation, species: str, time: float) -> np.ndarray:
    """The counts of a species at an observation time (trajectories,)."""
    return sim.counts[:, int(np.searchsorted(sim.times, time)), sim.species.index(species)]


def poisson(values: np.ndarray, mean: float, fits: Fits) -> bool:
    numbers = np.arange(max(values.max(), int(mean)) + 60)
    return fits(np.bincount(values, minlength=len(numbers)), stats.poisson.pmf(numbers, mean))


# ---- hazards that change as time goes on ---------------------------------------------------------------

# The rate of each birth over time, and its integral from 0, in terms of the model below.
RATES: dict[str, tuple[str, Callable[[float], float]]] = {
    "sinusoidal": ("6*(1 + sin(3*time))", lambda t: 6 * t + 2 * (1 - np.cos(3 * t))),
    "stepped": ("piecewise(2, time < 0.7, piecewise(20, time < 0.8, 0.5))", lambda t: np.interp(
        t, [0, 0.7, 0.8, 10], [0, 1.4, 3.4, 8.0])),
    "fading": ("8*exp(-2*time)", lambda t: 4 * -np.expm1(-2 * t)),
    "relaxing": ("5*level", lambda t: 5 * (t + np.expm1(-t))),
    "fixed": ("3", lambda t: 3 * t),
}
TIMES = np.array([0.0, 0.3, 0.75, 2.5])


def inhomogeneous(model: Make) -> sg.Model:
    """A birth for each rate, all in one model; "level" is 1 - exp(-time), and "turnover" is lost too."""
    births = {f"make_{name}": (f" -> {name}", law) for name, (law, _) in RATES.items()}
    return model(
        dict.fromkeys([*RATES, "turnover"], {"amount": 0}),
        {
            **births,
            "gain": (" -> turnover", "10 + 8*sin(5*time)"),
            "loss": ("turnover -> ", "1.5*turnover"),
        },
        {"level": 0.0},
        rates={"level": "1 - level"},
    )


def check_inhomogeneous(sim: Simulation, fits: Fits) -> None:
    for time in TIMES[1:]:
        for name, (_, integral) in RATES.items():
            assert poisson(at(sim, name, time), integral(time), fits), (name, time)
        mean = quad(lambda s, t=time: (10 + 8 * np.sin(5 * s)) * np.exp(-1.5 * (t - s)), 0, time)[0]
        assert poisson(at(sim, "turnover", time), mean, fits), ("turnover", time)
    pairs = np.corrcoef(sim.counts[:, -1].T)[np.triu_indices(6, 1)]
    assert np.abs(pairs).max() < stats.norm.isf(ALARM / 30) / np.sqrt(sim.n), "births are independent of each other"


def test_counts_are_poisson_with_the_integral_of_the_rate(model: Make, fits: Fits) -> None:
    """Exact laws: births at any rate, and births with losses that start from 0."""
    sim = sg.simulate(inhomogeneous(model), TIMES, n=20_000, seed=1)
    check_inhomogeneous(sim, fits)
    increments = at(sim, "sinusoidal", 2.5) - at(sim, "sinusoidal", 0.75)
    assert poisson(increments, RATES["sinusoidal"][1](2.5) - RATES["sinusoidal"][1](0.75), fits)
    assert sim.events > 20_000 * 40
    np.testing.assert_allclose(sim.mean["level"], -np.expm1(-TIMES), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(sim.sd["level"], 0, atol=1e-8)


@pytest.mark.slow
def test_counts_are_poisson_in_a_larger_sample(model: Make, fits: Fits) -> None:
    check_inhomogeneous(sg.simulate(inhomogeneous(model), TIMES, n=100_000, seed=2), fits)


# ---- events --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eventful(model: Make) -> Simulation:
    """Births at rate 5 that events look at; nothing flows and no hazard changes but at events."""
    births = {name: (f" -> {name}", "5") for name in ("reset", "wrapped", "waited")}
    return sg.simulate(
        model(
            dict.fromkeys([*births, "stopped", "turnover"], {"amount": 0}),
            {
                **births,
                "make_stopped": (" -> stopped", "speed"),
                "gain": (" -> turnover", "10"),
                "loss": ("turnover -> ", "2*turnover"),
            },
            {**dict.fromkeys(("turns", "third_at", "seen_at", "seen"), 0.0), "speed": 4.0},
            events={
                "at 1": {"trigger": "time >= 1", "set": {"reset": "2", "turnover": "turnover + 3", "speed": "0"}},
                "full": {"trigger": "wrapped >= 4", "set": {"wrapped": "0", "turns": "turns + 1"}},
                "third": {"trigger": "waited >= 3", "set": {"third_at": "time"}},
                "see": {
                    "trigger": "waited >= 3",
                    "set": {"seen_at": "time", "seen": "waited"},
                    "delay": "0.5",
                    "from_trigger": False,
                },
            },
        ),
        [0.5, 1.0, 2.0, 6.0],
        n=20_000,
        seed=3,
        select=["turns", "third_at", "seen_at", "seen"],
        keep_counts=True,
    )
