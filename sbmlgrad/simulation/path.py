"""Where a trajectory that flows and jumps is, what belongs to it, and how it is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from sbmlgrad.network.process_data import ProcessData
from sbmlgrad.simulation.delay_history import DelayHistory
from sbmlgrad.simulation.events import Pending
from sbmlgrad.simulation.random import Streams
from sbmlgrad.simulation.solvers import ROSENBROCK, Solver

RUNNING, DONE, TOO_MANY_STEPS, STUCK, ENDLESS_EVENTS, RESTLESS_EVENTS, QUEUE_FULL, BAD_PROPENSITY = range(8)
_EARLY, _SOON, _LATE = 0.1, 1e4, 1e5  # nothing is foreseen before this part of what is allowed, between these numbers


class Path(NamedTuple):
    """Where a trajectory is: what the loop carries."""

    since: Array  # when it began
    time: Array
    state: Array  # (variables,), and last, where there are propensities, their integral since the last reaction
    step: Array  # the size of step that the solver would like
    largest: Array  # (variables,) absolute values seen so far
    pending: Pending | None
    target: Array  # of the integral of propensities
    draws: Array  # random numbers used, and so reactions fired
    position: Array  # of the next observation
    steps: Array
    status: Array
    observed: Array  # whether the state is to be written down
    cautious: Array  # whether a law was found to make no sense of some value
    fractions: Array  # (variables,) whether it started from a number of molecules that is not whole
    relations: Array  # the truth of comparisons when last looked at
    tries: Array  # how often the place of a change of one was looked for since it was last found
    aimed: Array  # whether the present step is to end where a change was found
    vain: Array  # how often none was met there since a step went its whole way
    chatter: Array  # how many changes in laws came one upon the other
    history: DelayHistory | None  # what delays need
    weight: Array | None  # log of the density of the reactions that have fired, each with the wait before it
    martingales: Array | None  # (martingales,) see Settings.martingales
    missed: Array | None  # 0, with the derivative of propensities where they are 0, which no density shows

    def missing(self, propensities: Array) -> Path:
        """The same with what derivatives these propensities have where they are 0."""
        off = jnp.sum(jnp.where(propensities == 0, propensities, 0.0))
        return self._replace(missed=None if self.missed is None else self.missed + off)


def foreseen(path: Path, number: Array, allowed: float, end: Array) -> Array:
    """What a number that grows as it did so far will be at the ``end``; itself, while it is small beside ``allowed``.

    What comes to rest takes most of its steps at the beginning.
    """
    so_far = (path.time - path.since) / (end - path.since)
    return jnp.where(number > min(max(_EARLY * allowed, _SOON), _LATE), number / so_far, number)


class Realisation(NamedTuple):
    """What belongs to one trajectory and does not change: coefficients and its part of randomness."""

    coefficients: Array
    keys: Streams
    trajectory: Array


class Marks(NamedTuple):
    """Times at which steps have to end: of observations, and landmarks of what depends on time alone (or none)."""

    times: Array
    landmarks: Array


@dataclass(frozen=True)
class Settings:
    """Solver, relative tolerance, and limits."""

    solver: Solver | None = ROSENBROCK
    """None for the direct method, which has nothing to solve between times that are known beforehand; or, before a
    model is looked at, for what suits it."""
    instead: Solver | None = None
    """Taken where steps are many more than reactions, since the equations must have become stiff."""
    relative: float = 1e-8
    most_steps: int = 1_000_000
    slots: int = 4
    careful: bool = False
    """Whether it is followed operation by operation what rounding does to laws, rather than estimated."""
    sensitive: bool = False
    """Whether the times of events carry derivatives."""
    scored: bool = False
    """Whether the density of the path is kept, with the times of reactions held: its derivative is the score."""
    as_data: ProcessData | None = None
    """The model for the loop of large sparse networks, where that is to run it."""
    martingales: tuple[tuple[int, int | None], ...] = ()
    """Pairs of a reaction j and a count h (None for 1): beside the density, the sums of h where j fires, less the
    integrals of h times its propensity, are kept; their mean is 0, whatever events do to counts."""

    def scores_at_start(self) -> dict[str, Any]:
        """What a path carries for scores, at its start."""
        size = len(self.martingales)
        zeros = {"weight": jnp.zeros(()), "martingales": jnp.zeros(size), "missed": jnp.zeros(())}
        return dict(zeros) if self.scored else dict.fromkeys(zeros)
