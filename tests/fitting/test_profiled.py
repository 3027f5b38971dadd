"""Profiles of fits, against likelihoods and sums of squares in closed form, searched by scipy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, chi2, norm, poisson

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import FitError

HALF = chi2.ppf(0.95, 1) / 2


def birth_death() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"] + 0 * x[0], p["g"] * x[0]), [0], {"k": 3.0, "g": 1.0}, species=("X",)
    )


def decay() -> sg.ReactionNetwork:
    return sg.ReactionNetwork([[-1]], lambda x, p: (p["g"] * x[0],), [30], {"g": 0.5}, species=("X",))


def crossings(function: Callable[[float], float], best: float, fall: float) -> tuple[float, float]:
    """Where a function has fallen that far from its value at ``best``, below and above."""

    def left(value: float) -> float:
        return function(best) - function(value) - fall

    return brentq(left, best * 1e-2, best), brentq(left, best, best * 1e2)


def test_decaying_counts_have_the_limits_of_their_binomial_law() -> None:
    """Four cells of 30 molecules each, of which each is left with probability exp(-g t)."""
    times, counts = np.repeat([1.0, 3.0], 2), np.array([17, 20, 4, 7])
    fit = sg.fit(decay(), pd.DataFrame({"time": times, "X": counts}), {"g": (1e-3, 50.0)})

    def likelihood(g: float) -> float:
        return float(np.sum(binom.logpmf(counts, 30, np.exp(-g * times))))

    best = minimize_scalar(lambda g: -likelihood(g), bounds=(0.1, 2), method="bounded", options={"xatol": 1e-9}).x
    profile = fit.profile()
    limits, points = profile.limits.loc["g"], profile.table
    assert limits["estimate"] == pytest.approx(best, rel=1e-4)
    assert (limits["ci_lower"], limits["ci_upper"]) == pytest.approx(crossings(likelihood, best, HALF), rel=2e-3)
    assert limits["threshold"] == pytest.approx(-HALF)
    assert list(points.columns) == ["parameter", "value", "log_likelihood_difference", "g"]
    exact = [likelihood(g) - likelihood(best) for g in points["value"]]
    assert points["log_likelihood_difference"].to_numpy() == pytest.approx(exact, abs=1e-6)
    assert points["value"].iloc[0] < limits["ci_lower"] < limits["ci_upper"] < points["value"].iloc[-1]


def test_the_other_parameters_are_fitted_again(tmp_path: Path) -> None:
    """Poisson counts of birth and death, which allow that nothing ever dies; and what is done with a profile."""
    random, times = np.random.default_rng(3), np.repeat([0.5, 3.0], 15)
    counts = random.poisson(3 * (1 - np.exp(-times)))
    fit = sg.fit(birth_death(), pd.DataFrame({"time": times, "X": counts}), {"k": None, "g": (0.01, 20.0)})

    def loss(k: float, g: float) -> float:
        return -float(np.sum(poisson.logpmf(counts, np.exp(k) / g * (1 - np.exp(-g * times)))))

    def highest(g: float) -> float:
        found = minimize_scalar(loss, args=(g,), bounds=(-3, 7), method="bounded", options={"xatol": 1e-10})
        return -float(found.fun)

    best = float(fit.parameters.loc["g", "estimate"])
    profile = fit.profile("g", points=8)
    limits = profile.limits.loc["g"]
    assert list(profile.limits.index) == ["g"]
    assert highest(best) - highest(0.01) < HALF
    assert limits["ci_lower"] == pytest.approx(0.01)  # the bound of the search
    upper = brentq(lambda g: highest(best) - highest(g) - HALF, best, 20.0)
    assert limits["ci_upper"] == pytest.approx(upper, rel=5e-3)
    exact = [highest(g) - highest(best) for g in profile.table["value"]]
    assert profile.table["log_likelihood_difference"].to_numpy() == pytest.approx(exact, abs=1e-4)
    taken = fit.with_profile(profile)
    assert taken.parameters.loc["g", "ci_upper"] == limits["ci_upper"]
    assert taken.parameters.loc["k", "ci_upper"] == fit.parameters.loc["k", "ci_upper"]
    taken.report(tmp_path / "report")
    kept = pd.read_csv(tmp_path / "report" / "profile.csv")
    assert len(kept) == len(profile.table)
    assert "profile.csv" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    profile.plot(tmp_path / "profile.svg")
    assert (tmp_path / "profile.svg").is_file()


def test_least_squares_are_profiled_in_units_of_their_errors(models_dir: Path) -> None:
    """Means with standard errors around a curve: the sum of squares rises by the quantile of a chi-square."""
    times = np.linspace(0.5, 6.0, 8)
    seen = 10 * np.exp(-0.4 * times) + np.array([0.6, -0.8, 0.3, 0.5, -0.7, 0.2, 0.4, -0.3])
    data = pd.DataFrame({"time": times, "y-mean": seen, "y-sem": 0.8})
    fit = sg.fit(
        models_dir / "birth_death" / "model.xml",
        data,
        {"a": (1.0, 100.0), "b": (0.01, 10.0)},
        observables={"y": "a*exp(-b*time)"},
        method="ode",
    )

    def squares(b: float) -> float:
        shape = np.exp(-b * times)
        a = float(shape @ seen / (shape @ shape))
        return -float(np.sum(np.square((seen - a * shape) / 0.8)))

    best = float(fit.parameters.loc["b", "estimate"])
    profile = fit.profile(["b"], points=6)
    limits = profile.limits.loc["b"]
    assert (limits["ci_lower"], limits["ci_upper"]) == pytest.approx(crossings(squares, best, 2 * HALF), rel=5e-3)
    assert limits["threshold"] == pytest.approx(2 * HALF, rel=1e-6)
    exact = [squares(best) - squares(b) for b in profile.table["value"]]
    assert profile.table["loss_difference"].to_numpy() == pytest.approx(exact, abs=1e-3)


def test_simulated_moments_are_profiled_with_the_same_random_numbers() -> None:
    """Means of 50 cells, whose variance is the mean over 50 where molecules are Poisson.

    The tolerance is four standard deviations of what simulation adds, a tenth of a standard error of the data each.
    """
    random, times = np.random.default_rng(5), np.array([0.5, 1.0, 2.0, 4.0])
    level = 1 - np.exp(-times)
    seen = random.poisson(50 * 3 * level) / 50
    fit = sg.fit(birth_death(), pd.DataFrame({"time": times, "X-mean": seen, "X-n": 50}), {"k": None}, seed=1)
    profile = fit.profile(points=6)
    best, limits = float(fit.parameters.loc["k", "estimate"]), profile.limits.loc["k"]
    variance = best * level / 50

    def squares(k: float) -> float:
        return -float(np.sum(np.square(seen - k * level) / variance))

    error = float(fit.parameters.loc["k", "stderr"])
    lower, upper = crossings(squares, best, 2 * HALF)
    assert abs(limits["ci_lower"] - lower) < 0.4 * error
    assert abs(limits["ci_upper"] - upper) < 0.4 * error
    assert "same random numbers" in profile.note


def test_what_cannot_be_profiled_says_so() -> None:
    fit = sg.fit(decay(), pd.DataFrame({"time": [1.0, 1.0, 1.0], "X": [17, 20, 19]}), {"g": None})
    with pytest.raises(FitError, match="'q' was not fitted, so it has no profile; there is 'g'"):
        fit.profile("q")
    with pytest.raises(FitError, match="points: 2 are too few"):
        fit.profile(points=2)


def test_the_command_takes_limits_from_profiles(models_dir: Path, tmp_path: Path) -> None:
    """A parameter that moves means in proportion, which makes squares a parabola around the estimate."""
    data = pd.DataFrame({"time": [1, 2, 4], "y-mean": [2.3, 4.1, 8.9], "y-sem": 0.5})
    data.to_csv(tmp_path / "means.csv", index=False)
    what = [models_dir / "birth_death" / "model.xml", tmp_path / "means.csv", "-p", "a=0.1:100", "--method", "ode"]
    outputs = ["--json", tmp_path / "fit.json", "--report", tmp_path / "report"]
    command = ["fit", *what, "--observable", "y=a*time", "--profile", *outputs]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "fit.json").read_text())["parameters"]["a"]
    assert found["ci_upper"] - found["estimate"] == pytest.approx(norm.ppf(0.975) * found["stderr"], rel=0.02)
    assert found["estimate"] - found["ci_lower"] == pytest.approx(norm.ppf(0.975) * found["stderr"], rel=0.02)
    points = pd.read_csv(tmp_path / "report" / "profile.csv")
    assert list(points.columns) == ["parameter", "value", "loss_difference", "a"]
