"""The derivative of a large flow from few directions is that of all directions."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sbmlgrad as sg
from sbmlgrad.network.assembly import rate_equations
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.jacobian import Jacobian

LONG = 60


def chain(model: Callable[..., sg.Model], more: Mapping[str, float] | None = None, **parts: Any) -> HybridModel:
    """Species that turn into the next one, all with the help of the first, in a compartment of size 2."""
    species = {f"S{i}": {"amount": 1.0 + 0.1 * i, "only": i % 2 == 0} for i in range(LONG)}
    laws = {f"R{i}": (f"S{i} -> 2 S{i + 1}", f"k*S{i}*S0/(1 + S{i + 1})*(2 + sin(time))") for i in range(LONG - 1)}
    return rate_equations(model(species, laws, {"k": 0.3, **(more or {})}, {"cell": 2.0}, **parts))


def compared(equations: HybridModel) -> Jacobian:
    """The derivative, after a comparison with that of every direction for itself at a random place."""
    system = equations.jacobian
    assert system is not None
    coefficients = equations.start(jnp.array(list(equations.quantities.values())))[1]
    state, time = jnp.asarray(np.random.default_rng(1).uniform(0.5, 2.0, system.size)), jnp.float64(0.7)
    jacobian, slope = system(time, state, coefficients)
    by_time, by_state = jax.jacfwd(equations.flow, argnums=(0, 1))(time, state, coefficients)
    np.testing.assert_allclose(jacobian, by_state, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope, by_time, rtol=1e-12, atol=1e-14)
    return system


def test_neighbours_need_few_directions(model: Callable[..., sg.Model]) -> None:
    assert len(compared(chain(model)).directions) <= 5  # the first, its neighbours in turn, and time


def test_a_variable_may_be_the_rate_of_another(model: Callable[..., sg.Model]) -> None:
    """Terms that are variables, constants or time themselves, and one that stands twice in a sum."""
    rates = {"p": "q", "q": "-p - p", "r": "time", "s": "3"}
    parameters = {"p": 1.0, "q": 2.0, "r": 0.0, "s": 0.0}
    compared(chain(model, rates=rates, more=parameters))


def test_few_or_entangled_variables_have_no_shorter_way(model: Callable[..., sg.Model]) -> None:
    few = model({"A": {"amount": 1.0}}, {"R": ("A -> ", "A")})
    assert rate_equations(few).jacobian is None
    species = {f"S{i}": {"amount": 1.0} for i in range(LONG)}
    everything = " + ".join(species)
    entangled = model(species, {f"R{i}": (f"S{i} -> ", f"S{i}/({everything})") for i in range(LONG)})
    assert rate_equations(entangled).jacobian is None


def test_a_large_model_runs_as_its_parts_do(model: Callable[..., sg.Model]) -> None:
    """Independent pairs, of which a model of one pair is simulated the other way."""
    species, laws = {}, {}
    for i in range(LONG):
        species |= {f"A{i}": {"amount": 1.0}, f"B{i}": {"amount": 0.5}}
        laws[f"R{i}"] = (f"A{i} + B{i} -> 2 B{i}", f"{1.0 + i}*A{i}*B{i}")
    times = np.linspace(0.0, 2.0, 11)
    whole = sg.simulate(model(species, laws), times, method="ode").mean
    for i in (0, 17, LONG - 1):
        own = {name: species[name] for name in (f"A{i}", f"B{i}")}
        part = sg.simulate(model(own, {f"R{i}": laws[f"R{i}"]}), times, method="ode").mean
        np.testing.assert_allclose(whole[list(own)], part, rtol=1e-6, atol=1e-10)
