"""A linearised function gives back cotangents of its state and of its weights."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.gradient.linearised import Linearised, varying

X = np.array([[1.0, 2.0], [3.0, 0.5], [0.0, -1.0]])
W = {"a": jnp.array(2.0), "b": jnp.array([1.0, -1.0])}


def function(x: jnp.ndarray, weights: dict[str, jnp.ndarray]) -> jnp.ndarray:
    """(a x0^2, b . x)."""
    return jnp.stack([weights["a"] * x[0] ** 2, weights["b"] @ x])


@pytest.mark.parametrize("by_state", [True, False])
def test_cotangents_of_weights_are_summed_over_states(by_state: bool) -> None:
    linearised = Linearised(lambda x, given, w: function(x, w), W, jnp.asarray(X[0]), (), by_state)
    values, residues = linearised.at(jnp.asarray(X)[:, None])
    np.testing.assert_allclose(values[:, 0], np.stack([2 * X[:, 0] ** 2, X[:, 0] - X[:, 1]], axis=1))
    cotangent = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    pulled = linearised.pull_weights(residues, jnp.asarray(cotangent)[:, None])
    np.testing.assert_allclose(pulled["a"], cotangent[:, 0] @ X[:, 0] ** 2)
    np.testing.assert_allclose(pulled["b"], cotangent[:, 1] @ X)
    if by_state:
        of_state = tuple(leaf[:, 0] for leaf in residues.of_state)
        states = linearised.pull_state(residues._replace(of_state=of_state), jnp.asarray(cotangent))
        expected = np.outer(cotangent[:, 1], [1.0, -1.0])
        expected[:, 0] += cotangent[:, 0] * 4 * X[:, 0]
        np.testing.assert_allclose(states, expected)


def test_what_a_trajectory_is_given_is_kept_once_for_all_its_steps() -> None:
    """sum over (steps, trajectories) of a cotangent times w . given + a x0^2, by the weights."""
    given = jnp.array([[1.0, 2.0], [3.0, -1.0]])

    def driven(x: jnp.ndarray, given: jnp.ndarray, weights: dict[str, jnp.ndarray]) -> jnp.ndarray:
        return weights["b"] @ given + weights["a"] * x[0] ** 2

    states = jnp.asarray(np.arange(12.0).reshape(3, 2, 2))  # (steps, trajectories, species)
    linearised = Linearised(driven, W, states[0, 0], given[0], by_state=True)
    values, residues = linearised.at(states, given)
    np.testing.assert_allclose(values, np.array([-1.0, 4.0])[None] + 2 * states[..., 0] ** 2)
    assert {leaf.shape[0] for leaf in residues.of_trajectory} == {2}
    assert {leaf.shape[:2] for leaf in residues.of_state} == {(3, 2)}
    cotangent = np.arange(6.0).reshape(3, 2)
    pulled = linearised.pull_weights(residues, jnp.asarray(cotangent))
    np.testing.assert_allclose(pulled["b"], cotangent.sum(axis=0) @ given)
    np.testing.assert_allclose(pulled["a"], np.sum(cotangent * states[..., 0] ** 2))


def test_what_varies_with_the_point() -> None:
    assert varying(lambda x: [x + 1, jnp.ones(3), 2 * x[:1]], jnp.zeros(2)) == [True, False, True]
