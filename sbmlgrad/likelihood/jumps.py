"""What events at known times do to the law of a projection: every state goes to another, or to two that share it.

A number of molecules that an event sets to no whole number becomes one of its neighbours, so that the mean is kept.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.errors import SimulationError
from sbmlgrad.network.timed import Timed
from sbmlgrad.simulation.deterministic import quick_to_compile
from sbmlgrad.simulation.finite_state import StateSpace
from sbmlgrad.simulation.random import is_whole

_MOST_SET = 4  # species that events set to new numbers
_MOST_JUMPS = 1000
_AFTER = 1e-9  # of the time span: just after its end
_LOOKED = 500  # states in which the order of events is tried
_ROUNDED = 1e-9  # molecules


class Schedule(NamedTuple):
    """What happens when, between edges of steps.

    Attributes
    ----------
    edges
        Index (J,) of the edge at which each jump happens.
    fired
        Which events (J, events) are executed then.
    order, ranks
        In what order (events,) they are, and their priorities (events,), which do not change.
    at_begin, at_end
        For each step (steps,), the jump at its beginning and that at its end, -1 where there is none. An observation in
        between sees what is triggered by ``time >= t``, and not what is by ``time > t``.
    before
        For each step, how many jumps came before anything goes on in it.
    """

    edges: Any
    fired: Any
    order: Any
    ranks: Any
    at_begin: Any
    at_end: Any
    before: Any

    def padded(self, more: int) -> Schedule:
        """With so many more steps of no length."""
        begin, end = (np.pad(side, (0, more), constant_values=-1) for side in (self.at_begin, self.at_end))
        return self._replace(at_begin=begin, at_end=end, before=np.pad(self.before, (0, more), mode="edge"))

    def alone(self, jump: int) -> Schedule:
        """One of the jumps, without the steps."""
        one = slice(jump, jump + 1)
        return self._replace(edges=self.edges[one], fired=self.fired[one])


class Jumps(NamedTuple):
    """Jumps on a space of states.

    Attributes
    ----------
    schedule
        When.
    low, targets
        The whole numbers (J, set species, states) at or below the new ones, and the states (J, corners, states) that
        those and their upper neighbours make.
    """

    schedule: Schedule
    low: Any
    targets: Any

    def padded(self, more: int) -> Jumps:
        """With so many more steps of no length."""
        return self._replace(schedule=self.schedule.padded(more))


class JumpProcess:
    """The events of a process, as what they do to its states."""

    def __init__(self, timed: Timed):
        self.timed = timed
        system = timed.events
        assert system is not None
        places = {variable: place for place, variable in enumerate(timed.counts)}
        self.set = sorted({places[t] for t in np.unique(system.targets).tolist() if t in places})
        if len(self.set) > _MOST_SET:
            raise SimulationError(
                f"events set the numbers of {len(self.set)} species; probabilities are for {_MOST_SET}"
            )
        if timed.bends_are_held:
            raise SimulationError(
                "an event sets at what times rates change; probabilities need to know them beforehand"
            )

    def schedule(self, edges: np.ndarray, coefficients: tuple[Any, ...]) -> Schedule:
        """What happens after the first of the edges; raises :class:`SimulationError` for what is left to chance."""
        middles = np.append((edges[1:] + edges[:-1]) / 2, edges[-1] + _AFTER * (edges[-1] - edges[0]))
        seen, ranks = (np.asarray(part) for part in self._seen(np.append(middles, edges[1:]), coefficients))
        truth, there = np.split(seen, [len(middles)])
        assert self.timed.events is not None
        if np.any(truth[0] & ~self.timed.events.initial):
            raise SimulationError("an event happens at the start; give the model the state after it")
        risen = truth[1:] & ~truth[:-1]
        sides = np.stack([risen & there, risen & ~there], axis=1)  # (steps, 2, events): at an end, and just after it
        step, late = np.nonzero(sides.any(axis=2))
        if len(step) > _MOST_JUMPS:
            raise SimulationError(f"events happen {len(step)} times; probabilities are followed through {_MOST_JUMPS}")
        ranks, number = np.nan_to_num(ranks, nan=-np.inf), np.arange(len(step))
        at_begin, at_end = np.full(len(edges), -1), np.full(len(edges), -1)
        at_end[step[late == 0]] = number[late == 0]
        at_begin[step[late == 1] + 1] = number[late == 1]
        steps = np.arange(len(edges) - 1)
        return Schedule(
            edges=step + 1,
            fired=sides[step, late],
            order=np.argsort(-ranks, kind="stable"),
            ranks=ranks,
            at_begin=at_begin[:-1],
            at_end=at_end[:-1],
            before=np.searchsorted(step + 1, steps, side="right"),
        )

    @cached_property
    def _seen(self) -> Any:
        """Truth of triggers (times, events) at some times, and priorities (events,), of times and coefficients."""

        def seen(times: Array, coefficients: tuple[Any, ...]) -> tuple[Array, Array]:
            truth = jax.vmap(lambda time: self.timed.truth(time, (time, *coefficients[1:])))(times)
            return truth, self.timed.priorities([jnp.zeros(()) for _ in self.timed.counts], coefficients)

        return jax.jit(seen, compiler_options=quick_to_compile(threads=True))

    def stages(self, schedule: Schedule, edges: Array, coefficients: tuple[Any, ...]) -> Array:
        """What is held (J + 1, held) before the first jump and after each."""
        first = jnp.stack([*map(jnp.asarray, self.timed.holds(coefficients)), jnp.zeros(())])[:-1]
        nothing = [jnp.zeros(()) for _ in self.timed.counts]  # what is held does not follow counts

        def one(held: Array, jump: Any) -> tuple[Array, Array]:
            time, fired = jump
            now = self.timed.holding(held, (time, *coefficients[1:]))
            after = self.timed.after(nothing, now, jnp.asarray(schedule.order), fired)[0][
                jnp.array(self.timed.held, int)
            ]
            return after, after

        times = jnp.asarray(edges)[jnp.asarray(schedule.edges, int)]
        rest = lax.scan(one, first, (times, jnp.asarray(schedule.fired)))[1]
        return jnp.concatenate([first[None], rest])

    @cached_property
    def held(self) -> Any:
        """:meth:`stages`, compiled."""
        return jax.jit(self.stages, compiler_options=quick_to_compile(threads=True))

    def just_before(
        self, schedule: Schedule, edges: Array, coefficients: tuple[Any, ...], jump: Any, stages: Array
    ) -> tuple[Any, ...]:
        """The coefficients just before a jump."""
        time = jnp.asarray(edges)[jnp.asarray(schedule.edges, int)[jump]]
        return self.timed.holding(stages[jump], (time, *coefficients[1:]))

    def on(self, space: StateSpace, room: int, schedule: Schedule, edges: np.ndarray, coefficients: Any) -> Jumps:
        """The jumps on a space of states, in arrays of ``room`` for states; what leads outside is lost."""
        low = np.zeros((len(schedule.edges), len(self.set), room))
        targets = np.full((len(low), len(self.corners), room), room)
        for jump, images in enumerate(self.images(space.states, schedule, edges, coefficients)):
            low[jump, :, : len(space)] = images
            for corner, upper in enumerate(self.corners):
                after = space.states.copy()
                after[:, self.set] = images.T + np.array(upper, int)
                index = space.find(after)
                targets[jump, corner, : len(space)] = np.where(index < 0, room, index)
        return Jumps(schedule, low, targets)

    def images(
        self, states: np.ndarray, schedule: Schedule, edges: np.ndarray, coefficients: tuple[Any, ...]
    ) -> list[np.ndarray]:
        """Of each jump, the whole numbers (set species, n) at or below those after it, from states (n, species).

        Raises :class:`SimulationError` for what is no number of molecules, or left to chance.
        """
        if not len(schedule.edges):
            return []
        columns = tuple(states.T.astype(float))
        every, stepwise = (np.asarray(part) for part in self._images(columns, schedule, edges, coefficients))
        for fired, after in zip(schedule.fired, stepwise, strict=True):
            self._check_order(schedule.ranks[fired], after)
        if not np.all(np.isfinite(every)) or np.any(every < -_ROUNDED):
            raise SimulationError("an event sets a number of molecules to what is negative, or no number")
        return [np.where(is_whole(found), np.round(found), np.floor(found)).astype(np.int64) for found in every]

    @cached_property
    def _images(self) -> Any:
        """Numbers after each jump (J, set species, n), and whole states after each of its events, one by one (J, 2,
        events, n, variables), in order and in the opposite order."""

        def images(columns: Any, schedule: Schedule, edges: Array, coefficients: Any) -> tuple[Array, Array]:
            stages = self.stages(schedule, edges, coefficients)

            def one(jump: Array) -> tuple[Array, Array]:
                now = self.just_before(schedule, edges, coefficients, jump, stages)
                order, fired = jnp.asarray(schedule.order), jnp.asarray(schedule.fired)[jump]

                def ways(*own: Array) -> Array:
                    return jnp.stack([self.timed.after(own, now, way, fired)[1] for way in (order, order[::-1])])

                few = [column[:_LOOKED] for column in columns]
                return self.numbers_after(columns, now, order, fired), jax.vmap(ways, out_axes=2)(*few)

            return lax.map(one, jnp.arange(len(schedule.edges)))

        return jax.jit(images, compiler_options=quick_to_compile(threads=True))

    def _check_order(self, ranks: np.ndarray, after: np.ndarray) -> None:
        """Raise for events at one time whose order, or rounding in between, is left to chance."""
        if len(ranks) < 2:
            return
        ends = after[:, -1]
        if len(np.unique(ranks)) < len(ranks) and not np.allclose(ends[0], ends[1], rtol=1e-12, atol=_ROUNDED):
            raise SimulationError("events happen at the same time in an order left to chance; give them priorities")
        if np.any(~is_whole(after[0, :-1][..., list(self.timed.counts)])):
            raise SimulationError("events at the same time set fractions of molecules; let one of them do all")

    def numbers_after(self, columns: Any, coefficients: tuple[Any, ...], order: Array, fired: Array) -> Array:
        """The new numbers (set species, n) of states, whose counts are columns (n,), after the events of a jump."""
        after = jax.vmap(lambda *own: self.timed.after(own, coefficients, order, fired)[0])(*columns)
        return after[:, jnp.array([self.timed.counts[place] for place in self.set], int)].T

    @cached_property
    def corners(self) -> list[tuple[int, ...]]:
        """All choices of the lower or the upper neighbour of what is set."""
        return list(product((0, 1), repeat=len(self.set)))

    def moved(self, law: Array, columns: Any, jumps: Jumps, jump: Array, coefficients: tuple[Any, ...]) -> Array:
        """The law (states,) after a jump, with the coefficients just before it."""
        order, fired = jnp.asarray(jumps.schedule.order), jnp.asarray(jumps.schedule.fired)[jump]
        up = self.numbers_after(columns, coefficients, order, fired) - jnp.asarray(jumps.low)[jump]
        total, room = jnp.zeros_like(law), len(law)
        for corner, upper in enumerate(self.corners):
            weight = jnp.ones_like(law)
            for place, high in enumerate(upper):
                weight = weight * (up[place] if high else 1 - up[place])
            arrived = jax.ops.segment_sum(law * weight, jnp.asarray(jumps.targets)[jump, corner], num_segments=room + 1)
            total = total + arrived[:room]
        return total
