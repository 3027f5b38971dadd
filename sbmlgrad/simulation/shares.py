"""Where the work of an ensemble is shared out: to processes, to the devices of each, and to its threads.

An ensemble is cut into pieces of whole grains, by its size and the number of processes alone, which processes take in
turn; each cuts its own into chunks, which go to threads, and from one device to the next. What is made of chunks comes
back in order of trajectories, in every process, so that no sum depends on who took what.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import chain, cycle
from typing import Any, NamedTuple, TypeVar

import jax

from sbmlgrad.errors import ProcessError
from sbmlgrad.simulation import processes

GRAIN = 256
"""Chunks are whole multiples of this many trajectories, and moments are summed grain by grain in order."""

_PIECE_BYTES = 256 << 20  # of what trajectories write down, until processes tell each other what they made of it

T = TypeVar("T")


class Span(NamedTuple):
    """Consecutive trajectories: ``size`` from ``first`` on."""

    first: int
    size: int


class Stop:
    """Tells chunks at work that nobody waits for them any more."""

    asked = False


def devices() -> list[jax.Device]:
    """Those of this process that simulate."""
    return jax.local_devices()


def device_in_use() -> jax.Device:
    """Where this thread computes."""
    chosen: jax.Device | None = jax.config.jax_default_device  # type: ignore[attr-defined]
    return devices()[0] if chosen is None else chosen


def portion(n: int) -> int:
    """How many of ``n`` trajectories a device gets, at most."""
    lots = processes.count() * len(devices())
    return n if lots == 1 else min(n, -(-_grains(n) // lots) * GRAIN)


def check_enough(n: int) -> None:
    """Raise :class:`ProcessError` where ``n`` trajectories have fewer grains than there are processes."""
    of = processes.count()
    if _grains(n) < of:
        error = ProcessError(
            f"{n} trajectories are {_grains(n)} grains of {GRAIN}, fewer than the {of} processes; start fewer, or "
            f"ask for at least {(of - 1) * GRAIN + 1} trajectories"
        )
        error.is_shared = True
        raise error


def own_spans(n: int, batch_size: int, numbers: int) -> list[list[Span]]:
    """The chunks that are this process's, piece by piece, of ``n`` trajectories that write down so many numbers each.

    Every process has as many pieces, none of them empty where there is a grain for each process.
    """
    of, grains = processes.count(), _grains(n)
    wanted = -(-grains * GRAIN * numbers * 8 // (of * _PIECE_BYTES))
    rounds = 1 if of == 1 else max(1, min(wanted, grains // of))
    bounds = [min(n, -(-grains * i // (rounds * of)) * GRAIN) for i in range(rounds * of + 1)]
    pieces = [range(bounds[i], bounds[i + 1], batch_size) for i in range(processes.index(), rounds * of, of)]
    return [[Span(first, min(batch_size, piece.stop - first)) for first in piece] for piece in pieces]


def in_order(make: Callable[[Span, Stop], T], spans: Sequence[Sequence[Span]], workers: int) -> Iterator[T]:
    """What is made of all chunks, in order, with as many at work as there are workers."""
    return gathered(_made(make, list(chain(*spans)), workers), spans)


def gathered(results: Generator[T], spans: Sequence[Sequence[Span]]) -> Iterator[T]:
    """This process's ``results``, one for each of its ``spans``, among those of all processes, in order.

    An error is raised in all processes, wherever it came up.
    """
    with closing(results):
        if processes.count() == 1:
            yield from results
            return
        for piece in spans:
            yield from processes.shared(_next_of(results, len(piece)))


def _next_of(results: Iterator[T], count: int) -> Iterator[T]:
    if not count:  # there is nothing to come, but processes may have to agree before anything does
        next(results, None)
    for _ in range(count):
        yield next(results)


def _made(make: Callable[[Span, Stop], T], spans: Sequence[Span], workers: int) -> Generator[T]:
    stop, waiting = Stop(), deque(zip(spans, cycle(_places()), strict=False))
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[T]] = deque()
        try:
            while waiting or pending:
                while waiting and len(pending) <= workers:
                    span, device = waiting.popleft()
                    pending.append(pool.submit(_made_at, make, stop, span, device))
                yield pending.popleft().result()
        finally:
            stop.asked = True
            for future in pending:
                future.cancel()


def _made_at(make: Callable[[Span, Stop], T], stop: Stop, span: Span, device: jax.Device | None) -> T:
    place: AbstractContextManager[Any] = nullcontext() if device is None else jax.default_device(device)
    with place:
        return make(span, stop)


def _places() -> Sequence[jax.Device | None]:
    """Where chunks go in turn; where there is one device, that is where JAX goes anyway."""
    every = devices()
    return every if len(every) > 1 else [None]


def _grains(n: int) -> int:
    return -(-n // GRAIN)
