"""Methods and experiments: one protocol, and the same words for both ways of saying what is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError, SbmlgradError, SimulationError, TruncationError
from sbmlgrad.simulation.methods import METHODS, Method
from sbmlgrad.simulation.result import by_time

TIMES = np.array([0.5, 1.0, 2.0])


@dataclass(frozen=True)
class FirstReaction:
    """An algorithm from outside: Gillespie's first-reaction method, one trajectory after the other."""

    name: str = "first_reaction"

    def simulate(
        self, model: Any, experiment: sg.Experiment, keep_counts: bool | None = None, progress: str | None = None
    ) -> sg.Simulation:
        random = np.random.default_rng(experiment.seed)
        network = model
        rates = jax.jit(network.rates)
        counts = np.stack([self._trajectory(network, rates, experiment, random) for _ in range(experiment.n)])
        names = list(experiment.select or network.species)
        indices = [network.species.index(name) for name in names]
        mean, sd = counts[..., indices].mean(axis=0), counts[..., indices].std(axis=0, ddof=1)
        return sg.Simulation(
            times=experiment.times,
            mean=by_time(experiment.times, names, mean.T),
            sd=by_time(experiment.times, names, sd.T),
            n=experiment.n,
            seed=experiment.seed,
            events=0,
            species=network.species,
            _counts=counts,
        )

    def _trajectory(
        self, network: Any, rates_at: Any, experiment: sg.Experiment, random: np.random.Generator
    ) -> np.ndarray:
        x, time, rows = np.array(network.x0), experiment.start, []
        for until in experiment.times:
            while True:
                rates = np.ravel(rates_at(tuple(x[:, None]), network.coefficients))
                waits = np.where(rates > 0, random.exponential(size=len(rates)) / np.maximum(rates, 1e-300), np.inf)
                first = int(np.argmin(waits))
                if time + waits[first] > until:
                    break
                time, x = time + waits[first], x + network.stoichiometry[:, first]
            time = until
            rows.append(x)
        return np.array(rows, np.int64)


EVERY: list[Method] = [*(method for name, method in METHODS.items() if name != "ssa-sparse"), FirstReaction()]
# That one has no loop for functions from Python, and test_sparse.py for itself.


@pytest.fixture(scope="module")
def death() -> sg.ReactionNetwork:
    return sg.ReactionNetwork([[-1], [1]], lambda x, p: p["g"] * x[:1], [20, 0], {"g": 0.7}, species=("A", "B"))


@pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)
def test_all_methods_agree_on_a_linear_network(death: sg.ReactionNetwork, method: Method) -> None:
    """20 molecules that decay: 4.5 standard errors, 7e-6 for each of 6 numbers."""
    experiment = sg.Experiment(TIMES, select=["B", "A"], n=400, seed=3)
    actual = sg.simulate(death, experiment, method=method)
    assert list(actual.mean.columns) == ["B", "A"]
    assert list(actual.mean.index) == list(actual.sd.index) == list(TIMES)
    share = np.exp(-0.7 * TIMES)
    error = np.sqrt(20 * share * (1 - share) / 400) if actual.n == 400 else 1e-8
    assert np.all(np.abs(actual.mean["A"] - 20 * share) < 4.5 * error)
    np.testing.assert_allclose(actual.mean["A"] + actual.mean["B"], 20)


def test_an_experiment_says_what_keywords_say(death: sg.ReactionNetwork) -> None:
    words = {"n": 300, "seed": 5, "parameters": {"g": 0.3}, "select": ["A"], "start": -1.0, "max_events": 1000}
    experiment = sg.Experiment(TIMES, **words)  # type: ignore[arg-type]
    one, other = sg.simulate(death, experiment), sg.simulate(death, TIMES, **words)  # type: ignore[arg-type]
    np.testing.assert_array_equal(one.counts, other.counts)
    with pytest.raises(SimulationError, match="seed: is said by the experiment"):
        sg.simulate(death, experiment, seed=6)
    with pytest.raises(TruncationError):
        sg.simulate(death, sg.Experiment(TIMES, max_events=2))


def test_sensitivities_of_an_experiment(model: Callable[..., sg.Model]) -> None:
    system = model({"A": {"amount": 20}}, {"death": ("A ->", "g * A")}, {"g": 0.5})
    experiment = sg.Experiment(TIMES, parameters={"A": 30}, n=500, seed=2)
    for method in ("ssa", "ode"):
        one = sg.sensitivity(system, experiment, ["g"], method=method)
        other = sg.sensitivity(system.with_parameters({"A": 30}), TIMES, ["g"], n=500, seed=2, method=method)
        np.testing.assert_array_equal(one["sensitivity"], other["sensitivity"])
    assert np.abs(one["sensitivity"] + 30 * TIMES * np.exp(-0.5 * TIMES)).max() < 1e-5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"times": [1.0, 1.0]}, "times: expected increasing"),
        ({"times": [1.0], "start": 2.0}, "from 2 on"),
        ({"times": [1.0], "n": 0}, "n: expected between 1"),
        ({"times": [1.0], "n": 1.5}, "whole numbers"),
        ({"times": [1.0], "max_events": 0}, "max_events: expected between 1"),
    ],
)
def test_experiments_that_make_no_sense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        sg.Experiment(**words)


def test_methods_that_make_no_sense(death: sg.ReactionNetwork) -> None:
    with pytest.raises(SimulationError, match="rtol: expected between"):
        sg.ODE(rtol=0.5)
    with pytest.raises(SimulationError, match="max_steps"):
        sg.SSA(max_steps=0)
    with pytest.raises(SimulationError, match="method 'tau': not available"):
        sg.simulate(death, TIMES, method="tau")


def test_derivatives_of_a_method_from_outside_are_refused(death: sg.ReactionNetwork) -> None:
    with pytest.raises(SbmlgradError, match="'first_reaction': has no derivatives"):
        sg.sensitivity(death, TIMES, ["g"], method=FirstReaction())
    data = sg.simulate(death, TIMES).to_table()
    with pytest.raises(FitError, match="'first_reaction': a fit has no derivatives of it"):
        sg.fit(death, data, {"g": None}, method=FirstReaction())


def test_a_limit_on_steps_is_kept(model: Callable[..., sg.Model]) -> None:
    wave = model({}, None, {"x": 1, "y": 0}, rates={"x": "y", "y": "-x"})
    with pytest.raises(TruncationError, match="taken 20 steps"):
        sg.simulate(wave, [100.0], method=sg.ODE(max_steps=20))
