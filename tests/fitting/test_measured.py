"""Formulas of noise in fits: what scipy finds, and the one line for noise and values that do not go together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError

TIMES = np.linspace(0.25, 6, 24)


@pytest.fixture(scope="module")
def birth_death(models_dir: Path) -> sg.Model:
    return sg.read_sbml(models_dir / "birth_death" / "model.xml")


def test_the_noise_is_fitted_too(birth_death: sg.Model) -> None:
    def level(k: float, g: float) -> np.ndarray:
        return 2 * k / g * (1 - np.exp(-g * TIMES))

    truth = level(10, 0.5)
    table = pd.DataFrame({"time": TIMES, "y": truth * (1 + 0.1 * np.random.default_rng(3).normal(size=TIMES.size))})

    def loss(point: np.ndarray) -> float:
        m = level(*np.exp(point[:2]))
        return -float(np.sum(norm.logpdf(table["y"], m, np.exp(point[2]) * m)))

    best = minimize(loss, np.log([10, 0.5, 0.1]), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    fit = sg.fit(
        birth_death,
        table,
        {"k": None, "g": None, "s": (0.01, 1.0)},
        observables={"y": "2*X"},
        noise={"y": "s*y"},
        method="ode",
    )
    assert fit.converged
    assert fit.estimator == "ode"
    assert fit.goodness["log_likelihood"] == pytest.approx(-best.fun, abs=1e-4)
    assert fit.parameters["estimate"].to_numpy() == pytest.approx(np.exp(best.x), rel=1e-3)
    # the error of an sd from 24 numbers with two parameters, roughly
    assert fit.parameters.loc["s", "stderr"] == pytest.approx(
        fit.parameters.loc["s", "estimate"] / np.sqrt(48), rel=0.1
    )
    assert list(fit.measured["error"]) == pytest.approx(
        list(fit.parameters.loc["s", "estimate"] * fit.measured["predicted"])
    )


def test_a_likelihood_with_kinks(birth_death: sg.Model) -> None:
    """Laplace, against the best of five searches that need no slopes."""
    random = np.random.default_rng(2)
    level = 7 / 0.5 * (1 - np.exp(-0.5 * TIMES))
    table = pd.DataFrame({"time": TIMES, "X": level + random.laplace(0, 1, TIMES.size)})

    def loss(point: np.ndarray) -> float:
        k, g, b = np.exp(point)
        return float(np.sum(np.abs(table["X"] - k / g * (1 - np.exp(-g * TIMES)))) / b + TIMES.size * np.log(2 * b))

    starts = np.log([7, 0.5, 1]) + 0.1 * random.normal(size=(5, 3))
    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
    best = min((minimize(loss, s, method="Nelder-Mead", options=options) for s in starts), key=lambda found: found.fun)
    fit = sg.fit(birth_death, table, {"k": None, "g": None, "b": (0.1, 10)}, noise={"X": "laplace(b)"}, method="ode")
    assert fit.converged
    assert fit.goodness["log_likelihood"] == pytest.approx(-best.fun, abs=0.01)
    assert fit.parameters["estimate"].to_numpy() == pytest.approx(np.exp(best.x), rel=0.01)


def test_a_search_does_not_end_on_a_slope(birth_death: sg.Model) -> None:
    """From far off, log-normal values: a search that trusts its own curvature takes s = 0.21 for the best."""
    random, times = np.random.default_rng([16, 9]), np.linspace(0.1, 6.0, 60)
    table = pd.DataFrame({"time": times, "X": 20 * (1 - np.exp(-0.5 * times)) * np.exp(0.1 * random.normal(size=60))})
    start, bounds = {"k": 15.0, "g": 0.35, "s": 0.13}, {"k": None, "g": None, "s": (0.003, 3.0)}
    fit = sg.fit(birth_death, table, bounds, init=start, noise={"X": "lognormal(s)"}, method="ode")
    assert fit.converged
    assert not fit.warnings
    assert fit.parameters["estimate"].to_numpy() == pytest.approx([10.18, 0.4899, 0.09942], rel=1e-3)


VALUES = pd.DataFrame({"time": [0.0, 1, 2], "X": [1.0, 2, 3]})
MEANS = pd.DataFrame({"time": [0.0, 1, 2], "X-mean": [1.0, 2, 3], "X-sd": 1.0})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"noise": {"X": "0.1*X"}}, "the noise of 'X' is 0 at time 0 with the start values"),
        ({"noise": {"X": "0"}}, "noise of 'X': is 0; it must be positive"),
        ({"noise": {"X": "-1"}}, "noise of 'X': is -1; it must be positive"),
        ({"noise": {"Z": "1"}}, "noise of 'Z': there is nothing of that name to be measured"),
        ({"noise": {"X": "laplace"}}, "laplace needs a parameter"),
        ({"noise": {"X": "poisson(3)"}}, "poisson takes no parameter"),
        ({"noise": {"X": "sigma"}}, "uses 'sigma'"),
        ({"noise": {"X": "1 +"}}, "is no formula"),
        ({"noise": {"X": "poisson"}, "data": VALUES - [0, 2]}, "column 'X': -1 is not a whole number from 0 on"),
        ({"noise": {"X": "lognormal(1)"}, "data": VALUES - [0, 1]}, "column 'X': 0 is not a number above 0"),
        ({"noise": {"X": "1"}, "data": MEANS}, "column 'X-sd' says how exact 'X' is, and so does its noise"),
        ({"noise": {"[X]": "1"}}, "noise of '[X]': nothing in the data is called that"),
        (
            {"noise": {"X": "1"}, "method": "ssa", "loss": "moments"},
            "noise of 'X': is of single cells and trajectories",
        ),
        (
            {"noise": {"X": "poisson"}, "method": "ssa", "loss": "linear_noise"},
            "is of normal noise, and this is poisson",
        ),
        ({"noise": {"X": "X - 1"}, "method": "ssa", "data": VALUES[1:]}, "the noise of 'X' is -1 where X = 0"),
    ],
)
def test_what_does_not_go_together(birth_death: sg.Model, changes: Mapping[str, Any], problem: str) -> None:
    given: dict[str, Any] = {"data": VALUES, "method": "ode", **changes}
    with pytest.raises(SbmlgradError) as caught:
        sg.fit(birth_death, given.pop("data"), {"k": None}, **given)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_value_needs_a_noise(birth_death: sg.Model) -> None:
    table = VALUES.assign(**{"[X]": [1.0, 2, 3]})
    with pytest.raises(SbmlgradError, match=r"there is none of '\[X\]'; give one for each observable"):
        sg.fit(birth_death, table, {"k": None}, noise={"X": "1"}, method="ode")


def test_what_matters_beyond_a_bound_only_is_to_start_elsewhere(birth_death: sg.Model) -> None:
    table, seen = VALUES.rename(columns={"X": "y"}), {"y": "piecewise(X, X < top, top)"}
    bounds, init = {"k": None, "top": (1.0, 1e6)}, {"top": 1e5}
    with pytest.raises(SbmlgradError, match=r"'top' moves nothing measured at its start, .*; fix it or start elsewh"):
        sg.fit(birth_death, table, bounds, init=init, observables=seen, noise={"y": "1"}, method="ode")
