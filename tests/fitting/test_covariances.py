"""Covariances of two species in the same cells: tables with them, what is predicted, fits of them.

Molecules of A are made alone and in pairs with B, so that counts are sums of Poisson ones and all cumulants are known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError, TableError
from sbmlgrad.fitting.loss import joined, target
from sbmlgrad.gradient.estimator import Estimate
from sbmlgrad.tables.measurements import match, read_measurements

TIMES = np.array([0.5, 1.0, 3.0])
CELLS = 200


def network() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, 1, -1, 0], [0, 1, 0, -1]],
        lambda x, p: (6.0 + 0 * x[0], p["pairs"] + 0 * x[0], 1.0 * x[0], 0.5 * x[1]),
        [0, 0],
        {"pairs": 2.0},
        species=("A", "B"),
    )


def left(rate: float) -> np.ndarray:
    """What is made at rate 1 and lost at this one."""
    return (1 - np.exp(-rate * TIMES)) / rate


def cells(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Counts of A and B (cells, times), with pairs made at the rate 3."""
    both = left(1.5)
    only_a, only_b, pairs = (random.poisson(3 * m, (CELLS, 3)) for m in (left(1.0) - both, left(0.5) - both, both))
    return random.poisson(6 * left(1.0), (CELLS, 3)) + only_a + pairs, only_b + pairs


def test_a_covariance_is_fitted_with_the_error_that_fourth_moments_make() -> None:
    a, b = cells(np.random.default_rng(1))
    covariance = [np.cov(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
    data = pd.DataFrame({"time": TIMES, "A:B-cov": covariance, "A:B-n": CELLS})
    fit = sg.fit(network(), data, {"pairs": None}, seed=1, n=1000)
    row, measured = fit.parameters.loc["pairs"], fit.measured
    assert abs(row["estimate"] - 3) < 4 * row["stderr"]
    assert set(measured["statistic"]) == {"cov"}
    predicted = row["estimate"] * left(1.5)
    assert measured["predicted"].to_numpy() == pytest.approx(predicted, rel=0.05)
    means = (6 + row["estimate"]) * left(1.0), row["estimate"] * left(0.5)
    # of sums of Poisson counts the fourth cumulant is the covariance itself; and what two cells share once more
    variance = (means[0] * means[1] + predicted**2 + predicted) / CELLS
    assert measured["error"].to_numpy() == pytest.approx(np.sqrt(variance), rel=0.15)
    curve = fit.curves[fit.curves["observable"] == "A:B"]
    last = curve["mean"].to_numpy()[-1]
    assert last == pytest.approx(predicted[-1], abs=5 * curve["mean_stderr"].to_numpy()[-1])


def estimate(mean: np.ndarray, slopes: np.ndarray) -> Estimate:
    zero = np.zeros_like(mean)
    return Estimate(mean, zero, slopes, np.zeros_like(slopes), 10, np.ones_like(mean))


def test_derivatives_follow_from_those_of_products() -> None:
    """In two conditions, of which one has covariances alone."""
    first = pd.DataFrame({"time": [1.0, 2.0], "A-mean": [3.0, 4.0], "A:B-cov": [1.0, 2.0]})
    second = pd.DataFrame({"time": [2.0], "B:A-cov": [0.5]})
    aim = joined([target(read_measurements(table)[0]) for table in (first, second)])
    assert aim.observables == ("A", "B", "A:B", "B", "A", "B:A")
    random = np.random.default_rng(0)
    mean, slopes = random.normal(size=(6, 2)), random.normal(size=(1, 6, 2))
    here, there = estimate(mean, slopes), estimate(mean + 1e-6 * slopes[0], slopes)
    at_two = mean[:, 1]
    assert aim.predicted(here)[-1] == pytest.approx(at_two[5] - at_two[3] * at_two[4])
    difference = (aim.predicted(there) - aim.predicted(here)) / 1e-6
    assert aim.jacobian(here)[:, 0] == pytest.approx(difference, rel=1e-4, abs=1e-4)
    values = random.gamma(2.0, size=(6, 2, 500))
    values[2], values[5] = values[0] * values[1], values[3] * values[4]
    moved = aim.influence(values)[-1]
    x, y = values[3, 1] - values[3, 1].mean(), values[4, 1] - values[4, 1].mean()
    assert moved == pytest.approx(x * y - np.mean(x * y))


def test_tables_name_both_ids() -> None:
    table = pd.DataFrame({"time": [1.0, 2.0], "[A]:b-cov": [1.0, 2.0]})
    (found,) = match(read_measurements(table)[0], {"A", "B"}, {"b": ["B"]}).series
    assert (found.observable, found.statistic, found.column) == ("[A]:B", "cov", "[A]:B-cov")
    with pytest.raises(TableError, match="'A:Q-cov' matches nothing in the model"):
        match(read_measurements(table.set_axis(["time", "A:Q-cov"], axis=1))[0], {"A", "B"})
    for name in ("A-cov", "A:B:A-cov", ":A-cov"):
        with pytest.raises(TableError, match=f"column '{name}' is a covariance; name both ids, as in 'A:B-cov'"):
            read_measurements(table.set_axis(["time", name], axis=1))


def test_rate_equations_predict_none() -> None:
    data = pd.DataFrame({"time": TIMES, "A-mean": [3.0, 5.0, 8.0], "A:B-cov": [1.0, 1.5, 2.0], "A-n": CELLS})
    with pytest.raises(FitError, match="rate equations predict no covariances; leave out column 'A:B-cov'"):
        sg.fit(network(), data, {"pairs": None}, method="ode")
