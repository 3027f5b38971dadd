"""Likelihoods by finite state projection: probabilities of all states that matter, with nothing drawn.

Of snapshots, the probability of each cell's counts; of trajectories, the forward filter: the law of the state given
what was seen so far goes on to the next observation, which is then weighed in (Munsky & Khammash, J. Chem. Phys. 124,
044104, 2006; for the filter, Rabiner, Proc. IEEE 77, 257, 1989). What leaves the states taken into account is lost, and
counted; where it is too much the box of counts grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.errors import SimulationError
from sbmlgrad.gradient.exact import start_law
from sbmlgrad.gradient.problem import Point, Problem
from sbmlgrad.likelihood.likelihood import Evaluation
from sbmlgrad.simulation.box import box
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.finite_state import StateSpace, poisson_weights, stacked_rates, uniformised

LIMIT = 50_000
"""States that are worth their time."""

EQUAL = 1e-6
"""Relative, of two numbers that are the same count."""

_MOST_PRODUCTS = 1e8  # of terms of all series, states and laws, in one evaluation: a few seconds
_MOST_LOST = 1e-8  # of the probability, between two times
_WIDER = 0.4  # of the range of counts, that a side grows by
_SHARE = 0.01  # of what is lost, that goes out on a side that grows
_SIGHTED = 256  # trajectories that tell the ranges of counts
_ROUGH_SEED = 20260101


@dataclass(frozen=True, eq=False)
class Layout:
    """A space of states as arrays of a size that few spaces differ in, so that little is compiled.

    Attributes
    ----------
    x
        Counts (states,) of each species, 0 where there is no state.
    real
        Where there is one (states,).
    predecessors
        Index (reactions, states) of the state before a reaction; the number of states means none.
    """

    x: tuple[Array, ...]
    real: Array
    predecessors: Array

    @classmethod
    def of(cls, space: StateSpace) -> Layout:
        size, room = len(space), bucket(len(space))
        before = np.full((len(space.successors), room), room)
        before[:, :size] = np.where(space.predecessors < size, space.predecessors, room)
        x = tuple(jnp.asarray(np.pad(column, (0, room - size))) for column in space.x)
        return cls(x, jnp.asarray(np.arange(room) < size), jnp.asarray(before))


def bucket(size: int) -> int:
    """The size at least as large of those that are taken: a quarter more from one to the next, about."""
    scale = 1 << max(max(size - 1, 1).bit_length() - 3, 3)
    return -(-size // scale) * scale


class Projected:
    """What snapshots and trajectories share: the states, the law at the start, and how it goes on."""

    drawn = False

    def __init__(
        self, problem: Problem, times: np.ndarray, start: float, seen: np.ndarray, laws: int, limit: int = LIMIT
    ):
        self.problem, self.times, self.begin, self.limit = problem, times, start, limit
        self._laws_followed = laws
        self._seen = seen
        self._box: tuple[np.ndarray, np.ndarray] | None = None  # bounds (species,) of the counts

    # ---- the states ------------------------------------------------------------------------------------------

    def prepare(self, values: np.ndarray) -> None:
        """Choose the states at these values (P,); raises :class:`SimulationError` where they are too many."""
        lower, upper = self._box or self._ranges(values)
        point = self.problem.at(values)
        starts = start_law(point)[0].astype(np.int64)
        lower = np.minimum(lower, starts.min(axis=0)).astype(np.int64)
        upper = np.maximum(upper, starts.max(axis=0) + 1).astype(np.int64)
        self._box = lower, upper
        self.space = box(self.problem.network, starts, lower, upper, self.limit)
        self.layout = Layout.of(self.space)
        self._check_effort(self.fastest(point))

    def _check_effort(self, fastest: float) -> None:
        """Raise :class:`SimulationError` where one evaluation would take minutes."""
        terms = float(np.sum(fastest * np.diff(self.times, prepend=self.begin)))
        if terms * len(self.space) * self._laws_followed > _MOST_PRODUCTS:
            raise SimulationError(
                f"{terms:.3g} reactions in {len(self.space)} states are too many to follow their probabilities, "
                f"{self._laws_followed} times"
            )

    def _ranges(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (species,) of the counts: of what was measured, and of some trajectories where nothing was."""
        point = self.problem.at(values)
        counts, known = np.asarray(point.counts), [*self._seen.T]
        lower = np.array([np.nanmin(row) if np.any(~np.isnan(row)) else np.nan for row in known])
        upper = np.array([np.nanmax(row) if np.any(~np.isnan(row)) else np.nan for row in known])
        hidden = np.isnan(lower)
        if hidden.any():
            grid = np.unique(np.append(np.linspace(self.begin, self.times[-1], 17)[1:], self.times))
            network = self.problem.network_at(values)
            ensemble = Ensemble(network, counts, point.coefficients, grid, _SIGHTED, _ROUGH_SEED, start=self.begin)
            found = [np.concatenate([c.records[i] for c in run(ensemble)], axis=-1) for i in np.flatnonzero(hidden)]
            lower[hidden], upper[hidden] = [row.min() for row in found], [row.max() for row in found]
        margin = np.ceil(3 + 2 * np.sqrt(upper) + 0.2 * (upper - lower))
        return np.maximum(np.floor(lower) - margin, 0), np.ceil(upper) + margin

    def widen(self, values: np.ndarray) -> bool:
        """Let the box grow on the sides by which too much is lost at these values."""
        lost, occupied = self.losses(values)
        if lost <= _MOST_LOST:
            return False
        assert self._box is not None
        lower, upper = self._box
        rates = np.asarray(self.space.rates(self.problem.network, self.problem.at(values).coefficients))
        reaction, source = np.nonzero((self.space.successors == len(self.space)) & (rates > 0))
        flux = rates[reaction, source] * occupied[source]
        after = self.space.states[source] + self.problem.network.stoichiometry.T[reaction]
        step = np.ceil(_WIDER * (upper - lower) + 3).astype(np.int64)
        sides = [flux @ side for side in (after < lower, after > upper)]
        below, above = (np.where(side > _SHARE * flux.sum(), step, 0) for side in sides)
        if not np.any(below | above):  # what leaves comes and goes between two times
            below = above = step
        self._box = np.maximum(lower - below, 0), upper + above
        self.prepare(values)
        return True

    def losses(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """The most probability lost between two times, and how much is in each state (states,) on average."""
        raise NotImplementedError

    # ---- the law -----------------------------------------------------------------------------------------------

    def fastest(self, point: Point) -> float:
        """The largest total rate of any state."""
        rates = self.problem.once("projection rates", lambda: jax.jit(self._rates))
        layout = self.layout
        return float(np.max(rates(point.coefficients, layout.x, layout.real).sum(axis=0), initial=0.0))

    def _rates(self, coefficients: tuple[Any, ...], x: tuple[Array, ...], real: Array) -> Array:
        return jnp.where(real[None], stacked_rates(self.problem.network, x, coefficients), 0.0)

    def observed(self, coefficients: tuple[Any, ...], x: tuple[Array, ...]) -> tuple[Array, ...]:
        """The observables, one array (states,) each."""
        return tuple(jnp.broadcast_to(v, x[0].shape) for v in self.problem.observe(x, coefficients))

    def _weights(self, fastest: float) -> tuple[np.ndarray, np.ndarray]:
        """Poisson weights (times, terms) from each time to the next, and how many of them there are (times,)."""
        durations = np.diff(self.times, prepend=self.begin)
        rows = {d: poisson_weights(fastest * d)[:, 0] if d * fastest > 0 else np.ones(1) for d in set(durations)}
        room = bucket(max(len(row) for row in rows.values()))
        return (
            np.stack([np.pad(rows[d], (0, room - len(rows[d]))) for d in durations]),
            np.array([len(rows[d]) for d in durations]),
        )

    def arguments(self, values: np.ndarray) -> tuple[Any, ...]:
        """What the compiled functions take: coefficients and the law at the start, their directions, and the rest."""
        point = self.problem.at(values)
        counts, weights, slopes = start_law(point)
        room = len(self.layout.real)

        def spread(column: np.ndarray) -> np.ndarray:
            return np.pad(self.space.distribution(counts, column), (0, room - len(self.space)))

        fastest = max(self.fastest(point), np.finfo(float).tiny)
        self._check_effort(fastest)
        coefficients = tuple(jnp.asarray(c, jnp.float64) for c in point.coefficients)
        directions = stacked(coefficients, point.tangents.coefficients)
        law, moved = jnp.asarray(spread(weights)), jnp.asarray(np.stack([spread(row) for row in slopes]))
        terms, many = self._weights(fastest)
        return (coefficients, law), (directions, moved), self.layout, (terms, many, fastest)


jax.tree_util.register_dataclass(Layout, data_fields=["x", "real", "predecessors"], meta_fields=[])


def go_on(rates: Array, layout: Layout, law: Array, terms: Array, many: Array, fastest: Array) -> Array:
    """The law (states,) after the span that Poisson weights (terms,) stand for; forward mode differentiates it."""
    index, arrive, stay = uniformised(layout.predecessors, rates, fastest)

    def term(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        law, total = carry
        total = total + terms[k] * law
        return stay * law + jnp.sum(arrive * law[index], axis=0), total

    return lax.fori_loop(0, many, term, (law, jnp.zeros_like(law)))[1]


def stacked(primals: tuple[Array, ...], tangents: Sequence[Sequence[Any]]) -> tuple[Array, ...]:
    """Directions (P, ...) for each of some numbers, from a row of tangents a parameter, None where one is 0."""
    columns = zip(primals, zip(*tangents, strict=True), strict=True)
    return tuple(
        jnp.stack([jnp.zeros_like(value) if d is None else jnp.asarray(d, jnp.float64) for d in column])
        for value, column in columns
    )


def along(function: Any, primals: Any, directions: Any) -> Any:
    """Value of a function, its derivatives (P,) along stacked directions, and what else it gives."""

    def one(direction: Any) -> Any:
        return jax.jvp(function, primals, direction, has_aux=True)

    return jax.vmap(one, out_axes=(None, 0, None))(directions)


def evaluation(value: Any, score: Any) -> Evaluation:
    """As numbers; minus infinity for data that are impossible."""
    number = float(value)
    return Evaluation(number if np.isfinite(number) else -np.inf, np.nan_to_num(np.asarray(score)))


def seen_counts(problem: Problem, observables: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Measured numbers (m, observables) as counts (m, species), nan for species that no observable counts."""
    result = np.full((len(values), len(problem.network.species)), np.nan)
    for place, name in enumerate(observables):
        species = problem.linear[problem.variables.index(name)]
        if species is not None:
            result[:, species] = values[:, place]
    return result
