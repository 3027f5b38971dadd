"""Values of the past, for delays: those of the last steps, and between them cubic Hermite interpolation."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Past(NamedTuple):
    """A ring of the last steps: times (steps,), values and their time derivatives (steps, delays).

    Where something jumped, there are two entries of one time.
    """

    begin: Array
    times: Array
    order: Array  # when each entry was written, negative where none was
    values: Array
    slopes: Array
    used: Array


def empty_past(begin: Array, steps: int, delays: int) -> Past:
    """Room for so many steps of a trajectory that begins then."""
    return Past(
        begin=begin,
        times=jnp.full(steps, jnp.inf),
        order=jnp.full(steps, -1),
        values=jnp.zeros((steps, delays)),
        slopes=jnp.zeros((steps, delays)),
        used=jnp.zeros((), jnp.int64),
    )


def remember(past: Past, happened: Array, time: Array, values: Array, slopes: Array) -> Past:
    """The past with one more entry, if it ``happened``."""
    steps = len(past.times)
    place = jnp.where(happened, past.used % steps, steps)
    return past._replace(
        times=past.times.at[place].set(time, mode="drop"),
        order=past.order.at[place].set(past.used, mode="drop"),
        values=past.values.at[place].set(values, mode="drop"),
        slopes=past.slopes.at[place].set(slopes, mode="drop"),
        used=past.used + happened,
    )


def recall(past: Past, times: Array, before: Array) -> Array:
    """The values (delays,) at ``times`` (delays,), one for each; ``before`` the first entry those given."""
    steps = len(past.times)
    known = (past.order >= 0)[:, None] & (past.times[:, None] <= times[None, :])
    left = jnp.argmax(jnp.where(known, past.order[:, None], -1), axis=0)
    right = (left + 1) % steps
    which = jnp.arange(len(times))
    last = past.order[left] == past.used - 1  # nothing after it yet: go on along its slope
    start, end = past.times[left], jnp.where(last, past.times[left] + 1.0, past.times[right])
    width = jnp.where(end > start, end - start, 1.0)
    s = (times - start) / width
    first, first_slope = past.values[left, which], past.slopes[left, which]
    second, second_slope = past.values[right, which], past.slopes[right, which]
    between = (
        (1 + 2 * s) * (1 - s) ** 2 * first
        + s * (1 - s) ** 2 * width * first_slope
        + s**2 * (3 - 2 * s) * second
        - s**2 * (1 - s) * width * second_slope
    )
    inside = jnp.where(last, first + first_slope * (times - start), between)
    return jnp.where(jnp.any(known, axis=0), inside, before)
