"""The derivative of a large flow by its state, with far fewer evaluations than there are variables.

What reactions do to a variable is a sum of terms, and each term depends on a few variables only. So the terms are
differentiated, in directions that each combine many variables of which no term holds two; then they are summed. For
hundreds of reactions around a few that take part in nearly all, that takes a dozen directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.network.graph import Graph
from sbmlgrad.network.program import Program

_SIGNS = {"add": (1, 1), "sub": (1, -1), "neg": (-1,)}
_FEWEST = 40  # variables; for fewer, one direction for each is as good


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Derivatives of a flow: ``factors[k]`` times the slope of term ``terms[k]`` in direction ``colours[k]`` is added
    at ``(rows[k], columns[k])``. The direction in which time moves alone is the last.
    """

    program: Program  # of the terms
    size: int
    directions: np.ndarray  # (directions, 1 + size), of time and state
    rows: np.ndarray
    columns: np.ndarray
    terms: np.ndarray
    colours: np.ndarray
    factors: np.ndarray

    def __call__(self, time: Array, state: Array, coefficients: Array) -> tuple[Array, Array]:
        """Slopes by the state (size, size) and by time (size,)."""

        def along(direction: Array) -> Array:
            fixed = jnp.concatenate([time[None], state, coefficients])
            moving = jnp.concatenate([direction, jnp.zeros_like(coefficients)])
            return jax.jvp(self.program, (fixed,), (moving,))[1]

        slopes = jax.vmap(along)(jnp.asarray(self.directions))
        added = jnp.asarray(self.factors) * slopes[self.colours, self.terms]
        both = jnp.zeros((self.size, self.size + 1)).at[self.rows, self.columns].add(added)
        return both[:, : self.size], both[:, self.size]


def jacobian_of(flow: Program, size: int) -> Jacobian | None:
    """The derivative of a flow whose inputs are time, ``size`` variables and coefficients; None where it is small
    or so entangled that this way would not be shorter.
    """
    if size < _FEWEST:
        return None
    graph, state = flow.graph, flow.inputs[1 : size + 1]
    held = held_variables(flow, size)
    sums = [_terms(graph, output) for output in flow.outputs]
    order = sorted({term for terms in sums for term in terms if held.get(term)})
    indices = {term: index for index, term in enumerate(order)}
    time = 1 << size
    colours = coloured([held[term] & ~time for term in order], size)
    count = max(colours) + 1
    if count > size // 2:
        return None
    entries = [
        (row, column, indices[term], count if column == size else colours[column], factor)
        for row, terms in enumerate(sums)
        for term, factor in terms.items()
        for column in members(held.get(term, 0))
    ]
    rows, columns, terms, directions, factors = np.array(entries, dtype=np.int64).reshape(-1, 5).T
    seeds = np.zeros((count + 1, size + 1))
    seeds[colours, np.arange(1, size + 1)] = 1.0
    seeds[count, 0] = 1.0
    assert len(state) == size
    return Jacobian(
        program=Program(graph, flow.inputs, tuple(order)),
        size=size,
        directions=seeds,
        rows=rows,
        columns=columns,
        terms=terms,
        colours=directions,
        factors=factors.astype(np.float64),
    )


def held_variables(flow: Program, size: int) -> dict[int, int]:
    """For each node, bits that say which variables it depends on; bit ``size`` is time."""
    held = dict.fromkeys(flow.inputs, 0)
    held[flow.inputs[0]] = 1 << size
    held.update({index: 1 << column for column, index in enumerate(flow.inputs[1 : size + 1])})
    for index in flow.graph.reachable(flow.outputs, frozenset(flow.inputs)):
        if index not in held:
            held[index] = 0
            for arg in flow.graph.nodes[index].args:
                held[index] |= held[arg]
    return held


def _terms(graph: Graph, output: int) -> dict[int, int]:
    """The nodes of which an output is a sum, with how often each is added."""
    terms: dict[int, int] = {}
    pending = [(output, 1)]
    while pending:
        index, factor = pending.pop()
        node = graph.nodes[index]
        if node.operation in _SIGNS:
            signs = _SIGNS[node.operation]
            pending += [(arg, factor * sign) for arg, sign in zip(node.args, signs, strict=True)]
        else:
            terms[index] = terms.get(index, 0) + factor
    return terms


def coloured(groups: Sequence[int], size: int) -> list[int]:
    """A number for each variable such that no two of a group have the same, as small as a simple search finds."""
    beside = [0] * size
    for group in groups:
        for member in members(group):
            beside[member] |= group
    colours = [-1] * size
    for member in sorted(range(size), key=lambda index: -beside[index].bit_count()):
        taken = {colours[other] for other in members(beside[member])}
        colours[member] = next(colour for colour in range(size) if colour not in taken)
    return colours


def members(bits: int) -> list[int]:
    """The indices of the bits that are set."""
    positions = []
    while bits:
        low = bits & -bits
        positions.append(low.bit_length() - 1)
        bits ^= low
    return positions
