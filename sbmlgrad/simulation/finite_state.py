"""Finite state projection: probabilities of a reaction network's states, exactly but for a bounded loss.

The chemical master equation on finitely many states; whatever would leave them is lost to a sink, and the lost
probability bounds the error of every probability (Munsky & Khammash, J. Chem. Phys. 124, 044104, 2006).
Probabilities and their derivatives judge estimates that are drawn at random.

    space = explore(network, [[10, 0]], network.coefficients, horizon=5.0)
    p = evolve(space, space.rates(network, coefficients), space.distribution([[10, 0]]), 5.0)
    mean = space.x[0] @ p
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array

from sbmlgrad.errors import PropensityError, SbmlgradError, SimulationError
from sbmlgrad.network import ReactionNetwork

Values = Array | np.ndarray

_TAIL = 1e-15  # of the Poisson distribution, left out of a series
_BLOCK = 64  # terms of a series that reverse mode recomputes at a time
_STEP = 64.0  # expected jumps of the fastest state in a step of exploration
_BATCH = 1024  # states whose rates are computed in one call during exploration
_DECADES = 3.0  # by which the loss is hoped to shrink with every layer of states


@dataclass(frozen=True, eq=False)
class StateSpace:
    """Finitely many states and the transitions among them.

    Parameters
    ----------
    states
        Counts (states, species), sorted by species from the first on.
    successors
        Index (reactions, states) of the state after a reaction; the number of states means outside.
    lost
        Bound on the probability that left these states until the horizon, at the coefficients of the exploration.
    """

    states: np.ndarray
    successors: np.ndarray
    lost: float = 0.0

    def __len__(self) -> int:
        return len(self.states)

    @cached_property
    def x(self) -> tuple[np.ndarray, ...]:
        """Counts as floats, one array (states,) a species."""
        return tuple(np.ascontiguousarray(column, dtype=np.float64) for column in self.states.T)

    @cached_property
    def predecessors(self) -> np.ndarray:
        """Index (reactions, states) of the state before a reaction; the number of states means none."""
        predecessors = np.full_like(self.successors, len(self))
        reaction, source = np.nonzero(self.successors < len(self))
        predecessors[reaction, self.successors[reaction, source]] = source
        return predecessors

    def find(self, counts: np.ndarray) -> np.ndarray:
        """Index (K,) of each state of ``counts`` (K, species), -1 where it is not among them."""
        return _find(self.states, counts)

    def rates(self, network: ReactionNetwork, coefficients: Sequence[Any]) -> Array:
        """Propensities (reactions, states), which can be differentiated by the coefficients."""
        return stacked_rates(network, tuple(map(jnp.asarray, self.x)), tuple(coefficients))

    def distribution(self, counts: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
        """Probabilities (states,) that put ``weights`` (K,), or equal ones, on ``counts`` (K, species)."""
        counts, weights = _checked_start(counts, weights, self.states.shape[1])
        index = self.find(counts)
        if np.any(index < 0):
            raise SbmlgradError(f"counts: {counts[np.argmin(index)].tolist()} is not in this space of states")
        return np.bincount(index, weights, len(self))


def evolve(space: StateSpace, rates: Values, p: Values, duration: float, fastest: float | None = None) -> Array:
    """Probabilities after ``duration``: the exponential of the generator, applied to ``p``.

    By uniformisation (Jensen, Skand. Aktuarietidskr. 36, 87, 1953) with weights as in Fox & Glynn, Commun. ACM 31,
    440 (1988): of the norm of ``p``, less than 1e-12 is left out. The sum of ``p`` less that of the result is the
    probability lost to the sink. Forward and reverse mode differentiate by ``rates`` and ``p``; reverse mode keeps
    one vector in 64 terms.

    Parameters
    ----------
    rates
        Propensities (reactions, states) in events per time.
    p
        Numbers (states,) of any sign.
    duration
        Not negative; no derivative is taken by it.
    fastest
        An upper bound on a state's total rate, needed only where ``rates`` is not known, as under ``jax.jit``.
    """
    return _evolve(space, rates, p, duration, fastest, integral=False)[0]


def evolve_and_integrate(
    space: StateSpace, rates: Values, p: Values, duration: float, fastest: float | None = None
) -> tuple[Array, Array]:
    """What :func:`evolve` gives, and its integral from 0 to ``duration``, (states,) each."""
    end, integral = _evolve(space, rates, p, duration, fastest, integral=True)
    return end, integral


def explore(
    network: ReactionNetwork,
    counts: ArrayLike,
    coefficients: Sequence[Any],
    horizon: float,
    weights: ArrayLike | None = None,
    tolerance: float = 1e-10,
    limit: int = 200_000,
) -> StateSpace:
    """Enough states that less than ``tolerance`` of probability leaves them until ``horizon``.

    Goes forward in short steps, and repeats a step with the states added to which most probability leaked.

    Parameters
    ----------
    counts, weights
        Initial counts (K, species) and their probabilities (K,), equal ones if not given.
    coefficients
        Values of the parameters, in the order in which ``network.rates`` takes them.
    limit
        The most states that may be needed.

    Raises
    ------
    SimulationError
        if more than ``limit`` states are needed.
    PropensityError
        if a propensity is negative, not finite, or not 0 although its reaction would make a count negative.
    """
    if not (0 <= horizon < np.inf and 0 < tolerance < 1):
        raise SbmlgradError("horizon and tolerance: expected a finite time from 0 on, and a number between 0 and 1")
    counts, weights = _checked_start(counts, weights, len(network.species))
    growth = _Growth(network, coefficients, limit)
    growth.add(np.unique(counts, axis=0))
    p = np.bincount(_find(growth.states, counts), weights, len(growth.states))
    time = lost = 0.0
    while time < horizon:
        fastest = max(growth.fastest, 1.0 / (horizon - time))
        step = min(_STEP / fastest, horizon - time)
        reached = horizon if step == horizon - time else time + step
        end, integral = _step(growth, p, step, fastest)
        reaction, source = growth.exits
        leaks = growth.rates[reaction, source] * integral[source]
        allowed = tolerance * reached / horizon - lost
        if leaks.sum() <= allowed:
            p, time, lost = end, reached, lost + float(leaks.sum())
        else:
            growth.follow(reaction, source, leaks, allowed, reached)
            p = np.pad(p, (0, len(growth.states) - len(p)))
    order = np.lexsort(growth.states.T[::-1])
    index = np.empty(len(order) + 1, np.int64)  # the last one, -1 before, is outside
    index[order], index[-1] = np.arange(len(order)), len(order)
    return StateSpace(growth.states[order], index[growth.successors[:, order]], lost)


class _Growth:
    """The states found so far, the rates in them, and their successors, of which -1 is outside."""

    def __init__(self, network: ReactionNetwork, coefficients: Sequence[Any], limit: int) -> None:
        self.network = network
        self.limit = limit
        self.states = np.zeros((0, len(network.species)), np.int64)
        self.rates = np.zeros((len(network.reactions), 0))
        self.successors = np.zeros((len(network.reactions), 0), np.int64)
        self._compute = jax.jit(lambda x: stacked_rates(network, x, tuple(coefficients)))
        self._matrix: tuple[float, csr_array] | None = None

    @property
    def fastest(self) -> float:
        return float(self.rates.sum(axis=0).max())

    @property
    def exits(self) -> tuple[np.ndarray, np.ndarray]:
        """Reaction and state of all transitions that lead outside."""
        reaction, source = np.nonzero((self.successors < 0) & (self.rates > 0))
        return reaction, source

    def matrix(self, fastest: float) -> csr_array:
        """Transition probabilities (states, states) of the uniformised chain, column to row."""
        if self._matrix is None or self._matrix[0] != fastest:
            size = len(self.states)
            reaction, source = np.nonzero((self.successors >= 0) & (self.rates > 0))
            moves = self.rates[reaction, source] / fastest
            stays = 1 - self.rates.sum(axis=0) / fastest
            diagonal = np.arange(size)
            rows = np.concatenate([self.successors[reaction, source], diagonal])
            columns = np.concatenate([source, diagonal])
            entries = coo_array((np.concatenate([moves, stays]), (rows, columns)), shape=(size, size))
            self._matrix = fastest, entries.tocsr()
        return self._matrix[1]

    def add(self, states: np.ndarray) -> None:
        """Take in states (K, species), all of them new."""
        rates = self._rates(states)
        jumps = self.network.stoichiometry
        negative = (rates > 0) & np.any(states[None] + jumps.T[:, None] < 0, axis=2)
        if negative.any():
            reaction, index = np.argwhere(negative)[0]
            raise PropensityError(
                f"reaction {self.network.reactions[reaction]!r}: its propensity is {rates[reaction, index]:g} at "
                f"{self._named(states[index])}, where it makes a count negative; let it be 0 there"
            )
        self.states = np.concatenate([self.states, states])
        self.rates = np.concatenate([self.rates, rates], axis=1)
        self.successors = np.concatenate([self.successors, np.full(rates.shape, -1)], axis=1)
        reaction, source = np.nonzero(self.successors < 0)
        self.successors[reaction, source] = _find(self.states, self.states[source] + jumps.T[reaction])
        self._matrix = None

    def follow(self, reaction: np.ndarray, source: np.ndarray, leaks: np.ndarray, allowed: float, time: float) -> None:
        """Add the states to which all but half of what is ``allowed`` leaked, and more layers after a large leak."""
        order = np.argsort(leaks)
        chosen = order[np.cumsum(leaks[order]) > allowed / 2]
        layers = 1 + int(np.log10(leaks.sum() / allowed) / _DECADES)
        reaction, source = reaction[chosen], source[chosen]
        for _ in range(layers):
            targets = np.unique(self.states[source] + self.network.stoichiometry.T[reaction], axis=0)
            first = len(self.states)
            if first + len(targets) > self.limit:
                raise self._too_many(targets, time)
            self.add(targets)
            reaction, source = self.exits
            added = source >= first
            reaction, source = reaction[added], source[added]
            if not len(source):
                return

    def _rates(self, states: np.ndarray) -> np.ndarray:
        """Checked rates (reactions, K), computed in calls of one size so that few are compiled."""
        parts = []
        for first in range(0, len(states), _BATCH):
            part = states[first : first + _BATCH]
            padded = np.concatenate([part, np.repeat(part[:1], _BATCH - len(part), axis=0)]).astype(np.float64)
            parts.append(np.asarray(self._compute(tuple(padded.T)))[:, : len(part)])
        rates = np.concatenate(parts, axis=1)
        wrong = ~((rates >= 0) & (rates < np.inf))
        if wrong.any():
            reaction, index = np.argwhere(wrong)[0]
            raise PropensityError(
                f"reaction {self.network.reactions[reaction]!r}: its propensity is {rates[reaction, index]:g} at "
                f"{self._named(states[index])}; probabilities need finite laws that are not negative"
            )
        return rates

    def _too_many(self, targets: np.ndarray, time: float) -> SimulationError:
        largest = int(np.argmax(targets.max(axis=0)))
        return SimulationError(
            f"more than {self.limit} states are needed before time {time:g}; species "
            f"{self.network.species[largest]!r} already reaches {targets[:, largest].max()} molecules. "
            "End earlier, start from smaller counts, or raise tolerance or limit"
        )

    def _named(self, state: np.ndarray) -> str:
        return ", ".join(f"{name}={count}" for name, count in zip(self.network.species, state, strict=True))


def _step(growth: _Growth, p: np.ndarray, duration: float, fastest: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities after ``duration`` and their integral, (states,) each, by numpy."""
    matrix = growth.matrix(fastest)
    end, integral = np.zeros((2, len(p)))
    for point, survival in poisson_weights(fastest * duration):
        end += point * p
        integral += survival * p
        p = matrix @ p
    return end, integral / fastest


