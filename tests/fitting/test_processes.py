"""Fits of models in which more than reactions changes anything, to moments of cells that numpy draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import EstimatorError, UnknownIdError

Make = Callable[..., sg.Model]
TRUTH = {"k": 10.0, "g": 0.5}
TIMES = (1.0, 3.0, 5.5, 6.5, 8.0)


@pytest.fixture(scope="module")
def dosed(model: Make) -> sg.Model:
    return model(
        {"X": {"amount": 0}},
        {"birth": (" -> X", "k"), "death": ("X -> ", "g*X")},
        TRUTH,
        events={"dose": {"trigger": "time >= 5", "set": {"X": "X + 100"}}},
    )


def cells(count: int, random: np.random.Generator) -> pd.DataFrame:
    """Moments of exact draws: molecules survive independently of each other, and births are Poisson."""
    k, g = TRUTH.values()
    x, now, rows = np.zeros(count, int), 0.0, []
    for time in sorted([*TIMES, 5.0]):
        left = np.exp(-g * (time - now))
        x, now = random.binomial(x, left) + random.poisson(k / g * (1 - left), count), time
        if time == 5.0:
            x = x + 100
        else:
            rows.append((time, x.mean(), x.std(ddof=1)))
    return pd.DataFrame(rows, columns=["time", "X-mean", "X-sd"])


def test_a_dose_is_fitted_to_moments(dosed: sg.Model) -> None:
    """Both rates within 4 of their standard errors, which are a few per cent."""
    fit = sg.fit(
        dosed, cells(500, np.random.default_rng(1)), dict.fromkeys(TRUTH), init={"k": 6.0, "g": 0.8}, n=300, seed=2
    )
    assert fit.converged, fit.message
    assert not fit.warnings
    table = fit.parameters
    z = (table["estimate"] - pd.Series(TRUTH)) / table["stderr"]
    assert z.abs().max() < 4
    assert (table["stderr"] / table["estimate"]).max() < 0.05
    assert fit.model.quantities()["k"] == table.loc["k", "estimate"]


def test_what_cannot_be_fitted_is_named(dosed: sg.Model) -> None:
    data = cells(20, np.random.default_rng(1))
    with pytest.raises(UnknownIdError, match="'z'"):
        sg.fit(dosed, data, {"z": None})
    with pytest.raises(EstimatorError, match="straight_through"):
        sg.fit(dosed, data, {"k": None}, n=20, estimator="straight_through")
