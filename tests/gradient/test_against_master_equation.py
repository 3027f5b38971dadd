"""Gradient estimators against the derivatives of the chemical master equation (see conftest.py).

Seeds are fixed. Comparisons allow three standard errors beyond the bias that an estimator may have, or reject
below a probability of 1e-3 or 1e-4; a change of all random numbers would fail about one test in fifty runs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SbmlgradError
from sbmlgrad.gradient.catalogue import ESTIMATORS, named_estimator
from sbmlgrad.gradient.estimator import Estimate, Estimator, Task
from sbmlgrad.gradient.observables import Moment
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.gradient.straight_through import StraightThrough
from sbmlgrad.network import ReactionNetwork, discretise

BIAS = 0.03  # of an estimator that is not exact, as a share of the derivative
AT_OBSERVATION = ("straight_through_plain", "propensity_straight_through")  # right for averages over time only
DRAWN = [name for name in ESTIMATORS if name not in ("exact", *AT_OBSERVATION)]


def bias(name: str) -> float:
    """What an estimator may be off by, as a share of the derivative."""
    return 0.0 if ESTIMATORS[name].unbiased else BIAS


@cache
def problem_of(case: Any) -> Problem:
    """Made once for each case, so that nothing is compiled twice."""
    species = case.network.species
    return differentiable(case.network, case.parameters, [*species, *(Moment(s, s) for s in species)])


def estimate(
    problem: Problem, values: Any, times: np.ndarray, n: int, seed: int, estimator: Estimator | str
) -> Estimate:
    chosen = named_estimator(estimator) if isinstance(estimator, str) else estimator
    return chosen.estimate(problem, Task(values, times, n, seed))


def run(case: Any, name: str, n: int, seed: int = 1) -> Estimate:
    """Means and second moments of all species at the case's time, and their derivatives."""
    return estimate(problem_of(case), case.values, np.array([case.time]), n, seed, name)


@pytest.mark.parametrize("name", DRAWN)
def test_values_and_derivatives_are_those_of_the_master_equation(case: Any, name: str) -> None:
    """Within 3.9 standard errors (1e-4 in each of 150 comparisons), and 3 % beyond that where a bias is allowed."""
    result = run(case, name, n=200_000)
    assert np.all(np.abs(result.values[:, 0] - case.moments) < 4 * result.values_stderr[:, 0])
    ratio = result.derivatives[..., 0] / case.derivatives
    error = result.stderr[..., 0] / np.abs(case.derivatives)
    assert error.max() < (0.002 if name in ("auto", "controlled_score") else 0.02)
    assert np.all(np.abs(ratio - 1) < bias(name) + np.maximum(3.9 * error, 1e-9)), ratio


def test_the_exact_estimator_is_exact(case: Any) -> None:
    result = run(case, "exact", n=1)
    np.testing.assert_allclose(result.values[:, 0], case.moments, rtol=1e-7)
    np.testing.assert_allclose(result.derivatives[..., 0], case.derivatives, rtol=1e-7)
    off = np.abs(result.derivatives[..., 0] - case.derivatives)
    assert np.all(off <= result.stderr[..., 0] + 1e-9 * np.abs(case.derivatives))
    assert "states" in result.note


# ---- standard errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n"), [("score", 5000), ("controlled_score", 5000), ("alternative_path", 5000), ("straight_through", 2000)]
)
def test_errors_in_standard_errors_are_standard_normal(cases: list[Any], name: str, n: int) -> None:
    """Twenty seeds of each case: by Kolmogorov and Smirnov, and by their sum of squares, at 1e-3 each.

    Straight-through has so few trajectories that its bias is below its noise. All cases are pooled, but each
    parameter and each moment of the first species stands for itself, because those of one run are correlated.
    """
    pools: dict[tuple[int, int], list[float]] = {}
    for case in cases:
        species = len(case.network.species)
        for result in (run(case, name, n, seed) for seed in range(20)):
            off = result.derivatives[..., 0] - case.derivatives
            for parameter in range(len(case.values)):
                for moment, function in enumerate((0, species)):
                    error = result.stderr[parameter, function, 0]
                    if error > 1e-9:  # some derivatives are exact, see below
                        pools.setdefault((parameter, moment), []).append(off[parameter, function] / error)
    for key, z in pools.items():
        assert len(z) >= 80
        assert stats.kstest(z, "norm").pvalue > 1e-3, key
        assert 5e-4 < stats.chi2.cdf(np.sum(np.square(z)), len(z)) < 1 - 5e-4, key


