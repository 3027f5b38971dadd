"""Apparent sojourns of a Markov process in a class of states, where what is shorter than a resolution goes unseen.

Such a sojourn begins with a stay in the class of at least the resolution tau, and ends where the next stay of at least
tau in another class begins; shorter ones in between are not seen (Colquhoun & Sigworth, in Single-Channel Recording,
1983; Hawkes, Jalali & Colquhoun, Phil. Trans. R. Soc. A 332, 511, 1990). Let p(v) be the law of the state, at a time v
after the first tau, while no stay elsewhere has been resolved, r its part in the class, and e(v) the rates of entering
other classes. With rates Q' within classes and J between them

    p(v) = r(v) + integral from 0 to tau of e(v - t) exp(Q' t) dt,    dr/dv = p Q in the class,    e = p J outside.

A sojourn of length tau + v that ends in another class has the density e(v) exp(Q' tau), the law of the state when the
next one has lasted tau. That holds for any number of classes, and any rates.

The equations are followed by collocation at Radau points in windows of width h = tau / c. One window is linear in those
before it, so that powers of a matrix, by doubling, lead to any time: nothing is taken from an asymptotic form, and no
eigenvalues are needed, which may be complex or coincide. Everything is a sum of what came in; there are no differences
of large numbers, in which what is rare would be lost.
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
_SPAN = 5  # doublings, of windows that are followed one by one


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
        """How many doublings of spans of windows lead to a time, a multiple of 4 so that few programs are compiled."""
        windows = longest / self.width
        if not windows < 2.0**_MOST_LEVELS:
            raise SimulationError(f"a dwell time of {longest:.3g} is too long for rates that are so fast")
        return 4 * math.ceil(max(1, int(windows).bit_length() - _SPAN) / 4)

    def windows(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The span of windows (K,) that holds each time, the window (K,) in it, and the weights (K, points) of the
        values at its points."""
        index = np.floor(times / self.width).astype(np.int64)
        return index >> _SPAN, index & (1 << _SPAN) - 1, _weights(self.points, times / self.width - index)


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
    """Lagrange's polynomials (K, points) of the Radau points, at places (K,) in a window."""
    nodes = radau(points)[0]
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


class Stays(NamedTuple):
    """The law of the state in a class that is not left: exponentials of the rates within classes.

    Attributes
    ----------
    across
        Rates (states, states) from one class to another.
    after, until
        Matrices (points, states, states) from the beginning of a window to its points, and from there to its end.
    past
        The same (delay, states, states) over 0, 1, ... whole windows.
    lasting
        The same (states, states) over the resolution.
    """

    across: Array
    after: Array
    until: Array
    past: Array
    lasting: Array


class Leaving(NamedTuple):
    """How classes are left.

    Attributes
    ----------
    inside
        1 in the class and 0 elsewhere (classes, states).
    entries
        Which states (classes, entries, states) are entered, by a 1.
    rates
        Those of entering (classes, states, entries).
    """

    inside: Array
    entries: Array
    rates: Array


def stays(generator: Array, classes: Classes, delay: int, points: int, width: Values) -> Stays:
    """With ``delay`` windows of a ``width`` in a resolution, and ``points`` in each."""
    apart, one = jnp.asarray(classes.apart), jnp.eye(len(generator))
    places = radau(points)[0]
    spans = width * np.concatenate([places, 1 - places])
    every = _exponential(spans[:, None, None] * jnp.where(apart, 0.0, generator)[None])
    past = [one]
    for _ in range(delay):
        past.append(past[-1] @ every[points - 1])
    return Stays(
        jnp.where(apart, generator, 0.0), every[:points], every[points:], jnp.stack(past[: max(delay, 1)]), past[-1]
    )


def leaving(stays: Stays, classes: Classes) -> Leaving:
    """How each class is left."""
    size = len(classes.of)
    entries = np.eye(size + 1)[classes.entries][:, :, :size]
    inside = (classes.of[None] == np.arange(classes.count)[:, None]).astype(float)
    return Leaving(jnp.asarray(inside), jnp.asarray(entries), jnp.einsum("ij,kej->kie", stays.across, entries))


