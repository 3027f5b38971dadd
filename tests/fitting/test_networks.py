"""Fits of networks from Python, which have no document behind them.

Seeds are fixed; an estimate may be 4 of its standard errors from the truth, which one in 16,000 is.
"""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError, UnknownIdError

TRUTH = {"k": 12.0, "g": 0.8}
TIMES = np.linspace(0.0, 6.0, 13)


@pytest.fixture(scope="module")
def network() -> sg.ReactionNetwork:
    """Birth and death, with an array among its parameters that nothing varies."""
    return sg.ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["k"] * p["parts"].sum(), p["g"] * x[0]]),
        x0=[0],
        parameters={"k": 8.0, "parts": [0.25, 0.75], "g": 1.2},
        species=("P",),
    )


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    """Moments of 300 cells at each time, others each time: Poisson numbers, since all start from none."""
    random = np.random.default_rng(3)
    counts = random.poisson(TRUTH["k"] / TRUTH["g"] * (1 - np.exp(-TRUTH["g"] * TIMES)), (300, len(TIMES)))
    return pd.DataFrame({"time": TIMES, "P-mean": counts.mean(axis=0), "P-sd": counts.std(axis=0, ddof=1)})


@pytest.mark.parametrize("method", ["ode", "ssa"])
def test_a_network_is_fitted(network: sg.ReactionNetwork, cells: pd.DataFrame, method: str, tmp_path: Path) -> None:
    fit = sg.fit(network, cells, dict.fromkeys(TRUTH), init={"k": 9.0}, n=800, seed=1, method=method)
    table = fit.parameters
    assert fit.converged, fit.message
    assert np.all(np.abs(table["estimate"] - pd.Series(TRUTH)) < 4 * table["stderr"])
    assert np.all(table["stderr"] < 0.1 * table["estimate"])
    assert isinstance(fit.model, sg.ReactionNetwork)
    assert float(fit.model.parameters["k"]) == table["estimate"]["k"]
    assert fit.start["k"] == 9.0
    fit.report(tmp_path)
    assert "network" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_what_is_none_of_its_parameters_is_named(network: sg.ReactionNetwork, cells: pd.DataFrame) -> None:
    with pytest.raises(UnknownIdError, match="'h'"):
        sg.fit(network, cells, {"h": None})
    with pytest.raises(SbmlgradError, match="'parts': is not a single number"):
        sg.fit(network, cells, {"parts": None})
    with pytest.raises(SbmlgradError, match="'Q-mean'"):
        sg.fit(network, cells.rename(columns={"P-mean": "Q-mean", "P-sd": "Q-sd"}), {"k": None})


def test_derivatives_of_its_rate_equations(network: sg.ReactionNetwork) -> None:
    table = sg.sensitivity(network, TIMES[1:], ["g", "k"], method="ode")
    k, g, t = 8.0, 1.2, TIMES[1:]
    due = {"k": (1 - np.exp(-g * t)) / g, "g": k * t * np.exp(-g * t) / g - k * (1 - np.exp(-g * t)) / g**2}
    for name, values in due.items():
        actual = table[table["parameter"] == name]["sensitivity"].to_numpy()
        np.testing.assert_allclose(actual, values, rtol=1e-6)
