"""The likelihood of trajectories by the forward filter on a finite state projection."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.likelihood import Evaluation, Expected, expected_values
from sbmlgrad.likelihood.projection import EQUAL, LIMIT, Layout, Projected, along, evaluation, go_on, seen_counts
from sbmlgrad.likelihood.records import Trajectories


class ProjectedPaths(Projected):
    """Trajectories, noisy or not, of a model whose states fit; ``problem`` has the observables among its variables."""

    name = "projection"

    def __init__(self, problem: Problem, data: Trajectories, limit: int = LIMIT):
        self.data = data
        rows = data.values.transpose(0, 2, 1).reshape(-1, len(data.observables))
        seen = seen_counts(problem, data.observables, rows)
        super().__init__(problem, data.times, data.start, seen, len(data.values), limit)
        self._places = [problem.variables.index(name) for name in data.observables]

    @property
    def size(self) -> int:
        return self.data.size

    def evaluate(self, values: np.ndarray) -> Evaluation:
        primals, directions, layout, series = self.arguments(values)
        value, score, _ = self._compiled("slopes", self._with_slopes)(
            primals, directions, layout, series, *self.data.by_time
        )
        return evaluation(value, score)

    def expected(self, values: np.ndarray) -> Expected:
        mean, variance, fourth = (np.asarray(v) for v in self._looked(values)[1])
        wildness = np.where(variance > 0, fourth / np.where(variance > 0, variance, 1.0) ** 2, 3.0)
        return expected_values(self.data, mean, variance, wildness)

    def losses(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        _, _, lost, occupied = self._looked(values)
        return float(lost), np.asarray(occupied)[: len(self.space)]

    def describe(self) -> str:
        return f"likelihood of trajectories by finite state projection, {len(self.space)} states"

    def _compiled(self, kind: str, function: Any) -> Any:
        key = ("projected paths", kind, self.data.observables)
        return self.problem.once(key, lambda: jax.jit(function))

    def _looked(self, values: np.ndarray) -> Any:
        primals, _, layout, series = self.arguments(values)
        return self._compiled("look", self._filter)(primals, layout, series, *self.data.by_time)

    def _with_slopes(
        self, primals: Any, directions: Any, layout: Layout, series: Any, values: Array, variance: Array
    ) -> Any:
        def value(coefficients: Any, law: Array) -> tuple[Array, None]:
            return self._filter((coefficients, law), layout, series, values, variance)[0], None

        return along(value, primals, directions)

    def _filter(self, primals: Any, layout: Layout, series: Any, values: Array, variance: Array) -> Any:
        """The log-likelihood, moments of each value before it is seen (3, replicates, observables, times), the most
        that is lost in a step, and the mean law (states,) just before values are seen."""
        coefficients, law = primals
        terms, many, fastest = series
        rates = self._rates(coefficients, layout.x, layout.real)
        every = self.observed(coefficients, layout.x)
        signal = jnp.stack([every[i] for i in self._places])

        def step(carry: tuple[Array, Array], row: Any) -> Any:
            law, total = carry
            weights, count, value, own = row
            law = jax.vmap(lambda one: go_on(rates, layout, one, weights, count, fastest))(law)
            kept, before = law.sum(axis=-1), law.mean(axis=0)
            moments = _moments(law, signal, own)
            weighed = jnp.where(layout.real[None], _log_density(value, signal, own), -jnp.inf)
            most = lax.stop_gradient(jnp.max(weighed, axis=-1))
            most = jnp.where(jnp.isfinite(most), most, 0.0)
            law = law * jnp.exp(weighed - most[:, None])
            size = law.sum(axis=-1)
            seen = jnp.where(size > 0, size, 1.0)
            law = law / seen[:, None]
            total = total + jnp.sum(jnp.where(size > 0, jnp.log(seen) + most, -jnp.inf))
            return (law, total), (moments, jnp.max(1 - kept), before)

        begin = jnp.broadcast_to(law[None], (values.shape[1], *law.shape))
        (_, total), (moments, lost, laws) = lax.scan(step, (begin, jnp.zeros(())), (terms, many, values, variance))
        return total, jnp.moveaxis(moments, 0, -1), jnp.max(lost), laws.mean(axis=0)


def log_density(value: Array, seen: Array, variance: Array) -> Array:
    """Of values, where ``seen`` is measured with errors of this variance, or exactly where that is 0."""
    off = value - seen
    same = jnp.abs(off) <= EQUAL * jnp.maximum(jnp.abs(value), 1.0)
    safe = jnp.where(variance > 0, variance, 1.0)
    normal = -0.5 * (jnp.square(off) / safe + jnp.log(2 * jnp.pi * safe))
    return jnp.where(variance > 0, normal, jnp.where(same, 0.0, -jnp.inf))


def _log_density(value: Array, signal: Array, own: Array) -> Array:
    """Of values (replicates, observables) in each state: (replicates, states)."""
    density = log_density(value[..., None], signal[None], own[..., None])
    return jnp.sum(jnp.where(jnp.isnan(value)[..., None], 0.0, density), axis=1)


def _moments(law: Array, signal: Array, own: Array) -> Array:
    """Mean, variance and fourth central moment (3, replicates, observables) of what is measured, under laws."""
    share = law / law.sum(axis=-1, keepdims=True)
    mean = share @ signal.T
    off = signal[None] - mean[..., None]
    spread = jnp.einsum("rs,ros->ro", share, jnp.square(off))
    fourth = jnp.einsum("rs,ros->ro", share, jnp.square(jnp.square(off)))
    return jnp.stack([mean, spread + own, fourth + 6 * spread * own + 3 * jnp.square(own)])
