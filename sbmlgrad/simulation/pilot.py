"""A few rough trajectories without a compiler, for where molecules are so few that means say little.

Reactions one by one, or many in a leap where that changes no propensity much (Y. Cao, D. T. Gillespie and L. R.
Petzold, J. Chem. Phys. 124:044109, 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbmlgrad.simulation.dynamics import Dynamics

_TRAJECTORIES = 16
_CHANGE = 0.05  # relative, of any number of molecules in a leap
_WORTH_A_LEAP = 10.0  # reactions
_FEWEST_STEPS = 100  # where anything follows time
_SEED = 20


@dataclass(frozen=True)
class Pilot:
    """What some trajectories did: the number of reactions that had fired in each by the time ``reached``, means, and
    how many ``will`` have by the end, if they go on as they did lately.
    """

    firings: float
    reached: float
    will: float


def fly(dynamics: Dynamics, start: float, end: float, seconds: float = 0.3) -> Pilot:
    """Trajectories of counts from ``start`` to ``end``, or as far as about so many ``seconds`` of computing go.

    Nothing may move but counts. The work is counted, not timed.
    """
    rng, shape = np.random.default_rng(_SEED), (len(dynamics.state), _TRAJECTORIES)
    counts = np.floor(dynamics.state[:, None] + rng.random(shape))
    times, firings = np.full(_TRAJECTORIES, start), np.zeros(_TRAJECTORIES)
    work = dynamics.seconds(_TRAJECTORIES) + 2e-4 + 2e-9 * dynamics.entries * _TRAJECTORIES
    longest = (end - start) / _FEWEST_STEPS if dynamics.timed else np.inf
    marks = [(times, firings)] * 2  # as of some steps ago: at least half of them
    for number in range(1, 1 + max(1, int(seconds / work))):
        propensities, drift = dynamics.propensities_and_slopes(times, counts)
        propensities = np.where(np.isfinite(propensities) & (times < end), propensities, 0.0)
        left = np.minimum(end - times, longest)
        steps, fired = _step(propensities, drift, dynamics.squares @ propensities, counts, left, rng)
        times = times + np.minimum(steps, left)
        counts = np.maximum(counts + dynamics.matrix @ fired, 0.0)
        firings = firings + fired.sum(axis=0)
        if np.all(times >= end * (1 - 1e-12)):
            return Pilot(float(firings.mean()), end, float(firings.mean()))
        if number & (number - 1) == 0:
            marks = [marks[1], (times, firings)]
    since = marks[0]
    with np.errstate(all="ignore"):
        lately = np.where(times > since[0], (firings - since[1]) / (times - since[0]), 0.0)
    return Pilot(float(firings.mean()), float(times.mean()), float(np.mean(firings + lately * (end - times))))


def _step(
    propensities: np.ndarray,
    drift: np.ndarray,
    spread: np.ndarray,
    counts: np.ndarray,
    left: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """How long a step is (trajectories,), and how often each reaction fires in it (channels, trajectories)."""
    totals = propensities.sum(axis=0)
    with np.errstate(all="ignore"):
        allowed = np.maximum(_CHANGE * counts, 1.0)
        leap = np.min(np.where(spread > 0, np.fmin(allowed / np.abs(drift), allowed**2 / spread), np.inf), axis=0)
        leaps = leap * totals > _WORTH_A_LEAP
        leap = np.minimum(leap, left)
        wait = rng.exponential(size=len(totals)) / totals
    chosen = np.argmax(np.cumsum(propensities, axis=0) > rng.random(len(totals)) * totals, axis=0)
    single = np.zeros(propensities.shape)
    single[chosen, np.arange(len(totals))] = (totals > 0) & (wait < left)
    many = rng.poisson(np.minimum(propensities * np.where(leaps, leap, 0.0), 1e17))
    return np.where(leaps, leap, wait), np.where(leaps, many, single)
