"""Random numbers follow their distributions, against scipy's.

Seeds are fixed; each of the 30 checks rejects below a probability of 1e-4, so that a change of all random numbers
raises a false alarm three times in a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sbmlgrad.model.functions import DISTRIBUTIONS
from sbmlgrad.simulation.deterministic import quick_to_compile
from sbmlgrad.simulation.distributions import sample
from sbmlgrad.simulation.random import key, streams

ALARM = 1e-4
Fits = Callable[[np.ndarray, np.ndarray], bool]
N = 20_000

# The parameters as SBML has them, and scipy's distribution for them.
CASES: dict[str, list[tuple[tuple[float, ...], Any]]] = {
    "normal": [((3.0, 2.0), stats.norm(3, 2))],
    "uniform": [((-1.0, 4.0), stats.uniform(-1, 5))],
    "bernoulli": [((0.3,), stats.bernoulli(0.3))],
    "binomial": [((5.0, 0.3), stats.binom(5, 0.3)), ((200.0, 0.7), stats.binom(200, 0.7))],
    "cauchy": [((1.0, 2.0), stats.cauchy(1, 2))],
    "chisquare": [((1.0,), stats.chi2(1)), ((7.0,), stats.chi2(7))],
    "exponential": [((2.5,), stats.expon(scale=1 / 2.5))],
    "gamma": [((0.4, 3.0), stats.gamma(0.4, scale=3)), ((5.0, 0.5), stats.gamma(5, scale=0.5))],
    "laplace": [((-2.0, 0.5), stats.laplace(-2, 0.5))],
    "lognormal": [((0.5, 0.8), stats.lognorm(0.8, scale=np.exp(0.5)))],
    "poisson": [((0.7,), stats.poisson(0.7)), ((80.0,), stats.poisson(80))],
    "rayleigh": [((1.5,), stats.rayleigh(scale=1.5))],
}
BOUNDS = {"binomial": (1.0, 2.0), "bernoulli": (0.5, 2.0), "poisson": (1.0, 2.0)}


def drawn(name: str, parameters: tuple[float, ...], index: int = 1) -> np.ndarray:
    """One number for each of many trajectories, as the simulation draws them."""
    kind = next(kind for kind, distribution in enumerate(DISTRIBUTIONS) if distribution.name == name)
    return np.asarray(_many(kind, index, len(parameters))(jnp.asarray(parameters)))


@cache
def _many(kind: int, index: int, count: int) -> Any:
    stream = streams(1).drawing

    def one(parameters: Any, trajectory: Any) -> Any:
        return sample(key(stream, trajectory, jnp.uint32(0)), kind, index, tuple(parameters[i] for i in range(count)))

    def all_of_them(parameters: Any) -> Any:
        return jax.vmap(partial(one, parameters))(jnp.arange(N, dtype=jnp.uint32))

    return jax.jit(all_of_them, compiler_options=quick_to_compile())


def follows(values: np.ndarray, law: Any, fits: Fits, low: float = -np.inf, high: float = np.inf) -> bool:
    """Whether values come from the law between bounds, which belong to it."""
    if hasattr(law.dist, "pmf"):
        numbers = np.arange(1000)
        chances = np.where((numbers >= low) & (numbers <= high), law.pmf(numbers), 0.0)
        return fits(np.bincount(values.astype(int), minlength=1000), chances / chances.sum())
    below, above = law.cdf([low, high])
    return bool(stats.kstest((law.cdf(values) - below) / (above - below), "uniform").pvalue > ALARM)


def test_all_distributions_are_here() -> None:
    assert list(CASES) == [distribution.name for distribution in DISTRIBUTIONS]
    for distribution in DISTRIBUTIONS:
        for parameters, law in CASES[distribution.name]:
            assert len(parameters) == distribution.parameters
            centre = law.median() if distribution.name == "cauchy" else law.mean()
            assert distribution.mean(*parameters) == pytest.approx(centre)


@pytest.mark.parametrize("name", CASES)
def test_numbers_follow_their_distribution(name: str, fits: Fits) -> None:
    for parameters, law in CASES[name]:
        assert follows(drawn(name, parameters), law, fits)


SLOW = ("chisquare", "gamma", "poisson")  # to compile


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_numbers_stay_within_their_bounds(name: str, fits: Fits) -> None:
    """Between quantiles in a tail, where nothing but these bounds would keep them."""
    for parameters, law in CASES[name][:1]:
        low, high = BOUNDS.get(name, (law.ppf(0.8), law.ppf(0.95)))
        values = drawn(name, (*parameters, low, high))
        assert low <= values.min() <= values.max() <= high
        assert follows(values, law, fits, low, high)


def test_each_place_has_its_own_number() -> None:
    one, two, again = (drawn("normal", (0.0, 1.0), index) for index in (1, 2, 1))
    np.testing.assert_array_equal(one, again)
    assert stats.pearsonr(one, two).pvalue > ALARM


def test_bounds_that_nothing_reaches_give_no_number() -> None:
    kind = [distribution.name for distribution in DISTRIBUTIONS].index("uniform")
    bounds = tuple(jnp.float64(value) for value in (0, 1, 2, 3))
    assert np.isnan(sample(key(streams(1).drawing, jnp.uint32(0), jnp.uint32(0)), kind, 1, bounds))


def test_the_comparison_sees_small_differences(fits: Fits) -> None:
    random = np.random.default_rng(0)
    assert follows(random.normal(3, 2, N), stats.norm(3, 2), fits)
    assert not follows(random.normal(3.1, 2, N), stats.norm(3, 2), fits)
    assert follows(random.poisson(5, N), stats.poisson(5), fits)
    assert not follows(random.poisson(5.1, N), stats.poisson(5), fits)
    assert not follows(random.binomial(50, 0.1, N), stats.poisson(5), fits)
