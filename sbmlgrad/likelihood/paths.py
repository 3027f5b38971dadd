"""The likelihood of trajectories by the forward filter on a finite state projection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.layout import Layout
from sbmlgrad.likelihood.likelihood import Evaluation, Expected, expected_values
from sbmlgrad.likelihood.measurement import Laws, log_density_in_states, mixture_moments
from sbmlgrad.likelihood.projection import LIMIT, Projected, along, evaluation, seen_counts
from sbmlgrad.likelihood.readings import Readings, placed
from sbmlgrad.likelihood.records import Trajectories
from sbmlgrad.likelihood.steps import Steps


class ProjectedPaths(Projected):
    """Trajectories, noisy or not, of a model whose states fit; ``problem`` has the observables among its variables."""

    name = "projection"

    def __init__(self, problem: Problem, data: Trajectories, laws: Laws | None = None, limit: int = LIMIT):
        self.data, self.laws = data, laws or {}
        rows = data.values.transpose(0, 2, 1).reshape(-1, len(data.observables))
        exact = tuple(name for name in data.observables if name not in self.laws)
        seen = seen_counts(problem, exact, rows[:, [data.observables.index(name) for name in exact]])
        super().__init__(problem, data.times, data.start, seen, len(data.values), limit)
        self._places = [problem.variables.index(name) for name in data.observables]

    @property
    def size(self) -> int:
        return self.data.size

    def _prepared(self, values: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], rough: bool = False) -> None:
        """As for all projections; raises :class:`FitError` for a noise that is none in some state."""
        super()._prepared(values, bounds, rough)
        Readings.of(self.problem, self.data.observables, self.laws).check(
            self.problem.at(values).coefficients, tuple(map(jnp.asarray, self.space.x))
        )

    def evaluate(self, values: np.ndarray) -> Evaluation:
        compiled = self._compiled("slopes", self._with_slopes)
        value, score, _ = compiled(*self.arguments(values), *self.data.by_time)
        return evaluation(value, score)

    def expected(self, values: np.ndarray) -> Expected:
        mean, variance, fourth = (np.asarray(v) for v in self._looked(values)[1])
        wildness = np.where(variance > 0, fourth / np.where(variance > 0, variance, 1.0) ** 2, 3.0)
        return expected_values(self.data, mean, variance, wildness)

    def losses(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        _, _, lost, occupied, _ = self._looked(values)
        return float(lost), np.asarray(occupied)[: len(self.space)]

    def behind(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(self._looked(values)[4])[: len(self.space)]

    def describe(self) -> str:
        return f"likelihood of trajectories by finite state projection, {len(self.space)} states"

    def _compiled(self, kind: str, function: Any) -> Any:
        key = ("projected paths", kind, self.data.observables, tuple(self.laws.items()))
        return self.kept(key, function)

    def _looked(self, values: np.ndarray) -> Any:
        primals, _, layout, steps = self.arguments(values)
        return self._compiled("look", self._filter)(primals, layout, steps, *self.data.by_time)

    def _with_slopes(
        self, primals: Any, directions: Any, layout: Layout, steps: Steps, values: Array, variance: Array
    ) -> Any:
        def value(coefficients: Any, law: Array) -> tuple[Array, None]:
            return self._filter((coefficients, law), layout, steps, values, variance)[0], None

        return along(value, primals, directions)

    def _filter(self, primals: Any, layout: Layout, steps: Steps, values: Array, variance: Array) -> Any:
        """The log-likelihood, moments of each value before it is seen (3, replicates, observables, times), the most
        that is lost in a step, and the mean laws (states,) just before values are seen, and after."""
        coefficients, law = primals
        to = self.following(coefficients, layout, steps)
        every = self.observed(coefficients, layout.x)
        signal = jnp.stack([every[i] for i in self._places])
        placed_laws = placed(self.problem, self.data.observables, self.laws)
        laws = [(law, every[i] if i >= 0 else None) for law, i in placed_laws]

        def step(carry: tuple[Array, Array], row: Any) -> Any:
            law, total = carry
            observation, value, own = row
            law = jax.vmap(lambda one: to(one, observation))(law)
            kept, before = law.sum(axis=-1), law.mean(axis=0)
            moments = _moments(law, signal, own, laws)
            weighed = jnp.where(layout.real[None], log_density_in_states(value, signal, own, laws), -jnp.inf)
            most = lax.stop_gradient(jnp.max(weighed, axis=-1))
            most = jnp.where(jnp.isfinite(most), most, 0.0)
            law = law * jnp.exp(weighed - most[:, None])
            size = law.sum(axis=-1)
            seen = jnp.where(size > 0, size, 1.0)
            law = law / seen[:, None]
            total = total + jnp.sum(jnp.where(size > 0, jnp.log(seen) + most, -jnp.inf))
            return (law, total), (moments, jnp.max(1 - kept), before, law.mean(axis=0))

        begin = jnp.broadcast_to(law[None], (values.shape[1], *law.shape))
        rows = jnp.arange(len(values)), values, variance
        (_, total), (moments, lost, before, after) = lax.scan(step, (begin, jnp.zeros(())), rows)
        return total, jnp.moveaxis(moments, 0, -1), jnp.max(lost), before.mean(axis=0), after.mean(axis=0)


def _moments(law: Array, signal: Array, own: Array, laws: Sequence[tuple[str, Array | None]]) -> Array:
    """Mean, variance and fourth central moment (3, replicates, observables) of what is measured, under laws."""
    share = law / law.sum(axis=-1, keepdims=True)
    columns = []
    for index, (name, parameter) in enumerate(laws):
        of_states = None if parameter is None else parameter[None]
        found = mixture_moments(
            name, signal[index][None], of_states, own[:, index, None], lambda v: jnp.sum(share * v, -1, keepdims=True)
        )
        columns.append(jnp.stack([jnp.broadcast_to(moment, (len(law), 1)) for moment in found])[..., 0])
    return jnp.stack(columns, axis=-1)
