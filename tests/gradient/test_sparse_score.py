"""Scores by the loop of sparse networks are derivatives of expectations: those of the finite state projection.

Seeds are fixed; 4.5 standard errors, 7e-6 for each number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient import automatic
from sbmlgrad.gradient.sparse_score import served

PARAMETERS = {"k1": 0.3, "k2": 0.8, "k3": 0.5}
TIMES = [0.5, 1.5]


@pytest.fixture
def small(model: Callable[..., sg.Model], monkeypatch: pytest.MonkeyPatch) -> sg.Model:
    """A model of few states, in a house where the loop of sparse networks is the fastest whatever the network."""
    monkeypatch.setattr("sbmlgrad.simulation.sparse._FIXED", 0.0)
    monkeypatch.setattr("sbmlgrad.simulation.sparse._UPDATE", 0.0)
    return model(
        {"A": {"amount": 5}, "B": {"amount": 3}, "C": {"amount": 0}, "D": {"amount": 1}},
        {
            "bind": ("A + B -> C", "k1 * k1 * A * B"),
            "free": ("C -> A + B", "k2 * C"),
            "dimer": ("2 A -> D", "k1 * A * (A - 1) / k3"),
            "split": ("D -> 2 A", "k3 * D"),
            "fixed": ("C -> D", "0.2 * C"),
        },
        PARAMETERS,
    )


@pytest.mark.parametrize("estimator", ["auto", "controlled_score", "score"])
def test_derivatives_are_those_of_the_finite_state_projection(
    small: sg.Model, estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic, "_ALONE", 0)  # as of a large network
    select = ["A", "C", sg.Moment("D", "D"), sg.Probability("C", 1.0, 3.0)]
    exact = sg.sensitivity(small, TIMES, list(PARAMETERS), select=select, estimator="exact")
    drawn = sg.sensitivity(small, TIMES, list(PARAMETERS), select=select, estimator=estimator, n=6000, seed=4)
    assert np.all(drawn["stderr"] > 0)
    z = (drawn["sensitivity"] - exact["sensitivity"]) / drawn["stderr"]
    assert np.abs(z).max() < 4.5
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6
    off = drawn.expectations["expectation"] - exact.expectations["expectation"]
    assert np.all(np.abs(off) < 4.5 * drawn.expectations["stderr"])


@pytest.mark.parametrize("parameter", ["w", "K"], ids=["of a constant", "in the instructions"])
def test_laws_that_are_no_products(
    model: Callable[..., sg.Model], parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only scales a law is differentiated in the sparse loop, what is inside it in the plain one."""
    monkeypatch.setattr("sbmlgrad.simulation.sparse._FIXED", 0.0)
    monkeypatch.setattr("sbmlgrad.simulation.sparse._UPDATE", 0.0)
    monkeypatch.setattr("sbmlgrad.simulation.sparse._INSTRUCTION", 0.0)
    system = model(
        {"A": {"amount": 8}, "B": {"amount": 0}},
        {"go": ("A -> B", "w * A / (K + A)"), "back": ("B -> A", "b * B")},
        {"w": 4.0, "K": 3.0, "b": 0.7},
    )
    exact = sg.sensitivity(system, TIMES, [parameter], estimator="exact")
    drawn = sg.sensitivity(system, TIMES, [parameter], estimator="score", n=4000, seed=4)
    z = (drawn["sensitivity"] - exact["sensitivity"]) / drawn["stderr"]
    assert np.abs(z).max() < 4.5


def test_controls_take_noise_off(small: sg.Model) -> None:
    """Against what the plain score has, which its own loop gives where the network is not sparse."""
    controlled = sg.sensitivity(small, [1.5], ["k2"], n=6000, seed=4, estimator="score")
    sparse = np.asarray(controlled["stderr"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sbmlgrad.simulation.sparse._FIXED", 1e9)
        plain = np.asarray(sg.sensitivity(small, [1.5], ["k2"], n=6000, seed=4, estimator="score")["stderr"])
    assert np.median(sparse / plain) < 0.9


def test_a_parameter_that_switches_a_reaction_off_is_refused(small: sg.Model) -> None:
    off = small.with_parameters({"k2": 0.0})
    with pytest.raises(EstimatorError, match="'score' learns from .* 'k2' at its value switches 'free' off"):
        sg.sensitivity(off, TIMES, ["k2"], n=100, estimator="score")


def test_what_looks_at_the_path_is_left_to_the_plain_loop(small: sg.Model) -> None:
    from sbmlgrad.gradient.problem import differentiable
    from sbmlgrad.simulation.prepare import discretised

    discrete = discretised(small)
    assert served(differentiable(discrete, ["k1"])) is not None
    assert served(differentiable(discrete, ["k1"], [sg.TimeAverage("A")])) is None
