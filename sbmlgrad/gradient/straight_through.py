"""The straight-through estimator, observed through the generator.

Forward, trajectories are exact. Backward, three things carry derivatives:

- *which* reaction fires: a jump S_J with J ~ a / a0 is replaced by its second-order straight-through surrogate
  (Liu, Dong, Liu, Yu, Gao, "Bridging discrete and backpropagation: straight-through and beyond", NeurIPS 2023).
  Its derivative is half of sum_k p_k (S_J - S_k) d(log a_J - log a_k): in expectation exactly d E[S_J], placed
  halfway between the reaction that fired and the one that might have. Unlike the Gumbel-Softmax relaxation
  (Vilar & Saiz, arXiv 2602.19775) it has no temperature and draws no noise of its own;
- *when* it fires: waiting times are E / a0 and carry -E / a0^2 d a0;
- *how often* something fires before the observation: E f(X_t) = E f(X_s) + E integral_s^t (A f)(X_u) du, the
  formula of Dynkin, is differentiated instead of f(X_t), which does not see a reaction cross t.

The window t - s trades bias against variance: what happens before s is seen by f(X_s) alone, as the plain estimator
sees it. Any time that is recorded can be s, so that all windows come from one ensemble and the best is chosen by
what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.accumulator import Accumulator
from sbmlgrad.gradient.estimator import Estimate, Task, walk
from sbmlgrad.gradient.problem import Problem, Tangents, push, total
from sbmlgrad.gradient.score import split, split_tuple
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.ssa import Arrays, Step, select_by

_WINDOWS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # tried beside the full one, as parts of the time since the start


@dataclass(frozen=True)
class StraightThrough:
    """Straight-through with a generator window.

    ``window`` is its length in the model's unit of time, cut off at the start; ``inf`` reaches the start. None chooses
    for each time, among the times before it that are recorded, the window of least estimated squared error, that of
    the full window counting as unbiased.
    """

    window: float | None = None
    name: str = "straight_through"
    unbiased: bool = False

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        refuse_paths(self.name, problem)
        point = problem.at(task.values)
        functional = problem.once("straight_through", lambda: _Windowed(problem))
        parameters, functions = len(problem.parameters), problem.size
        network = problem.network_at(task.values)
        grid, indices, begins = self._windows(problem, task)
        values = Moments()
        slopes = [[Moments() for _ in row] for row in begins]
        shifts = [[Moments() for _ in row] for row in begins]
        for records in walk(network, point.counts, point.coefficients, functional, point.tangents, task, grid):
            raw, at, since = split(records, (functions, parameters * functions))
            values.add(problem.finish(raw, grid, indices, task.start))
            for k, (index, row) in enumerate(zip(indices, begins, strict=True)):
                full = since[:, index] - since[:, 0] + at[:, 0]
                for begin, slope, shift in zip(row, slopes[k], shifts[k], strict=True):
                    sample = since[:, index] - since[:, begin] + at[:, begin]
                    slope.add(sample)
                    shift.add(sample - full)
        chosen = [_least_error(s, d) for s, d in zip(slopes, shifts, strict=True)]
        best = [row[c] for row, c in zip(slopes, chosen, strict=True)]
        mean, stderr = (
            np.stack(rows, axis=-1).reshape(parameters, functions, len(task.times))
            for rows in ([m.mean for m in best], [m.stderr for m in best])
        )
        spans = [float(grid[p] - grid[row[c]]) for p, row, c in zip(indices, begins, chosen, strict=True)]
        every = np.arange(len(task.times))
        for i, function in enumerate(problem.functions):
            if function.is_integral:
                for part in (mean, stderr):
                    part[:, i] = function.finish(part[:, i].T, task.times, every, task.start).T
        note = f"generator windows from {min(spans):.3g} to {max(spans):.3g}"
        return Estimate(values.mean, values.stderr, mean, stderr, task.n, values.sd, note)

    def _windows(self, problem: Problem, task: Task) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
        """Times to record at, the indices of those asked for, and for each the indices where windows may begin."""
        span = task.times - task.start
        if self.window is None:
            few = task.times if len(task.times) <= 2 else task.times[-1:]
            more = [t - part * (t - task.start) for t in few for part in _WINDOWS]
        else:
            more = list(task.times - np.minimum(self.window, span))
        grid, indices = problem.grid(task.times, task.start, [task.start, *more])
        if self.window is not None:
            return grid, indices, [[int(np.searchsorted(grid, m))] for m in more]
        begins = []
        for index in indices:
            targets = grid[index] - np.array(_WINDOWS) * (grid[index] - task.start)
            begins.append(sorted({0} | {int(np.argmin(np.abs(grid[: index + 1] - t))) for t in targets} - {int(index)}))
        return grid, indices, begins


def refuse_paths(name: str, problem: Problem) -> None:
    """Raise :class:`EstimatorError` for functions of the path that have no tangent along it."""
    for function in problem.functions:
        if not (function.of_state or function.is_integral):
            raise EstimatorError(
                f"estimator {name!r} cannot differentiate {function.label}, which no generator window sees; use "
                "'auto', 'score' or 'coupled_fd'"
            )


def _least_error(slopes: list[Moments], shifts: list[Moments]) -> int:
    """The window of least squared error, bias being measured against the full one (the first)."""
    reference = slopes[0].stderr ** 2
    scale = np.where(reference > 0, reference, 1.0)
    errors = []
    for slope, shift in zip(slopes, shifts, strict=True):
        bias = np.maximum(shift.mean**2 - shift.stderr**2, 0.0)
        errors.append(float(np.mean((slope.stderr**2 + bias) / scale)))
    return int(np.argmin(np.nan_to_num(errors, nan=np.inf)))


@dataclass(frozen=True, eq=False)
class Pushforward:
    """Carries, for each parameter: a tangent for each count, one for time, an integral for each function.

    The tangent of time is that of the last event's, plus what the time waited since then would add. An observation
    does not reset it: the fresh waiting time that follows continues the interrupted one.

    What the choice of a reaction does to counts, what is integrated, and what is recorded, is for subclasses to say.
    """

    problem: Problem

    def choices(self, step: Step) -> Callable[[Arrays, Any], list[Any]]:
        """The tangents of the jump of each count, as a function of those of the propensities and of log a0."""
        raise NotImplementedError

    def integrands(self, x: Arrays, coefficients: Arrays) -> tuple[Arrays, Arrays]:
        """Propensities, and what the integral of each function gains in a unit of time."""
        raise NotImplementedError

    def tangents(self, x: Arrays, coefficients: Arrays, parts: list[Part]) -> list[Any]:
        """What is written down at an observation, after the functions themselves."""
        raise NotImplementedError

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        carry: list[Any] = []
        for dcounts in aux.counts:
            dx = [np.zeros_like(x[0]) if d is None else np.broadcast_to(d, x[0].shape) for d in dcounts]
            carry += [*dx, *(np.zeros_like(x[0]) for _ in range(1 + self.problem.size))]
        return (*Accumulator(self.problem).initial(x), *carry)

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        seen, parts = self._parts(carry, aux)
        seen = Accumulator(self.problem).advance(seen, step.x, step.wait, step.coefficients)
        inverse = jnp.where(step.total > 0, 1.0 / step.total, 0.0)
        choose = self.choices(step)
        result: list[Any] = []
        for dx, dtime, integrals, dcoefficients in parts:
            (_, rates), (drates, drate) = push(self.integrands, step.x, step.coefficients, dx, dcoefficients)
            dlog_total = total(drates) * inverse
            dwait = -step.wait * dlog_total
            for d, shift, row in zip(dx, choose(drates, dlog_total), self.problem.network.stoichiometry, strict=True):
                result.append(jnp.where(step.fires, d + shift, d) if row.any() else d)
            result.append(dtime + dwait)
            result += [
                old + change * step.wait + rate * dwait
                for old, rate, change in zip(integrals, rates, drate, strict=True)
            ]
        return (*seen, *result)

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        seen, parts = self._parts(carry, aux)
        return (*Accumulator(self.problem).record(seen, x, coefficients), *self.tangents(x, coefficients, parts))

    def at_state(self, x: Arrays, coefficients: Arrays, part: Part) -> list[Any]:
        """Tangents of functions of the state; 0 for an average, which is all integral."""
        tangents = push(self.problem.values, x, coefficients, part.counts, part.coefficients)[1]
        return [
            jnp.zeros_like(x[0]) if function.is_integral else jnp.broadcast_to(tangent, x[0].shape)
            for function, tangent in zip(self.problem.functions, tangents, strict=True)
        ]

    def _parts(self, carry: Arrays, aux: Tangents) -> tuple[Arrays, list[Part]]:
        """The memory of the functions, and what is carried for each parameter."""
        seen, rest = split_tuple(carry, (len(Accumulator(self.problem).tracked),))
        counts = len(self.problem.network.species)
        width = counts + 1 + self.problem.size
        rows = [rest[begin : begin + width] for begin in range(0, len(rest), width)]
        return seen, [
            Part(row[:counts], row[counts], row[counts + 1 :], dcoefficients)
            for row, dcoefficients in zip(rows, aux.coefficients, strict=True)
        ]


class Part(NamedTuple):
    """Tangents by one parameter."""

    counts: Arrays
    time: Any
    integrals: Arrays
    coefficients: tuple[Any, ...]


class _Windowed(Pushforward):
    """Second-order choices; integrals of the generator."""

    def choices(self, step: Step) -> Callable[[Arrays, Any], list[Any]]:
        jumps = self.problem.network.stoichiometry
        inverse = jnp.where(step.total > 0, 1.0 / step.total, 0.0)
        inverse_fired = 1.0 / select_by(step.reaction, step.propensities, 1.0)
        jump = [select_by(step.reaction, list(row), 0.0) for row in jumps]
        mean_jump = [weighted(row, step.propensities) * inverse for row in jumps]

        def shifts(drates: Arrays, dlog_total: Any) -> list[Any]:
            dlog_fired = select_by(step.reaction, drates, 0.0) * inverse_fired
            return [
                0.5 * (s * (dlog_fired - dlog_total) - mean * dlog_fired + weighted(row, drates) * inverse)
                for s, mean, row in zip(jump, mean_jump, jumps, strict=True)
            ]

        return shifts

    def integrands(self, x: Arrays, coefficients: Arrays) -> tuple[Arrays, Arrays]:
        """Propensities, and the drift of each function, or for an average itself."""
        rates, drift = self.problem.rates_and_generator(x, coefficients)
        values = self.problem.values(x, coefficients)
        return rates, tuple(
            value if function.is_integral else rate
            for function, rate, value in zip(self.problem.functions, drift, values, strict=True)
        )

    def tangents(self, x: Arrays, coefficients: Arrays, parts: list[Part]) -> list[Any]:
        """For each parameter and function its tangent at the state; then so the integrals'."""
        _, drift = self.integrands(x, coefficients)
        at = [tangent for part in parts for tangent in self.at_state(x, coefficients, part)]
        # The time of the observation is fixed: what the interval since the last event gains at its beginning,
        # it does not gain at its end.
        return at + [
            integral - rate * part.time for part in parts for integral, rate in zip(part.integrals, drift, strict=True)
        ]


def weighted(weights: np.ndarray, values: Arrays) -> Any:
    """The sum of arrays of trajectories with constant weights."""
    return total([value * float(weight) for weight, value in zip(weights, values, strict=True) if weight])
