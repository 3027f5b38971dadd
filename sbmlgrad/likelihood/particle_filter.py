"""A particle filter on exact simulation, and what it says at other values of the parameters than its own.

Particles are simulated from one observation to the next, weighed by what was observed, and drawn anew in proportion
(systematic resampling; Gordon, Salmond, Smith, IEE Proc. F 140, 107, 1993; Kitagawa, J. Comput. Graph. Stat. 5, 1,
1996). The product of mean weights is an unbiased estimate of the likelihood (Del Moral, Feynman-Kac Formulae, 2004).

At other values every path counts with the ratio of its densities. Once particles meet in one state, what lies ahead of
them is the same, so that all drawn from there go on with their mean ratio: the estimate stays unbiased, is a smooth
function of the parameters, and its derivative is Fisher's identity without the degeneracy of paths that all descend
from one particle. Where states are many, particles in one cell of states share their ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.guidance import REMAINING, Guidance
from sbmlgrad.likelihood.path_density import PathDensity
from sbmlgrad.likelihood.readings import Readings
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.random import Streams, exponential, uniform
from sbmlgrad.simulation.ssa import Arrays, Step, take_step

_SHARED = 4.0  # particles in a cell of states, about, where it has to hold several states
_RANGE = 4.0  # standard deviations that most particles are in


class Shape(NamedTuple):
    """How many filters that know nothing of each other, replicates, and particles."""

    filters: int
    replicates: int
    particles: int


class Swarm(NamedTuple):
    """All particles at all times of the data; arrays (times, filters, replicates, particles) if not said otherwise."""

    gains: Array  # of the log-likelihood (times, filters, replicates)
    weights: Array  # normalised in each filter and replicate
    shares: Array  # of the weight of a particle's cell
    cells: Array  # index of the cell at the end of a step
    begin: Array  # index of the cell in which the step began
    kept: Array  # (times, size, filters, replicates, particles): see PathDensity
    states: Array  # (times, species, ...): counts where observables may depend on parameters, else none
    broken: Array  # whether any propensity made no sense, or too many reactions fired (times,)


class Data(NamedTuple):
    """Rows of the filter: begin and end (times,), values and variances (times, replicates, observables)."""

    begin: Array
    end: Array
    values: Array
    variance: Array


@dataclass(frozen=True, eq=False)
class ParticleFilter:
    """The filter of a problem of which there are ``readings``; functions of arrays, to be compiled."""

    problem: Problem
    readings: Readings
    density: PathDensity
    guidance: Guidance | None
    most_steps: int

    def run(self, shape: Shape, start: Arrays, coefficients: Arrays, data: Data, keys: Streams, one: Array) -> Swarm:
        """Filter ``data`` from the states ``start`` (filters * replicates * particles,) of each species."""

        def step(carry: Any, row: tuple[Array, Data]) -> Any:
            x, draws, begin = carry
            index, now = row
            there = self._propagated(shape, x, draws, coefficients, now, keys, one)
            gain, weights = self._weighted(shape, there, coefficients, now)
            cells, shares = _cells(there.x, weights, shape)
            parents = _parents(weights, keys, index)
            states = jnp.stack(there.x).reshape(-1, *shape)[: None if self.readings.moving else 0]
            kept = jnp.stack(there.kept).reshape(-1, *shape) if there.kept else jnp.zeros((0, *shape))
            swarm = Swarm(gain, weights, shares, cells, begin, kept, states, there.broken)
            return (_drawn(there.x, parents), there.draws, jnp.take_along_axis(cells, parents, axis=-1)), swarm

        number, draws = jnp.arange(len(data.end), dtype=jnp.uint32), jnp.zeros(start[0].shape, jnp.uint32)
        swarm: Swarm = lax.scan(step, (start, draws, jnp.zeros(shape, jnp.int32)), (number, data))[1]
        return swarm

    def predicted(
        self,
        shape: Shape,
        start: Arrays,
        coefficients: Arrays,
        data: Data,
        keys: Streams,
        other_keys: Streams,
        one: Array,
    ) -> Array:
        """Mean, variance and fourth central moment (times, 3, replicates, observables) of each value before it is seen.

        By particles that nothing leads, with random numbers of their own, beside those that are.
        """
        free = replace(self, guidance=None)

        def step(carry: Any, row: tuple[Array, Data]) -> Any:
            x, draws, free_draws = carry
            index, now = row
            ahead = free._propagated(shape, x, free_draws, coefficients, now, other_keys, one)
            seen = self.readings.signal(ahead.x, coefficients, shape)
            moments = self.readings.moments(seen, _by_particle(now.variance))
            there = self._propagated(shape, x, draws, coefficients, now, keys, one)
            weights = self._weighted(shape, there, coefficients, now)[1]
            return (_drawn(there.x, _parents(weights, keys, index)), there.draws, ahead.draws), moments

        number, draws = jnp.arange(len(data.end), dtype=jnp.uint32), jnp.zeros(start[0].shape, jnp.uint32)
        return lax.scan(step, (start, draws, draws), (number, data))[1]

    def reweighted(self, swarm: Swarm, start: Arrays, now: Arrays, data: Data) -> tuple[Array, Array]:
        """Log-likelihoods (filters, replicates) at coefficients ``now`` of a swarm that was simulated at ``start``.

        And how much their variance is larger there, about, for paths that are rarer there than here.
        """
        shape = swarm.weights.shape[1:]
        flat = (shape[0] * shape[1], shape[2])
        rows = jnp.arange(flat[0])[:, None]

        def step(carry: Any, row: tuple[Swarm, Data]) -> Any:
            ratios, total, excess = carry
            particles, given = row
            log = self.density.log_ratio(particles.kept, start, now)
            if self.readings.moving:
                log = log + self._moved_weight(particles, start, now, given)
            own = jnp.take_along_axis(ratios, particles.begin, axis=-1) * jnp.exp(log)
            parts = particles.weights * own
            mean = jnp.sum(parts, axis=-1)
            unequal = jnp.sum(jnp.square(parts), axis=-1) / jnp.square(mean)
            excess = excess + unequal - jnp.sum(jnp.square(particles.weights), axis=-1)
            sums = jnp.zeros(flat).at[rows, particles.cells.reshape(flat)].add((particles.shares * own).reshape(flat))
            return (sums.reshape(shape) / mean[..., None], total + jnp.log(mean), excess), None

        zeros = jnp.zeros(shape[:2])
        (_, total, excess), _ = lax.scan(step, (jnp.ones(shape), zeros, zeros), (swarm, data))
        return jnp.sum(swarm.gains, axis=0) + total, excess

    def _moved_weight(self, particles: Swarm, start: Arrays, now: Arrays, given: Data) -> Array:
        """How the density of what was observed changes with the parameters of observables."""
        x = tuple(row.reshape(-1) for row in particles.states)
        shape = Shape(*particles.weights.shape)
        before, after = (self._weighed(x, c, shape, given) for c in (start, now))
        return jnp.where(jnp.isfinite(before) & jnp.isfinite(after), after - before, 0.0)

    def _weighed(self, x: Arrays, coefficients: Arrays, shape: Shape, now: Data) -> Array:
        """Log-density (filters, replicates, particles) of what was measured, of states."""
        signal = self.readings.signal(x, coefficients, shape)
        return self.readings.log_density(signal, _by_particle(now.values), _by_particle(now.variance))

    def _targets(self, shape: Shape, x: Arrays, coefficients: Arrays, now: Data) -> list[Array]:
        """Values and variances (observables, batch) that particles are led to."""
        signal = self.readings.signal(x, coefficients, shape)
        found = self.readings.aims(signal, _by_particle(now.values), _by_particle(now.variance))
        return [part.reshape(len(part), -1) for part in found]

    def _weighted(self, shape: Shape, there: _There, coefficients: Arrays, now: Data) -> tuple[Array, Array]:
        """What is gained in log-likelihood (filters, replicates), and normalised weights, once values are seen."""
        return _normalised(there.log.reshape(shape) + self._weighed(there.x, coefficients, shape, now))

    def _propagated(
        self, shape: Shape, x: Arrays, draws: Array, coefficients: Arrays, now: Data, keys: Streams, one: Array
    ) -> _There:
        """Particles at the end of a span."""
        remaining = jnp.asarray(REMAINING if self.guidance else (0.0,))
        begin, end, last = now.begin, now.end, len(remaining) - 1
        functional, network = _Kept(self), _led(self)
        targets = self._targets(shape, x, coefficients, now)
        slots = lax.iota(jnp.uint32, draws.shape[0])

        def unfinished(loop: Any) -> Array:
            _, _, _, stage, _, bad, steps = loop
            return jnp.any((stage <= last) & ~bad) & (steps < self.most_steps)

        def step(loop: Any) -> Any:
            x, time, carry, stage, draws, bad, steps = loop
            left = jnp.where(stage <= last, remaining[jnp.minimum(stage, last)], 0.0)
            until = jnp.where(left > 0, end - (end - begin) * left, end)
            packed = (*coefficients, (end - time, *targets))
            waits, chances = exponential(keys.waiting, slots, draws), uniform(keys.choice, slots, draws)
            draws = draws + (stage <= last)
            after, later, carry = take_step(network, functional, x, time, until, carry, waits, chances, packed, (), one)
            stage = stage + ((later >= until) & (stage <= last))
            same = reduce(jnp.logical_and, [a == b for a, b in zip(x, after, strict=True)])
            bad = bad | ((later == time) & (time < until) & same)  # a wait may be 0, but rarely
            return after, later, carry, stage, draws, bad, steps + 1

        batch = draws.shape
        carry = functional.initial(x, coefficients, ())
        first = (x, jnp.full(batch, begin), carry, jnp.zeros(batch, jnp.int32), draws, jnp.zeros(batch, bool), 0)
        x, _, carry, stage, draws, bad, _ = lax.while_loop(unfinished, step, first)
        return _There(x, draws, carry[1:], carry[0], jnp.any(bad | (stage <= last)))


class _There(NamedTuple):
    """Particles at the end of a span; arrays (batch,)."""

    x: Arrays
    draws: Array
    kept: Arrays  # see PathDensity
    log: Array  # of the density of the path over that of how it was simulated
    broken: Array  # whether any propensity made no sense, or too many reactions fired ()


def _led(own: ParticleFilter) -> ReactionNetwork:
    """The network whose propensities lead to what is observed next; coefficients come with it, last."""
    network, guidance = own.problem.network, own.guidance
    assert network.rates is not None
    rates = network.rates

    def led(x: Arrays, packed: Any) -> Arrays:
        *coefficients, (left, value, variance) = packed
        plain = rates(x, tuple(coefficients))
        if guidance is None:
            return plain
        factors = guidance.multipliers(x, tuple(coefficients), left, value, variance)
        return tuple(a * factor for a, factor in zip(plain, factors, strict=True))

    return replace(network, rates=led, nonnegative=False)


@dataclass(frozen=True, eq=False)
class _Kept:
    """The path functional that keeps a path's weight, first, and what its density elsewhere asks for."""

    own: ParticleFilter

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return tuple(jnp.zeros_like(x[0]) for _ in range(1 + self.own.density.size))

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        coefficients = tuple(step.coefficients[:-1])
        gains = self.own.density.gains(step.x, step.reaction, step.wait, coefficients)
        weight = carry[0]
        if self.own.guidance is not None:
            assert self.own.problem.network.rates is not None
            plain = self.own.problem.network.rates(step.x, coefficients)
            for reaction, (a, led) in enumerate(zip(plain, step.propensities, strict=True)):
                fired = step.reaction == np.float32(reaction)
                both = jnp.where(fired, a, 1.0) / jnp.where(fired, led, 1.0)
                weight = weight + jnp.log(both) - (a - led) * step.wait
        return weight, *(old + gain for old, gain in zip(carry[1:], gains, strict=True))

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return carry


