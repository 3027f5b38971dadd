"""Fits of single cells and trajectories by likelihood: truth, intervals, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

import sbmlgrad as sg
from sbmlgrad.errors import FitError, TableError

TRUTH = {"k": 10.0, "g": 1.0}


@pytest.fixture(scope="module")
def network() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"] + 0 * x[0], p["g"] * x[0]), [0], {"k": 14.0, "g": 0.7}, species=("X",)
    )


def trajectory(random: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Survivors are binomial, the new ones Poisson."""
    x, now, row = 0, 0.0, []
    for time in times:
        kept = np.exp(-(time - now))
        x, now = random.binomial(x, kept) + random.poisson(10 * (1 - kept)), time
        row.append(x)
    return np.array(row)


def inside(fit: sg.Fit) -> dict[str, bool]:
    table = fit.parameters
    return {str(name): bool(row["ci_lower"] <= TRUTH[str(name)] <= row["ci_upper"]) for name, row in table.iterrows()}


def test_intervals_hold_the_truth(network: sg.ReactionNetwork) -> None:
    """Of 20 snapshot sets, 95 % in the mean: fewer than 16 for a rate has a probability of 0.003."""
    held = {"k": 0, "g": 0}
    for number in range(20):
        random = np.random.default_rng(number)
        times = np.repeat([0.4, 1.0, 2.5], 60)
        data = pd.DataFrame({"time": times, "X": random.poisson(10 * (1 - np.exp(-times)))})
        fit = sg.fit(network, data, dict.fromkeys(TRUTH))
        assert fit.converged
        for name, holds in inside(fit).items():
            held[name] += holds
    assert min(held.values()) >= 16


def test_the_maximum_is_that_of_the_closed_form(network: sg.ReactionNetwork) -> None:
    random, times = np.random.default_rng(3), np.repeat([0.3, 1.0, 4.0], 50)
    counts = random.poisson(10 * (1 - np.exp(-times)))
    fit = sg.fit(network, pd.DataFrame({"time": times, "X": counts}), dict.fromkeys(TRUTH))
    k, g = fit.parameters["estimate"]

    def likelihood(k: float, g: float) -> float:
        return float(np.sum(poisson.logpmf(counts, k / g * (1 - np.exp(-g * times)))))

    assert fit.goodness["log_likelihood"] == pytest.approx(likelihood(k, g), abs=1e-6)
    assert all(
        likelihood(k * a, g * b) <= likelihood(k, g) + 1e-6 for a, b in ((1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99))
    )
    assert fit.goodness["n_data"] == 150
    assert "150 cells" in fit.loss_name


@pytest.mark.parametrize("loss", ["auto", "projection", "linear_noise"])
def test_one_trajectory(network: sg.ReactionNetwork, loss: str) -> None:
    times = np.arange(0.25, 20, 0.25)
    counts = trajectory(np.random.default_rng(1), times)
    fit = sg.fit(network, pd.DataFrame({"time": times, "X": counts}), dict.fromkeys(TRUTH), loss=loss)
    assert fit.converged
    assert fit.warnings == ()
    assert all(inside(fit).values())
    assert np.all(fit.parameters["stderr"] / fit.parameters["estimate"] < 0.35)


def test_errors_of_measurement_are_taken_into_account(network: sg.ReactionNetwork) -> None:
    random, times = np.random.default_rng(2), np.arange(0.25, 20, 0.25)
    noisy = trajectory(random, times) + random.normal(0, 2.0, len(times))
    data = pd.DataFrame({"time": times, "X": noisy, "X-error": 2.0})
    fit = sg.fit(network, data, dict.fromkeys(TRUTH))
    assert all(inside(fit).values())
    assert fit.goodness["p_value"] > 0.001


def test_an_epidemic_by_its_path(models_dir: Path) -> None:
    """A Kalman filter written apart from sbmlgrad gives 1.790 +- 0.102 and 0.476 +- 0.018, and the data contradict."""
    folder = models_dir / "sir_influenza"
    fit = sg.fit(folder / "model.xml", folder / "data.csv", {"beta": (0.5, 5.0), "gamma": (0.1, 2.0)})
    np.testing.assert_allclose(fit.parameters["estimate"], [1.790, 0.476], rtol=2e-3)
    np.testing.assert_allclose(fit.parameters["stderr"], [0.102, 0.018], rtol=0.02)
    assert fit.goodness["p_value"] < 1e-3
    assert "contradict" in fit.message


