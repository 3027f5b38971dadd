"""Connections between processes: all of them to the first one, through which what each says goes to all.

Plain sockets, since the system closes those of a process that dies, and so the others know.
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from sbmlgrad.about import __version__
from sbmlgrad.errors import ProcessError

PATIENCE = 120.0
"""Seconds that processes wait for each other at the start."""

_RETRY = 0.2  # seconds between two attempts to reach process 0
_LONGEST_GREETING = 1 << 12  # bytes: what is longer comes from elsewhere
_SILENCE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))  # seconds: a machine that is gone in 30


class Place(NamedTuple):
    """Where process 0 listens, how many processes there are, and which this is."""

    host: str
    port: int
    processes: int
    process: int


class Answer(NamedTuple):
    """What a process made of its piece, or the name and the words of an error."""

    results: Sequence[Any]
    error: str = ""
    words: tuple[Any, ...] = ()


class _Greeting(NamedTuple):
    """What a process says of itself."""

    version: str
    processes: int
    process: int
    host: str


@dataclass
class _Group:
    """The processes as one of them sees them: on which machine each is."""

    process: int
    hosts: list[str]

    def check(self) -> None:
        """Raise :class:`ProcessError` where another process is known to have ended."""
        raise NotImplementedError

    def exchange(self, own: Answer) -> list[Answer]:
        """What all processes say at this point."""
        raise NotImplementedError

    def ended(self, process: int) -> str:
        """What to say of a process that has ended."""
        return (
            f"process {process} of {len(self.hosts)} (on {self.hosts[process]}) has ended before its work was done; "
            "see what it said, and start all of them again"
        )


@dataclass
class Hub(_Group):
    """Process 0, to which all others are connected."""

    others: dict[Connection, int]

    @classmethod
    def meet(cls, place: Place) -> Hub:
        """Wait for the others."""
        group = cls(0, [socket.gethostname()] * place.processes, {})
        with _listener(place) as listener:
            until = clock.monotonic() + PATIENCE
            while len(group.others) < place.processes - 1:
                try:
                    listener.settimeout(max(0.01, until - clock.monotonic()))
                    group._let_in(_connection(listener.accept()[0]))
                except TimeoutError:
                    missing = sorted(set(range(1, place.processes)) - set(group.others.values()))
                    raise group._farewell(
                        f"process {', '.join(map(str, missing))} of {place.processes} did not come within "
                        f"{PATIENCE:.0f} s; see whether all were started"
                    ) from None
        group._tell(group.hosts)
        return group

    def _let_in(self, connection: Connection) -> None:
        """Take in a process that says who it is; others are sent away."""
        greeting, of = _greeting(connection), len(self.hosts)
        if greeting is None:  # somebody else
            connection.close()
            return
        version, processes, process, host = greeting
        self.others[connection] = process
        is_new = list(self.others.values()).count(process) == 1
        if version != __version__ or processes != of or not 0 < process < of or not is_new:
            raise self._farewell(
                f"process {process} of {processes} on {host} with version {version} came to {of} processes of version "
                f"{__version__}, numbered from 0 on; start all of them alike"
            )
        self.hosts[process] = host

    def check(self) -> None:
        for connection in wait(list(self.others), timeout=0):
            if isinstance(connection, Connection) and _is_closed(connection):
                raise self._farewell(self.ended(self.others[connection]))

    def exchange(self, own: Answer) -> list[Answer]:
        said = {0: own}
        while len(said) < len(self.hosts):
            for connection in wait([c for c, process in self.others.items() if process not in said]):
                assert isinstance(connection, Connection)
                process = self.others[connection]
                try:
                    said[process] = _read(connection.recv_bytes())
                except (EOFError, OSError):
                    raise self._farewell(self.ended(process)) from None
        answers = [said[process] for process in range(len(self.hosts))]
        self._tell(answers)
        return answers

    def _tell(self, message: object) -> None:
        data = _written(message)
        for connection, process in self.others.items():
            try:
                connection.send_bytes(data)
            except OSError:
                raise self._farewell(self.ended(process)) from None

    def _farewell(self, why: str) -> ProcessError:
        """Tell all who are left that, and why, it is over."""
        data = _written(why)
        for connection in self.others:
            try:
                connection.send_bytes(data)
            except OSError:  # it has ended
                continue
        return ProcessError(why)


@dataclass
class Spoke(_Group):
    """Another process, connected to process 0."""

    first: Connection

    @classmethod
    def meet(cls, place: Place) -> Spoke:
        """Find process 0, and wait until all are there."""
        until = clock.monotonic() + PATIENCE
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

    def exchange(self, own: Answer) -> list[Answer]:
        try:
            self.first.send_bytes(_written(own))
        except OSError:
            raise ProcessError(self.ended(0)) from None
        answers: list[Answer] = self._hear()
        return answers

    def _hear(self) -> Any:
        try:
            message = _read(self.first.recv_bytes())
        except (EOFError, OSError):
            raise ProcessError(self.ended(0)) from None
        if isinstance(message, str):
            raise ProcessError(message)
        return message


def _listener(place: Place) -> socket.socket:
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
