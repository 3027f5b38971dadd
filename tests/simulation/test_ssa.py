"""One step of the loop: who fires, when, and who waits for an observation."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ssa import broken, select_by, take_step


class Last:
    """Carries the last step that was taken."""

    def initial(self, x: Any, coefficients: Any, aux: Any) -> tuple[Any, ...]:
        return ()

    def advance(self, carry: Any, step: Any, aux: Any) -> tuple[Any, ...]:
        return (step.reaction, step.wait, step.fires)

    def record(self, carry: Any, x: Any, coefficients: Any, aux: Any) -> tuple[Any, ...]:
        return ()


NET = ReactionNetwork(
    [[1, -1, -2]], lambda x, p: jnp.stack([p["k"] + 0 * x[0], x[0], 3 * x[0]]), x0=[2], parameters={"k": 2.0}
)


def test_each_reaction_fires_in_its_part_of_the_total() -> None:
    """At x = 2 the running sums are 2, 4 and 10; the fourth trajectory comes to its observation first."""
    exponentials, uniforms = jnp.array([5.0, 5.0, 5.0, 20.0]), jnp.array([0.19, 0.21, 0.41, 0.9])
    (x,), time, (reaction, wait, fires) = take_step(
        NET,
        Last(),
        (jnp.full(4, 2.0),),
        jnp.full(4, 1.0),
        jnp.full(4, 2.0),
        (),
        exponentials,
        uniforms,
        NET.coefficients,
        None,
        jnp.float64(1.0),
    )
    np.testing.assert_array_equal(reaction, [0, 1, 2, 3])
    np.testing.assert_array_equal(fires, [True, True, True, False])
    np.testing.assert_allclose(time, [1.5, 1.5, 1.5, 2.0])
    np.testing.assert_allclose(wait, [0.5, 0.5, 0.5, 1.0])
    np.testing.assert_array_equal(x, [3, 1, 0, 2])


def test_a_total_of_minus_zero_never_fires() -> None:
    pairing = ReactionNetwork([[-2]], lambda x, p: jnp.stack([-0.0 * x[0]]), x0=[0], parameters={"k": 1.0})
    x, start, end = jnp.array([0.0]), jnp.array([1.0]), jnp.array([2.0])
    draws = jnp.array([0.5]), jnp.array([0.5])
    (moved,), time, (_, _, fires) = take_step(
        pairing, Last(), (x,), start, end, (), *draws, (jnp.array(1.0),), (), None
    )
    assert (float(moved[0]), float(time[0]), bool(fires[0])) == (0.0, 2.0, False)


def test_propensities_that_are_no_rates_are_seen() -> None:
    law = ReactionNetwork(
        [[1, -1]], lambda x, p: jnp.stack([p["k"] - x[0], 2 * x[0]]), x0=[0], parameters={"k": 2.0}, nonnegative=False
    )
    x = (jnp.array([1.0, 3.0, jnp.nan, jnp.inf]),)
    np.testing.assert_array_equal(broken(law, x, law.coefficients), [False, True, True, True])


def test_equal_numbers_are_chosen_by_index() -> None:
    index = jnp.array([0, 1, 2, 3, 4], jnp.float32)
    chosen = select_by(index, [1.0, 0.0, jnp.full(5, 7.0), 1.0], 0.0)
    np.testing.assert_array_equal(chosen, [1, 0, 7, 1, 0])
