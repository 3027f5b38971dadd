"""Straight-through by normalised propensities (Vilar & Saiz, *Propensity Straight-Through*, arXiv 2608.25631).

Forward, the exact choice of a reaction; backward, its jump S_J is replaced by the mean jump sum_k p_k S_k with
p = a / a0, differentiated on the exact path. No noise is added and there is no temperature, and the derivative of the
mean of one step, given the state before it, is exact. Waiting times are E / a0, and the state is read off at the time
of observation, as by the plain estimator, so that how many reactions happen before it has no derivative either. For
comparison. Of the article no more was known than this; what it does about times of observation may be different.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.gradient.straight_through import refuse_paths, weighted
from sbmlgrad.gradient.straight_through_plain import AtObservation, estimate_at_observation
from sbmlgrad.simulation.ssa import Arrays, Step


@dataclass(frozen=True)
class PropensityStraightThrough:
    """Normalised propensities straight through, of the state at the time of observation."""

    name: str = "propensity_straight_through"
    unbiased: bool = False

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        refuse_paths(self.name, problem)
        return estimate_at_observation(problem, task, problem.once((self.name,), lambda: _Normalised(problem)))


@dataclass(frozen=True, eq=False)
class _Normalised(AtObservation):
    """Mean jumps."""

    def choices(self, step: Step) -> Callable[[Arrays, Any], list[Any]]:
        inverse = jnp.where(step.total > 0, 1.0 / step.total, 0.0)
        jumps = self.problem.network.stoichiometry
        means = [weighted(row, step.propensities) * inverse for row in jumps]

        def shifts(drates: Arrays, dlog_total: Any) -> list[Any]:
            changes = [weighted(row, drates) * inverse for row in jumps]
            return [change - mean * dlog_total for change, mean in zip(changes, means, strict=True)]

        return shifts
