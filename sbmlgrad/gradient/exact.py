"""The exact judge: expectations and derivatives by finite state projection, for networks of not too many states.

Nothing is drawn. What is left out is the probability e that leaves the states considered; where |F| <= B, it moves an
expectation by at most B e, and its derivative by at most B sqrt(e I), with I = E integral of sum_j (d a_j)^2 / a_j du
the Fisher information of the path (Cauchy and Schwarz, applied to E F W). These bounds stand in the place of standard
errors; B is the largest value of F among the states.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import Point, Problem, push
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.finite_state import StateSpace, evolve_and_integrate, explore


@dataclass(frozen=True)
class Exact:
    """Finite state projection, losing at most ``tolerance`` of the probability, on at most ``limit`` states."""

    tolerance: float = 1e-12
    limit: int = 200_000
    name: str = "exact"
    unbiased: bool = True

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        point = problem.at(task.values)
        network = problem.network_at(task.values)
        grid, indices = problem.grid(task.times, task.start, [task.start])
        counts, weights, slopes = start_law(point)
        horizon = float(grid[-1]) - task.start
        shares = np.full(len(counts), 1.0 / len(counts))  # states that only a derivative starts from count as well
        wider = problem.once(("followed", horizon), lambda: _with_what_is_off(problem, point, horizon))
        space = explore(wider, counts, point.coefficients, horizon, shares, self.tolerance, self.limit)
        spread = [space.distribution(counts, column) for column in (weights, *slopes)]
        solver = _Solver(problem, space, grid, task.start, _fastest(space, network, point))
        tangents = [
            tuple(np.zeros(np.shape(c)) if d is None else d for c, d in zip(point.coefficients, row, strict=True))
            for row in point.tangents.coefficients
        ]
        start, slopes_of_start = jnp.asarray(spread[0]), jnp.asarray(spread[1:])
        values, derivatives, occupied = solver(point.coefficients, start, tangents, slopes_of_start)
        information = solver.information(point, occupied, tangents)
        largest = np.max(np.abs(solver.functions(point.coefficients)), axis=1)
        largest = largest ** np.array([1 + len(f.also_at) for f in problem.functions])  # factors at other times
        lost = space.lost
        bounds = largest[None, :, None] * np.sqrt(lost * np.maximum(information, 0.0))[:, None, indices]
        return Estimate(
            values=values[:, indices],
            values_stderr=np.broadcast_to(largest[:, None] * lost, (problem.size, len(task.times))),
            derivatives=derivatives[..., indices],
            stderr=bounds,
            n=task.n,
            values_sd=np.full((problem.size, len(task.times)), np.nan),
            note=f"{len(space)} states; less than {max(lost, 1e-16):.1g} of the probability is left out; the column "
            "stderr bounds what that can do",
        )


def _with_what_is_off(problem: Problem, point: Point, horizon: float) -> ReactionNetwork:
    """The network, in which reactions of propensity 0 may fire if that has a derivative: where they lead counts."""
    own, most = problem.network.rates, 1 / horizon if horizon else 1.0
    assert own is not None
    directions = [[None if d is None else jnp.ones(np.shape(d)) for d in row] for row in point.tangents.coefficients]

    def rates(x: tuple[Any, ...], coefficients: tuple[Any, ...]) -> tuple[Any, ...]:
        found = [jnp.broadcast_to(rate, jnp.shape(x[0])) for rate in own(x, coefficients)]
        still = [None] * len(x)
        moved = [jnp.zeros_like(rate) for rate in found]
        for row in directions:
            slopes = push(own, x, coefficients, still, row)[1]
            moved = [total + jnp.abs(slope) for total, slope in zip(moved, slopes, strict=True)]
        pairs = zip(found, moved, strict=True)
        return tuple(jnp.where((rate == 0) & (move > 0), jnp.minimum(move, most), rate) for rate, move in pairs)

    return replace(problem.network, rates=rates, propensities=None, nonnegative=False)


def _fastest(space: StateSpace, network: Any, point: Point) -> float:
    return float(np.asarray(space.rates(network, point.coefficients)).sum(axis=0).max(initial=0.0))


def start_law(point: Point) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Initial states (K, species), their probabilities (K,), and the derivatives of those by each parameter.

    A mean between whole numbers is a mixture of the two; at a whole number its slope is that between both neighbours.
    """
    means = point.counts
    moves = [any(row[i] is not None for row in point.tangents.counts) for i in range(len(means))]
    sides: list[list[tuple[float, float, float]]] = []  # for each species (count, probability, slope of it)
    for mean, moved in zip(means, moves, strict=True):
        low = float(np.floor(mean))
        up = mean - low
        if up:
            sides.append([(low, 1 - up, -1.0), (low + 1, up, 1.0)])
        elif not moved:
            sides.append([(mean, 1.0, 0.0)])
        elif mean == 0:
            sides.append([(0.0, 1.0, -1.0), (1.0, 0.0, 1.0)])
        else:
            sides.append([(mean, 1.0, 0.0), (mean - 1, 0.0, -0.5), (mean + 1, 0.0, 0.5)])
    states = list(product(*sides))
    counts = np.array([[count for count, *_ in state] for state in states])
    weights = np.array([np.prod([p for _, p, _ in state]) for state in states])
    slopes = []
    for row in point.tangents.counts:
        slope = np.zeros(len(states))
        for i, by in enumerate(row):
            if by is not None:
                others = [np.prod([s[1] for k, s in enumerate(state) if k != i]) * state[i][2] for state in states]
                slope += float(by) * np.array(others)
        slopes.append(slope)
    return counts, weights, slopes


