"""A process on counts in which time and events at known times change numbers beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.model.elements import symbol
from sbmlgrad.network.channels import Chemistry
from sbmlgrad.network.hybrid_model import EventSystem, HybridModel, joined
from sbmlgrad.network.program import Program


@dataclass(frozen=True, eq=False)
class Timed:
    """How the state of a process is laid out: ``counts`` are the indices of what reactions change, ``held`` those of
    what events alone set, at times that nothing but time decides.

    Coefficients are the time, what is held, and those of the process.
    """

    process: HybridModel
    counts: tuple[int, ...]
    held: tuple[int, ...]

    @classmethod
    def of(cls, process: HybridModel) -> Timed:
        """The layout of a process that :func:`beyond_known_times` has nothing against."""
        reacts = process.jumps.any(axis=1) if process.events is not None else np.ones(len(process.variables), bool)
        return cls(process, tuple(np.flatnonzero(reacts).tolist()), tuple(np.flatnonzero(~reacts).tolist()))

    def inputs(self, counts: Sequence[Any], coefficients: Sequence[Any]) -> tuple[Any, ...]:
        """Time, state and coefficients of the process, one number each."""
        state: list[Any] = [None] * len(self.process.variables)
        for index, value in zip((*self.counts, *self.held), (*counts, *self.holds(coefficients)), strict=True):
            state[index] = value
        return (coefficients[0], *state, *self.own(coefficients))

    def holds(self, coefficients: Sequence[Any]) -> tuple[Any, ...]:
        """What is held, among coefficients."""
        return tuple(coefficients[1 : 1 + len(self.held)])

    def own(self, coefficients: Sequence[Any]) -> tuple[Any, ...]:
        """Those of the process, among coefficients."""
        return tuple(coefficients[1 + len(self.held) :])

    def holding(self, held: Any, coefficients: Sequence[Any]) -> tuple[Any, ...]:
        """The coefficients with something else held."""
        return (coefficients[0], *(held[i] for i in range(len(self.held))), *self.own(coefficients))

    def started(self, state: Sequence[Any], own: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Counts and coefficients, of a state and the coefficients of the process."""
        held = (state[index] for index in self.held)
        return tuple(state[index] for index in self.counts), (np.float64(0.0), *held, *own)

    @property
    def events(self) -> EventSystem | None:
        """The events, whose triggers follow time alone."""
        return self.process.events

    @cached_property
    def bends_are_held(self) -> bool:
        """Whether what events set decides at what times rates bend, which is then not known beforehand."""
        switches = self.process.switches
        if not self.held or not isinstance(switches, Program):
            return False
        following = switches.graph.dynamic([switches.inputs[1 + index] for index in self.held])
        return not following.isdisjoint(switches.outputs)

    def truth(self, time: Array, coefficients: Sequence[Array]) -> Array:
        """The truth of triggers (events,)."""
        assert self.events is not None
        state = jnp.zeros(len(self.process.variables))  # which they do not follow
        return self.events.triggers(joined(time, state, jnp.stack(self.own(coefficients)))) > 0.5

    def after(
        self, counts: Sequence[Array], coefficients: Sequence[Array], order: Array, fired: Array
    ) -> tuple[Array, Array]:
        """The state (variables,) after events that were triggered at once, executed in an ``order`` (events,) where
        they have ``fired`` (events,); and what it was after each of them (events, variables)."""
        system = self.events
        assert system is not None
        inputs = self.inputs(counts, coefficients)
        size = len(self.process.variables)
        time, state, own = inputs[0], jnp.stack(inputs[1 : 1 + size]), jnp.stack([*inputs[1 + size :], jnp.zeros(())])
        own = own[:-1]

        def values_at(state: Array) -> Array:
            details = system.details(joined(time, state, own))
            every = jnp.concatenate([details[2 * len(system.names) :], jnp.zeros(1)])
            return every[system.values]

        begin, states = values_at(state), []
        for place in range(len(system.names)):
            event = order[place]
            new = jnp.where(jnp.asarray(system.from_trigger_time)[event], begin[event], values_at(state)[event])
            sizes = jnp.concatenate([system.sizes(joined(time, state, own)), jnp.ones(1)])
            targets = jnp.asarray(system.targets)[event]
            new = jnp.where(jnp.asarray(system.scaled)[event], new * sizes[targets], new)
            state = jnp.where(fired[event], state.at[targets].set(new, mode="drop"), state)
            states.append(state)
        return state, jnp.stack(states)

    def priorities(self, counts: Sequence[Array], coefficients: Sequence[Array]) -> Array:
        """Of the events (events,); the larger comes first, nan last."""
        assert self.events is not None
        count = len(self.events.names)
        details = self.events.details(jnp.stack(self.inputs(counts, coefficients)))
        return details[count : 2 * count]


def beyond_known_times(chemistry: Chemistry, names: Iterable[str]) -> list[str]:
    """What events do that is not known beforehand, or shows in what is looked at: one sentence for each kind."""
    elements, reasons = chemistry.elements, []
    for event in elements.events:
        held = [target for target in event.assignments if target not in chemistry.state]
        if event.delay is not None:
            reasons.append(f"event {event.id!r} has a delay")
        elif event.priority is not None and chemistry.varies(event.priority):
            reasons.append(f"the priority of event {event.id!r} changes")
        elif chemistry.follows_state(event.trigger):
            reasons.append(f"when event {event.id!r} happens is not for time alone to decide")
        else:
            reasons += [
                f"event {event.id!r} sets {target!r} to what depends on counts"
                for target in held
                if chemistry.follows_counts(event.assignments[target])
            ]
    held_ids = {symbol(name) for name in elements.set_by_events if name not in chemistry.state}
    for name in names:
        plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        looked = chemistry.through_rules(symbol(plain))
        if plain != name:
            looked = looked | {symbol(elements.species[plain].compartment)}
        if looked & held_ids:
            reasons.append(f"{name!r} is looked at, and an event changes what it means")
    return reasons
