"""What JAX has compiled is kept for the next process, in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

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
    if not megabytes or jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    folder = user_cache() / "compiled" / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", megabytes << 20)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTHWHILE)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


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
