"""Work in other processes, so that what hangs or crashes is lost alone: bounded in time, results in order.

An executor of the standard library cannot end the one process that runs over, hence processes and pipes.
"""

from __future__ import annotations

import math
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from time import monotonic
from typing import Any, TypeVar

from sbmlgrad.cores import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_OF_A_PROCESS = 40  # then a new one takes over: compiled code stays in memory until its process ends


@dataclass(frozen=True)
class Lost:
    """What came instead of a result, as the end of a sentence, and the seconds until then."""

    reason: str
    seconds: float


def in_workers(
    work: Callable[[Item], Result], items: Sequence[Item], limit: float, processes: int | None = None
) -> Iterator[Result | Lost]:
    """``work`` of each item, in the order of ``items``, as soon as all before it are there.

    Parameters
    ----------
    work
        A function that another process can import: of the top level of a module, or a partial of one.
    limit
        Seconds for one item; a process that takes longer is ended, and a new one goes on with the rest.
    processes
        How many run at once; by default as many as there are cores.
    """
    waiting = deque(enumerate(items))
    done: dict[int, Result | Lost] = {}
    workers: list[_Worker] = []
    try:
        for index in range(len(items)):
            while index not in done:
                idle = sum(worker.index is None for worker in workers)
                hired = min((processes or cores()) - len(workers), len(waiting) - idle)
                workers += [_Worker(work) for _ in range(hired)]
                for worker in workers:
                    if worker.ready and waiting:
                        worker.begin(*waiting.popleft(), limit)
                done.update(_reported(workers))
                workers = [worker for worker in workers if worker.alive]
            yield done.pop(index)
    finally:
        for worker in workers:
            worker.end()


def _reported(workers: Sequence[_Worker]) -> dict[int, Any]:
    """What there is, by index, once a worker reports or runs over; those that are used up are ended."""
    soonest = min(worker.deadline for worker in workers)
    patience = None if soonest == math.inf else max(0.0, soonest - monotonic())
    speaking = connection.wait([worker.pipe for worker in workers], patience)
    outcomes: dict[int, Any] = {}
    for worker in workers:
        if worker.pipe in speaking:
            outcomes.update(worker.receive())
        elif monotonic() >= worker.deadline:
            outcomes.update(worker.give_up(f"took longer than {worker.limit:g} s"))
        if worker.ready and worker.items == ITEMS_OF_A_PROCESS:
            worker.end()
    return outcomes


class _Worker:
    """One process, and the item it works on."""

    def __init__(self, work: Callable[[Any], Any]):
        context = get_context("spawn")  # JAX has threads, which a fork would not take along
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _interrupts_for_us_alone():
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.index: int | None = None  # of the item
        self.began = self.limit = math.inf  # for the item; importing what the work needs does not count
        self.items = 0
        self.ready = False
        self.alive = True

    @property
    def deadline(self) -> float:
        """When the item must be done."""
        return self.began + self.limit

    def begin(self, index: int, item: Any, limit: float) -> None:
        with suppress(ConnectionError):  # it is gone, which receive() will notice
            self.pipe.send(item)
        self.index, self.began, self.limit, self.ready = index, monotonic(), limit, False
        self.items += 1

    def receive(self) -> dict[int, Any]:
        """What the process has to say: that it is ready, a result or, by the end of its pipe, that it is gone."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return self.give_up(f"crashed: the process {_ending(self.process.exitcode)}")
        index, self.index, self.began, self.ready = self.index, None, math.inf, True
        return {} if index is None else {index: outcome}

    def give_up(self, reason: str) -> dict[int, Lost]:
        self.end()
        if self.index is not None:
            return {self.index: Lost(reason, monotonic() - self.began)}
        if self.ready:  # it had nothing to do: no loss
            return {}
        raise RuntimeError(f"before its first item, a worker {reason}")  # others would not get further

    def end(self) -> None:
        if self.alive:
            self.alive = False
            self.process.kill()
            self.process.join()
            self.pipe.close()


@contextmanager
def _interrupts_for_us_alone() -> Iterator[None]:
    """Processes that start in this block do not see Ctrl-C, nor tell of it: whoever started them ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: connection.Connection, work: Callable[[Any], Any]) -> None:
    """The life of a process: one item after the other, until nobody is there to send one."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several of us share one GPU
    with suppress(EOFError, ConnectionError):
        pipe.send(None)
        while True:
            pipe.send(_outcome(work, pipe.recv()))


def _outcome(work: Callable[[Any], Any], item: Any) -> Any:
    began = monotonic()
    try:
        return work(item)
    except Exception as error:  # whatever it is, the other items must go on
        return Lost(f"crashed: {type(error).__name__}: {error}", monotonic() - began)


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
