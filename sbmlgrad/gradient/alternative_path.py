"""Alternative paths: what would have become of a trajectory had one more reaction fired; unbiased.

d E F = E integral over s of sum_k d a_k(X_s) (F of the path with one more k at s - F of the path) (integral path
algorithm: Gupta, Rathinam, Khammash, J. Comput. Phys. 2018; smoothed perturbation analysis, Burger et al. arXiv
2604.02121). Times s come from a clock of constant rate beside the reactions. Of all alternatives up to a time one is
kept, with a probability in proportion to the size of its weight, and runs along with the trajectory by the split
coupling (a weighted reservoir of one, as in StochasticAD: Arya, Schauer, Schäfer, Rackauckas, NeurIPS 2022), so that
memory grows neither with events nor with parameters, which share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.coupled import WatchPair, by_initial_counts, halved, pair_network, unseen
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.observables import Autocorrelation
from sbmlgrad.gradient.problem import Problem, Tangents, push, total
from sbmlgrad.gradient.score import direct_part, split, split_tuple
from sbmlgrad.gradient.watch import Direct, Watch
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ensemble import Ensemble, initial_counts, run
from sbmlgrad.simulation.moments import Moments
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
        network = problem.known.setdefault("pair and clock", _with_clock(pair_network(problem.network)))
        functional = problem.known.setdefault(self.name, _Alternative(problem))
        parameters = len(problem.parameters)
        grid, places = problem.grid(task.times, task.start)
        latest = problem.latest(grid, places)
        span = float(grid[-1]) - task.start
        rate = np.float64(self.ticks / span if span else 1.0)
        scales = tuple(np.float64(abs(v)) if v else np.float64(1.0) for v in problem.own(task.values))
        start = initial_counts(point.counts, task.n, task.seed)
        ensemble = Ensemble(
            network=network,
            x0=[*start, *start],
            coefficients=(*point.coefficients, *point.coefficients, rate),
            times=grid,
            n=task.n,
            seed=task.seed,
            start=task.start,
            functional=functional,
            aux=_Aux(point.tangents, scales),
        )
        values, slopes, sizes = Moments(), Moments(), Moments()
        skip = len(network.species)
        for chunk in run(ensemble, task.progress):
            raw, other, weights, direct = split(chunk.records[skip:], (problem.size, problem.size, parameters))
            seen, alternative = (problem.finish(rows, grid, places, task.start) for rows in (raw, other))
            values.add(seen)
            weight = weights[:, latest]
            sizes.add(np.abs(weight))
            samples = (alternative - seen) * weight
            slopes.add(samples + direct_part(problem, raw, direct, parameters, grid, places, task.start))
        mean, stderr = by_initial_counts(problem, point, task)
        stderr = np.hypot(stderr, unseen(sizes.mean, values.sd, task.n))
        return Estimate(
            values.mean, values.stderr, slopes.mean + mean, np.hypot(slopes.stderr, stderr), task.n, values.sd
        )


def _refuse_products(name: str, problem: Problem) -> None:
    for function in problem.functions:
        if isinstance(function, Autocorrelation):
            raise EstimatorError(
                f"estimator {name!r} forgets what its alternative was at earlier times, which {function.label} asks "
                "for; use 'auto', 'score' or 'coupled_fd'"
            )


class _Aux(NamedTuple):
    """Derivatives of coefficients, and the sizes of parameters, which make weights of different ones comparable."""

    tangents: Tangents
    scales: tuple[Any, ...]


def _with_clock(pair: ReactionNetwork) -> ReactionNetwork:
    """The pair beside a clock, a last reaction that changes nothing; its rate is the last coefficient."""
    assert pair.rates is not None
    rates = pair.rates
    return ReactionNetwork(
        stoichiometry=np.pad(pair.stoichiometry, ((0, 0), (0, 1))),
        x0=pair.x0,
        parameters={**pair.parameters, "clock": 1.0},
        species=pair.species,
        reactions=(*pair.reactions, "clock"),
        rates=lambda x, c: (*rates(x, c[:-1]), jnp.broadcast_to(c[-1], x[0].shape)),
        nonnegative=pair.nonnegative,
    )


class _Turn(NamedTuple):
    """What a tick of the clock does: new sum of weights, whether the path turns, by which reaction, and its weights."""

    weight: Array
    turns: Array
    reaction: Array
    shares: list[Array]


@dataclass(frozen=True, eq=False)
class _Alternative:
    """Carries both copies' memories, the sum of weights, and for each parameter its share of the kept one's."""

    problem: Problem

    def initial(self, x: Arrays, coefficients: Arrays, aux: _Aux) -> Arrays:
        first, _ = halved(x)
        parameters = len(aux.scales)
        zeros = tuple(jnp.zeros_like(x[0]) for _ in range(1 + parameters))
        seen = WatchPair(self.problem).initial(x, coefficients, None)
        return (*seen, *zeros, *Direct(self.problem).initial(first, parameters))

    def advance(self, carry: Arrays, step: Step, aux: _Aux) -> Arrays:
        seen, (weight, *shares), slopes = self._parts(carry, aux)
        turn = self._turn(weight, step, aux)
        coefficients = step.coefficients[:-1]
        seen = WatchPair(self.problem).advance(seen, step._replace(coefficients=coefficients), None)
        one, other = halved(seen)
        other = tuple(jnp.where(turn.turns, a, b) for a, b in zip(one, other, strict=True))
        kept = [jnp.where(turn.turns, new, old) for new, old in zip(turn.shares, shares, strict=True)]
        first, _ = halved(step.x)
        own, _ = halved(coefficients)
        direct = Direct(self.problem).advance(slopes, first, step.wait, own, aux.tangents)
        return (*one, *other, turn.weight, *kept, *direct)

    def steer(self, moved: Arrays, carry: Arrays, step: Step, aux: _Aux) -> Arrays:
        _, (weight, *_), _ = self._parts(carry, aux)
        turn = self._turn(weight, step, aux)
        first, second = halved(moved)
        jumps = self.problem.network.stoichiometry
        turned = [x + select_by(turn.reaction, list(row), 0.0) for x, row in zip(first, jumps, strict=True)]
        return (*first, *(jnp.where(turn.turns, a, b) for a, b in zip(turned, second, strict=True)))

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: _Aux) -> Arrays:
        """The functions along both copies, and for each parameter what their difference is worth."""
        seen, (weight, *shares), slopes = self._parts(carry, aux)
        first, _ = halved(x)
        own, _ = halved(coefficients[:-1])
        return (
            *WatchPair(self.problem).record(seen, x, coefficients[:-1], None),
            *(weight * share for share in shares),
            *Direct(self.problem).record(slopes, first, own, aux.tangents),
        )

    def _parts(self, carry: Arrays, aux: _Aux) -> Sequence[Arrays]:
        return split_tuple(carry, (2 * len(Watch(self.problem).tracked), 1 + len(aux.scales)))

    def _turn(self, weight: Array, step: Step, aux: _Aux) -> _Turn:
        """Weigh all alternatives at the first copy's state, and keep one with a fair chance."""
        network = self.problem.network
        assert network.rates is not None
        x, own = halved(step.x)[0], halved(step.coefficients[:-1])[0]
        still = [None] * len(x)
        slopes = [
            [jnp.broadcast_to(d, x[0].shape) for d in push(network.rates, x, own, still, row)[1]]
            for row in aux.tangents.coefficients
        ]
        moving = [bool(column.any()) for column in network.stoichiometry.T]
        sizes = [
            total([s * jnp.abs(row[j]) for s, row in zip(aux.scales, slopes, strict=True)]) * float(moving[j])
            for j in range(len(moving))
        ]
        size = total(sizes)
        clock = step.coefficients[-1]
        ticks = step.fires & (step.reaction == np.float32(len(step.propensities) - 1))
        gain = size / clock
        summed = weight + jnp.where(ticks, gain, 0.0)
        # The clock is the last reaction: within its share of the uniform, the place is uniform again.
        place = jnp.clip((step.uniform * step.total - (step.total - clock)) / clock, 0.0, 1.0) * summed
        turns = ticks & (place < gain)
        threshold = place * clock
        sums = [sizes[0]]
        for value in sizes[1:]:
            sums.append(sums[-1] + value)
        reaction = total(
            [jnp.zeros_like(size, jnp.float32), *((threshold >= s).astype(jnp.float32) for s in sums[:-1])]
        )
        inverse = 1.0 / jnp.where(turns, select_by(reaction, sizes, 1.0), 1.0)
        shares = [select_by(reaction, row, 0.0) * inverse for row in slopes]
        return _Turn(summed, turns, reaction, shares)
