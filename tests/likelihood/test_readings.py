"""Where measured values lead particles, and the moments of what is measured of several states, against numpy."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.fitting.measured import with_noise
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.likelihood.readings import Readings
from sbmlgrad.model.derive import with_constants
from sbmlgrad.simulation.prepare import discretised

P, X = 0.6, np.array([0.0, 3.0, 5.0, 12.0])


def readings(models_dir: Path, noise: str) -> tuple[Readings, tuple[float, ...]]:
    model = with_constants(sg.read_sbml(models_dir / "birth_death" / "model.xml"), {"p": P})
    model, laws = with_noise(model, {"X": noise}, {"X"}) if noise else (model, {})
    names = ("X", *(law.parameter for law in laws.values() if law.parameter))
    problem = differentiable(discretised(model, names), ("k", "g"))
    return Readings.of(problem, ("X",), laws), tuple(problem.at(np.array([4.0, 0.7])).coefficients)


@pytest.mark.parametrize(
    ("noise", "mean", "variance"),
    [
        ("", X, np.full(4, 0.25)),
        ("binomial(p)", P * X, P * (1 - P) * X),
        ("poisson", X, X),
        ("p + 0.1*X", X, (P + 0.1 * X) ** 2),
    ],
)
def test_moments_over_states(models_dir: Path, noise: str, mean: np.ndarray, variance: np.ndarray) -> None:
    """The mean and the variance of a mixture of equal shares."""
    own, coefficients = readings(models_dir, noise)
    signal = own.signal((jnp.asarray(X),), coefficients, (1, 1, 4))
    found = np.asarray(own.moments(signal, jnp.full((1, 1, 1, 1), 0.25)))[:, 0, 0]
    np.testing.assert_allclose(found[:2], [mean.mean(), variance.mean() + mean.var()], rtol=1e-12)


def test_values_lead_to_the_signal_that_they_speak_for(models_dir: Path) -> None:
    """Of 6 molecules detected with a chance of 0.6, there are 10 about, with a variance of 10 * 0.24 / 0.36."""
    own, coefficients = readings(models_dir, "binomial(p)")
    signal = own.signal((jnp.asarray(X),), coefficients, (1, 1, 4))
    aims, spreads = own.aims(signal, jnp.full((1, 1, 1, 1), 6.0), jnp.zeros((1, 1, 1, 1)))
    np.testing.assert_allclose(aims, 10.0)
    np.testing.assert_allclose(spreads, 10 * 0.24 / 0.36 * np.ones_like(spreads))
    nothing = own.aims(signal, jnp.full((1, 1, 1, 1), jnp.nan), jnp.zeros((1, 1, 1, 1)))[0]
    assert np.all(np.isnan(nothing))
