"""The linear noise approximation: rate equations for the means, and a normal law around them.

With stoichiometry S and propensities a, the mean follows dx/dt = S a(x), and a small deviation y from it follows
dy = J y dt + dW, where J is the derivative of S a and dW has the covariance D dt, D = S diag(a) S^T (van Kampen, Can.
J. Phys. 39, 551, 1961; Elf & Ehrenberg, Genome Res. 13, 2475, 2003). Where propensities are linear in the counts,
means and covariances are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from sbmlgrad.errors import SimulationError
from sbmlgrad.network import ReactionNetwork

_TOLERANCE = 1e-8  # of the means, relative and in molecules
_MOST_EVALUATIONS = 50_000
_SUBSTEPS = 4  # of each of the solver's steps
_TERMS = 14  # of series in arguments up to 1/2, and to 1 for covariances
_STATES = 128  # whose derivatives are computed in one call, so that few sizes are compiled


@dataclass(frozen=True, eq=False)
class LinearNoise:
    """Means and the normal law around them, from time to time.

    Attributes
    ----------
    mean
        Mean counts (times, species).
    propagator
        What becomes of a deviation at the time before (times, species, species); the start comes before the first.
    added
        The covariance that is new since the time before (times, species, species).
    start
        The covariance at the start (species, species).
    """

    mean: np.ndarray
    propagator: np.ndarray
    added: np.ndarray
    start: np.ndarray

    def covariance(self, slopes: np.ndarray) -> np.ndarray:
        """Covariance (observables, times, observables, times) along one trajectory.

        ``slopes`` (times, observables, species) are the derivatives of the observables by the counts.
        """
        times, observables, species = slopes.shape
        result = np.zeros((observables, times, observables, times))
        later = np.zeros((times, species, observables))  # covariance of the counts now with observables at each time
        present = self.start
        for now in range(times):
            present = self.propagator[now] @ present @ self.propagator[now].T + self.added[now]
            later[:now] = self.propagator[now] @ later[:now]
            later[now] = present @ slopes[now].T
            block = slopes[now] @ later[: now + 1]
            result[:, now, :, : now + 1] = block.transpose(1, 2, 0)
            result[:, : now + 1, :, now] = block.transpose(2, 0, 1)
        return result


def linear_noise(
    network: ReactionNetwork,
    counts: Sequence[float] | np.ndarray,
    coefficients: tuple[Any, ...],
    times: np.ndarray,
    start: float = 0.0,
) -> LinearNoise:
    """The linear noise approximation of a network at increasing times (times,), not before ``start``.

    Between times, J and D are taken at the middle of substeps and as constant in each, where the equations are solved
    by exponentials however stiff they are; two sizes of substeps are extrapolated to fourth order (Richardson).
    Fractions in the initial ``counts`` (species,) stand for one of the two neighbouring whole numbers at random.

    Raises
    ------
    SimulationError
        where the rate equations cannot be followed to the end.
    """
    counts, times = np.asarray(counts, np.float64), np.asarray(times, np.float64)
    local = _local(network, coefficients)
    mean, knots = _means(local, counts, times, start)
    edges = np.unique(np.concatenate([[start], knots, times]))
    coarse, fine = (_steps(local, mean, _divided(edges, parts)) for parts in (_SUBSTEPS, 2 * _SUBSTEPS))
    indices = np.searchsorted(edges, times)
    results = []
    for (propagators, added), parts in ((coarse, _SUBSTEPS), (fine, 2 * _SUBSTEPS)):
        results.append(_composed(propagators, added, parts * indices))
    propagator, new = ((4 * one - other) / 3 for one, other in zip(results[1], results[0], strict=True))
    fraction = counts - np.floor(counts)
    return LinearNoise(mean(times), propagator, new, np.diag(fraction * (1 - fraction)))


Local = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""states (K, species) -> drift (K, species), J (K, species, species) and D (K, species, species)"""


