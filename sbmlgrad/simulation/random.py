"""Random numbers as a pure function of (seed, trajectory, draw), never of layout.

The generator is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
as 1, 2, 3", SC 2011), computed inline on arrays so that it fuses into the simulation loop.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_ROUNDS = 20
WHOLE = 1e-9  # relative distance from a whole number that is rounding, not meaning


def threefry2x32(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Encrypt two words of counter under two words of key; all are uint32 arrays, numpy's or JAX's."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    first, second = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(_ROUNDS // 4):
        for rotation in _ROTATIONS[group % 2]:
            first = first + second
            second = (second << np.uint32(rotation)) | (second >> np.uint32(32 - rotation))
            second = second ^ first
        first = first + schedule[(group + 1) % 3]
        second = second + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return first, second


class Streams(NamedTuple):
    """One key (two uint32 words) for each independent use of randomness."""

    waiting: Array
    choice: Array
    rounding: Array
    drawing: Array


def streams(seed: int) -> Streams:
    """The keys that belong to a seed, an integer of which 64 bits count."""
    words = (np.uint32(seed & 0xFFFFFFFF), np.uint32((seed >> 32) & 0xFFFFFFFF))
    use = np.arange(len(Streams._fields), dtype=np.uint32)
    keys = np.stack(threefry2x32(words, (np.zeros_like(use), use)), axis=1)
    return Streams(*keys)


def uniform(key: Any, trajectory: Any, draw: Any) -> Array:
    """float64 uniforms in [0, 1) on the grid of 2**-53, so that a choice of probability 1e-12 is resolved."""
    high, low = threefry2x32((key[0], key[1]), (trajectory, draw))
    low = (low >> np.uint32(11)).astype(jnp.float64)
    return high.astype(jnp.float64) * 2.0**-32 + low * 2.0**-53


def exponential(key: Any, trajectory: Any, draw: Any) -> Array:
    """float32 standard exponentials from 64 random bits.

    The logarithm is taken in float32: its relative error of 1e-7 is unbiased to about 1e-8 and costs half
    as much as float64. All 64 bits enter near zero, so the upper tail reaches 44 (probability 5e-20).
    """
    high, low = threefry2x32((key[0], key[1]), (trajectory, draw))
    fraction = high.astype(jnp.float32) + (low.astype(jnp.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    return -jnp.log(fraction * np.float32(2.0**-32))


def whole(value: Any, chance: Any) -> Any:
    """One of the two whole numbers beside ``value``, so that the mean is kept, by a uniform ``chance``.

    What is whole but for rounding errors is that number.
    """
    nearest, low = jnp.round(value), jnp.floor(value)
    return jnp.where(is_whole(value), nearest, low + (chance < value - low))


def is_whole(value: Any) -> Any:
    """Whether a number is whole, but for rounding errors."""
    library = jnp if isinstance(value, Array) else np  # a call of JAX takes 50 microseconds for one number
    return library.abs(value - library.round(value)) <= WHOLE * library.maximum(1.0, library.abs(value))


def key(stream: Any, trajectory: Any, draw: Any) -> Array:
    """A key of JAX's own generators for one draw of one trajectory."""
    return jax.random.wrap_key_data(jnp.stack(threefry2x32((stream[0], stream[1]), (trajectory, draw))))
