"""Expressions as a graph of elementary operations, and two ways to run it in JAX.

A formula becomes nodes, each value once however often it is used, and nothing of it becomes text. To run all
nodes of one kind at once (:func:`batched`) makes a program whose size follows the depth of the formulas rather than
their number, so that a model of a thousand reactions compiles as fast as one of ten. To run node by node
(:func:`unrolled`) makes a large program that XLA can fuse, best for small models and many trajectories.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy.codegen.cfunctions import log2, log10

from sbmlgrad.model.functions import delayed, draw, quotient, rem

Environment = Mapping[sympy.Symbol, int]
Draw = Callable[[int, int, tuple[Any, ...]], Any]
"""A random number of the (kind, place, parameters) of ``draw``."""
Run = Callable[["Node", tuple[Any, ...]], Any]
"""What to make of a node and the values of its arguments."""

_TRUE: dict[Any, str] = {
    sympy.Lt: "lt",
    sympy.Le: "le",
    sympy.Gt: "gt",
    sympy.Ge: "ge",
    sympy.Eq: "eq",
    sympy.Ne: "ne",
}
_UNARY: dict[Any, str] = {
    sympy.exp: "exp",
    sympy.log: "log",
    log2: "log2",
    log10: "log10",
    sympy.Abs: "abs",
    sympy.floor: "floor",
    sympy.ceiling: "ceil",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tan: "tan",
    sympy.asin: "arcsin",
    sympy.acos: "arccos",
    sympy.atan: "arctan",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.tanh: "tanh",
    sympy.asinh: "arcsinh",
    sympy.acosh: "arccosh",
    sympy.atanh: "arctanh",
    sympy.factorial: "factorial",
    sympy.Not: "not",
}
_RECIPROCAL: dict[Any, str] = {  # 1 / f(x)
    sympy.sec: "cos",
    sympy.csc: "sin",
    sympy.cot: "tan",
    sympy.sech: "cosh",
    sympy.csch: "sinh",
    sympy.coth: "tanh",
}
_OF_RECIPROCAL: dict[Any, str] = {  # f(1 / x)
    sympy.asec: "arccos",
    sympy.acsc: "arcsin",
    sympy.acot: "arctan",
    sympy.asech: "arccosh",
    sympy.acsch: "arcsinh",
    sympy.acoth: "arctanh",
}
_FOLDED: dict[Any, str] = {
    sympy.Max: "max",
    sympy.Min: "min",
    sympy.And: "and",
    sympy.Or: "or",
    sympy.Xor: "xor",
}
RELATIONS = frozenset(_TRUE.values())
LOGIC = frozenset(("and", "or", "xor", "not"))
_EXACT = LOGIC.union(RELATIONS, ("neg", "abs", "max", "min", "where", "floor", "ceil", "rem", "quotient"))
_LARGEST_PRODUCT = 8  # a power up to this is written as multiplications


def _truth(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: function(*args).astype(jnp.float64)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "pow": jnp.power,
    "sqrt": jnp.sqrt,
    "max": jnp.maximum,
    "min": jnp.minimum,
    "rem": jnp.fmod,
    "quotient": lambda a, b: jnp.trunc(a / b),
    "factorial": lambda x: jax.scipy.special.gamma(x + 1.0),
    "where": lambda condition, a, b: jnp.where(condition != 0, a, b),
    # truth values are 1.0 and 0.0
    "lt": _truth(operator.lt),
    "le": _truth(operator.le),
    "gt": _truth(operator.gt),
    "ge": _truth(operator.ge),
    "eq": _truth(operator.eq),
    "ne": _truth(operator.ne),
    "and": lambda a, b: a * b,
    "or": jnp.maximum,
    "xor": lambda a, b: jnp.abs(a - b),
    "not": lambda a: 1.0 - a,
    **{
        name: getattr(jnp, name)
        for name in (
            *("exp", "log", "log2", "log10", "abs", "floor", "ceil", "sin", "cos", "tan", "arcsin", "arccos"),
            *("arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
        )
    },
}


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
    _places: dict[Node, int] = field(default_factory=dict, repr=False)
    delayed: dict[int, Any] = field(default_factory=dict, repr=False)
    """For each node of a value of the past, the sympy expression of what it is a value of."""

    def add(self, operation: str, *args: int, detail: Any = None) -> int:
        """The number of the node, made if there is none like it."""
        node = Node(operation, args, detail)
        place = self._places.get(node)
        if place is None:
            place = self._places[node] = len(self.nodes)
            self.nodes.append(node)
        return place

    def input(self, name: str) -> int:
        """A value that is handed in."""
        return self.add("input", detail=name)

    def constant(self, value: float) -> int:
        """A number; nan is equal to itself here."""
        return self.add("constant", detail=float(value).hex())

    def value(self, place: int) -> float | None:
        """The number that a node is, or None."""
        node = self.nodes[place]
        return float.fromhex(node.detail) if node.operation == "constant" else None

    def total(self, terms: Sequence[int]) -> int:
        """The sum, added in pairs."""
        return self._pairwise("add", terms, 0.0)

    def product(self, factors: Sequence[int]) -> int:
        """The product, multiplied in pairs."""
        return self._pairwise("mul", [factor for factor in factors if self.value(factor) != 1.0], 1.0)

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
        for place, node in enumerate(self.nodes):
            by_chance = node.operation in ("draw", "delayed") and place not in drawn
            if by_chance or any(arg in moving for arg in node.args):
                moving.add(place)
        return moving

    def reachable(self, outputs: Sequence[int], stop: set[int] | frozenset[int] = frozenset()) -> list[int]:
        """The nodes that the outputs need, in order; those in ``stop`` are not looked behind."""
        needed: set[int] = set()
        pending = list(outputs)
        while pending:
            place = pending.pop()
            if place not in needed:
                needed.add(place)
                if place not in stop:
                    pending.extend(self.nodes[place].args)
        return sorted(needed)

    def _pairwise(self, operation: str, places: Sequence[int], empty: float) -> int:
        row = list(places)
        if not row:
            return self.constant(empty)
        while len(row) > 1:
            pairs = [self.add(operation, a, b) for a, b in zip(row[::2], row[1::2], strict=False)]
            row = pairs + ([row[-1]] if len(row) % 2 else [])
        return row[0]


class _Translation:
    """From sympy to nodes, in one environment."""

    def __init__(self, graph: Graph, environment: Environment, initial: bool):
        self.graph, self.environment, self.initial = graph, environment, initial
        self.known: dict[Any, int] = {}

    def node(self, expression: Any) -> int:
        place = self.known.get(expression)
        if place is None:
            place = self.known[expression] = self._translated(expression)
        return place

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
            place = graph.add("delayed", *args)
            graph.delayed[place] = node.args[0]
            return place
        if kind in _TRUE:
            return graph.add(_TRUE[kind], *args)
        if kind in _UNARY:
            return graph.add(_UNARY[kind], *args)
        if kind in _FOLDED:
            place = args[0]
            for arg in args[1:]:
                place = graph.add(_FOLDED[kind], place, arg)
            return place
        one = graph.constant(1.0)
        if kind in _RECIPROCAL:
            return graph.add("div", one, graph.add(_RECIPROCAL[kind], *args))
        if kind in _OF_RECIPROCAL:
            return graph.add(_OF_RECIPROCAL[kind], graph.add("div", one, *args))
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
        place = self.graph.product(above)
        if below:
            place = self.graph.quotient(place, self.graph.product(below))
        return place if sign > 0 else self.graph.add("neg", place)

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
        place = self.node(branches[-1].args[0])
        for branch in reversed(branches[:-1]):
            value, condition = branch.args
            place = self.graph.add("where", self.node(condition), self.node(value), place)
        return place


@dataclass(frozen=True, eq=False)
class Program:
    """A part of a graph as a function of its inputs, vectors in and out.

    ``inputs`` are the nodes whose values are handed in, in order; what they need is not computed.
    """

    graph: Graph
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def __call__(self, values: Any, random: Draw | None = None) -> Any:
        """The outputs (outputs, ...) for inputs (inputs or more, ...), float64; what comes after them is not read."""
        if not self.outputs:
            return jnp.zeros((0, *values.shape[1:]))
        if self._quick_unrolled():
            return jnp.stack(self.unrolled(values, random))
        return self._batched(values, random)

    def rounding(self, values: Any) -> Any:
        """To first order, how far rounding may move the outputs (outputs,): in units of half a last digit of 1.

        Every input (inputs,) is taken to be rounded, and every operation to round (N. J. Higham, Accuracy and Stability
        of Numerical Algorithms, 2nd ed., chapter 3). It is large beside an output where the output is a small
        difference of what is large.
        """
        if not self.outputs:
            return jnp.zeros(0)
        pairs = jnp.stack([values, jnp.abs(values)], axis=1)
        if self._quick_unrolled():
            return jnp.stack([pair[1] for pair in self.unrolled(pairs, run=_run_rounded)])
        return self._batched(pairs, run=_run_rounded)[:, 1]

    def unrolled(self, values: Any, random: Draw | None = None, run: Run | None = None) -> list[Any]:
        """The outputs node by node, one array each, from one array for each input."""
        run = run or partial(_run, random=random)
        known = {self.inputs[number]: values[number] for number in self._read}
        like = jnp.zeros_like(values[0]) if len(values) else jnp.zeros(())
        for place in self._work:
            node = self.graph.nodes[place]
            args = tuple(known[arg] for arg in node.args)
            if node.operation == "constant":
                known[place] = like + float.fromhex(node.detail)
            else:
                known[place] = run(node, args)
        return [known[place] + 0.0 for place in self.outputs]

    @cached_property
    def draws(self) -> bool:
        """Whether random numbers are drawn."""
        return any(self.graph.nodes[place].operation == "draw" for place in self._work)

    @cached_property
    def _work(self) -> list[int]:
        given = frozenset(self.inputs)
        return [place for place in self.graph.reachable(self.outputs, given) if place not in given]

    def _quick_unrolled(self) -> bool:
        """Whether running node by node compiles faster: for small programs and for those that are deep and narrow."""
        count = len(self._work) + len(self.outputs)
        return count <= _SMALL * max(1.0, len(self._schedule[0]) / _FEW)

    @cached_property
    def _read(self) -> list[int]:
        """The numbers of the inputs that are needed; of thousands it may be few."""
        nodes = self.graph.nodes
        needed = {*self.outputs, *(arg for place in self._work for arg in nodes[place].args)}
        return [number for number, place in enumerate(self.inputs) if place in needed]

    def _batched(self, values: Any, random: Draw | None = None, run: Run | None = None) -> Any:
        run = run or partial(_run, random=random)
        batches, constants, slots = self._schedule
        fixed = jnp.asarray(constants).reshape((-1,) + (1,) * (values.ndim - 1))
        values = _taken(values, self._read)
        store = jnp.concatenate([values, jnp.broadcast_to(fixed, (len(constants), *values.shape[1:]))])
        for node, places in batches:
            args = tuple(_taken(store, column) for column in places)
            store = jnp.concatenate([store, run(node, args)])
        return _taken(store, slots)

    @cached_property
    def _schedule(self) -> tuple[list[tuple[Node, list[list[int]]]], np.ndarray, np.ndarray]:
        """Batches of nodes of one kind with the places of their arguments, constants, and places of the outputs.

        The kind of which most nodes are ready goes first, which keeps the number of batches low.
        """
        nodes = self.graph.nodes
        slots = {self.inputs[number]: slot for slot, number in enumerate(self._read)}
        constants = [place for place in self._work if nodes[place].operation == "constant"]
        for place in constants:
            slots[place] = len(slots)
        users: dict[int, list[int]] = {}
        missing: dict[int, int] = {}
        ready: dict[Any, list[int]] = {}
        for place in self._work:
            if place in slots:
                continue
            open_args = {arg for arg in nodes[place].args if arg not in slots}
            missing[place] = len(open_args)
            for arg in open_args:
                users.setdefault(arg, []).append(place)
            if not open_args:
                ready.setdefault(_kind(nodes[place]), []).append(place)
        batches = []
        while ready:
            kind = max(ready, key=lambda key: len(ready[key]))
            batch = ready.pop(kind)
            columns = zip(*[nodes[place].args for place in batch], strict=True)
            batches.append((nodes[batch[0]], [[slots[arg] for arg in column] for column in columns]))
            for place in batch:
                slots[place] = len(slots)
            for place in batch:
                for user in users.get(place, ()):
                    missing[user] -= 1
                    if not missing[user]:
                        ready.setdefault(_kind(nodes[user]), []).append(user)
        numbers = np.array([float.fromhex(nodes[place].detail) for place in constants])
        return batches, numbers, np.array([slots[place] for place in self.outputs], dtype=np.int64)


_SMALL = 80  # nodes and outputs up to which running them one by one compiles as fast
_FEW = 10  # batches; where there are more, so many more nodes may run one by one


def _kind(node: Node) -> Any:
    return (node.operation, node.detail)


def _taken(store: Any, places: Sequence[int] | np.ndarray) -> Any:
    index = np.array(places, dtype=np.int32)
    return store.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _run_rounded(node: Node, args: tuple[Any, ...]) -> Any:
    """An operation on pairs (..., 2) of values and what rounding does to them."""
    values, errors = ([arg[..., part] for arg in args] for part in (0, 1))
    operation = _OPERATIONS[node.operation]
    value = operation(*values)
    error = jnp.zeros_like(value) if node.operation in _EXACT else jnp.abs(value)
    for place, (own, own_error) in enumerate(zip(values, errors, strict=True)):
        alone = lambda x, p=place: operation(*values[:p], x, *values[p + 1 :])  # noqa: E731
        slope = jax.jvp(alone, (own,), (jnp.ones_like(own),))[1]
        part = jnp.abs(slope) * own_error
        error = error + jnp.where(jnp.isfinite(part), part, 0.0)
    return jnp.stack([value, error], axis=-1)


def _run(node: Node, args: tuple[Any, ...], random: Draw | None) -> Any:
    if node.operation == "draw":
        assert random is not None
        kind, place = node.detail
        return random(kind, place, args)
    return _OPERATIONS[node.operation](*args)
