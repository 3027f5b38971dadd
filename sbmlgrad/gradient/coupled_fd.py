"""Coupled finite differences: the difference of two trajectories at parameters a little apart, kept close by coupling.

Central differences by a relative step h have a bias of order h^2, and with the split coupling a variance of order 1/h
(Anderson, SIAM J. Numer. Anal. 2012), where independent trajectories have 1/h^2. One ensemble of pairs for each
parameter, and one at the values themselves: means over pairs would be off by order h^2, and variances by the square of
how far the shift moves a mean. Initial counts are shifted by whole molecules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.coupled import by_initial_counts, coupled_samples, unseen
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.simulation.ensemble import initial_counts
from sbmlgrad.simulation.moments import Moments


@dataclass(frozen=True)
class CoupledDifferences:
    """Central differences by ``step`` times the parameter, with the split coupling."""

    step: float = 0.05
    name: str = "coupled_fd"
    unbiased: bool = False

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        values = problem.own(task.values)
        point = problem.at(task.values)
        start = initial_counts(point.counts, task.n, task.seed)
        mean, stderr = by_initial_counts(problem, point, task)
        for p, parameter in enumerate(problem.parameters):
            if not point.tangents.moves_rates(p):
                continue
            if values[p] == 0:
                raise EstimatorError(
                    f"estimator {self.name!r} shifts parameters by a part of themselves, but {parameter!r} is 0; use "
                    "'auto' or 'straight_through' for it"
                )
            shift = self.step * values[p]
            above, below = (problem.at(problem.shifted(task.values, p, by)) for by in (shift, -shift))
            own, slope = Moments(), Moments()
            for first, second in coupled_samples(problem, task, start, start, (above.coefficients, below.coefficients)):
                own.add((first + second) / 2)
                slope.add((first - second) / (2 * shift))
            mean[p] += slope.mean
            allowance = unseen(1 / abs(2 * shift), own.sd, task.n)
            stderr[p] = np.sqrt(stderr[p] ** 2 + slope.stderr**2 + allowance**2)
        level = Moments()
        for alike, _ in coupled_samples(problem, task, start, start, (point.coefficients, point.coefficients)):
            level.add(alike)
        note = f"steps of {self.step:g} of each parameter"
        return Estimate(level.mean, level.stderr, mean, stderr, task.n, level.sd, note)
