"""The way to the optimum of a line through points, and that optimisers that are handed in come to the same end."""

from __future__ import annotations

from functools import partial

import numpy as np
import optax
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.fitting.loss import target
from sbmlgrad.fitting.optimise import (
    Descent,
    Evaluation,
    Row,
    descend,
    evaluate_at,
    exact_evaluation,
    gauss_newton,
    polyak_average,
    solve,
)
from sbmlgrad.fitting.parameters import Parameters, choose
from sbmlgrad.gradient.estimator import Estimate
from sbmlgrad.tables.measurements import read_measurements

TIMES = np.linspace(1, 8, 8)


@pytest.fixture(scope="module")
def birth_death() -> tuple[sg.ReactionNetwork, pd.DataFrame]:
    """A network far from the truth, and moments (made by numpy) of 400 other cells at each time."""
    network = sg.ReactionNetwork(
        [[1, -1]],
        lambda x, p: (p["k"], p["g"] * x[0]),
        [0],
        {"k": 3.0, "g": 1.0},
        species=("X",),
    )
    random = np.random.default_rng(4)
    cells = [random.poisson(20 * (1 - np.exp(-0.5 * t)), 400) for t in TIMES]
    rows = {"time": TIMES, "X-mean": [c.mean() for c in cells], "X-sd": [c.std(ddof=1) for c in cells]}
    return network, pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("method", "optimiser"),
    [
        pytest.param("ssa", optax.adam(0.1), marks=pytest.mark.slow),  # hundreds of ensembles
        ("ode", optax.adam(0.1)),
        ("ode", optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))),
    ],
)
def test_the_end_is_the_same(
    birth_death: tuple[sg.ReactionNetwork, pd.DataFrame], method: str, optimiser: optax.GradientTransformation
) -> None:
    network, data = birth_death
    bounds = {"k": (0.1, 100.0), "g": (0.01, 10.0)}
    init = {"k": 13.0, "g": 0.6} if method == "ssa" else None  # a shorter way, since each look is an ensemble
    usual, other = (
        sg.fit(network, data, bounds, init=init, method=method, n=400, seed=1, **words)  # type: ignore[arg-type]
        for words in ({}, {"optimiser": optimiser})
    )
    assert usual.converged
    assert other.converged, other.message
    off = (other.parameters["estimate"] - usual.parameters["estimate"]) / usual.parameters["stderr"]
    assert np.abs(off).max() < (1e-3 if method == "ode" else 1.5)  # the error of each end is half of the data's at most
    assert len(other.history) > len(usual.history)


def test_what_is_no_optimiser_is_refused(birth_death: tuple[sg.ReactionNetwork, pd.DataFrame]) -> None:
    network, data = birth_death
    with pytest.raises(FitError, match="optimiser 'adam': not available; use 'gauss_newton' or"):
        sg.fit(network, data, {"k": None}, optimiser="adam")


# ---- a straight line, whose optimum is that of linear regression -------------------------------------------

DESIGN = np.stack([np.ones_like(TIMES), TIMES], axis=1)
NUMBERS = 3 - 2 * TIMES + np.random.default_rng(5).normal(0, 0.1, len(TIMES))
RIGHT = np.linalg.lstsq(DESIGN, NUMBERS, rcond=None)[0]


def line(bounds: tuple[float, float] = (-100.0, 100.0)) -> tuple[Parameters, Descent]:
    """Intercept and slope of means with errors of 1, far from the right ones."""
    parameters = choose({"a": (-100.0, 100.0), "b": bounds}, {"a": 0.0, "b": -1.0}, {}, "line")
    aim = target(*read_measurements(pd.DataFrame({"time": TIMES, "A": NUMBERS})))
    descent = Descent(parameters.to_scale(parameters.start), target=aim)
    descent.reweight(np.ones(len(TIMES)))
    return parameters, descent


