"""A space of states as arrays for the compiled products of a projection, and the products themselves.

States of a box are numbered so that a reaction moves nearly every one of them by the same number of places. The
generator is then a few diagonals, and a product needs no more than shifted copies of the law: some ten times less time
than looking up the state before every transition.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.simulation.finite_state import StateSpace

_MOST_DIAGONALS = 32  # beyond which looking up is no slower


@dataclass(frozen=True, eq=False)
class Layout:
    """States and transitions in arrays of sizes that few spaces differ in, so that little is compiled.

    Attributes
    ----------
    x
        Counts (states,) of each species, 0 where there is no state.
    real
        Where there is one (states,).
    before
        Index (moves, states) of the state before a transition; the number of states means none.
    reaction
        The reaction (moves,) behind each row of ``before``.
    diagonal, offsets
        Which diagonal (diagonals, moves) of the generator a row belongs to, 1 or 0, and by how many places that leads
        up (diagonals,); of irregular spaces, each row is one of its own and there are no offsets.
    """

    x: tuple[Array, ...]
    real: Array
    before: Array
    reaction: Array
    diagonal: Array
    offsets: Array
    halo: int
    """The most places that a transition leads up or down, at least."""

    @classmethod
    def of(cls, space: StateSpace) -> Layout:
        size, room = len(space), bucket(len(space))
        before = np.full((len(space.successors), room), room)
        before[:, :size] = np.where(space.predecessors < size, space.predecessors, room)
        reaction, moves, shifts = _by_offset(before)
        offsets = np.unique(shifts)
        if len(offsets) > _MOST_DIAGONALS:
            reaction, moves, shifts, offsets = np.arange(len(before)), before, np.zeros(0, int), np.zeros(0, int)
            diagonal = np.eye(len(before))
        else:
            diagonal = (shifts[None] == offsets[:, None]).astype(float)
        x = tuple(jnp.asarray(np.pad(column, (0, room - size))) for column in space.x)
        return cls(
            x,
            jnp.asarray(np.arange(room) < size),
            jnp.asarray(moves),
            jnp.asarray(reaction),
            jnp.asarray(diagonal),
            jnp.asarray(offsets),
            bucket(int(np.abs(offsets).max(initial=1))),
        )


jax.tree_util.register_dataclass(
    Layout, data_fields=["x", "real", "before", "reaction", "diagonal", "offsets"], meta_fields=["halo"]
)


def bucket(size: int) -> int:
    """The size at least as large of those that are taken: a quarter more from one to the next, about."""
    scale = 1 << max(max(size - 1, 1).bit_length() - 3, 3)
    return -(-size // scale) * scale


def go_on(chances: Array, layout: Layout, law: Array, many: Array, most: Array) -> Array:
    """The law (states,) after a span in which transitions have ``chances`` (reactions, states), by uniformisation.

    A chance is a rate times the span, or the integral of one. No state's chances come to more than ``most``, the mean
    of the Poisson weights of the series, which has ``many`` terms. Forward mode differentiates it.
    """
    stay = 1 - chances.sum(axis=0) / most
    arrive = _arriving(chances, layout) / most

    def term(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        law, total = carry
        total = total + poisson_weight(k, most) * law
        return stay * law + _moved(arrive, layout, law), total

    return lax.fori_loop(0, many, term, (law, jnp.zeros_like(law)))[1]


def poisson_weight(k: Array, mean: Array) -> Array:
    """The probability of k for a Poisson mean, to about 1e-16 of the mean: from its distance to the mode
    (C. Loader, Fast and Accurate Computation of Binomial Probabilities, 2000)."""
    x = jnp.maximum(k.astype(jnp.float64), 1.0)
    rest = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / x**2) / x**2) / x**2) / x
    rest = jnp.where(x < 16, lax.lgamma(x + 1) - (x + 0.5) * jnp.log(x) + x - 0.5 * np.log(2 * np.pi), rest)
    far = jnp.exp(x - mean - x * jnp.log(x / mean) - rest) / jnp.sqrt(2 * np.pi * x)
    return jnp.where(k == 0, jnp.exp(-mean), far)


def _arriving(chances: Array, layout: Layout) -> Array:
    """Chances (diagonals, states) to come to each state."""
    inside = layout.before < chances.shape[1]
    index = jnp.where(inside, layout.before, 0)
    every = jnp.where(inside, chances[layout.reaction[:, None], index], 0.0)
    return layout.diagonal @ every if len(layout.offsets) else every


def _moved(arrive: Array, layout: Layout, law: Array) -> Array:
    """What comes to each state (states,) of a law."""
    if not len(layout.offsets):
        index = jnp.where(layout.before < len(law), layout.before, 0)
        return jnp.sum(arrive * law[index], axis=0)
    padded = jnp.pad(law, layout.halo)
    total = jnp.zeros_like(law)
    for row, offset in enumerate(layout.offsets):
        total = total + arrive[row] * lax.dynamic_slice(padded, (layout.halo - offset,), law.shape)
    return total


def _by_offset(before: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of one reaction and one offset each: reactions (moves,), states before (moves, states), offsets (moves,)."""
    reactions, rows, offsets = [], [], []
    places, none = np.arange(before.shape[1]), before.shape[1]
    for reaction, row in enumerate(before):
        shifts = places - row
        for offset in np.unique(shifts[row < none]):
            reactions.append(reaction)
            rows.append(np.where((row < none) & (shifts == offset), row, none))
            offsets.append(offset)
            if len(offsets) > 4 * _MOST_DIAGONALS + len(before):
                return np.array(reactions), np.array(rows), np.arange(len(offsets))
    if not rows:
        return np.zeros(0, int), np.zeros((0, len(places)), int), np.zeros(0, int)
    return np.array(reactions), np.array(rows), np.array(offsets)
