"""Observables carried along trajectories: what the functions of a problem see, and their direct derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from sbmlgrad.gradient.problem import Problem, Tangents, push
from sbmlgrad.simulation.ssa import Arrays, Row


@dataclass(frozen=True, eq=False)
class Accumulator:
    """The memory that functions of the path need: an integral for an average, a flag for a first passage."""

    problem: Problem

    @property
    def tracked(self) -> tuple[int, ...]:
        """Indices of the functions that have a memory."""
        return tuple(i for i, f in enumerate(self.problem.functions) if f.has_memory)

    def initial(self, x: Arrays) -> Arrays:
        return tuple(jnp.full_like(x[0], self.problem.functions[i].memory_at_start) for i in self.tracked)

    def advance(self, memory: Arrays, x: Arrays, wait: Row, coefficients: Arrays) -> Arrays:
        """The memory after ``wait`` in the state ``x``."""
        if not memory:
            return ()
        seen = self.problem.values(x, coefficients)
        functions = self.problem.functions
        return tuple(functions[i].advance(old, seen[i], wait) for old, i in zip(memory, self.tracked, strict=True))

    def record(self, memory: Arrays, x: Arrays, coefficients: Arrays) -> Arrays:
        """One array for each function; :meth:`Problem.finish` makes values of them."""
        result = list(self.problem.values(x, coefficients))
        for old, i in zip(memory, self.tracked, strict=True):
            result[i] = self.problem.functions[i].record(old, result[i])
        return tuple(result)


@dataclass(frozen=True, eq=False)
class Direct:
    """Derivatives of the functions at a fixed path: what parameters in the observables themselves do.

    It carries an integral for each parameter and average; nothing where observables are counts. Of other memories
    :meth:`Problem.at` refuses what parameters themselves move.
    """

    problem: Problem

    @property
    def _averages(self) -> tuple[int, ...]:
        return tuple(i for i, f in enumerate(self.problem.functions) if f.is_integral)

    def size(self, parameters: int) -> int:
        """How many arrays are carried."""
        return 0 if self.problem.of_counts_alone else parameters * len(self._averages)

    def initial(self, x: Arrays, parameters: int) -> Arrays:
        return tuple(jnp.zeros_like(x[0]) for _ in range(self.size(parameters)))

    def advance(self, carry: Arrays, x: Arrays, wait: Row, coefficients: Arrays, aux: Tangents) -> Arrays:
        if not carry:
            return ()
        slopes = [row[i] for row in self._slopes(x, coefficients, aux) for i in self._averages]
        return tuple(old + slope * wait for old, slope in zip(carry, slopes, strict=True))

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        """One array for each parameter and function, or none at all."""
        if self.problem.of_counts_alone:
            return ()
        rows = [list(row) for row in self._slopes(x, coefficients, aux)]
        for index, old in enumerate(carry):
            parameter, average = divmod(index, len(self._averages))
            rows[parameter][self._averages[average]] = old
        return tuple(jnp.broadcast_to(value, x[0].shape) for row in rows for value in row)

    def _slopes(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> list[Any]:
        no_tangent = [None] * len(x)
        return [push(self.problem.values, x, coefficients, no_tangent, row)[1] for row in aux.coefficients]
