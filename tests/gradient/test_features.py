"""Features of the state and their changes by reactions, by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import sbmlgrad as sg
from sbmlgrad.gradient.features import choose
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.network import ReactionNetwork


def test_powers_of_a_count_and_their_changes() -> None:
    net = ReactionNetwork([[1, -1]], lambda x, p: jnp.stack([p["k"], x[0]]), x0=[0], parameters={"k": 1.0})
    features = choose(differentiable(net, ["k"]), 1)
    assert features is not None
    assert features.powers == ((0,), (0, 0))
    x = (jnp.array([3.0, 5.0]),)
    np.testing.assert_array_equal(features.values(x, (1.0,)), [[3, 5], [9, 25]])
    (up, down), (up_squared, down_squared) = features.changes(x, (1.0,))
    assert (up, down) == (1.0, -1.0)
    np.testing.assert_array_equal([up_squared, down_squared], [[7, 11], [-5, -9]])  # (x + 1)^2 - x^2


def test_what_is_conserved_is_left_out() -> None:
    """Of A <-> B one count tells the other."""
    net = ReactionNetwork(
        [[-1, 1], [1, -1]], lambda x, p: jnp.stack([p["k"] * x[0], x[1]]), x0=[5, 0], parameters={"k": 1.0}
    )
    features = choose(differentiable(net, ["k"]), 1)
    assert features is not None
    assert {index for power in features.powers for index in power} == {0}


def test_a_bin_comes_with_a_soft_one() -> None:
    net = ReactionNetwork(
        [[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": 1.0}, species=("X",)
    )
    features = choose(differentiable(net, ["k"], [sg.Probability("X", 4, 9)]), 1)
    assert features is not None
    hard, soft = features.values((jnp.array([3.0, 4.0, 8.0, 9.0, 100.0]),), (1.0,))[-2:]
    np.testing.assert_array_equal(hard, [0, 1, 1, 0, 0])
    assert np.all((soft[:4] > 0) & (soft[:4] < 1))
    assert soft[4] == 0


def test_many_parameters_leave_no_room() -> None:
    net = ReactionNetwork([[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": 1.0})
    assert choose(differentiable(net, ["k"]), 1000) is None
