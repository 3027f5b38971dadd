"""What is differentiated: derivatives along given directions, times to record at, and what is kept."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError, UnknownIdError
from sbmlgrad.gradient.problem import differentiable, moved, once, push, total
from sbmlgrad.network import ReactionNetwork


def network() -> ReactionNetwork:
    return ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["k"] + 0 * x[0], p["g"] * x[0]]),
        x0=[4],
        parameters={"k": 3.0, "g": 0.5},
        species=("X",),
    )


def test_a_direction_pushes_a_value() -> None:
    """d (x y c) along dx = 1, dc = 2, nothing for y."""
    x, c = (jnp.array([3.0]), jnp.array([5.0])), (jnp.float64(7.0),)
    value, slope = push(lambda x, c: x[0] * x[1] * c[0], x, c, [jnp.ones(1), None], [2.0])
    assert (float(value[0]), float(slope[0])) == (105.0, 5 * 7 + 2 * 3 * 5)
    value, slope = push(lambda x, c: x[0] * c[0], x, c, [None, None], [None])
    assert (float(value[0]), float(slope[0])) == (21.0, 0.0)


def test_derivatives_of_coefficients_are_none_where_nothing_depends() -> None:
    point = differentiable(network(), ["g"]).at([2.0])
    assert point.counts == (4.0,)
    assert [float(c) for c in point.coefficients] == [3.0, 2.0]
    assert point.tangents.coefficients[0][0] is None
    assert float(point.tangents.coefficients[0][1]) == 1.0
    assert not point.tangents.moves_counts(0)
    assert point.tangents.moves_rates(0)


def test_the_generator_of_a_count() -> None:
    """Births at k, deaths at g x: of x it is k - g x, of x^2 (2 x + 1) k - (2 x - 1) g x."""
    problem = differentiable(network(), ["k"], ["X", sg.Moment("X", "X")])
    rates, drift = problem.rates_and_generator((jnp.array([4.0, 0.0]),), (3.0, 0.5))
    np.testing.assert_allclose(rates, [[3.0, 3.0], [2.0, 0.0]])
    np.testing.assert_allclose(drift, [[1.0, 3.0], [9 * 3 - 7 * 2, 3.0]])
    assert problem.of_counts_alone
    np.testing.assert_array_equal(problem.reached, [[True, False], [False, True]])


def test_times_to_record_at() -> None:
    problem = differentiable(network(), ["k"], ["X", sg.Autocorrelation("X", 1.5)])
    grid, indices = problem.grid(np.array([1.0, 2.0]), 0.0, [0.0])
    assert grid.tolist() == [0.0, 1.0, 1.5, 2.0]
    assert indices.tolist() == [1, 3]
    assert problem.latest(grid, indices).tolist() == [[1, 3], [2, 3]]
    with pytest.raises(SbmlgradError, match="lies before the start, 2"):
        problem.grid(np.array([3.0]), 2.0)


def test_some_of_the_parameters() -> None:
    problem = differentiable(network(), ["k", "g"]).at_fixed_counts([1])
    assert problem.parameters == ("g",)
    assert problem.own([3.0, 0.5]).tolist() == [0.5]
    assert problem.shifted([3.0, 0.5], 0, 0.25).tolist() == [3.0, 0.75]
    assert len(problem.at([3.0, 0.5]).tangents.coefficients) == 1


def test_small_parts() -> None:
    assert [float(v) for v in moved((1.0, 2.0), np.array([0, -2]))] == [1.0, 0.0]
    assert total([]) == total([0.0, 0.0]) == 0.0
    cache: dict[str, list[int]] = {}
    assert once(cache, "a", list) is once(cache, "a", list)


def test_names_that_are_none_are_refused() -> None:
    with pytest.raises(UnknownIdError, match="no quantity 'K' to differentiate by; there are k, g"):
        differentiable(network(), ["K"])
    with pytest.raises(UnknownIdError, match="there is no 'Y' to look at; there are X"):
        differentiable(network(), ["k"], ["Y"])
    with pytest.raises(SbmlgradError, match="name at least one parameter"):
        differentiable(network(), [])
