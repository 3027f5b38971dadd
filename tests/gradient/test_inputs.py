"""Inputs by trajectory: the values and gradients of the exact answer, and of networks that have each input built in."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError, SimulationError
from sbmlgrad.gradient.value_and_grad import Expectations, value_and_grad

Tree = dict[str, Any]
BOTH = ["score", "straight_through"]
TIMES = [0.3, 1.0]
ITEMS = {"signal": np.array([[0.2, -1.0], [1.0, 0.5], [-0.7, 0.3]]), "label": np.array([0, 1, 2])}


@cache
def driven() -> sg.ReactionNetwork:
    """A gene that is driven by signals through a layer of weights, and represses itself."""

    def propensities(x: Array, p: Tree, inputs: Tree) -> Array:
        drive = jnp.sum(jnp.tanh(p["weights"] @ inputs["signal"]))
        return jnp.stack([8 * jax.nn.softplus(drive - p["feedback"] * x[0]), p["decay"] * x[0]])

    return sg.ReactionNetwork(
        [[1, -1]],
        propensities,
        x0=[2],
        parameters={"weights": np.array([[0.5, 0.3], [-0.4, 1.0]]), "feedback": 0.1, "decay": 1.0, "scale": 0.2},
        inputs={"signal": np.zeros(2), "label": 0},
    )


def shared(x: Array, p: Tree, inputs: Tree) -> Array:
    return x[0]


def labelled(x: Array, p: Tree, inputs: Tree) -> Array:
    """Other functions for other items, with a parameter of their own."""
    return jnp.stack([(1.0 + inputs["label"]) * x[0] ** 2 * p["scale"], p["scale"] * x[0]])


def item(index: int) -> Tree:
    return jax.tree.map(lambda leaf: leaf[index], ITEMS)


@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize("function", [shared, labelled])
def test_the_gradient_is_that_of_the_exact_expectation(
    exact_sum: Callable[..., float], function: Callable[..., Array], estimator: str
) -> None:
    """The mean over items by the master equation and its central differences, 8 numbers: 1 false alarm in 2,000."""
    net = driven()
    result = value_and_grad(net, function, TIMES, inputs=ITEMS, n=9000, seed=4, estimator=estimator)

    def exact(leaves: list[np.ndarray]) -> float:
        baked = [net.with_inputs(item(i)) for i in range(3)]
        return float(
            np.mean(
                [
                    exact_sum(one, lambda x, p, i=i: function(x, p, item(i)), TIMES, leaves)
                    for i, one in enumerate(baked)
                ]
            )
        )

    leaves = [leaf.copy() for leaf in net.coefficients]
    assert abs(result.value - exact(leaves)) < 4 * result.stderr
    slopes = [leaf for name in net.parameters for leaf in jax.tree.leaves(result.gradient[name])]
    errors = [leaf for name in net.parameters for leaf in jax.tree.leaves(result.gradient_stderr[name])]
    for leaf, slope, error in zip(leaves, slopes, errors, strict=True):
        for index in np.ndindex(leaf.shape):
            value, ends = float(leaf[index]), []
            for shift in (1e-4, -1e-4):
                leaf[index] = value + shift
                ends.append(exact(leaves))
            leaf[index] = value
            assert abs(slope[index] - (ends[0] - ends[1]) / 2e-4) < 4.5 * error[index] + 1e-7


@pytest.mark.parametrize("estimator", BOTH)
def test_they_are_those_of_a_network_with_the_inputs_built_in(estimator: str) -> None:
    """The same trajectories and, where all items are one, the same bits of the value."""
    net = driven()
    baked = net.with_inputs(item(1))
    alone = value_and_grad(baked, labelled, TIMES, n=60, seed=2, estimator=estimator, batch=16)
    one = jax.tree.map(lambda leaf: leaf[1:2], ITEMS)
    given = value_and_grad(net, labelled, TIMES, inputs=one, n=60, seed=2, estimator=estimator, batch=16)
    assert given.value == alone.value
    forward = sg.expectations(net, labelled, TIMES, inputs=one, n=60, seed=2)
    assert np.array_equal(forward.mean, alone.expectations)
    assert np.sum(forward.stderr) > 0
    assert forward.events == alone.events
    assert given.events == alone.events
    for name in net.parameters:
        assert given.gradient[name] == pytest.approx(alone.gradient[name], rel=1e-9)
        assert given.gradient_stderr[name] == pytest.approx(alone.gradient_stderr[name], rel=1e-9)
    simulated = sg.simulate(baked, TIMES, n=60, seed=2)
    assert np.mean(simulated.counts[:, :, 0], axis=0) * 0.2 == pytest.approx(alone.expectations[:, 1])


def test_neighbouring_trajectories_share_an_item_and_may_have_counts_of_their_own() -> None:
    net = driven()

    def seen(x: Array, p: Tree, inputs: Tree) -> Array:
        return jnp.stack([1.0 * (inputs["label"] == 2), x[0], x[0] * inputs["label"]])

    result = value_and_grad(net, seen, [0.0], inputs=ITEMS, x0=[[1], [5], [3]], n=12, batch=5)
    assert result.expectations[0] == pytest.approx([1 / 3, 3.0, (5 + 2 * 3) / 3])
    assert value_and_grad(net, seen, [0.0], inputs=ITEMS).n == 3
    each = sg.expectations(net, seen, [0.0], inputs=ITEMS, x0=[[1], [5], [3]], n=6)
    assert each.values[0, 1].tolist() == [1, 1, 5, 5, 3, 3]
    assert value_and_grad(net, seen, [0.0], inputs=ITEMS, x0=[7]).expectations[0, 1] == 7.0


def test_effort_and_broken_laws_are_judged_by_the_inputs_of_the_trajectory() -> None:
    """The network's own would fire 1e9 times, or never; each trajectory has others."""

    def one(own: float) -> sg.ReactionNetwork:
        laws = lambda x, p, inputs: jnp.stack([0.0 * x[0], p["k"] * inputs])  # noqa: E731
        return sg.ReactionNetwork([[1, 1]], laws, x0=[0], parameters={"k": 1.0}, inputs=own)

    def fired(own: float, inputs: list[float]) -> Expectations:
        return sg.expectations(one(own), shared, [1.0], inputs=np.array(inputs), max_events=1000)

    assert fired(1e9, [50.0, 60.0]).values.max() < 120  # 8 standard deviations
    expect("trajectory 1: at time", lambda: fired(0.0, [1.0, 1e6]), SimulationError)
    expect("'R1': its propensity is -2 at", lambda: fired(3.0, [4.0, -2.0]), SimulationError)


