"""Reverse mode by replay: the trajectories of the ensemble, the derivatives of forward mode and of the exact answer.

False alarms: where a statistical test has a number of standard errors for its bound, seeds are fixed and the chance of
a false alarm is given beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats

from sbmlgrad.gradient.value_and_grad import value_and_grad
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation import ensemble
from sbmlgrad.simulation.ensemble import Ensemble

BOTH = ["score", "straight_through"]
pytestmark = pytest.mark.filterwarnings("ignore:.* a number of molecules that is not whole")


@cache
def switched() -> ReactionNetwork:
    """Clones that die out at once or grow to thousands: births, deaths, and a mutation that stops them."""
    return ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["birth"] * x[0], p["death"] * x[0]]),
        x0=[1],
        parameters={"birth": 2.0, "death": 1.0},
    )


def forward(network: ReactionNetwork, times: list[float], n: int, seed: int, estimator: str) -> np.ndarray:
    """Derivatives (parameters, functions, times) of means and second moments by forward mode."""
    from sbmlgrad.gradient.estimator import Task
    from sbmlgrad.gradient.observables import Moment
    from sbmlgrad.gradient.problem import differentiable
    from sbmlgrad.gradient.score import Score
    from sbmlgrad.gradient.straight_through import StraightThrough

    functions = [Moment(s) for s in network.species] + [Moment(s, s) for s in network.species]
    chosen = Score() if estimator == "score" else StraightThrough(window=math.inf)
    problem = differentiable(network, list(network.parameters), functions)
    return chosen.estimate(
        problem, Task([float(v) for v in network.parameters.values()], np.array(times), n, seed)
    ).derivatives


@pytest.mark.parametrize("estimator", BOTH)
def test_gradients_are_those_of_forward_mode(cascade: ReactionNetwork, estimator: str) -> None:
    times = [0.0, 0.5, 2.0, 5.0]
    weights = np.random.default_rng(0).normal(size=(4, 6))
    net = cascade
    expected = forward(net, times, 200, 7, estimator)

    def moments(x: Array, p: object) -> Array:
        return jnp.concatenate([x, x**2])

    linear = [] if estimator == "score" else [(lambda x, p: x, slice(0, 3), 64)]  # where it goes another way
    for function, columns, batch in [(moments, slice(0, 6), None), *linear]:
        chosen = weights[:, columns]
        result = value_and_grad(
            net,
            function,
            times,
            loss=lambda e, w=chosen: jnp.sum(e * w),
            n=200,
            seed=7,
            estimator=estimator,
            batch=batch,
        )
        got = [result.gradient[name] for name in cascade.parameters]
        assert got == pytest.approx(np.einsum("pmk,km->p", expected[:, columns], chosen), rel=1e-6)


@pytest.mark.parametrize(
    ("function", "estimator"),
    [
        ("linear", "score"),
        pytest.param("linear", "straight_through", marks=pytest.mark.slow),
        ("square", "straight_through"),
        ("bin", "score"),  # of which straight-through has a bias
    ],
)
def test_a_neural_propensity_has_the_exact_gradient(
    neural: ReactionNetwork, exact_sum: Callable[..., float], function: str, estimator: str
) -> None:
    """20 derivatives in each case, the functions' own parameters among them: a false alarm in 1 of 100 runs."""
    net = neural
    times = [0.3, 1.0]

    def observed(x: Array, p: dict[str, Any]) -> Array:
        weights = p["readout"]
        if function == "linear":
            return weights[0] * x[0] + weights[1]
        if function == "square":
            return jnp.stack([weights[0] * x[0], weights[1] * x[0] ** 2])
        return weights[0] * jnp.where(x[0] > 6, 1.0, 0.0)

    result = value_and_grad(net, observed, times, n=6000, seed=11, estimator=estimator)
    leaves = [leaf.copy() for leaf in net.coefficients]
    expected, got = [], []
    assert jax.tree.structure(result.gradient) == jax.tree.structure(net.parameters)
    ordered = [leaf for name in net.parameters for leaf in jax.tree.leaves(result.gradient[name])]
    errors = [leaf for name in net.parameters for leaf in jax.tree.leaves(result.gradient_stderr[name])]
    for leaf, slope, error in zip(leaves, ordered, errors, strict=True):
        assert slope.shape == error.shape == leaf.shape
        for index in np.ndindex(leaf.shape):
            value, ends = float(leaf[index]), []
            for shift in (1e-4, -1e-4):
                leaf[index] = value + shift
                ends.append(exact_sum(net, observed, times, leaves))
            leaf[index] = value
            expected.append((ends[0] - ends[1]) / 2e-4)
            got.append((float(slope[index]), float(error[index])))
    assert len(expected) == 20
    for (slope, error), truth in zip(got, expected, strict=True):
        assert abs(slope - truth) < 4 * error + 1e-7
    assert abs(result.value - exact_sum(net, observed, times, leaves)) < 4 * result.stderr


@pytest.mark.parametrize("estimator", BOTH)
def test_standard_errors_are_honest(birth_death: ReactionNetwork, estimator: str) -> None:
    """Squares of z over 60 seeds, each with 8 or more degrees of freedom: false alarms in 1 of 1,000 runs."""
    net, time = birth_death, 1.0
    fading = math.exp(-time)
    truth = {"k": 1 - fading, "g": -10 * (1 - fading) + 10 * time * fading}
    value = 10 * (1 - fading)

    def count(x: Array, p: object) -> Array:
        return x[0]

    runs = [value_and_grad(net, count, [time], n=200, seed=seed, estimator=estimator, batch=100) for seed in range(60)]
    scores = {
        "value": [(run.value - value) / run.stderr for run in runs],
        **{name: [(run.gradient[name] - truth[name]) / run.gradient_stderr[name] for run in runs] for name in truth},
    }
    for z in scores.values():
        squares = float(np.sum(np.square(z)))
        assert stats.chi2.ppf(1e-4, 60) < squares < stats.chi2.ppf(1 - 1e-4, 60) * 1.1
        assert abs(np.sum(z)) < 4 * math.sqrt(60)


@pytest.mark.parametrize("estimator", BOTH)
def test_trajectories_of_very_different_lengths(estimator: str) -> None:
    """Some are extinct after one event and others take thousands; 4 comparisons, a false alarm in 1 of 4,000 runs."""
    net = switched()
    times = [0.5, 6.0]

    def count(x: Array, p: object) -> Array:
        return x[0]

    result = value_and_grad(net, count, times, loss=lambda e: e[1, 0], n=1500, seed=2, estimator=estimator)
    task = Ensemble(net, net.x0, net.coefficients, np.array(times), 1500, 2)
    ends = np.concatenate([chunk.records[0][1] for chunk in ensemble.run(task)])
    assert np.count_nonzero(ends == 0) > 300
    assert ends.max() > 100 * np.median(ends[ends > 0]) / 30
    truth = math.exp(6.0)  # E X_t = exp((birth - death) t)
    assert abs(result.value - truth) < 4 * result.stderr
    assert abs(result.gradient["birth"] - 6 * truth) < 4 * result.gradient_stderr["birth"]
    assert abs(result.gradient["death"] + 6 * truth) < 4 * result.gradient_stderr["death"]
