"""How likely a simulated path is at other values of the parameters than those it was simulated with.

The density of a path is the product of the propensities of the reactions that fired and the exponential of minus the
integral of their sum. A propensity that is a factor of the parameters times a function of the counts, as in mass
action, asks for two numbers: how often its reaction fired, and the integral of the propensity. Of others the density is
known to second order in the logarithms of what they contain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.gradient.problem import Point, Problem
from sbmlgrad.simulation.ssa import Arrays

_SAME = 1e-7  # relative, of slopes that are the same but for rounding
_ELSEWHERE = 1.37  # factors are looked for at these multiples of the coefficients too


@dataclass(frozen=True, eq=False)
class PathDensity:
    """What is kept of a path, and the ratio of its densities.

    Attributes
    ----------
    factors
        Reactions whose propensity is a factor of the parameters times a function of the counts.
    curved
        Other reactions whose propensity the parameters reach.
    active
        Coefficients that the parameters reach.
    probes
        For each of ``factors`` a state (species, factors) in which it fires.
    """

    problem: Problem
    factors: tuple[int, ...]
    curved: tuple[int, ...]
    active: tuple[int, ...]
    probes: np.ndarray

    @classmethod
    def of(cls, problem: Problem, point: Point, states: np.ndarray) -> PathDensity:
        """For a problem whose paths visit ``states`` (species, m)."""
        rows = point.tangents.coefficients
        active = tuple(c for c in range(len(point.coefficients)) if any(row[c] is not None for row in rows))
        reached: np.ndarray = np.flatnonzero(problem.reached[:, list(active)].any(axis=1))
        rates, slopes = _log_slopes(problem, point.coefficients, active, states)
        scaled = tuple(c * _ELSEWHERE if i in active else c for i, c in enumerate(point.coefficients))
        factors, curved, probes = [], [], []
        others = _log_slopes(problem, scaled, active, states)[1]
        for reaction in map(int, reached):
            fires = np.flatnonzero(rates[reaction] > 0)
            if len(fires) and all(_constant(part[:, reaction, fires]) for part in (slopes, others)):
                factors.append(reaction)
                probes.append(states[:, fires[0]])
            else:
                curved.append(reaction)
        columns = np.array(probes).T if probes else np.zeros((len(states), 0))
        return cls(problem, tuple(factors), tuple(curved), active, columns)

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return list(combinations_with_replacement(range(len(self.active)), 2)) if self.curved else []

    @property
    def size(self) -> int:
        """How many numbers are kept of a path."""
        return 2 * len(self.factors) + (len(self.active) + len(self._pairs) if self.curved else 0)

    def gains(self, x: Arrays, reaction: Array, wait: Array, coefficients: Arrays) -> list[Array]:
        """What a step of ``wait`` from ``x``, ended by a reaction, adds to what is kept (size,)."""
        rates = self._rates(x, coefficients)
        fired = [(reaction == np.float32(j)).astype(jnp.float64) for j in self.factors]
        return [*fired, *(rates[j] * wait for j in self.factors), *self._curved_gains(x, reaction, wait, coefficients)]

    def log_ratio(self, kept: Array, start: Arrays, now: Arrays) -> Array:
        """Logarithms (...) of densities at coefficients ``now`` over those at ``start``, of ``kept`` (size, ...)."""
        many = len(self.factors)
        total = jnp.zeros(kept.shape[1:])
        if many:
            x = tuple(jnp.asarray(row) for row in self.probes)
            before, after = self._rates(x, start), self._rates(x, now)
            ratios = [after[j][i] / before[j][i] for i, j in enumerate(self.factors)]
            for i, ratio in enumerate(ratios):
                total = total + kept[i] * jnp.log(ratio) - kept[many + i] * (ratio - 1.0)
        if self.curved:
            rest, size = kept[2 * many :], len(self.active)
            moves = [_coordinate(start[c], now[c]) for c in self.active]
            total = total + sum(move * rest[m] for m, move in enumerate(moves))
            for i, (m, n) in enumerate(self._pairs):
                total = total + (0.5 if m == n else 1.0) * moves[m] * moves[n] * rest[size + i]
        return total

    def _rates(self, x: Arrays, coefficients: Arrays) -> Arrays:
        assert self.problem.network.rates is not None
        return tuple(jnp.broadcast_to(a, x[0].shape) for a in self.problem.network.rates(x, coefficients))

    def _curved_gains(self, x: Arrays, reaction: Array, wait: Array, coefficients: Arrays) -> list[Array]:
        """First and second derivatives of what the other reactions add to the logarithm of the density."""
        if not self.curved:
            return []

        def rates(move: Array) -> Array:
            every = self._rates(x, _moved(coefficients, self.active, move))
            return jnp.stack([every[j] for j in self.curved])

        still, axes = jnp.zeros(len(self.active)), jnp.eye(len(self.active))

        def slope(move: Array, m: int) -> Array:
            return jax.jvp(rates, (move,), (axes[m],))[1]

        level = rates(still)
        safe = jnp.where(level > 0, level, 1.0)
        fires = jnp.stack([reaction == np.float32(j) for j in self.curved])
        first = [slope(still, m) for m in range(len(self.active))]
        gains = [jnp.sum(jnp.where(fires, d / safe, 0.0) - d * wait[None], axis=0) for d in first]
        for m, n in self._pairs:
            second = jax.jvp(lambda move, m=m: slope(move, m), (still,), (axes[n],))[1]
            at_firing = second / safe - first[m] * first[n] / jnp.square(safe)
            gains.append(jnp.sum(jnp.where(fires, at_firing, 0.0) - second * wait[None], axis=0))
        return gains


def _coordinate(start: Array, now: Array) -> Array:
    """How far a coefficient has gone: as a logarithm, or as it is where it starts from 0."""
    zero = start == 0
    return jnp.where(zero, now, jnp.log(jnp.where(zero, 1.0, now / jnp.where(zero, 1.0, start))))


def _moved(coefficients: Arrays, active: Sequence[int], move: Array) -> Arrays:
    """Coefficients after a move in these coordinates."""
    result = list(coefficients)
    for m, c in enumerate(active):
        result[c] = jnp.where(result[c] == 0, move[m], result[c] * jnp.exp(move[m]))
    return tuple(result)


def _log_slopes(
    problem: Problem, coefficients: Any, active: Sequence[int], states: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Propensities (reactions, m), and the slopes (active, reactions, m) of their logarithms."""
    assert problem.network.rates is not None
    rates, x = problem.network.rates, tuple(jnp.asarray(row) for row in states)

    def level(move: Array) -> Array:
        every = rates(x, _moved(tuple(map(jnp.asarray, coefficients)), active, move))
        return jnp.stack([jnp.broadcast_to(a, x[0].shape) for a in every])

    still = jnp.zeros(len(active))
    found = np.asarray(level(still))
    slopes = [np.asarray(jax.jvp(level, (still,), (axis,))[1]) for axis in jnp.eye(len(active))]
    with np.errstate(divide="ignore", invalid="ignore"):
        return found, np.array([slope / found for slope in slopes]).reshape(len(active), *found.shape)


def _constant(slopes: np.ndarray) -> bool:
    """Whether slopes (active, m) are the same in all states."""
    return bool(np.all(np.abs(slopes - slopes[:, :1]) <= _SAME * (1 + np.abs(slopes[:, :1]))))
