"""What an instrument makes of a signal: the laws of measured values.

====================  ===========================  ======================================================
law                   its parameter                a measured value y of a signal m
====================  ===========================  ======================================================
normal                sd                           y is normal, with mean m
lognormal             sd of log(y)                 log(y) is normal, with mean log(m)
laplace               scale                        y is Laplace distributed around m
poisson               none                         y is a Poisson count with mean m
binomial              probability of detection     each of m molecules is counted or not
negative_binomial     size                         y is a count with mean m and variance m + m^2 / size
====================  ===========================  ======================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln

LAWS = ("normal", "lognormal", "laplace", "poisson", "binomial", "negative_binomial")
COUNTS = ("poisson", "binomial", "negative_binomial")
"""Laws of whole numbers."""

EQUAL = 1e-6
"""Relative, of two numbers that are the same count."""

_WHOLE = 1e-6


@dataclass(frozen=True)
class Measurement:
    """A law by its name, and the variable of the model that holds its parameter; "" where it has none."""

    law: str
    parameter: str = ""


Laws = Mapping[str, Measurement]
"""By the observable that is measured."""


def log_density(law: str, value: Any, signal: Any, parameter: Any, softness: Any = None) -> Array:
    """Log of the density, or the probability, of measured values; minus infinity for what cannot be measured.

    Elementwise, with derivatives by signal and parameter that are finite wherever the density is. ``softness`` rounds
    the tip of ``laplace`` off, over so many scales.
    """
    if law == "laplace" and softness is not None:
        off = (value - signal) / parameter
        return jnp.asarray(-jnp.sqrt(jnp.square(off) + softness**2) - jnp.log(2.0) - jnp.log(parameter))
    if law in ("normal", "laplace"):
        off = (value - signal) / parameter
        shape = -0.5 * jnp.square(off) - 0.5 * jnp.log(2 * jnp.pi) if law == "normal" else -jnp.abs(off) - jnp.log(2.0)
        return jnp.asarray(shape - jnp.log(parameter))
    if law == "lognormal":
        possible = (signal > 0) & (value > 0)
        y, m = jnp.where(possible, value, 1.0), jnp.where(possible, signal, 1.0)
        off = (jnp.log(y) - jnp.log(m)) / parameter
        density = -0.5 * jnp.square(off) - 0.5 * jnp.log(2 * jnp.pi) - jnp.log(parameter) - jnp.log(y)
        return jnp.where(possible, density, -jnp.inf)
    if law == "binomial":
        possible = (value <= signal + _WHOLE) & (value >= 0)
        n, y = jnp.where(possible, signal, 1.0), jnp.where(possible, value, 0.0)
        left = jnp.maximum(n - y, 0.0)
        choose = gammaln(n + 1) - gammaln(y + 1) - gammaln(left + 1)
        return jnp.where(possible, choose + _times_log(y, parameter) + _times_log(left, 1 - parameter), -jnp.inf)
    possible = (signal > 0) & (value >= 0)
    m, y = jnp.where(possible, signal, 1.0), jnp.where(possible, value, 0.0)
    if law == "poisson":
        density = y * jnp.log(m) - m - gammaln(y + 1)
    else:
        density = gammaln(y + parameter) - gammaln(parameter) - gammaln(y + 1)
        density = density - parameter * jnp.log1p(m / parameter) + y * (jnp.log(m) - jnp.log(m + parameter))
    nothing = jnp.where((signal == 0) & (value == 0), 0.0, -jnp.inf)  # of nothing, nothing is counted
    return jnp.where(possible, density, nothing)


def central_moments(law: str, signal: Any, parameter: Any) -> tuple[Any, Any, Any, Any]:
    """The mean of a measured value, and its second, third and fourth central moments; elementwise."""
    m, p = signal, parameter
    if law == "normal":
        return m, p**2, 0.0 * m, 3 * p**4
    if law == "laplace":
        return m, 2 * p**2, 0.0 * m, 24 * p**4
    if law == "lognormal":
        w = jnp.exp(jnp.square(p))
        fourth = w**4 + 2 * w**3 + 3 * w**2 - 3
        return (
            m * jnp.sqrt(w),
            m**2 * w * (w - 1),
            m**3 * w**1.5 * (w - 1) ** 2 * (w + 2),
            (m**4 * w**2 * (w - 1) ** 2 * fourth),
        )
    if law == "binomial":
        variance = m * p * (1 - p)
        return m * p, variance, variance * (1 - 2 * p), variance * (1 + 3 * (m - 2) * p * (1 - p))
    if law == "poisson":
        return m, m, m, m + 3 * m**2
    variance = m + m**2 / p
    third = variance * (1 + 2 * m / p)
    return m, variance, third, 3 * variance**2 + variance * (1 + 6 * variance / p)


def mixture_moments(
    law: str, signal: Any, parameter: Any, variance: Any, average: Callable[[Any], Any]
) -> tuple[Any, Any, Any]:
    """The mean of a measured value, and its second and fourth central moments, over states of several signals.

    ``average`` takes the mean over states, and keeps their axes. Without a law, "", errors are normal with this
    ``variance``.
    """
    if law:
        first, second, third, fourth = central_moments(law, signal, parameter)
    else:
        first, second, third, fourth = signal, variance, 0.0, 3 * jnp.square(variance)
    mean = average(first)
    off = first - mean
    spread = average(second + jnp.square(off))
    return mean, spread, average(fourth + 4 * off * third + 6 * jnp.square(off) * second + off**4)


def information(law: str, signal: Any, parameter: Any) -> tuple[Any, Any, Any]:
    """What one value is expected to tell: Fisher's information of signal, of both, and of parameter; elementwise.

    Of ``binomial`` and, in its parameter, ``negative_binomial`` as if it were normal, which a search can go by.
    """
    m, p, none = signal, parameter, 0.0 * signal
    if law == "normal":
        return 1 / p**2 + none, none, 2 / p**2 + none
    if law == "lognormal":
        return 1 / (p * m) ** 2, none, 2 / p**2 + none
    if law == "laplace":
        return 1 / p**2 + none, none, 1 / p**2 + none
    if law == "poisson":
        return 1 / m, none, none
    if law == "binomial":
        variance = m * p * (1 - p)
        return p**2 / variance, m * p / variance, m**2 / variance
    return 1 / (m + m**2 / p), none, 0.5 * (m / (p * (p + m))) ** 2


def log_density_as_stated(value: Array, signal: Array, variance: Array) -> Array:
    """Of values with normal errors of a variance that is stated, or exact ones where it is 0; elementwise."""
    off = value - signal
    same = jnp.abs(off) <= EQUAL * jnp.maximum(jnp.abs(value), 1.0)
    safe = jnp.where(variance > 0, variance, 1.0)
    normal = -0.5 * (jnp.square(off) / safe + jnp.log(2 * jnp.pi * safe))
    return jnp.where(variance > 0, normal, jnp.where(same, 0.0, -jnp.inf))


def log_density_in_states(
    values: Array, signal: Array, variance: Array, laws: Sequence[tuple[str, Array | None]]
) -> Array:
    """Of rows of values (rows, observables), nan where there is none, in each state: (rows, states).

    ``signal`` (observables, states) is what is measured, and ``laws`` are names with parameters (states,). What has no
    law, "", is normal with the ``variance`` (rows, observables) that is stated, and exact where that is 0.
    """
    total = jnp.zeros((values.shape[0], signal.shape[1]))
    for index, (law, parameter) in enumerate(laws):
        one, there = values[:, index, None], ~jnp.isnan(values[:, index, None])
        if law:
            of_states = None if parameter is None else parameter[None]
            density = log_density(law, jnp.where(there, one, 0.0), signal[index][None], of_states)
        else:
            density = log_density_as_stated(one, signal[index][None], variance[:, index, None])
        total = total + jnp.where(there, density, 0.0)
    return total


def valid(law: str, parameter: Any) -> Array:
    """Whether a law has such a parameter; elementwise."""
    if law == "poisson":
        return jnp.full(jnp.shape(parameter), True)
    inside = jnp.isfinite(parameter) & (parameter > 0)
    return inside & (parameter <= 1) if law == "binomial" else inside


def _times_log(count: Any, p: Any) -> Array:
    """count * log(p), 0 for nothing at all."""
    some = count > 0
    return jnp.where(some, count * jnp.log(jnp.where(some, p, 1.0)), 0.0)
