"""The likelihood of trajectories in the linear noise approximation, begun anew at each observation.

Between observations the state is normal, with a mean that follows the rate equations and a covariance that follows
theirs; each observation is weighed in by a Kalman filter, and the approximation goes on from what is known then, so
that it is never far from the trajectory (Fearnhead, Giagos, Sherlock, Biometrics 70, 457, 2014).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.errors import SimulationError
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.likelihood import Evaluation, Expected, expected_values
from sbmlgrad.likelihood.measurement import Laws
from sbmlgrad.likelihood.projection import along, evaluation, stacked
from sbmlgrad.likelihood.records import Trajectories
from sbmlgrad.simulation.deterministic import quick_to_compile
from sbmlgrad.simulation.rosenbrock import Flow
from sbmlgrad.simulation.solvers import TABLEAU, largest_error

_TOLERANCE = 1e-6  # relative, and absolute in molecules and their squares
_MOST_STEPS = 10_000  # of the solver, between two observations
_MOST_SPECIES = 20
_ORDER = 5  # of the solver
_CERTAIN = 1e-9  # a predicted variance that leaves nothing to learn


class LinearNoisePaths:
    """Trajectories, noisy or not, of many molecules; see :class:`~sbmlgrad.likelihood.paths.ProjectedPaths`."""

    name = "linear_noise"
    drawn = False

    def __init__(self, problem: Problem, data: Trajectories, laws: Laws | None = None):
        self.problem, self.data, self.laws = problem, data, laws or {}
        self._places = [problem.variables.index(name) for name in data.observables]

    @property
    def size(self) -> int:
        return self.data.size

    def prepare(self, values: np.ndarray) -> None:
        """Refuse what is too large."""
        species = len(self.problem.network.species)
        unlike = [law.law for law in self.laws.values() if law.law != "normal"]
        if unlike:
            raise SimulationError(f"noise that is {unlike[0]} has no linear noise approximation")
        if species > _MOST_SPECIES:
            raise SimulationError(f"{species} species are more than the {_MOST_SPECIES} whose covariance is followed")

    def evaluate(self, values: np.ndarray) -> Evaluation:
        primals, directions = self._arguments(values)
        value, score, _ = self._compiled("slopes", self._with_slopes)(primals, directions, *self._rows)
        return evaluation(value, score)

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        return False

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]:
        return nullcontext()

    def expected(self, values: np.ndarray) -> Expected:
        primals, _ = self._arguments(values)
        mean, variance = (np.asarray(v) for v in self._compiled("look", self._filter)(primals, *self._rows)[1])
        return expected_values(self.data, mean, variance, np.full(mean.shape, 3.0))

    def describe(self) -> str:
        return "likelihood of trajectories in the linear noise approximation, begun anew at each observation"

    @property
    def _rows(self) -> tuple[np.ndarray, ...]:
        """Spans (times,), values and variances (times, replicates, observables)."""
        return np.diff(self.data.times, prepend=self.data.start), *self.data.by_time

    def _compiled(self, kind: str, function: Any) -> Any:
        key = ("linear noise paths", kind, self.data.observables, tuple(self.laws.items()))
        return self.problem.once(key, lambda: jax.jit(function, compiler_options=quick_to_compile(threads=True)))

    def _arguments(self, values: np.ndarray) -> tuple[Any, Any]:
        point = self.problem.at(values)
        counts = tuple(jnp.asarray(c, jnp.float64) for c in point.counts)
        coefficients = tuple(jnp.asarray(c, jnp.float64) for c in point.coefficients)

        tangents = point.tangents
        return (coefficients, counts), (stacked(coefficients, tangents.coefficients), stacked(counts, tangents.counts))

    def _with_slopes(self, primals: Any, directions: Any, spans: Array, values: Array, variance: Array) -> Any:
        def value(coefficients: Any, counts: Any) -> tuple[Array, None]:
            return self._filter((coefficients, counts), spans, values, variance)[0], None

        return along(value, primals, directions)

    def _filter(self, primals: Any, spans: Array, values: Array, variance: Array) -> Any:
        """The log-likelihood, and the mean and variance (2, replicates, observables, times) of each value before it."""
        coefficients, counts = primals
        start = jnp.stack(counts)
        part = start - jnp.floor(start)
        flow = _moment_flow(self.problem, coefficients)
        size = len(counts)

        def one(values: Array, variance: Array) -> Any:
            """Of one replicate: (times, observables)."""

            def step(carry: Any, row: Any) -> Any:
                mean, cov, total = carry
                span, value, own = row
                mean, cov = _unpacked(_followed(flow, _packed(mean, cov), span), size)
                seen = []
                for place in range(len(self._places)):
                    mean, cov, gain, moments = self._weighed(coefficients, mean, cov, value[place], own[place], place)
                    total = total + gain
                    seen.append(moments)
                return (mean, cov, total), jnp.stack(seen, axis=1)

            begin = (start, jnp.diag(lax.stop_gradient(part * (1 - part))), jnp.zeros(()))
            (_, _, total), moments = lax.scan(step, begin, (spans, values, variance))
            return total, moments

        totals, moments = jax.vmap(one, in_axes=1)(values, variance)
        return jnp.sum(totals), jnp.transpose(moments, (2, 0, 3, 1))

    def _weighed(
        self, coefficients: Any, mean: Array, cov: Array, value: Array, own: Array, place: int
    ) -> tuple[Array, Array, Array, Array]:
        """Mean and covariance after a value was seen, what it adds to the log-likelihood, and its own law before."""

        def seen(x: Array) -> Array:
            every = self.problem.observe(tuple(x), coefficients)
            return jnp.broadcast_to(every[self._places[place]], ())

        level, slope = seen(mean), jax.jacfwd(seen)(mean)
        along_slope = cov @ slope
        variance = slope @ along_slope + own + self._own_noise(coefficients, mean, place)
        told = ~jnp.isnan(value) & (variance > _CERTAIN)
        safe = jnp.where(told, variance, 1.0)
        off = jnp.where(told, value - level, 0.0)
        gain = jnp.where(told, 1.0, 0.0) * along_slope / safe
        density = jnp.where(told, -0.5 * (jnp.square(off) / safe + jnp.log(2 * jnp.pi * safe)), 0.0)
        cov = cov - jnp.outer(gain, along_slope)
        return mean + gain * off, (cov + cov.T) / 2, density, jnp.stack([level, variance])

    def _own_noise(self, coefficients: Any, mean: Array, place: int) -> Any:
        """The variance of a formula's noise at the mean state."""
        law = self.laws.get(self.data.observables[place])
        if law is None:
            return 0.0
        every = self.problem.observe(tuple(mean), coefficients)
        return jnp.square(every[self.problem.variables.index(law.parameter)])


