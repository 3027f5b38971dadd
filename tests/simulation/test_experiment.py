"""What is done to a model: handed in as one thing or by keywords, and what makes no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sbmlgrad.errors import SimulationError
from sbmlgrad.simulation.experiment import Experiment

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
        ({"times": [1.0], "n": 0}, "expected between 1 and 4294967296 trajectories, got 0"),
        ({"times": [1.0], "max_events": 2**32 - 1}, "max_events: expected between 1 and 4294967294"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        Experiment(**given)
