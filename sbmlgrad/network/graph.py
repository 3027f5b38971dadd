"""Expressions as a graph of elementary operations.

A formula becomes nodes, each value once however often it is used, and nothing of it becomes text.
:mod:`sbmlgrad.network.program` runs parts of a graph in JAX.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy

from sbmlgrad.model.elementary import ELEMENTARY, INVERTED
from sbmlgrad.model.functions import delayed, draw, quotient, rem

Environment = Mapping[sympy.Symbol, int]
_TRUE: dict[Any, str] = {
    sympy.Lt: "lt",
    sympy.Le: "le",
    sympy.Gt: "gt",
    sympy.Ge: "ge",
    sympy.Eq: "eq",
    sympy.Ne: "ne",
}
_UNARY: dict[Any, str] = {**{function.symbol: function.name for function in ELEMENTARY}, sympy.Not: "not"}
_INVERTED = {item.symbol: item for item in INVERTED}
_FOLDED: dict[Any, str] = {
    sympy.Max: "max",
    sympy.Min: "min",
    sympy.And: "and",
    sympy.Or: "or",
    sympy.Xor: "xor",
}
RELATIONS = frozenset(_TRUE.values())
LOGIC = frozenset(("and", "or", "xor", "not"))
_LARGEST_PRODUCT = 8  # a power up to this is written as multiplications


@dataclass(frozen=True)
class Node:
    """An operation on other nodes, by their numbers; ``detail`` is an input's name, a number, or what is drawn."""

    operation: str
    args: tuple[int, ...] = ()
    detail: Any = None


@dataclass(eq=False)
class Graph:
    """Nodes in an order in which each comes after its arguments; equal ones stand once."""

    nodes: list[Node] = field(default_factory=list)
    moving: set[int] = field(default_factory=set, repr=False)
    """The nodes that follow inputs that move; sums and products keep the others together, to be computed once."""
    _indices: dict[Node, int] = field(default_factory=dict, repr=False)
    delayed: dict[int, Any] = field(default_factory=dict, repr=False)
    """For each node of a value of the past, the sympy expression of what it is a value of."""

    def add(self, operation: str, *args: int, detail: Any = None) -> int:
        """The number of the node, made if there is none like it."""
        node = Node(operation, args, detail)
        index = self._indices.get(node)
        if index is None:
            index = self._indices[node] = len(self.nodes)
            self.nodes.append(node)
            if not self.moving.isdisjoint(args):
                self.moving.add(index)
        return index

    def input(self, name: str, moving: bool = False) -> int:
        """A value that is handed in, and may be one that ``moving`` things follow."""
        index = self.add("input", detail=name)
        if moving:
            self.moving.add(index)
        return index

    def constant(self, value: float) -> int:
        """A number; nan is equal to itself here."""
        return self.add("constant", detail=float(value).hex())

    def value(self, index: int) -> float | None:
        """The number that a node is, or None."""
        node = self.nodes[index]
        return float.fromhex(node.detail) if node.operation == "constant" else None

    def total(self, terms: Sequence[int]) -> int:
        """The sum, added in pairs."""
        return self._grouped("add", terms, 0.0)

    def product(self, factors: Sequence[int]) -> int:
        """The product, multiplied in pairs."""
        return self._grouped("mul", [factor for factor in factors if self.value(factor) != 1.0], 1.0)

    def quotient(self, above: int, below: int) -> int:
        """The quotient; ``above`` itself where ``below`` is 1."""
        return above if self.value(below) == 1.0 else self.add("div", above, below)

    def expression(self, expression: Any, environment: Environment, initial: bool = False) -> int:
        """The node of a sympy expression whose symbols stand for the nodes of ``environment``.

        At the ``initial`` time, values of the past are those of the present.
        """
        return _Translation(self, environment, initial).node(expression)

    def dynamic(self, inputs: Sequence[int], drawn: Collection[int] = ()) -> set[int]:
        """The nodes that depend on one of these inputs or on chance; what is ``drawn`` before is known by then."""
        moving = set(inputs)
        for index, node in enumerate(self.nodes):
            by_chance = node.operation in ("draw", "delayed") and index not in drawn
            if by_chance or any(arg in moving for arg in node.args):
                moving.add(index)
        return moving

    def reachable(self, outputs: Sequence[int], stop: Container[int] = frozenset()) -> list[int]:
        """The nodes that the outputs need, in order; those in ``stop`` are not looked behind."""
        needed: set[int] = set()
        pending = list(outputs)
        while pending:
            index = pending.pop()
            if index not in needed:
                needed.add(index)
                if index not in stop:
                    pending.extend(self.nodes[index].args)
        return sorted(needed)

    def depth(self, nodes: Sequence[int]) -> int:
        """How many operations wait for each other in these nodes, given in order."""
        levels: dict[int, int] = {}
        for index in nodes:
            levels[index] = max((1 + levels.get(arg, 0) for arg in self.nodes[index].args), default=0)
        return max(levels.values(), default=0)

    def _grouped(self, operation: str, indices: Sequence[int], empty: float) -> int:
        fixed, moving = self.apart(indices)
        if fixed and moving:
            return self.add(operation, self.in_pairs(operation, fixed), self.in_pairs(operation, moving))
        return self.in_pairs(operation, indices) if indices else self.constant(empty)

    def apart(self, indices: Sequence[int]) -> tuple[list[int], list[int]]:
        """Those that do not move, and those that do."""
        return [p for p in indices if p not in self.moving], [p for p in indices if p in self.moving]

    def in_pairs(self, operation: str, indices: Sequence[int]) -> int:
        """An operation of two, on many: depth, and so the time to compile, grows with the logarithm of how many."""
        row = list(indices)
        while len(row) > 1:
            pairs = [self.add(operation, a, b) for a, b in zip(row[::2], row[1::2], strict=False)]
            row = pairs + ([row[-1]] if len(row) % 2 else [])
        return row[0]