@dataclass(frozen=True, eq=False)
class _Solver:
    """Expectations at all times of the grid, which begins at the start."""

    problem: Problem
    space: StateSpace
    grid: np.ndarray
    start: float
    fastest: float

    def __call__(
        self, coefficients: tuple[Any, ...], p: Array, tangents: list[tuple[Any, ...]], slopes: Array
    ) -> tuple[np.ndarray, np.ndarray, Array]:
        """Values (functions, grid), derivatives (parameters, functions, grid), and time in states (grid, states)."""
        point = tuple(jnp.asarray(c, jnp.float64) for c in coefficients)
        stacked = tuple(jnp.stack([jnp.asarray(row[i], jnp.float64) for row in tangents]) for i in range(len(point)))

        def along(directions: tuple[Any, ...], slope: Array) -> tuple[Array, Array, Array]:
            result: tuple[Array, Array, Array] = jax.jvp(self._expect, (point, p), (directions, slope), has_aux=True)
            return result

        values, derivatives, occupied = jax.vmap(along, out_axes=(None, 0, None))(stacked, slopes)
        return np.asarray(values), np.asarray(derivatives), occupied

    def functions(self, coefficients: tuple[Any, ...]) -> np.ndarray:
        """What each function sees of each state (functions, states)."""
        return np.asarray(self._seen(coefficients))

    def information(self, point: Point, occupied: Array, tangents: list[tuple[Any, ...]]) -> np.ndarray:
        """Fisher information of the path up to each time (parameters, grid), from the time in states until then."""
        rates = self._rates(point.coefficients)
        primals = tuple(jnp.asarray(c, jnp.float64) for c in point.coefficients)
        density = []
        for row in tangents:
            slope = jax.jvp(self._rates, (primals,), (tuple(jnp.asarray(d, jnp.float64) for d in row),))[1]
            density.append(jnp.sum(jnp.where(rates > 0, slope**2 / jnp.where(rates > 0, rates, 1.0), 0.0), axis=0))
        return np.asarray(jnp.stack(density) @ occupied.T)

    def _expect(self, coefficients: tuple[Any, ...], p: Array) -> tuple[Array, Array]:
        """Expectations (functions, grid), and the expected time in each state until then (grid, states)."""
        rates, seen = self._rates(coefficients), self._seen(coefficients)
        laws, occupied = [p], [jnp.zeros_like(p)]
        for duration in np.diff(self.grid):
            law, integral = self.advance(rates, laws[-1], float(duration))
            laws.append(law)
            occupied.append(occupied[-1] + integral)
        distribution = _Laws(self, rates, tuple(laws), tuple(occupied))
        rows = [function.expected(distribution, seen[i]) for i, function in enumerate(self.problem.functions)]
        return jnp.stack(rows), jnp.stack(occupied)

    def advance(self, rates: Array, p: Array, duration: float) -> tuple[Array, Array]:
        return evolve_and_integrate(self.space, rates, p, duration, fastest=self.fastest)

    def _rates(self, coefficients: tuple[Any, ...]) -> Array:
        return self.space.rates(self.problem.network, coefficients)

    def _seen(self, coefficients: tuple[Any, ...]) -> Array:
        return jnp.stack(self.problem.values(tuple(map(jnp.asarray, self.space.x)), coefficients))


@dataclass(frozen=True, eq=False)
class _Laws:
    """The law of the state at the times of a solver's grid, and the expected time in each state until then."""

    solver: _Solver
    rates: Array
    laws: tuple[Array, ...]
    occupied: tuple[Array, ...]

    def at_times(self, seen: Array) -> Array:
        return jnp.stack(self.laws) @ seen

    def averaged(self, seen: Array) -> Array:
        spans = np.maximum(self.solver.grid - self.solver.start, np.finfo(float).tiny)
        return jnp.stack(self.occupied) @ seen / spans

    def reached(self, seen: Array) -> Array:
        """The probability of where it is 1, where nothing leaves from there any more."""
        held, p = self.rates * (1 - seen)[None], self.laws[0]
        result = [seen @ p]
        for duration in np.diff(self.solver.grid):
            p, _ = self.solver.advance(held, p, float(duration))
            result.append(seen @ p)
        return jnp.stack(result)

    def products(self, seen: Array, time: float) -> Array:
        """The earlier factor weighs the law, and the later one is expected under what becomes of it."""
        at = int(np.searchsorted(self.solver.grid, time))
        result: list[Any] = [None] * len(self.laws)
        for begin in range(at + 1):
            weighed = seen * self.laws[begin]
            result[begin] = seen @ weighed
            for index, duration in enumerate(np.diff(self.solver.grid)[begin:], begin + 1):
                weighed, _ = self.solver.advance(self.rates, weighed, float(duration))
                if begin < at and index == at:
                    result[begin] = seen @ weighed
                    break
                if begin == at:
                    result[index] = seen @ weighed
        return jnp.stack(result)
