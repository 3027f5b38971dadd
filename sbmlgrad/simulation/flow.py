"""Trajectories that flow and jump: differential equations with events, in one compiled loop.

A step of the loop is one step of the solver, with its error held to a tolerance. Steps end exactly at observation
times, at times when an event is due, and where a condition on time alone changes. Where a trigger changes within a
step, the place is found on the solver's dense output and the step is taken again up to there, so that the state at
an event is as accurate as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from sbmlgrad.network.continuous import ContinuousModel, joined
from sbmlgrad.simulation.rosenbrock import ORDER, rosenbrock_step

RUNNING, DONE, TOO_MANY_STEPS, STUCK, TOO_MANY_EVENTS, QUEUE_FULL = range(6)

_FIRST = 1e-6  # of the whole time, the step that is tried first
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 6.0
_FLOOR = 1e-13  # of the largest amount: what is smaller is nothing
_INSIDE = 1e-12  # stages stay this fraction of a step away from its ends, where conditions on time change
_BISECTIONS = 60
_MOST_AT_ONCE = 10_000  # events executed at one instant


class Pending(NamedTuple):
    """Triggers as last seen (events,), and events that wait: when they are due and what they will assign.

    Each event has so many slots (events, slots); a free one is due at infinity.
    """

    truth: Array
    due: Array
    values: Array  # (events, slots, assignments)
    chance: Array  # counts decisions between events of one priority


class Path(NamedTuple):
    """Where a trajectory is: what the loop carries."""

    time: Array
    state: Array
    step: Array  # the size of step that the solver would like
    largest: Array  # (variables,) absolute values seen so far
    pending: Pending
    position: Array  # of the next observation
    records: Array  # (times, variables)
    steps: Array
    status: Array


@dataclass(frozen=True)
class Settings:
    """Tolerances (relative, and relative to the largest value seen), and limits."""

    relative: float = 1e-8
    absolute: float = 1e-10
    most_steps: int = 100_000
    slots: int = 4
    sensitive: bool = False
    """Whether the times of events carry derivatives."""


def integrate(
    model: ContinuousModel, settings: Settings, state: Array, coefficients: Array, times: Array, begin: Array, seed: Array
) -> Path:
    """Follow the model from ``state`` at time ``begin`` past the observation ``times`` (times,)."""
    loop = _Loop(model, settings, coefficients, times, seed)
    path = loop.start(state, begin)
    return lax.while_loop(lambda p: p.status == RUNNING, loop.advance, path)


class _Loop:
    """The functions of one trajectory's loop, with what does not change in it."""

    def __init__(self, model: ContinuousModel, settings: Settings, coefficients: Array, times: Array, seed: Array):
        self.model, self.settings, self.coefficients = model, settings, coefficients
        self.times, self.seed = jnp.asarray(times), seed
        self.events = model.events
        self.breaks = model.breakpoints(coefficients)

    def flow(self, time: Array, state: Array) -> Array:
        return self.model.flow(time, state, self.coefficients)

    def start(self, state: Array, begin: Array) -> Path:
        path = Path(
            time=begin,
            state=state,
            step=jnp.zeros(()),
            largest=jnp.abs(state),
            pending=self._nothing_pending(),
            position=jnp.zeros((), jnp.int32),
            records=jnp.zeros((len(self.times), len(state))),
            steps=jnp.zeros((), jnp.int32),
            status=jnp.full((), RUNNING, jnp.int32),
        )
        path = self._settle(path) if self.events else path
        # too small costs a few steps, as each may be several times the one before
        return self._observe(path._replace(step=_FIRST * (self.times[-1] - begin)))

    def advance(self, path: Path) -> Path:
        """One attempt at a step, and what happens at its end."""
        stop = self._stop(path)
        lands = path.step >= (stop - path.time) * (1 - 1e-9)
        step = jnp.where(lands, stop - path.time, lax.stop_gradient(path.step))
        end = jnp.where(lands, stop, path.time + step)
        inner = _inside(self.flow, path.time, step)
        state, error, dense = rosenbrock_step(inner, path.time, step, path.state)
        size = lax.stop_gradient(jnp.sqrt(jnp.mean(jnp.square(error / self._tolerance(path, state)))))
        if not state.shape[0]:
            size = jnp.zeros(())
        accepted = jnp.isfinite(size) & (size <= 1.0) & jnp.all(jnp.isfinite(state))
        factor = jnp.clip(_SAFETY * jnp.maximum(size, 1e-10) ** (-1.0 / ORDER), _SHRINK, _GROW)
        wanted = lax.stop_gradient(step) * jnp.where(jnp.isfinite(size), factor, _SHRINK)
        wanted = jnp.where(accepted & lands, jnp.maximum(wanted, path.step), wanted)
        moved = path._replace(time=end, state=state, largest=jnp.maximum(path.largest, jnp.abs(state)))
        if self.events:
            moved, accepted, wanted = self._meet_events(path, moved, dense, step, accepted, wanted)
        steps = path.steps + 1
        here: Path = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), moved, path)
        here = here._replace(step=lax.stop_gradient(wanted), steps=steps)
        if self.events:
            acts = accepted & self._must_act(here)
            here = lax.cond(acts, self._settle, lambda p: p, here)
        here = self._observe(here)
        stuck = ~accepted & (wanted < 1e-14 * jnp.maximum(jnp.abs(path.time), 1e-3 * (self.times[-1] - path.time)))
        status = jnp.where((here.status == RUNNING) & stuck, STUCK, here.status)
        status = jnp.where((status == RUNNING) & (steps >= self.settings.most_steps), TOO_MANY_STEPS, status)
        return here._replace(status=status)

    def _stop(self, path: Path) -> Array:
        """The next time at which a step has to end."""
        stop = self.times[jnp.minimum(path.position, len(self.times) - 1)]
        if self.events:
            stop = jnp.minimum(stop, jnp.min(path.pending.due))
        if self.breaks.size:
            stop = jnp.minimum(stop, jnp.min(jnp.where(self.breaks > path.time, self.breaks, jnp.inf)))
        return stop

    def _tolerance(self, path: Path, state: Array) -> Array:
        largest = jnp.maximum(path.largest, jnp.abs(state))
        amounts = jnp.asarray(self.model.amounts)
        floor = jnp.where(
            amounts,
            _FLOOR * jnp.max(jnp.where(amounts, largest, 0.0), initial=0.0),
            1e-2 * _FLOOR * jnp.max(jnp.where(amounts, 0.0, largest), initial=0.0),
        )
        near = jnp.maximum(jnp.abs(path.state), jnp.abs(state))
        settings = self.settings
        return lax.stop_gradient(settings.relative * near + settings.absolute * largest + floor + 1e-300)

    def _observe(self, path: Path) -> Path:
        """Write down the state where it is time to."""
        last = len(self.times) - 1
        now = path.time >= self.times[jnp.minimum(path.position, last)]
        row = jnp.minimum(path.position, last)
        records = jnp.where(now, path.records.at[row].set(path.state), path.records)
        position = path.position + now
        done = (position > last) & (path.status == RUNNING)
        return path._replace(records=records, position=position, status=jnp.where(done, DONE, path.status))

    # ---- events ----------------------------------------------------------------------------------------

    def _nothing_pending(self) -> Pending:
        if self.events is None:
            return Pending(*(jnp.zeros(0),) * 4)
        shape = (len(self.events.names), self.settings.slots)
        return Pending(
            truth=jnp.asarray(self.events.initial),
            due=jnp.full(shape, jnp.inf),
            values=jnp.zeros((*shape, self.events.targets.shape[1])),
            chance=jnp.zeros((), jnp.uint32),
        )

    def _seen(self, time: Array, state: Array) -> tuple[Array, Array, Array]:
        """The truth of triggers and of the relations in them, and what changes sign where a relation does."""
        assert self.events is not None
        values = self.events.triggers(joined(time, state, self.coefficients))
        count, relations = len(self.events.names), self.events.relations
        return values[:count] > 0.5, values[count : count + relations] > 0.5, values[count + relations :]

    def _meet_events(
        self, path: Path, moved: Path, dense: Callable[[Array], Array], step: Array, accepted: Array, wanted: Array
    ) -> tuple[Path, Array, Array]:
        """End a step where a trigger changes: shorten it and ask for another attempt until it does."""
        truth, relations, _ = self._seen(moved.time, moved.state)
        changes = accepted & jnp.any(truth != path.pending.truth)

        def find(_: Any) -> tuple[Array, Array, Array]:
            def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
                low, high = bracket
                middle = (low + high) / 2
                seen, _, _ = self._seen(path.time + middle * step, dense(middle))
                changed = jnp.any(seen != path.pending.truth)
                return jnp.where(changed, low, middle), jnp.where(changed, middle, high)

            low, high = lax.fori_loop(0, _BISECTIONS, halve, (jnp.zeros(()), jnp.ones(())))
            before = self._seen(path.time + low * step, dense(low))[1]
            return low, high, before

        nowhere = (jnp.zeros(()), jnp.ones(()), relations)
        _, high, before = lax.cond(changes, lambda _: lax.stop_gradient(find(None)), lambda _: nowhere, None)
        close = (1.0 - high) * step <= 1e-11 * step + 4e-16 * jnp.abs(moved.time)
        again = changes & ~close
        if self.settings.sensitive:
            moved = self._with_slope(moved, changes & close & (relations != before))
        # the step that was wanted without the event is what to go on with after it
        wanted = jnp.where(again, high * step, jnp.where(changes, jnp.maximum(wanted, path.step), wanted))
        return moved, accepted & ~again, wanted

    def _with_slope(self, moved: Path, changed: Array) -> Path:
        """The same path with the derivative of the time at which a relation changed, by the implicit function."""

        def gap(time: Array, state: Array) -> Array:
            gaps = self._seen(time, state)[2]
            return gaps[jnp.argmax(changed)]

        direction = (jnp.ones(()), self.flow(moved.time, moved.state))
        place = (lax.stop_gradient(moved.time), lax.stop_gradient(moved.state))
        speed = lax.stop_gradient(jax.jvp(gap, place, direction)[1])
        value = gap(moved.time, moved.state)
        usable = jnp.any(changed) & (speed != 0) & jnp.isfinite(speed)
        delay = -(value - lax.stop_gradient(value)) / jnp.where(usable, speed, 1.0)
        delay = jnp.where(usable, delay, 0.0)
        return moved._replace(time=moved.time + delay, state=moved.state + lax.stop_gradient(direction[1]) * delay)

    def _must_act(self, path: Path) -> Array:
        truth, _, _ = self._seen(path.time, path.state)
        return jnp.any(truth != path.pending.truth) | jnp.any(path.pending.due <= path.time)

    def _settle(self, path: Path) -> Path:
        """Schedule what was triggered and execute what is due, one after the other, until nothing is."""

        def go_on(loop: tuple[Path, Array, Array]) -> Array:
            return loop[1] & (loop[0].status == RUNNING)

        def act(loop: tuple[Path, Array, Array]) -> tuple[Path, Array, Array]:
            path, _, count = loop
            path, priorities, values = self._notice(path)
            ready = path.pending.due <= path.time
            path = jax.tree.map(
                lambda new, old: jnp.where(jnp.any(ready), new, old), self._execute(path, ready, priorities, values), path
            )
            status = jnp.where(count >= _MOST_AT_ONCE, TOO_MANY_EVENTS, path.status)
            return path._replace(status=status), jnp.any(ready), count + 1

        return lax.while_loop(go_on, act, (path, jnp.ones((), bool), jnp.zeros((), jnp.int32)))[0]

    def _notice(self, path: Path) -> tuple[Path, Array, Array]:
        """Look at the triggers: call off, and schedule; with priorities (events,) and values to assign as of now."""
        events, pending = self.events, path.pending
        assert events is not None
        truth, _, _ = self._seen(path.time, path.state)
        details = events.details(joined(path.time, path.state, self.coefficients))
        count = len(events.names)
        delays, priorities = details[:count], details[count : 2 * count]
        values = jnp.concatenate([details[2 * count :], jnp.zeros(1)])[events.values]
        fallen = pending.truth & ~truth & ~events.persistent
        due = jnp.where(fallen[:, None], jnp.inf, pending.due)
        risen = ~pending.truth & truth
        free = jnp.isinf(due)
        slot = jnp.argmax(free, axis=1)
        taken = risen[:, None] & (jnp.arange(due.shape[1]) == slot[:, None])
        when = jnp.where(events.delayed, path.time + jnp.maximum(delays, 0.0), path.time)
        due = jnp.where(taken, when[:, None], due)
        stored = jnp.where(taken[:, :, None], values[:, None, :], pending.values)
        full = jnp.any(risen & ~jnp.any(free, axis=1))
        pending = pending._replace(truth=truth, due=due, values=stored)
        path = path._replace(pending=pending, status=jnp.where(full, QUEUE_FULL, path.status))
        return path, priorities, values

    def _execute(self, path: Path, ready: Array, priorities: Array, values: Array) -> Path:
        """Execute the one that comes first of those that are ready; chance decides between equals."""
        events, pending = self.events, path.pending
        assert events is not None
        order = jnp.where(jnp.isnan(priorities), -jnp.inf, priorities)[:, None]
        order = jnp.where(ready, order, -jnp.inf)
        first = ready & (order == jnp.max(order))
        key = jax.random.fold_in(jax.random.key(self.seed), pending.chance)
        lot = jnp.argmax(jnp.where(first, jax.random.uniform(key, first.shape), -1.0))
        event, slot = jnp.unravel_index(lot, first.shape)
        new = jnp.where(jnp.asarray(events.from_trigger_time)[event], pending.values[event, slot], values[event])
        targets = jnp.asarray(events.targets)[event]
        state = self._assigned(path, targets, jnp.asarray(events.concentration)[event], new)
        due = pending.due.at[event, slot].set(jnp.inf)
        pending = pending._replace(due=due, chance=pending.chance + 1)
        return path._replace(state=state, pending=pending, largest=jnp.maximum(path.largest, jnp.abs(state)))

    def _assigned(self, path: Path, targets: Array, concentration: Array, values: Array) -> Array:
        events = self.events
        assert events is not None
        plain = jnp.where(concentration, len(path.state), targets)
        state = path.state.at[plain].set(values, mode="drop")
        sizes = jnp.concatenate([events.sizes(joined(path.time, state, self.coefficients)), jnp.ones(1)])
        return state.at[jnp.where(concentration, targets, len(state))].set(values * sizes[targets], mode="drop")


def _inside(flow: Callable[[Array, Array], Array], begin: Array, step: Array) -> Callable[[Array, Array], Array]:
    """The flow with times at the very ends of a step moved inside: conditions on time change only between steps."""
    margin = lax.stop_gradient(_INSIDE * step)

    def inner(time: Array, state: Array) -> Array:
        return flow(time + margin * (1.0 - 2.0 * (time - begin) / step), state)

    return inner
