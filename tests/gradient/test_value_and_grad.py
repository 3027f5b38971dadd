"""Values and gradients of losses: batches, errors, parameters given anew, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SbmlgradError, SimulationError, TruncationError
from sbmlgrad.gradient.value_and_grad import Gradient, value_and_grad
from sbmlgrad.network import ReactionNetwork, discretise

BOTH = ["score", "straight_through"]
pytestmark = pytest.mark.filterwarnings("ignore:.* a number of molecules that is not whole")


def first(x: Array, p: object) -> Array:
    return x[0]


@pytest.mark.parametrize("estimator", BOTH)
def test_batches_do_not_change_the_gradient(cascade: ReactionNetwork, estimator: str) -> None:
    net = cascade
    runs = [
        value_and_grad(net, lambda x, p: x, [0.0, 0.5, 2.0, 5.0], n=64, seed=1, estimator=estimator, batch=batch)
        for batch in (None, 7)  # of which there are too few for the groups of the first
    ]
    for run in runs:
        assert run.value == runs[0].value
        assert run.events == runs[0].events
        for name in cascade.parameters:
            assert run.gradient[name] == pytest.approx(runs[0].gradient[name], rel=1e-9)
            assert 0 < run.gradient_stderr[name] < 10 * runs[0].gradient_stderr[name]


def test_few_trajectories_have_an_error_and_one_has_none(birth_death: ReactionNetwork) -> None:
    net = birth_death
    few = value_and_grad(net, first, [1.0], n=9)
    assert few.gradient_stderr["g"] > 0
    assert few.stderr > 0
    alone = value_and_grad(net, first, [1.0], n=1)
    assert np.isnan(alone.stderr)
    assert np.isnan(alone.gradient_stderr["g"])
    assert np.isfinite(alone.gradient["g"])


def test_a_loss_that_is_not_linear_is_differentiated_at_the_expectations(birth_death: ReactionNetwork) -> None:
    net = birth_death
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


def test_parameters_can_be_given_without_compiling_again(
    neural: ReactionNetwork, exact_sum: Callable[..., float]
) -> None:
    """One comparison: a false alarm in 1 of 16,000 runs."""
    net = neural
    value_and_grad(net, first, [0.5], n=400)
    compiled = set(net.compiled)
    other = jax.tree.map(lambda leaf: leaf * 0.5, net.parameters)
    result = value_and_grad(net, first, [0.5], n=400, parameters=other)
    assert set(net.compiled) == compiled
    truth = exact_sum(net, first, [0.5], list(net.coefficients_of(other)))
    assert abs(truth - exact_sum(net, first, [0.5], list(net.coefficients))) > 8 * result.stderr
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


def test_what_does_not_fit_is_refused(birth_death: ReactionNetwork) -> None:
    net = birth_death
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
