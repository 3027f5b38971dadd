"""The likelihood of a switching record: the sequence of apparent dwell times, with short events missed.

The law of the state when each sojourn has lasted the resolution goes on from one sojourn to the next, by the matrices
of :mod:`sbmlgrad.likelihood.sojourns`: of sojourns that are all seen (resolution 0) the likelihood of Colquhoun & Hawkes
(Phil. Trans. R. Soc. B 300, 1, 1982), else that of Colquhoun, Hawkes & Srodzinski (Phil. Trans. R. Soc. A 354, 2555,
1996), exactly. A record begins in equilibrium. The score is by reverse mode.
"""

from __future__ import annotations

from functools import cached_property
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
from sbmlgrad.likelihood.sojourns import Classes, Grid, Windows, entering, entry_law, leavings, moments
from sbmlgrad.simulation.box import closed
from sbmlgrad.simulation.finite_state import StateSpace, stacked_rates

LIMIT = 60
"""States that are worth their time."""

_SAME = 1e-6  # of a level, in absolute terms: rounding


class _OfClass(NamedTuple):
    """Sojourns (d,) in one class: windows that they end in, the place of each among these, and weights of points."""

    windows: Windows
    place: np.ndarray
    weights: np.ndarray


class _Sequence(NamedTuple):
    """What the compiled functions take of a record (sojourns,), padded to sizes that few records differ in.

    ``order`` says where a sojourn is among those of one class after the other, ``own`` and ``after`` are classes; the
    class after is the number of classes where nothing was seen of it.
    """

    of_class: tuple[_OfClass, ...]
    order: np.ndarray
    own: np.ndarray
    after: np.ndarray
    first: np.ndarray
    real: np.ndarray
    resolution: np.ndarray
    width: np.ndarray


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
        times = np.maximum(record.duration - record.resolution, 0.0)
        levels = grid.levels(float(times.max()))
        number, weights = grid.windows(times)
        own, after = self._classes_of(record.level), self._classes_of(record.after)
        order, parts, begin = np.zeros(len(own), int), [], 0
        for k in range(self.classes.count):
            here = np.flatnonzero(own == k)
            unique, place = np.unique(number[here], return_inverse=True)
            room = bucket(max(1, len(here)))
            windows = Windows.of(_padded(unique, bucket(max(1, len(unique)))), levels)
            parts.append(_OfClass(windows, _padded(place, room), _padded(weights[here], room)))
            order[here] = begin + np.arange(len(here))
            begin += room
        size, real = bucket(len(own)), np.ones(len(own), bool)
        columns = [_padded(column, size) for column in (order, own, after, record.first, real)]
        self._sequence = _Sequence(tuple(parts), *columns, np.float64(record.resolution), np.float64(grid.width))

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
            raise SimulationError("a rate is negative, or no number, in some state; probabilities need laws that are not")
        if np.any(rates[self.space.successors == len(self.space)] > 0):
            raise SimulationError("reactions lead to states that were not reached at the start values; start elsewhere")
        return max(float(rates.sum(axis=0).max()), np.finfo(float).tiny)

    def _follow(self, values: np.ndarray) -> None:
        """Make windows narrower where rates have become too fast for them."""
        assert self._grid is not None
        if not self._grid.holds(self._fastest(values)):
            self._refine(values)

    def widen(self, values: np.ndarray) -> bool:
        return False

    # ---- the likelihood --------------------------------------------------------------------------------------

    def evaluate(self, values: np.ndarray) -> Evaluation:
        """As of all likelihoods; raises :class:`SimulationError` where rates are too fast for the resolution."""
        self._follow(values)
        point = self.problem.at(values)
        coefficients = tuple(np.asarray(c, np.float64) for c in point.coefficients)
        value, slopes = self._compiled("slopes", jax.value_and_grad(self._value))(coefficients, self._sequence)
        directions = stacked(coefficients, point.tangents.coefficients)
        score = sum(np.tensordot(d, slope, np.ndim(slope)) for d, slope in zip(directions, slopes, strict=True))
        return evaluation(value, score)

    def expected(self, values: np.ndarray) -> Expected:
        """Moments of each apparent dwell time, given all that came before it."""
        self._follow(values)
        coefficients = tuple(np.asarray(c, np.float64) for c in self.problem.at(values).coefficients)
        found = np.asarray(self._compiled("moments", self._moments)(coefficients, self._sequence))
        first, second, third, fourth = found[:, : len(self.record.level)]
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

    def at_rest(self, values: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation of the observable at any time."""
        generator = np.asarray(self._generator(self.problem.at(values).coefficients))
        law = np.linalg.solve((generator + 1.0).T, np.ones(len(generator)))
        mean = float(law @ self.signal)
        return mean, float(np.sqrt(max(law @ np.square(self.signal) - mean**2, 0.0)))

    def describe(self) -> str:
        missed = f"events shorter than {self.record.resolution:g} missed" if self.record.resolution else "all seen"
        return f"likelihood of dwell times, {missed}, {len(self.space)} states"

    def _compiled(self, kind: str, function: Any) -> Any:
        assert self._grid is not None
        structure = self.space.states.tobytes(), self.classes.of.tobytes(), self._grid.delay, self._grid.points
        return self.problem.once(("dwells", kind, self.record.observable, structure), lambda: jax.jit(function))

    @cached_property
    def _members(self) -> np.ndarray:
        """The states (classes, room) of each class, the number of states where there is none."""
        room = self.classes.room[0]
        every = [self.classes.members(k) for k in range(self.classes.count)]
        return np.stack([np.pad(own, (0, room - len(own)), constant_values=len(self.space)) for own in every])

    def _generator(self, coefficients: Any) -> Array:
        """Rates (states, states) from one state to another, their sums off the diagonal on it."""
        size = len(self.space)
        rates = stacked_rates(self.problem.network, tuple(map(jnp.asarray, self.space.x)), coefficients)
        reaction, source = np.nonzero(self.space.successors < size)
        rates = rates[reaction, source]
        result = jnp.zeros((size, size)).at[source, self.space.successors[reaction, source]].add(rates)
        return result.at[source, source].add(-rates)

    def _value(self, coefficients: Any, sequence: _Sequence) -> Array:
        return self._filter(coefficients, sequence)[0]

    def _moments(self, coefficients: Any, sequence: _Sequence) -> Array:
        """The first four moments (4, sojourns) of what each sojourn lasts beyond the resolution."""
        _, begin = self._filter(coefficients, sequence)
        generator, every = self._generator(coefficients), []
        leaving = leavings(generator, sequence.resolution, self.classes)
        for own, one in enumerate(leaving):
            members = self.classes.members(own)
            found = moments(generator, one, sequence.resolution, members)
            every.append(jnp.pad(found, ((0, 0), (0, begin.shape[1] - len(members)))))
        return jnp.einsum("ds,dms->md", begin, jnp.stack(every)[sequence.own])

    def _filter(self, coefficients: Any, sequence: _Sequence) -> tuple[Array, Array]:
        """The log-likelihood, and the law (sojourns, room) of the state when each sojourn has lasted the resolution."""
        assert self._grid is not None
        generator, count, (room, most) = self._generator(coefficients), self.classes.count, self.classes.room
        leaving = leavings(generator, sequence.resolution, self.classes)
        law = jnp.append(entry_law(generator, leaving, self.classes), 0.0)[self._members]
        start = law / law.sum(axis=1, keepdims=True)
        flux, scale = [], []
        landing = jnp.zeros((count, count + 1, most + 1, room)).at[:, count, most, 0].set(1.0)
        for k, (one, data) in enumerate(zip(leaving, sequence.of_class, strict=True)):
            members, entries = self.classes.members(k), len(self.classes.entries(k))
            rows, own = entering(generator, one, members, data.windows, self._grid, sequence.width)
            seen = sum(data.weights[:, i, None, None] * rows[data.place, :, i] for i in range(rows.shape[2]))
            into = jnp.pad(seen[..., :-1], ((0, 0), (0, room - len(members)), (0, most - entries)))
            flux.append(jnp.concatenate([into, jnp.pad(seen[..., -1:], ((0, 0), (0, room - len(members)), (0, 0)))], -1))
            scale.append(own[data.place])
            lasting = jnp.pad(one.lasting, ((0, most - entries), (0, 1)))
            landing = landing.at[k, :count, :most].set(jnp.moveaxis(lasting[:, self._members], 0, 1))
        order = sequence.order
        return _followed(start, jnp.concatenate(flux)[order], jnp.concatenate(scale)[order], landing, sequence)


def _followed(start: Array, flux: Array, scale: Array, landing: Array, sequence: _Sequence) -> tuple[Array, Array]:
    """The log-likelihood of sojourns one after the other, and the law (sojourns, room) that each begins with."""

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
