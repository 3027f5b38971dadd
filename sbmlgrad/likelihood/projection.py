"""Likelihoods by finite state projection: probabilities of all states that matter, with nothing drawn.

Of snapshots, the probability of each cell's counts; of trajectories, the forward filter: the law of the state given
what was seen so far goes on to the next observation, which is then weighed in (Munsky & Khammash, J. Chem. Phys. 124,
044104, 2006; for the filter, Rabiner, Proc. IEEE 77, 257, 1989). What leaves the states taken into account is lost, and
counted; where it is too much the box of counts grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.errors import FitError, SimulationError
from sbmlgrad.gradient.exact import start_law
from sbmlgrad.gradient.problem import Point, Problem
from sbmlgrad.likelihood.layout import Layout
from sbmlgrad.likelihood.likelihood import Evaluation
from sbmlgrad.likelihood.measurement import Laws, Measurement, valid
from sbmlgrad.likelihood.steps import Steps, advance, bends, halved, most_chances, moving, planned, room_for
from sbmlgrad.simulation.box import box
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.finite_state import stacked_rates

LIMIT = 50_000
"""States that are worth their time."""

_MOST_PRODUCTS = 4e8  # of terms of all series, states and laws, in one evaluation: some seconds
_MOST_LOST = 1e-8  # of the probability, between two times
_WIDER = 0.4  # of the range of counts, that a side grows by
_SHARE = 0.01  # of what is lost, that goes out on a side that grows
_SIGHTED = 256  # trajectories that tell the ranges of counts
_ROUGH_SEED = 20260101
_LOOKS = 9  # times at which rates that follow time are looked at, for the ranges of counts
_CLOSE, _CLOSE_AT_MOST = 1e-7, 1e-3  # relative, and absolute: of log-likelihoods that are the same
_CLOSE_SCORE = 1e-5  # of a score, and of the size that chance gives it
_LAW_ALLOWED = 1e-6  # of the probability, that is elsewhere after one step than after two halves
_MOST_ROUNDS = 40


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
        self._edges = np.unique(np.append(times, start))

    # ---- the states ------------------------------------------------------------------------------------------

    def prepare(self, values: np.ndarray) -> None:
        """Choose states and steps at these values (P,); raises :class:`SimulationError` where they are too many."""
        lower, upper = self._box or self._ranges(values)
        starts = start_law(self.problem.at(values))[0].astype(np.int64)
        lower = np.minimum(lower, starts.min(axis=0)).astype(np.int64)
        upper = np.maximum(upper, starts.max(axis=0) + 1).astype(np.int64)
        self._box = lower, upper
        self.space = box(self.problem.network, starts, lower, upper, self.limit)
        self.layout = Layout.of(self.space)
        self.match(values)
        self.steps(values)  # raises where they are too many
        if self.problem.clock is not None:
            self._refine(values)

    def match(self, values: np.ndarray) -> None:
        """Find the data in the states."""

    def _check_effort(self, terms: float) -> None:
        """Raise :class:`SimulationError` where one evaluation would take minutes."""
        if terms * len(self.space) * self._laws_followed > _MOST_PRODUCTS:
            of = f", for {self._laws_followed} trajectories" if self._laws_followed > 1 else ""
            raise SimulationError(
                f"{terms:.3g} reactions in {len(self.space)} states are too many to follow their probabilities{of}"
            )

    def _ranges(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (species,) of the counts: of what was measured, and of some trajectories where nothing was."""
        lower = np.array([np.nanmin(row) if np.any(~np.isnan(row)) else np.nan for row in self._seen.T])
        upper = np.array([np.nanmax(row) if np.any(~np.isnan(row)) else np.nan for row in self._seen.T])
        hidden = np.isnan(lower)
        if hidden.any():
            found = [counts[i] for counts in self._simulated(values) for i in np.flatnonzero(hidden).tolist()]
            parts = len(found) // int(hidden.sum())
            rows = np.array([[row.min(), row.max()] for row in found]).reshape(parts, -1, 2)
            lower[hidden], upper[hidden] = rows[..., 0].min(axis=0), rows[..., 1].max(axis=0)
        margin = np.ceil(3 + 2 * np.sqrt(upper) + 0.2 * (upper - lower))
        return np.maximum(np.floor(lower) - margin, 0), np.ceil(upper) + margin

    def _simulated(self, values: np.ndarray) -> Iterator[Sequence[np.ndarray]]:
        """Counts of each species in some trajectories, part by part; rates that follow time stand still in each."""
        grid = np.unique(np.append(np.linspace(self.begin, self.times[-1], 17)[1:], self.times))
        point, network = self.problem.at(values), self.problem.network_at(values)
        counts = np.asarray(point.counts)
        for coefficients in self._over_time(point):
            ensemble = Ensemble(network, counts, coefficients, grid, _SIGHTED, _ROUGH_SEED, start=self.begin)
            for chunk in run(ensemble):
                yield chunk.records

    def _over_time(self, point: Point) -> list[tuple[Any, ...]]:
        """The coefficients, at some times where rates follow it."""
        if self.problem.clock is None:
            return [point.coefficients]
        times = np.linspace(self.begin, self.times[-1], _LOOKS)
        return [(np.float64(time), *point.coefficients[1:]) for time in times]

    def widen(self, values: np.ndarray) -> bool:
        """Let the box grow on the sides by which too much is lost at these values, or take shorter steps."""
        lost, occupied = self.losses(values)
        if lost <= _MOST_LOST:
            return self.problem.clock is not None and self._refine(values)
        assert self._box is not None
        lower, upper = self._box
        rates = self._usual_rates(values)
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

    @property
    def size(self) -> int:
        """How many numbers, or cells, there are."""
        raise NotImplementedError

    def evaluate(self, values: np.ndarray) -> Evaluation:
        """The log-likelihood and its derivatives; minus infinity where the data are impossible."""
        raise NotImplementedError

    def losses(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """The most probability lost between two times, and how much is in each state (states,) on average."""
        raise NotImplementedError

    # ---- steps -------------------------------------------------------------------------------------------------

    def steps(self, values: np.ndarray, edges: np.ndarray | None = None, times: np.ndarray | None = None) -> Steps:
        """The steps at these values; between other ``edges`` and to other ``times`` where these are given."""
        point, clock = self.problem.at(values), self.problem.clock
        edges = self._edges if edges is None else edges
        kinds = np.full(len(edges), -1)
        if clock is not None:
            found = bends(clock.process, clock.quantities(values), self.begin, float(self.times[-1]))
            edges = np.concatenate([edges, found.times])
            edges, index = np.unique(edges, return_index=True)
            kinds = np.concatenate([kinds, found.kinds])[index]
        most = self._most(point, edges)
        self._check_effort(float(most.sum()) + 8.0 * most.size)
        return planned(edges, kinds, most, self.times if times is None else times)

    def _most(self, point: Point, edges: np.ndarray) -> np.ndarray:
        """The most chances (steps, parts) of any state; raises :class:`SimulationError` for what is no rate."""
        kind = "held" if self.problem.clock is None else "timed"
        compiled = self.problem.once(("most chances", kind), lambda: jax.jit(partial(most_chances, self._rates, kind)))
        room = room_for(len(edges)) if kind == "timed" else len(edges)
        most, least = compiled(point.coefficients, self.layout, np.pad(edges, (0, room - len(edges)), mode="edge"))
        if kind == "timed" and not float(least) >= 0:
            raise SimulationError(
                "a rate is negative, or no number, at some time; probabilities need laws that are not"
            )
        return np.asarray(most)[: len(edges) - 1]

    def _refine(self, values: np.ndarray) -> bool:
        """Halve steps until halving all of them changes next to nothing; whether any was."""
        allowed, changed = _LAW_ALLOWED, False
        for _ in range(_MOST_ROUNDS):
            if self._close(values, self.evaluate(values), halved(self._edges, np.ones(len(self._edges) - 1, bool))):
                return changed
            changed = True
            for _ in range(_MOST_ROUNDS):
                off = self._errors(values)
                if not np.any(off > allowed):
                    break
                self._edges = halved(self._edges, off > allowed)
            allowed /= 16.0
        raise SimulationError("rates change too fast in time for their probabilities to be followed")

    def _close(self, values: np.ndarray, found: Evaluation, edges: np.ndarray) -> bool:
        """Whether value and score hardly differ from those with steps between other edges."""
        kept, self._edges = self._edges, edges
        try:
            finer = self.evaluate(values)
        finally:
            self._edges = kept
        if not np.isfinite(finer.value):
            return not np.isfinite(found.value)
        near = abs(finer.value - found.value) <= min(_CLOSE * max(1.0, abs(finer.value)), _CLOSE_AT_MOST)
        with np.errstate(divide="ignore"):
            usual = np.abs(finer.score) + np.sqrt(self.size) / np.abs(values)
        return near and bool(np.all(np.abs(finer.score - found.score) <= _CLOSE_SCORE * usual))

    def _errors(self, values: np.ndarray) -> np.ndarray:
        """How far halving each step (steps,) moves the law, summed over the states."""
        fine = halved(self._edges, np.ones(len(self._edges) - 1, bool))
        compiled = self.problem.once("step errors", lambda: jax.jit(self._compared))
        (coefficients, law), _, layout, _ = self.arguments(values)
        coarse, steps = (self._of_plan(values, edges) for edges in (self._edges, fine))
        return np.asarray(compiled(coefficients, law, layout, coarse, steps))[: len(self._edges) - 1]

    def _of_plan(self, values: np.ndarray, edges: np.ndarray) -> Steps:
        """Steps between these edges alone, without the bends."""
        most = self._most(self.problem.at(values), edges)
        return planned(edges, np.full(len(edges), -1), most, self.times)

    def _compared(self, coefficients: Any, law: Array, layout: Layout, coarse: Steps, fine: Steps) -> Array:
        ways = [advance(self._rates, True, coefficients, layout, steps) for steps in (coarse, fine)]

        def one(law: Array, step: Array) -> tuple[Array, Array]:
            whole = ways[0](law, coarse.edges, step)
            for half in (2 * step, 2 * step + 1):
                law = ways[1](law, fine.edges, half)
            return law, jnp.sum(jnp.abs(law - whole))

        return lax.scan(one, law, jnp.arange(len(coarse.most)))[1]

    # ---- the law -----------------------------------------------------------------------------------------------

    def _rates(self, coefficients: tuple[Any, ...], layout: Layout) -> Array:
        return jnp.where(layout.real[None], stacked_rates(self.problem.network, layout.x, coefficients), 0.0)

    def _usual_rates(self, values: np.ndarray) -> np.ndarray:
        """Rates (reactions, states), over time the mean of those at some times."""
        every = self._over_time(self.problem.at(values))
        return np.mean([np.asarray(self.space.rates(self.problem.network, c)) for c in every], axis=0)

    def probabilities(self, values: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """Probabilities (times, states) at the times of the data, or at others up to the last of them."""
        primals, _, layout, steps = self.arguments(values)
        if times is not None:
            steps = self.steps(values, np.union1d(self._edges, times), times)
        every = self.problem.once("laws", lambda: jax.jit(self.every_law))(primals, layout, steps)
        return np.asarray(every)[:, : len(self.space)]

    def every_law(self, primals: Any, layout: Layout, steps: Steps) -> Array:
        """The law (times, states) at each observation, whatever is seen."""
        coefficients, law = primals
        to = self.following(coefficients, layout, steps)

        def one(law: Array, observation: Array) -> tuple[Array, Array]:
            law = to(law, observation)
            return law, law

        return lax.scan(one, law, jnp.arange(len(steps.first)))[1]

    def moments(self, values: np.ndarray, observables: Sequence[int], times: np.ndarray) -> tuple[np.ndarray, ...]:
        """Means and standard deviations (observables, times) of variables of the problem, by their indices."""
        laws = self.probabilities(values, times)
        share = laws / laws.sum(axis=1, keepdims=True)
        every = self.observed(self.problem.at(values).coefficients, tuple(map(jnp.asarray, self.space.x)))
        signal = np.stack([np.asarray(every[i]) for i in observables])
        mean = signal @ share.T
        square = np.square(signal) @ share.T
        return mean, np.sqrt(np.maximum(square - np.square(mean), 0.0))

    def following(self, coefficients: Any, layout: Layout, steps: Steps) -> Callable[[Array, Array], Array]:
        """The function of (law, observation) that gives the law at an observation from that at the one before."""
        clock = self.problem.clock
        edges = steps.edges
        if clock is not None:
            state = jnp.asarray(self.problem.network.x0)
            edges = moving(clock.process, steps, jnp.stack(coefficients[1:]), state)
        step = advance(self._rates, clock is not None, coefficients, layout, steps)

        def to(law: Array, observation: Array) -> Array:
            span = steps.first[observation], steps.last[observation]
            return lax.fori_loop(*span, lambda i, law: step(law, edges, i), law)

        return to

    def check_noise(self, values: np.ndarray, observables: Sequence[str], laws: Laws) -> None:
        """Raise :class:`FitError` for a noise that is none in some state, at values (P,) of the parameters."""
        every = self.observed(self.problem.at(values).coefficients, tuple(map(jnp.asarray, self.space.x)))
        for name, (law, place) in zip(observables, placed(self.problem, observables, laws), strict=True):
            wrong = ~np.asarray(valid(law, every[place])) if place >= 0 else np.zeros(1, bool)
            if wrong.any():
                state = self.space.states[np.argmax(wrong)]
                counts = ", ".join(f"{s} = {n:g}" for s, n in zip(self.problem.network.species, state, strict=True))
                raise FitError(
                    f"the noise of {name!r} is {float(every[place][np.argmax(wrong)]):.4g} where {counts}, and "
                    f"no {law} law has that; give it a part that stays, as in 'sigma + 0.1*{name}'"
                )

    def observed(self, coefficients: tuple[Any, ...], x: tuple[Array, ...]) -> tuple[Array, ...]:
        """The observables, one array (states,) each."""
        return tuple(jnp.broadcast_to(v, x[0].shape) for v in self.problem.observe(x, coefficients))

    def arguments(self, values: np.ndarray) -> tuple[Any, ...]:
        """What the compiled functions take: coefficients and the law at the start, their directions, and the rest."""
        point = self.problem.at(values)
        counts, weights, slopes = start_law(point)
        room = len(self.layout.real)

        def spread(column: np.ndarray) -> np.ndarray:
            return np.pad(self.space.distribution(counts, column), (0, room - len(self.space)))

        coefficients = tuple(np.asarray(c, np.float64) for c in point.coefficients)
        directions = stacked(coefficients, point.tangents.coefficients)
        law, moved = spread(weights), np.stack([spread(row) for row in slopes])
        return (coefficients, law), (directions, moved), self.layout, self.steps(values)


def stacked(primals: Sequence[Any], tangents: Sequence[Sequence[Any]]) -> tuple[np.ndarray, ...]:
    """Directions (P, ...) for each of some numbers, from a row of tangents a parameter, None where one is 0."""
    columns = zip(primals, zip(*tangents, strict=True), strict=True)
    return tuple(
        np.stack([np.zeros(np.shape(value)) if d is None else np.asarray(d, np.float64) for d in column])
        for value, column in columns
    )


def along(function: Any, primals: Any, directions: Any) -> Any:
    """Value of a function, its derivatives (P,) along stacked directions, and what else it gives."""

    def one(direction: Any) -> Any:
        return jax.jvp(function, primals, direction, has_aux=True)

    return jax.vmap(one, out_axes=(None, 0, None))(directions)


def evaluation(value: Any, score: Any, information: Any = None) -> Evaluation:
    """As numbers; minus infinity for data that are impossible."""
    number = float(value)
    known = None if information is None else np.nan_to_num(np.asarray(information))
    return Evaluation(number if np.isfinite(number) else -np.inf, np.nan_to_num(np.asarray(score)), known)


def placed(problem: Problem, observables: Sequence[str], laws: Laws) -> list[tuple[str, int]]:
    """The law of each observable, "" where it has none, and the variable that holds its parameter, -1 for none."""
    own = [laws.get(name, Measurement("")) for name in observables]
    return [(law.law, problem.variables.index(law.parameter) if law.parameter else -1) for law in own]


def seen_counts(problem: Problem, observables: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Measured numbers (m, observables) as counts (m, species), nan for species that no observable counts."""
    result = np.full((len(values), len(problem.network.species)), np.nan)
    for place, name in enumerate(observables):
        species = problem.linear[problem.variables.index(name)]
        if species is not None:
            result[:, species] = values[:, place]
    return result
