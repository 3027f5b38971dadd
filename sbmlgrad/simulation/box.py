"""Spaces of states by their bounds: all states that reactions can reach within a box of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sbmlgrad.errors import SimulationError
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ensemble import propensities_of
from sbmlgrad.simulation.finite_state import StateSpace


def box(
    network: ReactionNetwork, starts: np.ndarray, lower: np.ndarray, upper: np.ndarray, limit: int = 200_000
) -> StateSpace:
    """States with ``lower <= counts <= upper`` (species,) that lead on from ``starts`` (K, species) without leaving.

    Reactions that would leave the box lead outside. Raises :class:`SimulationError` for more than ``limit`` states.
    """
    sizes = (upper - lower + 1).astype(object)  # whole numbers of Python, which do not overflow
    radix = np.cumprod([1, *sizes[:-1]])
    if int(radix[-1]) * int(sizes[-1]) >= 2**62:
        raise SimulationError("counts: their ranges are too wide to number the states")
    radix = radix.astype(np.int64)
    jumps = network.stoichiometry.T

    def codes(states: np.ndarray) -> np.ndarray:
        result: np.ndarray = (states - lower) @ radix
        return result

    def within(states: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.all((states >= lower) & (states <= upper), axis=-1)
        return result

    starts = starts.astype(np.int64)
    new = np.unique(codes(starts[within(starts)]))
    found, count = set(new.tolist()), len(new)
    while len(new):
        reached = (_of_codes(new, lower, sizes)[:, None] + jumps[None]).reshape(-1, len(lower))
        own = np.unique(codes(reached[within(reached)])).tolist()
        new = np.array([code for code in own if code not in found], np.int64)
        found.update(new.tolist())
        count += len(new)
        if count > limit:
            raise SimulationError(f"more than {limit} states are within reach")
    known = np.array(sorted(found), np.int64)
    states = _of_codes(known, lower, sizes)
    successors = np.full((len(jumps), len(states)), len(states))
    for reaction, jump in enumerate(jumps):
        after = states + jump
        inside = within(after)
        successors[reaction, inside] = np.searchsorted(known, codes(after[inside]))
    return StateSpace(states, successors)


def closed(
    network: ReactionNetwork, starts: np.ndarray, coefficients: Sequence[Any], limit: int = 200_000
) -> StateSpace:
    """All states that lead on from ``starts`` (K, species) by reactions whose rates there are not 0.

    Raises :class:`SimulationError` for more than ``limit`` states.
    """
    jumps, known = network.stoichiometry.T, {tuple(state) for state in starts.astype(np.int64).tolist()}
    new = known
    while new:
        states = np.array(sorted(new), np.int64)
        more = (1 << (len(states) - 1).bit_length()) - len(states)  # so that rates are compiled for few sizes
        x = np.pad(states.T.astype(np.float64), ((0, 0), (0, more)), mode="edge")
        fires = propensities_of(network, coefficients, x)[:, : len(states)] > 0
        reached = {
            tuple(after) for jump, here in zip(jumps, fires, strict=True) for after in (states[here] + jump).tolist()
        }
        new = reached - known
        known = known | new
        if len(known) > limit:
            raise SimulationError(f"more than {limit} states are within reach")
    ordered = sorted(known)
    index, states = {state: place for place, state in enumerate(ordered)}, np.array(ordered, np.int64)
    after = [[index.get(tuple(state), len(states)) for state in (states + jump).tolist()] for jump in jumps]
    return StateSpace(states, np.array(after).reshape(len(jumps), len(states)))


def _of_codes(codes: np.ndarray, lower: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """States (K, species) of their numbers (K,)."""
    columns = []
    for size in sizes:
        columns.append(codes % int(size))
        codes = codes // int(size)
    return np.stack(columns, axis=1) + lower
