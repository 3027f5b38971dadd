"""Rate equations at the edges: laws that fail just below 0, values that are missing, many equations."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError, UnknownIdError

TIMES = np.linspace(0.0, 1.0, 6)


def test_a_power_law_at_zero_is_not_stopped_by_errors_below_zero(model: Callable[..., sg.Model]) -> None:
    """A chain whose end is 0 at first, and only noise is negative there."""
    species = {name: {"amount": amount} for name, amount in (("A", 1000.0), ("B", 0.0), ("C", 0.0), ("D", 0.0))}
    laws = {"R1": ("A -> B", "2*A"), "R2": ("B -> C", "10*B - C"), "R3": ("C -> D", "30*C^3.97/(50^3.97 + C^3.97)")}
    mean = sg.simulate(model(species, laws), TIMES, method="ode").mean
    assert (mean.to_numpy()[-1] > 0).all()
    np.testing.assert_allclose(mean.sum(axis=1), 1000.0, rtol=1e-9)


def test_a_law_that_has_no_value_below_zero_stops(model: Callable[..., sg.Model]) -> None:
    """What is far below 0 is not taken for 0."""
    falling = model({"A": {"amount": 1.0}}, {"R": ("A -> ", "3 + 0*A^0.5")})
    with pytest.raises(SimulationError, match="cannot be followed beyond time 0.333"):
        sg.simulate(falling, TIMES, method="ode")


def test_a_missing_initial_value_is_named(model: Callable[..., sg.Model]) -> None:
    open_ended = model({"A": {"amount": 1.0}, "B": {}}, {"R": ("A -> B", "A")})
    with pytest.raises(SimulationError, match="'B' has no finite initial value; give it one with B=value"):
        sg.simulate(open_ended, TIMES, method="ode")
    assert sg.simulate(open_ended, TIMES, method="ode", parameters={"B": 0.0}).mean["B"].iloc[-1] > 0.6


def test_a_network_from_python_has_rate_equations_too() -> None:
    """A <-> B by hand, with an array of parameters and a changed one, against the solution."""

    def propensities(x: jax.Array, p: Mapping[str, jax.Array]) -> jax.Array:
        return jnp.stack([p["k"][0] * x[0], p["k"][1] * x[1]])

    network = sg.ReactionNetwork([[-1, 1], [1, -1]], propensities, [10.5, 0], {"k": [2.0, 1.0]}, ("A", "B"))
    for rates in ([2.0, 1.0], [0.5, 0.25]):
        actual = sg.simulate(network, TIMES, method="ode", parameters={"k": rates}, select=["B"]).mean["B"]
        total = sum(rates)
        exact = 10.5 * rates[0] / total * (1 - np.exp(-total * TIMES))
        np.testing.assert_allclose(actual, exact, rtol=1e-6, atol=1e-9)
    with pytest.raises(UnknownIdError, match="the network has no 'C'"):
        sg.simulate(network, TIMES, method="ode", select=["C"])
