"""Pairs of trajectories that stay close: the split coupling, as a reaction network of twice the species.

Reactions that both copies would take fire in both at the smaller of their propensities, and in one alone at what is
left (Anderson, SIAM J. Numer. Anal. 2012). Each copy by itself is an exact trajectory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.accumulator import Accumulator
from sbmlgrad.gradient.estimator import Task, walk
from sbmlgrad.gradient.problem import Point, Problem
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ensemble import initial_counts
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.ssa import Arrays, Step


def pair_network(network: ReactionNetwork) -> ReactionNetwork:
    """The split coupling of two copies of a network; coefficients are those of the first, then those of the second."""
    assert network.rates is not None
    rates = network.rates
    jumps = network.stoichiometry
    no_jump = np.zeros_like(jumps)

    def paired(x: Arrays, coefficients: Arrays) -> Arrays:
        first, second = (
            [jnp.broadcast_to(a, x[0].shape) for a in rates(halves, values)]
            for halves, values in zip(halved(x), halved(coefficients), strict=True)
        )
        shared = [jnp.minimum(a, b) for a, b in zip(first, second, strict=True)]
        alone = [a - m for a, m in zip(first, shared, strict=True)]
        other = [b - m for b, m in zip(second, shared, strict=True)]
        return (*shared, *alone, *other)

    return ReactionNetwork(
        stoichiometry=np.block([[jumps, jumps, no_jump], [jumps, no_jump, jumps]]),
        x0=[*network.x0, *network.x0],
        parameters={f"k{i}": value for i, value in enumerate((*network.coefficients, *network.coefficients))},
        species=tuple(f"{name}{copy}" for copy in ("", "'") for name in network.species),
        reactions=tuple(f"{name}{kind}" for kind in (" (both)", "", "'") for name in network.reactions),
        rates=paired,
        nonnegative=network.nonnegative,
    )


def halved(items: Arrays) -> tuple[Arrays, Arrays]:
    """The first and the second copy's."""
    middle = len(items) // 2
    return items[:middle], items[middle:]


@dataclass(frozen=True, eq=False)
class AccumulatorPair:
    """The functions of a problem along both copies."""

    problem: Problem

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        accumulator = Accumulator(self.problem)
        first, second = halved(x)
        return (*accumulator.initial(first), *accumulator.initial(second))

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        accumulator = Accumulator(self.problem)
        pairs = zip(halved(carry), halved(step.x), halved(step.coefficients), strict=True)
        return tuple(item for memory, x, c in pairs for item in accumulator.advance(memory, x, step.wait, c))

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        accumulator = Accumulator(self.problem)
        pairs = zip(halved(carry), halved(x), halved(coefficients), strict=True)
        return tuple(item for memory, state, c in pairs for item in accumulator.record(memory, state, c))


def coupled_samples(
    problem: Problem,
    task: Task,
    first: Sequence[Any],
    second: Sequence[Any],
    coefficients: tuple[Arrays, Arrays],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Functions (functions, times, n) along both copies, which start at ``first`` and ``second`` counts."""
    single = problem.network_at(task.values)
    network = problem.once(("pair", single), lambda: pair_network(single))
    accumulator = problem.once("accumulator pair", lambda: AccumulatorPair(problem))
    grid, indices = problem.grid(task.times, task.start)
    both = (*coefficients[0], *coefficients[1])
    for records in walk(network, [*first, *second], both, accumulator, (), task, grid):
        raw = np.stack(records)
        yield (
            problem.finish(raw[: problem.size], grid, indices, task.start),
            problem.finish(raw[problem.size :], grid, indices, task.start),
        )


def unseen(weight: Any, sd: np.ndarray, n: int) -> np.ndarray:
    """What a standard error should allow for differences too rare to be seen: one of typical size among all.

    Pairs differ seldom where a parameter hardly matters. Had none of ``n`` pairs differed, their sample variance would
    be 0, and still one in ``n`` might have, by about the ``sd`` of the function, at this ``weight``.
    """
    return np.asarray(weight * np.nan_to_num(sd) / n)


def by_initial_counts(problem: Problem, point: Point, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """What parameters do by way of initial counts: derivatives (parameters, functions, times) and their errors.

    The expectation as a function of a mean initial count runs straight between whole numbers; at a whole number the
    slope is the mean of both sides. Unbiased, since whole molecules are compared.
    """
    shape = (len(problem.parameters), problem.size, len(task.times))
    mean, variance = np.zeros(shape), np.zeros(shape)
    for i, count in enumerate(point.counts):
        by = [0.0 if row[i] is None else float(row[i]) for row in point.tangents.counts]
        if not any(by):
            continue
        own = task.with_n(task.n, use=1 + i)
        start = initial_counts(point.counts, own.n, own.seed)
        lower = max(np.ceil(count) - 1, 0.0)
        upper = np.floor(count) + 1
        above, below = ([*start[:i], np.full(own.n, c), *start[i + 1 :]] for c in (upper, lower))
        moments = Moments()
        for first, second in coupled_samples(problem, own, above, below, (point.coefficients, point.coefficients)):
            moments.add((first - second) / (upper - lower))
        for p, slope in enumerate(by):
            mean[p] += slope * moments.mean
            variance[p] += slope**2 * moments.stderr**2
    return mean, np.sqrt(variance)
