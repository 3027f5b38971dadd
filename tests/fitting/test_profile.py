"""Confidence limits by the profile of a likelihood, against roots found by scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm
from scipy.optimize import OptimizeResult, brentq, minimize_scalar
from scipy.stats import chi2, linregress, poisson, t

import sbmlgrad as sg
from sbmlgrad.fitting.parameters import choose
from sbmlgrad.fitting.profile import USUAL, Side, Surface, limits
from sbmlgrad.likelihood.likelihood import Evaluation

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


def test_few_numbers_never_end_in_an_error() -> None:
    """One trajectory of few molecules, of which the data hardly tell two rates."""
    random, times = np.random.default_rng(0), np.linspace(0.5, 5, 11)
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


def test_limits_see_states_that_the_maximum_does_not_visit() -> None:
    """Messages that nobody sees make proteins. There may be many, or few that make much: the counts at the maximum are
    others than those at the limit, where a filter of matrices finds the fall of the likelihood."""
    jumps = [[1, -1, 0, 0], [0, 0, 1, -1]]
    cells = sg.ReactionNetwork(
        jumps,
        lambda x, p: (p["k"] + 0 * x[0], x[0], p["b"] * x[0], 0.5 * x[1]),
        [0, 0],
        {"k": 5.0, "b": 0.2},
        species=("M", "P"),
    )
    counts = [0, 1, 1, 2, 2, 1, 3, 2, 2, 3, 1, 2, 2, 3, 2, 1, 2, 2, 3, 2]
    data = pd.DataFrame({"time": 0.5 * np.arange(1, 21), "P": counts})
    fit = sg.fit(cells, data, {"k": (0.05, 12.0), "b": (0.005, 20.0)})

    def likelihood(k: float, b: float) -> float:
        """On messages up to 24 and proteins up to 8; what leaves is lost."""
        states = np.array([(m, p) for m in range(25) for p in range(9)])
        generator = np.zeros((len(states), len(states)))
        for i, (m, p) in enumerate(states):
            for step, rate in zip(zip(*jumps, strict=True), (k, m, b * m, 0.5 * p), strict=True):
                after = np.flatnonzero(np.all(states == (m + step[0], p + step[1]), axis=1))
                generator[i, i] -= rate
                generator[i, after] += rate
        moves, law, total = expm(0.5 * generator), np.eye(len(states))[0], 0.0
        for count in counts:
            law = (law @ moves) * (states[:, 1] == count)
            total += np.log(law.sum())
            law = law / law.sum()
        return float(total)

    k = fit.parameters.loc["k", "ci_lower"]
    assert 0.1 < k < 4.0
    found = minimize_scalar(lambda b: -likelihood(k, np.exp(b)), bounds=(-2, 2.5), options={"xatol": 0.01})
    assert fit.goodness["log_likelihood"] + found.fun == pytest.approx(HALF, rel=0.06)


class Curved:
    """A ridge that bends: on the way that the curvature at its top points to, the fall at 1.96 standard errors is that
    of a parabola, but the ridge is higher there, and falls so far farther out."""

    parameters = choose({"x": (-50.0, 50.0), "y": (-50.0, 50.0)}, {"x": 0.0, "y": 0.0}, {}, "test")

    def at(self, point: np.ndarray) -> Evaluation:
        x, y = point
        off = y - _BEND * x**2
        along = 0.5 * x**2 - 0.3 * (x / _USUAL) ** 4
        slope = x - 1.2 * x**3 / _USUAL**4
        return Evaluation(-along - 0.5 * off**2, np.array([-slope + 2 * _BEND * x * off, -off]))

    def near(self, begin: np.ndarray, held: int | None = None, unit: np.ndarray | float = 1.0) -> OptimizeResult:
        point = np.array([begin[0], _BEND * begin[0] ** 2])  # x is held
        return OptimizeResult(x=point, fun=-self.at(point).value, walled=False)

    def widen(self, point: np.ndarray, rough: bool = False) -> bool:
        return False


_USUAL = np.sqrt(2 * HALF)
_BEND = np.sqrt(0.6) / _USUAL**2


def test_a_ridge_that_bends_is_followed() -> None:
    climb = Curved()
    surface = Surface(climb, np.zeros(2), 0.0, np.eye(2), (USUAL, USUAL))
    assert climb.at(np.array([_USUAL, 0.0])).value == pytest.approx(-HALF)
    limit = brentq(lambda x: climb.at(np.array([x, _BEND * x**2])).value + HALF, _USUAL, 2.4)
    assert limit > 1.08 * _USUAL
    assert limits(surface)[1][0] == pytest.approx(limit, rel=0.03)


class Unsearched(Curved):
    """The same, which is not to be searched."""

    def near(self, begin: np.ndarray, held: int | None = None, unit: np.ndarray | float = 1.0) -> OptimizeResult:
        raise AssertionError("searched")


def test_the_curvature_at_the_end_spares_a_search() -> None:
    limit = brentq(lambda x: Curved().at(np.array([x, _BEND * x**2])).value + HALF, _USUAL, 2.4)
    surface = Surface(Unsearched(), np.zeros(2), 0.0, np.eye(2), (USUAL, USUAL), widens=True)
    assert limits(surface)[1][0] == pytest.approx(limit, rel=0.03)


def test_a_curvature_that_misleads_is_searched_from() -> None:
    """Where the data told less than they do, Newton's steps would go too far."""
    limit = brentq(lambda x: Curved().at(np.array([x, _BEND * x**2])).value + HALF, _USUAL, 2.4)
    surface = Surface(Curved(), np.zeros(2), 0.0, np.diag([1.0, 30.0]), (USUAL, USUAL), widens=True)
    assert limits(surface)[1][0] == pytest.approx(limit, rel=0.03)
    with pytest.raises(AssertionError, match="searched"):
        limits(Surface(Unsearched(), np.zeros(2), 0.0, np.diag([1.0, 30.0]), (USUAL, USUAL), widens=True))


class Plateau(Curved):
    """Where the other parameter is far off, next to nothing tells the way."""

    def at(self, point: np.ndarray) -> Evaluation:
        x, y = point
        off = y - _BEND * x**2
        far = np.exp(-(off**2) / 2)
        return Evaluation(-0.5 * x**2 - 30 * (1 - far), np.array([-x + 60 * _BEND * x * off * far, -30 * off * far]))


def test_a_plateau_is_no_maximum() -> None:
    surface = Surface(Plateau(), np.zeros(2), 0.0, np.diag([1.0, 1 / 30]), (USUAL, USUAL), widens=True)
    side = Side(surface, 0, 1.0)
    assert abs(Plateau().at(np.array([1.0, 7.0])).score[1]) < 1e-3
    assert side._nearest(np.array([1.0, 7.0])).fun == pytest.approx(0.5)
