"""Exact simulation of large networks, in segments that can be run once more from where they began.

The direct method of :mod:`sbmlgrad.simulation.ssa` with the same random numbers, and so the same trajectories, in
another form: all counts are one array (species, batch) and all propensities one array (reactions, batch), so that a
network of a thousand reactions compiles in a second and a dense layer in its propensities is one product of matrices
for all trajectories. A trajectory goes on from an observation without a pause and stops at its last one.

A segment is a fixed number of steps. To run it again, it is enough to know what the trajectories were before it, since
random numbers depend on the seed, the trajectory and the number of the draw alone. Two bytes a step say which reaction
fired, so that the second time all propensities can be computed at once rather than step by step. This is checkpointing
as in Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", arXiv 1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ensemble import Ensemble, check_effort, check_ensemble, propensity_error
from sbmlgrad.simulation.experiment import MAX_EVENTS
from sbmlgrad.simulation.random import Streams, exponential, streams, uniform
from sbmlgrad.simulation.ssa import BatchState, initial_count

STEPS = 64
"""Steps of a segment: few enough for its arrays to stay small, many enough for checkpoints to take less room than
what they save."""

_SEGMENTS = 32  # that one call of the loop goes through: arrays of the replay are made once for all of them
_UNROLLED = 32  # reactions up to which propensities are added up one by one


class ReplayState(NamedTuple):
    """All trajectories between two steps."""

    x: Any  # counts (species, batch), float64
    time: Any  # (batch,) as all that follow
    position: Any  # index of the next observation among the times; their number where a trajectory has ended
    draws: Any  # random draws used so far, uint32
    broken: Any  # a propensity was negative or not finite


class Checkpoints(NamedTuple):
    """What is kept of the segments of one call of the loop, with a leading axis of as many as a call may have."""

    states: ReplayState
    """The trajectories before each segment."""
    reactions: Any
    """Which reaction fired (segments, steps, batch); :attr:`ArrayLoop.reactions` where an observation time was reached
    instead, and one more where a trajectory had ended."""
    used: Any
    """How many segments there were."""


@dataclass(frozen=True)
class Batch:
    """Trajectories from number ``first`` on, side by side, of which ``count`` are wanted."""

    first: int
    count: int
    trajectory: np.ndarray
    start: np.ndarray
    """Counts (species, batch) at the start."""
    inputs: Any
    """What each trajectory is given: a tree of arrays (batch, ...), or None in a network without inputs."""
    observed: np.ndarray
    """Counts (times, species, batch) at the observation times."""
    checkpoints: tuple[Checkpoints, ...]
    """The trajectories before each segment, if they were kept."""
    segments: int
    events: int


@dataclass(frozen=True, eq=False)
class ArrayLoop:
    """The loop for one network and one shape of run.

    Attributes
    ----------
    batch_size, times
        How many trajectories and observation times there are.
    steps, segments
        Steps of a segment, and how many segments a call goes through at most.
    """

    network: ReactionNetwork
    batch_size: int
    times: int
    steps: int = STEPS
    segments: int = _SEGMENTS
    reactions: int = field(init=False)
    """At least 1: a network without reactions has one that never fires."""
    advance: Callable[..., tuple[ReplayState, Array, Checkpoints, Array]] = field(init=False, repr=False)
    """``advance(state, observed, schedule, coefficients, inputs, keys, trajectory)``, compiled: the trajectories after
    some segments, the observations (times, species, batch) so far, checkpoints, and four whole numbers: whether any is
    still on its way, whether one is broken, the most draws of a trajectory, and the number of segments."""
    jumps: np.ndarray = field(init=False, repr=False)
    """Changes of the counts (reactions + 2, species) by what :attr:`Checkpoints.reactions` may say."""

    def __post_init__(self) -> None:
        species, reactions = self.network.stoichiometry.shape
        count = max(reactions, 1)
        jumps = np.zeros((count + 2, species))
        jumps[:reactions] = self.network.stoichiometry.T
        object.__setattr__(self, "reactions", count)
        object.__setattr__(self, "jumps", jumps)
        object.__setattr__(self, "advance", jax.jit(self._advance, donate_argnums=1))

    def start(self, ensemble: Ensemble, keys: Streams, first: int, count: int) -> tuple[ReplayState, np.ndarray]:
        """``count`` trajectories from ``first`` on, others idle, and the observations at the start."""
        trajectory = _trajectories(first, self.batch_size)
        counts = [_of_batch(value, first, self.batch_size) if np.ndim(value) else float(value) for value in ensemble.x0]
        x = np.stack([initial_count(value, keys, trajectory, i) for i, value in enumerate(counts)])
        observed = np.zeros((self.times, *x.shape))
        at_once = int(ensemble.times[0] == ensemble.start)  # an observation of the start needs no step
        if at_once:
            observed[0] = x
        idle = np.arange(self.batch_size) >= count
        return ReplayState(
            x=x,
            time=np.full(self.batch_size, ensemble.start),
            position=np.where(idle, self.times, at_once).astype(np.int32),
            draws=np.zeros(self.batch_size, np.uint32),
            broken=np.zeros(self.batch_size, bool),
        ), observed

    def propensities(self, x: Array, coefficients: tuple[Any, ...], inputs: Any = None) -> Array:
        """Propensities (reactions, batch) at counts (species, batch)."""

        def of_one(state: Array, given: Any) -> Array:
            return propensities_at(self.network, state, coefficients, given)

        return jax.vmap(of_one, in_axes=(1, 0), out_axes=1)(x, inputs)

    def step(
        self, state: ReplayState, propensities: Array, exponentials: Array, uniforms: Array, schedule: Array
    ) -> tuple[ReplayState, Array]:
        """All trajectories after a step from ``state``, and what happened, as in :attr:`Checkpoints.reactions`.

        ``schedule`` (times + 1,) are the observation times, the last of them twice.
        """
        sums, total = _running_sums(propensities)
        until = schedule[state.position]
        # k*x*(x - 1) is -0 at 0, and the time to what never happens must not be minus infinity
        arrival = state.time + exponentials.astype(jnp.float64) / jnp.abs(total)
        active = self._going(state)
        sound = total < jnp.inf  # not NaN either
        if not self.network.nonnegative:
            sound = sound & (jnp.min(propensities, axis=0) >= 0)
        # A total of 0 gives infinity or NaN, and so "not before the observation time".
        fires = active & sound & (arrival < until)
        arrives = active & sound & ~fires
        passed = sums <= (uniforms * total)[None]
        chosen = jnp.minimum(jnp.sum(passed, axis=0, dtype=jnp.int32), self.reactions - 1)
        reaction = jnp.where(fires, chosen, jnp.where(arrives, self.reactions, self.reactions + 1))
        moved = ReplayState(
            x=state.x + jnp.asarray(self.jumps)[reaction].T,
            time=jnp.where(fires, arrival, jnp.where(arrives, until, state.time)),
            position=state.position + arrives,
            draws=state.draws + active,
            broken=state.broken | (active & ~sound),
        )
        return moved, reaction

    def waits(
        self, state: ReplayState, reactions: Array, totals: Array, schedule: Array, keys: Streams, trajectory: Array
    ) -> Array:
        """Times (steps, batch) that pass in the steps of a segment from ``state``.

        ``reactions`` (steps, batch) is what happened in them, and ``totals`` (steps, batch) are the sums of the
        propensities before them.
        """
        exponentials = self._draw(exponential, keys.waiting, trajectory, state.draws).astype(jnp.float64)

        def pass_time(loop: tuple[Array, Array], step: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
            (time, position), (reaction, exponentials, total) = loop, step
            until = schedule[position]
            arrives = reaction == self.reactions
            later = jnp.where(reaction < self.reactions, time + exponentials / total, jnp.where(arrives, until, time))
            return (later, position + arrives), later - time

        steps = (reactions, exponentials, totals)
        return lax.scan(pass_time, (state.time, state.position), steps)[1]

    def _draw(self, numbers: Callable[..., Array], stream: Array, trajectory: Array, draws: Array) -> Array:
        """Random numbers (steps, batch) of a segment that begins after so many ``draws``."""
        draw = draws[None] + lax.broadcasted_iota(jnp.uint32, (self.steps, self.batch_size), 0)
        return numbers(stream, jnp.broadcast_to(trajectory, draw.shape), draw)

    def _advance(
        self,
        state: ReplayState,
        observed: Array,
        schedule: Array,
        coefficients: tuple[Any, ...],
        inputs: Any,
        keys: Streams,
        trajectory: Array,
    ) -> tuple[ReplayState, Array, Checkpoints, Array]:
        columns = jnp.arange(self.batch_size)
        kind = jnp.uint16 if self.reactions < 2**16 - 2 else jnp.uint32
        kept = Checkpoints(
            jax.tree.map(lambda leaf: jnp.zeros((self.segments, *leaf.shape), leaf.dtype), state),
            jnp.zeros((self.segments, self.steps, self.batch_size), kind),
            jnp.zeros((), jnp.int64),
        )

        def run_segment(loop: tuple[ReplayState, Array, Checkpoints]) -> tuple[ReplayState, Array, Checkpoints]:
            state, observed, (states, reactions, used) = loop
            states = jax.tree.map(lambda into, leaf: into.at[used].set(leaf), states, state)
            exponentials = self._draw(exponential, keys.waiting, trajectory, state.draws)
            uniforms = self._draw(uniform, keys.choice, trajectory, state.draws)

            def take(row: Array, loop: tuple[ReplayState, Array, Array]) -> tuple[ReplayState, Array, Array]:
                state, observed, reactions = loop
                propensities = self.propensities(state.x, coefficients, inputs)
                moved, reaction = self.step(state, propensities, exponentials[row], uniforms[row], schedule)
                arrives = reaction == self.reactions
                index = jnp.where(arrives, state.position, self.times)  # beyond the last: nothing is written

                def write(into: Array) -> Array:
                    return into.at[index, :, columns].set(state.x.T, mode="drop")

                observed = lax.cond(jnp.any(arrives), write, lambda into: into, observed)
                return moved, observed, reactions.at[used, row].set(reaction.astype(kind))

            state, observed, reactions = lax.fori_loop(0, self.steps, take, (state, observed, reactions))
            return state, observed, Checkpoints(states, reactions, used + 1)

        def unfinished(loop: tuple[ReplayState, Array, Checkpoints]) -> Array:
            state, _, kept = loop
            return (kept.used < self.segments) & jnp.any(self._going(state))

        state, observed, kept = lax.while_loop(unfinished, run_segment, (state, observed, kept))
        progress = (jnp.any(self._going(state)), jnp.any(state.broken), jnp.max(state.draws), kept.used)
        return state, observed, kept, jnp.stack([value.astype(jnp.int64) for value in progress])

    def _going(self, state: ReplayState) -> Array:
        return (state.position < self.times) & ~state.broken


def run_batches(ensemble: Ensemble, loop: ArrayLoop, keep: bool) -> Iterator[Batch]:
    """Simulate batch by batch, in order; with ``keep``, checkpoints are kept.

    Raises
    ------
    TruncationError
        if a trajectory needs more than ``max_events`` events.
    PropensityError
        if a propensity is negative or not finite.
    """
    check_ensemble(ensemble)
    keys = streams(ensemble.seed)
    for first in range(0, ensemble.n, loop.batch_size):
        yield _run_batch(ensemble, loop, keys, first, min(loop.batch_size, ensemble.n - first), keep)


def array_loop(network: ReactionNetwork, batch_size: int, times: int, steps: int = STEPS) -> ArrayLoop:
    """The loop of this shape, compiled once for a network."""
    key = ("array", batch_size, times, steps)
    if key not in network.compiled:
        network.compiled[key] = ArrayLoop(network, batch_size, times, steps)
    loop: ArrayLoop = network.compiled[key]
    return loop


def propensities_at(network: ReactionNetwork, x: Array, coefficients: tuple[Any, ...], inputs: Any = None) -> Array:
    """Propensities (reactions,) at one state (species,); a network without reactions has one that never fires."""
    values = network.propensities_at(x, coefficients, inputs)
    return values if values.size else jnp.zeros(1)


def schedule_of(times: np.ndarray) -> np.ndarray:
    """Observation times with the last one twice, for trajectories that have none left."""
    return np.append(times, times[-1])


def _trajectories(first: int, batch_size: int) -> np.ndarray:
    return (first + np.arange(batch_size)).astype(np.uint32)


def _of_batch(values: np.ndarray, first: int, batch_size: int) -> np.ndarray:
    """What belongs to the trajectories from ``first`` on; beyond the last one, again the last one's."""
    return np.asarray(values)[np.minimum(first + np.arange(batch_size), len(values) - 1)]


