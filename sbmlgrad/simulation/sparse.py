"""Ensembles of large sparse networks, whose loop does work only where a reaction changes something."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from sbmlgrad.cores import cores
from sbmlgrad.errors import SimulationError
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.mass_action import MassAction, mass_action_of, not_as_data
from sbmlgrad.simulation.ensemble import (
    Chunk,
    Ensemble,
    Whereabouts,
    broken_law,
    check_ensemble,
    on_accelerator,
    too_many_events,
)
from sbmlgrad.simulation.progress import Progress
from sbmlgrad.simulation.random import is_whole, streams
from sbmlgrad.simulation.shares import GRAIN, Span, gathered, own_spans
from sbmlgrad.simulation.sparse_arrays import SparseArrays
from sbmlgrad.simulation.sparse_paths import Followed
from sbmlgrad.simulation.ssa import initial_count

T = TypeVar("T")

_FEWEST_BESIDE_GPU = 500  # reactions from which on this loop is faster than the other on a GPU
# About what a firing costs on a CPU, in nanoseconds: here, and in the loop of all propensities at once, by reactions.
_FIXED, _UPDATE, _INSTRUCTION = 38.0, 2.0, 7.0
_OTHER_FIXED, _OTHER, _OTHER_INSTRUCTION = 12.0, 0.75, 3.0
_BUDGET = 1 << 19  # random draws between two looks at whether anybody still waits
_LARGEST_PIECE = 64  # trajectories


def suited(
    network: ReactionNetwork, sparse: bool | None, coefficients: Sequence[Any] | None = None
) -> MassAction | None:
    """The network as data where this loop is to run it: where it is faster, unless asked for or against.

    ``coefficients`` are those to run it with, where they are known. Raises :class:`SimulationError` where it is asked
    for and a law is no number times counts, or not at these.
    """
    if sparse and (reason := not_as_data(network)):
        raise SimulationError(f"method 'ssa-sparse': {reason}; use method 'ssa'")
    fewest = _FEWEST_BESIDE_GPU if on_accelerator() else (_FIXED - _OTHER_FIXED) / _OTHER
    if sparse is False or (sparse is None and len(network.reactions) < fewest):
        return None
    data = mass_action_of(network)
    if data is not None and coefficients is not None and not data.holds(coefficients):
        if sparse:
            raise SimulationError(
                "method 'ssa-sparse': a number of molecules in a law is times 0 at these values of parameters; "
                "use method 'ssa'"
            )
        return None
    if sparse is None and data is not None and not on_accelerator():
        here, there = costs(data)
        return data if here < there else None
    return data


def costs(network: MassAction) -> tuple[float, float]:
    """About what a firing takes on a core, in nanoseconds: here, and where all propensities are computed at once."""
    here = _FIXED + _UPDATE * network.updates + _INSTRUCTION * network.instructions
    coded = 0 if network.code is None else len(network.code.rows)
    return here, _OTHER_FIXED + _OTHER * network.reactions + _OTHER_INSTRUCTION * coded


def run_sparse(
    ensemble: Ensemble,
    network: MassAction,
    progress: str | None = None,
    followed: Followed | None = None,
    take: Callable[[Chunk], Any] | None = None,
) -> Iterator[Any]:
    """Simulate grain by grain, in order, with as many pieces of grains at work as there are cores.

    It means what :func:`~sbmlgrad.simulation.ensemble.run` means. Records hold after the counts what is ``followed``.

    Raises
    ------
    TruncationError
        if a trajectory needs more than ``max_events`` events.
    PropensityError
        if a propensity is negative or not finite.
    """
    check_ensemble(ensemble)
    with Progress(progress, ensemble.n, ensemble.start, float(ensemble.times[-1])) as watch:
        sparse = SparseRun(ensemble, network, watch, followed)
        spans = own_spans(ensemble.n, GRAIN, len(ensemble.times) * sparse.recorded)
        yield from gathered(_chunks(sparse, chain(*spans), take or (lambda chunk: chunk)), spans)


def _chunks(sparse: SparseRun, spans: Iterator[Span], take: Callable[[Chunk], T]) -> Generator[T]:
    workers = cores()
    with ThreadPoolExecutor(workers) as pool:
        pending: list[_Grain] = []
        try:
            while True:
                while sum(grain.at_work for grain in pending) <= workers:
                    span = next(spans, None)
                    if span is None:
                        break
                    pending.append(_submitted(pool, sparse, span, workers))
                if not pending:
                    return
                grain = pending.pop(0)
                fired = sum(future.result() for future in grain.pieces)
                yield take(Chunk(grain.first, tuple(grain.records), fired))
        finally:
            sparse.stopped = True
            for grain in pending:
                for future in grain.pieces:
                    future.cancel()


@dataclass(frozen=True, eq=False)
class _Grain:
    """Some trajectories at work: how many reactions fire in pieces of them, which fill the records."""

    first: int
    records: np.ndarray
    pieces: list[Future[int]]

    @property
    def at_work(self) -> int:
        """How many pieces are not through."""
        return sum(not future.done() for future in self.pieces)


def _submitted(pool: ThreadPoolExecutor, sparse: SparseRun, span: Span, workers: int) -> _Grain:
    """The trajectories of a grain, given to the workers in pieces."""
    (first, count), n = span, sparse.ensemble.n
    size = min(_LARGEST_PIECE, max(1, -(-n // (4 * workers))))
    records = np.empty((sparse.recorded, len(sparse.ensemble.times), count))
    begins = range(0, count, size)
    pieces = [pool.submit(sparse.run, first + begin, records[..., begin : begin + size]) for begin in begins]
    return _Grain(first, records, pieces)


@dataclass(eq=False)
class SparseRun:
    """An ensemble of a network as data, piece by piece."""

    ensemble: Ensemble
    network: MassAction
    watch: Progress
    followed: Followed | None = None
    """What is written down after the counts."""
    stopped: bool = field(default=False, init=False)

    def run(self, first: int, records: np.ndarray) -> int:
        """Fill the records (species, times, trajectories) from trajectory ``first`` on: how many reactions fired."""
        arrays, count = self.arrays, records.shape[-1]
        loop, scratch = arrays.loop, arrays.scratch()
        task, place, kinds, code = self.task(first, count), scratch.place, self.kinds(), arrays.code()
        while True:
            status = loop.advance(arrays.tables, scratch, kinds, code, task, records, _BUDGET)
            done = int(place[loop.TRAJECTORY])
            times = np.full(count, self.ensemble.start)
            times[:done] = self.ensemble.times[-1]
            if status != loop.DONE:
                times[done] = scratch.clock[0]
                self._check(first + done, scratch, status)
            self.watch.tell(first, times)
            if status == loop.DONE:
                return int(place[loop.ALL_FIRED])
            if self.stopped:
                raise SimulationError("the simulation was stopped")

    def _check(self, trajectory: int, scratch: Any, status: int) -> None:
        """Raise for a trajectory that cannot go on, and for one that clearly heads for too many reactions."""
        loop, place, ensemble = self.arrays.loop, scratch.place, self.ensemble
        at = Whereabouts(trajectory, float(scratch.clock[0]), float(place[loop.FIRED]), scratch.x)
        if status == loop.BROKEN:
            raise broken_law(ensemble.network, at, self.network.propensities(at.x[:, None], self.arrays.numbers)[:, 0])
        forecast = at.fired
        if at.fired > ensemble.max_events / 100 and status != loop.TRUNCATED:
            total = int(place[loop.TOTAL]) * 2.0 ** -int(place[loop.EXPONENT])
            forecast += total * float(ensemble.times[-1] - at.time)
        if forecast > ensemble.max_events:
            raise too_many_events(ensemble, at, forecast)

    def switched_off(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reactions of which a factor is 0 in a state (species, states) that a direction moves: (pairs,) each."""
        kinds, arrays, none = self.kinds(), self.arrays, np.zeros(0, np.int64)
        if kinds is None or kinds.slopes is None:
            return none, none
        look = import_module("sbmlgrad.simulation.sparse_slopes").look
        off, code = np.zeros(len(kinds.slopes.rates), bool), arrays.code()
        for state in np.ascontiguousarray(states.T):  # also where other laws are negative, such as of a promoter
            look(kinds.slopes, arrays.tables, code, state)
            off |= (kinds.slopes.rates != 0) & np.isinf(kinds.slopes.relative)
        reactions = np.repeat(np.arange(self.network.reactions), np.diff(kinds.slopes.starts))
        return reactions[off], kinds.slopes.directions[off]

    @property
    def recorded(self) -> int:
        """How many numbers of a trajectory are written down at a time."""
        return self.network.size + (0 if self.followed is None else self.followed.recorded)

    def kinds(self) -> Any:
        """Room for what is followed; None where nothing is."""
        return None if self.followed is None else self.followed.arrays()

    def task(self, first: int, count: int) -> Any:
        """What so many trajectories from trajectory ``first`` on are to do."""
        ensemble, keys = self.ensemble, streams(self.ensemble.seed)
        trajectory = (first + np.arange(count)).astype(np.uint32)
        x0 = np.empty((self.network.size, count))
        for index, value in enumerate(ensemble.x0):
            if np.ndim(value):
                x0[index] = value[first : first + count]
            elif is_whole(value):
                x0[index] = np.round(value)
            else:
                x0[index] = initial_count(value, keys, trajectory, index)
        return self.arrays.loop.Task(
            times=np.asarray(ensemble.times, np.float64),
            x0=x0,
            start=float(ensemble.start),
            first=first,
            most=int(ensemble.max_events),
            bits=self.arrays.bits,
            group_bits=self.arrays.group_bits,
            keys=np.array([keys.waiting, keys.choice]),
        )

    @cached_property
    def arrays(self) -> SparseArrays:
        """The network with its numbers."""
        return SparseArrays(self.network, self.network.numbers(self.ensemble.coefficients))
