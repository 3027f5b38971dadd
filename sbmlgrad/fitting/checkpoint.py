"""The state of a search on disk, from which it goes on to the same bits after it was cut off.

What a search does next follows from evaluations, whose random numbers are a function of seed and step. So what is kept
are the evaluations. A search that is resumed takes its steps again, optimiser and all, with what
was evaluated then, until it comes to where it was cut off. Of several starts only the best one's and the present one's
are kept, and of the others where they ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sbmlgrad.errors import CheckpointError
from sbmlgrad.files import replacing
from sbmlgrad.simulation import processes

Arrays = tuple[np.ndarray, ...]
Memory = Callable[[str, Sequence[Any], Callable[[], Arrays]], Arrays]
"""(kind, arguments, computation) -> its result, computed or remembered"""

_FORMAT = 1
_EVERY = 1.0  # seconds between two times that the file is written, at least
_SHARE = 20.0  # times as long as writing takes


def forgetful(kind: str, arguments: Sequence[Any], compute: Callable[[], Arrays]) -> Arrays:
    """A memory that computes everything."""
    return compute()


@dataclass(frozen=True)
class Ended:
    """Where the search from one start ended: its loss, or the error that ended it."""

    loss: float
    error: str = ""


@dataclass
class _State:
    """Where searches ended, by "round.start", and evaluations (flat arrays) by the same and a digest."""

    ended: dict[str, Ended] = field(default_factory=dict)
    evaluations: dict[str, dict[bytes, np.ndarray]] = field(default_factory=dict)


class Checkpoint:
    """A file that a search writes as it goes on, at most once a second, and when it ends for whatever reason.

    Parameters
    ----------
    path
        Of the file; an earlier checkpoint is replaced unless it is resumed.
    identity
        What the fit is of, each part as text; a checkpoint is of one fit only.
    resume
        Go on from the file, if there is one.

    Raises
    ------
    CheckpointError
        for a file that is no checkpoint, or that of another fit.
    SbmlgradError
        for a file that cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, str], resume: bool):
        self.path, self._identity = os.fspath(path), dict(identity)
        self._state = _State()
        if Path(self.path).exists() and (resume or os.path.getsize(self.path)):
            state, written = _read(self.path)
            others = [name for name in self._identity if written.get(name) != self._identity[name]]
            if resume and others:
                raise CheckpointError(
                    f"{self.path}: is the checkpoint of a fit with other {', '.join(others)}; resume it with its own, "
                    "or name another file"
                )
            self._state = state if resume else self._state
        self._round = -1
        self._section = ""
        self._verified: set[str] = set()
        self._written, self._took = -np.inf, 0.0
        self._closed = False
        self._other: CheckpointError | None = None  # why this file cannot be gone on from
        self.write()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.write()

    def new_round(self) -> None:
        """Searches from now on are others, from start 0 on."""
        self._round += 1

    def begin(self, start: int) -> Ended | None:
        """Go on with the search from one start; where it ended, if it did and is not to be taken again."""
        self._section, self._verified = f"{self._round}.{start}", set()
        ended = self._state.ended.get(self._section)
        if ended is not None and (ended.error or self._section != self._best()):
            return ended
        self._state.evaluations.setdefault(self._section, {})
        return None

    def end(self, ended: Ended) -> None:
        """The search that was begun ended there; raises :class:`CheckpointError` as :meth:`remember` did on the way."""
        if self._other is not None:
            raise self._other
        self._state.ended[self._section] = ended
        best = self._best()
        for section in [s for s in self._state.evaluations if s in self._state.ended and s != best]:
            del self._state.evaluations[section]
        self.write()

    def remember(self, kind: str, arguments: Sequence[Any], compute: Callable[[], Arrays]) -> Arrays:
        """A :data:`Memory`, until the search is over. The first evaluation of each kind is made again.

        Raises :class:`CheckpointError` if that comes out otherwise.
        """
        if self._closed:
            return compute()
        key = _digest(kind, arguments)
        known = self._state.evaluations.setdefault(self._section, {})
        if key in known and kind in self._verified:
            return _unpacked(known[key])
        result = compute()
        flat = _packed(result)
        if key in known and not np.array_equal(known[key], flat, equal_nan=True):
            self._other = CheckpointError(
                f"{self.path}: what was evaluated comes out otherwise now (another model, platform or version of a "
                "library); begin anew without resuming it"
            )
            raise self._other
        self._verified.add(kind)
        known[key] = flat
        if clock.monotonic() - self._written > max(_EVERY, _SHARE * self._took):
            self.write()
        return result

    def write(self) -> None:
        """Write all of it, whole or not at all; of processes that share the work the first one does."""
        if self._other is not None or processes.index():
            return
        begun = clock.monotonic()
        sections = list(self._state.evaluations)
        entries = [
            (number, key, flat)
            for number, section in enumerate(sections)
            for key, flat in self._state.evaluations[section].items()
        ]
        header = {
            "format": _FORMAT,
            "identity": self._identity,
            "ended": {name: [one.loss, one.error] for name, one in self._state.ended.items()},
            "sections": sections,
        }
        with replacing(self.path) as part, part.open("wb") as file:
            np.savez(
                file,
                header=np.array(json.dumps(header)),
                section=np.array([number for number, _, _ in entries], np.int64),
                key=np.array([np.frombuffer(key, np.uint8) for _, key, _ in entries], np.uint8).reshape(-1, 16),
                size=np.array([len(flat) for _, _, flat in entries], np.int64),
                data=np.concatenate([np.zeros(0), *(flat for _, _, flat in entries)]),
            )
        self._written = clock.monotonic()
        self._took = self._written - begun

    def _best(self) -> str:
        """The search of this round whose end counts so far."""
        own = {s: e for s, e in self._state.ended.items() if s.startswith(f"{self._round}.") and not e.error}
        return min(own, key=lambda s: (np.isnan(own[s].loss), own[s].loss, int(s.partition(".")[2])), default="")


