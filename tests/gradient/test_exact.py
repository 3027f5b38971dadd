"""The exact judge on births at a constant rate, whose counts are Poisson."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.exact import Exact
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.network import ReactionNetwork

K, TIMES = 2.0, np.array([1.0, 2.5])


@pytest.mark.parametrize(
    ("function", "value", "slope"),
    [
        (sg.Moment("X"), K * TIMES, TIMES),
        (sg.Moment("X", "X"), K * TIMES + (K * TIMES) ** 2, TIMES + 2 * K * TIMES**2),
        (sg.Probability("X", upper=1), np.exp(-K * TIMES), -TIMES * np.exp(-K * TIMES)),
        (sg.TimeAverage("X"), K * TIMES / 2, TIMES / 2),
        (sg.FirstPassage("X", 1), 1 - np.exp(-K * TIMES), TIMES * np.exp(-K * TIMES)),
        (sg.Autocorrelation("X", 1.0), K * 1.0 + K**2 * TIMES, 1.0 + 2 * K * TIMES),
    ],
    ids=lambda item: item.label if isinstance(item, sg.Observable) else "",
)
def test_expectations_of_births(function: sg.Observable, value: np.ndarray, slope: np.ndarray) -> None:
    net = ReactionNetwork(
        [[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": K}, species=("X",)
    )
    result = Exact().estimate(differentiable(net, ["k"], [function]), Task([K], TIMES, 1, seed=0))
    np.testing.assert_allclose(result.values[0], value, rtol=1e-8)
    np.testing.assert_allclose(result.derivatives[0, 0], slope, rtol=1e-7)
    assert np.isnan(result.values_sd).all(), "nothing is drawn"


def test_states_that_a_parameter_keeps_out_of_reach_count() -> None:
    """X is made at b + 3 X^2 / (1 + X^2), lost at 0.5 X, and begun at none: with b = 0 nothing ever happens. Judged by
    scipy's exponential of the generator.
    """

    def mean(b: float) -> float:
        x = np.arange(40.0)
        generator = np.diag((b + 3 * x**2 / (1 + x**2))[:-1], -1) + np.diag(0.5 * x[1:], 1)
        generator -= np.diag(generator.sum(axis=0))
        return float(x @ expm(generator)[:, 0])

    network = ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["b"] + 3 * x[0] ** 2 / (1 + x[0] ** 2), 0.5 * x[0]]),
        x0=[0],
        parameters={"b": 0.0},
    )
    found = sg.sensitivity(network, [1.0], ["b"], estimator="exact").table["sensitivity"].iloc[0]
    assert found == pytest.approx((-3 * mean(0.0) + 4 * mean(1e-4) - mean(2e-4)) / 2e-4, rel=1e-6)
