"""Values and gradients of losses: batches, errors, parameters given anew, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SbmlgradError, SimulationError, TruncationError
from sbmlgrad.gradient.value_and_grad import Gradient, value_and_grad
from sbmlgrad.network import ReactionNetwork, discretise

BOTH = ["score", "straight_through"]
NAMES = [f"k{i}" for i in range(10)]
VALUES = [4.0, 0.3, 0.05, 1.2, 0.02, 0.6, 2.0, 0.15, 0.7, 3.0]


@cache  # with what is compiled for it
def cascade() -> ReactionNetwork:
    """Three species, eight reactions and ten numbers for parameters; two initial counts are fractions."""

    def propensities(x: Array, p: dict[str, Array]) -> Array:
        a, b, c = x[0], x[1], x[2]
        k = [p[name] for name in NAMES]
        return jnp.stack(
            [
                k[0] / (1 + (c / k[9]) ** 2),
                k[1] * a,
                k[2] * a * (a - 1),
                k[3] * b,
                k[4] * b * (1 + a),
                k[5] * c,
                k[6] * a / (k[8] + a + b),
                k[7] * c,
            ]
        )

    jumps = [[1, -1, -2, 2, 0, 0, -1, 0], [0, 0, 1, -1, -1, 0, 0, 1], [0, 0, 0, 0, 1, -1, 3, -1]]
    return ReactionNetwork(jumps, propensities, x0=[5.2, 2.5, 3], parameters=dict(zip(NAMES, VALUES, strict=True)))


@cache
def birth_death() -> ReactionNetwork:
    return ReactionNetwork(
        [[1, -1]], lambda x, p: jnp.stack([p["k"], p["g"] * x[0]]), x0=[0], parameters={"k": 10.0, "g": 1.0}
    )


MOST = 40  # molecules in the exact answer


@cache
def neural() -> ReactionNetwork:
    """A gene whose production is a small neural network of its product; parameters in tuples, lists and dicts."""
    rng = np.random.default_rng(1)

    def propensities(x: Array, p: dict[str, Any]) -> Array:
        hidden = x / 10
        for weights, bias in p["layers"]:
            hidden = jnp.tanh(weights @ hidden + bias)
        return jnp.stack([8 * jax.nn.softplus(p["out"]["weights"] @ hidden + p["out"]["bias"]), p["decay"] * x[0]])

    layers = [(rng.normal(size=(3, 1)), rng.normal(size=3)), (rng.normal(size=(2, 3)), rng.normal(size=2))]
    parameters = {
        "layers": layers,
        "out": {"weights": rng.normal(size=2), "bias": np.array(0.1)},
        "decay": 1.0,
        "readout": np.array([0.5, 0.02]),
    }
    return ReactionNetwork([[1, -1]], propensities, x0=[2], parameters=parameters)


def exact(net: ReactionNetwork, function: Callable[..., Any], times: list[float], leaves: list[np.ndarray]) -> float:
    """The sum of E f(X_t) by the matrix exponential of the generator, cut off at MOST molecules."""
    states = jnp.arange(MOST + 1.0)[:, None]
    birth, death = np.asarray(jax.vmap(lambda x: net.propensities_at(x, leaves))(states)).T
    generator = np.diag(birth[:-1], -1) + np.diag(death[1:], 1)
    generator -= np.diag(generator.sum(axis=0))
    values = np.asarray(jax.vmap(lambda x: jnp.atleast_1d(function(x, net.structured(leaves))))(states)).sum(axis=1)
    start = np.zeros(MOST + 1)
    start[int(net.x0[0])] = 1.0
    return float(sum(values @ (expm(generator * t) @ start) for t in times))


def first(x: Array, p: object) -> Array:
    return x[0]


@pytest.mark.parametrize("estimator", BOTH)
def test_batches_do_not_change_the_gradient(estimator: str) -> None:
    net = cascade()
    runs = [
        value_and_grad(net, lambda x, p: x, [0.0, 0.5, 2.0, 5.0], n=64, seed=1, estimator=estimator, batch=batch)
        for batch in (None, 7)  # of which there are too few for the groups of the first
    ]
    for run in runs:
        assert run.value == runs[0].value
        assert run.events == runs[0].events
        for name in NAMES:
            assert run.gradient[name] == pytest.approx(runs[0].gradient[name], rel=1e-9)
            assert 0 < run.gradient_stderr[name] < 10 * runs[0].gradient_stderr[name]


def test_few_trajectories_have_an_error_and_one_has_none() -> None:
    net = birth_death()
    few = value_and_grad(net, first, [1.0], n=9)
    assert few.gradient_stderr["g"] > 0
    assert few.stderr > 0
    alone = value_and_grad(net, first, [1.0], n=1)
    assert np.isnan(alone.stderr)
    assert np.isnan(alone.gradient_stderr["g"])
    assert np.isfinite(alone.gradient["g"])


def test_a_loss_that_is_not_linear_is_differentiated_at_the_expectations() -> None:
    net = birth_death()
    data = np.array([3.0, 7.0])
    result = value_and_grad(net, first, [0.5, 2.0], loss=lambda e: jnp.sum((e[:, 0] - data) ** 2), n=100, seed=4)
    slopes = 2 * (result.expectations[:, 0] - data)
    linear = value_and_grad(net, first, [0.5, 2.0], loss=lambda e: jnp.sum(e[:, 0] * slopes), n=100, seed=4)
    assert result.expectations.shape == (2, 1)
    assert result.value == pytest.approx(np.sum((result.expectations[:, 0] - data) ** 2))
    for name in ("k", "g"):
        assert result.gradient[name] == pytest.approx(linear.gradient[name])
        assert result.gradient_stderr[name] == pytest.approx(linear.gradient_stderr[name])
    assert result.stderr == pytest.approx(linear.stderr)


def test_parameters_can_be_given_without_compiling_again() -> None:
    """One comparison: a false alarm in 1 of 16,000 runs."""
    net = neural()
    value_and_grad(net, first, [0.5], n=400)
    compiled = set(net.compiled)
    other = jax.tree.map(lambda leaf: leaf * 0.5, net.parameters)
    result = value_and_grad(net, first, [0.5], n=400, parameters=other)
    assert set(net.compiled) == compiled
    truth = exact(net, first, [0.5], list(net.coefficients_of(other)))
    assert abs(truth - exact(net, first, [0.5], list(net.coefficients))) > 8 * result.stderr
    assert abs(result.value - truth) < 4 * result.stderr


def test_a_network_of_generated_rates(model: Callable[..., sg.Model]) -> None:
    """It has no function of a vector, and its values may be such that nothing is checked for signs."""
    read = model(
        {"A": {"amount": 20}, "B": {"amount": 0}},
        {"forth": ("A -> B", "c * A"), "back": ("B -> A", "d * B")},
        {"c": 1.0, "d": 0.5},
    )
    generated = discretise(read).network
    assert generated.propensities is None
    named = {float(value): name for name, value in generated.parameters.items()}
    written = ReactionNetwork(
        generated.stoichiometry,
        lambda x, p: jnp.stack([p["c"] * x[0], p["d"] * x[1]]),
        x0=generated.x0,
        parameters={"c": 1.0, "d": 0.5},
    )
    by_rates, by_vector = (
        value_and_grad(net, first, [1.0], n=50, estimator="straight_through") for net in (generated, written)
    )
    assert by_rates.value == by_vector.value
    assert by_rates.gradient[named[1.0]] == pytest.approx(by_vector.gradient["c"], rel=1e-9)
    assert by_rates.gradient[named[0.5]] == pytest.approx(by_vector.gradient["d"], rel=1e-9)
    negative = {name: -value for name, value in generated.parameters.items()}
    with pytest.raises(PropensityError):
        value_and_grad(generated, first, [1.0], n=5, parameters=negative)


def test_nothing_happens_in_a_network_that_cannot_react() -> None:
    net = ReactionNetwork([[-1]], lambda x, p: p["g"] * x, x0=[0], parameters={"g": 1.0})
    bare = ReactionNetwork(np.zeros((1, 0), int), lambda x, p: jnp.zeros(0), x0=[3], parameters={"g": 1.0})
    for estimator in BOTH:
        result = value_and_grad(net, lambda x, p: x[0] + p["g"], [0.0, 1.0], n=3, estimator=estimator)
        assert result.value == 2.0
        assert result.gradient["g"] == 2.0
        assert result.events == 0
        at_start = value_and_grad(net, first, [0.0], n=3, estimator=estimator)
        assert at_start.gradient["g"] == 0.0
        squared = value_and_grad(bare, lambda x, p: p["g"] * x**2, [1.0], n=3, estimator=estimator)
        assert squared.gradient["g"] == 9.0


def expect(message: str, call: Callable[[], Gradient], kind: type[SbmlgradError] = SbmlgradError) -> None:
    with pytest.raises(kind, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


def test_what_does_not_fit_is_refused() -> None:
    net = birth_death()
    expect("function: cannot be called", lambda: value_and_grad(net, lambda x: x, [1.0]))
    expect("(functions,), got shape (1, 1)", lambda: value_and_grad(net, lambda x, p: x[None], [1.0]))
    expect("(functions,), got shape (0,)", lambda: value_and_grad(net, lambda x, p: x[:0], [1.0]))
    expect("loss: cannot be called with", lambda: value_and_grad(net, first, [1.0], loss=lambda: 0, n=9))
    expect(
        "one number, got an array of shape (1,)", lambda: value_and_grad(net, first, [1.0], loss=lambda e: e[0], n=9)
    )
    expect("estimator 'best'", lambda: value_and_grad(net, first, [1.0], estimator="best"))
    expect("times: expected increasing", lambda: value_and_grad(net, first, [2.0, 1.0]), SimulationError)
    expect("whole numbers", lambda: value_and_grad(net, first, [1.0], n=2.5), SimulationError)
    expect("n: expected between", lambda: value_and_grad(net, first, [1.0], n=0), SimulationError)
    expect("batch: expected at least 1", lambda: value_and_grad(net, first, [1.0], batch=0))
    expect("parameters: expected values for k, g", lambda: value_and_grad(net, first, [1.0], parameters={"k": 1.0}))
    expect("'g': expected the structure", lambda: value_and_grad(net, first, [1.0], parameters={"k": 1, "g": [1, 2]}))
    expect("expected a ReactionNetwork, got str", lambda: value_and_grad("model.xml", first, [1.0]))
    still = ReactionNetwork([[1]], lambda x, p: jnp.ones(1), x0=[0])
    expect("no parameters", lambda: value_and_grad(still, first, [1.0]))


def test_errors_along_the_way_name_trajectory_time_and_reaction() -> None:
    net = ReactionNetwork(
        [[2, 1, 1]],
        lambda x, p: jnp.concatenate([p["leap"] * (3 - x), p["growth"] * (3 - x), p["explosion"] * x**2]),
        x0=[1],
        parameters={"leap": 0.0, "growth": 0.0, "explosion": 0.0},
        species=("A",),
        reactions=("leap", "growth", "explosion"),
    )

    def call(most: int = 10_000, **rates: float) -> Gradient:
        return value_and_grad(net, first, [50.0], n=4, max_events=most, parameters={**net.parameters, **rates})

    assert call(growth=1.0).value == 3.0
    assert call(most=2, growth=1.0).events == 8
    expect("more than the 1 allowed", lambda: call(most=1, growth=1.0), TruncationError)
    for part in ("reaction 'leap': its propensity is -1 at time ", "in trajectory ", " (A=4)"):
        expect(part, lambda: call(growth=1.0, leap=1.0), PropensityError)
    expect("reaction 'growth': its propensity is nan at time 0 in", lambda: call(growth=math.nan), PropensityError)
    for part in ("trajectory ", "species 'A' is at ", "more than the 1e+04 allowed"):
        expect(part, lambda: call(explosion=1.0), TruncationError)