def _by_particle(rows: Array) -> Array:
    """Rows (replicates, observables) as (observables, filters, replicates, particles)."""
    return rows.T[:, None, :, None]


def _normalised(logs: Array) -> tuple[Array, Array]:
    """Logarithms of the mean weight (filters, replicates), and weights; equal ones where all particles are dead."""
    most = jnp.max(logs, axis=-1, keepdims=True)
    alive = jnp.isfinite(most)
    raw = jnp.where(alive, jnp.exp(logs - jnp.where(alive, most, 0.0)), 1.0)
    size = jnp.sum(raw, axis=-1, keepdims=True)
    gain = jnp.where(alive, most + jnp.log(size / logs.shape[-1]), -jnp.inf)
    return gain[..., 0], raw / size


def _systematic(weights: Array, chance: Array) -> Array:
    """Indices (..., particles) of those drawn in proportion to weights, evenly, from one uniform for each set."""
    many = weights.shape[-1]
    sums = jnp.cumsum(weights, axis=-1)
    numbers = jnp.broadcast_to(jnp.arange(many), weights.shape)
    marks = (chance[..., None] + numbers) / many
    marks = jnp.minimum(marks, 1 - 1e-15) * sums[..., -1:]
    find = jnp.vectorize(lambda s, m: jnp.searchsorted(s, m, side="right"), signature="(n),(n)->(n)")
    return jnp.minimum(find(sums, marks), many - 1)