def _exponential(matrices: Array) -> Array:
    """Of matrices (K, states, states) whose norms are at most twice the widest window: a Taylor series, squared."""
    halvings = math.ceil(math.log2(4 * _WIDEST))
    one, small = jnp.broadcast_to(jnp.eye(matrices.shape[1])[None], matrices.shape), matrices / 2**halvings

    def term(k: Array, total: Array) -> Array:
        return one + small @ total / (_TERMS - k)

    series = lax.fori_loop(0, _TERMS, term, one)
    return lax.fori_loop(0, halvings, lambda _, power: power @ power, series)


def _unseen(stays: Stays, delay: int, width: Values, power: int) -> Array:
    """The integral (states, states) over a resolution of (-t)^k / k! exp(Q' t)."""
    places, integrals = radau(len(stays.after))
    if not delay:
        return jnp.zeros_like(stays.lasting)
    times = np.arange(delay)[:, None] + places
    weights = integrals[-1] * (-times) ** power / math.factorial(power)
    return jnp.asarray(width) ** (power + 1) * jnp.einsum("lj,lab,jbc->ac", weights, stays.past, stays.after)


def _transform(generator: Array, stays: Stays, left: Leaving, delay: int, width: Values, power: int) -> Array:
    """A coefficient (classes, states, states) of the powers of s in the system whose inverse has, in the rows of a
    class, the Laplace transforms of r (in its columns) and of e (in the others)."""
    inside = left.inside[:, :, None]
    gaps = _unseen(stays, delay, width, power) @ stays.across
    own = {0: -generator, 1: jnp.eye(len(generator))}.get(power, jnp.zeros_like(generator))
    other = jnp.eye(len(generator)) - gaps if power == 0 else -gaps
    return inside * own[None] + (1 - inside) * other[None]


def entry_law(
    generator: Array, stays: Stays, left: Leaving, classes: Classes, grid: tuple[int, int], width: Values
) -> Array:
    """The law (states,) of the state when an apparent sojourn has lasted tau, in equilibrium, over all sojourns."""
    size = len(classes.of)
    inverse = jnp.linalg.inv(_transform(generator, stays, left, grid[0], width, 0))
    passage = ((1 - left.inside[:, None]) * inverse @ stays.lasting[None])[classes.of, np.arange(size)]
    # (law passage = law, with a sum of 1) as one system of equations
    return jnp.linalg.solve((jnp.eye(size) - passage + 1.0).T, jnp.ones(size))


def moments(
    generator: Array, stays: Stays, left: Leaving, classes: Classes, grid: tuple[int, int], width: Values
) -> Array:
    """The first four moments (states, 4) of v, by the state in which a sojourn has lasted tau."""
    terms = [_transform(generator, stays, left, grid[0], width, power) for power in range(5)]
    series = [jnp.linalg.inv(terms[0])]
    for power in range(1, 5):
        total = sum((terms[k] @ series[power - k] for k in range(1, power + 1)), jnp.zeros_like(terms[0]))
        series.append(-series[0] @ total)
    seen = (1 - left.inside) * stays.lasting.sum(axis=1)[None]
    every = [(-1) ** k * math.factorial(k) * (series[k] @ seen[:, :, None])[..., 0] for k in range(1, 5)]
    return jnp.stack(every, axis=-1)[classes.of, np.arange(len(generator))]


def as_bits(numbers: np.ndarray, levels: int) -> np.ndarray:
    """The numbers (K,) of spans, as bits (levels, K) from the lowest on."""
    result: np.ndarray = (numbers[None] >> np.arange(levels)[:, None]) & 1 == 1
    return result


