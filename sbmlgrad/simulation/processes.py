"""Processes, on one machine or many, that share the work of ensembles: who is who, and what they tell each other.

All of them run the same program. Where an ensemble is simulated each takes its share, and what is made of the shares
goes from all to all, through process 0; so all go on with the same numbers, and nothing else has to be told.

Who is who comes from JAX's detection of clusters (Slurm, Open MPI, Kubernetes). The connections are plain sockets and
not those of ``jax.distributed``, whose runtime ends a process by SIGABRT and a dump of its stack where another one dies
or the coordinator cannot be reached; here the system closes the sockets of a process that dies, and all others say so.
What travels is not encrypted, as with JAX, and cannot become code: see :class:`_Reader`.
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

import jax

from sbmlgrad import errors
from sbmlgrad.about import __version__
from sbmlgrad.cores import cores, use_cores
from sbmlgrad.errors import ProcessError, SbmlgradError

T = TypeVar("T")

_PATIENCE = 120.0  # seconds that processes wait for each other at the start
_RETRY = 0.2  # seconds between two attempts to reach process 0
_LONGEST_GREETING = 1 << 12  # bytes: what is longer comes from elsewhere
_SILENCE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))  # seconds: a machine that is gone in 30


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
    _group = _Hub.meet(place) if place.process == 0 else _Spoke.meet(place)
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
        answer = _Answer(own)
    except ProcessError:
        raise
    except Exception as error:
        answer = _Answer((), *_told(error))
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
    return next(iter(list(shared(iter([make()])))))


class _Place(NamedTuple):
    """Where process 0 listens, how many processes there are, and which this is."""

    host: str
    port: int
    processes: int
    process: int


class _Greeting(NamedTuple):
    """What a process says of itself."""

    version: str
    processes: int
    process: int
    host: str


class _Answer(NamedTuple):
    """What a process made of its piece, or the name and the words of an error."""

    results: Sequence[Any]
    error: str = ""
    words: tuple[Any, ...] = ()


def _told(error: Exception) -> tuple[str, tuple[Any, ...]]:
    """An error as it travels."""
    kind = type(error)
    if isinstance(error, SbmlgradError) and getattr(errors, kind.__name__, None) is kind:
        return kind.__name__, error.args
    return "ProcessError", (f"process {index()}: unexpected {kind.__name__}: {str(error)[:300]}",)


# ---- who is who ----------------------------------------------------------------------------------------


def _place(coordinator: str | None, processes: int | None, process: int | None) -> _Place:
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    processes = _number("JAX_NUM_PROCESSES") if processes is None else processes
    process = _number("JAX_PROCESS_ID") if process is None else process
    if coordinator is None or processes is None or process is None:
        detect = import_module("jax._src.clusters").ClusterEnv.auto_detect_unset_distributed_params
        coordinator, processes, process, _ = detect(coordinator, processes, process, [0], None, int(_PATIENCE))
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
    return _Place(host.strip("[]"), int(port), processes, process)


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


# ---- connections ---------------------------------------------------------------------------------------


@dataclass
class _Group:
    """The processes as one of them sees them: on which machine each is."""

    process: int
    hosts: list[str]

    def check(self) -> None:
        """Raise :class:`ProcessError` where another process is known to have ended."""
        raise NotImplementedError

    def exchange(self, own: _Answer) -> list[_Answer]:
        """What all processes say at this point."""
        raise NotImplementedError

    def ended(self, process: int) -> ProcessError:
        """What to say of a process that has ended."""
        return ProcessError(
            f"process {process} of {len(self.hosts)} (on {self.hosts[process]}) has ended before its work was done; "
            "see what it said, and start all of them again"
        )


@dataclass
class _Hub(_Group):
    """Process 0, to which all others are connected."""

    others: dict[Connection, int]

    @classmethod
    def meet(cls, place: _Place) -> _Hub:
        """Wait for the others."""
        others: dict[Connection, int] = {}
        hosts = [socket.gethostname()] * place.processes
        until = clock.monotonic() + _PATIENCE
        with _listener(place) as listener:
            while len(others) < place.processes - 1:
                listener.settimeout(max(0.01, until - clock.monotonic()))
                try:
                    connection = _connection(listener.accept()[0])
                except TimeoutError:
                    missing = sorted(set(range(1, place.processes)) - set(others.values()))
                    raise ProcessError(
                        f"process {', '.join(map(str, missing))} of {place.processes} did not come within "
                        f"{_PATIENCE:.0f} s; see whether all were started"
                    ) from None
                greeting = _greeting(connection)
                if greeting is None:  # somebody else
                    connection.close()
                    continue
                if greeting[:2] != (__version__, place.processes) or greeting.process in (0, *others.values()):
                    raise ProcessError(
                        f"process {greeting.process} of {greeting.processes} on {greeting.host} with version "
                        f"{greeting.version} came to {place.processes} processes of version {__version__}, "
                        "numbered from 0 on; start all of them alike"
                    )
                others[connection] = greeting.process
                hosts[greeting.process] = greeting.host
        group = cls(0, hosts, others)
        group._tell(hosts)
        return group

    def check(self) -> None:
        for connection in wait(list(self.others), timeout=0):
            if isinstance(connection, Connection) and _is_closed(connection):
                raise self._farewell(self.others[connection])

    def exchange(self, own: _Answer) -> list[_Answer]:
        said = {0: own}
        while len(said) < len(self.hosts):
            for connection in wait([c for c, process in self.others.items() if process not in said]):
                assert isinstance(connection, Connection)
                process = self.others[connection]
                try:
                    said[process] = _read(connection.recv_bytes())
                except (EOFError, OSError):
                    raise self._farewell(process) from None
        answers = [said[process] for process in range(len(self.hosts))]
        self._tell(answers)
        return answers

    def _tell(self, message: object) -> None:
        data = _written(message)
        for connection, process in self.others.items():
            try:
                connection.send_bytes(data)
            except OSError:
                raise self._farewell(process) from None

    def _farewell(self, ended: int) -> ProcessError:
        """Tell all who are left that one has ended."""
        error = self.ended(ended)
        data = _written(str(error))
        for connection, process in self.others.items():
            try:
                if process != ended:
                    connection.send_bytes(data)
            except OSError:
                continue
        return error


@dataclass
class _Spoke(_Group):
    """Another process, connected to process 0."""

    first: Connection

    @classmethod
    def meet(cls, place: _Place) -> _Spoke:
        """Find process 0, and wait until all are there."""
        until = clock.monotonic() + _PATIENCE
        while True:
            try:
                connection = _connection(socket.create_connection((place.host, place.port), timeout=10.0))
                break
            except OSError as error:
                if clock.monotonic() > until:
                    raise ProcessError(
                        f"process {place.process} cannot reach process 0 at {place.host}:{place.port} ({error}); see "
                        "whether it runs there, and whether the machines may talk to each other at this port"
                    ) from None
                clock.sleep(_RETRY)
        group = cls(place.process, [place.host] * place.processes, connection)
        greeting = _Greeting(__version__, place.processes, place.process, socket.gethostname())
        connection.send_bytes(_written(greeting))
        group.hosts = group._hear()
        return group

    def check(self) -> None:
        if self.first.poll():  # nothing is due: it is a farewell
            self._hear()

    def exchange(self, own: _Answer) -> list[_Answer]:
        try:
            self.first.send_bytes(_written(own))
        except OSError:
            raise self.ended(0) from None
        answers: list[_Answer] = self._hear()
        return answers

    def _hear(self) -> Any:
        try:
            message = _read(self.first.recv_bytes())
        except (EOFError, OSError):
            raise self.ended(0) from None
        if isinstance(message, str):
            raise ProcessError(message)
        return message


def _listener(place: _Place) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", place.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", place.port), backlog=1024)
    except OSError as error:
        raise ProcessError(
            f"process 0 cannot listen at port {place.port} ({error.strerror or error}); choose another, by "
            "JAX_COORDINATOR_PORT where a cluster has started it, else in the coordinator's address"
        ) from None


def _connection(own: socket.socket) -> Connection:
    own.settimeout(None)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SILENCE:
        if hasattr(socket, name):
            own.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Connection(own.detach())


def _greeting(connection: Connection) -> _Greeting | None:
    """How the other side introduces itself; None where it does not."""
    try:
        if connection.poll(10.0):
            said = _read(connection.recv_bytes(_LONGEST_GREETING))
            return said if isinstance(said, _Greeting) else None
    except (EOFError, OSError, ProcessError):
        pass
    return None


def _is_closed(connection: Connection) -> bool:
    """Whether the other side has ended, without taking what it may have said."""
    with socket.socket(fileno=os.dup(connection.fileno())) as peeking:
        try:
            return not peeking.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


class _Reader(pickle.Unpickler):
    """Reads arrays, numbers, and plain records of this package, and nothing that would run."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy.") or module == "numpy":
            if name in _OF_NUMPY:
                return super().find_class(module, name)
        elif module.startswith("sbmlgrad.simulation.") and name.isidentifier():
            found = super().find_class(module, name)
            if isinstance(found, type) and (is_dataclass(found) or issubclass(found, tuple)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name}")


_OF_NUMPY = {"ndarray", "dtype", "_reconstruct", "_frombuffer", "scalar"}


def _written(message: object) -> bytes:
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def _read(data: bytes) -> Any:
    try:
        return _Reader(io.BytesIO(data)).load()
    except Exception as error:
        raise ProcessError(f"another process said something that cannot be read ({error}); start all alike") from None


_group: _Hub | _Spoke | None = None
