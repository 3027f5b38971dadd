"""Fisher's scoring on functions with a known maximum."""

from __future__ import annotations

import numpy as np
import pytest

from sbmlgrad.fitting.scoring import scored
from sbmlgrad.likelihood.likelihood import Evaluation

DATA = np.array([3, 5, 2, 4, 6, 1, 3])


def poisson(point: np.ndarray) -> Evaluation:
    """Poisson counts of mean exp(a + b z) with z from -1 to 1, and the information that they are expected to give."""
    z = np.stack([np.ones(len(DATA)), np.linspace(-1, 1, len(DATA))])
    mean = np.exp(point @ z)
    return Evaluation(float(DATA @ (point @ z) - mean.sum()), z @ (DATA - mean), (z * mean) @ z.T)


def search(lower: float, upper: float, informed: float = 1.0) -> tuple[np.ndarray, bool, int]:
    calls = 0

    def evaluate(point: np.ndarray) -> Evaluation:
        nonlocal calls
        calls += 1
        found = poisson(point)
        assert found.information is not None
        return Evaluation(found.value, found.score, informed * found.information)

    begin = np.array([-1.0, 1.0])
    bounds = np.full(2, lower), np.full(2, upper)
    result = scored(evaluate, evaluate(begin), begin, *bounds)
    return result.x, bool(result.success), calls


def test_the_maximum_is_found_in_a_few_steps() -> None:
    point, success, calls = search(-5.0, 5.0)
    assert success
    assert calls <= 15
    np.testing.assert_allclose(poisson(point).score, 0.0, atol=1e-3)


@pytest.mark.parametrize("informed", [0.3, 4.0])
def test_an_information_that_is_off_is_corrected(informed: float) -> None:
    point, success, calls = search(-5.0, 5.0, informed)
    assert success
    assert calls <= 40
    np.testing.assert_allclose(poisson(point).score, 0.0, atol=1e-2)


def test_bounds_hold() -> None:
    point, success, _ = search(-1.0, 1.0)
    assert success
    assert point[0] == 1.0
    assert abs(poisson(point).score[1]) < 1e-2
