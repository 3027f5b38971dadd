"""The loop of large sparse networks for models in which events and known times come between the reactions.

It goes on as :mod:`sbmlgrad.simulation.direct` does, with the steps of :mod:`sbmlgrad.simulation.sparse_loop`: each
trajectory runs until a known time, or until a reaction has changed a trigger, and all that wait are served together.
"""

from __future__ import annotations

from functools import cached_property, partial
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import SimulationError
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.process_data import ProcessData, coefficients_of, process_as_data
from sbmlgrad.simulation.direct import Attendance, DirectMethod
from sbmlgrad.simulation.path import BAD_PROPENSITY, DONE, RUNNING, Marks, Path, Settings
from sbmlgrad.simulation.random import Streams
from sbmlgrad.simulation.sparse_arrays import SparseArrays
from sbmlgrad.simulation.ssa import compiler_options

FEWEST = 500  # reactions from which on it is taken by itself
_BUDGET = 1 << 19  # random draws between two looks at whether anybody still waits


def suited_process(process: HybridModel, quantities: np.ndarray, sparse: bool | None) -> ProcessData | None:
    """The process as data where this loop is to run it: where there are many reactions, unless asked for or against.

    Raises :class:`SimulationError` where it is asked for and cannot.
    """
    if sparse is False or (sparse is None and len(process.channels) < FEWEST):
        return None
    found = process_as_data(process)
    if isinstance(found, ProcessData) and not found.laws.holds(coefficients_of(process, quantities).tolist()):
        found = "a number of molecules in a law is times 0 at these values of parameters"
    if isinstance(found, ProcessData):
        return found
    if sparse:
        raise SimulationError(f"method 'ssa-sparse': {found}; use method 'ssa'")
    return None


class SparseDirect:
    """The loop for one model: :meth:`advance` takes all trajectories on."""

    def __init__(self, model: HybridModel, settings: Settings):
        assert settings.as_data is not None
        self.model, self.data, self.method = model, settings.as_data, DirectMethod(model, settings)

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
        """All trajectories until all are at their end or one has failed, or for so many random draws."""
        prepared, numbers = self._prepared(coefficients, keys), np.asarray(trajectory)
        until, phase, budget = paths.time, paths.time, _BUDGET  # so that all are looked at first
        while budget > 0:
            paths, until, phase, records = self._serve(
                paths, until, phase, records, coefficients, marks, keys, trajectory
            )
            status = np.asarray(paths.status)
            if np.any(status > DONE) or not np.any(status == RUNNING):
                break
            paths, until, budget = self._react(prepared, paths, until, phase, numbers, budget)
        return paths, records

    @cached_property
    def _serve(self) -> Any:
        def serve(
            paths: Path,
            until: Array,
            phase: Array,
            records: Array,
            coefficients: Array,
            marks: Marks,
            keys: Streams,
            trajectory: Array,
        ) -> tuple[Path, Array, Array, Array]:
            waits = (paths.time >= until) & (paths.status == RUNNING)
            attendance = Attendance(self.method, coefficients, marks, keys, trajectory)
            paths, until, records = attendance.serve(waits, paths, until, records)
            return paths, until, jnp.where(waits, 0.5 * (paths.time + until), phase), records

        return jax.jit(serve, compiler_options=compiler_options())

    @cached_property
    def _loop(self) -> Any:
        return import_module("sbmlgrad.simulation.sparse_events")

    def _prepared(self, coefficients: Array, keys: Streams) -> tuple[Any, ...]:
        """The network's tables, room for one trajectory, the instructions of laws, triggers, and how to do it."""
        values = np.asarray(coefficients[0]).tolist()  # those of all trajectories
        data, machine = self.data, import_module("sbmlgrad.simulation.sparse_code")
        arrays, code = SparseArrays(data.laws, data.laws.numbers(values)), data.triggers
        rows = machine.Code(code.starts.astype(np.uint32), code.rows, data.numbers(values), np.zeros(code.longest + 1))
        triggers = self._loop.Triggers(rows, *(part.astype(np.uint32) for part in data.touched))
        task = arrays.loop.Task(
            times=np.zeros(0),
            x0=np.zeros((0, 0)),
            start=0.0,
            first=0,
            most=0,
            bits=arrays.bits,
            group_bits=arrays.group_bits,
            keys=np.array([keys.waiting, keys.choice]),
        )
        return arrays.tables, arrays.scratch(), arrays.code(), triggers, task

    def _react(
        self, prepared: tuple[Any, ...], paths: Path, until: Array, phase: Array, numbers: np.ndarray, budget: int
    ) -> tuple[Path, Array, int]:
        size, copied = len(self.model.variables), partial(np.array, copy=True)
        state = copied(paths.state)
        n, watched = len(state), self.data.watched
        truth = np.zeros((n, 0), bool) if paths.pending is None else np.asarray(paths.pending.truth)[:, watched]
        batch = self._loop.Batch(
            x=np.column_stack([state[:, :size], np.asarray(phase)]),
            time=copied(paths.time),
            until=copied(until),
            draws=copied(paths.steps, dtype=np.int64),
            fired=copied(paths.draws, dtype=np.int64),
            truth=np.ascontiguousarray(truth),
            going=np.asarray(paths.status) == RUNNING,
            broken=np.zeros(n, bool),
        )
        budget = self._loop.between(*prepared, numbers, batch, budget)
        state[:, :size] = batch.x[:, :size]
        status = np.where(batch.broken, BAD_PROPENSITY, np.asarray(paths.status))
        after = paths._replace(
            time=jnp.asarray(batch.time),
            state=jnp.asarray(state),
            steps=jnp.asarray(batch.draws.astype(np.int32)),
            draws=jnp.asarray(batch.fired.astype(np.uint32)),
            status=jnp.asarray(status.astype(np.int32)),
        )
        return after, jnp.asarray(batch.until), budget
