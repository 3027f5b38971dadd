"""Steps in time of a finite state projection: one from each observation to the next where rates stay as they are, and
where they follow time, as many as their change asks for.

Within a step that rates change in, the generator A(t) is replaced by two constant ones, one after the other: with A1
and A2 at the two Gauss points, (1/4 + sqrt(3)/6) A1 + (1/4 - sqrt(3)/6) A2 and the same the other way round. That is
the commutator-free Magnus integrator of fourth order (S. Blanes and P. C. Moan, Appl. Numer. Math. 56, 1519, 2006).
Steps end where rates bend, jump or turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from scipy.stats import poisson

from sbmlgrad.errors import SimulationError
from sbmlgrad.likelihood.jumps import Jumps
from sbmlgrad.likelihood.layout import Layout, go_on
from sbmlgrad.network.hybrid_model import HybridModel, joined
from sbmlgrad.network.program import Program

Rates = Callable[[Any, Layout], Array]
"""Rates (reactions, states) of coefficients."""
AtStep = Callable[[Array], Any]
"""The coefficients in a step, by its index."""

_GAUSS = np.array([0.5 - np.sqrt(3) / 6, 0.5 + np.sqrt(3) / 6])
_PARTS = np.array([[0.25 + np.sqrt(3) / 6, 0.25 - np.sqrt(3) / 6], [0.25 - np.sqrt(3) / 6, 0.25 + np.sqrt(3) / 6]])
_TAIL = 1e-15  # of the Poisson distribution, left out of a series
_ROOM = 256  # steps that are compiled for at first
_MOST_BENDS = 10_000
_JUST = 1e-12  # of the time at hand, that two bends are apart at least
_BEND, _TURN = -2, -1  # kinds of edges that no switch of the landmarks stands behind; others have its index


class Bends(NamedTuple):
    """Times (k,) between begin and end, and what is behind each (k,): a switch's index, a straight line, a turn."""

    times: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps as the compiled functions take them.

    Attributes
    ----------
    edges
        Where they begin and end (steps + 1,).
    kinds
        What is behind each edge, as for :class:`Bends`, so that it moves with the parameters.
    many, most
        How many terms (steps, parts) a part's series has, and the mean of its Poisson weights.
    first, last
        The steps (times,) that lead up to each observation.
    jumps
        What events do at the ends of steps, None where there are none.
    """

    edges: Any
    kinds: Any
    many: Any
    most: Any
    first: Any
    last: Any
    jumps: Jumps | None = None


jax.tree_util.register_dataclass(
    Steps, data_fields=["edges", "kinds", "many", "most", "first", "last", "jumps"], meta_fields=[]
)


def bends(process: HybridModel, quantities: np.ndarray, begin: float, end: float) -> Bends:
    """Where rates that follow time bend, jump or turn.

    Raises :class:`SimulationError` for what does so more often than anybody could follow.
    """
    times, kinds = np.zeros(0), np.zeros(0, np.int64)
    if process.landmarks is not None:
        times, kinds = process.landmarks.find(quantities, begin, end)
    straight = _straight_bends(process, quantities, begin, end)
    times = np.concatenate([times, straight])
    kinds = np.concatenate([kinds, np.full(len(straight), _BEND)])
    inside = (times > begin) & (times < end)
    return Bends(times[inside], kinds[inside])


def _straight_bends(process: HybridModel, quantities: np.ndarray, begin: float, end: float) -> np.ndarray:
    """Where straight lines in time bend or jump, found one after the other."""
    if not _has_straight_bends(process):
        return np.zeros(0)
    if "bends" not in process.compiled:
        process.compiled["bends"] = jax.jit(lambda t, x, c: process.switches(joined(t, x, c))), jax.jit(process.start)
    seen, start = process.compiled["bends"]
    state, coefficients = start(quantities)
    found: list[float] = []
    at = begin
    while True:
        just = _JUST * max(abs(at), end - begin)
        changes = np.asarray(seen(at + just, state, coefficients))
        later = changes[np.isfinite(changes) & (changes > at + just) & (changes < end)]
        if not len(later):
            return np.array(found)
        at = float(later.min())
        found.append(at)
        if len(found) > _MOST_BENDS:
            raise SimulationError(f"{process.source}: rates change more than {_MOST_BENDS} times")


def _has_straight_bends(process: HybridModel) -> bool:
    switches = process.switches
    return not isinstance(switches, Program) or bool(switches.outputs)


def moving(process: HybridModel, steps: Steps, coefficients: Array, state: Array) -> Array:
    """The edges with their derivatives by the coefficients (K,), those of the process, at its state at the start."""
    edges = steps.edges
    if process.landmarks is not None:
        edges = process.landmarks.moving(edges, jnp.maximum(steps.kinds, _TURN), len(state), coefficients)
    if not _has_straight_bends(process):
        return edges

    def straight(edge: Array) -> Array:
        before = edge - _JUST * jnp.maximum(jnp.abs(edge), 1e-300)
        every = process.switches(joined(before, state, coefficients))
        apart = jnp.where(jnp.isfinite(every), jnp.abs(every - edge), jnp.inf)
        return every[jnp.argmin(apart)]

    own = jax.vmap(straight)(lax.stop_gradient(edges))
    there = (steps.kinds == _BEND) & jnp.isfinite(own)
    shift = jnp.where(there, own, 0.0)
    return edges + shift - lax.stop_gradient(shift)


class Pace(Enum):
    """How rates follow time: not at all, at the ends of steps only, or anyhow."""

    STILL = "still"
    STEPS = "steps"
    SMOOTH = "smooth"


def _nodes(
    rates: Rates, pace: Pace, at_step: AtStep, layout: Layout, edges: Array, step: Array
) -> tuple[Array, list[Array]]:
    """The length of a step, and rates (reactions, states) at its nodes, of coefficients whose first is the time."""
    length, held = edges[step + 1] - edges[step], at_step(step)[1:]
    places = _GAUSS if pace is Pace.SMOOTH else [0.5]
    return length, [rates((edges[step] + length * place, *held), layout) for place in places]


def _parts(length: Array, nodes: list[Array]) -> tuple[Array, ...]:
    """The chances (reactions, states) of each part of a step."""
    if len(nodes) == 1:
        return (length * nodes[0],)
    return tuple(length * (weights[0] * nodes[0] + weights[1] * nodes[1]) for weights in _PARTS)


def most_chances(rates: Rates, pace: Pace, at_step: AtStep, layout: Layout, edges: Array) -> tuple[Array, Array]:
    """The largest sums of chances (steps, parts) in any state, and the least rate that there is."""

    def one(step: Array) -> tuple[Array, Array]:
        length, nodes = _nodes(rates, pace, at_step, layout, edges, step)
        most = jnp.stack([jnp.max(part.sum(axis=0), initial=0.0) for part in _parts(length, nodes)])
        return most, jnp.min(jnp.stack(nodes), initial=0.0)

    most, least = lax.map(one, jnp.arange(len(edges) - 1))
    return most, jnp.min(least)


def advance(
    rates: Rates, pace: Pace, at_step: AtStep, layout: Layout, steps: Steps
) -> Callable[[Array, Array, Array], Array]:
    """The function of (law, edges, step) that gives the law at the end of a step."""
    held = rates(at_step(jnp.zeros((), int)), layout) if pace is Pace.STILL else None

    def one(law: Array, edges: Array, step: Array) -> Array:
        if held is not None:
            chances: tuple[Array, ...] = (held * (edges[step + 1] - edges[step]),)
        else:
            chances = _parts(*_nodes(rates, pace, at_step, layout, edges, step))
        for part, chance in enumerate(chances):
            law = go_on(chance, layout, law, steps.many[step, part], steps.most[step, part])
        return law

    return one


def planned(
    edges: np.ndarray, kinds: np.ndarray, most: np.ndarray, times: np.ndarray, jumps: Jumps | None = None
) -> Steps:
    """Steps between these edges, which the ``times`` of observations are among; ``most`` (steps, parts)."""
    most = np.maximum(most, np.finfo(float).tiny)
    last = np.searchsorted(edges, times)
    more = room_for(len(most)) - len(most) if len(most) > len(times) else 0
    return Steps(
        edges=np.pad(edges, (0, more), mode="edge"),
        kinds=np.pad(kinds, (0, more), constant_values=_TURN),
        many=np.pad(poisson.isf(_TAIL, most).astype(int) + 2, ((0, more), (0, 0))),
        most=np.pad(most, ((0, more), (0, 0)), constant_values=1.0),
        first=np.concatenate([[0], last[:-1]]),
        last=last,
        jumps=None if jumps is None else jumps.padded(more),
    )


def room_for(steps: int) -> int:
    """The number at least as large of those of steps that are compiled for."""
    return int(_ROOM * 4 ** np.ceil(np.log2(max(steps, _ROOM) / _ROOM) / 2))


def halved(edges: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The edges with those of the steps (steps,) cut in half that are to be."""
    middle = 0.5 * (edges[1:] + edges[:-1])[which]
    return np.union1d(edges, middle)
