"""Rate equations at the edges: laws that fail just below 0, values that are missing, many equations."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError, UnknownIdError
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities, solve
from sbmlgrad.simulation.path import Settings

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


# Cases of the SBML Test Suite with events: triggers on time and on the state, delays, priorities, values from the
# time of the trigger, two compartments.
QUICK = ("00026", "00351")
CASES = ("00071", "00354", "00370", "00373", "00421", "00612", "00651", "00930")
TOLERANCE = 1e-5


@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in CASES)])
def test_derivatives_across_events_are_those_of_differences(case: str, data_dir: Path) -> None:
    path = data_dir / "sbml-test-suite" / "semantic" / case / f"{case}-sbml-l3v1.xml"
    if not path.is_file():
        pytest.skip(f"no case {case} of the SBML Test Suite at {path}")
    model = sg.read_sbml(path)
    assert model.elements.events
    equations, quantities = prepare_equations(model, None, None)
    times = np.linspace(0, 5, 14) + 0.0123  # away from round times, at which events happen in these cases
    indices = [p for p, value in enumerate(quantities) if np.isfinite(value) and value != 0][:4]
    values, slopes = sensitivities(equations, quantities, indices, times)
    assert values == pytest.approx(solve(equations, quantities, times), nan_ok=True)
    tight = Settings(relative=1e-11)
    for index, slope in zip(indices, slopes, strict=True):
        step = np.zeros(len(quantities))
        step[index] = 1e-5 * quantities[index]
        above, below = (solve(equations, quantities + s, times, settings=tight) for s in (step, -step))
        difference = (above - below) / (2 * step[index])
        # of the largest derivative by this quantity, or of what its own size would make of the values
        scale = max(np.abs(difference).max(), 1e-6 * np.abs(values).max() / abs(quantities[index]))
        assert np.abs(slope - difference).max() <= TOLERANCE * scale, equations.observables
