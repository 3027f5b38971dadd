"""Ensembles of large sparse networks, whose loop does work only where a reaction changes something."""

from __future__ import annotations

import math
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
from sbmlgrad.network.mass_action import MassAction, Numbers, mass_action_of, not_as_data
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
from sbmlgrad.simulation.ssa import initial_count

T = TypeVar("T")

_FEWEST_BESIDE_GPU = 500  # reactions from which on this loop is faster than the other on a GPU
# About what a firing costs on a CPU, in nanoseconds: here, and in the loop of all propensities at once, by reactions.
_FIXED, _UPDATE, _OTHER = 40.0, 2.0, 0.9
_BUDGET = 1 << 19  # random draws between two looks at whether anybody still waits
_ONE_LEVEL = 500  # reactions up to which there are sums of one level
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
    fewest = _FEWEST_BESIDE_GPU if on_accelerator() else _FIXED / _OTHER
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
    is_slower = data is not None and _OTHER * data.reactions < _FIXED + _UPDATE * data.updates
    return None if sparse is None and is_slower else data


def run_sparse(
    ensemble: Ensemble,
    network: MassAction,
    progress: str | None = None,
    kinds: np.ndarray | None = None,
    take: Callable[[Chunk], Any] | None = None,
) -> Iterator[Any]:
    """Simulate grain by grain, in order, with as many pieces of grains at work as there are cores.

    It means what :func:`~sbmlgrad.simulation.ensemble.run` means. Where reactions are of ``kinds`` (reactions,), whole
    numbers from 0 on, records hold after the counts how many of each kind have fired, and then how many were due: the
    integral of their propensities.

    Raises
    ------
    TruncationError
        if a trajectory needs more than ``max_events`` events.
    PropensityError
        if a propensity is negative or not finite.
    """
    check_ensemble(ensemble)
    with Progress(progress, ensemble.n, ensemble.start, float(ensemble.times[-1])) as watch:
        sparse = SparseRun(ensemble, network, watch, kinds)
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
    kinds: np.ndarray | None = None
    """Of which kind each reaction is (reactions,), where it is to be counted how often those of each kind fire."""
    stopped: bool = field(default=False, init=False)

    def run(self, first: int, records: np.ndarray) -> int:
        """Fill the records (species, times, trajectories) from trajectory ``first`` on: how many reactions fired."""
        loop, scratch, count = self.loop, self.scratch(), records.shape[-1]
        task, place, kinds = self.task(first, count), scratch.place, self.by_kind()
        while True:
            status = loop.advance(self.tables, scratch, kinds, task, records, _BUDGET)
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
        loop, place, ensemble = self.loop, scratch.place, self.ensemble
        at = Whereabouts(trajectory, float(scratch.clock[0]), float(place[loop.FIRED]), scratch.x)
        values = self.network.propensities(at.x[:, None], self.numbers)[:, 0]
        if status == loop.BROKEN:
            raise broken_law(ensemble.network, at, values)
        forecast = at.fired
        if at.fired > ensemble.max_events / 100 and status != loop.TRUNCATED:
            forecast += float(values.sum()) * float(ensemble.times[-1] - at.time)
        if forecast > ensemble.max_events:
            raise too_many_events(ensemble, at, forecast)

    @property
    def recorded(self) -> int:
        """How many numbers of a trajectory are written down at a time."""
        return self.network.size + (0 if self.kinds is None else 2 * (int(self.kinds.max()) + 1))

    def by_kind(self) -> Any:
        """Room for what is counted by kind; None where nothing is."""
        if self.kinds is None:
            return None
        count = int(self.kinds.max()) + 1
        sums, fired, due = np.zeros(count, np.int64), np.zeros(count), np.zeros(count)
        return self.loop.Kinds(self.kinds.astype(np.uint32), sums, fired, due)

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
        return self.loop.Task(
            times=np.asarray(ensemble.times, np.float64),
            x0=x0,
            start=float(ensemble.start),
            first=first,
            most=int(ensemble.max_events),
            bits=self.bits,
            keys=np.array([keys.waiting, keys.choice]),
        )

    @cached_property
    def loop(self) -> Any:
        """The module of the compiled loop, imported when it is needed, since Numba takes long."""
        return import_module("sbmlgrad.simulation.sparse_loop")

    @cached_property
    def numbers(self) -> Numbers:
        """Constants and offsets at the values of parameters."""
        return self.network.numbers(self.ensemble.coefficients)

    @cached_property
    def tables(self) -> Any:
        """The network with its numbers, as the loop takes it."""
        network, dependents = self.network, self.network.dependents
        rates = self.numbers.constants[dependents.reactions]
        indices = {
            "factor_starts": network.factors.starts,
            "factor_species": network.factors.items,
            "need_starts": network.needs.starts,
            "need_species": network.needs.items,
            "jump_starts": network.jumps.starts,
            "jump_species": network.jumps.items,
            "starts": dependents.starts,
            "pairs": dependents.pairs,
            "others": dependents.others,
            "dependents": dependents.reactions,
            "partners": dependents.partners,
        }
        return self.loop.Tables(
            constants=self.numbers.constants,
            offsets=self.numbers.offsets,
            least=network.least,
            changes=network.changes,
            rates=np.where(rates < 0, np.nan, rates),  # what follows a count by such a rate is computed in full
            **{name: values.astype(np.uint32) for name, values in indices.items()},
        )

    @property
    def bits(self) -> int:
        """log2 of how many are put together in a sum."""
        reactions = max(self.network.reactions, 2)
        return round(math.log2(reactions) / 2) if reactions <= _ONE_LEVEL else round(math.log2(reactions) / 3)

    def scratch(self) -> Any:
        """Room for one trajectory at a time."""
        reactions, bits = self.network.reactions, self.bits
        blocks = (reactions >> bits) + 1
        groups = (blocks >> bits) + 1 if reactions > _ONE_LEVEL else 1
        uniforms, mantissas = np.zeros((2, self.loop.DRAWS))
        return self.loop.Scratch(
            x=np.zeros(self.network.size),
            propensities=np.zeros(blocks << bits, np.int64),
            blocks=np.zeros(max(blocks, groups << bits), np.int64),
            groups=np.zeros(groups, np.int64),
            exponentials=np.zeros(self.loop.DRAWS),
            uniforms=uniforms,
            uniform_bits=uniforms.view(np.int64),
            mantissas=mantissas,
            words=mantissas.view(np.int64),
            powers=np.zeros(self.loop.DRAWS),
            clock=np.zeros(1),
            place=np.zeros(9, np.int64),
        )
