"""The jumps of a process on counts, looked up by species: how sums of counts change, and which are conserved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any

import numpy as np

Jump = tuple[tuple[str, int], ...]


class Jumps:
    """Changes of counts, each kind once, whichever its direction.

    Nothing keeps the counts of species in ``free`` within what is conserved.
    """

    def __init__(self, jumps: Iterable[Mapping[str, int]], free: AbstractSet[str] = frozenset()):
        kinds: dict[Jump, None] = dict.fromkeys(_undirected(jump) for jump in jumps)
        self.kinds = tuple(kind for kind in kinds if kind)
        self.free = free
        self._kinds_of: dict[str, list[int]] = {}
        for index, kind in enumerate(self.kinds):
            for species, _ in kind:
                self._kinds_of.setdefault(species, []).append(index)

    def changes(self, weights: Mapping[str, float]) -> list[float]:
        """By how much a weighted sum of counts may change at once, up to its sign, where it changes at all."""
        indices = {index for species in weights for index in self._kinds_of.get(species, ())}
        sums = (sum(weights.get(s, 0.0) * change for s, change in self.kinds[index]) for index in sorted(indices))
        return [change for change in sums if change != 0]

    def conserve(self, counts: Mapping[str, float], weights: Mapping[str, float], most: float, rounding: float) -> bool:
        """Whether a sum of ``counts`` that no jump changes, with no weight below these, is at most ``most``."""
        if not weights.keys() <= self._conserved or not all(np.isfinite(counts[s]) for s in self._conserved):
            return False
        # few models have such sums left to ask for, and all would wait for what they need
        from scipy.optimize import linprog

        species, matrix = self._matrix
        least = np.array([weights.get(s, 0.0) for s in species])
        amounts = np.array([counts[s] for s in species])
        bounds = np.stack([least, np.full_like(least, np.inf)], axis=1)
        solution = linprog(amounts, A_eq=matrix, b_eq=np.zeros(matrix.shape[0]), bounds=bounds)
        if solution.x is None or solution.fun > most * (1 + rounding):
            return False
        found = np.round(solution.x, 6)  # what the solver leaves of rounding
        exact = bool(np.all(np.abs(matrix @ found) <= rounding) and np.all(found >= least * (1 - rounding)))
        return exact and bool(found @ amounts <= most * (1 + rounding))

    @cached_property
    def _conserved(self) -> AbstractSet[str]:
        """The species that a conserved sum without negative weights may hold.

        Not those that are made of nothing or vanish, nor those that are then all that is left on a side of a jump.
        """
        sides = [(_on(1, kind) - self.free, _on(-1, kind) - self.free) for kind in self.kinds]
        conserved = set(self._kinds_of) - self.free
        pending = list(range(len(sides)))
        while pending:
            taken, made = sides[pending.pop()]
            for species in () if taken and made else (*taken, *made):
                conserved.discard(species)
                for index in self._kinds_of[species]:
                    for side in sides[index]:
                        side.discard(species)
                    pending.append(index)
        return conserved

    @cached_property
    def _matrix(self) -> tuple[list[str], Any]:
        """Those species, and a row for every kind of jump that changes some of them."""
        from scipy.sparse import csr_array

        columns = {species: column for column, species in enumerate(sorted(self._conserved))}
        entries = [
            (row, columns[species], change)
            for row, kind in enumerate(self.kinds)
            for species, change in kind
            if species in columns
        ]
        rows, places, values = (np.array(part) for part in zip(*entries, strict=True))
        shape = (len(self.kinds), len(columns))
        return list(columns), csr_array((values.astype(float), (rows, places)), shape=shape)


def _on(sign: int, kind: Collection[tuple[str, int]]) -> set[str]:
    return {species for species, change in kind if change * sign > 0}


def _undirected(jump: Mapping[str, int]) -> Jump:
    items = sorted((species, change) for species, change in jump.items() if change)
    sign = 1 if not items or items[0][1] > 0 else -1
    return tuple((species, sign * change) for species, change in items)
