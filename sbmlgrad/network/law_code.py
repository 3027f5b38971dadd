"""Laws that are no products of counts, as data: what a small machine has to do, instruction by instruction.

An instruction is a row of four whole numbers: an operation and up to three arguments. The first writes register 0, the
next register 1, and so on; arguments are registers, but that ``count`` takes a species and ``number`` the index of a
value that parameters decide. The last register is the value of the law. A network of ten thousand such laws is a longer
table, and nothing is compiled for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.model.elementary import ELEMENTARY
from sbmlgrad.network.graph import Graph
from sbmlgrad.network.numpy_program import NUMPY_OPERATIONS

_FUNCTIONS = tuple(item.name for item in ELEMENTARY)
OPERATIONS = ("count", "number", *(name for name in NUMPY_OPERATIONS if name not in _FUNCTIONS), *_FUNCTIONS)
"""The operations by their codes."""
LONGEST = 256  # instructions in a law


class LawCode(NamedTuple):
    """The instructions ``rows`` (instructions, 4) of each reaction, from ``starts[j]`` to ``starts[j + 1]``.

    A reaction without any has no factor beside those of a product of counts.
    """

    starts: np.ndarray
    rows: np.ndarray

    @property
    def owners(self) -> np.ndarray:
        """The reaction of each instruction."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @property
    def longest(self) -> int:
        """How many registers are needed."""
        return int(np.diff(self.starts).max(initial=0))

    @property
    def reads(self) -> tuple[np.ndarray, np.ndarray]:
        """Which reactions follow which species: (reads,) each, sorted, each pair once."""
        counts = self.rows[:, 0] == OPERATIONS.index("count")
        pairs = np.unique(np.stack([self.owners[counts], self.rows[counts, 1].astype(np.int64)]), axis=1)
        return pairs[0], pairs[1]

    @property
    def has_factorials(self) -> bool:
        """Whether there is an operation among them whose derivative is not known here."""
        return bool(np.any(self.rows[:, 0] == OPERATIONS.index("factorial")))

    def moved_by(self, tangents: np.ndarray) -> np.ndarray:
        """Which reactions' instructions have a number with a derivative, of those (directions, numbers) of all.

        Returns (reactions, directions).
        """
        read = self.rows[:, 0] == OPERATIONS.index("number")
        moved = np.zeros((len(self.starts) - 1, len(tangents)), bool)
        np.logical_or.at(moved, self.owners[read], tangents.T[self.rows[read, 1]] != 0)
        return moved

    def values(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The factors (reactions, batch) at counts (species, batch), 1 of reactions without instructions."""
        result = np.ones((len(self.starts) - 1, *x.shape[1:]))
        with np.errstate(all="ignore"):
            for reaction in np.flatnonzero(np.diff(self.starts)).tolist():
                registers: list[Any] = []
                for code, a, b, c in self.rows[self.starts[reaction] : self.starts[reaction + 1]].tolist():
                    name = OPERATIONS[code]
                    if name in ("count", "number"):
                        registers.append((x if name == "count" else numbers)[a])
                    else:
                        args = [registers[arg] for arg in (a, b, c)[: _ARGUMENTS.get(name, 1)]]
                        registers.append(NUMPY_OPERATIONS[name](*args) + 0.0)
                result[reaction] = registers[-1]
        return result


_ARGUMENTS: Mapping[str, int] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "pow", "max", "min", "rem", "quotient"), 2),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor"), 2),
    "where": 3,
}
_CODES = {name: code for code, name in enumerate(OPERATIONS)}


class Coder:
    """Instructions for nodes of a graph; ``numbers`` are the nodes of values that do not move, in their order."""

    def __init__(self, graph: Graph, species: Mapping[int, int]):
        self.graph, self.species, self.given = graph, species, _Given(graph, species)
        self.numbers: dict[int, int] = {}

    def of(self, factors: Sequence[int]) -> list[tuple[int, int, int, int]] | None:
        """Those of the product of some nodes; None where it is too long, or follows more than counts."""
        graph = self.graph
        rows: list[tuple[int, int, int, int]] = []
        registers: dict[int, int] = {}
        for index in graph.reachable(factors, self.given):
            node, args = graph.nodes[index], [0, 0, 0]
            if index in self.species:
                name, args[0] = "count", self.species[index]
            elif index in self.given:
                name, args[0] = "number", self.numbers.setdefault(index, len(self.numbers))
            elif node.operation in _CODES:
                name = node.operation
                args[: len(node.args)] = [registers[arg] for arg in node.args]
            else:
                return None
            registers[index] = len(rows)
            rows.append((_CODES[name], args[0], args[1], args[2]))
            if len(rows) > LONGEST:
                return None
        last = registers[factors[0]]
        for factor in factors[1:]:
            rows.append((_CODES["mul"], last, registers[factor], 0))
            last = len(rows) - 1
        return rows


class _Given:
    """The nodes that need no instructions of their own: counts, and what does not move, also of those yet to come."""

    def __init__(self, graph: Graph, species: Mapping[int, int]):
        self.graph, self.species = graph, species

    def __contains__(self, index: object) -> bool:
        return index in self.species or index not in self.graph.moving
