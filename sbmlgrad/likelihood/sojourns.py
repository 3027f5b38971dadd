"""Apparent sojourns of a Markov process in a class of states, where what is shorter than a resolution goes unseen.

Such a sojourn begins with a stay in the class of at least the resolution tau, and ends where the next stay of at least
tau in another class begins; shorter ones in between are not seen (Colquhoun & Sigworth, in Single-Channel Recording,
1983; Hawkes, Jalali & Colquhoun, Phil. Trans. R. Soc. A 332, 511, 1990). Let p(v) be the law of the state, at a time v
after the first tau, while no stay elsewhere has been resolved. Probability comes into other classes at the rate
f = p J, and what came in tau ago and has stayed since is resolved:

    dp/dv = p(v) Q - p(v - tau) D,    D = J exp(Q' tau),    p = 0 before v = 0,

with Q' the rates within classes. A sojourn of length tau + v that ends in another class has the density p(v) D, the law
of the state when the next one has lasted tau. That holds for any number of classes, and any rates.

The equation is followed by collocation at Radau points in windows of width h = tau / c. One window is linear in those
before it, so that powers of a matrix, by doubling, lead to any time: nothing is taken from an asymptotic form, and no
eigenvalues are needed, which may be complex or coincide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import expm
from numpy.polynomial import legendre

from sbmlgrad.errors import SimulationError

_ACCURACY = 1e-9  # of what is interpolated in a window, in units of its largest value
_MARGIN = 2.0  # by which rates may grow before windows are made narrower
_MOST_POINTS = 16  # in a window
_WIDEST = 4.0  # of a window, in units of the shortest mean time in a state
_MOST_DELAY = 32  # windows in a resolution
_MOST_LEVELS = 48


@dataclass(frozen=True)
class Grid:
    """Windows of a ``width``, ``delay`` of them in a resolution (0 where all is seen), ``points`` in each."""

    width: float
    delay: int
    points: int

    @classmethod
    def of(cls, fastest: float, resolution: float) -> Grid:
        """The one for states that are left at rates of up to ``fastest``.

        Raises :class:`SimulationError` where a resolution has too many windows.
        """
        fastest *= _MARGIN
        if resolution == 0:
            return cls(_WIDEST / fastest, 0, _MOST_POINTS)
        delay = max(1, math.ceil(fastest * resolution / _WIDEST))
        if delay > _MOST_DELAY:
            raise SimulationError(
                f"a state is left at a rate of {fastest / _MARGIN:.3g}, too fast for a resolution of {resolution:.3g}; "
                "give narrower bounds, or a smaller resolution"
            )
        width = resolution / delay
        points = next((n for n in range(4, _MOST_POINTS) if _error(n, fastest * width) < _ACCURACY), _MOST_POINTS)
        return cls(width, delay, points)

    def holds(self, fastest: float) -> bool:
        """Whether it is fine enough for such rates."""
        return self.points >= _MOST_POINTS or _error(self.points, fastest * self.width) < _ACCURACY

    def levels(self, longest: float) -> int:
        """How many doublings lead to a time, a multiple of 4 so that few programs are compiled."""
        windows = longest / self.width
        if not windows < 2.0**_MOST_LEVELS:
            raise SimulationError(f"a dwell time of {longest:.3g} is too long for rates that are so fast")
        return 4 * math.ceil(max(1, int(windows).bit_length()) / 4)

    def windows(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The window (K,) of each time, and the weights (K, points + 1) of the values at its ends and points."""
        index = np.floor(times / self.width).astype(np.int64)
        return index, _weights(self.points, times / self.width - index)


def _error(points: int, span: float) -> float:
    """Of interpolated exponentials, whose rates lie in a disc of radius ``span`` around minus ``span``."""
    return 2 * (span / 2) ** (points + 1) / math.factorial(points + 1)


