"""Coupled finite differences: the difference of two trajectories at parameters a little apart, kept close by coupling.

Central differences by a relative step h have a bias of order h^2, and with the split coupling a variance of order 1/h
(Anderson, SIAM J. Numer. Anal. 2012), where independent trajectories have 1/h^2. One ensemble of pairs for each
parameter. Initial counts are shifted by whole molecules.
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
        level = Moments()
        for p, parameter in enumerate(problem.parameters):
            if not point.tangents.moves_rates(p) and level.count:
                continue
            if values[p] == 0 and point.tangents.moves_rates(p):
                raise EstimatorError(
                    f"estimator {self.name!r} shifts parameters by a part of themselves, but {parameter!r} is 0; use "
                    "'auto' or 'straight_through' for it"
                )
            shift = self.step * values[p]
            above, below = (problem.at(problem.shifted(task.values, p, by)) for by in (shift, -shift))
            own, slope = Moments(), Moments()
            for first, second in coupled_samples(problem, task, start, start, (above.coefficients, below.coefficients)):
                own.add((first + second) / 2)
                if shift:
                    slope.add((first - second) / (2 * shift))
            level = level if level.count else own
            if point.tangents.moves_rates(p):
                mean[p] += slope.mean
                allowance = unseen(1 / abs(2 * shift), own.sd, task.n)
                stderr[p] = np.sqrt(stderr[p] ** 2 + slope.stderr**2 + allowance**2)
        note = f"steps of {self.step:g} of each parameter"
        return Estimate(level.mean, level.stderr, mean, stderr, task.n, level.sd, note)
