"""What the model says of the noise, against what is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.fitting.loss import target
from sbmlgrad.fitting.noise import observed, smoothed
from sbmlgrad.tables.measurements import read_measurements


def test_variances_are_smoothed_without_a_negative_term() -> None:
    level = np.linspace(0, 20, 30)
    actual = smoothed(level, 2 + 0.5 * level)(np.array([0.0, 10.0, 100.0]))
    assert actual == pytest.approx([2, 7, 52], rel=1e-6)
    assert np.all(smoothed(level, np.maximum(5 - level, 0))(level) >= 0)


def test_scatter_between_replicates_adds_to_what_is_predicted() -> None:
    """Numbers of variance 4 where 1 is predicted, without correlation in time; and nothing where chance explains it."""
    random = np.random.default_rng(3)
    for sd, expected in ((2.0, 4.0), (1.0, 1.0)):
        values = random.normal(10, sd, (50, 20))
        label, time = np.repeat(np.arange(50), 20), np.tile(np.arange(20), 50)
        aim = target(*read_measurements(pd.DataFrame({"replicate": label, "time": time, "A": values.ravel()})))
        one, floored, scatter = observed(aim, np.eye(20), np.full(20, 10.0))
        assert np.diag(one) == pytest.approx(np.full(20, expected), rel=0.15)
        assert not floored.any()
        assert scatter == pytest.approx(expected, rel=0.15)
