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


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sparse loop is taken by networks of any size."""
    monkeypatch.setattr("sbmlgrad.simulation.sparse._FIXED", 0.0)
    monkeypatch.setattr("sbmlgrad.simulation.sparse._UPDATE", 0.0)
    monkeypatch.setattr("sbmlgrad.simulation.sparse._INSTRUCTION", 0.0)


@pytest.fixture
def enzymes(model: Callable[..., sg.Model], taken: None) -> sg.Model:
    """Laws of Michaelis and Menten, of Hill, and one with three parameters, one of them shared."""
    return model(
        {"A": {"amount": 8}, "B": {"amount": 0}, "C": {"amount": 2}},
        {
            "go": ("A -> B", "w * A / (K + A)"),
            "back": ("B -> A", "b * B"),
            "hill": ("B -> C", "u * B^h / (K^h + B^h)"),
            "held": ("C -> A", "w * C / (1 + A / K + m * sqrt(C))"),
        },
        {"w": 4.0, "K": 3.0, "b": 0.7, "u": 2.5, "h": 1.7, "m": 0.5},
    )


@pytest.mark.parametrize("estimator", ["controlled_score", "score"])
def test_parameters_inside_laws(enzymes: sg.Model, estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by the finite state projection; the plain loop is switched off."""
    monkeypatch.setattr("sbmlgrad.gradient.score.walk", None)
    monkeypatch.setattr("sbmlgrad.gradient.controlled_score.walk", None)
    parameters, select = ["w", "K", "b", "h", "m"], ["A", "C", sg.Moment("B", "C"), sg.Probability("C", 1.0, 3.0)]
    exact = sg.sensitivity(enzymes, TIMES, parameters, select=select, estimator="exact")
    drawn = sg.sensitivity(enzymes, TIMES, parameters, select=select, estimator=estimator, n=6000, seed=4)
    z = (drawn["sensitivity"] - exact["sensitivity"]) / drawn["stderr"]
    assert np.abs(z).max() < 4.5
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6
    errors = drawn["stderr"].to_numpy()
    assert np.all(errors > 0)
    assert np.median(errors / np.abs(exact["sensitivity"].to_numpy()).clip(0.01)) < 0.5  # so that z could be large


def test_what_is_inside_laws_has_controls(enzymes: sg.Model) -> None:
    """Against what the plain score has."""
    inside = np.asarray(sg.sensitivity(enzymes, [1.5], ["K", "h"], n=6000, seed=4, estimator="score")["stderr"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sbmlgrad.simulation.sparse._FIXED", 1e9)
        plain = np.asarray(sg.sensitivity(enzymes, [1.5], ["K", "h"], n=6000, seed=4, estimator="score")["stderr"])
    assert np.median(inside / plain) < 0.9


@pytest.mark.usefixtures("taken")
def test_a_parameter_inside_a_law_that_switches_it_off_is_refused(model: Callable[..., sg.Model]) -> None:
    off = model(
        {"A": {"amount": 8}, "B": {"amount": 0}},
        {"go": ("A -> B", "A * z / (1 + A * z)"), "back": ("B -> A", "B")},
        {"z": 0.0},
    )
    with pytest.raises(EstimatorError, match="'score' learns from .* 'z' at its value switches 'go' off"):
        sg.sensitivity(off, TIMES, ["z"], n=100, estimator="score")


@pytest.mark.usefixtures("taken")
def test_it_is_refused_beside_laws_that_are_negative_elsewhere(model: Callable[..., sg.Model]) -> None:
    """As those of promoters are, of which there is one each."""
    off = model(
        {"A": {"amount": 8}, "B": {"amount": 0}, "G": {"amount": 1}},
        {"go": ("A -> B", "A * (1 - exp(-z * A))"), "on": ("-> G", "1 - G"), "off": ("G ->", "G")},
        {"z": 0.0},
    )
    with pytest.raises(EstimatorError, match="'score' learns from .* 'z' at its value switches 'go' off"):
        sg.sensitivity(off, TIMES, ["z"], n=100, estimator="score")


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
