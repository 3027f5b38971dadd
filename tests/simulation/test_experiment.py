"""What is done to a model: handed in as one thing or by keywords, and what makes no sense."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.simulation.experiment import Experiment, next_seed

DEFAULTS = {"n": 1000, "seed": 0}


def test_keywords_make_an_experiment_and_one_stands_for_itself() -> None:
    built = Experiment.of([0, 1], DEFAULTS, n=np.int64(5), seed=None)
    assert (built.times.tolist(), built.times.dtype, built.n, built.seed) == ([0.0, 1.0], np.float64, 5, 0)
    assert Experiment.of(built, DEFAULTS, n=1000, seed=0) is built
    with pytest.raises(SimulationError, match="n: is said by the experiment; change it there"):
        Experiment.of(built, DEFAULTS, n=7, seed=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"times": []}, "one or more finite numbers"),
        ({"times": [[1.0]]}, "one or more finite numbers"),
        ({"times": [1.0, np.inf]}, "one or more finite numbers"),
        ({"times": [1.0, 1.0]}, "increasing numbers from 0 on"),
        ({"times": [1.0], "start": 2.0}, "increasing numbers from 2 on"),
        ({"times": [1.0], "n": 2.5}, "whole numbers, got 2.5 and 0"),
        ({"times": [1.0], "seed": -1}, "seed: expected a whole number from 0 to 18446744073709551615, got -1"),
        ({"times": [1.0], "seed": 2**64}, "seed: expected a whole number from 0 to 18446744073709551615, got 1844"),
        ({"times": [1.0], "n": 0}, "expected between 1 and 4294967296 trajectories, got 0"),
        ({"times": [1.0], "max_events": 2**32 - 1}, "max_events: expected between 1 and 4294967294"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        Experiment(**given)


def test_the_last_seed_is_one_like_others() -> None:
    """Runs of their own, which count on from a seed, start again at the first."""
    last = 2**64 - 1
    assert Experiment([1.0], seed=last).seed == last
    assert [next_seed(seed, step) for seed, step in [(1, 1), (last, 1), (last, 3)]] == [2, 0, 2]


def test_every_entry_refuses_a_seed_that_would_be_another_s(models_dir: Path, cascade: sg.ReactionNetwork) -> None:
    """-1 was 1 in a fit, and 2**64 + s was s."""
    model, data = models_dir / "birth_death" / "model.xml", models_dir / "birth_death" / "data.csv"
    calls: list[Callable[[Any], object]] = [
        lambda seed: sg.simulate(model, [1.0], n=2, seed=seed),
        lambda seed: sg.simulate(model, [1.0], seed=seed, method="ode"),
        lambda seed: sg.sensitivity(model, [1.0], ["k"], n=2, seed=seed),
        lambda seed: sg.check(model, [1.0], ["k"], n=2, seed=seed),
        lambda seed: sg.fit(model, data, parameters={"k": None}, seed=seed),
        lambda seed: sg.value_and_grad(cascade, lambda x: x, [1.0], n=2, seed=seed),
    ]
    for call, seed in itertools.product(calls, (-1, 2**64 + 1)):
        with pytest.raises(SimulationError, match=f"seed: expected a whole number from 0 to [0-9]+, got {seed}$"):
            call(seed)