def test_a_birth_at_a_constant_rate_has_an_exact_derivative(cases: list[Any]) -> None:
    """E X = k T: the generator sees d/dk = T in every trajectory."""
    birth = cases[0]
    result = run(birth, "straight_through", n=100)
    np.testing.assert_allclose(result.derivatives[0, 0, 0], birth.time, rtol=1e-12)
    assert result.stderr[0, 0, 0] < 1e-12


# ---- several times, initial amounts, observables -------------------------------------------------------


@pytest.mark.parametrize("times", [np.linspace(0, 3.5, 71), np.array([0.0, 1.0, 3.5])], ids=["many", "few"])
@pytest.mark.parametrize("name", DRAWN)
def test_looking_more_often_changes_no_derivative(name: str, times: np.ndarray) -> None:
    """Birth and death from 0, E X = k/g (1 - e^-gt), at all times of one run."""
    k, g = 10.0, 1.0
    net = ReactionNetwork(
        np.array([[1, -1]]), lambda x, p: jnp.stack([p["k"], p["g"] * x[0]]), x0=[0], parameters={"k": k, "g": g}
    )
    result = estimate(differentiable(net, ["g", "k"]), [g, k], times, 20_000, 3, name)
    decay = np.exp(-g * times)
    exact = np.array([k * (times * decay / g - (1 - decay) / g**2), (1 - decay) / g])
    assert result.derivatives.shape == (2, 1, len(times))
    np.testing.assert_array_equal(result.derivatives[:, 0, 0], 0)
    off = np.abs(result.derivatives[:, 0] - exact)
    assert np.all(off <= bias(name) * np.abs(exact) + 4.5 * result.stderr[:, 0]), off / np.maximum(np.abs(exact), 1e-9)


def test_a_window_that_reaches_the_start_is_no_window(cases: list[Any]) -> None:
    case = cases[3]
    target = differentiable(case.network, case.parameters)
    times = np.array([1.0, 2.0, case.time])
    full, windowed, short = (
        estimate(target, case.values, times, 500, 1, StraightThrough(window)) for window in (np.inf, 5.0, 0.5)
    )
    np.testing.assert_array_equal(full.derivatives, windowed.derivatives)
    assert np.all(full.derivatives != short.derivatives)


def test_estimates_are_the_same_for_the_same_seed(cases: list[Any]) -> None:
    for name in ("auto", "score", "straight_through", "coupled_fd", "alternative_path"):
        one, two, other = (run(cases[3], name, 600, seed) for seed in (5, 5, 6))
        np.testing.assert_array_equal(one.derivatives, two.derivatives)
        np.testing.assert_array_equal(one.stderr, two.stderr)
        assert np.any(one.derivatives != other.derivatives)


@pytest.mark.parametrize("name", ["auto", "straight_through", "coupled_fd", "alternative_path", "exact"])
def test_initial_amounts(name: str, models_dir: Path) -> None:
    """d E X / d X(0) = e^-gt for birth and death, beside the derivatives by rates."""
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml").with_parameters({"k": 10, "g": 1, "X": 30})
    target = differentiable(discretise(model), ["X", "k", "g"])
    time = 1.0
    result = estimate(target, [30, 10, 1], np.array([time]), 50_000, 1, name)
    decay = np.exp(-time)
    exact = np.array([decay, 1 - decay, -30 * time * decay + 10 * (time * decay - 1 + decay)])
    error = result.stderr[:, 0, 0]
    assert np.all(np.abs(result.derivatives[:, 0, 0] - exact) < 0.01 * np.abs(exact) + 4 * error)


