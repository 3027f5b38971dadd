"""Profiles and draws of fitted problems, against likelihoods in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import brentq
from scipy.stats import norm

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import FitError
from sbmlgrad.petab.problem import Problem

Write = Callable[..., Path]
QUANTILE = 1.959963984540054**2


def test_limits_are_where_the_likelihood_has_fallen(decay: Problem) -> None:
    """Of 8 s and 8 s exp(-2 k), measured at 8 and 3 with a noise of 0.5: how far the point is from a ray."""
    fit = decay.fit(starts=2, seed=1)
    limits = fit.profile(points=6).limits

    def excess(k: float) -> float:
        ratio = math.exp(-2 * k)
        return (8 * ratio - 3) ** 2 / (1 + ratio**2) / 0.25 - QUANTILE

    best = math.log(8 / 3) / 2
    expected = [brentq(excess, 0.1, best), brentq(excess, best, 3.0)]
    assert list(limits.loc["k_slow", ["ci_lower", "ci_upper"]]) == pytest.approx(expected, rel=0.01)
    width = math.sqrt(QUANTILE) * 0.5 / 8
    assert list(limits.loc["s", ["ci_lower", "ci_upper"]]) == pytest.approx([1 - width, 1 + width], rel=0.01)
    with_limits = fit.with_profile(fit.profile("s", points=4))
    assert with_limits.parameters["ci_lower"]["s"] == pytest.approx(1 - width, rel=0.01)
    assert with_limits.parameters["ci_lower"]["k_slow"] == fit.parameters["ci_lower"]["k_slow"]


def test_draws_have_priors_of_values_on_a_logarithmic_scale(version1: Write) -> None:
    """Within four standard errors of the effective number of draws of the posterior on a grid."""
    parameters = (
        "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate | objectivePriorType | "
        "objectivePriorParameters\nk_slow | log10 | 0.01 | 10 | 0.25 | 1 | normal | 0.5;0.3\n"
        "s | lin | 0 | 10 | 1 | 0 | |"
    )
    observables = "observableId | observableFormula | noiseFormula\na | s * A | 3"
    posterior = sg.read_petab(version1(parameters=parameters, observables=observables)).fit(starts=1).sample(1000)
    grid = np.linspace(0.01, 3.0, 3000)
    weights = norm.pdf(grid, 0.5, 0.3) * norm.pdf(8 * np.exp(-2 * grid), 3, 3)
    weights /= weights.sum()
    mean = float(weights @ grid)
    row = posterior.summary.loc["k_slow"]
    error = math.sqrt(float(weights @ (grid - mean) ** 2) / row["ess"])
    assert row["ess"] > 150
    assert row["mean"] == pytest.approx(mean, abs=4 * error)
    wrong = float((weights / grid) @ grid / (weights / grid).sum())  # were the prior one of the logarithm
    assert abs(wrong - mean) > 4 * error
    assert "priors of the problem" in posterior.note


def test_a_fit_by_molecules_has_none(decay: Problem) -> None:
    fit = decay.fit([[0.4, 1.0]], method="ssa", n=100)
    with pytest.raises(FitError, match="profiles and draws are of fits by rate equations; fit with method 'ode'"):
        fit.profile()
    with pytest.raises(FitError, match="profiles and draws are of fits by rate equations"):
        fit.sample()


def test_the_command_takes_profiles_and_draws(version1: Write, tmp_path: Path) -> None:
    output, folder = tmp_path / "fit.json", tmp_path / "out"
    arguments = ["petab", str(version1()), "--fit", "--starts", "1", "--profile", "--sample", "16"]
    result = CliRunner().invoke(main, [*arguments, "--json", str(output), "-o", str(folder)])
    assert result.exit_code == 0, result.output
    assert {"samples.csv", "profile.csv"} <= {path.name for path in (folder / "report").iterdir()}
    for options, said in (
        ([*arguments[:4], "2", "--sample", "16"], "name one of them"),
        ([*arguments, "--method", "ssa", "--json", str(output)], "--profile: is of fits by rate equations"),
        (["petab", str(version1()), "--profile"], "--profile: is of a fit"),
        ([*arguments, "--resume", "--json", str(output)], "--resume: name the file"),
    ):
        result = CliRunner().invoke(main, options)
        assert result.exit_code == 2
        assert said in result.output
