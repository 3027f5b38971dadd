"""Events at one instant: what is triggered, called off, scheduled, and executed in which order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network.hybrid_model import HybridModel, joined
from sbmlgrad.simulation.distributions import sample
from sbmlgrad.simulation.random import Streams, is_whole, key, uniform, whole

_AT_ONCE = 1e-150  # a delay that is none, in any unit: near time 0, floats tell even such times apart
MOST_AT_ONCE = 10_000  # events executed at one instant
MOST_ROUNDS = 300_000  # in which events of a trajectory are triggered or executed


class Pending(NamedTuple):
    """Triggers (events,) as last seen, and events that wait: when and with what values.

    Each event has so many slots (events, slots); a free one is due at infinity.
    """

    truth: Array
    due: Array
    values: Array  # (events, slots, assignments)
    chance: Array  # counts rounds, each of which has random numbers of its own
    fractions: Array  # (variables,) whether a number of molecules was set that is not whole
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
            due=jnp.full(shape, jnp.inf),
            values=jnp.zeros((*shape, self.system.targets.shape[1])),
            chance=jnp.zeros((), jnp.uint32),
            fractions=jnp.zeros(len(self.model.variables), bool),
            full=jnp.zeros((), bool),
            endless=jnp.zeros((), bool),
        )

    def seen(self, time: Array, state: Array) -> Array:
        """The truth of triggers (events,)."""
        return self.system.triggers(joined(time, state, self.coefficients(time))) > 0.5

    def settle(self, time: Array, state: Array, pending: Pending) -> tuple[Array, Pending]:
        """Schedule what was triggered and execute what is due, one after the other, until nothing is."""

        def go_on(loop: tuple[Array, Pending, Array]) -> Array:
            state, pending, count = loop
            changed = jnp.any(self.seen(time, state) != pending.truth)
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
        return state, pending._replace(endless=pending.endless | (count >= MOST_AT_ONCE))

    def _notice(self, time: Array, state: Array, pending: Pending) -> tuple[Pending, Array, Array]:
        """Look at the triggers: call off, and schedule; with priorities (events,) and values to assign as of now."""
        system = self.system
        truth = self.seen(time, state)
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
        when = jnp.where(system.delayed & ~(delays < _AT_ONCE), time + delays, time)
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
        lot = jnp.argmax(first)
        if len(system.names) > 1:
            ranks = jnp.cumsum(jnp.ravel(first))
            chance = uniform(self.keys.drawing, self.trajectory, ~pending.chance)
            lot = jnp.argmax(ranks > jnp.floor(chance * ranks[-1]))
        event, slot = lot // self.slots, lot % self.slots
        from_trigger = jnp.asarray(system.from_trigger_time)[event]
        new = jnp.where(from_trigger, pending.values[event, slot], values[event])
        state = self._assigned(time, state, jnp.asarray(system.targets)[event], jnp.asarray(system.scaled)[event], new)
        counted = jnp.asarray(self.model.whole)
        pending = pending._replace(
            due=pending.due.at[event, slot].set(jnp.inf), fractions=pending.fractions | (counted & ~is_whole(state))
        )
        return whole_counts(self.model, state, self.keys, self.trajectory, pending.chance), pending

    def _assigned(self, time: Array, state: Array, targets: Array, scaled: Array, values: Array) -> Array:
        """The state with values assigned; a concentration is one in the compartment as it was before."""
        sizes = jnp.concatenate([self.system.sizes(joined(time, state, self.coefficients(time))), jnp.ones(1)])
        return state.at[targets].set(jnp.where(scaled, values * sizes[targets], values), mode="drop")


def whole_counts(model: HybridModel, state: Array, keys: Streams, trajectory: Array, occasion: Array) -> Array:
    """The state with whole numbers of molecules, each drawn once on each ``occasion``: 0 at the start."""
    if not model.whole.any():
        return state
    size = len(model.variables)
    draws = occasion * np.uint32(size) + jnp.arange(size, dtype=jnp.uint32)
    chances = uniform(keys.rounding, jnp.full(size, trajectory), draws)
    return jnp.where(jnp.asarray(model.whole), whole(state, chances), state)
