"""Values of the past, for delays: those of the last steps, and between them cubic Hermite interpolation."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class DelayHistory(NamedTuple):
    """A ring of the last steps: times (steps,), values and their time derivatives (steps, delays).

    Where something jumped, there are two entries of one time.
    """

    begin: Array
    times: Array
    order: Array  # when each entry was written, negative where none was
    values: Array
    slopes: Array
    used: Array


def empty_history(begin: Array, steps: int, delays: int) -> DelayHistory:
    """Room for so many steps of a trajectory that begins then."""
    return DelayHistory(
        begin=begin,
        times=jnp.full(steps, jnp.inf),
        order=jnp.full(steps, -1),
        values=jnp.zeros((steps, delays)),
        slopes=jnp.zeros((steps, delays)),
        used=jnp.zeros((), jnp.int64),
    )


def remember(history: DelayHistory, happened: Array, time: Array, values: Array, slopes: Array) -> DelayHistory:
    """The past with one more entry, if it ``happened``."""
    steps = len(history.times)
    index = jnp.where(happened, history.used % steps, steps)
    return history._replace(
        times=history.times.at[index].set(time, mode="drop"),
        order=history.order.at[index].set(history.used, mode="drop"),
        values=history.values.at[index].set(values, mode="drop"),
        slopes=history.slopes.at[index].set(slopes, mode="drop"),
        used=history.used + happened,
    )


def recall(history: DelayHistory, times: Array, before: Array) -> Array:
    """The values (delays,) at ``times`` (delays,), one for each; ``before`` the first entry those given."""
    steps = len(history.times)
    earlier = (history.order >= 0)[:, None] & (history.times[:, None] <= times[None, :])
    left = jnp.argmax(jnp.where(earlier, history.order[:, None], -1), axis=0)
    right = (left + 1) % steps
    which = jnp.arange(len(times))
    last = history.order[left] == history.used - 1  # nothing after it yet: go on along its slope
    start, end = history.times[left], jnp.where(last, history.times[left] + 1.0, history.times[right])
    width = jnp.where(end > start, end - start, 1.0)
    s = (times - start) / width
    first, first_slope = history.values[left, which], history.slopes[left, which]
    second, second_slope = history.values[right, which], history.slopes[right, which]
    between = (
        (1 + 2 * s) * (1 - s) ** 2 * first
        + s * (1 - s) ** 2 * width * first_slope
        + s**2 * (3 - 2 * s) * second
        - s**2 * (1 - s) * width * second_slope
    )
    inside = jnp.where(last, first + first_slope * (times - start), between)
    return jnp.where(jnp.any(earlier, axis=0), inside, before)
