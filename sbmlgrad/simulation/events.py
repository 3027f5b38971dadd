"""Events at one instant: what is triggered, called off, scheduled, and executed in which order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network.hybrid import HybridModel, joined
from sbmlgrad.simulation.distributions import sample
from sbmlgrad.simulation.random import Streams, key
from sbmlgrad.simulation.rosenbrock import Dense

_NARROW = 1e-12  # of a step, how closely a change is found
MOST_AT_ONCE = 10_000  # events executed at one instant


_SAMPLES = 10  # of a step, for what changes and changes back within it
_CLOSER = 3  # times the lowest of them is looked at closer


_Bracket = tuple[Array, Array, Array, Array]
"""Two fractions of a step, each followed by what changes sign where a relation does."""


class Pending(NamedTuple):
    """Triggers (events,) and the relations in them as last seen, and events that wait: when and with what values.

    Each event has so many slots (events, slots); a free one is due at infinity.
    """

    truth: Array
    relations: Array
    due: Array
    values: Array  # (events, slots, assignments)
    chance: Array  # counts looks at random numbers
    full: Array  # whether there was no slot for one
    endless: Array  # whether there was no end of them


class Events:
    """The events of a model for one trajectory, with its coefficients at any time and its randomness."""

    def __init__(
        self, model: HybridModel, coefficients: Callable[[Array], Array], keys: Streams, trajectory: Array, slots: int
    ):
        assert model.events is not None
        self.model, self.system, self.slots = model, model.events, slots
        self.coefficients, self.keys, self.trajectory = coefficients, keys, trajectory

    def nothing(self) -> Pending:
        """The state before the beginning: no event waits, triggers as the model says they were."""
        shape = (len(self.system.names), self.slots)
        return Pending(
            truth=jnp.asarray(self.system.initial),
            relations=jnp.zeros(self.system.relations, bool),
            due=jnp.full(shape, jnp.inf),
            values=jnp.zeros((*shape, self.system.targets.shape[1])),
            chance=jnp.zeros((), jnp.uint32),
            full=jnp.zeros((), bool),
            endless=jnp.zeros((), bool),
        )

    def seen(self, time: Array, state: Array) -> tuple[Array, Array, Array]:
        """The truth of triggers and of the relations in them, and what changes sign where a relation does."""
        values = self.system.triggers(joined(time, state, self.coefficients(time)))
        count, relations = len(self.system.names), self.system.relations
        return values[:count] > 0.5, values[count : count + relations] > 0.5, values[count + relations :]

    def settle(self, time: Array, state: Array, pending: Pending) -> tuple[Array, Pending]:
        """Schedule what was triggered and execute what is due, one after the other, until nothing is."""

        def go_on(loop: tuple[Array, Pending, Array]) -> Array:
            state, pending, count = loop
            changed = jnp.any(self.seen(time, state)[0] != pending.truth)
            return (changed | jnp.any(pending.due <= time)) & (count < MOST_AT_ONCE)

        def act(loop: tuple[Array, Pending, Array]) -> tuple[Array, Pending, Array]:
            state, pending, count = loop
            pending, priorities, values = self._notice(time, state, pending)
            ready = pending.due <= time
            executed = self._execute(time, state, pending, ready, priorities, values)
            state, pending = jax.tree.map(
                lambda new, old: jnp.where(jnp.any(ready), new, old), executed, (state, pending)
            )
            return state, pending, count + 1

        state, pending, count = lax.while_loop(go_on, act, (state, pending, jnp.zeros((), jnp.int32)))
        relations = self.seen(time, state)[1]
        return state, pending._replace(relations=relations, endless=pending.endless | (count >= MOST_AT_ONCE))

    def hidden_change(self, dense: Dense, time: Array, step: Array, relations: Array) -> Array:
        """A fraction of a step within which relations are not as they were, though they may be at its end; else 1.

        On the way, what changes sign where a relation does is about a polynomial of low order. Of its samples the
        lowest turning point is looked at closer and closer, as that of a parabola.
        """
        flowing = np.flatnonzero(self.system.flowing)
        if not len(flowing):
            return jnp.ones_like(time)

        def look(fraction: Array) -> tuple[Array, Array]:
            _, seen, gaps = self.seen(time + fraction * step, dense(fraction))
            return jnp.any((seen != relations)[flowing]), gaps[flowing]

        fractions = jnp.linspace(0.0, 1.0, _SAMPLES)
        changed, gaps = jax.vmap(look)(fractions)
        heights = gaps * (jnp.sign(gaps[0]) / jnp.maximum(jnp.max(jnp.abs(gaps), axis=0), 1e-300))[None, :]
        offset, depth = _vertex(heights[:-2], heights[1:-1], heights[2:])
        place, which = jnp.unravel_index(jnp.argmin(depth), depth.shape)
        lowest = fractions[place + 1] + offset[place, which] * fractions[1]

        def closer(_: int, lowest_and_width: tuple[Array, Array]) -> tuple[Array, Array]:
            lowest, width = lowest_and_width
            around = jnp.clip(lowest + width * jnp.array([-1.0, 0.0, 1.0]), 0.0, 1.0)
            heights = jnp.sign(gaps[0, which]) * jax.vmap(lambda f: look(f)[1][which])(around)
            return jnp.clip(lowest + _vertex(*heights)[0] * width, 0.0, 1.0), width / 8.0

        lowest, _ = lax.fori_loop(0, _CLOSER, closer, (lowest, fractions[1] / 8.0))
        changed = changed.at[0].set(False)
        sampled = jnp.where(jnp.any(changed), fractions[jnp.argmax(changed)], 1.0)
        return jnp.where(look(lowest)[0], jnp.minimum(lowest, sampled), sampled)

    def first_change(
        self, dense: Dense, time: Array, step: Array, relations: Array, changes: Array, last: Array
    ) -> tuple[Array, Array]:
        """The fraction of a step after which relations are not as they were, and what they are just before.

        It is sought up to the fraction ``last``, at which they are not. That place is looked at first, since a step
        that was shortened to a change ends at it. Then each round looks to both sides of where the difference that
        changes sign should be 0 (the secant's guess), and halves what is left. The end is returned where nothing
        ``changes``.
        """

        def look(fraction: Array) -> tuple[Array, Array]:
            _, seen, gaps = self.seen(time + fraction * step, dense(fraction))
            return jnp.any(seen != relations), gaps

        def wide(bracket: _Bracket) -> Array:
            low, _, high, _ = bracket
            return changes & (high - low > _NARROW)

        def narrow(bracket: _Bracket, fraction: Array) -> _Bracket:
            low, below, high, above = bracket
            changed, gaps = look(fraction)
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
        early, gaps_late = look(late)
        start, end = jnp.zeros_like(time), last
        gaps_start, gaps_end = look(start)[1], look(end)[1]
        bracket = (
            jnp.where(early, start, late),
            jnp.where(early, gaps_start, gaps_late),
            jnp.where(early, late, end),
            jnp.where(early, gaps_late, gaps_end),
        )
        low, _, high, _ = lax.while_loop(wide, closer, bracket)
        return high, self.seen(time + low * step, dense(low))[1]

    def _notice(self, time: Array, state: Array, pending: Pending) -> tuple[Pending, Array, Array]:
        """Look at the triggers: call off, and schedule; with priorities (events,) and values to assign as of now."""
        system = self.system
        truth, _, _ = self.seen(time, state)
        random = None
        if system.details.draws:
            random = partial(sample, key(self.keys.drawing, self.trajectory, pending.chance))
        details = system.details(joined(time, state, self.coefficients(time)), random)
        count = len(system.names)
        delays, priorities = details[:count], details[count : 2 * count]
        values = jnp.concatenate([details[2 * count :], jnp.zeros(1)])[system.values]
        fallen = pending.truth & ~truth & ~system.persistent
        due = jnp.where(fallen[:, None], jnp.inf, pending.due)
        risen = ~pending.truth & truth
        free = jnp.isinf(due)
        taken = risen[:, None] & (jnp.arange(self.slots)[None, :] == jnp.argmax(free, axis=1)[:, None])
        when = jnp.where(system.delayed, time + jnp.maximum(delays, 0.0), time)
        due = jnp.where(taken, when[:, None], due)
        stored = jnp.where(taken[:, :, None], values[:, None, :], pending.values)
        full = pending.full | jnp.any(risen & ~jnp.any(free, axis=1))
        pending = pending._replace(truth=truth, due=due, values=stored, full=full, chance=pending.chance + 1)
        return pending, priorities, values

    def _execute(
        self, time: Array, state: Array, pending: Pending, ready: Array, priorities: Array, values: Array
    ) -> tuple[Array, Pending]:
        """Execute the one that comes first of those that are ready; chance decides between equals."""
        system = self.system
        order = jnp.where(jnp.isnan(priorities), -jnp.inf, priorities)[:, None]
        order = jnp.where(ready, order, -jnp.inf)
        first = ready & (order == jnp.max(order))
        lots = jnp.ones(first.shape)
        if len(system.names) > 1:
            lots = jax.random.uniform(key(self.keys.drawing, self.trajectory, ~pending.chance), first.shape)
        lot = jnp.argmax(jnp.where(first, lots, -1.0))
        event, slot = lot // self.slots, lot % self.slots
        from_trigger = jnp.asarray(system.from_trigger_time)[event]
        new = jnp.where(from_trigger, pending.values[event, slot], values[event])
        state = self._assigned(time, state, jnp.asarray(system.targets)[event], jnp.asarray(system.scaled)[event], new)
        pending = pending._replace(due=pending.due.at[event, slot].set(jnp.inf))
        return state, pending

    def _assigned(self, time: Array, state: Array, targets: Array, scaled: Array, values: Array) -> Array:
        """The state with values assigned; a concentration is one in the compartment as it was before."""
        sizes = jnp.concatenate([self.system.sizes(joined(time, state, self.coefficients(time))), jnp.ones(1)])
        state = state.at[targets].set(jnp.where(scaled, values * sizes[targets], values), mode="drop")
        return jnp.where(jnp.asarray(self.model.whole), jnp.round(state), state)


def _vertex(left: Array, middle: Array, right: Array) -> tuple[Array, Array]:
    """Where and how low the parabola through three equally spaced points turns, in units of their distance.

    Infinitely high where it does not turn upwards between the outer two.
    """
    bend = left - 2.0 * middle + right
    turns = (bend > 0) & (jnp.abs(left - right) <= 2.0 * bend)
    offset = 0.5 * (left - right) / jnp.where(turns, bend, 1.0)
    return jnp.where(turns, offset, 0.0), jnp.where(turns, middle - 0.25 * (left - right) * offset, jnp.inf)
