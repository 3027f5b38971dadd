"""Values around rate equations: log-likelihoods by scipy around the closed form, and derivatives by differences."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.fitting.measured import with_noise
from sbmlgrad.likelihood.equations import MeasuredEquations
from sbmlgrad.likelihood.records import Trajectories
from sbmlgrad.model.derive import with_constants, with_observables
from sbmlgrad.model.elements import symbol
from sbmlgrad.simulation.deterministic import prepare_equations
from sbmlgrad.simulation.path import Settings

TIMES = np.array([0.5, 1.0, 2.5, 4.0])
VALUES = np.array([[[3.0, 8.0, np.nan, 14.0]], [[5.0, 6.0, 12.0, 13.0]]])
POINT = np.array([10.0, 0.5, 0.3])  # k, g and s


def level() -> np.ndarray:
    return POINT[0] / POINT[1] * (1 - np.exp(-POINT[1] * TIMES)) * 0.9


def likelihood(models_dir: Path, noise: str) -> MeasuredEquations:
    """Of y, 0.9 times the molecules that are born at k and lost at g each."""
    model = with_constants(sg.read_sbml(models_dir / "birth_death" / "model.xml"), {"s": POINT[2]})
    model = with_observables(model, {"y": 0.9 * symbol("X")})
    model, laws = with_noise(model, {"y": noise}, {"y"})
    data = Trajectories(("y",), TIMES, VALUES, np.zeros_like(VALUES))
    names = ("y", *(law.parameter for law in laws.values() if law.parameter))
    equations, quantities = prepare_equations(model, None, names)
    indices = [list(equations.quantities).index(name) for name in ("k", "g", "s")]
    return MeasuredEquations(equations, quantities, indices, data, laws, Settings(relative=1e-9))


@pytest.mark.parametrize(
    ("noise", "log_density"),
    [
        ("s", lambda y, m: stats.norm.logpdf(y, m, 0.3)),
        ("normal(s + 0.1*y)", lambda y, m: stats.norm.logpdf(y, m, 0.3 + 0.1 * m)),
        ("lognormal(s)", lambda y, m: stats.lognorm.logpdf(y, 0.3, scale=m)),
        ("laplace(s*2)", lambda y, m: stats.laplace.logpdf(y, m, 0.6)),
        ("poisson", lambda y, m: stats.poisson.logpmf(y, m)),
        ("negative_binomial(s/0.1)", lambda y, m: stats.nbinom.logpmf(y, 3, 3 / (3 + m))),
    ],
)
def test_likelihoods_and_scores(models_dir: Path, noise: str, log_density: object) -> None:
    found = likelihood(models_dir, noise)
    found.prepare(POINT)
    while found.widen(POINT):
        assert "laplace" in noise
    assert callable(log_density)
    expected = np.nansum(log_density(VALUES[:, 0], level()))
    here = found.evaluate(POINT)
    assert here.value == pytest.approx(expected, rel=2e-6)
    for index, step in enumerate(1e-4 * np.diag(POINT)):
        slope = (found.evaluate(POINT + step).value - found.evaluate(POINT - step).value) / (2 * step[index])
        assert here.score[index] == pytest.approx(slope, rel=1e-4, abs=1e-5)
    assert found.size == 7
    assert len(found.expected(POINT).predicted) == 7


def test_a_noise_that_is_none(models_dir: Path) -> None:
    with pytest.raises(FitError, match=r"the noise of 'y' is -?\d\S* at time 2.5 with the start values"):
        likelihood(models_dir, "10 - y").prepare(POINT)
    with pytest.raises(FitError, match="is 0; it must be positive"):
        likelihood(models_dir, "0")
