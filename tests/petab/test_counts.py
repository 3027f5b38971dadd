"""Noise of counts, an extension of PEtab: probabilities against scipy's, gradients against differences, and fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import approx_fprime

import sbmlgrad as sg
from sbmlgrad.errors import PetabError
from sbmlgrad.petab.counts import COUNTS, counted
from sbmlgrad.petab.definition import Distribution
from sbmlgrad.petab.objective import Objective, coordinates
from sbmlgrad.simulation.path import Settings

Write = Callable[..., Path]

LAWS: dict[Distribution, Callable[[Any, Any], Any]] = {
    "poisson": lambda m, _: stats.poisson(m),
    "binomial": lambda m, p: stats.binom(m, p),
    "negative-binomial": lambda m, size: stats.nbinom(size, size / (size + m)),
}


def test_every_distribution_is_compared() -> None:
    assert LAWS.keys() == COUNTS.keys()


@pytest.mark.parametrize("distribution", LAWS)
def test_probabilities_are_those_of_scipy(distribution: Distribution) -> None:
    measured = np.arange(8)
    for signal, noise in ((5.0, 0.3), (7.0, 0.9), (2.0, 0.5)):
        found = counted(distribution, measured, np.full(8, signal), np.full(8, noise))
        law = LAWS[distribution](signal, noise)
        assert found.density == pytest.approx(law.logpmf(measured), rel=1e-10)
        assert found.residuals == pytest.approx((law.mean() - measured) / law.std(), rel=1e-10)


@pytest.mark.parametrize("distribution", LAWS)
def test_derivatives_are_those_of_the_probabilities(distribution: Distribution) -> None:
    """And the information of the mean of Poisson counts and of negative binomial ones is the variance of the score."""
    measured, signal, noise = np.arange(2000), 6.5, 0.4
    found = counted(distribution, measured, np.full(2000, signal), np.full(2000, noise))
    for count in (0, 2, 5):
        one = np.array([count])
        slope = approx_fprime([signal, noise], lambda x, y=one: counted(distribution, y, x[:1], x[1:]).density[0], 1e-7)
        assert [found.by_value[count], found.by_noise[count]] == pytest.approx(slope, rel=1e-4, abs=1e-6)
    if distribution != "binomial":
        chances = LAWS[distribution](signal, noise).pmf(measured)
        assert float(chances @ found.by_value**2) == pytest.approx(found.of_value[0], rel=1e-6)


HEAD = "observableId | observableFormula | noiseFormula | noiseDistribution\n"
OBSERVABLES = HEAD + (
    "p | s * A | 1 | poisson\nb | A + 4 | detected | binomial\n"
    "n | s * A | size | negative-binomial\ng | A | 0.5 | normal"
)
PARAMETERS = "s | lin | 0.1 | 10 | 1.5 | 1\ndetected | lin | 0.1 | 1 | 0.4 | 1\nsize | log10 | 0.1 | 100 | 3 | 1"
TABLES_1 = {
    "conditions": "conditionId\nonly",
    "observables": OBSERVABLES,
    "measurements": "observableId | simulationConditionId | time | measurement\n"
    + "\n".join(f"{name} | only | {time} | {value}" for name in "pbng" for time, value in ((0, 7), (1, 4), (2, 1))),
    "parameters": "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
    f"k | log10 | 0.01 | 10 | 0.25 | 1\n{PARAMETERS}",
}
TABLES_2 = {
    "observables": OBSERVABLES,
    "measurements": TABLES_1["measurements"].replace("simulationConditionId", "experimentId").replace("only", "once"),
    "experiments": "experimentId | time | conditionId\nonce | 0 |",
    "conditions": "conditionId | targetId | targetValue",
    "parameters": "parameterId | lowerBound | upperBound | nominalValue | estimate\nk | 0.01 | 10 | 0.25 | true\n"
    "s | 0.1 | 10 | 1.5 | true\ndetected | 0.1 | 1 | 0.4 | true\nsize | 0.1 | 100 | 3 | true",
}


def by_hand() -> float:
    times, y = np.array([0, 1, 2]), np.array([7, 4, 1])
    a = 8 * np.exp(-0.25 * times)
    binomial = [math.lgamma(n + 1) - math.lgamma(c + 1) - math.lgamma(n - c + 1) for n, c in zip(a + 4, y, strict=True)]
    binomial = np.array(binomial) + y * math.log(0.4) + (a + 4 - y) * math.log(0.6)
    parts = [stats.poisson(1.5 * a).logpmf(y), binomial, LAWS["negative-binomial"](1.5 * a, 3).logpmf(y)]
    return float(np.sum(parts) + stats.norm(a, 0.5).logpdf(y).sum())


def test_problems_of_both_versions_have_their_likelihood(version1: Write, version2: Write) -> None:
    assert sg.read_petab(version1(**TABLES_1)).evaluate().llh == pytest.approx(by_hand(), rel=1e-7)
    assert sg.read_petab(version2(**TABLES_2)).evaluate().llh == pytest.approx(by_hand(), rel=1e-7)


def test_the_gradient_is_that_of_the_likelihood(version1: Write) -> None:
    problem = sg.read_petab(version1(**TABLES_1))
    parameters = coordinates(problem.definition)
    objective = Objective(problem._evaluator, parameters, dict(problem.nominal), Settings(relative=1e-10))
    point = parameters.to_scale(parameters.start)
    found = objective(point)
    assert found.llh == pytest.approx(problem.evaluate().llh, rel=1e-9)

    def loss(x: np.ndarray) -> float:
        values = dict(zip(parameters.names, parameters.from_scale(x).tolist(), strict=True))
        return -problem.evaluate(values).llh

    steps = np.eye(len(point)) * 1e-4
    slopes = [(loss(point + step) - loss(point - step)) / 2e-4 for step in steps]
    assert found.gradient == pytest.approx(slopes, rel=1e-5, abs=1e-6)
    assert np.all(np.linalg.eigvalsh(found.curvature) > 0)


def test_a_fit_of_counts_is_where_their_sum_is_met(version1: Write) -> None:
    """The likeliest scale of Poisson means is the sum of the counts over that of the signals."""
    counts = {0: 12, 1: 11, 2: 4, 3: 6}
    problem = version1(
        conditions="conditionId\nonly",
        observables=HEAD + "p | s * A | 1 | poisson",
        measurements="observableId | simulationConditionId | time | measurement\n"
        + "\n".join(f"p | only | {time} | {value}" for time, value in counts.items()),
        parameters="parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
        "s | log10 | 0.1 | 10 | 1 | 1",
    )
    fit = sg.read_petab(problem).fit(2)
    signal = 8 * np.exp(-0.5 * np.array(list(counts)))
    row = fit.parameters.loc["s"]
    expected = sum(counts.values()) / signal.sum()
    assert row["estimate"] == pytest.approx(expected, rel=1e-6)
    width = 1 / math.sqrt(sum(counts.values()))  # of the logarithm
    assert row["ci_upper"] == pytest.approx(expected * math.exp(1.96 * width), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observables": OBSERVABLES.replace("poisson", "poison")}, "poison"),
        ({"measurements": TABLES_1["measurements"].replace("b | only | 1 | 4", "b | only | 1 | 4.5")}, "4.5 in row 5"),
        ({"measurements": TABLES_1["measurements"].replace("p | only | 2 | 1", "p | only | 2 | -1")}, "-1 in row 3"),
        (
            {"parameters": TABLES_1["parameters"].replace("0.4", "1.5")},
            "'b': the noise is 1.5 .* be a probability above 0",
        ),
        ({"parameters": TABLES_1["parameters"].replace("100 | 3", "100 | -3")}, "'n': the noise is -3 .* be positive"),
        ({"observables": OBSERVABLES.replace("s * A | 1", "s * | 1")}, "observableFormula|not a formula|mismatched"),
    ],
)
def test_everything_else_is_checked(version1: Write, changes: dict[str, str], said: str) -> None:
    with pytest.raises(PetabError, match=said):
        sg.read_petab(version1(**{**TABLES_1, **changes})).evaluate()


def test_what_version_2_says_of_counts_is_checked(version2: Write) -> None:
    with pytest.raises(PetabError, match="poison"):
        sg.read_petab(version2(**{**TABLES_2, "observables": OBSERVABLES.replace("poisson", "poison")}))
    measurements = TABLES_2["measurements"].replace("p | once | 0 | 7", "p | once | 0 | 9.5")
    with pytest.raises(PetabError, match="9.5 in row 1"):
        sg.read_petab(version2(**{**TABLES_2, "measurements": measurements}))


def test_counts_have_no_logarithmic_scale(version1: Write) -> None:
    observables = "observableId | observableFormula | noiseFormula | noiseDistribution | observableTransformation\n"
    tables = {**TABLES_1, "observables": observables + "p | s * A | 1 | poisson | log10"}
    tables["measurements"] = "observableId | simulationConditionId | time | measurement\np | only | 0 | 7"
    with pytest.raises(PetabError, match="counts are not compared as log10; leave observableTransformation out"):
        sg.read_petab(version1(**tables))
