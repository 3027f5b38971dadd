"""Networks as data: propensities that are a number times a product of counts, in arrays instead of functions.

A reaction of ``k*A*B`` is a number and two species, one of ``k*A*(A - 1)`` a number, twice the same species, and the
offsets 0 and 1. What is no product, such as ``1/(K + A)``, is a factor more, in instructions
(:mod:`~sbmlgrad.network.law_code`). What depends on what is read off, and other values of parameters are other numbers
in the same arrays, so that one compiled loop serves every network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.network.discretise import OfCounts
from sbmlgrad.network.graph import Graph
from sbmlgrad.network.law_code import Coder, LawCode
from sbmlgrad.network.network import ReactionNetwork
from sbmlgrad.network.numpy_program import NumpyProgram
from sbmlgrad.network.program import Program


class Lists(NamedTuple):
    """A list of numbers for each of some things, one after the other: list ``i`` is items[starts[i]:starts[i + 1]]."""

    starts: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Lists:
        """Those of plain lists."""
        starts = np.cumsum([0, *map(len, lists)], dtype=np.int64)
        return cls(starts, np.fromiter((item for items in lists for item in items), np.int64, int(starts[-1])))

    @property
    def owners(self) -> np.ndarray:
        """To which list each item belongs (items,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


class Numbers(NamedTuple):
    """What parameters decide: a constant of each reaction, an offset of each factor, numbers in instructions."""

    constants: np.ndarray
    offsets: np.ndarray
    in_code: np.ndarray = np.zeros(0)


@dataclass(frozen=True, eq=False)
class MassAction:
    """Reactions whose propensities are ``constant * product(count[species] - offset)``, times what instructions say.

    Attributes
    ----------
    size
        How many species there are.
    factors
        The species of the factors of each reaction.
    needs, least
        Species without so many molecules of which a reaction does not fire, whatever its factors say (needs,).
    jumps, changes
        The species that a reaction changes, and by how much (jumps,).
    plain
        Whether a factor has no offset, whatever the values of parameters (factors,).
    numbers
        The :class:`Numbers` that belong to coefficients, as ``network.rates`` takes them.
    constants_program
        The same as a program of a graph, its outputs the constants, then the offsets of factors that are not plain, and
        the numbers in instructions; None where they are given.
    code
        The instructions for what is no product; None where all laws are products.
    """

    size: int
    factors: Lists
    needs: Lists
    least: np.ndarray
    jumps: Lists
    changes: np.ndarray
    plain: np.ndarray
    numbers: Callable[[Sequence[Any]], Numbers]
    constants_program: Program | None = field(default=None, repr=False)
    code: LawCode | None = field(default=None, repr=False)

    @property
    def reactions(self) -> int:
        """How many reactions there are."""
        return len(self.factors.starts) - 1

    @cached_property
    def dependents(self) -> Dependents:
        """Which propensities follow which species."""
        return Dependents.of(self)

    @cached_property
    def updates(self) -> float:
        """How many propensities change when a reaction fires, on average over the reactions."""
        touched = np.diff(self.dependents.starts)[self.jumps.items]
        return float(touched.sum()) / max(self.reactions, 1)

    @cached_property
    def instructions(self) -> float:
        """How many instructions are followed when a reaction fires, on average over the reactions."""
        if self.code is None:
            return 0.0
        lengths = np.concatenate([[0], np.cumsum(np.diff(self.code.starts)[self.dependents.reactions])])
        of_species = np.diff(lengths[self.dependents.starts])
        return float(of_species[self.jumps.items].sum()) / max(self.reactions, 1)

    def holds(self, coefficients: Sequence[Any]) -> bool:
        """Whether it says what the laws say: not of ``k*(1 + a*A)`` at ``a`` = 0, which is no line with an offset."""
        return bool(self.plain.all() or np.all(np.isfinite(self.numbers(coefficients).offsets)))

    def propensities(self, x: np.ndarray, numbers: Numbers) -> np.ndarray:
        """The propensities (reactions, batch) at counts (species, batch)."""
        factors = x[self.factors.items] - numbers.offsets[:, None]
        values = numbers.constants[:, None] * _by_list(np.multiply, factors, self.factors, 1.0)
        if self.code is not None:
            values = values * self.code.values(x, numbers.in_code)
        enough = _by_list(np.minimum, (x[self.needs.items] >= self.least[:, None]).astype(float), self.needs, 1.0)
        return np.where(enough > 0, values, 0.0)

    @classmethod
    def of_arrays(
        cls,
        size: int,
        constants: np.ndarray,
        factors: Lists,
        offsets: np.ndarray,
        jumps: Lists,
        changes: np.ndarray,
    ) -> MassAction:
        """A network of given numbers: constants (reactions,), offsets (factors,) and changes (jumps,)."""
        numbers = Numbers(np.asarray(constants, np.float64), np.asarray(offsets, np.float64))
        none = Lists(np.zeros(len(constants) + 1, np.int64), np.zeros(0, np.int64))
        plain = numbers.offsets == 0
        return cls(size, factors, none, np.zeros(0), jumps, np.asarray(changes, float), plain, lambda _: numbers)


def _by_list(operation: np.ufunc, values: np.ndarray, lists: Lists, empty: float) -> np.ndarray:
    """Values (items, batch) of each list put together (lists, batch)."""
    result = np.full((len(lists.starts) - 1, *values.shape[1:]), empty)
    filled = np.flatnonzero(np.diff(lists.starts))
    if len(filled):
        result[filled] = operation.reduceat(values, lists.starts[filled], axis=0)
    return result


class Dependents(NamedTuple):
    """For each species the reactions that follow it, in three runs.

    From ``starts[s]`` those that are a constant times its count, from ``pairs[s]`` those that are a constant times its
    count and that of one other species, ``partners``, and from ``others[s]`` to ``starts[s + 1]`` all others.
    """

    starts: np.ndarray
    pairs: np.ndarray
    others: np.ndarray
    reactions: np.ndarray
    partners: np.ndarray

    @property
    def runs(self) -> tuple[np.ndarray, ...]:
        """Where each species' runs begin, and where the last ends (species,)."""
        return self.starts[:-1], self.pairs, self.others, self.starts[1:]

    @classmethod
    def of(cls, network: MassAction) -> Dependents:
        """Those of a network, in a time linear in its size."""
        factors, needs, size = network.factors, network.needs, network.size
        order = np.diff(factors.starts)
        is_simple = (order >= 1) & (order <= 2) & (np.diff(needs.starts) == 0)
        is_simple[factors.owners[~network.plain]] = False
        none = np.zeros(0, np.int64)
        coded, read = (none, none) if network.code is None else network.code.reads
        is_simple[coded] = False
        first, last = factors.starts[:-1], factors.starts[1:] - 1
        two = np.flatnonzero(is_simple & (order == 2))
        same = two[factors.items[first[two]] == factors.items[last[two]]]
        is_simple[same] = False
        owner, species = factors.owners, factors.items
        partner = np.full(len(species), -1, np.int64)
        two = np.flatnonzero(is_simple & (order == 2))
        partner[first[two]], partner[last[two]] = species[last[two]], species[first[two]]
        kind = np.where(is_simple, order - 1, 2)
        keys = np.stack(
            [
                np.concatenate([species, needs.items, read]),
                np.concatenate([kind[owner], np.full(len(needs.items) + len(read), 2)]),
                np.concatenate([owner, needs.owners, coded]),
                np.concatenate([partner, np.full(len(needs.items) + len(read), -1)]),
            ]
        )
        keys = np.unique(keys, axis=1) if keys.shape[1] else keys
        runs = np.searchsorted(3 * keys[0] + keys[1], np.arange(3 * size + 1))
        return cls(runs[::3], runs[1::3], runs[2::3], keys[2], keys[3])


def mass_action_of(network: ReactionNetwork) -> MassAction | None:
    """The network as data; None where a law follows more than counts, is very long, or is a function from Python."""
    found = _found(network)
    return found if isinstance(found, MassAction) else None


def not_as_data(network: ReactionNetwork) -> str:
    """Why a network is not data, in words; empty if it is."""
    found = _found(network)
    return found if isinstance(found, str) else ""


def _found(network: ReactionNetwork) -> MassAction | str:
    kept = network.compiled
    if "mass action" not in kept:
        kept["mass action"] = _read(network)
    found: MassAction | str = kept["mass action"]
    return found


def _read(network: ReactionNetwork) -> MassAction | str:
    """The network as data, or why it is none."""
    rates = network.rates
    if not isinstance(rates, OfCounts) or rates.program is None:
        return "the propensities are a function from Python"
    if rates.timed is not None:
        return "laws may follow time"
    program = rates.program
    products = _Products(program.graph, program.inputs[1 : 1 + len(network.species)])
    laws = []
    coder, code = Coder(program.graph, products.species), []
    for name, output in zip(network.reactions, program.outputs, strict=True):
        law = products.of(output)
        rows = coder.of(law.formulas) if law.formulas else []
        if rows is None:
            return f"the law of reaction {name!r} is too long, or follows more than numbers of molecules"
        laws.append(law)
        code.append(rows)
    return _assembled(network, program, laws, coder, code)


def _assembled(
    network: ReactionNetwork,
    program: Program,
    laws: Sequence[_Product],
    coder: Coder,
    code: Sequence[Sequence[tuple[int, int, int, int]]],
) -> MassAction:
    graph, zero = program.graph, program.graph.constant(0.0)
    factors = [factor for law in laws for factor in law.factors]
    needs = [need for law in laws for need in law.needs]
    plain = np.array([offset == zero for _, offset in factors], bool)
    constants = [graph.quotient(graph.product(law.above), graph.product(law.below)) for law in laws]
    offsets = [offset for _, offset in factors if offset != zero]
    of_coefficients = Program(graph, program.inputs, (*constants, *offsets, *coder.numbers))
    run, before = NumpyProgram(of_coefficients), 1 + len(network.species)

    def numbers(coefficients: Sequence[Any]) -> Numbers:
        inputs = np.zeros(len(program.inputs))
        inputs[before : before + len(coefficients)] = [float(value) for value in coefficients]
        values, all_offsets = run(inputs), np.zeros(len(plain))
        all_offsets[~plain] = values[len(laws) : len(laws) + len(offsets)]
        return Numbers(values[: len(laws)], all_offsets, values[len(laws) + len(offsets) :])

    columns, starts = network.columns, np.cumsum([0, *map(len, code)], dtype=np.int64)
    rows = np.array([row for rows in code for row in rows], np.uint32).reshape(-1, 4)
    return MassAction(
        size=len(network.species),
        factors=Lists.of([[species for species, _ in law.factors] for law in laws]),
        needs=Lists.of([[species for species, _ in law.needs] for law in laws]),
        least=np.array([least for _, least in needs], float),
        jumps=Lists(columns.starts, columns.rows),
        changes=columns.values.astype(np.float64),
        plain=plain,
        numbers=numbers,
        constants_program=of_coefficients,
        code=LawCode(starts, rows) if len(rows) else None,
    )


class _Product(NamedTuple):
    """A law: nodes of numbers above and below the line, (species, node of its offset), (species, least number), and
    nodes of factors that are no lines in one count."""

    above: list[int]
    below: list[int]
    factors: list[tuple[int, int]]
    needs: list[tuple[int, float]]
    formulas: list[int]

    def times(self, other: _Product) -> _Product:
        return _Product(
            self.above + other.above,
            self.below + other.below,
            self.factors + other.factors,
            self.needs + other.needs,
            self.formulas + other.formulas,
        )


class _Products:
    """Nodes of a graph read as products."""

    def __init__(self, graph: Graph, counts: Iterable[int]):
        self.graph = graph
        self.species = {node: index for index, node in enumerate(counts)}
        self.zero, self.one, self.minus_one = (graph.constant(value) for value in (0.0, 1.0, -1.0))

    def of(self, index: int) -> _Product:
        if index not in self.graph.moving:
            return _Product([index], [], [], [], [])
        node = self.graph.nodes[index]
        if node.operation == "mul":
            return self.of(node.args[0]).times(self.of(node.args[1]))
        if node.operation == "div" and node.args[1] not in self.graph.moving:
            return self.of(node.args[0]).times(_Product([], [node.args[1]], [], [], []))
        if node.operation == "div" and node.args[0] != self.one:
            return self.of(node.args[0]).times(self.of(self.graph.quotient(self.one, node.args[1])))
        if node.operation == "neg":
            return self.of(node.args[0]).times(_Product([self.minus_one], [], [], [], []))
        if node.operation == "where" and node.args[2] == self.zero:
            needs = self._needs(node.args[0])
            if needs is not None:
                return self.of(node.args[1]).times(_Product([], [], [], needs, []))
        return self._line(index) or _Product([], [], [], [], [index])

    def _line(self, index: int) -> _Product | None:
        """A factor that is a line in one count: slope * (count - offset)."""
        line = self._slope_and_height(index)
        if line is None:
            return None
        species, slope, height = line
        graph = self.graph
        offset = self.zero if height == self.zero else graph.quotient(graph.add("neg", height), slope)
        value = graph.value(height)
        if value is not None and slope == self.one:
            offset = graph.constant(0.0 - value)
        return _Product([slope], [], [(species, offset)], [], [])

    def _slope_and_height(self, index: int) -> tuple[int, int, int] | None:
        """Species, slope and height of ``slope * count + height``, the latter as nodes that do not move."""
        graph, node = self.graph, self.graph.nodes[index]
        if index in self.species:
            return self.species[index], self.one, self.zero
        if len(node.args) != 2 or node.operation not in ("add", "sub", "mul", "div"):
            return None
        left, right = node.args
        if right in graph.moving:
            if node.operation == "div" or left in graph.moving:
                return None
            left, right = right, left
        line = self._slope_and_height(left)
        if line is None:
            return None
        species, slope, height = line
        if node.operation in ("mul", "div"):
            combine = graph.quotient if node.operation == "div" else lambda a, b: graph.product([a, b])
            return species, combine(slope, right), height if height == self.zero else combine(height, right)
        if node.operation == "add":
            return species, slope, right if height == self.zero else graph.add("add", height, right)
        if left == node.args[0]:
            return species, slope, graph.add("sub", height, right)
        return species, graph.add("neg", slope), graph.add("sub", right, height)

    def _needs(self, index: int) -> list[tuple[int, float]] | None:
        """What a condition asks for: at least so many molecules of each of some species."""
        node = self.graph.nodes[index]
        if node.operation == "and":
            first, second = self._needs(node.args[0]), self._needs(node.args[1])
            return None if first is None or second is None else first + second
        if node.operation != "ge" or node.args[0] not in self.species:
            return None
        least = self.graph.value(node.args[1])
        return None if least is None else [(self.species[node.args[0]], least)]