def poisson_weights(jumps: float) -> np.ndarray:
    """Poisson probabilities P(N = k) and P(N > k) (terms, 2) for a mean of ``jumps``, to a tail of 1e-15.

    Ratios from the mode outwards neither overflow nor lose digits (Fox & Glynn 1988).
    """
    mode = int(jumps)
    most = int(jumps + 10 * np.sqrt(jumps) + 40)
    below = np.cumprod(np.arange(mode, 0, -1) / jumps)[::-1]
    above = np.cumprod(jumps / np.arange(mode + 1, most))
    points = np.concatenate([below, [1.0], above])
    points /= points.sum()
    beyond = np.append(np.cumsum(points[:0:-1])[::-1], 0.0)
    terms = int(np.count_nonzero(beyond > _TAIL)) + 1
    return np.stack([points[:terms], beyond[:terms]], axis=1)


def _evolve(
    space: StateSpace, rates: Values, p: Values, duration: float, fastest: float | None, integral: bool
) -> tuple[Array, ...]:
    if not 0 <= duration < np.inf:
        raise SbmlgradError(f"duration: expected a finite number that is not negative, got {duration}")
    rates, p = jnp.asarray(rates, jnp.float64), jnp.asarray(p, jnp.float64)
    if rates.shape != space.successors.shape or p.shape != (len(space),):
        expected = f"{space.successors.shape} and {(len(space),)}"
        raise SbmlgradError(f"rates and p: expected shapes {expected}, got {rates.shape} and {p.shape}")
    if duration == 0:
        return p, jnp.zeros_like(p)
    if fastest is None:
        fastest = _fastest(rates)
    fastest = max(fastest, 1.0 / duration)
    weights = poisson_weights(fastest * duration)[:, : 1 + integral] / [1.0, fastest][: 1 + integral]
    weights = np.pad(weights, ((0, -len(weights) % _BLOCK), (0, 0)))
    blocks = weights.reshape(-1, _BLOCK, 1 + integral)
    result: tuple[Array, ...] = tuple(_sum_series(space.predecessors, rates, p, blocks, fastest))
    return result


