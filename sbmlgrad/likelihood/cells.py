"""The likelihood of snapshots of single cells on a finite state projection: the probability of each cell's counts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.layout import Layout, bucket
from sbmlgrad.likelihood.likelihood import Evaluation, Expected
from sbmlgrad.likelihood.measurement import EQUAL, Laws
from sbmlgrad.likelihood.projection import LIMIT, Projected, along, evaluation, seen_counts
from sbmlgrad.likelihood.records import Snapshots
from sbmlgrad.likelihood.steps import Steps


class ProjectedCells(Projected):
    """Snapshots of a model whose states fit; counts of other species are summed over."""

    name = "projection"

    def __init__(self, problem: Problem, data: Snapshots, laws: Laws | None = None, limit: int = LIMIT):
        self.data, self.laws_of_values = data, laws or {}
        exact = tuple(name for name in data.observables if name not in self.laws_of_values)
        rows = np.concatenate(data.values)[:, [data.observables.index(name) for name in exact]]
        seen = seen_counts(problem, exact, rows)
        super().__init__(problem, data.times, data.start, seen, 1, limit)
        self._places = [problem.variables.index(name) for name in data.observables]

    @property
    def size(self) -> int:
        return self.data.size

    def match(self, values: np.ndarray) -> None:
        self._rows, self._cells = self._matched(values)

    def evaluate(self, values: np.ndarray) -> Evaluation:
        compiled = self._compiled("slopes", self._with_slopes)
        return evaluation(*compiled(*self.arguments(values), self._rows, self._cells))

    def expected(self, values: np.ndarray) -> Expected:
        """Means and standard deviations over the cells of each time."""
        laws, rows = self.probabilities(values), []
        seen = self.moments_in_states(values)
        for time, law, counts, cells in zip(self.data.times, laws, self.data.values, self.data.cells, strict=True):
            share = law / law.sum()
            for observable, (first, second, third, last) in enumerate(seen):
                here = ~np.isnan(counts[:, observable])
                n = cells[here].sum()
                if n < 1:
                    continue
                mean = share @ first
                off = first - mean
                variance = share @ (second + off**2)
                fourth = share @ (last + 4 * off * third + 6 * off**2 * second + off**4)
                weight = cells[here] / n
                found = weight @ counts[here, observable]
                rows.append((observable, time, "mean", found, mean, np.sqrt(variance / n)))
                sd = np.sqrt(weight @ (counts[here, observable] - found) ** 2 * n / max(n - 1, 1))
                error = np.sqrt(max(fourth - variance**2, 0.0) / n) / (2 * np.sqrt(variance)) if variance > 0 else 0.0
                rows.append((observable, time, "sd", sd, np.sqrt(variance), error))
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        names = ("observable", "time", "statistic", "measured", "predicted", "sd")
        return Expected(**dict(zip(names, columns, strict=True)), wildness=np.full(len(rows), 3.0))

    def marginals(self, values: np.ndarray, observable: int) -> tuple[np.ndarray, np.ndarray]:
        """Counts (K,) of an observable from 0 on, and their probabilities (times, K) at the times of the data."""
        seen = np.round(self._seen_in_states(values)[observable]).astype(np.int64)
        return np.arange(seen.max() + 1), np.array([np.bincount(seen, law) for law in self.probabilities(values)])

    def losses(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        laws = self.probabilities(values)
        return float(1 - laws.sum(axis=1).min()), laws.mean(axis=0)

    def behind(self, values: np.ndarray) -> np.ndarray:
        laws = self.probabilities(values)
        result = np.zeros(laws.shape[1])
        for places, cells in zip(self._rows, self._cells, strict=True):
            for law, rows, numbers in zip(laws, places[:, : laws.shape[1]], cells, strict=True):
                share = np.bincount(rows, law, minlength=len(numbers) + 1)[:-1]
                weights = np.divide(numbers, share, out=np.zeros_like(numbers), where=share > 0)
                result += law * np.append(weights, 0.0)[rows]
        return result / self.size

    def describe(self) -> str:
        return f"likelihood of {self.size} cells by finite state projection, {len(self.space)} states"

    def _seen_in_states(self, values: np.ndarray) -> np.ndarray:
        """Observables (observables, states)."""
        point = self.problem.at(values)
        every = self.observed(point.coefficients, tuple(map(jnp.asarray, self.space.x)))
        return np.stack([np.asarray(every[i]) for i in self._places])

    def moments_in_states(self, values: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        """For each observable the mean of a value in each state, and its next three central moments; (states,) each."""
        nothing = np.zeros(len(self.space))
        return [(signal, nothing, nothing, nothing) for signal in self._seen_in_states(values)]

    def _matched(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each kind of row (kinds, times, states): which row of the data a state shows, and cells per row.

        Rows in which the same observables were counted are of one kind.
        """
        seen, room = self._seen_in_states(values), len(self.layout.real)
        kinds = sorted({tuple(row) for rows in self.data.values for row in ~np.isnan(rows)})
        most = bucket(max(len(rows) for rows in self.data.values))
        index = np.full((len(kinds), len(self.data.times), room), most)
        cells = np.zeros((len(kinds), len(self.data.times), most))
        for kind, counted in enumerate(kinds):
            chosen = np.flatnonzero(counted)
            for time, (rows, numbers) in enumerate(zip(self.data.values, self.data.cells, strict=True)):
                own = np.flatnonzero(np.all(~np.isnan(rows) == counted, axis=1))
                if not len(own):
                    continue
                index[kind, time, : seen.shape[1]] = _same_rows(rows[own][:, chosen], seen[chosen].T, most)
                cells[kind, time, : len(own)] = numbers[own]
        return index, cells

    def _compiled(self, kind: str, function: Any) -> Any:
        key = ("projected cells", kind, self.data.observables, tuple(self.laws_of_values.items()))
        return self.kept(key, function)

    def _with_slopes(
        self, primals: Any, directions: Any, layout: Layout, steps: Steps, index: Array, cells: Array
    ) -> tuple[Array, Array, Array]:
        """The log-likelihood, its derivatives (P,), and the information (P, P)."""
        most = cells.shape[-1]

        def shares(coefficients: Any, law: Array) -> tuple[Array, None]:
            """Probabilities (kinds, times, rows + 1) of the rows of the data, and of everything else."""
            laws = self.every_law((coefficients, law), layout, steps)
            times = jax.vmap(lambda law, index: jax.ops.segment_sum(law, index, num_segments=most + 1))
            return jax.vmap(times, in_axes=(None, 0))(laws, index), None

        share, slopes, _ = along(shares, primals, directions)
        possible = share > 0
        safe = jnp.where(possible, share, 1.0)
        seen = jnp.concatenate([cells, jnp.zeros_like(cells[..., :1])], axis=-1)
        logs = jnp.where(possible, jnp.log(safe), -jnp.inf)
        value = jnp.sum(jnp.where(seen > 0, seen * jnp.where(seen > 0, logs, 0.0), 0.0))
        score = jnp.einsum("pktr,ktr->p", slopes, jnp.where(possible, seen / safe, 0.0))
        numbers = jnp.where(possible, cells.sum(axis=-1, keepdims=True) / safe, 0.0)
        return value, score, jnp.einsum("pktr,ktr,qktr->pq", slopes, numbers, slopes)


def _same_rows(rows: np.ndarray, states: np.ndarray, none: int) -> np.ndarray:
    """Index (states,) of the row that is the same as each state's numbers, ``none`` where there is none."""
    both = np.concatenate([rows, states])
    whole = np.round(both / (EQUAL * np.maximum(np.abs(both).max(axis=0), 1.0)))
    _, codes = np.unique(whole, axis=0, return_inverse=True)
    table = np.full(codes.max() + 1, none)
    table[codes[: len(rows)]] = np.arange(len(rows))
    result: np.ndarray = table[codes[len(rows) :]]
    return result
