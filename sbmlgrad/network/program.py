"""Parts of a graph as JAX functions: two ways to run them, the same numbers.

To run all nodes of one kind at once makes a program whose size follows the depth of the formulas rather than their
number, so that a model of a thousand reactions compiles as fast as one of ten. To run node by node
(:meth:`Program.unrolled`) makes a large program that XLA can fuse, best for small models and many trajectories.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.model.elementary import ELEMENTARY
from sbmlgrad.network.graph import LOGIC, RELATIONS, Graph, Node

LARGE = 2000
"""Nodes up to which XLA fuses them in seconds."""
Draw = Callable[[int, int, tuple[Any, ...]], Any]
"""A random number of the (kind, index, parameters) of ``draw``."""
Run = Callable[["Node", tuple[Any, ...]], Any]
"""What to make of a node and the values of its arguments."""

_EXACT = LOGIC.union(RELATIONS, ("neg", "abs", "max", "min", "where", "floor", "ceil", "rem", "quotient"))


def power(base: Any, exponent: Any) -> jax.Array:
    """``base ** exponent`` by way of exp and log, which XLA turns into vector code where its own power is a call.

    As in IEEE 754, anything to the power of 0 is 1, and a negative base to a fraction is nan.
    """
    base, exponent = jnp.asarray(base, jnp.float64), jnp.asarray(exponent, jnp.float64)
    zero, large = base == 0, ~jnp.isfinite(exponent)
    logarithm = jnp.log(jnp.where(zero, 1.0, jnp.abs(base)))
    size = jnp.exp(jnp.where(large & (logarithm == 0), 0.0, exponent * logarithm))
    odd = jnp.abs(jnp.fmod(exponent, 2.0)) == 1.0
    whole = exponent == jnp.floor(exponent)
    negative = jnp.where(whole, jnp.where(odd, -size, size), jnp.where(jnp.isinf(base), size, jnp.nan))
    infinite = jnp.where(odd, jnp.copysign(jnp.inf, base), jnp.inf)
    nothing = jnp.where(odd, jnp.copysign(0.0, base), 0.0)
    at_zero = jnp.where(exponent > 0, nothing, jnp.where(exponent < 0, infinite, jnp.nan))
    at_zero = jnp.where(exponent == 1, base, at_zero)
    result = jnp.where(zero, at_zero, jnp.where(base < 0, negative, size))
    return jnp.where(exponent == 0, 1.0, result)


def arithmetic(library: Any, divide: Callable[..., Any], power: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Operations of a graph by their names, in numpy or a ``library`` that has its names."""
    return {
        "add": operator.add,
        "sub": operator.sub,
        "mul": operator.mul,
        "div": divide,
        "neg": operator.neg,
        "pow": power,
        "sqrt": library.sqrt,
        "max": library.maximum,
        "min": library.minimum,
        "rem": library.fmod,
        "quotient": lambda a, b: library.trunc(divide(a, b)),
        "where": lambda condition, a, b: library.where(condition != 0, a, b),
        # truth values are bool here, and the numbers 1 and 0 wherever one is asked for
        "lt": operator.lt,
        "le": operator.le,
        "gt": operator.gt,
        "ge": operator.ge,
        "eq": operator.eq,
        "ne": operator.ne,
        "and": library.logical_and,
        "or": library.logical_or,
        "xor": library.logical_xor,
        "not": library.logical_not,
    }


