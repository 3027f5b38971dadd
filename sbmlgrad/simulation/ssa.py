"""The exact simulation loop: Gillespie's direct method on many trajectories at once.

One array holds one species of a batch of trajectories. A block draws the random numbers of ``block`` steps,
takes the steps, and records the trajectories that have reached their next observation time; one that has reached it
waits, at most to the end of the block, and then draws afresh, which is exact because waiting times are
memoryless. Trajectories may be up to ``window`` observations apart, so that none waits for the slowest.

Everything that decides exactness is in float64: counts are integers up to 2**53, choices are made with
53-bit uniforms, and time is carried as float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from operator import add
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.random import Streams, exponential, is_whole, uniform, whole

Row = Any  # one value a trajectory: an array of JAX or numpy
Arrays = tuple[Row, ...]


class Step(NamedTuple):
    """One step of all trajectories, as a path functional sees it."""

    x: Arrays  # counts before the step, one array a species
    propensities: Arrays  # one array a reaction, at x
    total: Array  # their sum
    wait: Array  # time that passes in this step
    fires: Array  # whether a reaction fires; if not, an observation time is reached
    reaction: Array  # float32 index of the reaction that fires, the number of reactions where none does
    uniform: Array  # in [0, 1): has chosen the reaction; what it holds beyond that choice is still random
    coefficients: Arrays


class PathFunctional(Protocol):
    """Quantities carried along each trajectory beside its counts, such as derivatives."""

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        """Their values at the start, one array of trajectories each."""

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        """Their values after a step."""

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        """What is written down at an observation time."""


@runtime_checkable
class Steering(PathFunctional, Protocol):
    """A path functional that can also change the state itself after a step, by more than a jump."""

    def steer(self, moved: Arrays, carry: Arrays, step: Step, aux: Any) -> Arrays:
        """The counts after a step, of those after its jump and the values that were carried into it."""


class BatchState(NamedTuple):
    """The state of all trajectories between two calls of the loop, (batch,) each."""

    x: Arrays
    time: Row
    until: Row  # next observation time
    position: Row  # its index among the times
    draws: Row  # random draws used so far, uint32
    broken: Row  # a propensity was negative or not finite
    carry: Arrays  # of the path functional
    records: Arrays  # (times + window, batch) each


class Progress(NamedTuple):
    """How far a batch has come: what is looked at between two calls of the loop, single numbers."""

    done: Any  # whether all trajectories are through
    broken: Any  # whether a propensity of any was negative or not finite
    most: Any  # random draws of the trajectory that has used most
    draws: Any  # of all trajectories


@dataclass(frozen=True)
class Kernel:
    """The compiled loop for one network and one shape of run."""

    start: Callable[..., BatchState]
    begin: Callable[[int], Row]
    advance: Callable[..., BatchState]
    progress: Callable[[BatchState], Progress]
    batch_size: int
    times: int


class Nothing:
    """The path functional of a plain simulation."""

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return ()

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        return ()

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return ()


def select_by(index: Array, values: Sequence[Any], default: Any) -> Array:
    """``values[index]`` for each trajectory, as compares and selects; equal numbers share one select."""
    result = jnp.full(index.shape, default, jnp.float64)
    groups: dict[Any, list[int]] = {}
    for position, value in enumerate(values):
        key = float(value) if isinstance(value, (int, float, np.number)) else ("array", position)
        groups.setdefault(key, []).append(position)
    for positions in groups.values():
        value = values[positions[0]]
        if isinstance(value, (int, float, np.number)) and value == default:
            continue
        chosen = reduce(jnp.logical_or, [index == np.float32(j) for j in positions])
        result = jnp.where(chosen, value, result)
    return result


def materialise(value: Array, one: Array | None) -> Array:
    """Compute ``value`` once rather than again in every consumer.

    XLA for CPUs fuses cheap producers into each of their consumers, and so would evaluate all propensities
    once for every species. It does not duplicate a division, hence the division by ``one``, a runtime 1;
    None where no compiler needs to be told.
    """
    return value if one is None else value / one


def take_step(
    network: ReactionNetwork,
    functional: PathFunctional,
    x: Arrays,
    time: Array,
    until: Array,
    carry: Arrays,
    exponentials: Array,
    uniforms: Array,
    coefficients: Arrays,
    aux: Any,
    one: Array | None,
) -> tuple[Arrays, Array, Arrays]:
    """Counts, time and what is carried after one step of all trajectories, none of which passes ``until``."""
    shape = time.shape
    propensities = _propensities(network, x, coefficients)
    sums = [propensities[0]]
    for value in propensities[1:]:
        sums.append(sums[-1] + value)
    total = sums[-1]
    # k*x*(x - 1) is -0 at 0, and the time to what never happens must not be minus infinity
    arrival = time + exponentials.astype(jnp.float64) / jnp.abs(total)
    sound = total < jnp.inf  # not NaN either
    if not network.nonnegative:
        sound = sound & (reduce(jnp.minimum, propensities) >= 0)
    # A total of 0 gives infinity or NaN, and so "not before the observation time".
    fires = sound & (arrival < until)
    threshold = uniforms * total
    reaction = reduce(add, [(threshold >= s).astype(jnp.float32) for s in sums[:-1]], jnp.zeros(shape, jnp.float32))
    reaction = materialise(jnp.where(fires, reaction, np.float32(len(sums))), one)
    moved = tuple(
        count + select_by(reaction, list(jumps), 0.0) if jumps.any() else count
        for count, jumps in zip(x, network.stoichiometry, strict=True)
    )
    now = jnp.where(fires, arrival, jnp.where(sound, until, time))
    step = Step(x, propensities, total, now - time, fires, reaction, uniforms, coefficients)
    if isinstance(functional, Steering):
        moved = functional.steer(moved, carry, step, aux)
    return moved, now, functional.advance(carry, step, aux)


def _propensities(network: ReactionNetwork, x: Arrays, coefficients: Arrays) -> Arrays:
    """One array a reaction; a network without reactions has one that never fires."""
    assert network.rates is not None
    rates = tuple(jnp.broadcast_to(a, x[0].shape) for a in network.rates(x, coefficients))
    return rates or (jnp.zeros(x[0].shape),)


def broken(network: ReactionNetwork, x: Arrays, coefficients: Arrays) -> Array:
    """Which trajectories have propensities that are negative or not finite."""
    values = _propensities(network, x, coefficients)
    wrong = ~(reduce(add, values) < jnp.inf)
    return wrong if network.nonnegative else wrong | ~(reduce(jnp.minimum, values) >= 0)


def build_kernel(
    network: ReactionNetwork,
    batch_size: int,
    times: int,
    block: int,
    window: int,
    functional: PathFunctional | None = None,
) -> Kernel:
    """Build and jit the loop; compilation happens at the first call.

    Parameters
    ----------
    batch_size, times
        How many trajectories and observation times a call handles.
    block
        Steps between two looks at the observation times.
    window
        How many observations trajectories may be apart.
    """
    loop = Loop(network, batch_size, times, block, min(window, times), functional or Nothing())
    advance = jax.jit(loop.advance, donate_argnums=0, compiler_options=compiler_options())
    if jax.default_backend() != "cpu":
        return kernel_on_device(loop, advance)
    return Kernel(loop.start, partial(loop.begin, np), advance, partial(loop.progress, np), batch_size, times)


def kernel_on_device(loop: Loop, advance: Callable[..., BatchState]) -> Kernel:
    """A kernel around the compiled loop whose batches begin and are watched where the loop runs."""
    begin, progress = jax.jit(partial(loop.begin, jnp)), jax.jit(partial(loop.progress, jnp))
    return Kernel(loop.start_there, begin, advance, progress, loop.batch_size, loop.times)


@dataclass(frozen=True, eq=False)
class Loop:
    """The loop for one network and one shape of run; see :func:`build_kernel`."""

    network: ReactionNetwork
    batch_size: int
    times: int
    block: int
    window: int
    functional: PathFunctional

    def start(
        self, x0: Sequence[Any], coefficients: Arrays, aux: Any, streams: Streams, first: int, begin: float
    ) -> BatchState:
        """The batch of trajectories from ``first`` on, at time ``begin``; made by numpy, which starts faster."""
        batch_size, functional = self.batch_size, self.functional
        trajectory = (first + np.arange(batch_size)).astype(np.uint32)
        x = tuple(initial_count(value, streams, trajectory, i) for i, value in enumerate(x0))
        carry = tuple(np.broadcast_to(c, batch_size) for c in functional.initial(x, coefficients, aux))
        recorded = len(x) + len(jax.eval_shape(lambda c, x: functional.record(c, x, coefficients, aux), carry, x))
        return BatchState(
            x=x,
            time=np.full(batch_size, begin),
            until=np.full(batch_size, begin),
            position=np.zeros(batch_size, np.int32),
            draws=np.zeros(batch_size, np.uint32),
            broken=np.zeros(batch_size, bool),
            carry=carry,
            records=tuple(np.zeros((self.times + self.window, batch_size)) for _ in range(recorded)),
        )

    def start_there(
        self, x0: Sequence[Any], coefficients: Arrays, aux: Any, streams: Streams, first: int, begin: float
    ) -> BatchState:
        """The same, made where the loop runs, so that nothing has to be copied there but counts that differ."""
        trajectory = (first + np.arange(self.batch_size)).astype(np.uint32)
        counts = [
            np.float64(np.round(value))
            if np.ndim(value) == 0 and is_whole(value)
            else initial_count(value, streams, trajectory, i)
            for i, value in enumerate(x0)
        ]
        return self.build_start(counts, coefficients, aux, np.float64(begin))

    @cached_property
    def build_start(self) -> Callable[..., BatchState]:
        """The start from counts (batch,) or single ones, coefficients, ``aux`` and the time."""
        batch = (self.batch_size,)

        def build(counts: Sequence[Array], coefficients: Arrays, aux: Any, begin: Array) -> BatchState:
            x = tuple(jnp.broadcast_to(count, batch) for count in counts)
            carry = tuple(jnp.broadcast_to(c, batch) for c in self.functional.initial(x, coefficients, aux))
            recorded = len(x) + len(self.functional.record(carry, x, coefficients, aux))
            return BatchState(
                x=x,
                time=jnp.full(batch, begin),
                until=jnp.full(batch, begin),
                position=jnp.zeros(batch, jnp.int32),
                draws=jnp.zeros(batch, jnp.uint32),
                broken=jnp.zeros(batch, bool),
                carry=carry,
                records=tuple(jnp.zeros((self.times + self.window, *batch)) for _ in range(recorded)),
            )

        return jax.jit(build)

    def begin(self, library: Any, count: Any) -> Row:
        """Positions at the beginning of a segment of ``count`` trajectories; those beyond are through it already.

        ``library`` is numpy, which starts faster, or JAX's.
        """
        return library.where(library.arange(self.batch_size) < count, 0, self.times).astype(library.int32)

    def progress(self, library: Any, state: BatchState) -> Progress:
        """What is to be known of a state, by numpy or JAX."""
        position, broken, draws = (library.asarray(row) for row in (state.position, state.broken, state.draws))
        done = library.all(position >= self.times)
        return Progress(done, library.any(broken), library.max(draws), library.sum(draws.astype(library.int64)))

    def advance(
        self,
        state: BatchState,
        observations: Array,
        coefficients: Arrays,
        aux: Any,
        streams: Streams,
        first: Array,
        blocks: Array,
        one: Array,
    ) -> BatchState:
        """So many blocks of steps, or fewer where all trajectories are through.

        ``first`` is the number of the first trajectory.
        """
        schedule = jnp.concatenate([observations, observations[-1:]])
        trajectory = first + lax.iota(jnp.uint32, self.batch_size)

        def run_block(loop: tuple[Array, BatchState]) -> tuple[Array, BatchState]:
            done, state = loop
            state = self._steps(state, coefficients, aux, streams, trajectory, one)
            return done + 1, self._observe(state, schedule, coefficients, aux)

        def unfinished(loop: tuple[Array, BatchState]) -> Array:
            done, state = loop
            return (done < blocks) & jnp.any((state.position < self.times) & ~state.broken)

        # A segment begins at the time of the last one's end, and may itself begin with an observation.
        state = state._replace(until=jnp.where(state.position == 0, schedule[0], state.until))
        return lax.while_loop(unfinished, run_block, (jnp.zeros((), blocks.dtype), state))[1]

    def _steps(
        self, state: BatchState, coefficients: Arrays, aux: Any, streams: Streams, trajectory: Array, one: Array
    ) -> BatchState:
        """One block of steps."""
        shape = (self.block, self.batch_size)
        draw = state.draws[None] + lax.broadcasted_iota(jnp.uint32, shape, 0)
        trajectories = jnp.broadcast_to(trajectory, shape)
        exponentials = exponential(streams.waiting, trajectories, draw)
        uniforms = uniform(streams.choice, trajectories, draw)

        def step(row: Array, inner: tuple[Arrays, Array, Array, Arrays]) -> tuple[Arrays, Array, Array, Arrays]:
            x, time, used, carry = inner
            used = used + (time < state.until)
            x, time, carry = take_step(
                self.network,
                self.functional,
                x,
                time,
                state.until,
                carry,
                lax.dynamic_index_in_dim(exponentials, row, 0, keepdims=False),
                lax.dynamic_index_in_dim(uniforms, row, 0, keepdims=False),
                coefficients,
                aux,
                one,
            )
            return x, time, used, carry

        begin = (state.x, state.time, state.draws, state.carry)
        x, time, used, carry = lax.fori_loop(0, self.block, step, begin)
        return state._replace(x=x, time=time, draws=used, carry=carry)

    def _observe(self, state: BatchState, schedule: Array, coefficients: Arrays, aux: Any) -> BatchState:
        """Write down the trajectories that have come to their observation times, if they are within the window."""
        wrong = state.broken | broken(self.network, state.x, coefficients)
        base = jnp.min(jnp.where(wrong, self.times, state.position))  # rows below it are complete
        zero, shape = jnp.zeros_like(base), (self.window, self.batch_size)
        ready = (state.time >= state.until) & (state.position < self.times)
        ready = ready & (state.position < base + self.window) & ~wrong
        ahead = lax.broadcasted_iota(jnp.int32, shape, 0)
        row = (ahead == (state.position - base)[None]) & ready[None]
        values = state.x + self.functional.record(state.carry, state.x, coefficients, aux)

        def written(record: Array, value: Array) -> Array:
            rows = lax.dynamic_slice(record, (base, zero), shape)
            return lax.dynamic_update_slice(record, jnp.where(row, value[None], rows), (base, zero))

        records = tuple(written(record, value) for record, value in zip(state.records, values, strict=True))
        position = state.position + ready
        until = jnp.where(ready, schedule[position], state.until)
        return state._replace(position=position, until=until, broken=wrong, records=records)


def initial_count(value: Any, streams: Streams, trajectory: np.ndarray, species: int) -> np.ndarray:
    """Whole counts with the given mean: the lower neighbour or the upper one; whole counts of their own stay."""
    if np.ndim(value):
        return np.asarray(value)
    if is_whole(value):
        return np.full(trajectory.shape, np.round(value))
    return np.asarray(whole(value, uniform(streams.rounding, trajectory, np.full_like(trajectory, species))))


def compiler_options() -> dict[str, Any] | None:
    """XLA options for this platform: full-width vectors, and one thread a chunk since chunks run side by side."""
    if jax.default_backend() != "cpu":
        return None
    return {"xla_cpu_multi_thread_eigen": False, "xla_cpu_prefer_vector_width": 512}