@cache
def radau(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (N,) in (0, 1], the last of them 1, and the integrals (N, N) up to each from values at all."""
    roots = np.sort(legendre.legroots([*np.zeros(points - 1), -1.0, 1.0]).real)
    roots[-1] = 1.0
    every = legendre.legvander(roots, points)
    degree = np.arange(1, points)
    integrals = np.empty((points, points))
    integrals[:, 0] = roots + 1
    integrals[:, 1:] = (every[:, 2:] - every[:, :-2]) / (2 * degree + 1)
    return (roots + 1) / 2, integrals @ np.linalg.inv(every[:, :points]) / 2


def _weights(points: int, at: np.ndarray) -> np.ndarray:
    """Lagrange's polynomials (K, points + 1) of 0 and the Radau points, at places (K,) in a window."""
    nodes = np.append(0.0, radau(points)[0])
    off = at[:, None] - nodes
    result = np.empty_like(off)
    for index, node in enumerate(nodes):
        others = np.delete(nodes, index)
        result[:, index] = np.prod(np.delete(off, index, axis=1) / (node - others), axis=1)
    return result


@dataclass(frozen=True, eq=False)
class Classes:
    """Which class (states,) each state is of, by number, and which transitions (states, states) there may be."""

    of: np.ndarray
    linked: np.ndarray

    @cached_property
    def apart(self) -> np.ndarray:
        """Which pairs (states, states) are of different classes."""
        result: np.ndarray = self.of[:, None] != self.of[None]
        return result

    @property
    def count(self) -> int:
        """How many classes there are."""
        return int(self.of.max()) + 1

    def members(self, own: int) -> np.ndarray:
        """The states of a class."""
        return np.flatnonzero(self.of == own)

    def entries(self, own: int) -> np.ndarray:
        """The states of other classes that are entered from a class that they are not of."""
        entered = np.any(self.linked & self.apart, axis=0)
        return np.flatnonzero(entered & (self.of != own))

    @property
    def room(self) -> tuple[int, int]:
        """The most states of a class, and the most entries into others, at least 1 each."""
        every = range(self.count)
        return max(len(self.members(k)) for k in every), max(1, *(len(self.entries(k)) for k in every))


class Leaving(NamedTuple):
    """How a class is left: rates J (states, entries) into other classes, and the law (entries, states) after tau."""

    rates: Array
    lasting: Array

    @property
    def resolved(self) -> Array:
        """The matrix D (states, states)."""
        return self.rates @ self.lasting


def leavings(generator: Array, resolution: Array, classes: Classes) -> list[Leaving]:
    """How each class is left."""
    apart = jnp.asarray(classes.apart)
    lasting = expm(jnp.where(apart, 0.0, generator) * resolution)
    across = jnp.where(apart, generator, 0.0)
    entries = [classes.entries(k) for k in range(classes.count)]
    return [Leaving(across[:, own], lasting[own]) for own in entries]


def entry_law(generator: Array, every: Sequence[Leaving], classes: Classes) -> Array:
    """The law (states,) of the state when an apparent sojourn has lasted tau, in equilibrium, over all sojourns."""
    size = len(classes.of)
    passage = jnp.zeros((size, size))
    for own, leaving in enumerate(every):
        members, resolved = classes.members(own), leaving.resolved
        passage = passage.at[members].set(jnp.linalg.solve(resolved - generator, resolved)[members])
    # (law passage = law, with a sum of 1) as one system of equations
    return jnp.linalg.solve((jnp.eye(size) - passage + 1.0).T, jnp.ones(size))


def moments(generator: Array, leaving: Leaving, resolution: Array, members: np.ndarray) -> Array:
    """The first four moments (4, members) of v, by the state in which a sojourn has lasted tau.

    The Laplace transform of p is the inverse of s - Q + exp(-s tau) D; its powers of s are those of a series.
    """
    resolved, one = leaving.resolved, jnp.eye(len(generator))
    terms = [resolved - generator, one - resolution * resolved]
    terms += [(-resolution) ** k / math.factorial(k) * resolved for k in (2, 3, 4)]
    series = [jnp.linalg.inv(terms[0])]
    for power in range(1, 5):
        total = sum((terms[k] @ series[power - k] for k in range(1, power + 1)), jnp.zeros_like(one))
        series.append(-series[0] @ total)
    return jnp.stack([(-1) ** k * math.factorial(k) * (series[k] @ resolved).sum(axis=1)[members] for k in range(1, 5)])


class Windows(NamedTuple):
    """Which windows (K,) are asked for, as bits (levels, K) of their numbers."""

    bits: Array | np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray, levels: int) -> Windows:
        return cls((numbers[None] >> np.arange(levels)[:, None]) & 1 == 1)


