"""Particles that are led towards what will be observed next, with weights that make up for it.

Propensities are multiplied by how much more likely the observation is after the reaction than before it, in the linear
noise approximation of one count from where the particle is (Golightly & Wilkinson, Stat. Appl. Genet. Mol. Biol. 14,
169, 2015; Golightly & Sherlock, Stat. Comput. 29, 1057, 2019). They are held until the next reaction, or the next of
some times on the way, so that the density of the path under them is known and the weights are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.simulation.ssa import Arrays

REMAINING = (0.5, 0.25, 0.12, 0.05, 0.0)
"""Shares of the span to the observation that are left where the guidance is looked up again."""

_WIDEST = 3.0  # of the logarithm of a multiplier: what is left undone is done by the weights
_FLOOR = 0.3  # variance in squares of molecules, below which a count is not normal at all


@dataclass(frozen=True, eq=False)
class Guidance:
    """Multipliers of propensities; ``seen`` are pairs of an observable and the species that it counts."""

    problem: Problem
    seen: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, problem: Problem, places: Sequence[int]) -> Guidance:
        """By those observables, the variables at ``places``, that are counts."""
        counted = [(o, problem.linear[place]) for o, place in enumerate(places)]
        return cls(problem, tuple((o, species) for o, species in counted if species is not None))

    def multipliers(self, x: Arrays, coefficients: Arrays, left: Array, value: Array, variance: Array) -> list[Any]:
        """One for each reaction, of a state and the time that is ``left`` to values (observables, ...) with variances.

        A value that is nan guides nowhere.
        """
        network = self.problem.network
        logs: list[Any] = [0.0] * len(network.reactions)
        for observable, species in self.seen:
            jumps = network.stoichiometry[species]
            drift, rate, noise = self._course(x, coefficients, species)
            kept, span = _decay(rate, left), _integral(rate, left)
            wide = noise * _integral(2 * rate, left) + variance[observable] + _FLOOR
            off = value[observable] - x[species] - drift * span
            for reaction in np.flatnonzero(jumps):
                step = float(jumps[reaction]) * kept
                gain = step * (2 * off - step) / (2 * wide)
                logs[reaction] = logs[reaction] + jnp.where(jnp.isnan(value[observable]), 0.0, gain)
        return [jnp.exp(jnp.clip(log, -_WIDEST, _WIDEST)) if not isinstance(log, float) else 1.0 for log in logs]

    def _course(self, x: Arrays, coefficients: Arrays, species: int) -> tuple[Array, Array, Array]:
        """Drift of a count, the rate at which it relaxes by itself, and the variance that it gains per time."""
        network = self.problem.network
        assert network.rates is not None
        rates, jumps = network.rates, network.stoichiometry[species]

        def moments(count: Array) -> tuple[Array, Array]:
            every = rates(tuple(count if i == species else c for i, c in enumerate(x)), coefficients)
            own = [(float(jumps[j]), jnp.broadcast_to(every[j], count.shape)) for j in np.flatnonzero(jumps)]
            zero = jnp.zeros_like(count)
            return sum((s * a for s, a in own), zero), sum((s * s * a for s, a in own), zero)

        (drift, noise), (slope, _) = jax.jvp(moments, (x[species],), (jnp.ones_like(x[species]),))
        return drift, -slope, noise


def _decay(rate: Array, left: Array) -> Array:
    return jnp.exp(-jnp.clip(rate * left, -1.0, 30.0))


def _integral(rate: Array, left: Array) -> Array:
    """The integral of exp(-rate t) up to ``left``."""
    z = jnp.clip(rate * left, -1.0, 30.0)
    small = jnp.abs(z) < 1e-4
    return left * jnp.where(small, 1 - z / 2, -jnp.expm1(-z) / jnp.where(small, 1.0, z))