def _fastest(rates: Array) -> float:
    try:
        fastest = float(np.asarray(lax.stop_gradient(rates)).sum(axis=0).max())
    except jax.errors.TracerArrayConversionError as error:
        raise SbmlgradError("fastest: give an upper bound on total rates where rates are traced, as in jit") from error
    if not fastest < np.inf:
        raise SbmlgradError("rates: expected finite numbers that are not negative")
    return fastest


def uniformised(predecessors: Array, rates: Array, fastest: Array) -> tuple[Array, Array, Array]:
    """The uniformised chain: the state before each reaction (reactions, states), and the probabilities to arrive from
    there (reactions, states) and to stay (states,)."""
    inside = predecessors < rates.shape[1]
    index = jnp.where(inside, predecessors, 0)
    # Gathering by predecessor is faster than scattering to successors; the rates are gathered once.
    arrive = jnp.where(inside, jnp.take_along_axis(rates, index, axis=1), 0.0) / fastest
    return index, arrive, 1 - rates.sum(axis=0) / fastest


@jax.jit
def _sum_series(predecessors: Array, rates: Array, p: Array, weights: Array, fastest: Array) -> Array:
    """Sums (kinds, states) over k of ``weights`` (blocks, terms, kinds) times the chain's k-th power on ``p``."""
    index, arrive, stay = uniformised(predecessors, rates, fastest)

    def term(carry: tuple[Array, Array], weight: Array) -> tuple[tuple[Array, Array], None]:
        p, total = carry
        total = total + weight[:, None] * p[None]
        return (stay * p + (arrive * p.at[index].get(mode="promise_in_bounds")).sum(axis=0), total), None

    @jax.checkpoint
    def block(carry: tuple[Array, Array], weights: Array) -> tuple[tuple[Array, Array], None]:
        return lax.scan(term, carry, weights)

    (_, total), _ = lax.scan(block, (p, jnp.zeros((weights.shape[2], p.shape[0]))), weights)
    return total