def entering(
    generator: Array, leaving: Leaving, members: np.ndarray, windows: Windows, grid: Grid, width: Array
) -> tuple[Array, Array]:
    """Rates (K, members, points + 1, entries + 1) into other classes at the points of windows, as multiples of the
    exponentials of (K,), from each state in which a sojourn has lasted tau.

    The last of the entries is the probability that the sojourn has not been seen to end.
    """
    step, nodes = _window(generator, leaving, grid, width)
    size, states = len(step), len(generator)
    begin = jnp.zeros((len(members), size)).at[np.arange(len(members)), size - states + members].set(1.0)
    count = windows.bits.shape[1]
    state, scale = _powers(step, jnp.broadcast_to(begin[None], (count, *begin.shape)), windows)
    history = len(nodes) - states
    inputs = jnp.concatenate([state[..., :history], state[..., size - states :]], axis=-1)
    seen = jnp.concatenate([leaving.rates, jnp.ones((states, 1))], axis=1)
    first = state[..., size - states :] @ seen
    later = jnp.tensordot(inputs, nodes @ seen, axes=1)
    return jnp.concatenate([first[:, :, None], later], axis=2), scale


def _window(generator: Array, leaving: Leaving, grid: Grid, width: Array) -> tuple[Array, Array]:
    """The matrix that leads from one window to the next, and laws (inputs, points, states) at the points.

    A row that it applies to holds f at the points of the windows of the last tau, the oldest first, and then the law at
    the window's beginning. Inputs are the oldest of those windows, and the law.
    """
    states, points, entries = len(generator), grid.points, leaving.rates.shape[1]
    integrals = radau(points)[1]
    flow = generator if grid.delay else generator - leaving.resolved
    left = jnp.eye(points * states) - width * jnp.kron(integrals, flow.T)
    right = jnp.kron(np.ones((points, 1)), jnp.eye(states))
    if grid.delay:
        right = jnp.concatenate([-width * jnp.kron(integrals, leaving.lasting.T), right], axis=1)
    nodes = jnp.linalg.solve(left, right).T.reshape(-1, points, states)
    if not grid.delay:
        return nodes[:, -1], nodes
    block, kept = points * entries, (grid.delay - 1) * points * entries
    size = kept + block + states
    ahead = jnp.concatenate([(nodes @ leaving.rates).reshape(-1, block), nodes[:, -1]], axis=1)
    step = jnp.zeros((size, size)).at[block + np.arange(kept), np.arange(kept)].set(1.0)
    rows = np.append(np.arange(block), np.arange(size - states, size))
    return step.at[rows, kept:].add(ahead), nodes


def _powers(step: Array, begin: Array, windows: Windows) -> tuple[Array, Array]:
    """Rows (K, members, size) after as many steps as windows (K,) have before them, and the logarithms (K,) of what
    they are to be multiplied by."""

    def level(carry: tuple[Array, Array, Array, Array], bit: Array) -> tuple[tuple[Array, Array, Array, Array], None]:
        rows, scale, power, of_power = carry
        rows = jnp.where(bit[:, None, None], rows @ power, rows)
        scale = scale + jnp.where(bit, of_power, 0.0)
        power = power @ power
        most = lax.stop_gradient(jnp.max(jnp.abs(power)))
        most = jnp.where(most > 0, most, 1.0)
        return (rows, scale, power / most, 2 * of_power + jnp.log(most)), None

    start = begin, jnp.zeros(begin.shape[0]), step, jnp.zeros(())
    (rows, scale, _, _), _ = lax.scan(level, start, jnp.asarray(windows.bits))
    return rows, scale

