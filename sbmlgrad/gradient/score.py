"""The score function estimator (likelihood ratio, Girsanov): unbiased, with no derivative of the observable.

d E f(X_t) = E f(X_t) W_t with W_t = d log p(path up to t) = sum over events of d log a_j - integral of d a0 du
(Plyasunov & Arkin, J. Comput. Phys. 2007). Centred: f minus its sample mean, which W's zero mean allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.gradient.estimator import Problem, Samples, Tangents, push
from sbmlgrad.simulation.ensemble import GRAIN
from sbmlgrad.simulation.ssa import Arrays, Step, select_by


@dataclass(frozen=True)
class Score:
    """The centred score function; initial counts have no density and so no score."""

    name: str = "score"

    def functional(self, problem: Problem) -> _PathScore:
        """The score of the path so far and, where observables hold parameters, their direct derivative."""
        return _PathScore(problem)

    def records(self, problem: Problem, parameters: int) -> int:
        """How many records the functional makes."""
        return parameters * (1 if problem.of_counts_alone else 1 + problem.functions)

    def samples(
        self, problem: Problem, values: np.ndarray, records: Sequence[np.ndarray], tangents: Tangents
    ) -> Samples:
        """(f(X_t) - mean of f) W_t for each trajectory."""
        parameters, n = len(tangents.counts), values.shape[-1]
        scores = np.reshape(records[:parameters], (parameters, 1, *values.shape[1:]))
        # Each trajectory is compared with the mean of the others of its grain, so that centring adds no bias, and
        # chunks of whole grains give the same samples however an ensemble is cut.
        begins = np.arange(0, n, GRAIN)
        sizes = np.diff(begins, append=n)
        sums = np.repeat(np.add.reduceat(values, begins, axis=-1), sizes, axis=-1)
        others = (sums - values) / np.repeat(np.maximum(sizes - 1, 1), sizes)
        derivatives = (values - others) * scores
        if not problem.of_counts_alone:
            derivatives = derivatives + np.reshape(records[parameters:], derivatives.shape)
        return Samples(values, derivatives)


@dataclass(frozen=True, eq=False)
class _PathScore:
    problem: Problem

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        if any(d is not None for dcounts in aux.counts for d in dcounts):
            raise SbmlgradError(
                "estimator 'score' has no derivative for initial amounts: they are fixed, not drawn; "
                "use estimator 'straight_through' for them"
            )
        return tuple(jnp.zeros_like(x[0]) for _ in aux.coefficients)

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        network = self.problem.network
        assert network.rates is not None
        still = [None] * len(step.x)
        inverse = 1.0 / select_by(step.reaction, step.propensities, 1.0)
        result = []
        for score, dcoefficients in zip(carry, aux.coefficients, strict=True):
            drates = push(network.rates, step.x, step.coefficients, still, dcoefficients)[1]
            gain = select_by(step.reaction, drates, 0.0) * inverse
            result.append(score + gain - step.wait * reduce(add, drates))
        return tuple(result)

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        if self.problem.of_counts_alone:
            return carry
        still = [None] * len(x)
        direct = [
            jnp.broadcast_to(value, x[0].shape)
            for dcoefficients in aux.coefficients
            for value in push(self.problem.values, x, coefficients, still, dcoefficients)[1]
        ]
        return (*carry, *direct)