@pytest.mark.parametrize("name", ["controlled_score", "coupled_fd", "alternative_path"])
def test_rates_are_shifted_by_their_own_values_beside_initial_amounts(models_dir: Path, name: str) -> None:
    """The part that rates play, where the first parameter is an initial amount: what `auto` asks of an estimator."""
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml").with_parameters({"k": 10, "g": 1, "X": 30})
    target = differentiable(discretise(model), ["X", "k", "g"]).at_fixed_counts([1, 2])
    result = estimate(target, [30, 10, 1], np.array([1.0]), 20_000, 1, name)
    decay = np.exp(-1.0)
    exact = np.array([1 - decay, -30 * decay + 10 * (2 * decay - 1)])
    error = result.stderr[:, 0, 0]
    assert np.all(np.abs(result.derivatives[:, 0, 0] - exact) < 0.01 * np.abs(exact) + 4 * error)
    assert np.all(error < 0.03 * np.abs(exact))


def test_the_score_function_refuses_initial_amounts(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    target = differentiable(discretise(model), ["X"])
    with pytest.raises(SbmlgradError, match="no derivative for initial amounts.*straight_through") as error:
        estimate(target, [0.0], np.array([1.0]), 10, 1, "score")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*DRAWN, "exact"])
def test_observables_that_hold_a_parameter(name: str, models_dir: Path) -> None:
    """d E [X] / d volume = -E X / volume**2 where no rate depends on the volume."""
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml").with_parameters({"k": 10, "g": 1, "cell": 2})
    target = differentiable(discretise(model, ["[X]", "X"]), ["cell", "k"])
    result = estimate(target, [2.0, 10.0], np.array([1.0]), 50_000, 1, name)
    mean = 10 * -np.expm1(-1.0)
    exact = np.array([[-mean / 4, 0.0], [mean / 20, mean / 10]])
    error = result.stderr[:, :, 0]
    assert np.all(np.abs(result.derivatives[:, :, 0] - exact) < 0.01 * np.abs(exact) + 4 * error + 1e-12)


@pytest.mark.parametrize("name", [*DRAWN, "exact"])
def test_absorption_leaves_no_holes(name: str) -> None:
    """Pure death to extinction, E X = 5 e^-gt: rates of zero must not become nan."""
    net = ReactionNetwork(np.array([[-1]]), lambda x, p: p["g"] * x, x0=[5], parameters={"g": 1.0})
    times = np.array([0.5, 2.0, 40.0])
    result = estimate(differentiable(net, ["g"]), [1.0], times, 50_000, 1, name)
    assert np.all(np.isfinite(result.derivatives))
    assert np.all(np.isfinite(result.stderr))
    exact = -5 * times * np.exp(-times)
    error = result.stderr[0, 0]
    assert np.all(np.abs(result.derivatives[0, 0] - exact) < bias(name) * np.abs(exact) + 4 * error + 1e-12)


@pytest.mark.parametrize("name", ["score", "coupled_fd", "alternative_path", "straight_through"])
def test_values_that_make_a_rate_negative_are_refused(models_dir: Path, name: str) -> None:
    """The model was made at positive values, and its rates were then known to be positive."""
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml").with_parameters({"k": 10, "g": 1, "X": 0})
    target = differentiable(discretise(model), ["k", "g"])
    with pytest.raises(PropensityError, match="its propensity is -"):
        estimate(target, [1.0, -1.0], np.array([1.0]), 10, 1, name)


def test_a_single_trajectory_has_no_standard_error(cases: list[Any]) -> None:
    result = run(cases[1], "straight_through", n=1)
    assert np.all(np.isfinite(result.derivatives))
    assert np.all(np.isnan(result.stderr))