_OPERATIONS: dict[str, Callable[..., Any]] = {
    **arithmetic(jnp, operator.truediv, power),
    **{item.name: getattr(jnp, item.name) for item in ELEMENTARY if hasattr(jnp, item.name)},
    "factorial": lambda x: jax.scipy.special.gamma(x + 1.0),
}


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
        return self._all(values, partial(_run, random=random), _as_it_is)

    def rounding(self, values: Any) -> Any:
        """To first order, how far rounding may move the outputs (outputs,): in units of half a last digit of 1.

        Every input (inputs,) is taken to be rounded, and every operation to round (N. J. Higham, Accuracy and Stability
        of Numerical Algorithms, 2nd ed., chapter 3). It is large beside an output where the output is a small
        difference of what is large.
        """
        return self._all(_with_error(values), _run_rounded, _with_error)[:, 1]

    def unrolled(self, values: Sequence[Any], random: Draw | None = None) -> list[Any]:
        """The outputs node by node, from one array for each input; those that are constant come as plain numbers."""
        return self._node_by_node(values, partial(_run, random=random), _as_it_is)

    def of_arrays(self, values: Sequence[Any]) -> list[Any]:
        """The outputs from one array for each input, node by node where that compiles in a moment."""
        if len(self._work) <= LARGE or self._quick_unrolled():
            return self.unrolled(values)
        shape = jnp.broadcast_shapes(*map(jnp.shape, values))  # of those that are not read, too: outputs are as long
        rows = [jnp.broadcast_to(jnp.asarray(value, jnp.float64), shape) for value in values]
        return list(self(jnp.stack(rows)))

    def _all(self, values: Any, run: Run, given: Callable[[Any], Any]) -> Any:
        """The outputs (outputs, ...); ``given`` makes of numbers (...) in the program what ``run`` takes."""
        shape = values.shape[1:]
        if not self.outputs:
            return jnp.zeros((0, *shape))
        if not self._quick_unrolled():
            return self._batched(values, run, given)
        outputs = self._node_by_node(values, run, given)
        return jnp.stack([jnp.broadcast_to(output, shape) for output in outputs])

    def _node_by_node(self, values: Any, run: Run, given: Callable[[Any], Any]) -> list[Any]:
        values_of = {self.inputs[number]: values[number] for number in self.read}
        for index in self._work:
            node = self.graph.nodes[index]
            if node.operation == "constant":
                values_of[index] = given(np.float64(float.fromhex(node.detail)))
            else:
                with np.errstate(all="ignore"):  # between two constants, it is numpy that computes
                    values_of[index] = run(node, tuple(values_of[arg] for arg in node.args))
        return [_as_number(values_of[index]) for index in self.outputs]

    @cached_property
    def draws(self) -> bool:
        """Whether random numbers are drawn."""
        return any(self.graph.nodes[index].operation == "draw" for index in self._work)

    @cached_property
    def _work(self) -> list[int]:
        given = frozenset(self.inputs)
        return [index for index in self.graph.reachable(self.outputs, given) if index not in given]

    @property
    def is_deep(self) -> bool:
        """Whether it is compiled node by node though it is large, since nodes wait for each other."""
        return len(self._work) > LARGE and self._quick_unrolled()

    def _quick_unrolled(self) -> bool:
        """Whether running node by node compiles faster: for small programs and for those that are deep and narrow."""
        count = len(self._work) + len(self.outputs)
        return count <= _SMALL * max(1.0, len(self.schedule[0]) / _FEW)

    @cached_property
    def read(self) -> list[int]:
        """The numbers of the inputs that are needed; of thousands it may be few."""
        nodes = self.graph.nodes
        needed = {*self.outputs, *(arg for index in self._work for arg in nodes[index].args)}
        return [number for number, index in enumerate(self.inputs) if index in needed]

    def _batched(self, values: Any, run: Run, given: Callable[[Any], Any]) -> Any:
        batches, constants, slots = self.schedule
        values, fixed = _taken(values, self.read), given(jnp.asarray(constants))
        fixed = fixed.reshape(fixed.shape + (1,) * (values.ndim - fixed.ndim))
        store = jnp.concatenate([values, jnp.broadcast_to(fixed, (len(constants), *values.shape[1:]))])
        for node, indices in batches:
            args = tuple(_taken(store, column) for column in indices)
            store = jnp.concatenate([store, _as_number(run(node, args))])
        return _taken(store, slots)

    @cached_property
    def schedule(self) -> tuple[list[tuple[Node, list[list[int]]]], np.ndarray, np.ndarray]:
        """Batches of nodes of one kind with the indices of their arguments, constants, and indices of the outputs.

        The kind of which most nodes are ready goes first, which keeps the number of batches low.
        """
        nodes = self.graph.nodes
        slots = {self.inputs[number]: slot for slot, number in enumerate(self.read)}
        constants = [index for index in self._work if nodes[index].operation == "constant"]
        for index in constants:
            slots[index] = len(slots)
        users: dict[int, list[int]] = {}
        missing: dict[int, int] = {}
        ready: dict[Any, list[int]] = {}
        for index in self._work:
            if index in slots:
                continue
            open_args = {arg for arg in nodes[index].args if arg not in slots}
            missing[index] = len(open_args)
            for arg in open_args:
                users.setdefault(arg, []).append(index)
            if not open_args:
                ready.setdefault(_kind(nodes[index]), []).append(index)
        batches = []
        while ready:
            kind = max(ready, key=lambda key: len(ready[key]))
            batch = ready.pop(kind)
            columns = zip(*[nodes[index].args for index in batch], strict=True)
            batches.append((nodes[batch[0]], [[slots[arg] for arg in column] for column in columns]))
            for index in batch:
                slots[index] = len(slots)
            for index in batch:
                for user in users.get(index, ()):
                    missing[user] -= 1
                    if not missing[user]:
                        ready.setdefault(_kind(nodes[user]), []).append(user)
        numbers = np.array([float.fromhex(nodes[index].detail) for index in constants])
        return batches, numbers, np.array([slots[index] for index in self.outputs], dtype=np.int64)


_SMALL = 80  # nodes and outputs up to which running them one by one compiles as fast
_FEW = 10  # batches; where there are more, so many more nodes may run one by one


def _kind(node: Node) -> Any:
    return (node.operation, node.detail)


def _taken(store: Any, indices: Sequence[int] | np.ndarray) -> Any:
    index = np.array(indices, dtype=np.int32)
    return store.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _as_it_is(values: Any) -> Any:
    return values


def _with_error(values: Any) -> Any:
    """Pairs (..., 2) of values and the error of rounding them."""
    return jnp.stack([values, jnp.abs(values)], axis=-1)


def _as_number(value: Any) -> Any:
    return value + 0.0 if value.dtype == bool else value


def _run_rounded(node: Node, args: tuple[Any, ...]) -> Any:
    """An operation on pairs (..., 2) of values and what rounding does to them."""
    values, errors = ([arg[..., part] for arg in args] for part in (0, 1))
    operation = _OPERATIONS[node.operation]
    value = _as_number(operation(*values))
    error = jnp.zeros_like(value) if node.operation in _EXACT else jnp.abs(value)
    for index, (own, own_error) in enumerate(zip(values, errors, strict=True)):
        if node.operation in RELATIONS or node.operation in LOGIC:
            break
        alone = lambda x, p=index: operation(*values[:p], x, *values[p + 1 :])  # noqa: E731
        slope = jax.jvp(alone, (own,), (jnp.ones_like(own),))[1]
        part = jnp.abs(slope) * own_error
        error = error + jnp.where(jnp.isfinite(part), part, 0.0)
    return jnp.stack([value, error], axis=-1)


def _run(node: Node, args: tuple[Any, ...], random: Draw | None) -> Any:
    if node.operation == "draw":
        assert random is not None
        kind, index = node.detail
        return random(kind, index, args)
    return _OPERATIONS[node.operation](*args)
