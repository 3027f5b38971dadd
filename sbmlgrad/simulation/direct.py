"""Gillespie's direct method for models in which events and known times come between the reactions.

Between them nothing but counts moves, so the steps are those of :mod:`sbmlgrad.simulation.ssa`. A lane that has come
to a known time, or in which a reaction has changed a trigger, waits for the end of the block of steps, where events are
settled and observations written down for all that wait; then it draws afresh, which is exact since waiting times are
memoryless.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.hybrid import HybridModel
from sbmlgrad.network.program import Program
from sbmlgrad.simulation.flow import Trajectory
from sbmlgrad.simulation.path import BAD_HAZARD, DONE, RUNNING, Lane, Marks, Path, Settings
from sbmlgrad.simulation.random import Streams, exponential, uniform
from sbmlgrad.simulation.ssa import Arrays, PathFunctional, Row, Step, broken, select_by, take_step

BLOCK = 16  # steps between two looks at who waits
_WAITING = 8  # one lane in so many waits before any is served: to look costs as much as some blocks
_BLOCKS_A_CALL = 256  # so that an interrupt and the limit on events are seen


class _Lanes(NamedTuple):
    """All lanes between two blocks: arrays (lanes,), and the paths as of when each last waited."""

    state: Arrays  # one array for each variable
    time: Row
    until: Row  # the next time at which something other than a reaction may happen
    phase: Row  # a time inside the span in which nothing but counts moves
    draws: Row  # random numbers used
    carry: Arrays  # how many reactions have fired, and where it is asked for the logarithm of their density
    paths: Path
    records: Array


class _Fired:
    """The path functional that counts the reactions that fire."""

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return (jnp.zeros(x[0].shape, jnp.uint32),)

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        return (carry[0] + step.fires, *carry[1:])

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return ()


@dataclass(frozen=True)
class _Density(_Fired):
    """The same with the logarithm of the density of the path, whose derivative is the score.

    ``aux`` is what the propensities are functions of, with its derivatives; the step itself has none.
    """

    network: ReactionNetwork

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return (*super().initial(x, coefficients, aux), jnp.zeros(x[0].shape))

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        assert self.network.rates is not None
        hazards = [jnp.broadcast_to(a, step.total.shape) for a in self.network.rates(step.x, aux)]
        fired = select_by(step.reaction, hazards, 1.0)
        density = jnp.log(jnp.where(step.fires, fired, 1.0)) - reduce(add, hazards) * step.wait
        return (*super().advance(carry, step, aux)[:1], carry[1] + density)


class DirectMethod:
    """The loop for one model: :meth:`advance` takes all lanes on."""

    def __init__(self, model: HybridModel, settings: Settings):
        assert model.stepwise is not None
        assert isinstance(model.hazards, Program)
        self.model, self.settings, self.parts, self.hazards = model, settings, model.stepwise, model.hazards
        self.reacting = [int(place) for place in self.parts.reacting]
        self.network = ReactionNetwork(
            stoichiometry=model.jumps[self.parts.reacting].astype(np.int64),
            x0=[0.0] * len(self.reacting),
            parameters={},
            rates=lambda x, known: tuple(self.hazards.unrolled(self._with_counts(x, known))),
        )
        self.functional: PathFunctional = _Density(self.network) if settings.scored else _Fired()

    def advance(
        self,
        paths: Path,
        records: Array,
        coefficients: Array,
        marks: Marks,
        keys: Streams,
        trajectory: Array,
        max_events: Array | None = None,
    ) -> tuple[Path, Array]:
        """Some blocks of steps of all lanes, until all are at their end or one has failed.

        Where nobody looks in between, as for scores, there are ``max_events`` instead of a number of blocks.
        """
        size, numbers = len(self.model.variables), jnp.arange(len(trajectory))
        program = self.model.start_program
        shared = isinstance(program, Program) and not program.draws
        fixed = tuple(coefficients[0] if shared else coefficients.T)  # numbers of all lanes, or one for each
        one = coefficients.dtype.type(1) + 0 * marks.times[0].astype(jnp.float32)  # not known when it is compiled

        def attend(path: Path, coefficients: Array, number: Array) -> tuple[Path, Array]:
            return Trajectory(self.model, self.settings, marks, Lane(coefficients, keys, number)).attend(path)

        def run_block(lanes: _Lanes) -> _Lanes:
            draw = lanes.draws[None] + lax.broadcasted_iota(jnp.uint32, (BLOCK, len(trajectory)), 0)
            number = jnp.broadcast_to(trajectory, draw.shape)
            exponentials, uniforms = exponential(keys.waiting, number, draw), uniform(keys.choice, number, draw)
            known = (lanes.phase, *lanes.state, *fixed)
            held = lax.stop_gradient(known)  # which reaction fires when is as it is, whatever the derivatives
            truth = () if lanes.paths.pending is None else tuple(lanes.paths.pending.truth.T)

            def step(row: Array, inner: tuple[Arrays, Array, Array, Array, Arrays]) -> Any:
                x, time, until, used, carry = inner
                used = used + (time < until)
                wait, choice = (lax.dynamic_index_in_dim(v, row, 0, keepdims=False) for v in (exponentials, uniforms))
                x, time, now = take_step(
                    self.network, self.functional, x, time, until, carry, wait, choice, held, known, one
                )
                if len(self.parts.watched):
                    seen = self.parts.triggers.unrolled(self._with_counts(x, known))
                    pairs = zip(seen, self.parts.watched, strict=True)
                    changed = sum(((value > 0.5) != truth[event] for value, event in pairs), jnp.zeros((), bool))
                    until = jnp.where(changed & (now[0] > carry[0]), time, until)
                return x, time, until, used, now

            x = tuple(lanes.state[place] for place in self.reacting)
            x, time, until, draws, carry = lax.fori_loop(
                0, BLOCK, step, (x, lanes.time, lanes.until, lanes.draws, lanes.carry)
            )
            state = self._with_counts(x, known)[1 : 1 + size]
            return lanes._replace(state=state, time=time, until=until, draws=draws, carry=carry)

        def look(lanes: _Lanes) -> _Lanes:
            known = (lanes.phase, *lanes.state, *fixed)
            x = tuple(lanes.state[place] for place in self.reacting)
            running = lanes.paths.status == RUNNING
            status = jnp.where(running & broken(self.network, x, known), BAD_HAZARD, lanes.paths.status)
            lanes = lanes._replace(paths=lanes.paths._replace(status=status))
            waits = (lanes.time >= lanes.until) & (status == RUNNING)
            enough = _WAITING * jnp.sum(waits) >= jnp.sum(status == RUNNING)
            return lax.cond(enough, partial(settle, waits), lambda lanes: lanes, lanes)

        def settle(waits: Array, lanes: _Lanes) -> _Lanes:
            paths = packed(lanes)
            after, until = jax.vmap(attend)(paths, coefficients, trajectory)
            after = jax.tree.map(lambda new, old: _where(waits, new, old), after, paths)
            row = jnp.where(waits & after.observed, after.position - 1, len(marks.times))
            seen = after.state[:, :size]
            if after.weight is not None:
                seen = jnp.column_stack([seen, after.weight])
            records = lanes.records.at[row, numbers].set(seen, mode="drop")
            until = jnp.where(waits, lax.stop_gradient(until), lanes.until)
            phase = jnp.where(waits, 0.5 * (lanes.time + until), lanes.phase)
            state = tuple(after.state[:, :size].T)
            return lanes._replace(state=state, until=until, phase=phase, paths=after, records=records)

        def packed(lanes: _Lanes) -> Path:
            path = lanes.paths
            state = jnp.stack([*lanes.state, path.state[:, -1]], axis=1)
            steps = lanes.draws.astype(jnp.int32)
            weight = lanes.carry[1] if self.settings.scored else None
            return path._replace(time=lanes.time, state=state, steps=steps, draws=lanes.carry[0], weight=weight)

        def go_on(loop: tuple[Array, _Lanes]) -> Array:
            count, lanes = loop
            status = lanes.paths.status
            going = jnp.any(status == RUNNING) & ~jnp.any(status > DONE)
            return going & (count < _BLOCKS_A_CALL if max_events is None else jnp.all(lanes.carry[0] <= max_events))

        lanes = _Lanes(
            state=tuple(paths.state[:, :size].T),
            time=paths.time,
            until=paths.time,  # so that all are looked at first
            phase=paths.time,
            draws=paths.steps.astype(jnp.uint32),
            carry=(paths.draws,) if paths.weight is None else (paths.draws, paths.weight),
            paths=paths,
            records=records,
        )
        lanes = lax.while_loop(
            go_on, lambda loop: (loop[0] + 1, run_block(look(loop[1]))), (jnp.zeros((), jnp.int32), lanes)
        )[1]
        return packed(lanes), lanes.records

    def _with_counts(self, x: Arrays, known: Arrays) -> Arrays:
        """Time, state and coefficients with these counts in the places that react."""
        values = list(known)
        for place, count in zip(self.reacting, x, strict=True):
            values[1 + place] = count
        return tuple(values)


def _where(chosen: Array, new: Array, old: Array) -> Array:
    return jnp.where(chosen.reshape(chosen.shape + (1,) * (new.ndim - 1)), new, old)
