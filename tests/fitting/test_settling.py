"""Experiments on a system that has come to rest first, against closed forms and what numpy draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.fitting.settling import ENOUGH, settling_time

Build = Callable[..., sg.Model]
BEFORE, NEW, LOSS = 40.0, 10.0, 1.0  # births at rest, births from time 0 on, and the loss of each
TIMES = np.array([0.0, 0.5, 1.0, 2.0])
CONDITIONS = pd.DataFrame({"condition": ["step", "step"], "time": ["-inf", ""], "k": [BEFORE, "new"]})
BOUNDS = {"new": (1.0, 1e3), "g": (1e-2, 1e2)}


@pytest.fixture(scope="module")
def birth_death(models_dir: Path) -> sg.Model:
    return sg.read_sbml(models_dir / "birth_death" / "model.xml")


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    """Counts of 150 cells at each time: Poisson, around a mean that goes from one level to the other."""
    mean = NEW / LOSS + (BEFORE - NEW) / LOSS * np.exp(-LOSS * TIMES)
    counts = np.random.default_rng(11).poisson(mean[:, None], (len(TIMES), 150))
    return pd.DataFrame({"time": np.repeat(TIMES, 150), "X": counts.ravel()})


@pytest.fixture(scope="module")
def moments(cells: pd.DataFrame) -> pd.DataFrame:
    table = cells.groupby("time")["X"].agg(["mean", "std", "size"]).reset_index()
    return table.set_axis(["time", "X-mean", "X-sd", "X-n"], axis=1)


def test_the_slowest_relaxation_decides(model: Build) -> None:
    chain = model(
        {"A": {"amount": 0.0}, "B": {"amount": 0.0}, "C": {"amount": 5.0}, "D": {"amount": 0.0}},
        {"in": ("-> A", "k"), "on": ("A -> B", "a*A"), "out": ("B ->", "b*B"), "swap": ("C <-> D", "c*C - c*D")},
        {"k": 3.0, "a": 2.0, "b": 0.25, "c": 1.0},
    )
    assert settling_time(chain, {}) == pytest.approx(ENOUGH / 0.25, rel=1e-6)
    assert settling_time(chain, {"b": 4.0}) == pytest.approx(ENOUGH / 2.0, rel=1e-6)


def test_growth_without_end_has_no_rest(model: Build) -> None:
    growth = model({"A": {"amount": 1.0}}, {"grow": ("-> A", "k*A")}, {"k": 1.0})
    with pytest.raises(FitError, match="no steady state was reached"):
        settling_time(growth, {})


@pytest.mark.parametrize("method", ["ode", "ssa"])
def test_moments_after_rest(birth_death: sg.Model, moments: pd.DataFrame, method: str) -> None:
    fit = sg.fit(birth_death, moments, BOUNDS, conditions=CONDITIONS, method=method, seed=1)
    assert fit.converged
    assert not fit.warnings
    off = (fit.parameters["estimate"] - [NEW, LOSS]) / fit.parameters["stderr"]
    assert np.all(np.abs(off) < 3.5)  # by chance once in 2,000 tables for each
    assert fit.parameters["stderr"]["g"] < 0.02  # the level at time 0 tells it


def test_the_likelihood_of_cells_after_rest(birth_death: sg.Model, cells: pd.DataFrame) -> None:
    """That of Poisson counts, even where what is slow at the end was fast at the start."""
    fit = sg.fit(birth_death, cells, BOUNDS, conditions=CONDITIONS, init={"g": 20.0}, seed=1)
    new, loss = fit.parameters["estimate"][["new", "g"]]
    mean = new / loss + (BEFORE - new) / loss * np.exp(-loss * cells["time"].to_numpy())
    counts = cells["X"].to_numpy()
    exact = np.sum(counts * np.log(mean) - mean - np.array([np.sum(np.log(np.arange(1, c + 1))) for c in counts]))
    assert fit.goodness["log_likelihood"] == pytest.approx(exact, abs=1e-3)
    off = (fit.parameters["estimate"] - [NEW, LOSS]) / fit.parameters["stderr"]
    assert np.all(np.abs(off) < 3.5)


def test_times_before_the_start_are_kept(birth_death: sg.Model) -> None:
    """What is done at time -2 was done two units of time before the first measurement."""
    times = np.linspace(0, 3, 7)
    level = 40 * (1 - np.exp(-2.0)) * np.exp(-times) + 10 * (1 - np.exp(-times))
    data = pd.DataFrame({"time": times, "X": level, "X-error": 0.1})
    table = pd.DataFrame({"condition": ["a", "a"], "time": [-2.0, 0.0], "k": [40.0, "new"]})
    fit = sg.fit(birth_death, data, BOUNDS, conditions=table, method="ode")
    assert fit.parameters["estimate"].to_numpy() == pytest.approx([NEW, LOSS], rel=1e-4)


def test_without_rest_there_is_one_line(model: Build) -> None:
    growth = model({"X": {"amount": 1.0}}, {"grow": ("-> X", "g*X"), "birth": ("-> X", "k")}, {"k": 1.0, "g": 1.0})
    data = pd.DataFrame({"time": TIMES, "X": [3.0, 4.0, 6.0, 9.0]})
    with pytest.raises(FitError, match="time -inf in the table of conditions needs one"):
        sg.fit(growth, data, BOUNDS, conditions=CONDITIONS)
