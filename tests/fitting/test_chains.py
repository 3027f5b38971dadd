"""Chains against laws that are known, and what tells how good they are, against autoregressive series.

Tolerances are four Monte Carlo standard errors, by the effective numbers of draws: a false alarm in 16,000.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from sbmlgrad.fitting.chains import draw_chains, effective_size, split_rhat

COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.5]])
INVERSE = np.linalg.inv(COVARIANCE)


def normal(point: np.ndarray) -> float:
    return -0.5 * float(point @ INVERSE @ point)


def banana(point: np.ndarray) -> float:
    """The second number is normal around the square of the first."""
    return -0.5 * float(point[0] ** 2 + ((point[1] - point[0] ** 2) / 0.5) ** 2)


def noisy(point: np.ndarray) -> float:
    """An estimate of the density whose mean is right; its logarithm varies by 0.8."""
    return normal(point) + float(NOISE.normal(-0.32, 0.8))


NOISE = np.random.default_rng(7)


@pytest.mark.parametrize("density", [normal, noisy])
def test_a_normal_law_is_drawn(density) -> None:
    start = 0.05 * np.eye(2)  # far too narrow
    found = draw_chains(density, np.array([1.0, -1.0]), start, draws=1500, warmup=400, chains=4, seed=1)
    flat = found.points.reshape(-1, 2)
    for index in range(2):
        own = found.points[:, :, index]
        size, sd = effective_size(own), np.sqrt(COVARIANCE[index, index])
        assert size > 300
        assert split_rhat(own) < 1.05
        assert abs(flat[:, index].mean()) < 4 * sd / np.sqrt(size)
        assert flat[:, index].std() == pytest.approx(sd, rel=4 / np.sqrt(2 * size))
    assert np.corrcoef(flat.T)[0, 1] == pytest.approx(0.6 / np.sqrt(0.5), abs=0.1)
    again = draw_chains(normal, np.zeros(2), start, draws=20, warmup=20, chains=2, seed=1)
    twice = draw_chains(normal, np.zeros(2), start, draws=20, warmup=20, chains=2, seed=1)
    assert np.array_equal(again.points, twice.points)


def test_a_bent_law_is_drawn() -> None:
    found = draw_chains(banana, np.zeros(2), np.eye(2), draws=3000, warmup=600, chains=4, seed=2)
    flat = found.points.reshape(-1, 2)
    size = [effective_size(found.points[:, :, index]) for index in range(2)]
    assert min(size) > 200
    assert abs(flat[:, 0].mean()) < 4 / np.sqrt(size[0])
    assert flat[:, 1].mean() == pytest.approx(1.0, abs=4 * np.sqrt(2.25 / size[1]))
    assert flat[:, 1].std() == pytest.approx(1.5, rel=0.15)


def test_edges_are_kept() -> None:
    """Half a normal law."""
    half = lambda x: -0.5 * float(x[0] ** 2) if x[0] > 0 else -np.inf  # noqa: E731
    found = draw_chains(half, np.array([1.0]), np.eye(1), draws=2000, warmup=300, chains=4, seed=3)
    assert found.points.min() > 0
    size = effective_size(found.points[:, :, 0])
    sd = np.sqrt(1 - 2 / np.pi)
    assert found.points.mean() == pytest.approx(np.sqrt(2 / np.pi), abs=4 * sd / np.sqrt(size))


def test_a_density_that_changes_on_the_way_is_asked_again() -> None:
    """Until a point is accepted below -1 the density is thought to be 0 there."""
    seen = [False]

    def arrived(point: np.ndarray) -> bool:
        first, seen[0] = not seen[0], True
        return first

    def density(point: np.ndarray) -> float:
        return norm.logpdf(point[0], loc=0.0 if seen[0] else 3.0)

    found = draw_chains(density, np.array([0.0]), np.eye(1), 2000, 400, 4, seed=4, arrived=arrived)
    assert abs(found.points.mean()) < 4 / np.sqrt(effective_size(found.points[:, :, 0]))


def test_effective_draws_of_an_autoregressive_series() -> None:
    """Its autocorrelation time is (1 + a) / (1 - a); the estimate varies by a tenth."""
    random, a = np.random.default_rng(0), 0.8
    draws = np.zeros((4, 5000))
    draws[:, 0] = random.normal(size=4) / np.sqrt(1 - a**2)
    for step in range(1, 5000):
        draws[:, step] = a * draws[:, step - 1] + random.normal(size=4)
    assert effective_size(draws) == pytest.approx(draws.size * (1 - a) / (1 + a), rel=0.25)
    assert effective_size(random.normal(size=(4, 1000))) == pytest.approx(4000, rel=0.25)
    assert split_rhat(draws) < 1.02
    assert split_rhat(draws + 5 * np.arange(4)[:, None]) > 2
    assert split_rhat(np.linspace(0, 1, 400).reshape(1, -1).repeat(4, axis=0)) > 1.5  # chains that drift alike
