"""The likelihood of a switching record: the sequence of apparent dwell times, with short events missed.

The law of the state when each sojourn has lasted the resolution goes on from one sojourn to the next, by the matrices
of :mod:`sbmlgrad.likelihood.sojourns`: where all sojourns are seen (resolution 0) the likelihood of Colquhoun & Hawkes
(Phil. Trans. R. Soc. B 300, 1, 1982), else that of Colquhoun, Hawkes & Srodzinski (Phil. Trans. R. Soc. A 354, 2555,
1996), exactly. A record begins in equilibrium. The score is by reverse mode.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.errors import SimulationError
from sbmlgrad.gradient.exact import start_law
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.dwell_records import DwellRecord
from sbmlgrad.likelihood.layout import bucket
from sbmlgrad.likelihood.likelihood import Evaluation, Expected
from sbmlgrad.likelihood.projection import evaluation, stacked
from sbmlgrad.likelihood.sojourns import (
    Classes,
    Grid,
    Leaving,
    Stays,
    as_bits,
    entering,
    entry_law,
    leaving,
    moments,
    stays,
)
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.box import closed
from sbmlgrad.simulation.deterministic import quick_to_compile
from sbmlgrad.simulation.finite_state import StateSpace, Values, stacked_rates

LIMIT = 60
"""States that are worth their time."""

_SAME = 1e-6  # of a level, in absolute terms: rounding
_BINS_A_DECADE = 8


class _Sequence(NamedTuple):
    """What the compiled functions take of a record, padded to sizes that few records differ in.

    Attributes
    ----------
    spans
        Those of windows that sojourns in each class end in, as bits (classes, levels, spans).
    place, window, weights
        Of the sojourns in each class: the place of the span among these (classes, d), the window in it (classes, d),
        and weights of its points (classes, d, points).
    order
        Where each sojourn (sojourns,) is among those of one class after the other.
    own, after
        Its class, and the next one; the number of classes where that was not seen.
    first, real
        Whether a record begins with it, and whether it is one.
    """

    spans: Values
    place: Values
    window: Values
    weights: Values
    order: Values
    own: Values
    after: Values
    first: Values
    real: Values
    width: Values


class Dwells:
    """Dwell times of a model with few states; ``problem`` has the observable among its variables."""

    name = "dwells"
    drawn = False

    def __init__(self, problem: Problem, record: DwellRecord, limit: int = LIMIT):
        self.problem, self.record, self.limit = problem, record, limit
        self._grid: Grid | None = None

    @property
    def size(self) -> int:
        return self.record.size

    # ---- what is taken into account --------------------------------------------------------------------------

    def prepare(self, values: np.ndarray) -> None:
        """Choose states and windows at these values; raises :class:`SimulationError` where they are too many, or have
        not the levels of the record."""
        point = self.problem.at(values)
        if self.problem.clock is not None:
            raise SimulationError("a record of dwell times is of a model at rest, in which no rate follows the time")
        starts = start_law(point)[0]
        self.space: StateSpace = closed(self.problem.network, starts, point.coefficients, self.limit)
        seen = self.problem.observe(tuple(map(jnp.asarray, self.space.x)), point.coefficients)
        signal = np.asarray(seen[self.problem.variables.index(self.record.observable)])
        self.signal = np.broadcast_to(signal, (len(self.space),))
        levels, of = np.unique(np.round(self.signal / _SAME), return_inverse=True)
        self._levels = levels * _SAME
        linked = np.zeros((len(self.space), len(self.space)), bool)
        reaction, source = np.nonzero(self.space.successors < len(self.space))
        linked[source, self.space.successors[reaction, source]] = True
        self.classes = Classes(of, linked)
        self._refine(values)

    def _refine(self, values: np.ndarray) -> None:
        """Choose windows for these values."""
        record, fastest = self.record, self._fastest(values)
        self._grid = grid = Grid.of(fastest, record.resolution)
        own, after = self._classes_of(record.level), self._classes_of(record.after)
        self._sequence = self._arranged(grid, record.duration, own, after, record.first)

    def _arranged(
        self, grid: Grid, durations: np.ndarray, own: np.ndarray, after: np.ndarray, first: np.ndarray
    ) -> _Sequence:
        """Sojourns (sojourns,) for the compiled functions."""
        times = np.maximum(durations - self.record.resolution, 0.0)
        levels = grid.levels(float(times.max()))
        number, window, weights = grid.windows(times)
        here = [np.flatnonzero(own == k) for k in range(self.classes.count)]
        order, room = np.zeros(len(own), int), bucket(max(len(rows) for rows in here))
        for k, rows in enumerate(here):
            order[rows] = k * room + np.arange(len(rows))
        unique, place = zip(*(np.unique(number[rows], return_inverse=True) for rows in here), strict=True)
        many = bucket(max(len(numbers) for numbers in unique))
        size, real = bucket(len(own)), np.ones(len(own), bool)
        return _Sequence(
            np.stack([as_bits(_padded(numbers, many), levels) for numbers in unique]),
            np.stack([_padded(column, room) for column in place]),
            np.stack([_padded(window[rows], room) for rows in here]),
            np.stack([_padded(weights[rows], room) for rows in here]),
            _padded(order, size),
            _padded(own, size),
            _padded(after, size),
            _padded(first, size),
            _padded(real, size),
            np.asarray(grid.width),
        )

    def _classes_of(self, levels: np.ndarray) -> np.ndarray:
        """The class (K,) of each level, or the number of classes where it is not known."""
        off = np.abs(levels[:, None] - self._levels)
        wrong = np.min(off, axis=1) > 2 * _SAME
        if wrong.any():
            known = ", ".join(f"{level:g}" for level in self._levels)
            raise SimulationError(
                f"{self.record.observable!r} is {levels[wrong][0]:g} in the data, and {known} in the states of the "
                "model; give the levels these numbers, or observe what has them"
            )
        return np.where(np.isnan(levels), self.classes.count, np.argmin(np.nan_to_num(off), axis=1))

    def _fastest(self, values: np.ndarray) -> float:
        """The largest rate at which a state is left; raises :class:`SimulationError` for rates that are none."""
        rates = np.asarray(self.space.rates(self.problem.network, self.problem.at(values).coefficients))
        if not np.all((rates >= 0) & np.isfinite(rates)):
            raise SimulationError(
                "a rate is negative, or no number, in some state; probabilities need laws that are not"
            )
        if np.any(rates[self.space.successors == len(self.space)] > 0):
            raise SimulationError("reactions lead to states that were not reached at the start values; start elsewhere")
        return max(float(rates.sum(axis=0).max()), np.finfo(float).tiny)

    def _follow(self, values: np.ndarray) -> None:
        """Make windows narrower where rates have become too fast for them."""
        assert self._grid is not None
        if not self._grid.holds(self._fastest(values)):
            self._refine(values)

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        return False

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]:
        return nullcontext()

    # ---- the likelihood --------------------------------------------------------------------------------------

    def evaluate(self, values: np.ndarray) -> Evaluation:
        """As of all likelihoods; raises :class:`SimulationError` where rates are too fast for the resolution."""
        self._follow(values)
        point = self.problem.at(values)
        coefficients = tuple(np.asarray(c, np.float64) for c in point.coefficients)
        value, slopes = self._compiled("slopes")(coefficients, self._sequence)
        directions = stacked(coefficients, point.tangents.coefficients)
        score = sum(np.tensordot(d, slope, np.ndim(slope)) for d, slope in zip(directions, slopes, strict=True))
        return evaluation(value, score)

    def expected(self, values: np.ndarray) -> Expected:
        """Moments of each apparent dwell time, given all that came before it."""
        self._follow(values)
        coefficients = tuple(np.asarray(c, np.float64) for c in self.problem.at(values).coefficients)
        found = np.asarray(self._compiled("moments")(coefficients, self._sequence))
        first, second, third, fourth = found[: len(self.record.level)].T
        variance = second - first**2
        central = fourth - 4 * third * first + 6 * second * first**2 - 3 * first**4
        seen = ~np.isnan(self.record.after)
        return Expected(
            observable=np.zeros(self.size, int),
            time=self.record.begin[seen],
            statistic=np.full(self.size, "dwell time"),
            measured=self.record.duration[seen],
            predicted=(first + self.record.resolution)[seen],
            sd=np.sqrt(np.maximum(variance, 0.0))[seen],
            wildness=(central / variance**2)[seen],
        )

    def lasting(self, values: np.ndarray, durations: np.ndarray) -> np.ndarray:
        """The probability (levels, K) that an apparent sojourn lasts longer than each of some durations (K,), in
        equilibrium, over all sojourns at a level."""
        self._follow(values)
        assert self._grid is not None
        count, every = self.classes.count, len(durations)
        own = np.repeat(np.arange(count), every)
        ends, first = np.full(len(own), count), np.ones(len(own), bool)
        later = durations + self.record.resolution  # by when the end is seen
        sequence = self._arranged(self._grid, np.tile(later, count), own, ends, first)
        coefficients = tuple(np.asarray(c, np.float64) for c in self.problem.at(values).coefficients)
        return np.asarray(self._compiled("lasting")(coefficients, sequence))[: len(own)].reshape(count, every)

    def histogram(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """How many sojourns were seen whole, and how many the model expects, in bins of equal width on a logarithmic
        axis (Sigworth & Sine, Biophys. J. 52, 1047, 1987); columns level, lower, upper, sojourns, expected.

        As many are expected of a level in all as were seen; that a record ends before long ones do is left out. There
        are no bins where none was seen whole.
        """
        record, whole = self.record, ~np.isnan(self.record.after)
        names = ("level", "lower", "upper", "sojourns", "expected")
        if not whole.any():
            return {name: np.zeros(0) for name in names}
        own, durations = self._classes_of(record.level[whole]), record.duration[whole]
        shortest, longest = record.resolution or float(durations.min()), float(durations.max())
        bins = max(1, math.ceil(_BINS_A_DECADE * math.log10(longest / shortest)))
        edges = np.geomspace(shortest, longest, bins + 1)
        durations = np.clip(durations, edges[0], edges[-1])  # rounding
        lasting = np.array(self.lasting(values, edges))
        lasting[:, 0], lasting[:, -1] = 1.0, 0.0  # what is shorter or longer counts as in the outermost bins
        columns = []
        for index, level in enumerate(self._levels):
            seen = np.histogram(durations[own == index], edges)[0]
            expected = -np.diff(lasting[index]) * seen.sum()
            columns.append((np.full(bins, level), edges[:-1], edges[1:], seen, expected))
        return {name: np.concatenate(parts) for name, parts in zip(names, zip(*columns, strict=True), strict=True)}

    def at_rest(self, values: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation of the observable at any time."""
        generator = np.asarray(self._compiled("generator")(self.problem.at(values).coefficients))
        law = np.linalg.solve((generator + 1.0).T, np.ones(len(generator)))
        mean = float(law @ self.signal)
        return mean, float(np.sqrt(max(law @ np.square(self.signal) - mean**2, 0.0)))

    def describe(self) -> str:
        missed = f"events shorter than {self.record.resolution:g} missed" if self.record.resolution else "all seen"
        return f"likelihood of dwell times, {missed}, {len(self.space)} states"

    def _compiled(self, kind: str) -> Any:
        """A function of a program, which is kept with what was compiled for it."""
        assert self._grid is not None
        grid = self._grid.delay, self._grid.points
        program = _Program(self.problem.network, self.space, self.classes, grid)
        function = jax.value_and_grad(program.value) if kind == "slopes" else getattr(program, kind)
        key = "dwells", kind, self.space.states.tobytes(), self.classes.of.tobytes(), grid
        return self.problem.once(key, lambda: jax.jit(function, compiler_options=quick_to_compile()))


