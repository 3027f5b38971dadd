"""Functions of the state that span what is expected of the future, with their changes by each reaction.

Powers of counts, which are what moments of simple networks depend on; and for bins of histograms the bin itself and a
smoothed one, since a bin seen from some time before is a bin with soft edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import inf, sqrt
from typing import Any

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.observables import Observable
from sbmlgrad.gradient.problem import Problem, moved
from sbmlgrad.simulation.ssa import Arrays

_SOFTNESS = (0.0, 1.6)  # width of the edges of a bin, over the square root of their place
_MOST_QUADRATIC = 90  # arrays carried along trajectories
_MOST_LINEAR = 250


@dataclass(frozen=True)
class Features:
    """``powers`` are tuples of indices of counts, to be multiplied; ``bins`` are a variable's index and soft edges."""

    problem: Problem
    powers: tuple[tuple[int, ...], ...]
    bins: tuple[tuple[int, float, float, float], ...]

    @property
    def size(self) -> int:
        return len(self.powers) + len(self.bins)

    def values(self, x: Arrays, coefficients: Arrays) -> list[Any]:
        """The features at a state."""
        result = []
        for indices in self.powers:
            product = x[indices[0]]
            for index in indices[1:]:
                product = product * x[index]
            result.append(product)
        return result + self._in_bins(x, coefficients)

    def changes(self, x: Arrays, coefficients: Arrays) -> list[list[Any]]:
        """For each feature its change by each reaction; 0.0 where there is none whatever the state."""
        jumps = self.problem.network.stoichiometry
        rows = [[_change(x, indices, jump) for jump in jumps.T] for indices in self.powers]
        if self.bins:
            before = self._in_bins(x, coefficients)
            after = [self._in_bins(moved(x, jump), coefficients) for jump in jumps.T]
            for b, (variable, *_) in enumerate(self.bins):
                index = self.problem.linear[variable]
                rows.append(
                    [
                        0.0 if index is not None and not jump[index] else after[j][b] - before[b]
                        for j, jump in enumerate(jumps.T)
                    ]
                )
        return rows

    def _in_bins(self, x: Arrays, coefficients: Arrays) -> list[Any]:
        if not self.bins:
            return []
        variables = self.problem.observe(x, coefficients)
        return [_soft(variables[v], lower, upper, softness) for v, lower, upper, softness in self.bins]


def choose(problem: Problem, parameters: int) -> Features | None:
    """As many features as are worth their cost for so many parameters; None if there are too many counts."""
    species = _independent(problem.network.stoichiometry)
    edged = [function for function in problem.functions if function.of_state and function.edges]
    soft = tuple(dict.fromkeys(item for function in edged for item in _bins(problem, function)))
    linear = tuple((i,) for i in species)
    quadratic = (*linear, *combinations_with_replacement(species, 2))
    width = parameters + 2  # an integral for each parameter, one of the drift, and the feature itself
    for powers, most in ((quadratic, _MOST_QUADRATIC), (linear, _MOST_LINEAR)):
        room = most // width - len(powers)
        if room >= 0:
            return Features(problem, powers, soft[:room])
    return None


def _independent(stoichiometry: np.ndarray) -> list[int]:
    """Species whose counts tell all others: conservation laws make powers of the rest superfluous."""
    chosen: list[int] = []
    for i, row in enumerate(stoichiometry):
        if row.any() and np.linalg.matrix_rank(stoichiometry[[*chosen, i]]) == len(chosen) + 1:
            chosen.append(i)
    return chosen


def _bins(problem: Problem, function: Observable) -> tuple[tuple[int, float, float, float], ...]:
    assert function.edges is not None
    variable = problem.variables.index(function.of[0])
    soft = _SOFTNESS if problem.linear[variable] is not None else (0.0,)
    return tuple((variable, *function.edges, s) for s in soft)


def _soft(value: Any, lower: float, upper: float, softness: float) -> Any:
    """Between 0 and 1: whether lower <= value < upper, with edges that are soft by their Poisson sd."""

    def edge(at: float) -> Any:
        if softness == 0:
            return (value >= at).astype(jnp.float64)
        return jnp.clip((value - at + 0.5) / (softness * sqrt(max(abs(at), 1.0))) + 0.5, 0.0, 1.0)

    left = edge(lower) if lower > -inf else 1.0
    return left - edge(upper) if upper < inf else left * jnp.ones_like(value)


def _change(x: Arrays, indices: tuple[int, ...], jump: np.ndarray) -> Any:
    if len(indices) == 1:
        return float(jump[indices[0]])
    first, second = indices
    s, t = float(jump[first]), float(jump[second])
    if not s and not t:
        return 0.0
    terms = [x[second] * s] if s else []
    terms += [x[first] * t] if t else []
    return sum(terms[1:], terms[0]) + s * t
