"""Draws from posteriors of fits, against posteriors in closed form and on grids.

Tolerances are four Monte Carlo standard errors, by the effective numbers of draws: a false alarm in 16,000.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.special import logsumexp
from scipy.stats import gamma, poisson

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import FitError


def birth_death() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"] + 0 * x[0], p["g"] * x[0]), [0], {"k": 3.0, "g": 1.0}, species=("X",)
    )


def test_a_rate_of_birth_has_a_gamma_posterior() -> None:
    """Counts are Poisson with mean k c, and a prior flat in log(k) makes the sum of counts the shape."""
    counts, level = np.array([1, 3, 0, 2]), 1 - np.exp(-2.0)
    fit = sg.fit(birth_death(), pd.DataFrame({"time": 2.0, "X": counts}), {"k": (1e-4, 1e3)})
    posterior = fit.sample(1000, seed=1)
    exact, row = gamma(counts.sum(), scale=1 / (len(counts) * level)), posterior.summary.loc["k"]
    assert row["rhat"] < 1.05
    assert row["ess"] > 150
    error = exact.std() / np.sqrt(row["ess"])
    assert row["mean"] == pytest.approx(exact.mean(), abs=4 * error)
    assert row["sd"] == pytest.approx(exact.std(), rel=4 * np.sqrt(2 / row["ess"]))
    below = np.mean(posterior.draws["k"] < exact.ppf(0.025))
    assert below == pytest.approx(0.025, abs=4 * np.sqrt(0.025 / row["ess"]))
    assert list(posterior.draws.columns) == ["chain", "draw", "log_likelihood", "k"]
    assert len(posterior.draws) == 1000
    exact_values = poisson.logpmf(counts, posterior.draws["k"].to_numpy()[:, None] * level).sum(axis=1)
    assert posterior.draws["log_likelihood"].to_numpy() == pytest.approx(exact_values, abs=1e-5)
    assert posterior.warnings == ()
    assert fit.sample(16, warmup=4, seed=1).draws.equals(fit.sample(16, warmup=4, seed=1).draws)


def test_two_rates_have_the_posterior_of_a_grid(tmp_path: Path) -> None:
    random, times = np.random.default_rng(3), np.repeat([0.5, 3.0], 40)
    counts = random.poisson(3 * (1 - np.exp(-times)))
    fit = sg.fit(birth_death(), pd.DataFrame({"time": times, "X": counts}), {"k": (0.05, 50.0), "g": (0.01, 20.0)})
    posterior = fit.sample(1000, seed=2)
    k, g = np.linspace(np.log(0.05), np.log(50), 400)[:, None], np.linspace(np.log(0.01), np.log(20), 400)[None, :]
    logs = sum(
        poisson.logpmf(count, np.exp(k - g) * (1 - np.exp(-np.exp(g) * time)))
        for time, count in zip(times, counts, strict=True)
    )
    weights = np.exp(logs - logsumexp(logs))
    drawn = np.log(posterior.draws[["k", "g"]])
    for name, grid in (("k", k), ("g", g)):
        mean = float(np.sum(weights * grid))
        sd = float(np.sqrt(np.sum(weights * (grid - mean) ** 2)))
        size = posterior.summary.loc[name, "ess"]
        assert size > 80
        assert drawn[name].mean() == pytest.approx(mean, abs=4 * sd / np.sqrt(size))
        assert drawn[name].std() == pytest.approx(sd, rel=4 * np.sqrt(3 / size))  # tails are heavier than normal ones
    told = fit.with_posterior(posterior)
    told.report(tmp_path / "report")
    assert len(pd.read_csv(tmp_path / "report" / "samples.csv")) == 1000
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Posterior" in page
    posterior.plot(tmp_path / "posterior.png")


def test_particles_are_drawn_anew() -> None:
    """Few draws, which only tell that they are where the exact posterior is."""
    data = pd.DataFrame({"time": [1.0, 2.0, 3.0], "X": [2, 3, 2]})
    fit = sg.fit(birth_death(), data, {"k": (0.1, 50.0)}, loss="particles", seed=1)
    posterior = fit.sample(16, chains=2, warmup=4)
    assert "estimated anew" in posterior.note
    values = posterior.draws.groupby("k")["log_likelihood"].nunique()
    assert (values == 1).all()  # what was accepted is kept
    assert 0.3 < posterior.summary.loc["k", "median"] / fit.parameters.loc["k", "estimate"] < 3


def test_the_command_writes_draws_and_their_summary(models_dir: Path, tmp_path: Path) -> None:
    """A noise of known size around a straight line makes the posterior normal."""
    data = pd.DataFrame({"time": [1, 2, 4], "y": [2.3, 4.1, 8.9]})
    data.to_csv(tmp_path / "values.csv", index=False)
    what = [models_dir / "birth_death" / "model.xml", tmp_path / "values.csv", "-p", "a=0.1:100", "--method", "ode"]
    command = ["fit", *what, "--observable", "y=a*time", "--noise", "y=0.3", "--sample", 400]
    result = CliRunner().invoke(main, [str(word) for word in (*command, "--json", tmp_path / "fit.json")])
    assert result.exit_code == 0, result.stderr
    told = json.loads((tmp_path / "fit.json").read_text())["posterior"]["a"]
    draws = pd.read_csv(tmp_path / "samples.csv")
    assert set(told) == {"mean", "sd", "median", "ci_lower", "ci_upper", "rhat", "ess"}
    best, sd = (1 * 2.3 + 2 * 4.1 + 4 * 8.9) / 21, 0.3 / np.sqrt(21)
    assert told["mean"] == pytest.approx(best, abs=4 * sd / np.sqrt(told["ess"]) + sd**2 / best)
    assert draws["a"].std() == pytest.approx(sd, rel=4 / np.sqrt(told["ess"]))
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 2
    assert "--sample: draws go to the --report" in result.stderr


def test_what_has_no_posterior_says_so() -> None:
    data = pd.DataFrame({"time": [0.5, 1.0, 4.0], "X-mean": [1.2, 1.8, 2.9], "X-n": 50})
    fit = sg.fit(birth_death(), data, {"k": (0.1, 50.0)}, method="ode")
    with pytest.raises(FitError, match="a posterior is that of a likelihood, and this fit is by weighted least"):
        fit.sample()


def test_too_few_draws_and_open_priors_are_told() -> None:
    fit = sg.fit(birth_death(), pd.DataFrame({"time": 2.0, "X": [1, 3, 0, 2]}), {"k": None})
    with pytest.raises(FitError, match="n: 8 draws are too few for 4 chains; give at least 16"):
        fit.sample(8)
    with pytest.raises(FitError, match="chains: 1 are too few"):
        fit.sample(100, chains=1)
    posterior = fit.sample(40, warmup=10)
    assert any("the prior of k has no end" in text for text in posterior.warnings)
    assert any("k: " in text for text in posterior.warnings)
