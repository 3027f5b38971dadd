"""The split coupling: what both copies do together, and what each does alone."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.coupled import by_initial_counts, pair_network, unseen
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.observables import Moment
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.network import ReactionNetwork


def deaths(start: float = 3.0) -> ReactionNetwork:
    return ReactionNetwork([[-1]], lambda x, p: jnp.stack([p["g"] * x[0]]), x0=[start], parameters={"g": 0.5})


def test_both_fire_at_the_smaller_propensity() -> None:
    pair = pair_network(deaths())
    np.testing.assert_array_equal(pair.stoichiometry, [[-1, -1, 0], [-1, 0, -1]])
    assert pair.rates is not None
    x = (jnp.array([4.0, 1.0]), jnp.array([1.0, 6.0]))
    np.testing.assert_allclose(pair.rates(x, (0.5, 1.0)), [[1.0, 0.5], [1.0, 0.0], [0.0, 5.5]])
    assert pair.reactions == ("R0 (both)", "R0", "R0'")


def test_a_molecule_more_at_the_start_lives_as_long_as_any() -> None:
    """d E X(t) / d X(0) = exp(-g t), whole molecules or not; the scale of the quantity is passed on."""
    net = deaths()
    for start in (3.0, 2.25):
        problem = Problem(
            network=net,
            variables=net.species,
            observe=lambda x, coefficients: x,
            linear=(0,),
            functions=(Moment("X0"),),
            parameters=("scale",),
            _start=lambda point, start=start: ((start * point[0],), (jnp.float64(0.5),)),
        )
        task = Task([1.0], np.array([1.0]), 20_000, seed=2)
        mean, error = by_initial_counts(problem, problem.at(task.values), task)
        assert abs(mean[0, 0, 0] - start * np.exp(-0.5)) < 4.5 * error[0, 0, 0] < 0.1


def test_what_was_never_seen_may_have_been_one_in_n() -> None:
    np.testing.assert_allclose(unseen(2.0, np.array([3.0, np.nan]), 100), [0.06, 0.0])