def _parents(weights: Array, keys: Streams, index: Array) -> Array:
    """Which particles go on from an observation, by one random number for each filter and replicate."""
    sets = weights.shape[:-1]
    numbers = jnp.arange(int(np.prod(sets)), dtype=jnp.uint32)
    return _systematic(weights, uniform(keys.drawing, numbers, index).reshape(sets))


def _drawn(x: Arrays, parents: Array) -> Arrays:
    """Counts (batch,) of the particles that go on."""
    return tuple(jnp.take_along_axis(c.reshape(parents.shape), parents, axis=-1).reshape(-1) for c in x)


def _cells(x: Arrays, weights: Array, shape: Shape) -> tuple[Array, Array]:
    """Index of the cell of states that each particle is in, and its share of the weight there."""
    code, counts = jnp.zeros(shape, jnp.int64), [c.reshape(shape) for c in x]
    wide = _widening(counts, weights)
    for own in counts:
        width = jnp.maximum(jnp.floor(wide), 1.0)
        place = jnp.floor((own - jnp.min(own, axis=-1, keepdims=True)) / width).astype(jnp.int64)
        code = code * (jnp.max(place, axis=-1, keepdims=True) + 1) + place
    order = jnp.argsort(code, axis=-1)
    codes = jnp.take_along_axis(code, order, axis=-1)
    ranks = jnp.cumsum(jnp.diff(codes, axis=-1, prepend=codes[..., :1]) != 0, axis=-1).astype(jnp.int32)
    rows = (shape.filters * shape.replicates, shape.particles)
    row = jnp.arange(rows[0])[:, None]
    cells = jnp.zeros(rows, jnp.int32).at[row, order.reshape(rows)].set(ranks.reshape(rows))
    flat = weights.reshape(rows)
    sums = jnp.zeros(rows).at[row, cells].add(flat)
    own = jnp.take_along_axis(sums, cells, axis=-1)
    shares = jnp.where(own > 0, flat / jnp.where(own > 0, own, 1.0), 0.0)
    return cells.reshape(shape), shares.reshape(shape)


def _widening(counts: list[Array], weights: Array) -> Array:
    """How many counts of a species a cell has to hold (..., 1), so that there are no more cells than particles fill."""
    states, moving = jnp.ones(()), jnp.zeros(())
    for own in counts:
        mean = jnp.sum(weights * own, axis=-1, keepdims=True)
        deviation = jnp.sqrt(jnp.sum(weights * jnp.square(own - mean), axis=-1, keepdims=True))
        states = states * jnp.maximum(_RANGE * deviation, 1.0)
        moving = moving + (_RANGE * deviation > 1.0)
    return (states * _SHARED / weights.shape[-1]) ** (1 / jnp.maximum(moving, 1.0))