def entering(
    generator: Array,
    stays: Stays,
    left: Leaving,
    members: Values,
    spans: Values,
    grid: tuple[int, int],
    width: Values,
) -> tuple[Array, Array]:
    """Of one class (without the axis of classes): rates (K, windows, members, points, entries + 1) into others at the
    points of the windows of spans, as multiples of the exponentials of (K,), by the state in which a sojourn has lasted
    tau.

    ``spans`` are those asked for, as bits (levels, K); ``grid`` is how many windows there are in a resolution, and
    points in each. The last of the entries is the probability that the sojourn has not been seen to end.
    """
    step, nodes = _window(generator, stays, left, *grid, width)
    size, states = len(step), len(generator)
    begin = jnp.zeros((len(members), size))
    begin = begin.at[np.arange(len(members)), size - states + members].set(1.0, mode="drop")
    seen = nodes @ jnp.concatenate([left.rates, jnp.ones((states, 1))], axis=1)

    def window(ahead: Array, _: None) -> tuple[Array, Array]:
        return step @ ahead, ahead

    every = lax.scan(window, seen.reshape(size, -1), None, length=1 << _SPAN)[1]
    whole = lax.fori_loop(0, _SPAN, lambda _, power: power @ power, step)
    state, scale = _powers(whole, jnp.broadcast_to(begin[None], (spans.shape[1], *begin.shape)), spans)
    rates = jnp.einsum("kms,wsr->kwmr", state, every)
    return rates.reshape(*rates.shape[:3], *seen.shape[1:]), scale


def _window(
    generator: Array, stays: Stays, left: Leaving, delay: int, points: int, width: Values
) -> tuple[Array, Array]:
    """The matrix that leads from one window to the next, and laws p (size, points, states) at the points.

    A row that it applies to holds e at the points of the windows of the last tau, the oldest first, and then r at the
    window's beginning. What came in before the window is known; r and what comes in go on from there together.
    """
    states, integrals = len(generator), radau(points)[1]
    inside = left.inside
    flow = generator if delay else inside[:, None] * generator * inside[None]
    block = points * left.rates.shape[1]
    before = jnp.zeros((delay, block, points, states))
    if delay:
        last = np.broadcast_to(integrals[-1], (points, points))
        weights = width * np.stack([last - integrals, *[last] * (delay - 1)])  # of the oldest window, a part is over
        came = jnp.einsum("ea,jab,lbc->ljec", left.entries, stays.until, stays.past[::-1])
        before = jnp.einsum("lij,ljec,icd->ljeid", weights, came, stays.after).reshape(before.shape)
    before = before.reshape(-1, points, states)
    come = width * jnp.einsum("ij,sjd->sid", integrals, before @ stays.across)
    begin = jnp.broadcast_to(jnp.diag(inside)[:, None], (states, points, states))
    system = jnp.eye(points * states) - width * jnp.kron(integrals, flow.T)
    known = jnp.concatenate([come, begin]).reshape(-1, points * states)
    followed = jnp.linalg.solve(system, known.T).T.reshape(-1, points, states)
    nodes = followed + jnp.pad(before, ((0, states), (0, 0), (0, 0)))
    stay = followed[:, -1] * inside[None]
    if not delay:
        return stay, nodes
    shift = np.eye(delay * block + states, (delay - 1) * block, k=-block)
    return jnp.concatenate([shift, (nodes @ left.rates).reshape(-1, block), stay], axis=1), nodes


def _powers(step: Array, begin: Array, numbers: Values) -> tuple[Array, Array]:
    """Rows (K, members, size) after numbers (K,) of steps, given as bits, and the logarithms (K,) of their factors."""

    def level(carry: tuple[Array, Array, Array, Array], bit: Array) -> tuple[tuple[Array, Array, Array, Array], None]:
        rows, scale, power, of_power = carry
        rows = jnp.where(bit[:, None, None], rows @ power, rows)
        scale = scale + jnp.where(bit, of_power, 0.0)
        power = power @ power
        most = lax.stop_gradient(jnp.max(jnp.abs(power)))
        most = jnp.where(most > 0, most, 1.0)
        return (rows, scale, power / most, 2 * of_power + jnp.log(most)), None

    start = begin, jnp.zeros(begin.shape[0]), step, jnp.zeros(())
    (rows, scale, _, _), _ = lax.scan(level, start, jnp.asarray(numbers))
    return rows, scale