def _run_batch(ensemble: Ensemble, loop: ArrayLoop, keys: Streams, first: int, count: int, keep: bool) -> Batch:
    trajectory, schedule = _trajectories(first, loop.batch_size), schedule_of(ensemble.times)
    begin, observed = loop.start(ensemble, keys, first, count)
    inputs = jax.tree.map(lambda leaf: _of_batch(leaf, first, loop.batch_size), ensemble.inputs)
    state, seen, inputs = jax.device_put((begin, observed, inputs))
    checkpoints: list[Checkpoints] = []
    segments = 0
    effort = min(ensemble.max_events, MAX_EVENTS) // 100  # draws from which the events are counted and forecast
    going = int(np.any(begin.position < loop.times))
    while going:
        state, seen, kept, progress = loop.advance(
            state, seen, schedule, ensemble.coefficients, inputs, keys, trajectory
        )
        going, broken, draws, used = (int(value) for value in np.asarray(progress))
        segments += used
        if keep:
            checkpoints.append(_trimmed(jax.device_get(kept), used))  # on the host; on a CPU that is no copy
        if broken:
            raise propensity_error(ensemble, _as_batch(state, schedule), first, count)
        if draws > effort:
            check_effort(ensemble, _as_batch(state, schedule), first, count, 0, not going)
            effort = draws + draws // 16
    visits = int(np.count_nonzero(np.diff(ensemble.times, prepend=ensemble.start)))
    events = int(np.asarray(state.draws)[:count].astype(np.int64).sum()) - visits * count
    return Batch(first, count, trajectory, begin.x, inputs, np.asarray(seen), tuple(checkpoints), segments, events)


