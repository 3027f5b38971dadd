"""Weighted squares by common random numbers, of moments that are known but for a noise that all points share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from sbmlgrad.fitting.common_numbers import CommonNumbers, repeats
from sbmlgrad.fitting.loss import target
from sbmlgrad.fitting.optimise import Descent
from sbmlgrad.fitting.parameters import choose
from sbmlgrad.gradient.estimator import Estimate
from sbmlgrad.tables.measurements import read_measurements

TIMES = np.array([0.5, 1.0, 2.0, 4.0])
SEEN = np.array([1.3, 1.8, 2.7, 2.9])
ERROR = 0.2


def mean(k: float, g: float) -> np.ndarray:
    return k / g * (1 - np.exp(-g * TIMES))


def evaluate(values: np.ndarray, step: int) -> tuple[Estimate, Estimate]:
    """Exact moments and differences, with a noise that depends on the step alone."""
    random, (k, g), h = np.random.default_rng(step), values, 1e-6
    slopes = np.array([mean(1.0, g), (mean(k, g + h) - mean(k, g - h)) / (2 * h)])[:, None]
    halves = [mean(k, g) + random.normal(0, 0.1, len(TIMES)) for _ in range(2)]
    zero = np.zeros((1, len(TIMES)))
    first, second = (Estimate(half[None], zero, slopes, np.zeros_like(slopes), 100, zero) for half in halves)
    return first, second


def at_the_end() -> CommonNumbers:
    data = pd.DataFrame({"time": TIMES, "X-mean": SEEN, "X-sem": ERROR})
    parameters = choose({"k": None, "g": None}, {"k": 3.0, "g": 1.0}, {}, "here")
    point = np.log([3.0, 1.0])
    for _ in range(30):  # Gauss-Newton to the minimum
        values = np.exp(point)
        moments = evaluate(values, 0)[0]
        slopes = (moments.derivatives[:, 0] * values[:, None]).T / ERROR
        point = point - np.linalg.lstsq(slopes, (mean(*values) - SEEN) / ERROR)[0]
    descent = Descent(point, target=target(read_measurements(data)[0]))
    descent.reweight(np.full(len(TIMES), ERROR))
    descent.residuals, descent.jacobians = (mean(*np.exp(point)) - SEEN) / ERROR, np.stack([slopes, slopes])
    return CommonNumbers(evaluate, parameters, descent, 2, tqdm(disable=True))


def squares(k: float, g: float) -> float:
    return float(np.sum(np.square((mean(k, g) - SEEN) / ERROR)))


@pytest.mark.parametrize("values", [(3.0, 1.0), (2.0, 0.5)])
def test_a_noise_that_all_points_share_is_not_seen(values: tuple[float, float]) -> None:
    assert at_the_end().at(np.log(values)).value == pytest.approx(-0.5 * squares(*values), rel=1e-9)


def test_the_others_go_to_their_best_while_one_is_held() -> None:
    climb = at_the_end()
    found = climb.near(np.log([3.0, 0.6]), held=1)
    shape = mean(1.0, 0.6)
    best = float(shape @ SEEN / (shape @ shape))
    assert np.exp(found.x) == pytest.approx([best, 0.6], rel=1e-2)
    assert 2 * found.fun == pytest.approx(squares(best, 0.6), abs=1e-3)


def test_noise_asks_for_more_trajectories() -> None:
    data = pd.DataFrame({"time": TIMES, "X-mean": SEEN, "X-sem": ERROR})
    descent = Descent(np.zeros(1), target=target(read_measurements(data)[0]))
    descent.evaluations, descent.mc_covariance = 6, np.array([[0.01 / 6]])
    assert repeats(descent, np.array([1.0])) == 4
    assert repeats(descent, np.array([0.4])) == 7  # a single step has a noise of a quarter of the error
    assert repeats(descent, np.array([0.1])) == 12
