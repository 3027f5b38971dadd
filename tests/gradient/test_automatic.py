"""What the default chooses, and the comparison of estimators."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import SbmlgradError
from sbmlgrad.gradient import automatic
from sbmlgrad.gradient.automatic import Automatic
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import Problem, differentiable


def chain(parameters: int) -> Problem:
    """Birth, and as many ways to die as there are other parameters."""
    net = sg.ReactionNetwork(
        np.array([[1, *[-1] * (parameters - 1)]]),
        lambda x, p: jnp.stack([p["k0"], *(p[f"k{i}"] * x[0] for i in range(1, parameters))]),
        x0=[0],
        parameters={f"k{i}": 10.0 if i == 0 else 1.0 / parameters for i in range(parameters)},
    )
    return differentiable(net, list(net.parameters))


def task(problem: Problem, n: int = 1000) -> Task:
    return Task([float(problem.network.parameters[p]) for p in problem.parameters], np.array([1.0]), n, seed=1)


def test_few_parameters_have_controls_and_many_the_plain_score() -> None:
    few, many = chain(3), chain(60)
    choice = Automatic().choose(many, task(many))
    assert choice.estimator.name == "score"
    assert "60 parameters" in choice.reason
    note = Automatic().estimate(few, task(few)).note
    assert note.startswith("controlled_score: ")


def test_noise_makes_it_look_for_something_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "_QUIET", 0.0)
    problem = chain(2)
    estimate = Automatic().estimate(problem, task(problem, 5000))
    assert estimate.note.startswith("controlled_score: least squared error")
    assert "alternative_path " in estimate.note
    again = Automatic().estimate(problem, task(problem, 5000))
    assert again.note == estimate.note
    np.testing.assert_array_equal(again.derivatives, estimate.derivatives)


def test_an_oscillator_is_given_to_coupled_paths(models_dir: Path) -> None:
    """Scores of reactions that fire all the time drown what a slow gene does."""
    model = sg.read_sbml(models_dir / "vilar_oscillator" / "model.xml")
    table = sg.sensitivity(model, [2.0], ["gamma_C"], n=500, seed=1, select=["A", "R"])
    assert table.attrs["note"].startswith(("alternative_path: ", "coupled_fd: "))
    plain = sg.sensitivity(model, [2.0], ["gamma_C"], n=500, seed=1, select=["A", "R"], estimator="score")
    assert (table["stderr"] < 0.3 * plain["stderr"]).all()


def test_a_search_prefers_little_noise_where_nothing_is_wrong_with_it(models_dir: Path) -> None:
    from sbmlgrad.network import discretise

    smooth = chain(2)
    assert Automatic(descending=True).choose(smooth, task(smooth)).estimator.name in (
        "controlled_score",
        "straight_through",
    )
    model = discretise(sg.read_sbml(models_dir / "telegraph" / "model.xml"), ["M"])
    burst = differentiable(model, ["k_on"])
    chosen = Automatic(descending=True).choose(burst, Task([model.quantities["k_on"]], np.array([24.0]), 1000, 1))
    assert chosen.estimator.name == "controlled_score"  # straight-through explodes here


def test_a_choice_that_a_parameter_at_0_rules_out_is_not_the_end() -> None:
    """As where a fit is driven to a bound after its estimator has been chosen."""
    problem = chain(2)
    with_choice = Automatic().with_choice(problem, task(problem, 2000))
    assert with_choice.choice is not None
    estimate = with_choice.estimate(problem, Task([10.0, 0.0], np.array([1.0]), 2000, seed=1))
    assert estimate.note.startswith("alternative_path: ")
    assert np.all(estimate.stderr > 0)


def test_comparison_warns_of_straight_through(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "telegraph" / "model.xml")
    comparison = sg.check(model, [24.0], ["k_on"], n=4000, seed=1, select=["M"])
    assert comparison.judge == "exact"
    assert comparison.recommended in ("controlled_score", "coupled_fd")
    assert any("straight_through" in warning and "d M / d k_on" in warning for warning in comparison.warnings)
    table = comparison.table
    assert list(table.columns) == ["bias", "bias_z", "stderr", "seconds", "efficiency", "remark"]
    assert table.loc["score", "efficiency"] == 1
    assert table.loc["controlled_score", "stderr"] < table.loc["score", "stderr"]
    assert "biased here" in table.loc["straight_through_plain", "remark"]


def test_comparison_without_an_exact_judge(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.gradient.compare._JUDGE_STATES", 3)
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    comparison = sg.check(model, [1.0], ["k", "X"], n=2000, seed=1)
    assert comparison.judge == "alternative_path"  # the only unbiased one for initial amounts
    assert "initial amounts" in comparison.table.loc["score", "remark"]
    with pytest.raises(SbmlgradError, match="all these derivatives are zero"):
        sg.check(model, [0.0], ["k"], n=100)


def test_the_command_line_prints_the_comparison(models_dir: Path, tmp_path: Path) -> None:
    path, output = models_dir / "birth_death" / "model.xml", tmp_path / "check.csv"
    asked = ["sensitivity", str(path), "--end", "2", "--points", "3", "-p", "k", "-n", "2000", "--check"]
    result = CliRunner().invoke(main, [*asked, "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "recommended: controlled_score" in result.stdout
    assert output.read_text().startswith("estimator,bias,bias_z,stderr,seconds,efficiency,remark\n")
    assert "warning: " in result.stderr
    assert "straight_through_plain is not to be trusted here: d X / d k at time" in result.stderr
    refused = CliRunner().invoke(main, [*asked, "--method", "ode"])
    assert refused.exit_code == 2
