"""Likelihoods by finite state projection: probabilities of all states that matter, with nothing drawn.

Of snapshots, the probability of each cell's counts; of trajectories, the forward filter: the law of the state given
what was seen so far goes on to the next observation, which is then weighed in (Munsky & Khammash, J. Chem. Phys. 124,
044104, 2006; for the filter, Rabiner, Proc. IEEE 77, 257, 1989). What leaves the states taken into account is lost, and
counted; where it is too much the box of counts grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.errors import SimulationError
from sbmlgrad.gradient.exact import start_law
from sbmlgrad.gradient.problem import Point, Problem
from sbmlgrad.likelihood.jumps import JumpProcess, Jumps
from sbmlgrad.likelihood.layout import Layout
from sbmlgrad.likelihood.likelihood import Evaluation
from sbmlgrad.likelihood.ranges import over_time, ranges, simulated_ranges
from sbmlgrad.likelihood.steps import (
    AtStep,
    Pace,
    Steps,
    advance,
    bends,
    halved,
    most_chances,
    moving,
    planned,
    room_for,
)
from sbmlgrad.simulation.box import box
from sbmlgrad.simulation.deterministic import quick_to_compile
from sbmlgrad.simulation.ensemble import propensities_of
from sbmlgrad.simulation.finite_state import StateSpace, stacked_rates

LIMIT = 50_000
"""States that are worth their time."""

_MOST_PRODUCTS = 4e8  # of terms of all series, states and laws, in one evaluation: some seconds
_MOST_LOST = 1e-8  # of the probability, between two times
_MOST_LOST_ROUGHLY = 1e-4  # the same, where a confidence limit goes by it
_TIMES, _FEW = 4, 2000  # times the states at the maximum, or as many in all, that a confidence limit is worth
_BEYOND, _BEYOND_ROUGHLY = 1e-12, 1e-6  # of the probability, on average, that is left out on one side of a box
_LOST_AS_BEFORE = 1.1  # times what was lost
_TIGHTER = 0.8  # of the states, that are too many of them to begin with fewer
_WIDER, _WIDER_ROUGHLY = 0.4, 0.2  # of the range of counts, that a side grows by
_SHARE = 0.01  # of what is lost, that goes out on a side that grows
_CLOSE, _CLOSE_AT_MOST = 1e-7, 1e-3  # relative, and absolute: of log-likelihoods that are the same
_CLOSE_SCORE = 1e-4  # of a score, and of the size that chance gives it
_LAW_ALLOWED = 1e-6  # of the probability, that is elsewhere after one step than after two halves
_MOST_ROUNDS = 40
_SOON_DONE = 512  # states, whose programs take longer to compile than to run in a fit


class Projected:
    """What snapshots and trajectories share: the states, the law at the start, and how it goes on."""

    drawn = False

    def __init__(
        self, problem: Problem, times: np.ndarray, start: float, seen: np.ndarray, laws: int, limit: int = LIMIT
    ):
        self.problem, self.times, self.begin, self.limit = problem, times, start, limit
        self._laws_followed = laws
        self._seen = seen
        self._worth = limit
        self._box: tuple[np.ndarray, np.ndarray] | None = None  # bounds (species,) of the counts
        self._edges = np.unique(np.append(times, start))
        timed = problem.clock.timed if problem.clock is not None else None
        self._jumps: JumpProcess | None = None
        self._pace = Pace.STILL
        if timed is not None:
            self._pace = Pace.SMOOTH if timed.process.stepwise is None else Pace.STEPS
        if timed is not None and timed.events is not None:
            self._jumps = problem.once("jumps", lambda: JumpProcess(timed))

    # ---- the states ------------------------------------------------------------------------------------------

    def prepare(self, values: np.ndarray) -> None:
        """Choose states and steps at these values (P,); raises :class:`SimulationError` where they are too many."""
        self._prepared(values, self._box or self._sighted(values))

    def _prepared(self, values: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], rough: bool = False) -> None:
        """Choose states within bounds (species,) of the counts, no more than probability asks for, and steps."""
        self._take(values, bounds)
        self._tighten(values, rough)
        if self._pace is Pace.SMOOTH:
            self._refine(values)

    def _take(self, values: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> None:
        lower, upper = bounds
        starts = start_law(self.problem.at(values))[0].astype(np.int64)
        lower = np.minimum(lower, starts.min(axis=0)).astype(np.int64)
        upper = np.maximum(upper, starts.max(axis=0) + 1).astype(np.int64)
        self._box = lower, upper
        self.space = self._reachable(values, starts, lower, upper)
        self.layout = Layout.of(self.space)
        self.match(values)
        self.steps(values)  # raises where they are too many

    def _tighten(self, values: np.ndarray, rough: bool) -> None:
        """Leave out counts at which next to no probability is."""
        lost, occupied = self.losses(values)
        assert self._box is not None
        if not occupied.sum() > 0:  # impossible data, or noise that is no number
            return
        lower, upper = self._occupied(occupied, _BEYOND_ROUGHLY if rough else _BEYOND)
        if np.prod(upper - lower + 1.0) > _TIGHTER * np.prod(self._box[1] - self._box[0] + 1.0):
            return
        kept, allowed = (self._box, self.space, self.layout), _MOST_LOST_ROUGHLY if rough else _MOST_LOST
        self._take(values, (lower, upper))
        if not self.losses(values)[0] <= max(allowed, _LOST_AS_BEFORE * lost):  # comes and goes between two times
            self._box, self.space, self.layout = kept
            self.match(values)

    def match(self, values: np.ndarray) -> None:
        """Find the data in the states."""

    def _reachable(self, values: np.ndarray, starts: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> StateSpace:
        """The states of a box that are reached from ``starts`` by reactions and events."""
        space = box(self.problem.network, starts, lower, upper, self.limit)
        while self._jumps is not None:
            coefficients, edges = self.problem.at(values).coefficients, self._bent_edges(values, self._edges)[0]
            schedule, new = self._jumps.schedule(edges, coefficients), [starts]
            for images in self._jumps.images(space.states, schedule, edges, coefficients):
                for corner in self._jumps.corners:
                    after = space.states.copy()
                    after[:, self._jumps.set] = images.T + np.array(corner, int)
                    inside = np.all((after >= lower) & (after <= upper), axis=1)
                    new.append(after[inside][space.find(after[inside]) < 0])
            starts = np.unique(np.concatenate(new), axis=0)
            before, space = len(space), box(self.problem.network, starts, lower, upper, self.limit)
            if len(space) == before:
                break
        return space

    def _check_effort(self, terms: float) -> None:
        """Raise :class:`SimulationError` where one evaluation would take minutes."""
        if terms * len(self.space) * self._laws_followed > _MOST_PRODUCTS:
            of = f", for {self._laws_followed} trajectories" if self._laws_followed > 1 else ""
            raise SimulationError(
                f"{terms:.3g} reactions in {len(self.space)} states are too many to follow their probabilities{of}"
            )

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        """Let the box grow on the sides by which too much is lost at these values, or take shorter steps."""
        lost, occupied = self.losses(values)
        if not rough:
            self._worth = max(_TIMES * len(self.space), _FEW)
        if lost <= (_MOST_LOST_ROUGHLY if rough else _MOST_LOST):
            return not rough and self._pace is Pace.SMOOTH and self._refine(values)
        assert self._box is not None
        lower, upper = self._box
        rates = self._usual_rates(values)
        reaction, source = np.nonzero((self.space.successors == len(self.space)) & (rates > 0))
        flux = rates[reaction, source] * occupied[source]
        after = self.space.states[source] + self.problem.network.stoichiometry.T[reaction]
        step = np.ceil((_WIDER_ROUGHLY if rough else _WIDER) * (upper - lower) + (2 if rough else 3)).astype(np.int64)
        sides = [flux @ side for side in (after < lower, after > upper)]
        below, above = (np.where(side > _SHARE * flux.sum(), step, 0) for side in sides)
        if not np.any(below | above):  # what leaves comes and goes between two times
            below = above = step
        kept = self._box, self.space, self.layout
        try:
            self._prepared(values, (np.maximum(lower - below, 0), upper + above), rough)
            if rough and len(self.space) > self._worth:
                raise SimulationError(f"{len(self.space)} states are more than a confidence limit is worth")
        except SimulationError:  # what was followed before still can be
            self._box, self.space, self.layout = kept
            self.match(values)
            raise
        return True

    @contextmanager
    def roughly(self, values: np.ndarray) -> Iterator[None]:
        kept = self._box, self.space, self.layout
        try:
            self._take(values, self._occupied(self.losses(values)[1], _BEYOND_ROUGHLY))
            if self._pace is Pace.SMOOTH:
                self._refine(values)
            yield
        finally:
            self._box, self.space, self.layout = kept
            self.match(values)

    def _occupied(self, occupied: np.ndarray, beyond: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (species,) of what was measured, and of the counts which next to no probability is beyond, of how
        much is in each state (states,)."""
        lower, upper = ranges(list(self._seen.T))
        for species, column in enumerate(self.space.states.T):
            own = np.bincount(column, weights=occupied)
            likely = np.flatnonzero(
                (np.cumsum(own) > beyond * own.sum()) & (np.cumsum(own[::-1])[::-1] > beyond * own.sum())
            )
            lower[species] = np.fmin(lower[species], likely[0])
            upper[species] = np.fmax(upper[species], likely[-1])
        return np.maximum(lower, 0).astype(np.int64), upper.astype(np.int64)  # what was measured may be below 0

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

    def _sighted(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (species,) of the counts: of what was measured, and of some trajectories where that does not say."""
        lower, upper = ranges(list(self._seen.T))
        unsaid = np.isnan(lower) | (self._jumps is not None)
        if unsaid.any():
            edges = None if self._jumps is None else self._bent_edges(values, self._edges)[0]
            low, high = simulated_ranges(self.problem, values, self.begin, self.times, self._jumps, edges)
            lower[unsaid] = np.fmin(lower, low)[unsaid]
            upper[unsaid] = np.fmax(upper, high)[unsaid]
        margin = np.ceil(3 + 2 * np.sqrt(upper) + 0.2 * (upper - lower))
        return np.maximum(np.floor(lower) - margin, 0), np.ceil(upper) + margin

    # ---- steps -------------------------------------------------------------------------------------------------

    def steps(self, values: np.ndarray, edges: np.ndarray | None = None, times: np.ndarray | None = None) -> Steps:
        """The steps at these values; between other ``edges`` and to other ``times`` where these are given."""
        edges, kinds = self._bent_edges(values, self._edges if edges is None else edges)
        return self._planned(values, edges, kinds, self.times if times is None else times)

    def _bent_edges(self, values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The edges with those where rates bend and events happen, and their kinds."""
        kinds, clock = np.full(len(edges), -1), self.problem.clock
        if clock is None:
            return edges, kinds
        found = bends(clock.timed.process, clock.quantities(values), self.begin, float(self.times[-1]))
        edges, index = np.unique(np.concatenate([edges, found.times]), return_index=True)
        return edges, np.concatenate([kinds, found.kinds])[index]

    def _planned(self, values: np.ndarray, edges: np.ndarray, kinds: np.ndarray, times: np.ndarray) -> Steps:
        """The steps between these edges alone; raises :class:`SimulationError` where they are too many."""
        point, jumps = self.problem.at(values), None
        if self._jumps is not None:
            schedule = self._jumps.schedule(edges, point.coefficients)
            jumps = self._jumps.on(self.space, len(self.layout.real), schedule, edges, point.coefficients)
        most = self._most(point, edges, jumps)
        self._check_effort(float(most.sum()) + 8.0 * most.size)
        return planned(edges, kinds, most, times, jumps)

    def _most(self, point: Point, edges: np.ndarray, jumps: Jumps | None) -> np.ndarray:
        """The most chances (steps, parts) of any state; raises :class:`SimulationError` for what is no rate."""
        if self._pace is Pace.STILL:
            return np.diff(edges)[:, None] * self._rates_in_states(point.coefficients).sum(axis=0).max(initial=0.0)
        compiled = self.kept("most chances", self._most_chances)
        more = room_for(len(edges)) - len(edges)
        padded = None if jumps is None else jumps.padded(more)
        most, least = compiled(point.coefficients, self.layout, np.pad(edges, (0, more), mode="edge"), padded)
        if not float(least) >= 0:
            raise SimulationError(
                "a rate is negative, or no number, at some time; probabilities need laws that are not"
            )
        return np.asarray(most)[: len(edges) - 1]

    def _most_chances(
        self, coefficients: Any, layout: Layout, edges: Array, jumps: Jumps | None
    ) -> tuple[Array, Array]:
        at_step = self._at_step(coefficients, edges, jumps)[0]
        return most_chances(self._rates, self._pace, at_step, layout, edges)

    def _at_step(self, coefficients: Any, edges: Array, jumps: Jumps | None) -> tuple[AtStep, Array | None]:
        """The coefficients in each step, and what events hold before and after each of them."""
        if jumps is None or self._jumps is None:
            return lambda step: coefficients, None
        process, before = self._jumps, jnp.asarray(jumps.schedule.before)
        stages = process.stages(jumps.schedule, edges, coefficients)
        return lambda step: process.timed.holding(stages[before[step]], coefficients), stages

    def _refine(self, values: np.ndarray) -> bool:
        """Halve steps until halving all of them changes next to nothing; whether any was."""
        allowed, changed = _LAW_ALLOWED, False
        if self._jumps is not None:  # whatever bends there is among the edges from here on
            self._edges = self._bent_edges(values, self._edges)[0]
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
        compiled = self.kept("step errors", self._compared)
        (coefficients, law), _, layout, _ = self.arguments(values)
        coarse, steps = (
            self._planned(values, edges, np.full(len(edges), -1), self.times) for edges in (self._edges, fine)
        )
        return np.asarray(compiled(coefficients, law, layout, coarse, steps))[: len(self._edges) - 1]

    def _compared(self, coefficients: Any, law: Array, layout: Layout, coarse: Steps, fine: Steps) -> Array:
        ways = [self._on(coefficients, layout, steps, jnp.asarray(steps.edges)) for steps in (coarse, fine)]

        def one(law: Array, step: Array) -> tuple[Array, Array]:
            whole = ways[0](law, step)
            for half in (2 * step, 2 * step + 1):
                law = ways[1](law, half)
            return law, jnp.sum(jnp.abs(law - whole))

        return lax.scan(one, law, jnp.arange(len(coarse.most)))[1]

    # ---- the law -----------------------------------------------------------------------------------------------

    def _rates(self, coefficients: tuple[Any, ...], layout: Layout) -> Array:
        return jnp.where(layout.real[None], stacked_rates(self.problem.network, layout.x, coefficients), 0.0)

    def _usual_rates(self, values: np.ndarray) -> np.ndarray:
        """Rates (reactions, states), over time the mean of those at some times."""
        every = over_time(self.problem, values, self.begin, float(self.times[-1]))
        return np.mean([self._rates_in_states(coefficients) for coefficients in every], axis=0)

    def _rates_in_states(self, coefficients: tuple[Any, ...]) -> np.ndarray:
        """Rates (reactions, states)."""
        x = np.stack(self.layout.x)  # of sizes that few spaces differ in, so that little is compiled
        return propensities_of(self.problem.network, coefficients, x)[:, : len(self.space)]

    def probabilities(self, values: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """Probabilities (times, states) at the times of the data, or at others up to the last of them."""
        primals, _, layout, steps = self.arguments(values)
        if times is not None:
            steps = self.steps(values, np.union1d(self._edges, times), times)
        every = self.kept("laws", self.every_law)(primals, layout, steps)
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
        clock, edges = self.problem.clock, jnp.asarray(steps.edges)
        if clock is not None:
            counts = tuple(map(jnp.float64, self.problem.network.x0))
            inputs, own = clock.timed.inputs(counts, coefficients), clock.timed.own(coefficients)
            state = jnp.stack(inputs[1 : len(inputs) - len(own)])
            edges = moving(clock.timed.process, steps, jnp.stack(own), state)
        on = self._on(coefficients, layout, steps, edges)

        def to(law: Array, observation: Array) -> Array:
            span = jnp.asarray(steps.first)[observation], jnp.asarray(steps.last)[observation]
            return lax.fori_loop(*span, lambda step, law: on(law, step), law)

        return to

    def _on(self, coefficients: Any, layout: Layout, steps: Steps, edges: Array) -> Callable[[Array, Array], Array]:
        """The function of (law, step) that gives the law after a step, and after what happens at its end."""
        jumps, process = steps.jumps, self._jumps
        at_step, stages = self._at_step(coefficients, edges, jumps)
        step = advance(self._rates, self._pace, at_step, layout, steps)
        if jumps is None or process is None or stages is None:
            return lambda law, index: step(law, edges, index)

        def jumped(law: Array, jump: Array) -> Array:
            def moved(law: Array) -> Array:
                now = process.just_before(jumps.schedule, edges, coefficients, jump, stages)
                return process.moved(law, layout.x, jumps, jump, now)

            return lax.cond(jump >= 0, moved, lambda law: law, law)

        def on(law: Array, index: Array) -> Array:
            begin, end = (jnp.asarray(side)[index] for side in (jumps.schedule.at_begin, jumps.schedule.at_end))
            return jumped(step(jumped(law, begin), edges, index), end)

        return on

    def kept(self, key: Any, function: Callable[..., Any]) -> Any:
        """A function, compiled at its first call and kept with the problem; of few states in little time, of many to
        run in half the time."""
        few = len(self.layout.real) <= _SOON_DONE
        options = quick_to_compile(threads=True) if few else None
        return self.problem.once((key, few), lambda: jax.jit(function, compiler_options=options))

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


def seen_counts(problem: Problem, observables: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Measured numbers (m, observables) as counts (m, species), nan for species that no observable counts."""
    result = np.full((len(values), len(problem.network.species)), np.nan)
    for place, name in enumerate(observables):
        species = problem.linear[problem.variables.index(name)]
        if species is not None:
            result[:, species] = values[:, place]
    return result
