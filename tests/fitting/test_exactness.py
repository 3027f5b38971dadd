"""What a table says of how exact its numbers are: error bars against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

import sbmlgrad as sg
from sbmlgrad.errors import TableError

TIMES = np.linspace(0.5, 6.0, 12)
TRUTH = {"k": 20.0, "g": 0.5}
CELLS = 200


@pytest.fixture(scope="module")
def birth_death() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"], p["g"] * x[0]), [0], {"k": 15.0, "g": 0.4}, species=("X",)
    )


def mean(k: float, g: float) -> np.ndarray:
    return k / g * (1 - np.exp(-g * TIMES))


def table(seed: int, **columns: Any) -> pd.DataFrame:
    """Moments of other cells at each time, whose numbers are Poisson, and columns made of mean and sd."""
    random = np.random.default_rng(seed)
    counts = random.poisson(mean(**TRUTH), (CELLS, len(TIMES)))
    actual = {"X-mean": counts.mean(axis=0), "X-sd": counts.std(axis=0, ddof=1)}
    return pd.DataFrame({"time": TIMES, **{name: make(actual) for name, make in columns.items()}})


def expected(variance: np.ndarray) -> np.ndarray:
    """Standard errors of k and g from means of this variance each, relative to their values."""
    step = 1e-4
    slopes = [
        (mean(**{**TRUTH, name: value * (1 + step)}) - mean(**{**TRUTH, name: value * (1 - step)})) / (2 * step)
        for name, value in TRUTH.items()
    ]
    jacobian = np.array(slopes).T / np.sqrt(variance)[:, None]
    return np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))


MEAN = {"X-mean": lambda actual: actual["X-mean"]}
BARS = {
    "cells": MEAN | {"X-n": lambda actual: np.full(len(TIMES), CELLS)},
    "standard errors": MEAN | {"X-sem": lambda actual: actual["X-sd"] / np.sqrt(CELLS)},
    "measurement errors": MEAN | {"X-error": lambda actual: actual["X-sd"] / np.sqrt(CELLS)},
}


@pytest.mark.parametrize(
    ("what", "method"),
    [
        *((what, "ode") for what in BARS),
        ("cells", "ssa"),
        *(pytest.param(what, "ssa", marks=pytest.mark.slow) for what in BARS if what != "cells"),
    ],
)
def test_error_bars_are_what_the_table_says(birth_death: sg.ReactionNetwork, what: str, method: str) -> None:
    """Whatever the residuals are; those of stated errors are as noisy as these, 5 % each."""
    fit = sg.fit(birth_death, table(1, **BARS[what]), dict.fromkeys(TRUTH), method=method, n=2000, seed=1)
    right = expected(mean(**TRUTH) / CELLS)
    actual = (fit.parameters["stderr"] / fit.parameters["estimate"]).to_numpy()
    assert actual == pytest.approx(right, rel=0.08 if method == "ode" else 0.25)  # which includes the simulation's
    off = np.log(fit.parameters["estimate"] / pd.Series(TRUTH)) / actual
    assert np.abs(off).max() < 4
    limits = fit.parameters[["ci_lower", "ci_upper"]].to_numpy()
    ratio = np.log(limits / fit.parameters["estimate"].to_numpy()[:, None]) / actual[:, None]
    assert ratio == pytest.approx(np.array([[-1.96, 1.96]] * 2), rel=0.01)
    assert fit.warnings == ()


def test_a_deviation_beside_a_standard_error_tells_the_cells(birth_death: sg.ReactionNetwork) -> None:
    both = {"X-mean": MEAN["X-mean"], "X-sd": lambda actual: actual["X-sd"]}
    sem = both | {"X-sem": lambda actual: actual["X-sd"] / np.sqrt(CELLS)}
    n = both | {"X-n": lambda actual: np.full(len(TIMES), CELLS)}
    fits = [sg.fit(birth_death, table(2, **columns), dict.fromkeys(TRUTH), n=400, seed=3) for columns in (sem, n)]
    for column in ("estimate", "stderr"):
        assert fits[0].parameters[column].to_numpy() == pytest.approx(fits[1].parameters[column].to_numpy(), rel=1e-6)


def test_without_it_the_residuals_tell_and_intervals_are_wider(birth_death: sg.ReactionNetwork) -> None:
    fit = sg.fit(birth_death, table(3, **MEAN), dict.fromkeys(TRUTH), method="ode")
    limits = fit.parameters[["ci_lower", "ci_upper"]].to_numpy()
    relative = (fit.parameters["stderr"] / fit.parameters["estimate"]).to_numpy()
    ratio = np.log(limits[:, 1] / fit.parameters["estimate"]) / relative
    assert ratio.to_numpy() == pytest.approx(np.full(2, student.ppf(0.975, 10)), rel=0.02)  # 12 numbers, 2 parameters


def test_errors_of_values_are_those_of_weighted_least_squares() -> None:
    """Of a model of so many molecules that their noise is none: the error bars are the closed form's."""
    many = sg.ReactionNetwork([[-1]], lambda x, p: (p["g"] * x[0],), [10**9], {"g": 0.3}, species=("X",))
    random = np.random.default_rng(4)
    values, errors = 1e9 * np.exp(-0.5 * TIMES), 1e6 * np.linspace(1, 3, len(TIMES))
    data = pd.DataFrame({"time": TIMES, "X": values + random.normal(0, errors), "X-error": errors})
    fit = sg.fit(many, data, {"g": None}, method="ode")
    slope = -TIMES * values / errors
    assert fit.parameters.loc["g", "stderr"] == pytest.approx(1 / np.sqrt(slope @ slope), rel=0.01)
    assert abs(fit.parameters.loc["g", "estimate"] - 0.5) < 4 * fit.parameters.loc["g", "stderr"]


def test_a_model_that_the_errors_do_not_allow_is_told(birth_death: sg.ReactionNetwork) -> None:
    bars = MEAN | {"X-sem": lambda actual: np.full(len(TIMES), 0.02)}
    fit = sg.fit(birth_death, table(5, **bars), dict.fromkeys(TRUTH), method="ode")
    assert any("as large as the numbers of cells, or errors, in the table allow" in text for text in fit.warnings)
    assert "contradict" in fit.message


def test_errors_of_nothing_are_refused(birth_death: sg.ReactionNetwork) -> None:
    bars = MEAN | {"X-sem": lambda actual: np.zeros(len(TIMES))}
    with pytest.raises(TableError, match="'X-sem': all errors are 0"):
        sg.fit(birth_death, table(6, **bars), dict.fromkeys(TRUTH), method="ode")


def test_followed_cells_share_what_they_do() -> None:
    """A number that never changes is the same at all times: cells that are followed tell it once, others each time."""
    still = sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"], p["g"] * x[0]), [0], {"k": 10.0, "g": 1e-3}, species=("X",)
    )
    random = np.random.default_rng(7)
    times = np.linspace(1.0, 1.1, 6)
    data = pd.DataFrame({"time": times, "X-mean": 10 * times + random.normal(0, 0.01, 6), "X-n": 100})
    errors = {
        cells: sg.fit(still, data, {"k": None}, method="ode", cells=cells).parameters.loc["k", "stderr"]
        for cells in ("followed", "independent")
    }
    assert errors["followed"] == pytest.approx(np.sqrt(10.5 / 100) / 1.05, rel=0.1)
    assert errors["independent"] == pytest.approx(errors["followed"] / np.sqrt(6), rel=0.1)
