"""Sums over trajectories taken on the device where they were simulated, so that little has to be copied from there.

Each grain of trajectories is summed as a tree of plain additions, whose order no compiler changes: the result does not
depend on how an ensemble is cut into chunks of whole grains.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.simulation.moments import GrainMoments
from sbmlgrad.simulation.shares import GRAIN


def moments_of(values: Array, count: Array) -> GrainMoments:
    """Of values (..., batch), the batch a multiple of the grain and its first ``count`` trajectories real."""
    rows, inside, sizes = _by_grain(values, count)
    mean = _total(rows) / jnp.maximum(sizes, 1)
    # The barrier keeps squares from melting into additions, which would round differently here and there.
    squares = lax.optimization_barrier(jnp.square(jnp.where(inside, rows - mean[..., None], 0.0)))
    return GrainMoments(sizes.reshape(-1), mean, _total(squares))


def mean_of_others(values: Array, count: Array) -> Array:
    """For each trajectory, the mean (..., batch) of the others of its grain."""
    rows, _, sizes = _by_grain(values, count)
    others = (_total(rows)[..., None] - rows) / jnp.maximum(sizes - 1, 1)[..., None]
    return others.reshape(values.shape)


def fetched(grains: GrainMoments, count: int) -> GrainMoments:
    """The moments, copied from where they were taken, of ``count`` trajectories in all."""
    real = -(-count // GRAIN)
    return GrainMoments(*(np.asarray(part)[..., :real] for part in jax.device_get(grains)))


def _by_grain(values: Array, count: Array) -> tuple[Array, Array, Array]:
    """Values (..., grains, grain), 0 where there is no trajectory, where there is one, and sizes (..., grains)."""
    grains = values.shape[-1] // GRAIN
    leading = (1,) * (values.ndim - 1)
    inside = (lax.iota(jnp.int32, values.shape[-1]) < count).reshape(*leading, grains, GRAIN)
    sizes = jnp.clip(count - GRAIN * lax.iota(jnp.int32, grains), 0, GRAIN).reshape(*leading, grains)
    return jnp.where(inside, values.reshape(*values.shape[:-1], grains, GRAIN), 0.0), inside, sizes


def _total(rows: Array) -> Array:
    """Sums over the last axis, of a power of two: halves are added until one is left."""
    while rows.shape[-1] > 1:
        half = rows.shape[-1] // 2
        rows = rows[..., :half] + rows[..., half:]
    return rows[..., 0]
