"""Snapshots measured with noise: closed forms of Poisson numbers, of which a part or a multiple is seen."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, poisson

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.fitting.measured import with_noise
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.likelihood.noisy_cells import NoisyCells
from sbmlgrad.likelihood.records import Snapshots
from sbmlgrad.model.derive import with_constants
from sbmlgrad.simulation.prepare import discretised

VALUES = np.array([4.0, 0.7, 0.6])  # k, g and p
TIMES, SEEN = np.array([0.5, 0.5, 0.5, 2.0]), np.array([[2.0], [1.0], [2.0], [4.0]])


def likelihood(models_dir: Path, noise: str) -> NoisyCells:
    model = with_constants(sg.read_sbml(models_dir / "birth_death" / "model.xml"), {"p": VALUES[2]})
    model, laws = with_noise(model, {"X": noise}, {"X"})
    names = ("X", *(law.parameter for law in laws.values() if law.parameter))
    problem = differentiable(discretised(model, names), ("k", "g", "p"))
    return NoisyCells(problem, Snapshots.of(("X",), TIMES, SEEN), laws)


def exact(noise: str, values: np.ndarray) -> float:
    k, g, p = values
    mean = k / g * (1 - np.exp(-g * TIMES))
    if noise.startswith("binomial"):  # a part of a Poisson number is one, too
        return float(np.sum(poisson.logpmf(SEEN[:, 0], p * mean)))
    x = np.arange(60)
    return float(np.sum(np.log(norm.pdf(SEEN, x, p + 0.1 * x)[:, None] @ poisson.pmf(x, mean[:, None])[..., None])))


@pytest.mark.parametrize("noise", ["binomial(p)", "p + 0.1*X"])
def test_likelihood_and_score(models_dir: Path, noise: str) -> None:
    found = likelihood(models_dir, noise)
    found.prepare(VALUES)
    while found.widen(VALUES):
        pass
    here = found.evaluate(VALUES)
    assert here.value == pytest.approx(exact(noise, VALUES), abs=1e-6)
    for index, step in enumerate(1e-4 * np.eye(3)):
        slope = (exact(noise, VALUES + step) - exact(noise, VALUES - step)) / 2e-4
        assert here.score[index] == pytest.approx(slope, rel=1e-4, abs=1e-5)
    expected = found.expected(VALUES)
    mean = VALUES[0] / VALUES[1] * (1 - np.exp(-VALUES[1] * 0.5))
    if noise == "binomial(p)":
        assert expected.predicted[:2] == pytest.approx([0.6 * mean, np.sqrt(0.6 * mean)], rel=1e-6)
    else:
        own = 0.36 + 2 * 0.06 * mean + 0.01 * (mean + mean**2)  # of (p + 0.1 X)^2
        assert expected.predicted[:2] == pytest.approx([mean, np.sqrt(mean + own)], rel=1e-6)


def test_a_noise_that_is_none(models_dir: Path) -> None:
    with pytest.raises(FitError, match="the noise of 'X' is 0 where X = 0"):
        likelihood(models_dir, "p*X").prepare(VALUES)
