"""Files of the user: where they are kept, how they are read, and how they are written, completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import select
import shutil
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir

from sbmlgrad.errors import SbmlgradError

_LARGEST = 2**30  # bytes of a file that is read
_LONGEST_WAIT = 60.0  # seconds for all that comes through a pipe
_LONGEST_NAME = 150  # bytes of a name that temporary ones begin with; file systems allow 255


def user_cache() -> Path:
    """The folder for what can be had again: that which SBMLGRAD_CACHE names, else one in the user's cache folder."""
    return Path(os.environ.get("SBMLGRAD_CACHE") or user_cache_dir("sbmlgrad", appauthor=False))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file, or what comes through a pipe.

    Raises :class:`OSError` as opening does, and :class:`ValueError` for a device, for more than 1 GiB, and for a pipe
    that is still open after a minute.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(str(path))
    # a pipe that nobody writes to must not stop us: opened so, it is empty
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        kind, size = status.st_mode, status.st_size
        if stat.S_ISREG(kind):
            content = file.readall() if size <= _LARGEST else b""
        elif stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            content = _through_pipe(descriptor)
            size = len(content)
        else:
            raise ValueError("this is a device, not a file")
    if size > _LARGEST:
        raise ValueError(f"more than {_LARGEST // 2**30} GiB")
    return content


def _through_pipe(descriptor: int) -> bytes:
    content, end = bytearray(), time.monotonic() + _LONGEST_WAIT
    while len(content) <= _LARGEST:
        if time.monotonic() > end:
            raise ValueError(f"a pipe that is still open after {_LONGEST_WAIT:g} s")
        try:
            part = os.read(descriptor, 2**20)
        except BlockingIOError:  # there will be more
            select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
            continue
        if not part:
            break
        content += part
    return bytes(content)


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise :class:`SbmlgradError` where a file could not be written, before the work begins that fills it."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise SbmlgradError(f"{path}: cannot be written, this is a folder; name a file")
    if not target.parent.is_dir():
        raise SbmlgradError(f"{path}: cannot be written, there is no folder {target.parent}; create it first")
    if target.is_file() or not target.exists():  # devices are written in place
        check_writable(target.parent, path)


def check_writable(folder: Path, given: str | os.PathLike[str]) -> None:
    """Raise :class:`SbmlgradError` where a folder takes no files; ``given`` is what it is for, in the user's words."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SbmlgradError(f"{given}: cannot be written: {error.strerror}; choose another place") from None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    Links are followed, and the mode of a file that was there is kept. A pipe or a device, which must not be
    replaced, is written to directly. What processes that were killed have left of this path is removed.

    Raises :class:`SbmlgradError` if the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        if target.is_fifo():
            with _read_by_somebody(target):
                yield target
            return
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        _remove_leftovers(target)
        temporary = _temporary(target)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on disk before it takes the old one's place
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        raise SbmlgradError(f"{path}: cannot be written: {error.strerror}; choose another place") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextmanager
def _read_by_somebody(pipe: Path) -> Iterator[None]:
    """Keep a pipe open that has a reader; without one, opening it would have no end."""
    end = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > end:
                raise OSError(errno.ENXIO, "nobody reads from this pipe") from None
            time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)


def _temporary(target: Path) -> Path:
    """A new file beside ``target`` whose name nobody can know before."""
    path = target.with_name(f"{_beginning(target)}{os.getpid()}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return path


def _beginning(target: Path) -> str:
    """How the names of temporary files for ``target`` begin on this machine; elsewhere process numbers differ."""
    name, machine = os.fsencode(target.name), zlib.crc32(os.fsencode(platform.node()))
    return f".{target.name if len(name) <= _LONGEST_NAME else f'{zlib.crc32(name):08x}'}.{machine:08x}."


def _remove_leftovers(target: Path) -> None:
    """Remove temporary files for ``target`` of processes that are no more; others may be at work on it."""
    form = re.compile(re.escape(_beginning(target)) + r"([0-9]+)\.[0-9a-f]{16}\.tmp")
    with contextlib.suppress(OSError):
        for name in os.listdir(target.parent):
            match = form.fullmatch(name)
            if match and not _is_running(int(match[1])):
                with contextlib.suppress(OSError):
                    target.with_name(name).unlink()


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # there, asking would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text completely or not at all; raises :class:`SbmlgradError`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
