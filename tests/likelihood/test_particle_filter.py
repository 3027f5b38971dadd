"""The parts of a particle filter: weights, drawing anew, and cells of states."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.likelihood.particle_filter import Shape, _cells, _normalised, _systematic


def test_weights_from_logarithms() -> None:
    logs = jnp.array([[-1000.0, -1001.0, -jnp.inf], [-jnp.inf] * 3])
    gain, weights = _normalised(logs)
    assert float(gain[0]) == pytest.approx(-1000 + np.log((1 + np.exp(-1)) / 3))
    assert float(gain[1]) == -np.inf
    np.testing.assert_allclose(weights[0], np.array([1, np.exp(-1), 0]) / (1 + np.exp(-1)))
    np.testing.assert_allclose(weights[1], 1 / 3)


def test_as_many_as_their_weight_says() -> None:
    """Systematic resampling draws each particle its expected number of times, but for one."""
    random = np.random.default_rng(2)
    weights = random.dirichlet(np.full(50, 0.3), size=4)
    for chance in (0.0, 0.37, 1 - 2**-53):
        parents = np.asarray(_systematic(jnp.asarray(weights), jnp.full(4, chance)))
        for row, own in zip(parents, weights, strict=True):
            assert np.all(np.abs(np.bincount(row, minlength=50) - 50 * own) < 1 + 1e-9)


def test_particles_in_one_state_are_in_one_cell() -> None:
    random, shape = np.random.default_rng(3), Shape(2, 1, 64)
    x = tuple(jnp.asarray(random.integers(0, 4, size=128).astype(float)) for _ in range(2))
    weights = jnp.asarray(random.dirichlet(np.ones(64), size=(2, 1)))
    cells, shares = (np.asarray(part) for part in _cells(x, weights, shape))
    states = np.stack(x).reshape(2, 2, 64)
    for f in range(2):
        same = np.all(states[:, f, :, None] == states[:, f, None, :], axis=0)
        np.testing.assert_array_equal(cells[f, 0][:, None] == cells[f, 0][None], same)
        np.testing.assert_allclose(same @ np.asarray(shares[f, 0]), 1.0)
