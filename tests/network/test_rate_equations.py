"""The rate equations of a network from Python: counts flow at the mean of their jumps."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.rate_equations import equations_of_network, flat


def test_counts_flow_at_the_mean_of_their_jumps() -> None:
    """2 A -> B at a x (x - 1), B -> at w1 b, with a tree of parameters."""
    net = ReactionNetwork(
        [[-2, 0], [1, -1]],
        lambda x, p: jnp.stack([p["a"] * x[0] * (x[0] - 1), p["w"][1] * x[1]]),
        x0=[5, 1],
        parameters={"a": 0.5, "w": np.array([7.0, 3.0])},
        species=("A", "B"),
    )
    equations = equations_of_network(net, ["B", "A"])
    assert equations.quantities == {"a": 0.5, "w[0]": 7.0, "w[1]": 3.0}
    state, coefficients = equations.start(jnp.array([2.0, 7.0, 4.0]))
    assert (state.tolist(), coefficients.tolist()) == ([5.0, 1.0], [2.0, 7.0, 4.0])
    np.testing.assert_allclose(equations.flow(jnp.zeros(()), state, coefficients), [-2 * 40, 40 - 4])
    np.testing.assert_allclose(equations.observe(jnp.zeros(()), state, coefficients), [1.0, 5.0])


def test_numbers_of_arrays_come_one_after_the_other() -> None:
    assert flat([np.ones((2, 2)), np.float64(3.0)]).tolist() == [1, 1, 1, 1, 3]
    assert flat([]).shape == (0,)
