"""Where a function is 0 first, to what is close."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from sbmlgrad.simulation.crossings import first_zero


@pytest.mark.parametrize("power", [1, 3, 5])
@pytest.mark.parametrize("zero", [0.05, 0.3, 0.999])
def test_false_position_finds_the_zero(power: int, zero: float) -> None:
    """Of x^p - z^p, which is nearly flat on one side."""

    def function(fraction: jnp.ndarray) -> jnp.ndarray:
        return fraction**power - zero**power

    low, high = function(jnp.zeros(())), function(jnp.ones(()))
    close = jnp.float64(1e-14 * zero ** (power - 1))
    assert float(first_zero(function, low, high, close, jnp.ones((), bool))) == pytest.approx(zero, rel=1e-6)


def test_where_none_is_asked_for_the_step_is_whole() -> None:
    low, high = jnp.float64(-1.0), jnp.float64(1.0)
    assert float(first_zero(lambda f: 2 * f - 1, low, high, jnp.float64(1e-9), jnp.zeros((), bool))) == 1.0
