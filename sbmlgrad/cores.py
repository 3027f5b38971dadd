"""How many cores work at once: all that this process may use, unless told otherwise."""

from __future__ import annotations

import os

_chosen: int | None = None


def use_cores(number: int | None) -> None:
    """Let so many threads simulate at once from now on; None for one a core. No result depends on it."""
    global _chosen
    _chosen = number


def cores() -> int:
    """How many threads simulate at once."""
    if _chosen is not None:
        return _chosen
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
