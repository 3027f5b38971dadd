"""What the default chooses."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
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
