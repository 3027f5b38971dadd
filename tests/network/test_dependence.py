"""Which propensities depend on which parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.dependence import arrivals, dependence, reach


def test_each_propensity_depends_on_what_it_is_made_of() -> None:
    net = ReactionNetwork(
        [[1, -1, 1]],
        lambda x, p: jnp.stack([p["a"] + 0 * x[0], p["b"] * x[0], p["a"] * p["w"].sum() + 0 * x[0]]),
        x0=[0],
        parameters={"a": 1.0, "b": 0.0, "w": np.zeros(3)},
    )
    np.testing.assert_array_equal(dependence(net), [[True, False, False], [False, True, False], [True, False, True]])


@pytest.mark.parametrize(
    "law",
    [
        lambda x, a, b: jnp.where(x > 5, a, b),
        lambda x, a, b: (x > 5) * a + (x <= 5) * b,
        lambda x, a, b: jnp.maximum(a * x, b),
        lambda x, a, b: jnp.stack([a, b])[(x > 5).astype(int)],
        lambda x, a, b: jnp.sort(jnp.stack([a, b, x]))[1],
        lambda x, a, b: lax.cond(x > 5, lambda: a, lambda: b),
        lambda x, a, b: jnp.interp(x, jnp.array([0.0, 5.0, 9.0]), jnp.stack([a, b, b])),
        lambda x, a, b: jax.nn.relu(a - 10) + b,
        lambda x, a, b: (a / 1.0) ** b,
    ],
)
def test_a_choice_depends_on_both_ways(law: Callable[..., Array]) -> None:
    """NaN would not come out of the way that is not taken."""
    net = ReactionNetwork(
        [[1]], lambda x, p: jnp.stack([law(x[0], p["a"], p["b"])]), x0=[0], parameters={"a": 1.0, "b": 2.0, "c": 3.0}
    )
    np.testing.assert_array_equal(dependence(net), [[True, True, False]])


def test_one_to_an_unknown_power_is_no_reason_to_take_an_exponent_for_idle() -> None:
    """Where the count is at half saturation, and in any case of 1 ** nan, which is 1."""
    net = ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([5 / (1 + (x[0] / p["K"]) ** p["n"]), p["g"] * x[0]]),
        x0=[1],
        parameters={"K": 1.0, "n": 2.0, "g": 0.1},
    )
    np.testing.assert_array_equal(dependence(net), [[True, True, False], [False, False, True]])


def test_what_comes_out_unknown_is_followed_by_its_operations() -> None:
    found = arrivals(lambda x, y, z: (jnp.sqrt(x - 100) + y, z * 2), [np.float64(200), np.ones(2), np.zeros(3)])
    np.testing.assert_array_equal(found, [[True, True, False], [False, False, True]])
    assert arrivals(lambda x: (), [1.0]).shape == (0, 1)


def test_operations_pass_on_what_they_are_given() -> None:
    traced = jax.make_jaxpr(lambda x, y: (x + 1, x * y, jnp.ones(2)))(1.0, 2.0)
    np.testing.assert_array_equal(reach(traced.jaxpr), [[True, False], [True, True], [False, False]])
