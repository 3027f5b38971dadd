"""Random numbers of the distributions that SBML's package ``distrib`` knows, truncated where bounds are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from sbmlgrad.model.functions import DISTRIBUTIONS

Sampler = Callable[..., Array]
_MOST_TRIES = 10_000
"""For a number within its bounds; beyond, it is not a number and the simulation stops with an error."""

_SAMPLERS: dict[str, Sampler] = {
    "normal": lambda key, mean, sd: mean + sd * jax.random.normal(key),
    "uniform": lambda key, low, high: low + (high - low) * jax.random.uniform(key),
    "bernoulli": lambda key, probability: (jax.random.uniform(key) < probability).astype(jnp.float64),
    "binomial": lambda key, trials, probability: jax.random.binomial(key, trials, probability),
    "cauchy": lambda key, location, scale: location + scale * jax.random.cauchy(key),
    "chisquare": lambda key, degrees: 2.0 * jax.random.gamma(key, degrees / 2.0),
    "exponential": lambda key, rate: jax.random.exponential(key) / rate,
    "gamma": lambda key, shape, scale: scale * jax.random.gamma(key, shape),
    "laplace": lambda key, location, scale: location + scale * jax.random.laplace(key),
    "lognormal": lambda key, mean, sd: jnp.exp(mean + sd * jax.random.normal(key)),
    "poisson": lambda key, rate: jax.random.poisson(key, rate).astype(jnp.float64),
    "rayleigh": lambda key, scale: scale * jnp.sqrt(2.0 * jax.random.exponential(key)),
}


_LARGEST_COUNT = 1e15
"""Beyond, floats do not hold all whole numbers apart for long."""

_POSSIBLE: dict[str, Callable[..., Array]] = {  # what the parameters have to be
    "normal": lambda mean, sd: jnp.isfinite(mean) & (sd >= 0),
    "uniform": lambda low, high: low <= high,
    "bernoulli": lambda probability: (probability >= 0) & (probability <= 1),
    "binomial": lambda trials, probability: (
        (trials >= 0)
        & (trials <= _LARGEST_COUNT)
        & (trials == jnp.round(trials))
        & (probability >= 0)
        & (probability <= 1)
    ),
    "cauchy": lambda location, scale: jnp.isfinite(location) & (scale >= 0),
    "chisquare": lambda degrees: degrees > 0,
    "exponential": lambda rate: rate > 0,
    "gamma": lambda shape, scale: (shape > 0) & (scale >= 0),
    "laplace": lambda location, scale: jnp.isfinite(location) & (scale >= 0),
    "lognormal": lambda mean, sd: jnp.isfinite(mean) & (sd >= 0),
    "poisson": lambda rate: (rate >= 0) & (rate <= _LARGEST_COUNT),
    "rayleigh": lambda scale: scale >= 0,
}


def sample(key: Array, kind: int, index: int, parameters: Sequence[Any]) -> Array:
    """One number of a distribution of :data:`DISTRIBUTIONS`; ``index`` tells apart the draws that share a key.

    It is not a number where no parameters of the distribution are like these, or nothing comes between the bounds.
    """
    distribution = DISTRIBUTIONS[kind]
    given, bounds = parameters[: distribution.parameters], parameters[distribution.parameters :]
    possible = _POSSIBLE[distribution.name](*map(jnp.asarray, given))
    if bounds:
        possible &= jnp.asarray(bounds[0] <= bounds[1])
    own = [jnp.where(possible, parameter, 1.0) for parameter in given]  # with others some samplers would not end
    sampler = _SAMPLERS[distribution.name]
    key = jax.random.fold_in(key, index)
    if not bounds:
        return jnp.where(possible, sampler(key, *own), jnp.nan)
    low, high = bounds

    def outside(loop: tuple[Array, Array]) -> Array:
        tries, value = loop
        return possible & ~((value >= low) & (value <= high)) & (tries < _MOST_TRIES)

    def again(loop: tuple[Array, Array]) -> tuple[Array, Array]:
        tries, _ = loop
        return tries + 1, sampler(jax.random.fold_in(key, tries), *own).astype(jnp.float64)

    tries, value = lax.while_loop(outside, again, (jnp.zeros((), jnp.int32), jnp.full((), jnp.nan)))
    return jnp.where(outside((jnp.zeros_like(tries), value)), jnp.nan, value)


def expected(kind: int, index: int, parameters: Sequence[Any]) -> Array:
    """The mean of the distribution without its bounds, in place of a random number."""
    distribution = DISTRIBUTIONS[kind]
    try:
        return jnp.asarray(float(distribution.mean(*map(float, parameters[: distribution.parameters]))))
    except (ArithmeticError, ValueError):
        return jnp.full((), jnp.nan)
