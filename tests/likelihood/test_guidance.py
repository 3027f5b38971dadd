"""Which reactions particles are led to."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.guidance import Guidance


def multipliers(problem: Problem, value: float, left: float = 0.1) -> list[float]:
    guidance = Guidance.of(problem, (0,))
    x, coefficients = (jnp.array([6.0]),), tuple(map(jnp.asarray, problem.network.coefficients))
    found = guidance.multipliers(x, coefficients, jnp.array([left]), jnp.array([[value]]), jnp.zeros((1, 1)))
    return [float(np.asarray(factor).item()) for factor in found]


def test_towards_the_value(birth_death: Problem) -> None:
    birth, death = multipliers(birth_death, 9.0)
    assert birth > 1 > death > 0
    birth, death = multipliers(birth_death, 3.0)
    assert death > 1 > birth > 0
    birth, death = multipliers(birth_death, 6.0)
    assert max(birth, death) < 1


def test_the_farther_ahead_the_less(birth_death: Problem) -> None:
    near, far = multipliers(birth_death, 8.0)[0], multipliers(birth_death, 8.0, 20.0)[0]
    assert near > far
    assert abs(far - 1) < 1e-4


def test_a_value_that_is_missing_leads_nowhere(birth_death: Problem) -> None:
    assert multipliers(birth_death, np.nan) == [1.0, 1.0]