@dataclass(frozen=True, eq=False)
class _Program:
    """Functions of coefficients and a sequence to be compiled: of some states in classes, and of how many windows there
    are in a resolution and points in each."""

    network: ReactionNetwork
    space: StateSpace
    classes: Classes
    grid: tuple[int, int]

    def generator(self, coefficients: Any) -> Array:
        """Rates (states, states) from one state to another, their sums off the diagonal on it."""
        size = len(self.space)
        rates = stacked_rates(self.network, tuple(map(jnp.asarray, self.space.x)), coefficients)
        reaction, source = np.nonzero(self.space.successors < size)
        rates = rates[reaction, source]
        result = jnp.zeros((size, size)).at[source, self.space.successors[reaction, source]].add(rates)
        return result.at[source, source].add(-rates)

    def value(self, coefficients: Any, sequence: _Sequence) -> Array:
        return self._filter(coefficients, sequence)[0]

    def moments(self, coefficients: Any, sequence: _Sequence) -> Array:
        """The first four moments (sojourns, 4) of what each sojourn lasts beyond the resolution."""
        generator, staying, left = self._left(coefficients, sequence)
        every = moments(generator, staying, left, self.classes, self.grid, sequence.width)
        begin = self._filter(coefficients, sequence)[1]
        every = jnp.pad(every, ((0, 1), (0, 0)))
        return jnp.einsum("ds,dsm->dm", begin, every[self.classes.members][sequence.own])

    def _left(self, coefficients: Any, sequence: _Sequence) -> tuple[Array, Stays, Leaving]:
        """The generator, and how classes are stayed in and left."""
        generator = self.generator(coefficients)
        staying = stays(generator, self.classes, *self.grid, sequence.width)
        return generator, staying, leaving(staying, self.classes)

    def lasting(self, coefficients: Any, sequence: _Sequence) -> Array:
        """The probability (sojourns,) that a sojourn of a level lasts for longer than each of them."""
        _, _, law, flux, scale = self._ends(coefficients, sequence)
        return jnp.einsum("dm,dm->d", law[sequence.own], flux[:, :, -1]) * jnp.exp(scale)

    def _filter(self, coefficients: Any, sequence: _Sequence) -> tuple[Array, Array]:
        """The log-likelihood, and the law (sojourns, members) of the state when each has lasted the resolution."""
        staying, left, law, flux, scale = self._ends(coefficients, sequence)
        members = self.classes.members
        # where the next class is not seen, the probability of no end stands in the place of a law
        lasting = jnp.pad(left.entries @ staying.lasting[None], ((0, 0), (0, 1), (0, 1)))[:, :, members]
        landing = jnp.pad(jnp.moveaxis(lasting, 2, 1), ((0, 0), (0, 1), (0, 0), (0, 0))).at[:, -1, -1, 0].set(1.0)
        return _followed(law, flux, scale, landing, sequence)

    def _ends(self, coefficients: Any, sequence: _Sequence) -> tuple[Stays, Leaving, Array, Array, Array]:
        """How classes are stayed in and left, the law (classes, members) in equilibrium when a sojourn has lasted the
        resolution, and the rates (sojourns, members, entries + 1) at the end of each, as multiples of exponentials."""
        generator, staying, left = self._left(coefficients, sequence)
        members, grid, width = self.classes.members, self.grid, sequence.width

        def of_class(left: Leaving, members: Array, spans: Array, *of: Array) -> tuple[Array, Array]:
            place, window, weights = of
            rates, scale = entering(generator, staying, left, members, spans, grid, width)
            return jnp.einsum("di,dmie->dme", weights, rates[place, window]), scale[place]

        data = sequence.spans, sequence.place, sequence.window, sequence.weights
        every = jax.vmap(of_class)(left, *map(jnp.asarray, (members, *data)))
        flux, scale = (jnp.concatenate(part)[sequence.order] for part in every)
        law = jnp.append(entry_law(generator, staying, left, self.classes, grid, width), 0.0)[members]
        return staying, left, law / law.sum(axis=1, keepdims=True), flux, scale


def _followed(start: Array, flux: Array, scale: Array, landing: Array, sequence: _Sequence) -> tuple[Array, Array]:
    """The log-likelihood of sojourns one after the other, and the law (sojourns, members) that each begins with."""

    def step(carry: tuple[Array, Array], row: Any) -> tuple[tuple[Array, Array], Array]:
        law, total = carry
        own, after, first, real, flux, scale = row
        begin = jnp.where(first, start[own], law)
        law = (begin @ flux) @ landing[own, after]
        share = law.sum()
        possible = share > 0
        safe = jnp.where(possible, share, 1.0)
        gained = jnp.where(possible, jnp.log(safe) + scale, -jnp.inf)
        return (law / safe, total + jnp.where(real, gained, 0.0)), begin

    rows = sequence.own, sequence.after, sequence.first, sequence.real, flux, scale
    (_, total), begin = lax.scan(step, (start[0], jnp.zeros(())), rows)
    return total, begin


def _padded(column: np.ndarray, size: int) -> np.ndarray:
    """The column (size, ...) with zeros at its end."""
    return np.pad(column, [(0, size - len(column)), *[(0, 0)] * (column.ndim - 1)])
