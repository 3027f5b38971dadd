"""Processes, on one machine or many, that share the work of ensembles: who is who, and what they tell each other.

All of them run the same program. Where an ensemble is simulated each takes its share, and what is made of the shares
goes from all to all, through process 0; so all go on with the same numbers, and nothing else has to be told.

Who is who comes from JAX's detection of clusters (Slurm, Open MPI, Kubernetes). The connections are plain sockets and
not those of ``jax.distributed``, whose runtime ends a process by SIGABRT and a dump of its stack where another one dies
or the coordinator cannot be reached; here the system closes the sockets of a process that dies, and all others say so.
What travels is not encrypted, as with JAX, and cannot become code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, TypeVar

import jax

from sbmlgrad import errors
from sbmlgrad.cores import cores, use_cores
from sbmlgrad.errors import ProcessError, SbmlgradError, SimulationError
from sbmlgrad.simulation.connections import PATIENCE, Answer, Hub, Place, Spoke

T = TypeVar("T")


def distribute(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Share all ensembles from now on with other processes that run the same program; called once, at its beginning.

    Every process must make the same calls of sbmlgrad with the same values, and gets the same results, which are those
    of one process alone, bit for bit.

    Parameters
    ----------
    coordinator
        Where process 0 listens, ``"host:port"``.
    processes, process
        How many there are, and which of them this is, from 0 on. What is not given comes from the environment: from
        ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``, else from Slurm, Open MPI or
        Kubernetes, as JAX detects them.

    Raises
    ------
    ProcessError
        if the others cannot be reached within two minutes, or it is not clear who is who.
    """
    global _group
    if _group is not None:
        raise ProcessError("processes are distributed once only, at the beginning of a program")
    place = _place(coordinator, processes, process)
    _group = Hub.meet(place) if place.process == 0 else Spoke.meet(place)
    neighbours = [index for index, host in enumerate(_group.hosts) if host == _group.hosts[place.process]]
    _settle(neighbours.index(place.process), len(neighbours))


def count() -> int:
    """How many processes there are."""
    return 1 if _group is None else len(_group.hosts)


def index() -> int:
    """Which of them this is; the first one is to write and to print."""
    return 0 if _group is None else _group.process


def shared(results: Iterator[T]) -> Iterator[T]:
    """What all processes make of their pieces, in order of processes.

    An error of any is raised in all. Raises :class:`ProcessError` where one has ended.
    """
    if _group is None:
        yield from results
        return
    own: list[T] = []
    try:
        for result in results:
            own.append(result)
            _group.check()
        answer = Answer(own)
    except ProcessError:
        raise
    except Exception as error:
        answer = Answer((), *_told(error))
    for other in _group.exchange(answer):
        if other.error:
            failure: SbmlgradError = getattr(errors, other.error)(*other.words)
            failure.is_shared = True
            raise failure
        yield from other.results


def of_first(make: Callable[[], T]) -> T:
    """What the first process makes, in all."""
    if _group is None:
        return make()
    return next(shared(make() for _ in range(1)))


def _told(error: Exception) -> tuple[str, tuple[Any, ...]]:
    """An error as it travels."""
    kind = type(error)
    if isinstance(error, SimulationError) and getattr(errors, kind.__name__, None) is kind:
        return kind.__name__, error.args
    return "ProcessError", (f"process {index()}: unexpected {kind.__name__}: {str(error)[:300]}",)


# ---- who is who ----------------------------------------------------------------------------------------


def _place(coordinator: str | None, processes: int | None, process: int | None) -> Place:
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    processes = _number("JAX_NUM_PROCESSES") if processes is None else processes
    process = _number("JAX_PROCESS_ID") if process is None else process
    if coordinator is None or processes is None or process is None:
        detect = import_module("jax._src.clusters").ClusterEnv.auto_detect_unset_distributed_params
        coordinator, processes, process, _ = detect(coordinator, processes, process, [0], None, int(PATIENCE))
    if coordinator is None or processes is None or process is None:
        raise ProcessError(
            "processes cannot find each other: neither Slurm, Open MPI nor Kubernetes has started this one; "
            "set JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID for each"
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ProcessError(f"the coordinator's address is to be host:port, got {coordinator!r}")
    if not 0 <= process < processes:
        raise ProcessError(f"process {process} of {processes}: they are numbered from 0 to one less than there are")
    return Place(host.strip("[]"), int(port), processes, process)


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if text is not None and not text.isdecimal():
        raise ProcessError(f"{variable}: expected a whole number, got {text!r}")
    return None if text is None else int(text)


def _settle(local: int, beside: int) -> None:
    """Leave their share of this machine to the other processes on it."""
    if beside == 1:
        return
    if cores() == os.cpu_count():  # unless somebody has divided them already
        use_cores(max(1, cores() // beside))
    if len(os.environ.get("CUDA_VISIBLE_DEVICES", ",").split(",")) > 1:
        jax.config.update("jax_cuda_visible_devices", str(local))


_group: Hub | Spoke | None = None
