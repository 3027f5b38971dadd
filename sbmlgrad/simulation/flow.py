"""Trajectories that flow and jump: differential equations, events and reactions, in one compiled loop.

A step of the loop is one step of a solver, with its error held to a tolerance. Steps end exactly at observation
times, at times when an event is due, and where a condition on time alone changes. Where a trigger changes within a
step, the place is found on the solver's dense output and the step is taken again up to there, so that the state at
an event is as accurate as any other. A reaction fires where the integral of the propensities reaches a standard
exponential random number; that integral is one more variable of the flow.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network.hybrid_model import HybridModel, joined
from sbmlgrad.simulation.crossings import Crossings, first_zero
from sbmlgrad.simulation.delay_history import DelayHistory, empty_history, recall, remember
from sbmlgrad.simulation.events import MOST_ROUNDS, Events, whole_counts
from sbmlgrad.simulation.path import (
    BAD_PROPENSITY,
    DONE,
    ENDLESS_EVENTS,
    QUEUE_FULL,
    RESTLESS_EVENTS,
    RUNNING,
    STUCK,
    TOO_MANY_STEPS,
    Marks,
    Path,
    Realisation,
    Settings,
    foreseen,
)
from sbmlgrad.simulation.random import exponential, is_whole, uniform
from sbmlgrad.simulation.rosenbrock import Dense, Step
from sbmlgrad.simulation.solvers import Euler, inside, largest_error, without

Result = TypeVar("Result")

_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 6.0
_ROUNDING = 2.0**-53
_SPARE = 8.0  # times what rounding does at most to a law: what a step makes of it
_FIRST = 1e-6  # of the whole time, the step that is tried first
_FLOOR = 1e-22  # of the largest amount: from there, what is made of nothing has a size that a step can be true to
_NOTHING = 1e-150  # in any unit
_LENIENCE = 0.1  # digits that a value may be less exact for each that it is below the largest of its kind
_SHORTEST = 2.0**-60  # a wait of 0, which is drawn once in 2**25 times, is no step
_REACHED = 1e-12  # how close to its target the integral of propensities counts as there
_LEAST = 1e-9  # of the integral of propensities, the error that is none
_BEYOND = 1.1  # times the way to the next reaction, as far as it can be seen: a step that is cut there costs nothing
_JUST_AFTER = 4.0  # grains of time
_MOST_TRIES = 20
_MOST_VAIN = 12  # times that what seemed to be hidden within a step was not met
_WIDE = 1e5  # grains of time, from which on a step is not a try to pass the place of a change
_MOST_CHATTER = 4
_OF_A_LAG = 0.125  # the longest step: values of the past are interpolated between steps by cubics
_BELOW, _NEAR_NOTHING = 1e-9, 1e-12  # of the largest value of a variable, of all: so far below 0 a value may be 0
_MEMORY = 256  # steps remembered for delays, for each slot of the settings


class Trajectory:
    """The loop of one trajectory: :meth:`start`, then :meth:`advance` while it runs."""

    def __init__(self, model: HybridModel, settings: Settings, marks: Marks, realisation: Realisation):
        self.model, self.settings, self.realisation = model, settings, realisation
        self.solver = settings.solver or Euler()
        self.times, self.landmarks = marks
        self.size = len(model.variables)
        # reactions whose propensities are integrated one by one, beside their sum
        self.integrated = sorted({reaction for reaction, _ in settings.martingales} if settings.solver else ())
        self.history: DelayHistory | None = None  # of the path that is being advanced
        none = jnp.zeros(model.relations.count, bool)
        self.held = (none, none)  # its relations, and which of them are as they were
        self.crossings = Crossings(model.relations, self._coefficients) if model.relations.count else None
        self.events: Events | None = None
        if model.events is not None:
            self.events = Events(model, self._coefficients, realisation.keys, realisation.trajectory, settings.slots)

    def start(self, state: Array, begin: Array) -> Path:
        """The trajectory at its beginning, before anything is observed; events may happen there.

        Where the direct method goes on with it, they still have to.
        """
        if self.model.delays is not None:
            self.history = empty_history(begin, _MEMORY * self.settings.slots, len(self.model.delays.indices))
        pending = self.events.nothing() if self.events else None
        fractions = jnp.asarray(self.model.whole) & ~is_whole(state)
        state = whole_counts(
            self.model, state, self.realisation.keys, self.realisation.trajectory, jnp.zeros((), jnp.uint32)
        )
        waits = self.settings.solver is None
        if self.events is not None and pending is not None and not waits:
            state, pending = self.events.settle(begin, state, pending)
        largest = jnp.abs(state)
        draws = jnp.zeros((), jnp.uint32)
        if self.model.propensities is not None:
            state = jnp.concatenate([state, jnp.zeros(len(self.integrated) + 1)])
        path = Path(
            since=lax.stop_gradient(begin),
            time=begin,
            state=state,
            step=_FIRST * (self.times[-1] - begin),  # too small costs a few steps: each may be larger than the last
            largest=largest,
            pending=pending,
            target=jnp.zeros(()) if self.model.propensities is None else self._target(draws),
            draws=draws,
            position=jnp.zeros((), jnp.int32),
            steps=jnp.zeros((), jnp.int32),
            status=jnp.where(jnp.all(jnp.isfinite(state)), RUNNING, STUCK).astype(jnp.int32),
            observed=jnp.zeros((), bool),
            cautious=jnp.zeros((), bool),
            fractions=fractions,
            relations=jnp.zeros(self.model.relations.count, bool),
            tries=jnp.zeros((), jnp.int32),
            aimed=jnp.zeros((), bool),
            vain=jnp.zeros((), jnp.int32),
            chatter=jnp.zeros((), jnp.int32),
            history=self.history,
            **self.settings.scores_at_start(),
        )
        return path if waits else self._checked(self._compared(self._remember(path, jnp.ones((), bool))))

    def advance(self, path: Path) -> Path:
        """One attempt at a step, and what happens at its end."""
        self.history = path.history
        # a law that changes back as soon as it has changed slides along the place where it does: let it pass
        watched = jnp.asarray(self.model.relations.deciding) | (path.chatter < _MOST_CHATTER)
        self.held = (path.relations, watched)
        stop = self.next_stop(path)
        wish = lax.stop_gradient(path.step)
        if self.solver.is_exact:  # no step is too long, but for where a change was found
            wish = jnp.where(path.aimed, wish, jnp.inf)
        if self.model.delays is not None:  # so that what a step needs of the past has been there
            lags = self._lags(path.time)
            shortest = lax.stop_gradient(jnp.min(jnp.where(lags > 0, lags, jnp.inf)))
            wish = jnp.minimum(wish, _OF_A_LAG * shortest)
        if self.model.propensities is not None:
            total = jnp.sum(self.model.relations.propensities(self._smooth(path.time, path.state)))
            left = path.target - path.state[-1]
            wish = jnp.minimum(wish, jnp.where(total > 0, _BEYOND * left / total, jnp.inf))
        lands = wish >= (stop - path.time) * (1 - 1e-9)
        step = jnp.where(lands, stop - path.time, wish)
        end = jnp.where(lands, stop, path.time + step)
        if self.settings.scored:
            step, end = lax.stop_gradient((step, end))
        noise = self._noise(path)
        flow = inside(partial(self._flow, noise=noise), path.time, step)
        slopes = None
        if self.model.propensities is None and self.model.delays is None and self.model.jacobian is not None:
            slopes = inside(partial(self._slopes, noise=noise), path.time, step)
        taken = self.solver.step(flow, path.time, step, path.state, slopes)
        state, dense = taken.state, taken.dense
        size = largest_error(taken.error, self._tolerance(path, taken, step))
        accepted = sound = (size <= 1.0) & jnp.all(jnp.isfinite(state))
        factor = jnp.clip(_SAFETY * jnp.maximum(size, 1e-10) ** (-1.0 / self.solver.order), _SHRINK, _GROW)
        next_step = lax.stop_gradient(step) * jnp.where(jnp.isfinite(size), factor, _SHRINK)
        next_step = jnp.where(accepted & (step < path.step), jnp.maximum(next_step, path.step), next_step)
        moved = path._replace(time=end, state=state, largest=self._seen_so_far(path, state))
        if self.model.propensities is not None:
            moved, dense, step = self._meet_reaction(path, moved, dense, step, accepted)
        if self.crossings is not None:
            moved, accepted, next_step, again = self._meet_change(path, moved, dense, step, accepted, next_step)
            path, moved = path._replace(tries=path.tries + again, aimed=again), moved._replace(aimed=again)
        here: Path = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), moved, path)
        counts = np.flatnonzero(self.model.whole)  # nothing flows there, but an implicit solver rounds
        here = here._replace(state=here.state.at[counts].set(path.state[counts]))
        here = here._replace(step=lax.stop_gradient(next_step), steps=path.steps + 1)
        here = here._replace(cautious=path.cautious | ~jnp.all(jnp.isfinite(state)))
        stuck = ~sound & (next_step < _ROUNDING * jnp.maximum(jnp.abs(path.time), _FIRST * self.times[-1]))
        here = here._replace(status=jnp.where(stuck, STUCK, here.status))
        here = self._remember(here, accepted)
        if self.model.propensities is not None:
            here = self._react(self._compensated(path, here), accepted)
        if self.events is not None and here.pending is not None:
            inner, pending = self.events.settle(here.time, here.state[: self.size], here.pending)
            here = here._replace(state=here.state.at[: self.size].set(inner), pending=pending)
            jumped = jnp.any(inner != moved.state[: self.size])
            here = self._remember(here._replace(largest=self._seen_so_far(here, here.state)), accepted & jumped)
        here = self._checked(self._compared(here))
        running = path.status == RUNNING
        ended = path._replace(observed=jnp.zeros((), bool))
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), here, ended)

    def attend(self, path: Path) -> tuple[Path, Array, Array]:
        """What happens at this instant, of events and of observations, the next time at which something may, and
        whether that is so soon that nothing else can come before."""
        if self.events is not None and path.pending is not None:
            state, pending = self.events.settle(path.time, path.state[: self.size], path.pending)
            path = path._replace(state=path.state.at[: self.size].set(state), pending=pending)
        path = self._checked(path)
        stop = self.next_stop(path)
        return path, stop, (path.status == RUNNING) & (stop <= path.time + (_JUST_AFTER + 1.0) * self._grain(path.time))

    def _flow(self, time: Array, state: Array, noise: Array | float = 0.0) -> Array:
        within = self._smooth(time, without(noise, state[: self.size]))
        change = self.model.relations.flow(within)
        if self.model.propensities is None:
            return change
        propensities = self.model.relations.propensities(within)
        return jnp.concatenate([change, propensities[np.array(self.integrated, int)], jnp.sum(propensities)[None]])

    def _smooth(self, time: Array, state: Array) -> Array:
        """What laws are functions of, with relations as they were when the step began."""
        values = joined(time, state[: self.size], self._coefficients(time))
        flowing = np.flatnonzero(self.model.relations.flowing)
        if self.crossings is None or not len(flowing):
            return values
        relations, watched = self.held
        present = self.crossings.seen(time, state[: self.size])[0]
        return jnp.concatenate([values, jnp.where(watched, relations, present)[flowing].astype(jnp.float64)])

    def _coefficients(self, time: Array) -> Array:
        """The coefficients, with values of the past as of this time."""
        fixed, delays = self.realisation.coefficients, self.model.delays
        if self.history is None or delays is None:
            return fixed
        program = delays.before
        times = time - self._lags(time)
        before = jax.vmap(lambda t: program(joined(t, jnp.zeros(self.size), fixed)))(times)
        return fixed.at[delays.indices].set(recall(self.history, times, jnp.diagonal(before)))

    def _lags(self, time: Array) -> Array:
        assert self.model.delays is not None
        return self.model.delays.lags(joined(time, jnp.zeros(self.size), self.realisation.coefficients))

    def observed_state(self, path: Path) -> Array:
        """The state (variables,) at an observation."""
        state = path.state[: self.size]
        if self.events is None or not self.settings.sensitive:
            return state
        # an event may fall on this very time, but the time of an observation does not move as that of an event does
        self.history, self.held = path.history, (path.relations, jnp.ones_like(path.relations))
        moved = self.times[jnp.maximum(path.position - 1, 0)] - path.time
        flow = lax.stop_gradient(self._flow(path.time, path.state)[: self.size])
        return state + flow * (moved - lax.stop_gradient(moved))

    def delayed(self, path: Path) -> Array:
        """The values of the past (delays,) that formulas need at this time."""
        self.history = path.history
        if self.model.delays is None:
            return jnp.zeros(0)
        return self._coefficients(path.time)[self.model.delays.indices]

    def _remember(self, path: Path, happened: Array) -> Path:
        """Keep what delays will need of the present."""
        if self.model.delays is None or path.history is None:
            return path
        program = self.model.delays.now
        self.history = path.history

        def needed(time: Array, state: Array) -> Array:
            return program(joined(time, state, self._coefficients(time)))

        direction = (jnp.ones_like(path.time), self._flow(path.time, path.state))
        values, slopes = jax.jvp(needed, (path.time, path.state), direction)
        history = remember(path.history, happened, path.time, values, slopes)
        reach = path.time - jnp.max(self._lags(path.time))
        lost = (history.used > len(history.times)) & (jnp.min(history.times) > reach)
        return path._replace(history=history, status=jnp.where(lost, QUEUE_FULL, path.status))

    def _slopes(self, time: Array, state: Array, noise: Array) -> tuple[Array, Array]:
        assert self.model.jacobian is not None
        within = self._smooth(time, without(noise, state))
        return self.model.jacobian(time, within[1 : self.size + 1], within[self.size + 1 :])

    def _noise(self, path: Path) -> Array:
        """How far below 0 each variable counts as 0 to the laws: not at all until one fails.

        A power law makes no sense of what is only by an error below 0, however short the step.
        """
        if self.solver.is_exact:
            return jnp.zeros(self.size)
        below = _BELOW * path.largest + _NEAR_NOTHING * self._largest_of_all(path.largest)
        return lax.stop_gradient(jnp.where(path.cautious, below, 0.0))

    def _propensities(self, time: Array, state: Array) -> Array:
        return self.model.propensities_at(time, state[: self.size], self.realisation.coefficients)

    def next_stop(self, path: Path) -> Array:
        """The next time at which a step has to end."""
        stop = self.times[jnp.minimum(path.position, len(self.times) - 1)]
        if path.pending is not None:
            stop = jnp.minimum(stop, jnp.min(path.pending.due))
        grain = self._grain(path.time)
        after = path.time + _JUST_AFTER * grain
        # just after the present: what has changed is as it is now
        changing = self.model.switches(joined(after, path.state[: self.size], self.realisation.coefficients))
        if self.landmarks.size:
            following = jnp.searchsorted(self.landmarks, path.time + grain, side="right")
            around = jnp.append(self.landmarks, jnp.inf)[jnp.maximum(following + np.array([-1, 0]), 0)]
            changing = jnp.concatenate([changing, around])
        if changing.size:
            stop = jnp.minimum(stop, jnp.min(jnp.where(changing > path.time + grain, changing, jnp.inf)))
            if self.events is not None:  # what holds at this instant may not hold any more just after it
                changed = jnp.any(jnp.abs(changing - path.time) <= grain)
                stop = jnp.where(changed, jnp.minimum(stop, after), stop)
        if path.history is not None:  # the bend at the start comes back after every lag
            since, lags = path.time - path.history.begin, self._lags(path.time)
            returns = jnp.floor(since / lags * (1 + 1e-9) + 1e-9) + 1
            stop = jnp.minimum(stop, path.history.begin + jnp.min(jnp.where(lags > 0, returns * lags, jnp.inf)))
        return stop

    def _grain(self, time: Array) -> Array:
        """The shortest span that means anything at this time."""
        return 4.0 * _ROUNDING * jnp.maximum(jnp.abs(time), _FIRST * self.times[-1])

    def _seen_so_far(self, path: Path, state: Array) -> Array:
        return jnp.maximum(path.largest, jnp.abs(state[: self.size]))

    def _tolerance(self, path: Path, taken: Step, step: Array) -> Array:
        """The error (variables,) that a step may make.

        It is relative for every variable, since what nearly dies out may come back; the deeper a value is below the
        largest seen, the fewer digits are asked for, so that what vanishes for good costs little. What rounding does
        to it, and to the time, no step can avoid.
        """
        near = jnp.maximum(jnp.abs(path.state), jnp.abs(taken.state))
        inner = near[: self.size]
        scale = self._largest_of_all(jnp.maximum(path.largest, inner))
        depth = inner / jnp.where(scale > 0, scale, 1.0)
        floor = _FLOOR * scale + _NOTHING
        tolerance = scale * self.settings.relative * depth ** (1.0 - _LENIENCE) + floor
        if self.model.propensities is not None:
            tolerance = jnp.concatenate([tolerance, self.settings.relative * near[self.size :] + _LEAST])
        clock = self._grain(path.time) / step * jnp.abs(taken.state - path.state)
        tolerance = (tolerance + clock).at[: self.size].add(self._noise_of_laws(path, taken, floor))
        return lax.stop_gradient(tolerance)

    def _noise_of_laws(self, path: Path, taken: Step, floor: Array) -> Array:
        """How far rounding, and what is nothing in other variables, moves each variable (variables,) in a step."""
        if self.solver.is_exact:
            return jnp.zeros(self.size)
        if self.settings.careful:
            noise = self.model.rounding(path.time, path.state[: self.size], self._coefficients(path.time))
        else:
            noise = taken.terms[: self.size]
        every = jnp.zeros_like(path.state).at[: self.size].set(floor)
        noise = _SPARE * _ROUNDING * noise + taken.spread(every)[: self.size]
        return noise * taken.memory[: self.size]

    def _largest_of_all(self, sizes: Array) -> Array:
        """For each variable the largest size among its like: amounts, or anything else."""
        amounts = jnp.asarray(self.model.amounts)
        first, second = (jnp.max(jnp.where(kind, sizes, 0.0), initial=0.0) for kind in (amounts, ~amounts))
        return jnp.where(amounts, first, second)

    def _checked(self, path: Path) -> Path:
        """Ask for the state to be written down where it is time to, and see whether this is the end."""
        last = len(self.times) - 1
        observed = (path.time >= self.times[jnp.minimum(path.position, last)]) & (path.status == RUNNING)
        position = path.position + observed
        status = jnp.where((position > last) & (path.status == RUNNING), DONE, path.status)
        between, most = path.steps - path.draws.astype(jnp.int32), self.settings.most_steps
        late = jnp.maximum(between, 0.01 * foreseen(path, between, most, self.times[-1])) >= most
        status = jnp.where((status == RUNNING) & late, TOO_MANY_STEPS, status)
        if path.pending is not None:
            rounds = foreseen(path, path.pending.chance, MOST_ROUNDS, self.times[-1])  # there may be fewer
            status = jnp.where((status == RUNNING) & (rounds > 3.0 * MOST_ROUNDS), RESTLESS_EVENTS, status)
            status = jnp.where(path.pending.full, QUEUE_FULL, status)
            status = jnp.where(path.pending.endless, ENDLESS_EVENTS, status)
        return path._replace(position=position, status=status, observed=observed)

    # ---- reactions -------------------------------------------------------------------------------------

    def _target(self, draws: Array) -> Array:
        drawn = exponential(self.realisation.keys.waiting, self.realisation.trajectory, draws).astype(jnp.float64)
        return jnp.maximum(drawn, _SHORTEST)

    def _meet_reaction(
        self, path: Path, moved: Path, dense: Dense, step: Array, accepted: Array
    ) -> tuple[Path, Dense, Array]:
        """End a step where the integral of the propensities reaches its target: on the dense output, as exact as it."""
        over = accepted & (moved.state[-1] > path.target)

        def gap(fraction: Array) -> Array:
            return dense(fraction)[-1] - path.target

        low, high = path.state[-1] - path.target, moved.state[-1] - path.target
        fraction = lax.stop_gradient(first_zero(gap, low, high, 0.5 * _REACHED * path.target, over))
        state = dense(fraction).at[-1].set(path.target)
        if self.settings.scored:  # what the propensities amount to up to then has a derivative
            state = dense(fraction)
        end = path.time + fraction * step
        moved = moved._replace(time=jnp.where(over, end, moved.time), state=jnp.where(over, state, moved.state))
        return moved, lambda part: dense(part * fraction), fraction * step

    def _compensated(self, before: Path, now: Path) -> Path:
        """The martingales less what has been expected of them in a step, in which counts stay as they are."""
        if not self.integrated or now.martingales is None:
            return now
        grown = now.state[self.size : -1] - before.state[self.size : -1]
        parts = [grown[self.integrated.index(j)] * self._count(before.state, h) for j, h in self.settings.martingales]
        return now._replace(martingales=now.martingales - jnp.stack(parts))

    def _count(self, state: Array, variable: int | None) -> Array:
        return jnp.ones(()) if variable is None else lax.stop_gradient(state[variable])

    def _react(self, path: Path, accepted: Array) -> Path:
        """Let a reaction fire where it is its time, and stop where a propensity makes no sense."""
        propensities = self._propensities(path.time, path.state)
        bad = ~jnp.all((propensities >= 0) & (propensities < jnp.inf))
        sums = jnp.cumsum(propensities)
        # what is left may take less time than the clock resolves, and then no step would come any closer
        resolved = self._grain(path.time) * sums[-1]
        reached = path.target - path.state[-1] <= jnp.maximum(_REACHED * path.target, resolved)
        fires = accepted & reached & (path.status == RUNNING) & ~bad
        threshold = uniform(self.realisation.keys.choice, self.realisation.trajectory, path.draws) * sums[-1]
        chosen = jnp.minimum(jnp.sum(threshold >= sums), len(propensities) - 1)
        jump = jnp.asarray(self.model.jumps)[:, chosen]
        state = path.state.at[: self.size].add(jump).at[-1].set(0.0)
        draws = path.draws + fires
        if path.weight is not None:  # the logarithm of a_j exp(-integral of all a)
            density = jnp.log(jnp.where(fires, propensities[chosen], 1.0)) - path.state[-1]
            path = path._replace(weight=jnp.where(fires, path.weight + density, path.weight))
            path = path.missing(jnp.where(accepted, propensities, 1.0))
        if path.martingales is not None:
            pairs = self.settings.martingales
            jumps = [jnp.where(fires & (chosen == j), self._count(path.state, h), 0.0) for j, h in pairs]
            path = path._replace(martingales=path.martingales + jnp.stack(jumps) if jumps else path.martingales)
        return path._replace(
            state=jnp.where(fires, state, path.state),
            target=jnp.where(fires, self._target(draws), path.target),
            draws=draws,
            status=jnp.where(bad & (path.status == RUNNING), BAD_PROPENSITY, path.status),
        )

    # ---- comparisons -----------------------------------------------------------------------------------

    def _compared(self, path: Path) -> Path:
        """With the truth of all relations as of now."""
        if self.crossings is None:
            return path
        return path._replace(relations=self.crossings.seen(path.time, path.state[: self.size])[0])

    def _meet_change(
        self, path: Path, moved: Path, dense: Dense, step: Array, accepted: Array, next_step: Array
    ) -> tuple[Path, Array, Array, Array]:
        """End a step where a relation changes: shorten it and ask for another attempt until it does.

        Relations rather than triggers, so that one that is true for less than a step (1 < x and x < 1.1) is seen; and
        one that holds for less than a step (x > 0.999 at a peak) is looked for within it.
        """
        crossings = self.crossings
        assert crossings is not None
        watched = self.held[1]

        def way(fraction: Array) -> Array:
            return dense(fraction)[: self.size]

        relations = crossings.seen(moved.time, moved.state[: self.size])[0]
        grain = self._grain(moved.time)
        wide = step > _WIDE * grain  # in less, rounding may change a relation and change it back
        last = crossings.hidden_change(way, path.time, step, path.relations, watched)
        last = jnp.where(wide & (path.vain < _MOST_VAIN), last, 1.0)
        changes = accepted & (jnp.any((relations != path.relations) & watched) | (last < 1.0))
        fraction, before = lax.stop_gradient(
            crossings.first_change(way, path.time, step, path.relations, watched, changes, last)
        )
        # A variable that changes slowly may not move at all in the smallest step of time, so that a step to the
        # place that was found ends before the change again and again: each time, aim a little further beyond it.
        margin = grain * 4.0 ** jnp.minimum(path.tries, _MOST_TRIES)
        close = (1.0 - fraction) * step <= 1e-11 * step + 2.0 * margin
        again = changes & ~close
        passed = accepted & (changes | (wide & ~path.aimed))
        # rounding may keep a change from happening in the step that was to meet it
        vain = jnp.where(path.aimed & ~changes, path.vain + 1, 0)
        upon_another = jnp.where(~wide & changes, path.chatter + 1, 0)
        moved = moved._replace(
            tries=jnp.where(passed, 0, path.tries),
            vain=jnp.where(accepted, vain, path.vain),
            chatter=jnp.where(passed, upon_another, path.chatter),
        )
        if self.settings.sensitive:
            moved = self._with_slope(moved, changes & close & (relations != before))
        # the step that was wanted without the change is what to go on with after it
        next_step = jnp.where(changes, jnp.maximum(next_step, path.step), next_step)
        return moved, accepted & ~again, jnp.where(again, fraction * step + margin, next_step), again

    def _with_slope(self, moved: Path, changed: Array) -> Path:
        """The same path with the derivative of the time at which a relation changed, by the implicit function."""
        crossings = self.crossings
        assert crossings is not None

        def gap(time: Array, state: Array) -> Array:
            return crossings.seen(time, state)[1][jnp.argmax(changed)]

        direction = self._flow(moved.time, moved.state)
        index = (lax.stop_gradient(moved.time), lax.stop_gradient(moved.state))
        along = (jnp.ones_like(moved.time), lax.stop_gradient(direction))
        speed = lax.stop_gradient(jax.jvp(gap, index, along)[1])
        value = gap(moved.time, moved.state)
        usable = jnp.any(changed) & (speed != 0) & jnp.isfinite(speed)
        delay = -(value - lax.stop_gradient(value)) / jnp.where(usable, speed, 1.0)
        delay = jnp.where(usable, delay, 0.0)
        return moved._replace(time=moved.time + delay, state=moved.state + lax.stop_gradient(direction) * delay)
