"""Histograms of single cells, against the likelihood by projection and data drawn in numpy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError, TableError
from sbmlgrad.fitting.histograms import histograms
from sbmlgrad.tables.measurements import read_measurements

TRUTH = {"on": 0.3, "off": 0.4, "k": 30.0, "d": 1.0}
START = {"on": 0.4, "off": 0.3, "k": 24.0, "d": 1.2}


def gene() -> sg.ReactionNetwork:
    """A promoter that is on, G = 1, or off makes messages M."""
    return sg.ReactionNetwork(
        [[1, -1, 0, 0], [0, 0, 1, -1]],
        lambda x, p: jnp.stack([p["on"] * (1 - x[0]), p["off"] * x[0], p["k"] * x[0], p["d"] * x[1]]),
        [0, 0],
        TRUTH,
        species=("G", "M"),
    )


def cells(random: np.random.Generator, time: float, n: int) -> np.ndarray:
    """Counts (n, 2) of G and M, event by event."""
    jumps = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    x, now, going = np.zeros((n, 2)), np.zeros(n), np.ones(n, bool)
    while going.any():
        on, m = x.T
        rates = np.stack([TRUTH["on"] * (1 - on), TRUTH["off"] * on, TRUTH["k"] * on, TRUTH["d"] * m], axis=1)
        total = rates.sum(axis=1)
        now = now + random.exponential(1 / total)
        going = going & (now <= time)
        chosen = (random.random(n)[:, None] * total[:, None] > np.cumsum(rates, axis=1)).sum(axis=1)
        x = x + np.where(going[:, None], jumps[chosen], 0)
    return x


@pytest.fixture(scope="module")
def snapshots() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.concat(
        [pd.DataFrame(cells(random, time, 300), columns=["G", "M"]).assign(time=time) for time in (1.0, 3.0, 8.0)]
    )


def test_every_cell_is_in_one_range(snapshots: pd.DataFrame) -> None:
    """Of one species and of two; a count that half of the cells have stays in one piece."""
    for columns in (["M"], ["G", "M"]):
        (read,) = read_measurements(snapshots[["time", *columns]])
        found = histograms(read)
        shares = found.value.reshape(len(found.functions), 3)
        np.testing.assert_allclose(shares.sum(axis=0), 1.0, rtol=1e-12)
        whole = shares.mean(axis=1)
        assert 7 <= len(whole) <= 16
        assert np.sort(whole)[::-1][1:].max() < 0.2
        for function, own in zip(found.functions, shares, strict=True):
            inside = np.asarray(function.value({name: snapshots[name].to_numpy() for name in columns}))
            np.testing.assert_allclose(pd.Series(inside).groupby(snapshots["time"].to_numpy()).mean(), own)


def test_the_label_of_a_joint_range() -> None:
    region = sg.Region(("X", "Y", "Z"), (2.0, -np.inf, -np.inf), (5.0, 3.0, np.inf))
    assert region.label == "P(2 <= X < 5 and Y < 3)"


@pytest.mark.slow  # one more of many cases, and half a minute
def test_bursts_are_told_nearly_as_well_as_by_the_likelihood(snapshots: pd.DataFrame) -> None:
    data, free = snapshots[["time", "M"]], dict.fromkeys(TRUTH)
    exact = sg.fit(gene(), data, free, init=START, loss="projection").parameters
    fit = sg.fit(gene(), data, free, init=START, loss="histograms", seed=1)
    assert fit.converged
    assert fit.goodness["p_value"] > 1e-3
    found = fit.parameters
    assert np.all(np.abs(found["estimate"] - exact["estimate"]) < 0.7 * exact["stderr"])
    assert np.all(found["stderr"] < 1.6 * exact["stderr"])
    assert np.all(found["stderr"] > 0.9 * exact["stderr"])
    assert set(fit.measured["statistic"]) == {"mean"}


def test_a_wrong_model_is_told(snapshots: pd.DataFrame) -> None:
    """Births and deaths have no bursts."""
    simple = sg.ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["k"] + 0 * x[0], p["d"] * x[0]]),
        [0],
        {"k": 10.0, "d": 1.0},
        species=("M",),
    )
    fit = sg.fit(simple, snapshots[["time", "M"]], {"k": None, "d": None}, loss="histograms", n=500, seed=1)
    assert fit.goodness["p_value"] < 1e-6
    assert fit.warnings


def test_they_are_taken_where_states_are_too_many(snapshots: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.likelihood.projection._MOST_PRODUCTS", 1.0)
    fit = sg.fit(gene(), snapshots, {"k": None}, n=500, seed=1)
    assert "histograms were matched, not the likelihood" in fit.message
    row = fit.parameters.loc["k"]
    assert row["ci_lower"] < TRUTH["k"] < row["ci_upper"]


def test_what_has_no_histogram() -> None:
    moments = pd.DataFrame({"time": [1.0, 2.0], "M-mean": [3.0, 4.0], "M-n": 100})
    with pytest.raises(TableError, match="loss 'histograms' is of single cells"):
        sg.fit(gene(), moments, {"k": None}, loss="histograms")
    with pytest.raises(FitError, match="of molecules that react at random"):
        sg.fit(gene(), moments, {"k": None}, loss="histograms", method="ode")
