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
_SEED = 20


@dataclass(frozen=True)
class Pilot:
    """How far trajectories got on the average (``reached``), and how many reactions had fired by then in each.

    ``lately`` is how many fired per time in the time in which the second half of them did.
    """

    firings: float
    reached: float
    lately: float


def fly(dynamics: Dynamics, start: float, end: float, seconds: float = 0.4) -> Pilot:
    """Trajectories of counts from ``start`` to ``end``, or as far as about so many ``seconds`` of computing go.

    Nothing may move but counts, at rates of their own. The work is counted, not timed.
    """
    rng, shape = np.random.default_rng(_SEED), (len(dynamics.state), _TRAJECTORIES)
    counts = np.floor(dynamics.state[:, None] + rng.random(shape))
    times, firings = np.full(_TRAJECTORIES, start), np.zeros(_TRAJECTORIES)
    passed = [(start, 0.0)]
    work = dynamics.seconds(_TRAJECTORIES) + 2e-4 + 2e-9 * dynamics.jumps.size * _TRAJECTORIES
    squares = dynamics.jumps**2
    for _ in range(max(1, int(seconds / work))):
        propensities, drift = dynamics.propensities_and_slopes(times, counts)
        propensities = np.where(np.isfinite(propensities) & (times < end), propensities, 0.0)
        totals = propensities.sum(axis=0)
        if not totals.any():
            times[:] = end  # nothing will ever happen
            break
        steps, fired = _step(propensities, drift, squares @ propensities, counts, end - times, rng)
        times = np.where(totals > 0, np.minimum(times + steps, end), end)
        counts = np.maximum(counts + dynamics.jumps @ fired, 0.0)
        firings += fired.sum(axis=0)
        passed.append((float(times.mean()), float(firings.mean())))
        if np.all(times >= end):
            break
    reached, total = float(times.mean()), float(firings.mean())
    moments, numbers = np.array(passed).T
    half = float(np.interp(0.5 * total, numbers, moments)) if total > 0 else start
    return Pilot(total, reached, 0.5 * total / max(reached - half, 1e-300) if total > 0 else 0.0)


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
