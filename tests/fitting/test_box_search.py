"""Searches within bounds, on functions whose minima are known."""

import numpy as np
import pytest

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.box_search import Local, search

WIDE = np.full(2, 10.0)


def rosenbrock(point: np.ndarray) -> Local:
    """Half the sum of squares of 10 (y - x^2) and 1 - x, with the curvature of Gauss and Newton."""
    x, y = point
    residuals = np.array([10 * (y - x**2), 1 - x])
    jacobian = np.array([[-20 * x, 10.0], [-1.0, 0.0]])
    return Local(0.5 * float(residuals @ residuals), jacobian.T @ residuals, jacobian.T @ jacobian)


def far_from_zero(point: np.ndarray) -> Local:
    """Residuals that stay large, so that the curvature of Gauss and Newton is far from the true one."""
    x, y = point
    residuals = np.array([x**2 + y - 11, x + y**2 - 7, 3 * np.sin(x) + 8, 2 * x * y + 9])
    jacobian = np.array([[2 * x, 1.0], [1.0, 2 * y], [3 * np.cos(x), 0.0], [2 * y, 2 * x]])
    return Local(0.5 * float(residuals @ residuals), jacobian.T @ residuals, jacobian.T @ jacobian)


def test_a_curved_valley_is_followed_to_its_end() -> None:
    found = search(rosenbrock, np.array([-1.2, 1.0]), -WIDE, WIDE)
    np.testing.assert_allclose(found.point, 1.0, atol=1e-4)
    assert (found.converged, found.stuck) == (True, False)
    assert found.evaluations < 60


def test_bounds_hold_and_an_end_at_one_is_the_best_there() -> None:
    found = search(rosenbrock, np.array([-1.2, 1.0]), np.array([-10.0, -10.0]), np.array([0.5, 10.0]))
    np.testing.assert_allclose(found.point, [0.5, 0.25], atol=1e-4)
    assert found.point[0] <= 0.5
    assert found.converged


def test_what_the_curvature_misses_is_learnt() -> None:
    found = search(far_from_zero, np.array([1.0, 1.0]), -WIDE, WIDE)
    assert found.converged
    assert np.max(np.abs(found.local.gradient)) < 1e-2
    assert found.evaluations < 40


def test_a_direction_without_curvature_does_no_harm() -> None:
    def flat(point: np.ndarray) -> Local:
        value = point[0] - 2.0
        return Local(0.5 * value**2, np.array([value, 0.0]), np.diag([1.0, 0.0]))

    found = search(flat, np.array([-3.0, 4.0]), -WIDE, WIDE)
    np.testing.assert_allclose(found.point, [2.0, 4.0], atol=1e-4)


def test_a_step_to_where_nothing_can_be_computed_is_taken_back() -> None:
    def guarded(point: np.ndarray) -> Local:
        if point[0] > 1.5:
            raise SimulationError("too far")
        return rosenbrock(point)

    found = search(guarded, np.array([-1.2, 1.0]), -WIDE, WIDE)
    np.testing.assert_allclose(found.point, 1.0, atol=1e-4)
    with pytest.raises(SimulationError, match="too far"):
        search(guarded, np.array([2.0, 1.0]), -WIDE, WIDE)


def test_a_gradient_that_contradicts_the_value_is_said() -> None:
    def wrong(point: np.ndarray) -> Local:
        right = rosenbrock(point)
        return Local(right.value, -right.gradient, right.curvature)

    found = search(wrong, np.array([-1.2, 1.0]), -WIDE, WIDE)
    assert (found.converged, found.stuck) == (False, True)


def test_the_number_of_evaluations_is_held_to() -> None:
    found = search(rosenbrock, np.array([-1.2, 1.0]), -WIDE, WIDE, most=5)
    assert (found.evaluations, found.converged, found.stuck) == (5, False, False)
    assert "all 5 evaluations" in found.message
