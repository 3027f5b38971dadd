"""Densities of noise: each one integrates to 1."""

import math
from typing import get_args

import pytest
from scipy.integrate import quad

from sbmlgrad.petab.definition import Distribution, Scale
from sbmlgrad.petab.likelihood import log_density, residual


@pytest.mark.parametrize("scale", get_args(Scale))
@pytest.mark.parametrize("distribution", get_args(Distribution))
def test_noise_is_a_density_of_the_measured_value(distribution: Distribution, scale: Scale) -> None:
    def density(measured: float) -> float:
        return math.exp(log_density(measured, residual(measured, 3.0, 0.1, scale), 0.1, distribution, scale))

    below, above = (quad(density, *ends, limit=500)[0] for ends in ((1e-9, 3.0), (3.0, 200.0)))
    assert below + above == pytest.approx(1.0, abs=1e-6)
    assert below == pytest.approx(0.5, abs=1e-6)  # the simulated value is the median


def test_the_logarithm_of_nothing_is_infinitely_far() -> None:
    assert residual(1.0, 0.0, 0.5, "log") == -math.inf
    assert math.isnan(residual(1.0, -1.0, 0.5, "log10"))
