"""What JAX and Numba have compiled is kept for the next process, in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.files import user_cache

_LIMIT = "SBMLGRAD_COMPILED_MB"
_MEGABYTES = 256
_WORTHWHILE = 0.05  # seconds: what compiles faster is not kept


def keep_compiled() -> None:
    """Have JAX keep what it compiles, up to so many megabytes, of which the longest unused are dropped.

    The environment variable SBMLGRAD_COMPILED_MB says how many; 0 switches it off. Where JAX was told of a folder of
    its own, or nothing can be written, nothing is changed.
    """
    megabytes = _megabytes()
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    folder = _folder()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", megabytes << 20)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTHWHILE)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def compiled_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loop over arrays, compiled by Numba at its first call, and kept for the next process as other code is."""
    return _compiled(function, inlined=False)


def compiled_part(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of such loops, compiled anew in each that calls it, so that calls cost nothing."""
    return _compiled(function, inlined=True)


def _compiled(function: Callable[..., Any], inlined: bool) -> Callable[..., Any]:
    import numba  # takes most of a second, and few models need it

    config: Any = numba.config
    folder, before = _folder(), config.CACHE_DIR
    config.CACHE_DIR = "" if folder is None else str(folder)  # where a decorator looks, as of now
    try:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "forceinline": inlined}
        options["_nrt"] = False  # nothing is made in them, and to count references took three quarters of the time
        compiled: Callable[..., Any] = numba.njit(**options, cache=folder is not None)(function)
    finally:
        config.CACHE_DIR = before
    return compiled


def _folder() -> Path | None:
    """Where compiled code is kept, made if need be; None where it is switched off or nothing can be written."""
    if not _megabytes():
        return None
    folder = user_cache() / "compiled" / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def use_nothing_kept() -> None:
    """Have JAX compile everything itself in this process, as a measurement of compilation must."""
    jax.config.update("jax_enable_compilation_cache", False)


def _megabytes() -> int:
    said = os.environ.get(_LIMIT) or str(_MEGABYTES)
    if not said.isdecimal():
        raise SbmlgradError(f"{_LIMIT}: expected a whole number of megabytes, 0 for no cache, got {said!r}")
    return int(said)


def _machine() -> str:
    """A name for what a processor can do, since code for one may not run on another that shares the folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    abilities = next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())
    return f"{platform.machine() or 'machine'}-{hashlib.sha256(abilities.encode()).hexdigest()[:16]}"
