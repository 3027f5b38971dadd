"""Gillespie's direct method for models in which events and known times come between the reactions.

Between them nothing but counts moves, so the steps are those of :mod:`sbmlgrad.simulation.ssa`. A trajectory that has
come to a known time, or in which a reaction has changed a trigger, waits for the end of the block of steps, where
events are settled and observations written down for all that wait; then it draws afresh, which is exact since waiting
times are memoryless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.program import Program
from sbmlgrad.simulation.flow import Trajectory
from sbmlgrad.simulation.path import BAD_PROPENSITY, DONE, RUNNING, Marks, Path, Realisation, Settings
from sbmlgrad.simulation.random import Streams, exponential, uniform
from sbmlgrad.simulation.ssa import Arrays, PathFunctional, Row, Step, broken, select_by, take_step

BLOCK = 16  # steps between two looks at who waits
_WAITING = 4  # one trajectory in so many waits before any is served: to look costs as much as some blocks
_BLOCKS_A_CALL = 256  # so that an interrupt and the limit on events are seen


class _BatchState(NamedTuple):
    """All trajectories between two blocks: arrays (batch,), and the paths as of when each last waited."""

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
    """The same with the logarithm of the density of the path, whose derivative is the score, and with martingales.

    ``aux`` is what the propensities are functions of, with its derivatives; the step itself has none. ``martingales``
    are pairs of a reaction and a species, or None.
    """

    network: ReactionNetwork
    martingales: tuple[tuple[int, int | None], ...]

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        zeros = (jnp.zeros(x[0].shape) for _ in range(2 + len(self.martingales)))
        return (*super().initial(x, coefficients, aux), *zeros)

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        assert self.network.rates is not None
        propensities = [jnp.broadcast_to(a, step.total.shape) for a in self.network.rates(step.x, aux)]
        fired = select_by(step.reaction, propensities, 1.0)
        density = jnp.log(jnp.where(step.fires, fired, 1.0)) - reduce(add, propensities) * step.wait
        missed = reduce(add, [jnp.where(a == 0, a, 0.0) for a in propensities]) * step.wait
        gained = []
        for reaction, species in self.martingales:
            fires = jnp.where(step.reaction == np.float32(reaction), 1.0, 0.0)
            size = 1.0 if species is None else step.x[species]
            gained.append(size * (fires - propensities[reaction] * step.wait))
        after = (old + new for old, new in zip(carry[1:], (density, missed, *gained), strict=True))
        return (*super().advance(carry, step, aux)[:1], *after)


class DirectMethod:
    """The loop for one model: :meth:`advance` takes all trajectories on."""

    def __init__(self, model: HybridModel, settings: Settings):
        assert model.stepwise is not None
        assert isinstance(model.propensities, Program)
        self.model, self.settings, self.parts, self.propensities = model, settings, model.stepwise, model.propensities
        self.reacting = [int(index) for index in self.parts.reacting]
        self.network = ReactionNetwork(
            stoichiometry=model.jumps[self.parts.reacting].astype(np.int64),
            x0=[0.0] * len(self.reacting),
            parameters={},
            rates=lambda x, inputs: tuple(self.propensities.of_arrays(self.with_counts(x, inputs))),
        )
        self.functional: PathFunctional = _Density(self.network, self._martingales()) if settings.scored else _Fired()

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
        """Some blocks of steps of all trajectories, until all are at their end or one has failed.

        Where nobody looks in between, as for scores, there are ``max_events`` instead of a number of blocks.
        """
        blocks = _Blocks(self, coefficients, marks, keys, trajectory)

        def go_on(loop: tuple[Array, _BatchState]) -> Array:
            count, batch = loop
            status = batch.paths.status
            going = jnp.any(status == RUNNING) & ~jnp.any(status > DONE)
            return going & (count < _BLOCKS_A_CALL if max_events is None else jnp.all(batch.carry[0] <= max_events))

        batch = _BatchState(
            state=tuple(paths.state[:, : len(self.model.variables)].T),
            time=paths.time,
            until=paths.time,  # so that all are looked at first
            phase=paths.time,
            draws=paths.steps.astype(jnp.uint32),
            carry=(paths.draws, *self._scored_rows(paths)),
            paths=paths,
            records=records,
        )
        batch = lax.while_loop(
            go_on, lambda loop: (loop[0] + 1, blocks.run(blocks.check(loop[1]))), (jnp.zeros((), jnp.int32), batch)
        )[1]
        return blocks.packed(batch), batch.records

    def _martingales(self) -> tuple[tuple[int, int | None], ...]:
        """Those of the settings, with counts by their place among those that react."""
        pairs = self.settings.martingales
        return tuple((reaction, None if h is None else self.reacting.index(h)) for reaction, h in pairs)

    def _scored_rows(self, paths: Path) -> Arrays:
        if paths.weight is None or paths.missed is None or paths.martingales is None:
            return ()
        return (paths.weight, paths.missed, *paths.martingales.T)

    def with_counts(self, x: Arrays, inputs: Arrays) -> Arrays:
        """Time, state and coefficients with these counts of the species that react."""
        values = list(inputs)
        for index, count in zip(self.reacting, x, strict=True):
            values[1 + index] = count
        return tuple(values)


class Attendance:
    """What is done for trajectories that wait: events and observations."""

    def __init__(self, method: DirectMethod, coefficients: Array, marks: Marks, keys: Streams, trajectory: Array):
        self.method, self.model, self.size = method, method.model, len(method.model.variables)
        self.coefficients, self.marks, self.keys, self.trajectory = coefficients, marks, keys, trajectory

    def serve(self, waits: Array, paths: Path, until: Array, records: Array) -> tuple[Path, Array, Array]:
        """Serve those that wait, and once more those for which something comes at the very next instant.

        Paths, their next stops, and records.
        """

        def again(paths: Path, until: Array, records: Array) -> tuple[Path, Array, Array]:
            paths = paths._replace(time=jnp.where(soon, until, paths.time))
            paths, until, _, records = self._served(soon, paths, until, records)
            return paths, until, records

        paths, until, soon, records = self._served(waits, paths, until, records)
        return lax.cond(jnp.any(soon), again, lambda *same: same, paths, until, records)

    def _served(self, chosen: Array, paths: Path, until: Array, records: Array) -> tuple[Path, Array, Array, Array]:
        """Events and observations of the chosen: paths, their next stops, which come at once, and records."""

        def attend(path: Path, coefficients: Array, number: Array) -> tuple[Path, Array, Array]:
            realisation = Realisation(coefficients, self.keys, number)
            return Trajectory(self.model, self.method.settings, self.marks, realisation).attend(path)

        after, stop, soon = jax.vmap(attend)(paths, self.coefficients, self.trajectory)
        after = jax.tree.map(lambda new, old: _where(chosen, new, old), after, paths)
        stop = jnp.where(after.status > DONE, after.time, stop)  # one that has failed stays where it did
        row = jnp.where(chosen & after.observed, after.position - 1, len(self.marks.times))
        seen = after.state[:, : self.size]
        if after.weight is not None and after.missed is not None and after.martingales is not None:
            seen = jnp.column_stack([seen, after.weight, after.missed, after.martingales])
        records = records.at[row, jnp.arange(len(self.trajectory))].set(seen, mode="drop")
        return after, jnp.where(chosen, lax.stop_gradient(stop), until), chosen & soon, records


class _Blocks(Attendance):
    """Blocks of steps of all trajectories, and what is done for those that wait between them."""

    def __init__(self, method: DirectMethod, coefficients: Array, marks: Marks, keys: Streams, trajectory: Array):
        super().__init__(method, coefficients, marks, keys, trajectory)
        program = self.model.start_program
        shared = isinstance(program, Program) and not program.draws
        self.fixed = tuple(
            coefficients[0] if shared else coefficients.T
        )  # numbers of all trajectories, or one for each
        self.one = coefficients.dtype.type(1) + 0 * marks.times[0].astype(jnp.float32)  # not known to the compiler

    def run(self, batch: _BatchState) -> _BatchState:
        """One block of steps."""
        draw = batch.draws[None] + lax.broadcasted_iota(jnp.uint32, (BLOCK, len(self.trajectory)), 0)
        number = jnp.broadcast_to(self.trajectory, draw.shape)
        random = exponential(self.keys.waiting, number, draw), uniform(self.keys.choice, number, draw)
        inputs = self._inputs(batch)
        held = lax.stop_gradient(inputs)  # which reaction fires when is as it is, whatever the derivatives
        truth = () if batch.paths.pending is None else tuple(batch.paths.pending.truth.T)
        network, functional = self.method.network, self.method.functional

        def step(row: Array, inner: tuple[Arrays, Array, Array, Array, Arrays]) -> Any:
            x, time, until, used, carry = inner
            used = used + (time < until)
            wait, choice = (lax.dynamic_index_in_dim(v, row, 0, keepdims=False) for v in random)
            x, time, now = take_step(network, functional, x, time, until, carry, wait, choice, held, inputs, self.one)
            if len(self.method.parts.watched):
                until = jnp.where(self._changed(x, inputs, truth) & (now[0] > carry[0]), time, until)
            return x, time, until, used, now

        begin = (self._reacting(batch), batch.time, batch.until, batch.draws, batch.carry)
        x, time, until, draws, carry = lax.fori_loop(0, BLOCK, step, begin)
        state = self.method.with_counts(x, inputs)[1 : 1 + self.size]
        return batch._replace(state=state, time=time, until=until, draws=draws, carry=carry)

    def check(self, batch: _BatchState) -> _BatchState:
        """See whether propensities make sense, and serve those that wait if they are many."""
        running = batch.paths.status == RUNNING
        wrong = broken(self.method.network, self._reacting(batch), self._inputs(batch))
        status = jnp.where(running & wrong, BAD_PROPENSITY, batch.paths.status)
        batch = batch._replace(paths=batch.paths._replace(status=status))
        waits = (batch.time >= batch.until) & (status == RUNNING)
        enough = _WAITING * jnp.sum(waits) >= jnp.sum(status == RUNNING)
        return lax.cond(enough, partial(self._serve, waits), lambda batch: batch, batch)

    def packed(self, batch: _BatchState) -> Path:
        """The paths as of now."""
        path = batch.paths
        state = jnp.stack([*batch.state, path.state[:, -1]], axis=1)
        steps = batch.draws.astype(jnp.int32)
        path = path._replace(time=batch.time, state=state, steps=steps, draws=batch.carry[0])
        if not self.method.settings.scored:
            return path
        _, weight, missed, *rest = batch.carry
        return path._replace(
            weight=weight, missed=missed, martingales=jnp.stack(rest, axis=1) if rest else path.martingales
        )

    def _serve(self, waits: Array, batch: _BatchState) -> _BatchState:
        paths, until, records = self.serve(waits, self.packed(batch), batch.until, batch.records)
        phase = jnp.where(waits, 0.5 * (paths.time + until), batch.phase)
        state = tuple(paths.state[:, : self.size].T)
        return batch._replace(state=state, time=paths.time, until=until, phase=phase, paths=paths, records=records)

    def _changed(self, x: Arrays, inputs: Arrays, truth: Sequence[Array]) -> Array:
        """Whether a trigger that reactions may change is not what it was."""
        parts = self.method.parts
        seen = parts.triggers.unrolled(self.method.with_counts(x, inputs))
        pairs = zip(seen, parts.watched, strict=True)
        return sum(((value > 0.5) != truth[event] for value, event in pairs), jnp.zeros((), bool))

    def _reacting(self, batch: _BatchState) -> Arrays:
        return tuple(batch.state[index] for index in self.method.reacting)

    def _inputs(self, batch: _BatchState) -> Arrays:
        """What propensities are functions of."""
        return (batch.phase, *batch.state, *self.fixed)


def _where(chosen: Array, new: Array, old: Array) -> Array:
    return jnp.where(chosen.reshape(chosen.shape + (1,) * (new.ndim - 1)), new, old)
