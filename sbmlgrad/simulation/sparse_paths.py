"""What is followed along trajectories of large sparse networks, for derivatives: the parts of their scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.network.law_code import LawCode


class Parts(NamedTuple):
    """What was followed, at times of trajectories.

    How many reactions of each kind have ``fired`` and were ``due``, the integral of their propensities (kinds, times,
    n). For each direction the derivatives of the logarithms of propensities summed over what has fired,
    ``fired_inside`` (directions, times, n), and integrals of derivatives of propensities, ``due_inside``
    (directions, kinds, times, n).
    """

    fired: np.ndarray
    due: np.ndarray
    fired_inside: np.ndarray
    due_inside: np.ndarray


@dataclass(frozen=True, eq=False)
class Followed:
    """Reactions are of ``kinds`` (reactions,), whole numbers from 0 on, which are counted apart.

    ``tangents`` (directions, numbers) are derivatives of the numbers in instructions, the ``code``, to be followed too.
    """

    kinds: np.ndarray
    tangents: np.ndarray
    code: LawCode | None

    @property
    def count(self) -> int:
        """How many kinds there are."""
        return int(self.kinds.max()) + 1

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Reactions and directions that move what is inside their laws: (pairs,) each, by reaction."""
        if self.code is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        reactions, directions = np.nonzero(self.code.moved_by(self.tangents))
        return reactions, directions

    @cached_property
    def slots(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of a direction and a kind that there are, as one number each (slots,); that of each pair (pairs,)."""
        reactions, directions = self.pairs
        there, of = np.unique(directions * self.count + self.kinds[reactions], return_inverse=True)
        return there, of

    @property
    def recorded(self) -> int:
        """How many numbers are written down of a trajectory at a time."""
        return 2 * self.count + len(self.tangents) + len(self.slots[0])

    def parts(self, records: np.ndarray) -> Parts:
        """Of records (recorded, times, n)."""
        count, directions = self.count, len(self.tangents)
        fired, due, inside, rest = np.split(records, np.cumsum([count, count, directions]))
        due_inside = np.zeros((directions * count, *records.shape[1:]))
        due_inside[self.slots[0]] = rest
        return Parts(fired, due, inside, due_inside.reshape(directions, count, *records.shape[1:]))

    def arrays(self) -> Any:
        """Room to follow a trajectory, as the compiled loop takes it."""
        count = self.count
        sums, fired, due = np.zeros(count, np.int64), np.zeros(count), np.zeros(count)
        kinds = self.kinds.astype(np.uint32)
        return import_module("sbmlgrad.simulation.sparse_loop").Kinds(kinds, sums, fired, due, self._slopes())

    def _slopes(self) -> Any:
        reactions, directions = self.pairs
        if self.code is None or not len(reactions):
            return None
        (slots, of), pairs, loop = self.slots, len(reactions), import_module("sbmlgrad.simulation.sparse_slopes")
        active = np.zeros(len(self.code.rows), bool)
        loop.mark(active, self.code.starts, self.code.rows, self.tangents.any(axis=0))
        return loop.Slopes(
            starts=np.searchsorted(reactions, np.arange(len(self.kinds) + 1)).astype(np.uint32),
            directions=directions.astype(np.uint32),
            active=active,
            slots=of.astype(np.uint32),
            tangents=self.tangents,
            adjoints=np.zeros(self.code.longest),
            rates=np.zeros(pairs),
            relative=np.zeros(pairs),
            sums=np.zeros(len(slots)),
            fired=np.zeros(len(self.tangents)),
            due=np.zeros(len(slots)),
        )
