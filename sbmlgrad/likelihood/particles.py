"""The likelihood of trajectories by particle filters on exact simulation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import EstimatorError, SimulationError
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.gradient.score import refuse_counts, refuse_switched_off
from sbmlgrad.likelihood.guidance import Guidance
from sbmlgrad.likelihood.likelihood import Evaluation, Expected, expected_values
from sbmlgrad.likelihood.measurement import Laws
from sbmlgrad.likelihood.particle_filter import Data, ParticleFilter, Shape, Swarm
from sbmlgrad.likelihood.path_density import PathDensity
from sbmlgrad.likelihood.projection import along, stacked
from sbmlgrad.likelihood.readings import Readings
from sbmlgrad.likelihood.records import Trajectories
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.experiment import MAX_EVENTS, Experiment
from sbmlgrad.simulation.forecast import NETWORK, look_ahead_at_network
from sbmlgrad.simulation.random import streams
from sbmlgrad.simulation.ssa import compiler_options, initial_count

FILTERS = 8
"""Filters that know nothing of each other: their likelihoods are averaged, and their differences tell the noise."""

FEW = 10.0
"""Molecules in the mean of a species, below which the linear noise approximation is not trusted."""

_FEWEST = 256  # particles of a filter to begin with
_TIMES = 4  # as many where those are too few
_MOST_BYTES = 1 << 29  # of all particles at all times
_MOST_EVENTS = 3e8  # reactions in one run of all filters: half a minute, about
_WORTH = 1e8  # the same, for the sake of a maximum that is less off: some seconds
_FASTER = 8.0  # times as many reactions as at the maximum are not worth their time for an interval's sake
_MOST_PARTICLES = 1 << 14
_MOST_STEPS = 1_000_000  # reactions of a particle between two observations
_NOISE = 0.6  # standard deviation of the log-likelihood of one filter that is good enough, and of all 0.2
_ERROR = 0.2  # standard errors that the estimate may be off by because of that noise
_DRIFT = 0.02  # variance that is added by standing so far from where particles were simulated, and is put up with
_NEAR = 0.5  # standard errors from where particles were simulated that a maximum may be
_FARTHEST = 0.1  # the same, beyond which nothing is said before particles are simulated nearer
_FREE_MOVES = 2  # after so many a search gets more particles
_MOST_REFERENCES = 3
_TOLD = 0.5  # information on a logarithm: a standard error of 1.4, beyond which the data hardly tell
_STEP = 1e-3  # relative, of differences of scores
_SIGHTED = 256  # trajectories that tell which states are visited
_ROUGH_SEED = 20260102


class Estimate(NamedTuple):
    """What the filters say at one point.

    ``values`` (filters, replicates) are estimates of the log-likelihood of each replicate whose exponentials have the
    likelihood as their mean, ``slopes`` (P, filters, replicates) their derivatives; ``excess`` is the variance of the
    whole that is added by standing away from where particles were simulated.
    """

    values: np.ndarray
    slopes: np.ndarray
    excess: float

    @property
    def shares(self) -> np.ndarray:
        """Of each filter (filters, replicates) in the mean likelihood of a replicate."""
        most = self.values.max(axis=0)
        raw = np.exp(self.values - np.where(np.isfinite(most), most, 0.0))
        return raw / np.maximum(raw.sum(axis=0), np.finfo(float).tiny)

    @property
    def value(self) -> float:
        """The logarithm of the mean likelihood."""
        most = self.values.max(axis=0)
        if not np.all(np.isfinite(most)):
            return -np.inf
        return float(np.sum(most + np.log(np.mean(np.exp(self.values - most), axis=0))))

    @property
    def score(self) -> np.ndarray:
        """Derivatives (P,) of :attr:`value`."""
        return np.sum(self.shares * np.nan_to_num(self.slopes), axis=(1, 2))

    @property
    def score_noise(self) -> np.ndarray:
        """Covariance (P, P) of the noise of :attr:`score`, from the differences of the filters."""
        slopes, shares = np.nan_to_num(self.slopes), self.shares
        off = shares * (slopes - np.sum(shares * slopes, axis=1, keepdims=True))
        filters = len(shares)
        return np.einsum("pfr,qfr->pq", off, off) * filters / (filters - 1)

    @property
    def noise(self) -> float:
        """Standard deviation of the log-likelihood by a single filter, from the differences of them all."""
        relative = self.shares * len(self.shares)
        return float(np.sqrt(np.sum(np.var(relative, axis=0, ddof=1))))


class _Reference(NamedTuple):
    """Particles: at which values (P,), where they began, with which coefficients, and how they went."""

    values: np.ndarray
    start: Any
    coefficients: Any
    swarm: Swarm


class ParticlePaths:
    """Trajectories, noisy or not, with hidden species, of a model whose states are too many.

    An unbiased estimate, by filters with ``particles`` each; if None, as many as a standard deviation of the
    log-likelihood below 1 asks for. Between two calls of :meth:`prepare` and :meth:`widen` the random numbers and the
    paths are the same, so that the likelihood is a smooth function of the parameters, with exact derivatives.
    """

    name = "particles"
    drawn = True

    def __init__(
        self,
        problem: Problem,
        data: Trajectories,
        seed: int = 0,
        particles: int | None = None,
        laws: Laws | None = None,
    ):
        self.problem, self.data, self.seed, self.laws = problem, data, seed, laws or {}
        self.particles = particles or _FEWEST
        self._fixed = particles is not None
        self._readings = Readings.of(problem, data.observables, self.laws)
        self._filter: ParticleFilter | None = None
        self._references: list[_Reference] = []
        self._used: _Reference | None = None
        self._moves = 0
        self._noise: float | None = None
        self._off = 0.0  # the maximum may be, in standard errors
        self._settled = False
        self._events = np.inf  # in a trajectory
        self._latest: tuple[bytes, Estimate] | None = None

    @property
    def size(self) -> int:
        return self.data.size

    # ---- particles -------------------------------------------------------------------------------------------

    def prepare(self, values: np.ndarray) -> None:
        """Simulate particles at these values (P,), as many as are needed there.

        Raises :class:`SimulationError` where they are too many, or a parameter cannot be told from paths.
        """
        if self._filter is None:
            self._filter = self._built(values)
        self._settled = False
        while True:
            self._references = [self._simulated(values)]
            self._latest = None
            found = self.estimate(values)
            dead = not np.isfinite(found.value)
            if self._fixed or not (dead or found.noise > _NOISE):
                return
            try:
                self._more()
            except SimulationError:
                if dead:
                    raise
                return

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        """Simulate anew at these values where paths of the present ones are rare, or too few to tell the maximum."""
        moved = self.estimate(values).excess > _DRIFT or self._distance(values) > _NEAR
        if not moved and not self._fixed:
            self._off = max(self._error(values), self._error_elsewhere(values))
        self._settled = not moved and (self._fixed or self._off <= _ERROR)
        if self._settled:
            return False
        self._moves += 1
        if not moved or self._moves > _FREE_MOVES:  # to and fro, as far as the noise goes
            try:
                self._more(_WORTH)
            except SimulationError:
                self._settled = not moved
                if self._settled:
                    return False
        self.prepare(values)
        return True

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]:
        return nullcontext()

    def _built(self, values: np.ndarray) -> ParticleFilter:
        point = self.problem.at(values)
        try:
            refuse_counts("particles", self.problem, point.tangents)
            refuse_switched_off("particles", self.problem, point)
        except EstimatorError as error:
            reason = str(error).partition("; use")[0]
            raise SimulationError(reason.replace("estimator 'particles' has", "paths of particles have")) from None
        rows, self._events = _visited(self.problem, self.data, values)
        self._check_effort(self.particles)
        visited = np.unique(rows, axis=1)[:, :: max(1, rows.shape[1] // 10_000)]
        self._readings.check(point.coefficients, tuple(visited))
        states = np.concatenate([visited, visited + 1, visited + 2], axis=1)
        density = PathDensity.of(self.problem, point, states)
        guidance = Guidance.of(self.problem, self._readings.places)
        of_paths = density.factors, density.curved, density.probes.tobytes()
        key = ("particle filter", self.data.observables, self._readings.laws, *of_paths)
        return self.problem.once(
            key,
            lambda: ParticleFilter(
                self.problem, self._readings, density, guidance if guidance.seen else None, _MOST_STEPS
            ),
        )

    def _more(self, most: float = _MOST_EVENTS) -> None:
        """Take more particles, in steps that few sizes lie between; :class:`SimulationError` where that is too much."""
        self._check_effort(self.particles * _TIMES, most)
        self.particles *= _TIMES

    def _check_effort(self, particles: int, most: float = _MOST_EVENTS) -> None:
        batch = FILTERS * len(self.data.values) * particles
        kept = 0 if self._filter is None else self._filter.density.size + len(self.problem.network.species)
        size = 8 * len(self.data.times) * batch * (4 + kept)
        if particles > _MOST_PARTICLES or size > _MOST_BYTES or self._events * batch > most:
            raise SimulationError(
                f"{particles} particles in each of {FILTERS} filters of {len(self.data.values)} trajectories, with "
                f"{self._events:.3g} reactions each, are too many to follow"
            )

    def _simulated(self, values: np.ndarray, seed: int | None = None) -> _Reference:
        point, batch = self.problem.at(values), int(np.prod(self._shape))
        most = _MOST_EVENTS / batch
        if self._settled:
            most = min(most, _FASTER * self._events)
        _, events = _visited(self.problem, self.data, values, int(most) + 1)  # raises where there are too many
        if not self._settled:
            self._events = events
        keys, slots = streams(self.seed if seed is None else seed), np.arange(batch, dtype=np.uint32)
        start = tuple(jnp.asarray(initial_count(c, keys, slots, i)) for i, c in enumerate(point.counts))
        coefficients = tuple(jnp.asarray(c, jnp.float64) for c in point.coefficients)
        swarm = self._compiled("run")(start, coefficients, self._rows, keys, np.float32(1.0))
        if bool(np.any(np.asarray(swarm.broken))):
            raise SimulationError(
                f"a propensity is negative or not finite, or more than {_MOST_STEPS} reactions fire between two "
                "observations"
            )
        return _Reference(np.array(values, np.float64), start, coefficients, swarm)

    # ---- what they say -----------------------------------------------------------------------------------------

    def evaluate(self, values: np.ndarray) -> Evaluation:
        found = self.estimate(values)
        if found.excess > _FARTHEST:
            if not self._settled:
                raise SimulationError("too far from where particles were simulated")
            self._references = [*self._references[: _MOST_REFERENCES - 1], self._simulated(values)]
            self._latest = None
            found = self.estimate(values)
        return Evaluation(found.value, found.score)

    def anew(self, values: np.ndarray, seed: int) -> float:
        """An estimate of the log-likelihood at these values (P,) by particles that nothing else has seen, whose
        exponential has the likelihood as its mean; raises :class:`SimulationError`."""
        kept = self._references, self._latest, self._used
        self._references, self._latest = [self._simulated(values, seed)], None
        try:
            return self.estimate(values).value
        finally:
            self._references, self._latest, self._used = kept

    def estimate(self, values: np.ndarray) -> Estimate:
        """What each of the filters says at these values (P,), by the first of the references that is near enough."""
        key = np.asarray(values, np.float64).tobytes()
        if self._latest is None or self._latest[0] != key:
            point = self.problem.at(values)
            now = tuple(jnp.asarray(c, jnp.float64) for c in point.coefficients)
            directions = stacked(now, point.tangents.coefficients)
            best: Estimate | None = None
            for reference in sorted(self._references, key=lambda r: r is not self._used):
                found = self._compiled("slopes")(now, directions, reference.swarm, reference.coefficients, self._rows)
                value, slopes, excess = map(np.asarray, found)
                own = Estimate(
                    value, slopes, float(np.nan_to_num(np.sum(np.mean(excess, axis=0)), nan=np.inf)) / FILTERS
                )
                if best is None or own.excess < best.excess:
                    best, self._used = own, reference
                if own.excess <= _FARTHEST:
                    break
            assert best is not None
            self._latest = key, best
        return self._latest[1]

    def expected(self, values: np.ndarray) -> Expected:
        _, start, coefficients, _ = self._references[0]
        self._noise = self.estimate(values).noise
        keys, others = streams(self.seed), streams(~self.seed)
        moments = self._compiled("predicted")(start, coefficients, self._rows, keys, others, np.float32(1.0))
        mean, variance, fourth = np.moveaxis(np.asarray(moments), 1, 0).transpose(0, 2, 3, 1)
        wildness = np.where(variance > 0, fourth / np.where(variance > 0, variance, 1.0) ** 2, 3.0)
        return expected_values(self.data, mean, variance, wildness)

    def describe(self) -> str:
        text = f"likelihood of trajectories by {FILTERS} particle filters of {self.particles} particles"
        if self._noise is None:
            return text
        off = f", its maximum or its width off by {self._off:.2g} standard errors" if self._off > _ERROR else ""
        return f"{text}, noise {self._noise / np.sqrt(FILTERS):.2g}{off}"

    @property
    def _shape(self) -> Shape:
        return Shape(FILTERS, len(self.data.values), self.particles)

    @property
    def _rows(self) -> Data:
        times = self.data.times
        rows = (np.concatenate([[self.data.start], times[:-1]]), times, *self.data.by_time)
        return Data(*map(jnp.asarray, rows))

    def _error_elsewhere(self, values: np.ndarray) -> float:
        """The same by other particles: at a maximum of noise, those that it is made of take it for a sharp one."""
        references, latest = self._references, self._latest
        self._references, self._latest = [self._simulated(values, ~self.seed)], None
        error = self._error(values)
        self._references, self._latest = references, latest
        return error

    def _information(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Minus the second derivatives (P, P), those by each filter and replicate (P, P, filters, replicates), and the
        units (P,) of the values that they are in."""
        widths = np.where(values != 0, np.abs(values), 1.0)
        sides = [[self.estimate(values + sign * step) for sign in (-1, 1)] for step in _STEP * np.diag(widths)]
        rows = np.array([(before.score - after.score) * widths for before, after in sides]) / (2 * _STEP)
        each = np.array([(before.slopes - after.slopes) * widths[:, None, None] for before, after in sides])
        return (rows + rows.T) / 2, np.nan_to_num(each) / (2 * _STEP), widths

    def _distance(self, values: np.ndarray) -> float:
        """How far these values are from where particles were simulated, in standard errors."""
        information, _, widths = self._information(values)
        sizes, axes = np.linalg.eigh(information)
        way = axes.T @ ((values - self._references[0].values) / widths)
        return float(np.sqrt(np.sum(np.abs(sizes) * np.square(way))))

    def _error(self, values: np.ndarray) -> float:
        """How far the maximum may be off because of noise, in standard errors of the direction where that is most.

        Or, where that is more, how far those standard errors may be off, in parts of themselves.
        """
        information, by_filter, widths = self._information(values)
        here = self.estimate(values)
        noise = here.score_noise * np.outer(widths, widths)
        sizes, axes = np.linalg.eigh(information)
        known = np.einsum("ia,ijfr,ja->afr", axes, by_filter, axes)
        off = here.shares * (known - np.sum(here.shares * known, axis=1, keepdims=True))
        wide = np.sqrt(np.sum(np.square(off), axis=(1, 2)) * FILTERS / (FILTERS - 1))  # of the sizes
        if np.any((sizes <= 1e-8 * sizes.max()) & (sizes + 2 * wide > _TOLD)):
            return np.inf
        told = sizes > 1e-8 * sizes.max()
        root = axes[:, told] / np.sqrt(sizes[told])
        error = np.sqrt(np.linalg.eigvalsh(root.T @ noise @ root).max(initial=0.0))
        return float(max(error, np.max(wide[told] / sizes[told], initial=0.0)))

    def _compiled(self, kind: str) -> Any:
        own = self._filter
        assert own is not None

        def build() -> Any:
            if kind == "slopes":
                return jax.jit(partial(_slopes, own), compiler_options=compiler_options())
            return jax.jit(partial(getattr(own, kind), self._shape), compiler_options=compiler_options())

        return self.problem.once(("particles", kind, own, None if kind == "slopes" else self._shape), build)