def _local(network: ReactionNetwork, coefficients: tuple[Any, ...]) -> Local:
    """Drift, its derivative and the diffusion at any states."""
    if "linear noise" not in network.compiled:
        jumps = jnp.asarray(network.stoichiometry, jnp.float64)

        def at(x: Any, coefficients: tuple[Any, ...]) -> tuple[Any, Any, Any]:
            def rates(x: Any) -> Any:
                return network.propensities_at(x, coefficients)

            a = rates(x)
            return jumps @ a, jumps @ jax.jacfwd(rates)(x), (jumps * a[None]) @ jumps.T

        network.compiled["linear noise"] = jax.jit(jax.vmap(at, in_axes=(0, None)))
    compiled = network.compiled["linear noise"]

    def local(states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        size = 1 if len(states) == 1 else _STATES
        parts = []
        for first in range(0, len(states), size):
            part = states[first : first + size]
            padded = np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])
            parts.append([np.asarray(value)[: len(part)] for value in compiled(padded, coefficients)])
        drift, slope, diffusion = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        return drift, slope, diffusion

    return local


def _means(
    local: Local, counts: np.ndarray, times: np.ndarray, start: float
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """The solution of the rate equations, times (K,) -> counts (K, species), and the solver's own times."""
    evaluations = 0

    def drift(time: float, x: np.ndarray) -> np.ndarray:
        nonlocal evaluations
        evaluations += 1
        value = local(x[None])[0][0]
        if evaluations > _MOST_EVALUATIONS or not np.all(np.isfinite(value)):
            raise SimulationError(f"linear noise approximation: the rate equations cannot be followed beyond {time:g}")
        return value

    if times[-1] <= start:
        return lambda when: np.repeat(counts[None], len(when), axis=0), np.array([start])
    solution = solve_ivp(
        drift,
        (start, times[-1]),
        counts,
        method="LSODA",
        jac=lambda _, x: local(x[None])[1][0],
        rtol=_TOLERANCE,
        atol=_TOLERANCE,
        dense_output=True,
    )
    if not solution.success:
        raise SimulationError(f"linear noise approximation: {solution.message}")
    return lambda when: solution.sol(when).T, solution.t


def _divided(edges: np.ndarray, parts: int) -> np.ndarray:
    """The edges with each interval cut into equal parts."""
    shares = np.arange(parts) / parts
    inner = edges[:-1, None] + np.diff(edges)[:, None] * shares
    return np.append(inner.ravel(), edges[-1])


def _steps(local: Local, mean: Callable[[np.ndarray], np.ndarray], grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Propagator and added covariance (steps, species, species) of each step of a grid, J and D those in its middle."""
    middles = (grid[1:] + grid[:-1]) / 2
    _, slope, diffusion = local(mean(middles if len(middles) else grid))
    slope, diffusion = slope[: len(middles)], diffusion[: len(middles)]
    step = np.diff(grid)[:, None, None]
    # Series for a part of the step so short that they converge at once, which is then doubled.
    largest = float(np.max(np.abs(slope * step).sum(axis=1), initial=0.0))
    doublings = max(0, int(np.ceil(np.log2(max(largest, 1e-3)))) + 1)
    slope, diffusion = slope * (step / 2**doublings), diffusion * (step / 2**doublings)
    power, term = np.broadcast_to(np.eye(slope.shape[1]), slope.shape), diffusion
    propagator, added = power, term
    for k in range(1, _TERMS):
        power = slope @ power / k
        term = (slope @ term + term @ slope.swapaxes(1, 2)) / (k + 1)
        propagator, added = propagator + power, added + term
    for _ in range(doublings):
        added = added + propagator @ added @ propagator.swapaxes(1, 2)
        propagator = propagator @ propagator
    return propagator, added


def _composed(propagators: np.ndarray, added: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Propagators and added covariances from each index in the grid (times,) to the next, the first from 0."""
    size = propagators.shape[1]
    results = []
    for first, last in zip((0, *indices[:-1]), indices, strict=True):
        whole, new = np.eye(size), np.zeros((size, size))
        for step in range(first, last):
            whole = propagators[step] @ whole
            new = propagators[step] @ new @ propagators[step].T + added[step]
        results.append((whole, new))
    return np.stack([whole for whole, _ in results]), np.stack([new for _, new in results])
