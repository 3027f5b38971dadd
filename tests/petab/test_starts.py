"""Where searches start: within the bounds, spread evenly, by priors where there are any, or as handed in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.petab.objective import coordinates
from sbmlgrad.petab.problem import Problem
from sbmlgrad.petab.starts import check_starts, draw_starts

Write = Callable[..., Path]


def drawn(problem: Problem, count: int, seed: int = 0) -> np.ndarray:
    return draw_starts(problem.definition, coordinates(problem.definition), count, seed)


def test_starts_are_spread_evenly_on_the_scale_of_each_parameter(decay: Problem) -> None:
    starts = drawn(decay, 40)
    k_slow, s = np.log10(starts[:, 0]), starts[:, 1]  # from 0.01 to 10, and from 0 to 10
    for place in ((k_slow + 2) / 3, s / 10):
        assert sorted(np.floor(40 * place)) == list(range(40))  # one in each of 40 equal parts


def test_the_seed_decides(decay: Problem) -> None:
    np.testing.assert_array_equal(drawn(decay, 3), drawn(decay, 3))
    assert not np.array_equal(drawn(decay, 3), drawn(decay, 3, seed=1))


def test_priors_of_starts_are_followed(version1: Write) -> None:
    parameters = (
        "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate | initializationPriorType | "
        "initializationPriorParameters\nk_slow | log10 | 0.01 | 10 | 0.25 | 1 | parameterScaleNormal | -1;0.3\n"
        "s | lin | 0 | 10 | 1 | 1 | uniform | 2;3"
    )
    starts = drawn(sg.read_petab(version1(parameters=parameters)), 200)
    assert np.all((starts[:, 1] >= 2) & (starts[:, 1] <= 3))
    # of a Latin hypercube the distance is below 1/200
    assert stats.kstest(np.log10(starts[:, 0]), stats.norm(-1, 0.3).cdf).statistic < 0.01


def test_a_parameter_without_bounds_or_prior_is_said(version2: Write) -> None:
    problem = sg.read_petab(version2())
    row = problem.definition.parameters["k"]
    object.__setattr__(row, "upper", np.inf)
    with pytest.raises(FitError, match="'k' has no bounds to draw a start from"):
        drawn(problem, 2)


def test_starts_that_are_handed_in_must_fit(decay: Problem) -> None:
    parameters = coordinates(decay.definition)
    np.testing.assert_array_equal(check_starts([0.1, 2.0], parameters, "problem"), [[0.1, 2.0]])
    with pytest.raises(FitError, match=r"problem: starts have the shape \(3,\); give one row for each, with a column"):
        check_starts([0.1, 2.0, 3.0], parameters, "problem")
    with pytest.raises(FitError, match="start 1 has 's' at 20, outside its bounds 0:10"):
        check_starts([[0.1, 2.0], [0.1, 20.0]], parameters, "problem")
