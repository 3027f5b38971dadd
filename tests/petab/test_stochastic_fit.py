"""Fits by exact simulation: against fits by rate equations where these are the mean, and against the truth elsewhere.

Seeds are fixed. Coverage over many sets of data: `python benchmarks/petab_means.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import FitError, SbmlgradError
from sbmlgrad.petab.problem import Problem

Write = Callable[..., Path]
Script = Callable[[str], ModuleType]


def test_where_the_mean_is_that_of_rate_equations_fits_agree(decay: Problem) -> None:
    """To a half of the standard errors, which is what noise of simulation may add."""
    by_equations, fit = decay.fit(starts=2, seed=1), decay.fit(starts=2, seed=1, method="ssa", n=2000)
    assert fit.converged
    apart = (fit.parameters["estimate"] - by_equations.parameters["estimate"]) / by_equations.parameters["stderr"]
    assert np.all(np.abs(apart) < 0.5)
    ratio = fit.parameters["stderr"] / by_equations.parameters["stderr"]
    assert np.all((ratio > 0.9) & (ratio < 1.2))
    assert fit.llh == pytest.approx(by_equations.llh, abs=0.1)
    assert fit.method == "exact simulation of 2000 trajectories, estimator auto"


def test_pairs_are_found_where_rate_equations_are_biased(benchmark_script: Script) -> None:
    """Data are means of the master equation, by scipy, without noise: 6 molecules that vanish in pairs, or alone."""
    script = benchmark_script("petab_means")
    truth = script.PROBLEMS["pairs"]["truth"]
    problem = script.read("pairs").with_measurements(script.of_pairs(truth)["a"])
    biased, fit = problem.fit(starts=3, seed=1), problem.fit(starts=3, seed=1, method="ssa", n=4000)
    right = np.array([truth["k1"], truth["k2"]])
    far, near = ((one.parameters["estimate"] - right) / one.parameters["stderr"] for one in (biased, fit))
    assert far["k2"] > 5
    assert np.all(np.abs(near) < 1.0)
    assert fit.goodness["p_value"] > 0.9


def test_the_same_seed_gives_the_same_fit(decay: Problem) -> None:
    first, again, other = (decay.fit([[0.3, 1.1]], seed, method="ssa", n=100) for seed in (1, 1, 2))
    assert list(first.parameters["estimate"]) == list(again.parameters["estimate"])
    assert list(first.parameters["estimate"]) != list(other.parameters["estimate"])


@pytest.mark.slow
def test_priors_pull(version1: Write) -> None:
    """One that tells more than the data: the estimate is that of rate equations."""
    parameters = (
        "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate | objectivePriorType | "
        "objectivePriorParameters\nk_slow | log10 | 0.01 | 10 | 0.25 | 0 | |\n"
        "s | lin | 0 | 10 | 1 | 1 | normal | 2;0.1"
    )
    problem = sg.read_petab(version1(parameters=parameters))
    fits = [problem.fit(starts=1, method=method, n=1000) for method in ("ode", "ssa")]
    expected, found = (fit.parameters.loc["s"] for fit in fits)
    assert found["estimate"] == pytest.approx(expected["estimate"], abs=0.3 * expected["stderr"])
    assert found["stderr"] == pytest.approx(expected["stderr"], rel=0.1)
    assert fits[1].log_posterior == pytest.approx(-fits[1].objective, abs=1e-6)


def test_starts_that_take_too_many_reactions_are_an_error(decay: Problem) -> None:
    with pytest.raises(FitError, match="none of 1 starts could be simulated"):
        decay.fit([[0.3, 1.1]], method="ssa", n=100, max_events=3)


def test_what_cannot_be_done_says_what_can(decay: Problem, version1: Write, version2: Write) -> None:
    with pytest.raises(FitError, match="10 trajectories are too few"):
        decay.fit(method="ssa", n=10)
    halving = {"trigger": "time >= 2", "set": {"A": "A / 2"}, "initial": False}
    with pytest.raises(SbmlgradError, match=r"just as a period begins.*fit it with method 'ode'"):
        sg.read_petab(version2(model={"events": {"halving": halving}})).fit(starts=1, method="ssa", n=100)


def test_the_command_fits_by_molecules(version1: Write, tmp_path: Path) -> None:
    output, folder = tmp_path / "fit.json", tmp_path / "out"
    arguments = [version1(), "--fit", "--method", "ssa", "-n", 200, "--starts", 1, "--json", output, "-o", folder]
    result = CliRunner().invoke(main, ["petab", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    told = json.loads(output.read_text())
    assert told["method"].startswith("exact simulation of 200 trajectories")
    assert f"llh {told['llh']:.10g}" in result.stdout.splitlines()
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["fitted.xml", "parameters.tsv", "report", "simulations.tsv"]