def expect(message: str, call: Callable[[], Any], kind: type[SbmlgradError] = SbmlgradError) -> None:
    with pytest.raises(kind, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


def test_inputs_that_do_not_fit_are_refused(birth_death: sg.ReactionNetwork) -> None:
    net = driven()

    def call(**options: Any) -> Callable[[], Any]:
        return lambda: value_and_grad(net, shared, TIMES, **options)

    expect("inputs: the network takes none", lambda: value_and_grad(birth_death, lambda x, p: x, TIMES, inputs=ITEMS))
    expect("inputs: expected the structure", call(inputs={"signal": ITEMS["signal"]}))
    expect("shapes [(3,), (3, 3)]", call(inputs={**ITEMS, "signal": np.zeros((3, 3))}))
    expect("expected as many of each", call(inputs={**ITEMS, "label": np.zeros(2)}))
    expect("n: expected a multiple of the 3 items", call(inputs=ITEMS, n=10), SimulationError)
    expect("x0: expected initial counts of shape (1,) or (3, 1)", call(inputs=ITEMS, x0=np.zeros((2, 1))))
    expect("x0: expected initial counts of shape (1,), got", call(x0=np.zeros((3, 1))))
    expect("whole numbers where items have", call(inputs=ITEMS, x0=np.full((3, 1), 0.5)))
    expect("cannot be called with (x, parameters, inputs)", lambda: value_and_grad(net, lambda x, p: x, TIMES))
    expect(
        "propensities: cannot be called with (x, parameters, inputs)",
        lambda: sg.ReactionNetwork([[1]], lambda x, p: x, x0=[0], inputs=1.0),
    )
