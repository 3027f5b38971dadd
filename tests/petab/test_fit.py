"""Fits of small problems whose optimum is known, and of a published one."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.petab.problem import Problem

Write = Callable[..., Path]


def test_the_optimum_is_found_from_every_start(decay: Problem) -> None:
    # s A(0) is 8 at time 0, and 3 after 2 units of time: s = 1, k_slow = ln(8/3) / 2; nothing is left of chi2
    fit = decay.fit(starts=4, seed=1)
    assert fit.converged
    assert list(fit.parameters["estimate"]) == pytest.approx([math.log(8 / 3) / 2, 1.0], rel=1e-4)
    assert list(fit.starts["objective"]) == pytest.approx([fit.objective] * 4, abs=1e-5)
    assert fit.chi2 == pytest.approx(0.0, abs=1e-6)
    assert fit.llh == pytest.approx(-2 * math.log(0.5 * math.sqrt(2 * math.pi)), abs=1e-6)


def test_standard_errors_are_those_of_the_information(decay: Problem) -> None:
    fit = decay.fit(starts=1, seed=1)
    k, s = fit.parameters["estimate"]
    jacobian = np.array([[0.0, 8.0], [-2 * 8 * s * math.exp(-2 * k), 8 * math.exp(-2 * k)]]) / 0.5
    errors = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    assert fit.parameters["stderr"]["s"] == pytest.approx(errors[1], rel=1e-3)
    relative = errors[0] / k  # on the logarithmic scale
    expected = k * np.exp(np.array([-1.0, 1.0]) * 1.959964 * relative)
    assert list(fit.parameters.loc["k_slow", ["ci_lower", "ci_upper"]]) == pytest.approx(list(expected), rel=1e-3)


def test_starts_can_be_handed_in_and_the_nominal_values_be_one(decay: Problem) -> None:
    fit = decay.fit(starts=[[0.02, 5.0], [9.0, 0.1]], nominal=True)
    assert len(fit.starts) == 3
    assert fit.starts["evaluations"].sort_index()[0] <= fit.starts["evaluations"].max()


def test_a_second_fit_compiles_nothing(decay: Problem, caplog: pytest.LogCaptureFixture) -> None:
    import jax

    decay.fit(starts=1, seed=3)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        decay.fit(starts=3, seed=4, tolerance=1e-9)
    assert [record.message for record in caplog.records if "Finished XLA" in record.message] == []


def test_priors_pull_the_estimate(version1: Write) -> None:
    parameters = (
        "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate | objectivePriorType | "
        "objectivePriorParameters\nk_slow | log10 | 0.01 | 10 | 0.25 | 0 | |\n"
        "s | lin | 0 | 10 | 1 | 1 | normal | 2;0.1"
    )
    fit = sg.read_petab(version1(parameters=parameters)).fit(starts=2)
    slopes = np.array([8.0, 8 * math.exp(-0.5)]) / 0.5
    told, weight = np.array([8.0, 3.0]) / 0.5, 1 / 0.1**2
    assert fit.parameters["estimate"]["s"] == pytest.approx(
        (slopes @ told + 2 * weight) / (slopes @ slopes + weight), rel=1e-5
    )
    assert fit.parameters["stderr"]["s"] == pytest.approx((slopes @ slopes + weight) ** -0.5, rel=1e-4)
    assert fit.log_posterior == pytest.approx(-fit.objective, abs=1e-6)


def test_what_stands_at_a_bound_or_is_not_told_is_said(version1: Write) -> None:
    parameters = (
        "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
        "k_slow | log10 | 0.01 | 0.2 | 0.1 | 1\ns | lin | -99 | 99 | 1 | 1\nt | lin | -99 | 99 | 1 | 1"
    )
    observables = "observableId | observableFormula | noiseFormula\na | (s + t) * A | 0.5"
    fit = sg.read_petab(version1(parameters=parameters, observables=observables)).fit(starts=2)
    assert fit.parameters["at_bound"]["k_slow"]
    assert fit.parameters["estimate"]["k_slow"] <= 0.2
    assert any("k_slow stands at a bound" in text for text in fit.warnings)
    assert any("s is not determined by these data" in text for text in fit.warnings)


def test_starts_that_cannot_be_simulated_are_counted(version1: Write) -> None:
    observables = "observableId | observableFormula | noiseFormula\na | s * A | 5 - s"
    problem = sg.read_petab(version1(observables=observables))
    fit = problem.fit(starts=[[0.5, 1.0], [0.5, 8.0]])
    assert fit.starts["objective"].isna().sum() == 1
    assert any("1 of 2 starts could not be simulated" in text for text in fit.warnings)
    with pytest.raises(FitError, match="none of 1 starts could be simulated; the first: .*the noise is -3"):
        problem.fit(starts=[[0.5, 8.0]])


def test_what_cannot_be_fitted_is_said(version1: Write, decay: Problem) -> None:
    fixed = (
        "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
        "k_slow | log10 | 0.01 | 10 | 0.25 | 0\ns | lin | 0 | 10 | 1 | 0"
    )
    with pytest.raises(FitError, match="no parameter is to be estimated"):
        sg.read_petab(version1(parameters=fixed)).fit()
    with pytest.raises(FitError, match="0 starts are none"):
        decay.fit(starts=0)


@pytest.mark.slow
def test_the_published_optimum_is_found(data_dir: Path) -> None:
    path = data_dir / "petab" / "Boehm_JProteomeRes2014" / "Boehm_JProteomeRes2014.yaml"
    if not path.is_file():
        pytest.skip(f"no problem at {path}")
    assert sg.read_petab(path).fit(starts=10, seed=0).llh >= -138.2220