def _moment_flow(problem: Problem, coefficients: Any) -> Flow:
    """How mean and covariance, packed, change."""
    network = problem.network
    jumps = jnp.asarray(network.stoichiometry, jnp.float64)
    size = len(network.species)

    def drift(x: Array) -> Array:
        return jumps @ network.propensities_at(x, coefficients)

    def flow(time: Array, state: Array) -> Array:
        mean, cov = _unpacked(state, size)
        kept = jnp.maximum(mean, 0.0)  # a filter may put what is hardly there below 0
        rates = jnp.maximum(network.propensities_at(kept, coefficients), 0.0)
        turned = jax.jacfwd(drift)(kept) @ cov
        return _packed(jumps @ rates, turned + turned.T + (jumps * rates[None]) @ jumps.T)

    return flow


def _packed(mean: Array, cov: Array) -> Array:
    return jnp.concatenate([mean, cov[np.triu_indices(len(mean))]])


def _unpacked(state: Array, size: int) -> tuple[Array, Array]:
    upper = jnp.zeros((size, size)).at[np.triu_indices(size)].set(state[size:])
    return state[:size], upper + upper.T - jnp.diag(jnp.diag(upper))


def _followed(flow: Flow, state: Array, span: Array) -> Array:
    """The state after a span of time; steps are held to the tolerance, and do not count as functions of anything."""

    def go_on(carry: tuple[Array, Array, Array, Array]) -> Array:
        time, _, _, count = carry
        return (time < span) & (count < _MOST_STEPS)

    def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        time, state, width, count = carry
        width = jnp.minimum(width, span - time)
        taken, error = _stepped(flow, state, width)
        scale = _TOLERANCE * (1 + jnp.maximum(jnp.abs(state), jnp.abs(taken)))
        error = largest_error(error, scale)
        good = error <= 1
        factor = jnp.clip(0.9 * jnp.maximum(error, 1e-8) ** (-1 / _ORDER), 0.2, 6.0)
        ends = good & (width >= span - time)
        time = jnp.where(ends, span, jnp.where(good, time + width, time))
        return time, jnp.where(good, taken, state), width * lax.stop_gradient(factor), count + 1

    begin = (jnp.zeros_like(span), state, span * 0.1, jnp.zeros((), jnp.int32))
    time, state, _, _ = lax.while_loop(go_on, step, begin)
    return jnp.where(time >= span, state, jnp.nan)


def _stepped(flow: Flow, state: Array, width: Array) -> tuple[Array, Array]:
    """The state after a step of Dormand and Prince's pair, and its error; a loop, since unrolled it compiles slowly."""
    stages, error = (jnp.asarray(part) for part in TABLEAU)

    def stage(index: Array, slopes: Array) -> Array:
        return slopes.at[index].set(flow(jnp.zeros(()), state + width * (stages[index] @ slopes)))

    slopes = lax.fori_loop(0, len(stages), stage, jnp.zeros((len(stages), len(state))))
    return state + width * (stages[-1] @ slopes), width * (error @ slopes)
