"""Data and floors of the dimerisation benchmark, and one small fit."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def dimerisation(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("dimerisation")


def test_two_molecules_are_a_switch(dimerisation: ModuleType) -> None:
    """Of two molecules there is a dimer or none: the law, and what it tells of both rates, have closed forms."""
    setting = dimerisation.Setting(2, 2.0)
    c1, c2 = setting.truth
    rate = 2 * c1 + c2
    paired = 2 * c1 / rate * (1 - np.exp(-rate * setting.times))
    law = setting.law(setting.truth)
    assert np.allclose(law, np.stack([1 - paired, paired], axis=1), rtol=1e-10)
    fades = setting.times * np.exp(-rate * setting.times)
    by_c1 = c1 * (2 / rate - 4 * c1 / rate**2) * (1 - np.exp(-rate * setting.times)) + 4 * c1**2 / rate * fades
    by_c2 = -c2 * 2 * c1 / rate**2 * (1 - np.exp(-rate * setting.times)) + 2 * c1 * c2 / rate * fades
    slopes = np.stack([by_c1, by_c2])
    information = 1000 * (slopes / (paired * (1 - paired))) @ slopes.T
    expected = np.sqrt(np.diag(np.linalg.inv(information)))
    assert np.allclose(dimerisation.floors(setting, 1000)[1], expected, rtol=1e-5)


def test_floors_are_what_fits_scatter_by(dimerisation: ModuleType) -> None:
    """One Gauss-Newton step by the law's own derivatives, of 400 data sets: 5 standard errors of a scatter."""
    setting, cells = dimerisation.Setting(20, 2.0), 100_000
    exact = setting.moments(setting.law(setting.truth))
    step = 1e-4
    slopes = np.stack(
        [(setting.moments(setting.law(setting.truth * np.exp(step * axis))) - exact) / step for axis in np.eye(2)],
        axis=1,
    )
    random = np.random.default_rng(5)
    drawn = np.array(
        [dimerisation.measured(setting, cells, random)[["A-mean", "A-sd"]].to_numpy().T.ravel() for _ in range(400)]
    )
    weights = np.linalg.inv(np.cov(drawn.T))
    off = np.linalg.solve(slopes.T @ weights @ slopes, slopes.T @ weights @ (drawn - exact).T).T
    ratio = off.std(axis=0) / dimerisation.floors(setting, cells)[0]
    assert np.all(np.abs(ratio - 1) < 5 / np.sqrt(800)), ratio


def test_states_are_the_laws_and_straight_lines_are_not(dimerisation: ModuleType) -> None:
    """16 means within 4 standard errors (false alarm 1e-3); interpolated ones are off by tens."""
    setting, n = dimerisation.Setting(20, 2.0), 20_000
    state, line = dimerisation.read_both_ways(setting, n, np.random.default_rng(2))
    mean, sd = np.split(setting.moments(setting.law(setting.truth)), 2)
    z = (np.array([state, line]).mean(axis=2) - mean) / (sd / np.sqrt(n))
    assert np.abs(z[0]).max() < 4
    assert np.abs(z[1]).max() > 20


def test_a_fit_of_few_cells_comes_near_the_truth(dimerisation: ModuleType) -> None:
    """Two errors of a fit to 100,000 cells, within 5 floors."""
    setting = dimerisation.Setting(20, 2.0)
    row = dimerisation.fitted(setting, setting.network(), 100_000, 1, "cells")
    assert abs(row["c1_error"]) < 5 * row["c1_floor"]
    assert abs(row["c2_error"]) < 5 * row["c2_floor"]
    assert row["c2_floor"] < 0.01