def test_hidden_messages_are_found_out() -> None:
    rates = {"k": 2.0, "d": 1.0, "b": 2.5, "g": 0.5}
    network = sg.ReactionNetwork(
        [[1, -1, 0, 0], [0, 0, 1, -1]],
        lambda x, p: jnp.stack([p["k"] + 0 * x[0], p["d"] * x[0], p["b"] * x[0], p["g"] * x[1]]),
        [0, 0],
        rates,
        species=("M", "P"),
    )
    random = np.random.default_rng(8)
    cells = []
    for time in np.repeat([2.0, 6.0], 250):  # messages are made at Poisson times, live on, and each makes its proteins
        begin = time * random.uniform(size=random.poisson(2.0 * time))
        life = np.minimum(random.exponential(size=len(begin)), time - begin)
        kept = np.exp(-0.5 * (time - begin - life)) - np.exp(-0.5 * (time - begin))
        cells.append((time, int(random.poisson(2.5 * kept / 0.5).sum())))
    fit = sg.fit(network, pd.DataFrame(cells, columns=["time", "P"]), {"k": None, "b": None}, init={"k": 4.0, "b": 1.0})
    z = (np.log(fit.parameters["estimate"]) - np.log([2.0, 2.5])) / (
        fit.parameters["stderr"] / fit.parameters["estimate"]
    )
    assert np.all(np.abs(z) < 3)
    assert np.all(fit.parameters["stderr"] / fit.parameters["estimate"] < 0.2)


def test_what_is_measured_in_other_units_is_no_count(model: Any) -> None:
    """Whole numbers of another unit are not numbers of molecules: moments are matched, unless errors are stated."""
    document = model(
        {"X": {"amount": 0, "only": False}},
        {"birth": (" -> X", "k"), "death": ("X -> ", "g*X*cell")},
        {"k": 14.0, "g": 0.7},
        compartments={"cell": 2.5},
    )
    times = np.arange(1.0, 9.0)
    data = pd.DataFrame({"time": times, "[X]": [2.0, 3, 4, 3, 5, 4, 4, 3]})
    with pytest.raises(FitError, match="is not a number of molecules"):
        sg.fit(document, data, {"k": None}, loss="projection")
    assert "moments" in sg.fit(document, data, {"k": None}, n=200).loss_name
    assert "likelihood" in sg.fit(document, data.assign(**{"[X]-error": 0.5}), {"k": None}).loss_name


def refusal(network: Any, data: pd.DataFrame, **options: Any) -> str:
    with pytest.raises((FitError, TableError)) as caught:
        sg.fit(network, data, dict.fromkeys(TRUTH), **options)
    return str(caught.value)


def test_what_has_no_likelihood_is_refused_by_name(network: sg.ReactionNetwork) -> None:
    moments = pd.DataFrame({"time": [1.0, 2.0, 3.0], "X-mean": [6.0, 8.0, 9.0]})
    assert "column 'X-mean' is of many" in refusal(network, moments, loss="projection")
    cells = pd.DataFrame({"time": [1.0, 1.0, 2.0, 2.0], "X": [3, 5, 8, 9]})
    assert "other cells at each time" in refusal(network, cells, loss="linear_noise")
    assert "not available" in refusal(network, cells, loss="chi")
    assert "method 'ssa'" in refusal(network, cells, loss="projection", method="ode")
    parts = pd.DataFrame({"time": [1.0, 2.0, 3.0], "X": [6.5, 8.1, 9.3]})
    assert "column 'X' has numbers that are not whole" in refusal(network, parts, loss="projection")
    blank = pd.DataFrame({"time": [1.0, 2.0, 3.0], "X": [6.5, 8.1, 9.3], "X-error": [0.5, np.nan, 0.5]})
    assert "'X-error' is blank at time 2" in refusal(network, blank)
    start = pd.DataFrame({"time": [0.0, 1.0, 2.0], "X": [5, 8, 9]})
    assert "'X' is 5 at time 0 in the data and starts from 0" in refusal(network, start, loss="linear_noise")


def test_one_trajectory_by_particles(network: sg.ReactionNetwork) -> None:
    """The exact maximum within 0.4 standard errors, twice of what the fit allows itself."""
    times = np.arange(0.25, 10, 0.25)
    data = pd.DataFrame({"time": times, "X": trajectory(np.random.default_rng(1), times)})
    found, exact = (sg.fit(network, data, dict.fromkeys(TRUTH), loss=loss) for loss in ("particles", "projection"))
    assert "particle filters" in found.loss_name
    assert found.converged
    assert found.warnings == ()
    off = np.log(found.parameters["estimate"] / exact.parameters["estimate"])
    assert np.all(np.abs(off) < 0.4 * exact.parameters["stderr"] / exact.parameters["estimate"])
    np.testing.assert_allclose(found.parameters["stderr"], exact.parameters["stderr"], rtol=0.15)
    for limit in ("ci_lower", "ci_upper"):
        np.testing.assert_allclose(found.parameters[limit], exact.parameters[limit], rtol=0.15)
    assert found.goodness["log_likelihood"] == pytest.approx(exact.goodness["log_likelihood"], abs=1)


