"""Functions of the state: which are linear, and what the generator makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.gradient.objective import Objective
from sbmlgrad.network import ReactionNetwork

NET = ReactionNetwork(
    [[1, -1, -2], [0, 0, 1]],
    lambda x, p: jnp.stack([p["k"] + 0 * x[0], p["g"] * x[0], x[0] * (x[0] - 1)]),
    x0=[3, 1],
    parameters={"k": 2.0, "g": 0.5},
)


@pytest.mark.parametrize(
    ("function", "linear"),
    [
        (lambda x, p: x[0] + 2 * x[1] + 7.0, True),
        (lambda x, p: p["k"] * x[0], True),
        (lambda x, p: x[0] * x[1], False),
        (lambda x, p: jnp.floor(x[0] / 2), False),
        (lambda x, p: (x[0] > 1).astype(float), False),
    ],
)
def test_what_is_linear(function: Callable[..., Any], linear: bool) -> None:
    assert Objective(NET, function).linear == linear


def test_jumps_of_linear_functions() -> None:
    objective = Objective(NET, lambda x, p: jnp.stack([x[0] + 2 * x[1], p["k"] * x[1]]))
    assert objective.size == 2
    np.testing.assert_allclose(objective.jumps(NET.coefficients), [[1, -1, 0], [0, 0, 2]])
    assert not objective.of_state_alone
    assert Objective(NET, lambda x, p: x[0]).of_state_alone


def test_the_generator_of_a_square() -> None:
    """sum_j a_j ((x + S_j)^2 - x^2) at x = 3, of births at 2, deaths at 1.5 and pairs at 6."""
    objective = Objective(NET, lambda x, p: x[0] ** 2)
    rates, generator = objective.rates_and_generator(jnp.array([3.0, 1.0]), None, NET.coefficients)
    np.testing.assert_allclose(rates, [2.0, 1.5, 6.0])
    np.testing.assert_allclose(generator, [2 * 7 + 1.5 * -5 + 6 * -8])
