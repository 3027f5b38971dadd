"""Confidence limits by the profile of a likelihood, against roots found by scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2, linregress, poisson, t

import sbmlgrad as sg

HALF = chi2.ppf(0.95, 1) / 2


def network() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"] + 0 * x[0], p["g"] * x[0]), [0], {"k": 3.0, "g": 1.0}, species=("X",)
    )


def test_few_cells_have_limits_that_are_not_symmetric() -> None:
    counts, level = np.array([0, 1, 0]), 1 - np.exp(-2.0)
    fit = sg.fit(network(), pd.DataFrame({"time": 2.0, "X": counts}), {"k": None})

    def likelihood(k: float) -> float:
        return float(np.sum(poisson.logpmf(counts, k * level)))

    best = counts.mean() / level
    lower, upper = (
        brentq(lambda k: likelihood(best) - likelihood(k) - HALF, *span) for span in ((1e-3, best), (best, 20.0))
    )
    row = fit.parameters.loc["k"]
    assert row["estimate"] == pytest.approx(best, rel=1e-3)
    assert row["ci_lower"] == pytest.approx(lower, rel=0.08)  # 2 % of the root of the fall
    assert row["ci_upper"] == pytest.approx(upper, rel=0.03)
    assert row["ci_upper"] / row["estimate"] < 0.8 * row["estimate"] / row["ci_lower"]


def test_the_other_parameters_follow() -> None:
    random, times = np.random.default_rng(0), np.repeat([0.5, 3.0], 20)
    counts = random.poisson(3 * (1 - np.exp(-times)))
    fit = sg.fit(network(), pd.DataFrame({"time": times, "X": counts}), {"k": None, "g": None})

    def profile(g: float) -> float:
        def loss(k: float) -> float:
            return -float(np.sum(poisson.logpmf(counts, np.exp(k) / g * (1 - np.exp(-g * times)))))

        return -float(minimize_scalar(loss, bounds=(-3, 7), method="bounded", options={"xatol": 1e-9}).fun)

    best = fit.parameters.loc["g", "estimate"]
    upper = brentq(lambda g: profile(best) - profile(g) - HALF, best, 90.0)
    assert fit.parameters.loc["g", "ci_upper"] == pytest.approx(upper, rel=0.08)


def test_what_has_no_limit_says_so() -> None:
    """At stationarity alone, the counts tell the ratio of the rates."""
    data = pd.DataFrame({"time": 40.0, "X": [3, 2, 4, 3, 1, 5]})
    fit = sg.fit(network(), data, {"k": None, "g": None})
    assert fit.parameters["ci_upper"].iloc[0] > 100 * fit.parameters["estimate"].iloc[0]
    assert not fit.converged or not np.isfinite(fit.parameters["stderr"].iloc[0])


def test_a_bound_is_as_far_as_limits_go() -> None:
    """Three cells leave the rate open between a third and three times; the search was told to stay above 0.4."""
    counts = np.array([0, 1, 0])
    fit = sg.fit(network(), pd.DataFrame({"time": 2.0, "X": counts}), {"k": (0.3, 50.0)}, init={"k": 1.0})
    assert fit.parameters.loc["k", "ci_lower"] == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(2))
def test_few_numbers_never_end_in_an_error(seed: int) -> None:
    """One trajectory of few molecules, of which the data hardly tell two rates."""
    random, times = np.random.default_rng(seed), np.linspace(0.5, 10, 21)
    data = pd.DataFrame({"time": times, "X": random.poisson(2.0, len(times))})
    fit = sg.fit(network(), data, {"k": None, "g": None})
    table = fit.parameters
    assert np.all(table["ci_lower"] <= table["estimate"])
    assert np.all(table["ci_upper"] >= table["estimate"])


def test_few_numbers_have_the_limits_of_least_squares(models_dir: Path) -> None:
    """A straight line through eight numbers, whose noise is estimated too: Student's limits, as scipy has them."""
    times = np.arange(1.0, 9.0)
    seen = 3.0 - 0.5 * times + np.array([0.4, -0.1, -0.6, 0.3, 0.5, -0.7, 0.1, 0.2])
    line = linregress(times, seen)
    fit = sg.fit(
        models_dir / "birth_death" / "model.xml",
        pd.DataFrame({"time": times, "y": seen}),
        {"a": (-50, 50), "b": (-20, 20), "s": (0.01, 10)},
        observables={"y": "a + b*time"},
        noise={"y": "s"},
        init={"a": 1.0, "b": 0.1, "s": 1.0},
        method="ode",
    )
    expected = {"a": (line.intercept, line.intercept_stderr), "b": (line.slope, line.stderr)}
    for name, (estimate, stderr) in expected.items():
        row = fit.parameters.loc[name]
        assert row["estimate"] == pytest.approx(estimate, abs=1e-4)
        assert row["stderr"] == pytest.approx(stderr, rel=1e-3)
        width = t.ppf(0.975, len(times) - 2) * stderr
        assert row["ci_upper"] - row["estimate"] == pytest.approx(width, rel=0.05)  # to 2 % of the fall's root
        assert row["estimate"] - row["ci_lower"] == pytest.approx(width, rel=0.05)
