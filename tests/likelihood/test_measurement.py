"""Laws of measured values against scipy's."""

from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from sbmlgrad.likelihood.measurement import COUNTS, LAWS, central_moments, log_density, valid

SIGNAL, PARAMETER = 7.0, 0.4


def peer(law: str) -> Any:
    """Scipy's distribution of a value."""
    return {
        "normal": stats.norm(SIGNAL, PARAMETER),
        "lognormal": stats.lognorm(PARAMETER, scale=SIGNAL),
        "laplace": stats.laplace(SIGNAL, PARAMETER),
        "poisson": stats.poisson(SIGNAL),
        "binomial": stats.binom(int(SIGNAL), PARAMETER),
        "negative_binomial": stats.nbinom(PARAMETER, PARAMETER / (PARAMETER + SIGNAL)),
    }[law]


@pytest.mark.parametrize("law", LAWS)
def test_densities_and_moments_are_scipys(law: str) -> None:
    values = np.array([0.0, 1, 3, 7, 9]) if law in COUNTS else np.array([0.5, 3.3, 7.0, 9.1])
    other = peer(law)
    expected = other.logpmf(values) if law in COUNTS else other.logpdf(values)
    np.testing.assert_allclose(log_density(law, values, SIGNAL, PARAMETER), expected, rtol=1e-10)
    mean, variance, skew, kurtosis = (float(v) for v in other.stats(moments="mvsk"))
    moments = [float(v) for v in central_moments(law, SIGNAL, PARAMETER)]
    expected_moments = [mean, variance, skew * variance**1.5, (kurtosis + 3) * variance**2]
    np.testing.assert_allclose(moments, expected_moments, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_derivatives_are_differences(law: str) -> None:
    value, point = 3.0 if law in COUNTS else 3.3, (SIGNAL, PARAMETER)
    for index in (0, 1):

        def at(shift: float, index: int = index) -> float:
            moved = [p + shift * (i == index) for i, p in enumerate(point)]
            return float(log_density(law, value, *moved))

        slope = jax.grad(lambda m, p: log_density(law, value, m, p), argnums=index)(*point)
        assert float(slope) == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("law", LAWS)
def test_what_cannot_be_measured_has_no_probability_and_no_slope_that_is_no_number(law: str) -> None:
    impossible = {
        "lognormal": (-1.0, 2.0),
        "poisson": (1.0, 0.0),
        "binomial": (3.0, 2.0),
        "negative_binomial": (1.0, 0.0),
    }
    if law in impossible:
        value, signal = impossible[law]
        assert log_density(law, value, signal, 0.5) == -np.inf
        assert np.isfinite(jax.grad(lambda p: log_density(law, value, signal, p))(0.5))
    if law in ("poisson", "negative_binomial"):
        assert log_density(law, 0.0, 0.0, 0.5) == 0
    assert not valid(law, -1.0) or law == "poisson"
    assert valid(law, 0.5)
    assert bool(valid(law, 1.5)) == (law != "binomial")