def test_a_descent_ends_at_the_regression() -> None:
    parameters, descent = line()

    def evaluate(descent: Descent) -> Evaluation:
        values = parameters.from_scale(descent.point)
        seen = exact_evaluation(DESIGN @ values - NUMBERS, DESIGN * parameters.slope(values))
        descent.rows.append(Row("search", seen.loss, seen.noise, values))
        return seen

    rows = list(descend(evaluate, parameters, descent))
    np.testing.assert_allclose(parameters.from_scale(descent.point), RIGHT, rtol=1e-3)
    assert len(rows) < 30
    assert rows[-1].loss == pytest.approx(float(np.sum((DESIGN @ RIGHT - NUMBERS) ** 2)), rel=1e-4)


def test_an_average_of_noisy_optima_ends_at_the_regression() -> None:
    """Two halves whose means scatter by 0.05 each: the end is right within its own Monte Carlo error."""
    parameters, descent = line()
    descent.point = parameters.to_scale(RIGHT + np.array([0.3, -0.1]))
    random = np.random.default_rng(6)

    def half(values: np.ndarray) -> Estimate:
        mean = (DESIGN @ values + random.normal(0, 0.05, len(TIMES)))[None]
        error = np.full_like(mean, 0.05)
        return Estimate(mean, error, DESIGN.T[:, None], np.zeros((2, 1, len(TIMES))), 400, np.ones_like(mean))

    def data_error(descent: Descent) -> np.ndarray:
        return np.full(2, 0.02)

    average = partial(evaluate_at, lambda values, step: (half(values), half(values)), parameters, "settle")
    rows = list(polyak_average(average, parameters, descent, data_error))
    assert descent.converged
    assert descent.evaluations == len(rows) >= 6
    assert descent.effective_size == pytest.approx(800 * len(rows))
    assert descent.mc_covariance is not None
    error = np.sqrt(np.diag(descent.mc_covariance))
    assert np.all(error <= 0.5 * 0.02)
    assert np.all(np.abs(descent.point - parameters.to_scale(RIGHT)) < 6 * error)


def test_other_weights_move_the_estimate_to_first_order() -> None:
    """From the regression, weighing the last point a hundredfold leads to that regression; lines are linear."""
    parameters, descent = line()
    descent.point, descent.evaluations = parameters.to_scale(RIGHT), 1
    slope = parameters.slope(RIGHT)
    descent.residuals, descent.jacobians = DESIGN @ RIGHT - NUMBERS, np.stack([DESIGN * slope] * 2)
    error = np.where(TIMES[-1] == TIMES, 0.1, 1.0)
    descent.reweight(error)
    weighted = np.linalg.lstsq(DESIGN / error[:, None], NUMBERS / error, rcond=None)[0]
    shift = descent.shift(parameters)
    np.testing.assert_allclose(parameters.from_scale(descent.point + shift), weighted, rtol=1e-9)
    descent.move(shift)
    np.testing.assert_allclose(descent.residuals, (DESIGN @ weighted - NUMBERS) / error, atol=1e-9)


def test_directions_that_the_data_do_not_see_stay_put() -> None:
    curvature = np.array([[4.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(solve(curvature, np.array([4.0, 18.0, 5.0])), [1.0, 2.0, 0.0])
    together = np.array([[1.0, 1.0], [1.0, 1.0]])  # only the sum is seen
    np.testing.assert_allclose(solve(together, np.array([2.0, 2.0])), [1.0, 1.0])


def test_damping_adds_a_part_of_the_diagonal() -> None:
    transformation = gauss_newton()
    state = transformation.init(np.zeros(2))
    curvature = np.diag([4.0, 100.0])
    step, state = transformation.update(np.array([4.0, 100.0]), state, curvature=curvature, damping=1.0)
    np.testing.assert_allclose(step, [0.5, 0.5])
    step, _ = transformation.update(np.array([4.0, 100.0]), state, curvature=3 * curvature, damping=0.0)
    np.testing.assert_allclose(step, [0.5, 0.5])  # the mean of this curvature and the last