def stacked_rates(network: ReactionNetwork, x: tuple[Any, ...], coefficients: tuple[Any, ...]) -> Array:
    """Propensities (reactions, states) at counts (states,) of each species."""
    assert network.rates is not None
    shape = jnp.shape(x[0])
    values = [jnp.broadcast_to(jnp.asarray(a, jnp.float64), shape) for a in network.rates(x, coefficients)]
    return jnp.stack(values) if values else jnp.zeros((0, *shape))


def _checked_start(counts: ArrayLike, weights: ArrayLike | None, species: int) -> tuple[np.ndarray, np.ndarray]:
    given = np.asarray(counts, np.float64)
    if given.ndim != 2 or given.shape[1] != species or not len(given) or np.any((given < 0) | (given % 1 != 0)):
        raise SbmlgradError(f"counts: expected whole numbers that are not negative, of shape (K, {species})")
    shares = np.full(len(given), 1 / len(given)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(given),):
        raise SbmlgradError(f"weights: expected one for each of {len(given)} states")
    return given.astype(np.int64), shares


def _find(states: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Index (K,) of each ``counts`` state (K, species) among ``states``, -1 where it is not there.

    States are compared by a random linear code. Where two share one, which happens once in about 1e9 spaces of
    100,000 states, one of them is not found, and what goes there counts as lost.
    """
    code = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, states.shape[1])
    codes = states @ code
    order = np.argsort(codes)
    index = order[np.searchsorted(codes, counts @ code, sorter=order).clip(max=len(states) - 1)]
    return np.where(np.all(states[index] == counts, axis=1), index, -1)
