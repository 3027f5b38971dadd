"""An ensemble on a GPU: its moments are taken there, and counts come down in few bytes.

Copies from a device are slower than the simulation of what they hold.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.simulation.ensemble import DeviceChunk, Ensemble, run_on_device
from sbmlgrad.simulation.grains import fetched, moments_of
from sbmlgrad.simulation.moments import GrainMoments, Moments
from sbmlgrad.simulation.prepare import Prepared


def observe_on_device(
    ensemble: Ensemble, prepared: Prepared, keep: bool, progress: str | None
) -> tuple[Moments, int, list[np.ndarray] | None]:
    """Moments of the observables, how many reactions fired and, to ``keep``, counts (trajectories, times, species)."""
    moments, events = Moments(), 0
    kept: list[np.ndarray] | None = [] if keep else None
    moments_by_grain = _moments(prepared)

    def take(chunk: DeviceChunk) -> tuple[GrainMoments, int, np.ndarray | None]:
        taken = moments_by_grain(chunk.records, prepared.coefficients, np.int32(chunk.count))
        counts = counts_of(chunk.records)[: chunk.count] if keep else None
        return fetched(taken, chunk.count), chunk.events, counts

    for grains, fired, counts in run_on_device(ensemble, take, progress):
        moments.add_grains(*grains)
        events += fired
        if kept is not None and counts is not None:
            kept.append(counts)
    return moments, events, kept


def counts_of(records: tuple[Array, ...]) -> np.ndarray:
    """Counts (batch, times, species) of records (times, batch), in the narrowest integer type that holds them."""
    largest = float(_largest(records))
    width = next(width for width in (np.int16, np.int32, np.int64) if largest <= np.iinfo(width).max)
    return np.asarray(_as_integers(records, width))


def _moments(prepared: Prepared) -> Callable[..., GrainMoments]:
    """Moments by grain of the observables, compiled once for a network and its observables."""
    cache = prepared.network.compiled
    key = ("moments of observables", prepared.observables)
    if key not in cache:
        observe = prepared.observe_with

        def take(records: tuple[Array, ...], coefficients: tuple[Any, ...], count: Array) -> GrainMoments:
            shape = records[0].shape
            rows = [jnp.broadcast_to(value, shape)[None] for value in observe(records, coefficients)]
            return moments_of(jnp.concatenate([jnp.zeros((0, *shape)), *rows]), count)

        cache[key] = jax.jit(take)
    return cache[key]


@jax.jit
def _largest(records: tuple[Array, ...]) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(record)) for record in records]))


@partial(jax.jit, static_argnums=1)
def _as_integers(records: tuple[Array, ...], width: Any) -> Array:
    return jnp.stack([record.T.astype(width) for record in records], axis=-1)