def _trimmed(checkpoints: Checkpoints, used: int) -> Checkpoints:
    if used == len(checkpoints.reactions):
        return checkpoints
    return jax.tree.map(lambda leaf: leaf[:used].copy() if leaf.ndim else leaf, checkpoints)


def _as_batch(state: ReplayState, schedule: np.ndarray) -> BatchState:
    """The trajectories in the form in which errors are made of them."""
    position = np.asarray(state.position)
    return BatchState(
        x=tuple(np.asarray(state.x)),
        time=state.time,
        until=schedule[position],
        position=position,
        draws=state.draws,
        broken=state.broken,
        carry=(),
        records=(),
    )


def _running_sums(values: Array) -> tuple[Array, Array]:
    """Running sums of (reactions, batch) along the reactions, in any order of rows and perhaps with their last one
    repeated, and the total (batch,).

    Sums are never less than those before them, so no reaction of propensity 0 is ever chosen. Few are added up one by
    one, as in the loop for small networks. Many are cut into about as many blocks as a block is long: all blocks are
    added up side by side, and each sum is that of its block so far plus that of the blocks before.
    """
    count, batch_size = values.shape
    if count <= _UNROLLED:
        sums = [values[0]]
        for value in values[1:]:
            sums.append(sums[-1] + value)
        return jnp.stack(sums), sums[-1]
    size = isqrt(count - 1) + 1
    blocks = -(-count // size)
    padded = jnp.pad(values, ((0, blocks * size - count), (0, 0))).reshape(blocks, size, batch_size)
    within = _accumulate(jnp.swapaxes(padded, 0, 1))  # (size, blocks, batch)
    whole = _accumulate(within[-1])
    before = jnp.concatenate([jnp.zeros((1, batch_size)), whole[:-1]])
    return (before[None] + within).reshape(-1, batch_size), whole[-1]


def _accumulate(rows: Array) -> Array:
    """Running sums along the first axis, in order: sums in the order of a tree may shrink by rounding."""

    def add(so_far: Array, row: Array) -> tuple[Array, Array]:
        return so_far + row, so_far + row

    return lax.scan(add, jnp.zeros(rows.shape[1:]), rows)[1]