def _read(path: str) -> tuple[_State, Mapping[str, str]]:
    """What a file holds, and the identity of its fit."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            number, keys, sizes, data = (file[name] for name in ("section", "key", "size", "data"))
        if header["format"] != _FORMAT:
            raise CheckpointError(f"{path}: was written by another version of sbmlgrad; name another file")
        state = _State({name: Ended(float(loss), str(error)) for name, (loss, error) in header["ended"].items()})
        state.evaluations = {name: {} for name in header["sections"]}
        for index, key, flat in zip(number, keys, np.split(data, np.cumsum(sizes)[:-1]), strict=True):
            state.evaluations[header["sections"][index]][key.tobytes()] = flat
        return state, dict(header["identity"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, BadZipFile, AttributeError) as error:
        raise CheckpointError(f"{path}: is no checkpoint of a fit, or damaged; name another file") from error


def _digest(kind: str, arguments: Sequence[Any]) -> bytes:
    hashed = hashlib.sha256(kind.encode())
    for argument in arguments:
        array = np.asarray(argument, np.float64)
        hashed.update(repr(array.shape).encode())
        hashed.update(array.tobytes())
    return hashed.digest()[:16]


def _packed(arrays: Arrays) -> np.ndarray:
    """Arrays as one: their number, and for each its dimensions before its values."""
    parts: list[Any] = [[float(len(arrays))]]
    for array in arrays:
        values = np.asarray(array, np.float64)
        parts += [[float(values.ndim), *map(float, values.shape)], values.ravel()]
    return np.concatenate(parts)


def _unpacked(flat: np.ndarray) -> Arrays:
    result, place = [], 1
    for _ in range(int(flat[0])):
        dimensions = int(flat[place])
        shape = flat[place + 1 : place + 1 + dimensions].astype(int)
        place += 1 + dimensions
        size = int(np.prod(shape))
        result.append(flat[place : place + size].reshape(shape).copy())
        place += size
    return tuple(result)
