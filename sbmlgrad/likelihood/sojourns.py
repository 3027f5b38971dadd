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
from numpy.polynomial import legendre

from sbmlgrad.errors import SimulationError
from sbmlgrad.simulation.finite_state import Values

_ACCURACY = 1e-9  # of what is interpolated in a window, in units of its largest value
_MARGIN = 2.0  # by which rates may grow before windows are made narrower
_MOST_POINTS = 16  # in a window
_WIDEST = 4.0  # of a window, in units of the shortest mean time in a state
_TERMS = 14  # of a Taylor series, for norms up to 1/2
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

    @cached_property
    def members(self) -> np.ndarray:
        """The states (classes, members) of each class; in the rows of small ones the number of states at the end."""
        return _rows([self.of == own for own in range(self.count)])

    @cached_property
    def entries(self) -> np.ndarray:
        """The states (classes, entries) outside of each class that are entered from a class that they are not of."""
        entered = np.any(self.linked & self.apart, axis=0)
        return _rows([entered & (self.of != own) for own in range(self.count)])


def _rows(chosen: Sequence[np.ndarray]) -> np.ndarray:
    """Indices (K, most) of what is chosen (n,), and n where there are no more; at least one column."""
    every, size = [np.flatnonzero(own) for own in chosen], len(chosen[0])
    most = max(1, *(len(own) for own in every))
    return np.stack([np.pad(own, (0, most - len(own)), constant_values=size) for own in every])


class Leaving(NamedTuple):
    """How classes are left: rates J (classes, states, entries) into others, and the law (classes, entries, states) of
    the state a resolution later."""

    rates: Array
    lasting: Array

    @property
    def resolved(self) -> Array:
        """The matrix D (classes, states, states)."""
        return self.rates @ self.lasting


def leaving(generator: Array, resolution: Values, classes: Classes, delay: int) -> Leaving:
    """How each class is left, with ``delay`` windows in a resolution."""
    apart = jnp.asarray(classes.apart)
    lasting = _exponential(jnp.where(apart, 0.0, generator) * resolution, delay)
    across = jnp.where(apart, generator, 0.0)
    rates = jnp.pad(across, ((0, 0), (0, 1)))[:, classes.entries]
    return Leaving(jnp.moveaxis(rates, 0, 1), jnp.pad(lasting, ((0, 1), (0, 0)))[classes.entries])


def _exponential(matrix: Array, delay: int) -> Array:
    """Of a matrix whose norm is at most twice the widest window, times their number: by squaring a Taylor series."""
    halvings = math.ceil(math.log2(4 * _WIDEST * max(delay, 1)))
    one, small = jnp.eye(len(matrix)), matrix / 2**halvings

    def term(k: Array, total: Array) -> Array:
        return one + small @ total / (_TERMS - k)

    series = lax.fori_loop(0, _TERMS, term, one)
    return lax.fori_loop(0, halvings, lambda _, power: power @ power, series)


def entry_law(generator: Array, leaving: Leaving, classes: Classes) -> Array:
    """The law (states,) of the state when an apparent sojourn has lasted tau, in equilibrium, over all sojourns."""
    size, resolved = len(classes.of), leaving.resolved
    passage = jnp.linalg.solve(resolved - generator[None], resolved)[classes.of, np.arange(size)]
    # (law passage = law, with a sum of 1) as one system of equations
    return jnp.linalg.solve((jnp.eye(size) - passage + 1.0).T, jnp.ones(size))


def moments(generator: Array, leaving: Leaving, resolution: Values, classes: Classes) -> Array:
    """The first four moments (states, 4) of v, by the state in which a sojourn has lasted tau.

    The Laplace transform of p is the inverse of s - Q + exp(-s tau) D; its powers of s are those of a series.
    """
    resolved, one, tau = leaving.resolved, jnp.eye(len(generator))[None], jnp.asarray(resolution)
    terms = [resolved - generator[None], one - tau * resolved]
    terms += [(-tau) ** k / math.factorial(k) * resolved for k in (2, 3, 4)]
    series = [jnp.linalg.inv(terms[0])]
    for power in range(1, 5):
        total = sum((terms[k] @ series[power - k] for k in range(1, power + 1)), jnp.zeros_like(one))
        series.append(-series[0] @ total)
    every = [(-1) ** k * math.factorial(k) * (series[k] @ resolved).sum(axis=-1) for k in range(1, 5)]
    return jnp.stack(every, axis=-1)[classes.of, np.arange(len(generator))]


def windows_as_bits(numbers: np.ndarray, levels: int) -> np.ndarray:
    """The numbers (K,) of windows, as bits (levels, K) from the lowest on."""
    result: np.ndarray = (numbers[None] >> np.arange(levels)[:, None]) & 1 == 1
    return result


def entering(
    generator: Array, leaving: Leaving, members: Values, windows: Values, grid: tuple[int, int], width: Values
) -> tuple[Array, Array]:
    """Of one class (without the axis of classes): rates (K, members, points + 1, entries + 1) into others at the ends
    and points of windows, as multiples of the exponentials of (K,), by the state in which a sojourn has lasted tau.

    ``windows`` are those asked for, as bits (levels, K); ``grid`` is how many there are in a resolution, and points in
    each. The last of the entries is the probability that the sojourn has not been seen to end.
    """
    step, nodes = _window(generator, leaving, *grid, width)
    size, states = len(step), len(generator)
    begin = jnp.zeros((len(members), size))
    begin = begin.at[np.arange(len(members)), size - states + members].set(1.0, mode="drop")
    state, scale = _powers(step, jnp.broadcast_to(begin[None], (windows.shape[1], *begin.shape)), windows)
    history = len(nodes) - states
    inputs = jnp.concatenate([state[..., :history], state[..., size - states :]], axis=-1)
    seen = jnp.concatenate([leaving.rates, jnp.ones((states, 1))], axis=1)
    first = state[..., size - states :] @ seen
    later = jnp.tensordot(inputs, nodes @ seen, axes=1)
    return jnp.concatenate([first[:, :, None], later], axis=2), scale


def _window(generator: Array, leaving: Leaving, delay: int, points: int, width: Values) -> tuple[Array, Array]:
    """The matrix that leads from one window to the next, and laws (inputs, points, states) at the points.

    A row that it applies to holds f at the points of the windows of the last tau, the oldest first, and then the law at
    the window's beginning. Inputs are the oldest of those windows, and the law.
    """
    states, entries = len(generator), leaving.rates.shape[1]
    integrals = radau(points)[1]
    flow = generator if delay else generator - leaving.resolved
    left = jnp.eye(points * states) - width * jnp.kron(integrals, flow.T)
    right = jnp.kron(np.ones((points, 1)), jnp.eye(states))
    if delay:
        right = jnp.concatenate([-width * jnp.kron(integrals, leaving.lasting.T), right], axis=1)
    nodes = jnp.linalg.solve(left, right).T.reshape(-1, points, states)
    if not delay:
        return nodes[:, -1], nodes
    block, kept = points * entries, (delay - 1) * points * entries
    size = kept + block + states
    ahead = jnp.concatenate([(nodes @ leaving.rates).reshape(-1, block), nodes[:, -1]], axis=1)
    step = jnp.zeros((size, size)).at[block + np.arange(kept), np.arange(kept)].set(1.0)
    rows = np.append(np.arange(block), np.arange(size - states, size))
    return step.at[rows, kept:].add(ahead), nodes


def _powers(step: Array, begin: Array, windows: Values) -> tuple[Array, Array]:
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
    (rows, scale, _, _), _ = lax.scan(level, start, jnp.asarray(windows))
    return rows, scale
