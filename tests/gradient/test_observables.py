"""Estimators of derivatives of all kinds of observables, against finite state projection.

False alarms: comparisons allow 4.5 standard errors, 7e-6 each and below 2e-3 in all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.catalogue import ESTIMATORS, named_estimator
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.observables import Observable
from sbmlgrad.gradient.problem import Problem, differentiable

TIMES = np.array([1.0, 3.0, 5.0])
OF_STATES: list[Observable] = [
    sg.Moment("X0"),
    sg.Moment("X0", "X1"),
    sg.Probability("X0", 8, 12),
    sg.Expectation(("X0", "X1"), lambda a, b: jnp.log1p(a) * b, "log(1 + X0) X1"),
    sg.TimeAverage("X0"),
]
OF_PATHS: list[Observable] = [sg.FirstPassage("X0", upper=9), sg.Autocorrelation("X0", 2.0)]
UNBIASED = [name for name, estimator in ESTIMATORS.items() if estimator.unbiased and name != "exact"]
STEPPED = 0.01  # of finite differences of 5 %, over the derivative


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest) -> Any:
    """Dimerisation from 20 molecules."""
    jumps = np.array([[-2, 2], [1, -1]])
    return sg.ReactionNetwork(
        jumps,
        lambda x, p: jnp.stack([p["bind"] * x[0] * (x[0] - 1), p["part"] * x[1]]),
        x0=[20, 0],
        parameters={"bind": 0.01, "part": 0.1},
    )


def estimated(problem: Problem, name: str, n: int) -> Any:
    return named_estimator(name).estimate(problem, Task([0.01, 0.1], TIMES, n, seed=1))


@pytest.mark.parametrize("name", [*UNBIASED, "coupled_fd"])
def test_every_observable_by_every_estimator(case: Any, name: str) -> None:
    functions = [*OF_STATES, *(OF_PATHS[:1] if name == "alternative_path" else OF_PATHS)]
    problem = differentiable(case, ["bind", "part"], functions)
    judge, result = estimated(problem, "exact", 1), estimated(problem, name, 40_000)
    assert np.all(np.abs(result.values - judge.values) < 4.5 * result.values_stderr)
    allowed = STEPPED * np.abs(judge.derivatives) if name == "coupled_fd" else 0.0
    off = np.abs(result.derivatives - judge.derivatives)
    assert np.all(off < allowed + 4.5 * result.stderr + 1e-12), (off / result.stderr).round(1)


def test_controls_take_away_most_of_the_variance(case: Any) -> None:
    """Of means and products by more than 10 times, of a bin by more than 3 (but where it is hardly ever reached)."""
    problem = differentiable(case, ["bind", "part"], OF_STATES)
    plain, controlled = (estimated(problem, name, 20_000) for name in ("score", "controlled_score"))
    gain = (plain.stderr / controlled.stderr) ** 2
    assert gain[:, [0, 1, 4]].min() > 10
    assert gain[:, 2, 1:].min() > 3


@pytest.mark.parametrize("n", [2, pytest.param(30, marks=pytest.mark.slow), 300])
def test_small_ensembles_lose_nothing_by_controls(case: Any, n: int) -> None:
    problem = differentiable(case, ["bind", "part"], OF_STATES[:1])
    repeated = [
        [named_estimator(name).estimate(problem, Task([0.01, 0.1], TIMES, n, seed)).derivatives for seed in range(40)]
        for name in ("score", "controlled_score")
    ]
    plain, controlled = (np.std(rows, axis=0) for rows in repeated)
    assert np.all(controlled < 2.5 * plain)


@pytest.mark.parametrize("name", ["straight_through", "straight_through_plain", "propensity_straight_through"])
def test_straight_through_follows_smooth_observables(case: Any, name: str) -> None:
    """Averages and moments within 4 %; those without a generator are right for the average over time only."""
    problem = differentiable(case, ["bind", "part"], OF_STATES)
    judge, result = estimated(problem, "exact", 1), estimated(problem, name, 40_000)
    smooth = [0, 4] if name == "straight_through" else [4]
    ratio = result.derivatives[:, smooth] / judge.derivatives[:, smooth]
    error = result.stderr[:, smooth] / np.abs(judge.derivatives[:, smooth])
    assert np.all(np.abs(ratio - 1) < 0.04 + 4.5 * error), ratio
    if name != "straight_through":
        assert np.abs(result.derivatives[:, 0] / judge.derivatives[:, 0] - 1).max() > 0.3


@pytest.mark.parametrize("name", ["straight_through", "straight_through_plain", "alternative_path"])
def test_what_an_estimator_cannot_see_is_refused(case: Any, name: str) -> None:
    problem = differentiable(case, ["bind"], OF_PATHS[1:])
    with pytest.raises(EstimatorError, match=f"'{name}'.*X0\\(2\\)\\*X0.*use 'auto'") as error:
        named_estimator(name).estimate(problem, Task([0.01], TIMES, 100, seed=1))
    assert "\n" not in str(error.value)


def test_edges_that_a_parameter_moves_are_refused(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    model = model.with_parameters({"X": 3})
    with pytest.raises(EstimatorError, match="'cell' moves '\\[X\\]' itself"):
        sg.sensitivity(model, [1.0], ["cell"], select=[sg.Probability("[X]", 3, 8)])
    table = sg.sensitivity(model, [1.0], ["k"], select=[sg.Probability("[X]", 3, 8), "X"], n=500)
    assert table["observable"].tolist() == ["P(3 <= [X] < 8)", "X"]
    assert "controlled_score" in table.attrs["note"]


def test_a_window_of_the_score_trades_noise_for_bias(case: Any) -> None:
    from sbmlgrad.gradient.score import Score

    problem = differentiable(case, ["part"], ["X0"])
    task = Task([0.1], TIMES[-1:], 20_000, seed=1)
    full, long, short = (Score(window).estimate(problem, task) for window in (None, 9.0, 1.0))
    np.testing.assert_array_equal(full.derivatives, long.derivatives)
    assert short.stderr.max() < 0.8 * full.stderr.min()
    assert np.abs(short.derivatives).max() < np.abs(full.derivatives).min()
    assert not Score(1.0).unbiased


@pytest.mark.filterwarnings("ignore:.* a number of molecules that is not whole")
def test_the_initial_law_has_a_slope_at_whole_numbers_and_between(models_dir: Path) -> None:
    """d E X(t) / d X(0) = exp(-g t) whatever the mean initial count; of X (X - 1) it is twice the mean's."""
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    for count in (0.0, 4.0, 4.5):
        start = model.with_parameters({"X": count, "k": 10, "g": 1})
        table = sg.sensitivity(start, [1.0], ["X"], estimator="exact")
        assert table["sensitivity"][0] == pytest.approx(np.exp(-1.0), rel=1e-9)


