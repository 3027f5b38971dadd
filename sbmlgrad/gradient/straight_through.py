"""The straight-through estimator, observed through the generator.

Forward, trajectories are exact. Backward, three things carry derivatives:

- *which* reaction fires: a jump S_J with J ~ a / a0 is replaced by its second-order straight-through surrogate
  (Liu, Dong, Liu, Yu, Gao, "Bridging discrete and backpropagation: straight-through and beyond", NeurIPS 2023).
  Its derivative is half of sum_k p_k (S_J - S_k) d(log a_J - log a_k): in expectation exactly d E[S_J], placed
  halfway between the reaction that fired and the one that might have. Unlike the Gumbel-Softmax relaxation
  (Vilar & Saiz, arXiv 2602.19775) it has no temperature and draws no noise of its own;
- *when* it fires: waiting times are E / a0 and carry -E / a0^2 d a0;
- *how often* something fires before the observation: E f(X_t) = E f(X_s) + E integral_s^t (A f)(X_u) du, the
  formula of Dynkin, is differentiated instead of f(X_t), which does not see a reaction cross t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.estimator import Problem, Samples, Tangents, push
from sbmlgrad.simulation.ssa import Arrays, Step, select_by


@dataclass(frozen=True)
class StraightThrough:
    """Straight-through with a generator window that reaches back to the start, whatever is observed between."""

    name: str = "straight_through"

    def functional(self, problem: Problem) -> _Pushforward:
        """Tangents of counts, of the time of the next event, and of the generator integrals."""
        return _Pushforward(problem)

    def samples(
        self, problem: Problem, values: np.ndarray, records: Sequence[np.ndarray], tangents: Tangents
    ) -> Samples:
        """The derivative of f(X_0) + integral_0^t (A f) for each observation time t."""
        return Samples(values, np.reshape(records, (len(tangents.counts), problem.functions, *values.shape[1:])))


@dataclass(frozen=True, eq=False)
class _Pushforward:
    """Carries, for each parameter: a tangent for each count, one for time, an integral for each function.

    The tangent of time is that of the last event's, plus what the time waited since then would add. An observation
    does not reset it: the fresh waiting time that follows continues the interrupted one.
    """

    problem: Problem

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        carry: list[Any] = []
        for dcounts, dcoefficients in zip(aux.counts, aux.coefficients, strict=True):
            dx = [np.zeros_like(x[0]) if d is None else np.broadcast_to(d, x[0].shape) for d in dcounts]
            values = push(self.problem.values, x, coefficients, dx, dcoefficients)[1]
            carry += [*dx, np.zeros_like(x[0]), *(np.broadcast_to(v, x[0].shape) for v in values)]
        return tuple(carry)

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        if not carry:
            return ()
        network = self.problem.network
        inverse = jnp.where(step.total > 0, 1.0 / step.total, 0.0)
        inverse_fired = 1.0 / select_by(step.reaction, step.propensities, 1.0)
        jump = [select_by(step.reaction, list(row), 0.0) for row in network.stoichiometry]
        mean_jump = [_weighted(row, step.propensities) * inverse for row in network.stoichiometry]
        result: list[Any] = []
        for dx, dtime, integrals, dcoefficients in self._unpack(carry, aux):
            (_, drift), (drates, ddrift) = push(
                self.problem.rates_and_generator, step.x, step.coefficients, dx, dcoefficients
            )
            dlog_total = reduce(add, drates) * inverse
            dlog_fired = select_by(step.reaction, drates, 0.0) * inverse_fired
            dwait = -step.wait * dlog_total
            for d, s, mean, row in zip(dx, jump, mean_jump, network.stoichiometry, strict=True):
                shift = 0.5 * (s * (dlog_fired - dlog_total) - mean * dlog_fired + _weighted(row, drates) * inverse)
                result.append(jnp.where(step.fires, d + shift, d) if row.any() else d)
            result.append(dtime + dwait)
            result += [
                total + change * step.wait + rate * dwait
                for total, rate, change in zip(integrals, drift, ddrift, strict=True)
            ]
        return tuple(result)

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        if not carry:
            return ()
        _, drift = self.problem.rates_and_generator(x, coefficients)
        # The time of the observation is fixed: what the interval since the last event gains at its beginning,
        # it does not gain at its end.
        return tuple(
            total - rate * dtime
            for _, dtime, integrals, _ in self._unpack(carry, aux)
            for total, rate in zip(integrals, drift, strict=True)
        )

    def _unpack(self, carry: Arrays, aux: Tangents) -> list[tuple[Arrays, Any, Arrays, tuple[Any, ...]]]:
        """For each parameter: count tangents, time tangent, integrals, and the coefficients' tangents."""
        counts, functions = len(self.problem.network.species), self.problem.functions
        width = counts + 1 + functions
        parts = [carry[begin : begin + width] for begin in range(0, len(carry), width)]
        return [
            (part[:counts], part[counts], part[counts + 1 :], dcoefficients)
            for part, dcoefficients in zip(parts, aux.coefficients, strict=True)
        ]


def _weighted(weights: np.ndarray, values: Sequence[Any]) -> Any:
    terms = [value * float(weight) for weight, value in zip(weights, values, strict=True) if weight]
    return reduce(add, terms, 0.0)
