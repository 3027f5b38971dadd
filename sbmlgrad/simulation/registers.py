"""The exact simulation loop as one GPU kernel that keeps each trajectory in registers.

XLA runs a loop on a GPU as a few kernels a turn, and what they hand on goes through memory. Here a program takes a
few trajectories through many steps and touches memory only to write down one that has come to an
observation time. The steps are those of :func:`sbmlgrad.simulation.ssa.take_step` with the same random numbers, so
that a trajectory does not depend on which loop made it, but for the last bits of the platform's logarithm.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.random import Streams, exponential, streams, uniform
from sbmlgrad.simulation.shares import device_in_use
from sbmlgrad.simulation.ssa import (
    Arrays,
    BatchState,
    Kernel,
    Loop,
    Nothing,
    PathFunctional,
    broken,
    kernel_on_device,
    take_step,
)

_COLUMNS = 32  # of a program: one a thread of a warp, so that a program waits for few
_SHORT = 16  # species and reactions together of a step that is taken twice a turn
_LARGEST = 64  # species and reactions together: more would not fit into registers


def build_kernel(
    network: ReactionNetwork,
    batch_size: int,
    times: int,
    block: int,
    functional: PathFunctional | None = None,
    numbers: tuple[Any, Any] = ((), ()),
) -> Kernel:
    """Build and compile the loop.

    Parameters
    ----------
    batch_size, times
        How many trajectories, a multiple of 32, and observation times a call handles.
    block
        Steps between two looks at the propensities and at whether all trajectories are through.
    numbers
        Coefficients and what else the path functional takes, such as later calls will bring: single numbers.

    Raises
    ------
    Exception
        of many kinds, where there is no way from a law to such a kernel on this platform.
    """
    loop = RegisterLoop(network, batch_size, times, block, 0, functional or Nothing())
    coefficients, aux = _as_float64(numbers)
    state = jax.eval_shape(loop.build_start, [np.float64(0)] * len(network.species), coefficients, aux, np.float64(0))
    observations, keys = np.zeros(times), streams(0)
    scalars = (np.uint32(0), np.int64(0), np.float32(1))

    @cache
    def compiled(_: jax.Device) -> Any:
        with warnings.catch_warnings():
            # Its maintainers mean to replace it some day; a user can do nothing about that.
            warnings.filterwarnings("ignore", message=".*Pallas Triton", category=DeprecationWarning)
            jitted = jax.jit(loop.advance, donate_argnums=0)
            return jitted.lower(state, observations, coefficients, aux, keys, *scalars).compile()

    compiled(device_in_use())  # to fail here, if at all

    def advance(
        state: BatchState, observations: Any, coefficients: Any, aux: Any, keys: Streams, *scalars: Any
    ) -> BatchState:
        return compiled(device_in_use())(state, observations, *_as_float64((coefficients, aux)), keys, *scalars)

    return kernel_on_device(loop, advance)


def _as_float64(numbers: tuple[Any, Any]) -> tuple[Any, Any]:
    result: tuple[Any, Any] = jax.tree.map(np.float64, numbers)
    return result


def suits(network: ReactionNetwork, carried: int, numbers: Any) -> bool:
    """Whether a trajectory fits into registers, with so many values ``carried``, and reads single numbers only."""
    size = len(network.species) + len(network.reactions) + carried
    return size <= _LARGEST and all(np.ndim(leaf) == 0 for leaf in jax.tree.leaves(numbers))


class _Shared(NamedTuple):
    """What all programs read, as references."""

    numbers: Any  # coefficients and what else the path functional takes, float64
    keys: Any  # two words of each stream, one after the other
    observations: Any
    blocks: Any
    first: Any  # number of the first trajectory


@dataclass(frozen=True, eq=False)
class RegisterLoop(Loop):
    """The loop for one network and one shape of run; see :func:`build_kernel`.

    Without a GPU the kernel is interpreted, which is slow and for tests.
    """

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
        """So many blocks of steps, or fewer where all trajectories are through."""
        state = state._replace(until=jnp.where(state.position == 0, observations[0], state.until))
        numbers, tree = jax.tree.flatten((coefficients, aux))
        shared = _Shared(
            jnp.stack([jnp.asarray(number, jnp.float64) for number in (*numbers, 0.0)]),
            jnp.concatenate([jnp.asarray(key) for key in streams]),
            jnp.asarray(observations),
            jnp.reshape(blocks, 1).astype(jnp.int32),
            jnp.reshape(first, 1).astype(jnp.uint32),
        )
        columns, form = jax.tree.flatten(state._replace(records=()))
        column = pl.BlockSpec((_COLUMNS,), lambda program: (program,))
        record = pl.BlockSpec((self.times, _COLUMNS), lambda program: (0, program))
        whole = pl.BlockSpec(memory_space=pl.ANY)
        interpret = jax.default_backend() != "gpu"
        outputs = [*[column] * len(columns), *[record] * len(state.records)]
        stored = [*(_stored(array) for array in columns), *state.records]
        made = pl.pallas_call(
            partial(self._program, tree, form),
            grid=(self.batch_size // _COLUMNS,),
            in_specs=[*[whole] * len(shared), *outputs],
            out_specs=outputs,
            out_shape=[jax.ShapeDtypeStruct(array.shape, array.dtype) for array in stored],
            input_output_aliases={len(shared) + i: i for i in range(len(outputs))},
            interpret=interpret,
            compiler_params=None if interpret else triton.CompilerParams(num_warps=1, num_stages=1),
        )(*shared, *stored)
        loaded = [new.astype(old.dtype) for new, old in zip(made, columns, strict=False)]
        return jax.tree.unflatten(form, loaded)._replace(records=tuple(made[len(columns) :]))

    def _program(self, tree: Any, form: Any, *references: Any) -> None:
        """All that a program does to its trajectories: load them, take their steps, store them."""
        shared, rest = _Shared(*references[: len(_Shared._fields)]), references[len(_Shared._fields) :]
        given, stored = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        state = jax.tree.unflatten(form, [reference[...] for reference in given[: form.num_leaves]])
        state = state._replace(broken=state.broken != 0)
        coefficients, aux = jax.tree.unflatten(tree, [shared.numbers[i] for i in range(tree.num_leaves)])
        pairs: list[Any] = [(shared.keys[2 * i], shared.keys[2 * i + 1]) for i in range(len(Streams._fields))]
        keys = Streams(*pairs)
        begin = (pl.program_id(0) * _COLUMNS).astype(jnp.uint32)
        trajectory = shared.first[0] + begin + lax.iota(jnp.uint32, _COLUMNS)
        blocks, unroll = shared.blocks[0], self._unroll
        state = state._replace(broken=state.broken | broken(self.network, state.x, coefficients))

        def steps(_: Any, state: BatchState) -> BatchState:
            for _ in range(unroll):
                state = self._step(state, coefficients, aux, keys, trajectory)
                state = self._write(state, coefficients, aux, shared.observations, stored[form.num_leaves :])
            return state

        def run_block(loop: tuple[Array, BatchState]) -> tuple[Array, BatchState]:
            done, state = loop
            state = lax.fori_loop(0, self.block // unroll, steps, state)
            return done + 1, state._replace(broken=state.broken | broken(self.network, state.x, coefficients))

        def unfinished(loop: tuple[Array, BatchState]) -> Array:
            done, state = loop
            running = (state.position < self.times) & ~state.broken
            return (done < blocks) & (jnp.max(running.astype(jnp.int32)) > 0)

        state = lax.while_loop(unfinished, run_block, (jnp.int32(0), state))[1]
        for reference, array in zip(stored, jax.tree.leaves(state), strict=False):
            reference[...] = _stored(array)

    @property
    def _unroll(self) -> int:
        """Two steps a turn of the innermost loop are faster; compilation takes longer where steps are long."""
        short = len(self.network.species) + len(self.network.reactions) <= _SHORT
        return 2 if short and self.block % 2 == 0 else 1

    def _step(self, state: BatchState, coefficients: Arrays, aux: Any, keys: Streams, trajectory: Array) -> BatchState:
        """One step of all trajectories."""
        x, time, carry = take_step(
            self.network,
            self.functional,
            state.x,
            state.time,
            state.until,
            state.carry,
            exponential(keys.waiting, trajectory, state.draws),
            uniform(keys.choice, trajectory, state.draws),
            coefficients,
            aux,
            None,
        )
        used = state.draws + (state.time < state.until).astype(jnp.uint32)
        return state._replace(x=x, time=time, draws=used, carry=carry)

    def _write(
        self, state: BatchState, coefficients: Arrays, aux: Any, observations: Any, records: Sequence[Any]
    ) -> BatchState:
        """Write down the trajectories that have come to their observation times."""
        ready = (state.time >= state.until) & (state.position < self.times) & ~state.broken
        row, column = jnp.minimum(state.position, self.times - 1), lax.iota(jnp.int32, _COLUMNS)
        values = state.x + self.functional.record(state.carry, state.x, coefficients, aux)
        for record, value in zip(records, values, strict=True):
            triton.store(record.at[row, column], jnp.broadcast_to(value, (_COLUMNS,)), mask=ready)
        position = state.position + ready
        following = jnp.minimum(position, self.times - 1)
        until = triton.load(observations.at[following], mask=ready, other=0.0)
        return state._replace(position=position, until=jnp.where(ready, until, state.until))


def _stored(array: Array) -> Array:
    """As memory holds it: a flag takes a word."""
    return array.astype(jnp.int32) if array.dtype == bool else array
