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
    """Straight-through with a generator window that reaches back over ``window`` observations.

    None reaches back to the start: the least bias. A short window has less variance in long trajectories.
    """

    window: int | None = None
    name: str = "straight_through"

    def functional(self, problem: Problem) -> _Pushforward:
        """Tangents of counts, of the time since the last observation, and of the generator integrals."""
        return _Pushforward(problem, self.window is not None)

    def samples(
        self, problem: Problem, values: np.ndarray, records: Sequence[np.ndarray], tangents: Tangents
    ) -> Samples:
        """The derivative of f(X_s) + integral_s^t (A f) for each observation time t."""
        parameters = len(tangents.counts)
        size = problem.functions * parameters
        shape = (parameters, problem.functions, *values.shape[1:])
        integrals = np.reshape(records[:size], shape)
        if self.window is None:
            return Samples(values, integrals)
        states = np.reshape(records[size:], shape)
        derivatives = integrals.copy()
        derivatives[:, :, self.window :] -= (integrals - states)[:, :, : -self.window]
        return Samples(values, derivatives)


@dataclass(frozen=True, eq=False)
class _Pushforward:
    """Carries, for each parameter: a tangent for each count, one for time, an integral for each function."""

    problem: Problem
    keep_states: bool

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        carry: list[Any] = []
        for dcounts, dcoefficients in zip(aux.counts, aux.coefficients, strict=True):
            dx = [jnp.zeros_like(x[0]) if d is None else jnp.broadcast_to(d, x[0].shape) for d in dcounts]
            values = push(self.problem.values, x, coefficients, dx, dcoefficients)[1]
            carry += [*dx, jnp.zeros_like(x[0]), *(jnp.broadcast_to(v, x[0].shape) for v in values)]
        return tuple(carry)

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        if not carry:
            return ()
        network = self.problem.network
        inverse = 1.0 / step.total
        fired = select_by(step.reaction, step.propensities, 1.0)
        jump = [select_by(step.reaction, list(row), 0.0) for row in network.stoichiometry]
        mean_jump = [_weighted(row, step.propensities) * inverse for row in network.stoichiometry]
        result: list[Any] = []
        for dx, dtime, integrals, dcoefficients in self._unpack(carry, aux):
            (_, drift), (drates, ddrift) = push(
                self.problem.rates_and_generator, step.x, step.coefficients, dx, dcoefficients
            )
            dlog_total = reduce(add, drates) * inverse
            dlog_fired = select_by(step.reaction, drates, 0.0) / fired
            dwait = jnp.where(step.fires, -step.wait * dlog_total, -dtime)
            for d, s, mean, row in zip(dx, jump, mean_jump, network.stoichiometry, strict=True):
                shift = 0.5 * (s * (dlog_fired - dlog_total) - mean * dlog_fired + _weighted(row, drates) * inverse)
                result.append(jnp.where(step.fires, d + shift, d) if row.any() else d)
            result.append(jnp.where(step.fires, dtime + dwait, 0.0))
            result += [
                total + change * step.wait + rate * dwait
                for total, rate, change in zip(integrals, drift, ddrift, strict=True)
            ]
        return tuple(result)

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        integrals: list[Any] = []
        states: list[Any] = []
        for dx, _, integral, dcoefficients in self._unpack(carry, aux):
            integrals += integral
            if self.keep_states:
                values = push(self.problem.values, x, coefficients, dx, dcoefficients)[1]
                states += [jnp.broadcast_to(v, x[0].shape) for v in values]
        return (*integrals, *states)

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
