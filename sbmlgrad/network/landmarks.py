"""Times at which steps have to end because of what depends on time alone, however narrow it is.

Interval arithmetic (:mod:`sbmlgrad.network.interval`) says of a span of time which values a function can take in it.
Spans in which nothing can happen are left alone; the others are halved until either nothing can, or the place is
found to the last digits. So what is narrow is not found by luck, and an output grid has no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import SimulationError
from sbmlgrad.network.graph import RELATIONS, Graph
from sbmlgrad.network.interval import Interval, enclosures
from sbmlgrad.network.program import Program

_CELLS = 256  # spans to begin with
_MOST_CELLS = 1 << 20  # spans looked at in one round; about a hundred thousand periods come to that
_NEGLIGIBLE = 1e-6  # of the integral of a curve, what may be hidden in one span
_FINEST = 1e-13  # of the whole time, the shortest span
_TIED = 1e-14  # relative difference of two sides that is rounding
_BEND = 1e-9  # of the range of a curve, the least that counts as a turn of it


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Functions of time alone that are not straight lines in pieces.

    Attributes
    ----------
    curves
        Nodes of smooth functions that whatever else moves depends on: steps end at their turning points, so that
        no pulse is stepped over.
    switches
        Nodes that change by steps: comparisons, and what is rounded to whole numbers. Steps end where they do.
    owners
        For messages, what each of both belongs to.
    given
        Nodes of the quantities, in order.
    gaps
        The program of what is 0, or a whole number, where each switch changes.
    """

    graph: Graph = field(repr=False)
    source: str
    time: int
    given: tuple[int, ...]
    curves: tuple[int, ...]
    switches: tuple[int, ...]
    owners: Mapping[int, str]
    gaps: Program

    def find(self, quantities: np.ndarray, begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Increasing times after ``begin`` up to ``end``, and for each the index of the switch that changes there.

        The index is -1 for a turning point. As many as a power of 2: infinite times come after the last.

        Raises :class:`~sbmlgrad.errors.SimulationError` for what varies so fast that nobody could follow it.
        """
        if not end > begin:
            return np.zeros(0), np.zeros(0, np.int64)
        scan = _Scan(self, quantities, begin, end)
        breaks = [scan.changes(switch) for switch in self.switches]
        times = np.concatenate([*breaks, np.zeros(0)])
        indices = np.repeat(np.arange(len(breaks)), [len(times_of) for times_of in breaks])
        turns = scan.turning_points(times)
        return _padded(np.concatenate([times, turns]), np.concatenate([indices, np.full(len(turns), -1)]))

    def moving(self, times: Array, rows: Array, size: int, coefficients: Array) -> Array:
        """The same times with their derivatives, by the implicit function: where a gap closes."""
        if not self.switches:
            return times

        def moved(time: Array, row: Array) -> Array:
            def gap(moment: Array) -> Array:
                return self.gaps(jnp.concatenate([moment[None], jnp.zeros(size), coefficients]))[row]

            value, speed = jax.jvp(gap, (time,), (jnp.ones_like(time),))
            usable = (row >= 0) & jnp.isfinite(speed) & (speed != 0)
            delay = -(value - jax.lax.stop_gradient(value)) / jax.lax.stop_gradient(jnp.where(usable, speed, 1.0))
            return time + jnp.where(usable, delay, 0.0)

        finite = jnp.isfinite(times)
        return jnp.where(finite, jax.vmap(moved)(jnp.where(finite, times, 0.0), rows), times)


def _padded(times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In order of time, with room for a power of 2, so that few programs are compiled."""
    order = np.argsort(times, kind="stable")
    room = 1 << max(0, len(times) - 1).bit_length() if len(times) else 0
    spare = room - len(times)
    padded = np.concatenate([times[order], np.full(spare, np.inf)])
    return padded, np.concatenate([rows[order], np.full(spare, -1)]).astype(np.int64)


class _Scan:
    """One search for landmarks: at the end, spans of time in which nothing is hidden."""

    def __init__(self, landmarks: Landmarks, quantities: np.ndarray, begin: float, end: float):
        self.landmarks, self.graph, self.begin, self.end = landmarks, landmarks.graph, begin, end
        self.finest = _FINEST * (end - begin)
        needed = self.graph.reachable([*landmarks.curves, *landmarks.switches])
        moving = self.graph.dynamic([landmarks.time])
        fixed = {
            node: (np.asarray(value), np.asarray(value))
            for node, value in zip(landmarks.given, quantities, strict=True)
        }
        self.fixed = enclosures(self.graph, [index for index in needed if index not in moving], fixed)
        self.moving = [index for index in needed if index in moving]
        self.low, self.high = np.zeros(0), np.zeros(0)
        self.open: dict[int, list[Interval]] = {switch: [] for switch in landmarks.switches}
        self._refine()

    def bounds(self, low: np.ndarray, high: np.ndarray) -> dict[int, Interval]:
        """What nodes are between in these spans; their values where both ends are one."""
        inputs = {**self.fixed, self.landmarks.time: (low, high)}
        return enclosures(self.graph, self.moving, inputs)

    def values(self, node: int, times: np.ndarray) -> np.ndarray:
        """A node at these times."""
        return np.broadcast_to(self.bounds(times, times)[node][0], times.shape)

    def _refine(self) -> None:
        """Halve spans until nothing is hidden in them."""
        curves, switches = self.landmarks.curves, self.landmarks.switches
        edges = np.linspace(self.begin, self.end, _CELLS + 1)
        low, high = edges[:-1], edges[1:]
        sizes = np.zeros(len(curves))  # lower bounds of the integrals of absolute values
        kept: list[Interval] = []
        while low.size:
            bounds, width = self.bounds(low, high), high - low
            fine = width <= np.maximum(self.finest, 8 * np.spacing(np.maximum(np.abs(low), np.abs(high))))
            least = [_least_size(*bounds[curve]) * width for curve in curves]
            allowed = [_NEGLIGIBLE * (size + np.sum(part)) for size, part in zip(sizes, least, strict=True)]
            rough = {c: _rough(*bounds[c], width, most) for c, most in zip(curves, allowed, strict=True)}
            rough.update({switch: self._may_change(switch, bounds, fine) for switch in switches})
            if low.size > _MOST_CELLS:
                self._give_up_hope(low, high, rough, dict(zip(curves, allowed, strict=True)))
            going = np.any([np.broadcast_to(r, low.shape) for r in rough.values()], axis=0) & ~fine
            for switch in switches:
                last = rough[switch] & ~going
                if np.any(last):
                    self.open[switch].append((low[last], high[last]))
            sizes += [float(np.sum(part[~going])) for part in least]
            kept.append((low[~going], high[~going]))
            middle = 0.5 * (low[going] + high[going])
            low, high = np.concatenate([low[going], middle]), np.concatenate([middle, high[going]])
        self.low, self.high = (np.concatenate(side) for side in zip(*kept, strict=True))

    def _may_change(self, switch: int, bounds: Mapping[int, Interval], fine: np.ndarray) -> np.ndarray:
        """In which spans a switch may change."""
        node = self.graph.nodes[switch]
        low, high = bounds[switch]
        undecided = low != high
        if node.operation in RELATIONS:  # two sides that are equal but for rounding never change
            (a, b), (c, d) = (bounds[arg] for arg in node.args)
            apart = np.maximum(np.abs(a - d), np.abs(b - c))
            undecided = undecided & (fine | (apart > _TIED * np.maximum(np.abs(b), np.abs(d))))
        return np.broadcast_to(undecided, fine.shape)

    def _give_up_hope(
        self, low: np.ndarray, high: np.ndarray, rough: dict[int, np.ndarray], allowed: Mapping[int, float]
    ) -> None:
        """With too many spans, refuse what really varies in them, and leave be what is only bounded badly."""
        width, samples = high - low, [self.bounds(t, t) for t in (low, 0.5 * (low + high), high)]
        for node, flags in rough.items():
            values = np.stack([np.broadcast_to(sample[node][0], low.shape) for sample in samples])
            spread = np.max(values, axis=0) - np.min(values, axis=0)
            varies = flags & ~(spread * width <= allowed.get(node, 0.0))
            if np.count_nonzero(varies) > _MOST_CELLS // 16:
                raise SimulationError(
                    f"{self.landmarks.source}: {self.landmarks.owners[node]} varies too fast with time to be followed "
                    f"from {self.begin:g} to {self.end:g}; end earlier, or put its average in its place"
                )
            rough[node] = varies

    def changes(self, switch: int) -> np.ndarray:
        """The first times at which a switch is not as it was, each to the last digit."""
        if not self.open[switch]:
            return np.zeros(0)
        low, high = (np.concatenate(side) for side in zip(*self.open[switch], strict=True))
        order = np.argsort(low)
        low, high = low[order], high[order]
        apart = np.flatnonzero(low[1:] > high[:-1]) + 1  # spans side by side hold one change
        before, after = low[np.concatenate([[0], apart])], high[np.concatenate([apart - 1, [len(high) - 1]])]
        grain = np.maximum(self.finest, 8 * np.spacing(np.abs(after)))
        before, after = np.maximum(before - grain, self.begin), np.minimum(after + grain, self.end)
        node = self.graph.nodes[switch]

        def side(times: np.ndarray) -> np.ndarray:
            if node.operation in ("eq", "ne"):  # true for an instant, where one side passes the other
                bounds = self.bounds(times, times)
                return np.broadcast_to(np.sign(bounds[node.args[0]][0] - bounds[node.args[1]][0]), times.shape)
            return self.values(switch, times)

        start = side(before)
        real = side(after) != start
        before, after, start = before[real], after[real], start[real]
        while True:
            middle = 0.5 * (before + after)
            if np.all((middle <= before) | (middle >= after)):
                return after
            same = side(middle) == start
            before, after = np.where(same, middle, before), np.where(same, after, middle)

    def turning_points(self, breaks: np.ndarray) -> np.ndarray:
        """Where curves turn, but for the neighbourhood of breaks."""
        if not self.landmarks.curves:
            return np.zeros(0)
        times = np.unique(np.concatenate([self.low, 0.5 * (self.low + self.high), [self.end]]))
        bounds = self.bounds(times, times)
        turns = [_turns(np.broadcast_to(bounds[curve][0], times.shape)) for curve in self.landmarks.curves]
        turning = times[np.unique(np.concatenate(turns))]
        turning = turning[turning > self.begin]
        if not len(breaks):
            return turning
        ordered = np.sort(breaks)
        right = np.clip(np.searchsorted(ordered, turning), 0, len(ordered) - 1)
        nearest = np.minimum(np.abs(ordered[right] - turning), np.abs(ordered[np.maximum(right - 1, 0)] - turning))
        return turning[nearest > 8 * self.finest]


def _least_size(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The least absolute value between the bounds; 0 where they are not known."""
    least = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
    return np.where(np.isfinite(least), least, 0.0)


def _rough(low: np.ndarray, high: np.ndarray, width: np.ndarray, allowed: float) -> np.ndarray:
    """Whether more than what is allowed could be hidden between the bounds."""
    with np.errstate(invalid="ignore"):
        hidden = (high - low) * width
    return np.broadcast_to((low != high) & ~(hidden <= allowed), width.shape)


def _turns(values: np.ndarray) -> np.ndarray:
    """Places of the turning points of a sequence, up and down by more than a trifle."""
    finite = np.flatnonzero(np.isfinite(values))
    if len(finite) < 3:
        return np.zeros(0, np.int64)
    course = values[finite]
    changes = np.flatnonzero(np.diff(course) != 0)
    signs = np.sign(course[changes + 1] - course[changes])
    indices = changes[1:][signs[1:] != signs[:-1]]  # candidates: where the direction changes
    trifle = _BEND * float(np.ptp(course))
    extremes: list[int] = []
    best, direction, last = 0, 0.0, course[0]
    for index in (*indices.tolist(), len(course) - 1):
        value = course[index]
        if direction == 0.0 and abs(value - last) > trifle:
            direction, best = float(np.sign(value - last)), index
        elif direction * (value - course[best]) >= 0:
            best = index
        elif direction * (course[best] - value) > trifle:
            extremes.append(best)
            direction, best = -direction, index
    return finite[np.array(extremes, np.int64)]