def few_molecules(problem: Problem, data: Trajectories, values: np.ndarray) -> bool:
    """Whether there are too few molecules of some species at these values (P,) for the linear noise approximation.

    Those of the species, of all that change, of which there are fewest in the mean over trajectories and time.
    """
    records, _ = _visited(problem, data, values)
    means = np.array(
        [row.mean() for row, jumps in zip(records, problem.network.stoichiometry, strict=True) if jumps.any()]
    )
    return bool(means.min(initial=np.inf) < FEW)


def _visited(
    problem: Problem, data: Trajectories, values: np.ndarray, max_events: int = MAX_EVENTS
) -> tuple[np.ndarray, float]:
    """States (species, m) of some trajectories, and how many reactions fire in each."""
    point = problem.at(values)
    grid = np.unique(np.append(np.linspace(data.start, data.times[-1], 17)[1:], data.times))
    network = problem.network_at(values)
    asked = Experiment(grid, n=_SIGHTED, start=data.start, max_events=max_events)
    look_ahead_at_network(NETWORK, problem.network, point.counts, point.coefficients, asked)
    rough = Ensemble(network, point.counts, point.coefficients, grid, _SIGHTED, _ROUGH_SEED, data.start, max_events)
    chunks = list(run(rough))
    rows = np.concatenate([np.stack(c.records).reshape(len(network.species), -1) for c in chunks], axis=1)
    return rows, sum(chunk.events for chunk in chunks) / _SIGHTED


def _slopes(own: ParticleFilter, now: Any, directions: Any, swarm: Swarm, start: Any, data: Data) -> Any:
    def value(*coefficients: Any) -> Any:
        return own.reweighted(swarm, start, coefficients, data)

    return along(value, now, directions)
