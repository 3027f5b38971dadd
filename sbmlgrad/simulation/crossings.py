"""Where in a step a comparison changes: in the trigger of an event, or in a law that has several pieces."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network.hybrid_model import Relations, joined
from sbmlgrad.simulation.rosenbrock import Dense

_NARROW = 1e-12  # of a step, how closely a change is found
_SAMPLES = 10  # of a step, for what changes and changes back within it
_CLEAR = 1e-10  # of what is compared: a difference that is none of a solver's errors
_MOST_ROUNDS = 60  # for where a function is 0
_CLOSER = 3  # times the lowest of them is looked at closer

_Bracket = tuple[Array, Array, Array, Array]
"""Two fractions of a step, each followed by what changes sign where a relation does."""


class Crossings:
    """The relations of a model for one trajectory, with its coefficients at any time."""

    def __init__(self, relations: Relations, coefficients: Callable[[Array], Array]):
        self.relations, self.coefficients = relations, coefficients

    def seen(self, time: Array, state: Array) -> tuple[Array, Array]:
        """The truth of the relations, and what changes sign where one does (relations,)."""
        truth, gaps, _ = self._seen(time, state)
        return truth, gaps

    def _seen(self, time: Array, state: Array) -> tuple[Array, Array, Array]:
        """These, and the size of what is compared."""
        values = self.relations.program(joined(time, state, self.coefficients(time))).reshape(3, -1)
        return values[0] > 0.5, values[1], values[2]

    def hidden_change(self, dense: Dense, time: Array, step: Array, relations: Array, watched: Array) -> Array:
        """A fraction of a step within which ``watched`` relations are not as they were, though they may be at its end.

        1 where there is none.

        On the way, what changes sign where a relation does is about a polynomial of low order. Of its samples the
        lowest turning point is looked at closer and closer, as that of a parabola.
        """
        flowing = np.flatnonzero(self.relations.flowing)
        if not len(flowing):
            return jnp.ones_like(time)

        def compare(fraction: Array) -> tuple[Array, Array]:
            seen, gaps, sizes = self._seen(time + fraction * step, dense(fraction))
            clear = jnp.abs(gaps) > _CLEAR * sizes
            return jnp.any(((seen != relations) & watched & clear)[flowing]), gaps[flowing]

        fractions = jnp.linspace(0.0, 1.0, _SAMPLES)
        changed, gaps = jax.vmap(compare)(fractions)
        side = jnp.sign(jnp.where(gaps[0] != 0, gaps[0], gaps[-1]))  # a step may begin right at a change
        heights = gaps * (side / jnp.maximum(jnp.max(jnp.abs(gaps), axis=0), 1e-300))[None, :]
        offset, depth = _vertex(heights[:-2], heights[1:-1], heights[2:])
        index, which = jnp.unravel_index(jnp.argmin(depth), depth.shape)
        lowest = fractions[index + 1] + offset[index, which] * fractions[1]

        def closer(_: int, lowest_and_width: tuple[Array, Array]) -> tuple[Array, Array]:
            lowest, width = lowest_and_width
            around = jnp.clip(lowest + width * jnp.array([-1.0, 0.0, 1.0]), 0.0, 1.0)
            heights = side[which] * jax.vmap(lambda f: compare(f)[1][which])(around)
            return jnp.clip(lowest + _vertex(*heights)[0] * width, 0.0, 1.0), width / 8.0

        lowest, _ = lax.fori_loop(0, _CLOSER, closer, (lowest, fractions[1] / 8.0))
        changed = changed.at[0].set(False)
        sampled = jnp.where(jnp.any(changed), fractions[jnp.argmax(changed)], 1.0)
        return jnp.where(compare(lowest)[0], jnp.minimum(lowest, sampled), sampled)

    def first_change(
        self, dense: Dense, time: Array, step: Array, relations: Array, watched: Array, changes: Array, last: Array
    ) -> tuple[Array, Array]:
        """The fraction of a step after which relations are not as they were, and what they are just before.

        It is sought up to the fraction ``last``, at which they are not. That place is looked at first, since a step
        that was shortened to a change ends at it. Then each round looks to both sides of where the difference that
        changes sign should be 0 (the secant's guess), and halves what is left. The end is returned where nothing
        ``changes``.
        """

        def compare(fraction: Array) -> tuple[Array, Array]:
            seen, gaps = self.seen(time + fraction * step, dense(fraction))
            return jnp.any((seen != relations) & watched), gaps

        def wide(bracket: _Bracket) -> Array:
            low, _, high, _ = bracket
            return changes & (high - low > _NARROW)

        def narrow(bracket: _Bracket, fraction: Array) -> _Bracket:
            low, below, high, above = bracket
            changed, gaps = compare(fraction)
            return (
                jnp.where(changed, low, fraction),
                jnp.where(changed, below, gaps),
                jnp.where(changed, fraction, high),
                jnp.where(changed, gaps, above),
            )

        def closer(bracket: _Bracket) -> _Bracket:
            low, below, high, above = bracket
            crosses = (below * above < 0) | ((above == 0) & (below != 0))
            guess = jnp.min(jnp.where(crosses, below / jnp.where(crosses, below - above, 1.0), 1.0), initial=1.0)
            guess = low + guess * (high - low)
            for probe in (guess - 0.4 * _NARROW, guess + 0.4 * _NARROW):
                bracket = narrow(bracket, jnp.clip(probe, bracket[0], bracket[2]))
            return narrow(bracket, (bracket[0] + bracket[2]) / 2)

        late = last - _NARROW
        early, gaps_late = compare(late)
        start, end = jnp.zeros_like(time), last
        gaps_start, gaps_end = compare(start)[1], compare(end)[1]
        bracket = (
            jnp.where(early, start, late),
            jnp.where(early, gaps_start, gaps_late),
            jnp.where(early, late, end),
            jnp.where(early, gaps_late, gaps_end),
        )
        low, _, high, _ = lax.while_loop(wide, closer, bracket)
        return high, self.seen(time + low * step, dense(low))[0]


def _vertex(left: Array, middle: Array, right: Array) -> tuple[Array, Array]:
    """Where and how low the parabola through three equally spaced points turns, in units of their distance.

    Infinitely high where it does not turn upwards between the outer two.
    """
    bend = left - 2.0 * middle + right
    turns = (bend > 0) & (jnp.abs(left - right) <= 2.0 * bend)
    offset = 0.5 * (left - right) / jnp.where(turns, bend, 1.0)
    return jnp.where(turns, offset, 0.0), jnp.where(turns, middle - 0.25 * (left - right) * offset, jnp.inf)


def first_zero(function: Callable[[Array], Array], low: Array, high: Array, close: Array, active: Array) -> Array:
    """A fraction at which a function is 0 within what is ``close``; it is ``low`` at 0, ``high`` at 1.

    1 where none is ``active``. False position after Illinois: where one end stays, its value counts half.
    """

    def go_on(bracket: tuple[Array, ...]) -> Array:
        hit, count = bracket[-2:]
        return ~hit & (count < _MOST_ROUNDS)

    def closer(bracket: tuple[Array, ...]) -> tuple[Array, ...]:
        low, below, high, above, side, _, _, count = bracket
        middle = jnp.where(above > below, (low * above - high * below) / (above - below), 0.5 * (low + high))
        value = function(middle)
        up = value > 0
        return (
            jnp.where(up, low, middle),
            jnp.where(up, jnp.where(side > 0, 0.5 * below, below), value),
            jnp.where(up, middle, high),
            jnp.where(up, value, jnp.where(side < 0, 0.5 * above, above)),
            jnp.where(up, 1.0, -1.0),
            middle,
            jnp.abs(value) <= close,
            count + 1,
        )

    zero, one = jnp.zeros_like(low), jnp.ones_like(low)
    low, high, close = lax.stop_gradient((low, high, close))
    start: tuple[Array, ...] = (zero, low, one, high, zero, one, ~active, jnp.zeros((), jnp.int32))
    return lax.while_loop(go_on, closer, start)[5]