@pytest.mark.slow
def test_one_trajectory_of_detected_molecules_by_particles(models_dir: Path) -> None:
    """Each molecule is seen with a chance of 0.6; the exact maximum within 0.4 standard errors."""
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    times, random = np.arange(0.25, 10, 0.25), np.random.default_rng(1)
    data = pd.DataFrame({"time": times, "X": random.binomial(trajectory(random, times).astype(int), 0.6)})
    found, exact = (
        sg.fit(model, data, dict.fromkeys(TRUTH), loss=loss, noise={"X": "binomial(0.6)"})
        for loss in ("particles", "projection")
    )
    assert "particle filters" in found.loss_name
    assert found.converged
    off = np.log(found.parameters["estimate"] / exact.parameters["estimate"])
    assert np.all(np.abs(off) < 0.4 * exact.parameters["stderr"] / exact.parameters["estimate"])
    np.testing.assert_allclose(found.parameters["stderr"], exact.parameters["stderr"], rtol=0.25)


@pytest.mark.slow
def test_few_molecules_in_many_states_are_followed_by_particles() -> None:
    """Four counts in a row, three molecules each, of which the last is seen: too many states, too few molecules.

    With 4,096 particles at fixed values the likelihood is largest near 1.17, and falls by 1.92 near 0.19 and 2.1.
    """
    chain = np.eye(4, 5) - np.eye(4, 5, 1)
    network = sg.ReactionNetwork(
        chain,
        lambda x, p: jnp.stack([p["k"] + 0 * x[0], *(p["g"] * x[i] for i in range(4))]),
        [3] * 4,
        {"k": 4, "g": 1},
    )
    data = pd.DataFrame({"time": np.arange(1.0, 9.0), "X3": [3, 4, 2, 2, 5, 3, 4, 3]})
    fit = sg.fit(network, data, {"g": (0.1, 10.0)})
    assert "particle filters" in fit.loss_name
    assert fit.converged
    row = fit.parameters.loc["g"]
    assert 0.15 < row["ci_lower"] < 0.25 < 0.9 < row["estimate"] < 1.4 < 1.9 < row["ci_upper"] < 2.4


def test_snapshots_of_rates_that_follow_time(model: Any) -> None:
    """Births that come and go, from nothing, are Poisson: the maximum is that of the closed form."""
    system = model(
        {"X": {"amount": 0.0}},
        {"birth": ("-> X", "k*(1 + 0.8*sin(3*time))"), "death": ("X ->", "g*X")},
        {"k": 8.0, "g": 0.8},
    )
    times = np.repeat([0.5, 1.5, 4.0], 100)

    def mean(k: float, g: float) -> np.ndarray:
        wave = (g * np.sin(3 * times) - 3 * np.cos(3 * times) + 3 * np.exp(-g * times)) / (g**2 + 9)
        return k * ((1 - np.exp(-g * times)) / g + 0.8 * wave)

    counts = np.random.default_rng(5).poisson(mean(10.0, 1.0))
    fit = sg.fit(system, pd.DataFrame({"time": times, "X": counts}), dict.fromkeys(TRUTH))
    assert "projection" in fit.loss_name
    assert fit.converged
    k, g = fit.parameters["estimate"]
    best = poisson.logpmf(counts, mean(k, g)).sum()
    assert fit.goodness["log_likelihood"] == pytest.approx(best, abs=1e-4)
    for point in np.outer([1.003, 1 / 1.003], [k, g]):
        assert poisson.logpmf(counts, mean(point[0], g)).sum() < best
        assert poisson.logpmf(counts, mean(k, point[1])).sum() < best
    seen = fit.curves.set_index("time")["mean"]
    assert seen.loc[4.0] == pytest.approx(mean(k, g)[-1], rel=1e-6)


def test_few_cells_say_why_moments_are_matched(network: sg.ReactionNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.likelihood.projection._MOST_PRODUCTS", 1.0)
    times = np.repeat([1.0, 2.0], 40)
    data = pd.DataFrame({"time": times, "X": np.random.default_rng(1).poisson(10 * (1 - np.exp(-times)))})
    with pytest.raises(FitError, match=r"reactions in \d+ states are too many to follow their probabilities$"):
        sg.fit(network, data, {"k": None}, loss="projection")
    fit = sg.fit(network, data, {"k": None}, n=100)
    reason = "means and standard deviations were matched, not the likelihood"
    assert any(text.startswith(reason) and "too many" in text for text in fit.warnings)
    assert reason in fit.message


def test_events_on_counts_have_no_projection_and_are_named(model: Any) -> None:
    system = model(
        {"X": {"amount": 5.0}},
        {"death": ("X ->", "g*X*(2 + sin(time))")},
        {"g": 1.0},
        events={"dose": {"trigger": "X < 2", "set": {"X": "X + 5"}}},
    )
    data = pd.DataFrame({"time": [0.5, 0.5, 0.5], "X": [2, 3, 4]})
    with pytest.raises(FitError, match="when event 'dose' happens is not for time alone to decide"):
        sg.fit(system, data, {"g": None}, loss="projection")
