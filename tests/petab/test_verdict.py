"""Verdicts on residuals that fit, that are too large or too small, and that keep their sign."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sbmlgrad.petab.observe import Simulated
from sbmlgrad.petab.verdict import Verdict, judge

N = 60


def verdict_on(residuals: np.ndarray, estimated_noise: bool = False) -> Verdict:
    measurements = [SimpleNamespace(model="m", experiment="e", observable="a", time=float(row)) for row in range(N)]
    definition: Any = SimpleNamespace(
        observables={"a": SimpleNamespace(distribution="normal")}, measurements=measurements
    )
    noise_slopes = np.full((N, 2), float(estimated_noise))
    simulated = Simulated(np.zeros(N), np.ones(N), np.ones((N, 2)), noise_slopes)
    best: Any = SimpleNamespace(simulated=simulated, residuals=residuals, llh=-10.0)
    return judge(definition, best, None)


RESIDUALS = np.random.default_rng(5).normal(size=N)


def test_residuals_as_the_noise_has_them_are_no_contradiction() -> None:
    verdict = verdict_on(RESIDUALS)
    assert not verdict.poor
    assert verdict.goodness["dof"] == N - 2
    assert 0.001 < verdict.goodness["p_value"] < 0.999
    assert verdict.goodness["aic"] == pytest.approx(24.0)


@pytest.mark.parametrize(("factor", "said"), [(3.0, "larger than the noise allows"), (0.2, "smaller than the noise")])
def test_residuals_of_another_size_are_said(factor: float, said: str) -> None:
    verdict = verdict_on(factor * RESIDUALS)
    assert verdict.poor
    assert said in verdict.text
    assert np.isnan(verdict_on(factor * RESIDUALS, estimated_noise=True).goodness["p_value"])


def test_residuals_that_keep_their_sign_are_said_whatever_the_noise() -> None:
    verdict = verdict_on(np.sort(RESIDUALS), estimated_noise=True)
    assert verdict.poor
    assert "keep their sign" in verdict.text
