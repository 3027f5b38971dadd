"""Files of the user: where they are kept, and how they are written, completely or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir

from sbmlgrad.errors import SbmlgradError


def user_cache() -> Path:
    """The folder for what can be had again: that which SBMLGRAD_CACHE names, else one in the user's cache folder."""
    return Path(os.environ.get("SBMLGRAD_CACHE") or user_cache_dir("sbmlgrad", appauthor=False))


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    Links are followed, and the mode of a file that was there is kept. A pipe or a device, which must not be
    replaced, is written to directly.

    Raises :class:`SbmlgradError` if the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on disk before it takes the old one's place
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        raise SbmlgradError(f"{path}: cannot be written: {error.strerror}; choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text completely or not at all; raises :class:`SbmlgradError`."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