def test_a_reaction_that_is_switched_off_is_seen_by_alternative_paths() -> None:
    """Birth at k, death at g = 0: d E X(t) / d g = -k t^2 / 2."""
    net = sg.ReactionNetwork(
        np.array([[1, -1]]), lambda x, p: jnp.stack([p["k"], p["g"] * x[0]]), x0=[0], parameters={"k": 5.0, "g": 0.0}
    )
    for name in ("score", "controlled_score"):
        with pytest.raises(EstimatorError, match=f"'{name}'.*'g' at its value switches 'R1' off"):
            sg.sensitivity(net, [2.0], ["g"], estimator=name)
    table = sg.sensitivity(net, [2.0], ["g"], n=20_000, seed=1)
    assert abs(table["sensitivity"][0] + 10.0) < 4.5 * table["stderr"][0]
    assert table["stderr"][0] < 0.2
    assert table.attrs["note"].startswith("alternative_path: ")


@dataclass(frozen=True)
class Maximum(Observable):
    """An observable of one's own: E of the largest X up to the time of observation."""

    variable: str
    of_state = False
    has_memory = True

    @property
    def of(self) -> tuple[str, ...]:
        return (self.variable,)

    @property
    def label(self) -> str:
        return f"max({self.variable})"

    def value(self, values: Mapping[str, Any]) -> Any:
        return values[self.variable]

    def advance(self, memory: Any, seen: Any, wait: Any) -> Any:
        return jnp.maximum(memory, seen)

    def record(self, memory: Any, seen: Any) -> Any:
        return jnp.maximum(memory, seen)


@pytest.mark.parametrize("name", [*UNBIASED, "coupled_fd"])
def test_an_observable_of_ones_own(case: Any, name: str) -> None:
    """Against the sum of all P(X1 has reached m)."""
    reached = differentiable(case, ["bind", "part"], [sg.FirstPassage("X1", lower=m) for m in range(1, 11)])
    judge = estimated(reached, "exact", 1)
    result = estimated(differentiable(case, ["bind", "part"], [Maximum("X1")]), name, 40_000)
    assert np.all(np.abs(result.values[0] - judge.values.sum(axis=0)) < 4.5 * result.values_stderr[0])
    right = judge.derivatives.sum(axis=1)
    allowed = STEPPED * np.abs(right) if name == "coupled_fd" else 0.0
    assert np.all(np.abs(result.derivatives[:, 0] - right) < allowed + 4.5 * result.stderr[:, 0])


@pytest.mark.parametrize("name", ["exact", "straight_through", "straight_through_plain"])
def test_who_knows_nothing_of_it_says_so(case: Any, name: str) -> None:
    with pytest.raises(EstimatorError, match=r"max\(X1\)"):
        estimated(differentiable(case, ["bind"], [Maximum("X1")]), name, 100)


def test_memories_of_what_a_parameter_moves_are_refused(model: Callable[..., sg.Model]) -> None:
    decay = model({"A": {"amount": 5}}, {"r": ("A ->", "k * A")}, {"k": 1})
    with pytest.raises(EstimatorError, match="'cell' moves"):
        sg.sensitivity(decay, [1.0], ["cell"], n=100, select=[Maximum("[A]")])