class _Translation:
    """From sympy to nodes, in one environment."""

    def __init__(self, graph: Graph, environment: Environment, initial: bool):
        self.graph, self.environment, self.initial = graph, environment, initial
        self.index_of: dict[Any, int] = {}

    def node(self, expression: Any) -> int:
        index = self.index_of.get(expression)
        if index is None:
            index = self.index_of[expression] = self._translated(expression)
        return index

    def _translated(self, node: Any) -> int:
        graph, kind = self.graph, node.func
        if isinstance(node, sympy.Symbol):
            return self.environment[node]
        if node in (sympy.true, sympy.false):
            return graph.constant(1.0 if node is sympy.true else 0.0)
        if node.is_Number or node is sympy.zoo:
            return graph.constant(float("inf") if node is sympy.zoo else float(node))
        if kind is sympy.Add:
            return self._sum(node.args)
        if kind is sympy.Mul:
            return self._product(node.args)
        if kind is sympy.Pow:
            return self._power(*node.args)
        if kind is sympy.Piecewise:
            return self._piecewise(node.args)
        if kind is draw:
            which = (int(node.args[0]), int(node.args[1]))
            return graph.add("draw", *map(self.node, node.args[2:]), detail=which)
        if kind is delayed and (self.initial or node.args[1] == 0):
            return self.node(node.args[0])
        args = [self.node(arg) for arg in node.args]
        if kind is delayed:
            index = graph.add("delayed", *args)
            graph.delayed[index] = node.args[0]
            graph.moving.add(index)
            return index
        if kind in _TRUE:
            return graph.add(_TRUE[kind], *args)
        if kind in _UNARY:
            return graph.add(_UNARY[kind], *args)
        if kind in _FOLDED:
            return graph.in_pairs(_FOLDED[kind], args)
        one = graph.constant(1.0)
        if kind in _INVERTED:
            name, inside = _INVERTED[kind].of, _INVERTED[kind].inside
            return (
                graph.add(name, graph.add("div", one, *args))
                if inside
                else graph.add("div", one, graph.add(name, *args))
            )
        return graph.add({rem: "rem", quotient: "quotient"}[kind], *args)

    def _sum(self, terms: Sequence[Any]) -> int:
        plus, minus = [], []
        for term in terms:
            if term.func is sympy.Mul and sympy.Integer(-1) in term.args:
                rest = list(term.args)
                rest.remove(sympy.Integer(-1))
                minus.append(self._product(rest))
            else:
                plus.append(self.node(term))
        fixed, flowing = self.graph.apart(minus)
        if fixed and self.graph.apart(plus)[0]:
            constant, moving = self.graph.apart(plus)
            plus, minus = [self.graph.add("sub", self.graph.total(constant), self.graph.total(fixed)), *moving], flowing
        if not minus:
            return self.graph.total(plus)
        taken = self.graph.total(minus)
        return self.graph.add("sub", self.graph.total(plus), taken) if plus else self.graph.add("neg", taken)

    def _product(self, factors: Sequence[Any]) -> int:
        above, below, sign = [], [], 1
        for factor in factors:
            if factor == -1:
                sign = -sign
            elif factor.func is sympy.Pow and factor.args[1].is_Integer and factor.args[1] < 0:
                below.append(self._power(factor.args[0], -factor.args[1]))
            else:
                above.append(self.node(factor))
        fixed, moving = self.graph.apart(below)
        if fixed and self.graph.apart(above)[0]:
            constant, flowing = self.graph.apart(above)
            above = [self.graph.quotient(self.graph.product(constant), self.graph.product(fixed)), *flowing]
            below = moving
        index = self.graph.product(above)
        if below:
            index = self.graph.quotient(index, self.graph.product(below))
        return index if sign > 0 else self.graph.add("neg", index)

    def _power(self, base: Any, exponent: Any) -> int:
        graph = self.graph
        if exponent == sympy.S.Half:
            return graph.add("sqrt", self.node(base))
        if exponent.is_Integer and exponent < 0:
            return graph.add("div", graph.constant(1.0), self._power(base, -exponent))
        if exponent.is_Integer and 0 < exponent <= _LARGEST_PRODUCT:
            return graph.product([self.node(base)] * int(exponent))
        return graph.add("pow", self.node(base), self.node(exponent))

    def _piecewise(self, branches: Sequence[Any]) -> int:
        index = self.node(branches[-1].args[0])
        for branch in reversed(branches[:-1]):
            value, condition = branch.args
            index = self.graph.add("where", self.node(condition), self.node(value), index)
        return index
