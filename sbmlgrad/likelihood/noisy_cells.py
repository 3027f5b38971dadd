"""Snapshots whose numbers are measured with noise: the density of each cell's values, over all states."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.likelihood.layout import Layout, bucket
from sbmlgrad.likelihood.likelihood import Evaluation
from sbmlgrad.likelihood.measurement import Laws, central_moments, log_density_in_states
from sbmlgrad.likelihood.projection import LIMIT, along, evaluation
from sbmlgrad.likelihood.readings import Readings, placed
from sbmlgrad.likelihood.records import Snapshots
from sbmlgrad.likelihood.steps import Steps


class NoisyCells(ProjectedCells):
    """Snapshots of which some observables have a law of measurement; the others are counts."""

    def __init__(self, problem: Problem, data: Snapshots, laws: Laws, limit: int = LIMIT):
        super().__init__(problem, data, laws, limit)
        most = bucket(max(len(rows) for rows in data.values))
        self._values = np.full((len(data.times), most, len(data.observables)), np.nan)
        self._numbers = np.zeros((len(data.times), most))
        for time, (rows, cells) in enumerate(zip(data.values, data.cells, strict=True)):
            self._values[time, : len(rows)], self._numbers[time, : len(rows)] = rows, cells

    def match(self, values: np.ndarray) -> None:
        """Nothing to be found: every state may show any value. Raises as :meth:`Readings.check` does."""
        Readings.of(self.problem, self.data.observables, self.laws_of_values).check(
            self.problem.at(values).coefficients, tuple(map(jnp.asarray, self.space.x))
        )

    def evaluate(self, values: np.ndarray) -> Evaluation:
        compiled = self._compiled("noisy slopes", self._noisy_slopes)
        return evaluation(*compiled(*self.arguments(values), self._values, self._numbers))

    def behind(self, values: np.ndarray) -> np.ndarray:
        laws, every = self.probabilities(values), self.observed(self.problem.at(values).coefficients, self.layout.x)
        signal = jnp.stack([every[i] for i in self._places])
        placed_laws = placed(self.problem, self.data.observables, self.laws_of_values)
        own = [(name, every[i] if i >= 0 else None) for name, i in placed_laws]
        result = np.zeros(laws.shape[1])
        for law, rows, numbers in zip(laws, self._values, self._numbers, strict=True):
            density = np.asarray(log_density_in_states(jnp.asarray(rows), signal, jnp.zeros(rows.shape), own))[
                :, : len(law)
            ]
            with np.errstate(divide="ignore"):
                logs = np.log(np.maximum(law, 0.0)) + density
            largest = logs.max(axis=1, keepdims=True)
            weights = np.exp(logs - np.where(np.isfinite(largest), largest, 0.0))
            size = weights.sum(axis=1)
            result += np.divide(numbers, size, out=np.zeros_like(numbers), where=size > 0) @ weights
        return result / self.size

    def moments_in_states(self, values: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        every = self.observed(self.problem.at(values).coefficients, tuple(map(jnp.asarray, self.space.x)))
        exact = super().moments_in_states(values)
        result = []
        for index, (law, place) in enumerate(placed(self.problem, self.data.observables, self.laws_of_values)):
            parameter = every[place] if place >= 0 else None
            moments = central_moments(law, every[self._places[index]], parameter) if law else exact[index]
            result.append(tuple(np.broadcast_to(np.asarray(m), (len(self.space),)) for m in moments))
        return result

    def _noisy_slopes(
        self, primals: Any, directions: Any, layout: Layout, steps: Steps, values: Array, numbers: Array
    ) -> tuple[Array, Array, Array]:
        """The log-likelihood, its derivatives (P,), and the information (P, P) by the scores of single cells."""

        def logs(coefficients: Any, law: Array) -> tuple[Array, None]:
            """Log densities (times, rows)."""
            laws = self.every_law((coefficients, law), layout, steps)
            every = self.observed(coefficients, layout.x)
            signal = jnp.stack([every[i] for i in self._places])
            every_law = placed(self.problem, self.data.observables, self.laws_of_values)
            own = [(name, every[i] if i >= 0 else None) for name, i in every_law]

            def one(law: Array, values: Array) -> Array:
                density = log_density_in_states(values, signal, jnp.zeros_like(values), own)
                density = jnp.where((layout.real & (law > 0))[None], density, -jnp.inf)
                weights = jnp.where(law > 0, law, 1.0)
                return jax.scipy.special.logsumexp(density, axis=1, b=weights[None])

            return jax.vmap(one)(laws, values), None

        density, slopes, _ = along(logs, primals, directions)
        there = numbers > 0
        value = jnp.sum(jnp.where(there, numbers * jnp.where(there, density, 0.0), 0.0))
        slopes = jnp.where(there[None], slopes, 0.0)
        return value, jnp.einsum("ptr,tr->p", slopes, numbers), jnp.einsum("ptr,tr,qtr->pq", slopes, numbers, slopes)
