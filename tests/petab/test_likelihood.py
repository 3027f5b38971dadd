"""Densities of noise: each one integrates to 1."""

import math
from typing import get_args

import numpy as np
import pytest
from scipy.integrate import quad

from sbmlgrad.petab.definition import Distribution, Scale
from sbmlgrad.petab.likelihood import told


@pytest.mark.parametrize("scale", get_args(Scale))
@pytest.mark.parametrize("distribution", ["normal", "laplace"])
def test_noise_is_a_density_of_the_measured_value(distribution: Distribution, scale: Scale) -> None:
    def density(measured: float) -> float:
        found = told(np.array([measured]), np.array([3.0]), np.array([0.1]), distribution, scale)
        return math.exp(found.density[0])

    below, above = (quad(density, *ends, limit=500)[0] for ends in ((1e-9, 3.0), (3.0, 200.0)))
    assert below + above == pytest.approx(1.0, abs=1e-6)
    assert below == pytest.approx(0.5, abs=1e-6)  # the simulated value is the median


def test_the_logarithm_of_nothing_is_infinitely_far() -> None:
    one, half = np.array([1.0, 1.0]), np.array([0.5, 0.5])
    assert told(one, np.array([0.0, 1.0]), half, "normal", "log").residuals.tolist() == [-math.inf, 0.0]
    assert np.isnan(told(one, np.array([-1.0, 1.0]), half, "normal", "log10").residuals).tolist() == [True, False]
