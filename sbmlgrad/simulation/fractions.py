"""Numbers of molecules that are not whole: said once for each run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sbmlgrad.errors import warn_user
from sbmlgrad.simulation.random import is_whole


def fractional(names: Sequence[str], counts: Sequence[float] | np.ndarray) -> list[str]:
    """The names of counts that are not whole."""
    return [name for name, count in zip(names, counts, strict=True) if np.isfinite(count) and not is_whole(count)]


def warn_of_fractions(source: str, at_start: Sequence[str], at_events: Sequence[str] = ()) -> None:
    """Say of which species the number of molecules was not whole, if of any."""
    parts = []
    if at_start:
        parts.append(f"{_listed(at_start)} {_verb(at_start)} from a number of molecules that is not whole")
    if at_events:
        parts.append(f"events set {_listed(at_events)} to numbers of molecules that are not whole")
    if parts:
        text = (
            f"{source}: {'; '.join(parts)}: one of the two whole numbers beside it is drawn, so that the mean is kept"
        )
        warn_user(text)


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _verb(names: Sequence[str]) -> str:
    return "starts" if len(names) == 1 else "start"
