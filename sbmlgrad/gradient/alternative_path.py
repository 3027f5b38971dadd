"""Alternative paths: what would have become of a trajectory had one more reaction fired; unbiased.

d E F = E integral over s of sum_k d a_k(X_s) (F of the path with one more k at s - F of the path) (integral path
algorithm: Gupta, Rathinam, Khammash, J. Comput. Phys. 2018; smoothed perturbation analysis, Burger et al. arXiv
2604.02121). Times s come from a clock of constant rate beside the reactions. Of all alternatives up to a time one is
kept, with a probability in proportion to the size of its weight, and runs along with the trajectory by the split
coupling (a weighted reservoir of one, as in StochasticAD: Arya, Schauer, Schäfer, Rackauckas, NeurIPS 2022), so that
memory does not grow with events. Trajectories are dealt out to the parameters in turn: if they shared alternatives,
those of a parameter of fast reactions would crowd out all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.accumulator import Accumulator, Direct
from sbmlgrad.gradient.coupled import AccumulatorPair, by_initial_counts, halved, pair_network, unseen
from sbmlgrad.gradient.estimator import Estimate, Task, walk
from sbmlgrad.gradient.problem import Problem, Tangents, push, total
from sbmlgrad.gradient.score import direct_part, split, split_tuple
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ensemble import initial_counts
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.shares import GRAIN
from sbmlgrad.simulation.ssa import Arrays, Step, select_by


@dataclass(frozen=True)
class AlternativePath:
    """One alternative path beside each trajectory, drawn at about ``ticks`` times of a clock."""

    ticks: float = 32.0
    name: str = "alternative_path"
    unbiased: bool = True

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        _refuse_products(self.name, problem)
        point = problem.at(task.values)
        single = problem.network_at(task.values)
        network = problem.once(("pair and clock", single), lambda: _with_clock(pair_network(single)))
        functional = problem.once(self.name, lambda: _Alternative(problem))
        parameters = len(problem.parameters)
        grid, indices = problem.grid(task.times, task.start)
        latest = problem.latest(grid, indices)
        span = float(grid[-1]) - task.start
        rate = np.float64(self.ticks / span if span else 1.0)
        dealt = np.arange(task.n) % max(parameters, 1)
        start = initial_counts(point.counts, task.n, task.seed)
        counts = [*start, *start, dealt.astype(np.float64)]
        coefficients = (*point.coefficients, *point.coefficients, rate)
        values = Moments()
        slopes, sizes = ([Moments() for _ in problem.parameters] for _ in range(2))
        for records in walk(network, counts, coefficients, functional, point.tangents, task, grid):
            raw, other, weights, direct = split(records, (problem.size, problem.size, parameters))
            seen, alternative = (problem.finish(rows, grid, indices, task.start) for rows in (raw, other))
            own = dealt[values.count :][: seen.shape[-1]]
            values.add(seen)
            weight = weights[:, latest]
            samples = (alternative - seen) * weight
            samples = samples + direct_part(problem, raw, direct, parameters, grid, indices, task.start)
            for begin in range(0, seen.shape[-1], GRAIN):  # so that sums do not depend on how an ensemble is cut
                part = slice(begin, begin + GRAIN)
                for p in range(parameters):
                    slopes[p].add(samples[p][..., part][..., own[part] == p])
                    sizes[p].add(np.abs(weight[p][..., part][..., own[part] == p]))
        mean, stderr = by_initial_counts(problem, point, task)
        for p, (slope, size) in enumerate(zip(slopes, sizes, strict=True)):
            mean[p] += slope.mean
            stderr[p] = np.sqrt(stderr[p] ** 2 + slope.stderr**2 + unseen(size.mean, values.sd, slope.count) ** 2)
        return Estimate(values.mean, values.stderr, mean, stderr, task.n, values.sd)


def _refuse_products(name: str, problem: Problem) -> None:
    for function in problem.functions:
        if function.also_at:
            raise EstimatorError(
                f"estimator {name!r} forgets what its alternative was at earlier times, which {function.label} asks "
                "for; use 'auto', 'score' or 'coupled_fd'"
            )


def _with_clock(pair: ReactionNetwork) -> ReactionNetwork:
    """The pair beside a clock, a last reaction that changes nothing; its rate is the last coefficient.

    A last count, which nothing changes either, tells for which parameter a trajectory looks for alternatives.
    """
    assert pair.rates is not None
    rates = pair.rates
    return ReactionNetwork(
        stoichiometry=np.pad(pair.stoichiometry, ((0, 1), (0, 1))),
        x0=[*pair.x0, 0.0],
        parameters={**pair.parameters, "clock": 1.0},
        species=(*pair.species, "parameter"),
        reactions=(*pair.reactions, "clock"),
        rates=lambda x, c: (*rates(x[:-1], c[:-1]), jnp.broadcast_to(c[-1], x[0].shape)),
        nonnegative=pair.nonnegative,
    )


class _Turn(NamedTuple):
    """What a tick of the clock does: new sum of weights, whether the path turns, by which reaction, and its signs."""

    weight: Array
    turns: Array
    reaction: Array
    sign: Array


@dataclass(frozen=True, eq=False)
class _Alternative:
    """Carries both copies' memories, the sum of weights, and the sign of the kept alternative's."""

    problem: Problem

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        pair = x[:-1]
        first, _ = halved(pair)
        seen = AccumulatorPair(self.problem).initial(pair, coefficients, None)
        direct = Direct(self.problem).initial(first, len(aux.coefficients))
        return (*seen, jnp.zeros_like(x[0]), jnp.zeros_like(x[0]), *direct)

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        seen, (weight, sign), slopes = self._parts(carry)
        turn = self._turn(weight, step, aux)
        pair = step._replace(x=step.x[:-1], coefficients=step.coefficients[:-1])
        one, other = halved(AccumulatorPair(self.problem).advance(seen, pair, None))
        other = tuple(jnp.where(turn.turns, a, b) for a, b in zip(one, other, strict=True))
        first, own = halved(pair.x)[0], halved(pair.coefficients)[0]
        direct = Direct(self.problem).advance(slopes, first, step.wait, own, aux)
        return (*one, *other, turn.weight, jnp.where(turn.turns, turn.sign, sign), *direct)

    def steer(self, moved: Arrays, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        _, (weight, _), _ = self._parts(carry)
        turn = self._turn(weight, step, aux)
        first, second = halved(moved[:-1])
        jumps = self.problem.network.stoichiometry
        turned = [x + select_by(turn.reaction, list(row), 0.0) for x, row in zip(first, jumps, strict=True)]
        return (*first, *(jnp.where(turn.turns, a, b) for a, b in zip(turned, second, strict=True)), moved[-1])

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        """The functions along both copies, and for each parameter what their difference is worth."""
        seen, (weight, sign), slopes = self._parts(carry)
        pair = x[:-1]
        first, own = halved(pair)[0], halved(coefficients[:-1])[0]
        return (
            *AccumulatorPair(self.problem).record(seen, pair, coefficients[:-1], None),
            *(jnp.where(x[-1] == p, weight * sign, 0.0) for p in range(len(aux.coefficients))),
            *Direct(self.problem).record(slopes, first, own, aux),
        )

    def _parts(self, carry: Arrays) -> Sequence[Arrays]:
        return split_tuple(carry, (2 * len(Accumulator(self.problem).tracked), 2))

    def _turn(self, weight: Array, step: Step, aux: Tangents) -> _Turn:
        """Weigh all alternatives at the first copy's state, and keep one with a fair chance."""
        network = self.problem.network
        assert network.rates is not None
        x, own = halved(step.x[:-1])[0], halved(step.coefficients[:-1])[0]
        no_tangent = [None] * len(x)
        slopes = [push(network.rates, x, own, no_tangent, row)[1] for row in aux.coefficients]
        moving = [bool(column.any()) for column in network.stoichiometry.T]
        mine = [
            total([jnp.where(step.x[-1] == p, row[j], 0.0) for p, row in enumerate(slopes)]) * float(moving[j])
            + jnp.zeros_like(weight)
            for j in range(len(moving))
        ]
        sizes = [jnp.abs(slope) for slope in mine]
        sums = [sizes[0]]
        for value in sizes[1:]:
            sums.append(sums[-1] + value)
        size, clock = sums[-1], step.coefficients[-1]
        ticks = step.fires & (step.reaction == np.float32(len(step.propensities) - 1))
        gain = size / clock
        summed = weight + jnp.where(ticks, gain, 0.0)
        # The clock is the last reaction: within its share of the uniform, the remainder is uniform again.
        remainder = jnp.clip((step.uniform * step.total - (step.total - clock)) / clock, 0.0, 1.0) * summed
        turns = ticks & (remainder < gain)
        passed = [(remainder * clock >= s).astype(jnp.float32) for s in sums[:-1]]
        reaction = total([jnp.zeros_like(size, jnp.float32), *passed])
        return _Turn(summed, turns, reaction, jnp.sign(select_by(reaction, mine, 0.0)))
