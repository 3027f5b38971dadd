"""How long a switching observable dwelt at each level, with a resolution imposed on the record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sbmlgrad.errors import SimulationError

_ROUNDED = 1e-9  # of a resolution, that a stay of just that length may be off by


@dataclass(frozen=True, eq=False)
class DwellRecord:
    """Apparent sojourns of one observable, in the order in which they were seen; arrays (sojourns,).

    Attributes
    ----------
    observable, resolution
        Its id, and what the shortest stay that was seen lasts; 0 where all were seen.
    level, begin, duration
        What was seen, from when on, and for how long.
    after
        The level of the next sojourn; nan where the record ends before one was seen.
    first
        Where a record begins.
    """

    observable: str
    resolution: float
    level: np.ndarray
    begin: np.ndarray
    duration: np.ndarray
    after: np.ndarray
    first: np.ndarray

    @property
    def size(self) -> int:
        """How many there are whose end was seen."""
        return int(np.sum(~np.isnan(self.after)))

    @classmethod
    def of(
        cls, observable: str, records: Iterable[tuple[np.ndarray, np.ndarray]], resolution: float = 0.0
    ) -> DwellRecord:
        """Those of records of increasing times (m,) and the level (m,) from each of them on.

        A stay that is shorter than the resolution counts as a part of the apparent sojourn before it (Colquhoun &
        Sigworth 1983), and a record begins with the first that is not. The last row says which level came next, or,
        where that is the level before, until when this was seen.

        Raises :class:`SimulationError` where no sojourn is left.
        """
        parts = [part for part in (_sojourns(times, levels, resolution) for times, levels in records) if len(part[0])]
        if not parts:
            shorter = f" that are not shorter than {resolution:g}" if resolution else ""
            raise SimulationError(
                f"{observable!r} has no two levels{shorter} one after the other; give a longer record"
            )
        level, begin, duration, after = (np.concatenate(column) for column in zip(*parts, strict=True))
        first = np.concatenate([np.arange(len(part[0])) == 0 for part in parts])
        return cls(observable, resolution, level, begin, duration, after, first)


def _sojourns(times: np.ndarray, levels: np.ndarray, resolution: float) -> tuple[np.ndarray, ...]:
    """Level, begin, duration and the level after of each apparent sojourn of one record."""
    changed = np.append(True, levels[1:] != levels[:-1])
    begin, level = times[changed], levels[changed]
    shortest, last = resolution * (1 - _ROUNDED), times[-1] - begin[-1]
    seen = np.append(np.diff(begin) >= shortest, last == 0 or last >= shortest)
    begin, level = begin[seen], level[seen]
    apart = np.append(True, level[1:] != level[:-1])
    begin, level = begin[apart], level[apart]
    end, after = np.append(begin[1:], times[-1]), np.append(level[1:], np.nan)
    lasting = end > begin
    return level[lasting], begin[lasting], (end - begin)[lasting], after[lasting]
