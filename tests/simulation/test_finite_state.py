"""Finite state projection against laws in closed form and dense matrix exponentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats
from scipy.linalg import expm, expm_frechet

from sbmlgrad.errors import PropensityError, SbmlgradError, SimulationError
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.finite_state import StateSpace, evolve, evolve_and_integrate, explore

TIME = 1.5


def network(
    jumps: Sequence[Sequence[int]], laws: Callable[[Array, Any], Sequence[Any]], **parameters: float
) -> ReactionNetwork:
    """Species and reactions of ``jumps`` with the propensities that ``laws`` lists."""
    return ReactionNetwork(
        np.array(jumps),
        lambda x, p: jnp.stack([jnp.asarray(law, jnp.float64) for law in laws(x, p)]),
        x0=[0] * len(jumps),
        parameters=parameters,
    )


@pytest.fixture(scope="module")
def birth_death() -> ReactionNetwork:
    return network([[1, -1]], lambda x, p: [p["k"], p["g"] * x[0]], k=10.0, g=1.0)


@pytest.fixture(scope="module")
def death() -> ReactionNetwork:
    return network([[-1]], lambda x, p: [p["g"] * x[0]], g=0.7)


@pytest.fixture(scope="module")
def dimers() -> ReactionNetwork:
    """Monomers that pair: closed, and only every second number of monomers is reached."""
    return network([[-2, 2], [1, -1]], lambda x, p: [p["k"] * x[0] * (x[0] - 1), p["u"] * x[1]], k=0.01, u=0.1)


@pytest.fixture(scope="module")
def toggle() -> ReactionNetwork:
    """Two genes, each of which represses the other: not linear in K."""
    return network(
        [[1, -1, 0, 0], [0, 0, 1, -1]],
        lambda x, p: [
            p["a"] / (1 + (x[1] / p["K"]) ** 2),
            p["g"] * x[0],
            p["a"] / (1 + (x[0] / p["K"]) ** 2),
            p["g"] * x[1],
        ],
        a=4.0,
        g=1.0,
        K=2.0,
    )


def generator(space: StateSpace, rates: np.ndarray) -> np.ndarray:
    """The dense matrix (states, states) whose exponential moves probabilities, column to row."""
    dense = np.zeros((len(space) + 1, len(space) + 1))
    for successors, row in zip(space.successors, rates, strict=True):
        np.add.at(dense, (successors, np.arange(len(space))), row)
        np.add.at(dense, (np.arange(len(space)), np.arange(len(space))), -row)
    return dense[:-1, :-1]


# ---- laws in closed form -------------------------------------------------------------------------------


def test_birth_and_death_is_poisson(birth_death: ReactionNetwork) -> None:
    space = explore(birth_death, [[0]], birth_death.coefficients, TIME)
    mean = 10 * -np.expm1(-TIME)
    p = evolve(space, space.rates(birth_death, birth_death.coefficients), space.distribution([[0]]), TIME)
    error = np.abs(p - stats.poisson.pmf(space.states[:, 0], mean)).sum()
    assert error <= space.lost + 1e-13
    assert space.lost < 1e-10
    assert abs(1 - float(p.sum()) - stats.poisson.sf(space.states[-1, 0], mean)) < 1e-10


def test_pure_death_is_binomial_on_a_closed_space(death: ReactionNetwork) -> None:
    space = explore(death, [[12]], death.coefficients, TIME)
    np.testing.assert_array_equal(space.states, np.arange(13)[:, None])
    assert space.lost == 0
    p = evolve(space, space.rates(death, death.coefficients), space.distribution([[12]]), TIME)
    np.testing.assert_allclose(p, stats.binom.pmf(np.arange(13), 12, np.exp(-0.7 * TIME)), rtol=1e-12)


def test_initial_states_are_mixed(death: ReactionNetwork) -> None:
    space = explore(death, [[3], [8], [3]], death.coefficients, TIME, weights=[0.25, 0.5, 0.25])
    assert len(space) == 9
    p = space.distribution([[3], [8], [3]], [0.25, 0.5, 0.25])
    np.testing.assert_array_equal(p[[3, 8]], 0.5)
    np.testing.assert_array_equal(space.distribution([[3], [8]]), p)
    left = space.x[0] @ evolve(space, space.rates(death, death.coefficients), p, TIME)
    np.testing.assert_allclose(left, 5.5 * np.exp(-0.7 * TIME), rtol=1e-12)


def test_only_states_that_are_reached_are_in(dimers: ReactionNetwork) -> None:
    space = explore(dimers, [[20, 0]], dimers.coefficients, 100.0)
    np.testing.assert_array_equal(space.states, [(20 - 2 * d, d) for d in range(10, -1, -1)])
    still = explore(dimers, [[20, 0]], (0.0, 0.1), 100.0)
    assert len(still) == 1


# ---- dense exponentials --------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [0.01, TIME, 40.0])
def test_probabilities_and_integral_are_those_of_the_dense_exponential(toggle: ReactionNetwork, time: float) -> None:
    space = explore(toggle, [[2, 0]], toggle.coefficients, time, tolerance=1e-5)
    rates = space.rates(toggle, toggle.coefficients)
    dense = generator(space, np.asarray(rates))
    signed = np.random.default_rng(0).normal(size=len(space))
    for start in (space.distribution([[2, 0]]), signed):
        p, integral = evolve_and_integrate(space, rates, start, time)
        size = np.abs(start).sum()
        assert np.abs(p - expm(dense * time) @ start).sum() < 1e-11 * size
        np.testing.assert_array_equal(p, evolve(space, rates, start, time))
        # The integral of a flow is its end less its start, put back through the generator.
        assert np.abs(dense @ integral - (np.asarray(p) - start)).sum() < 1e-11 * size * (1 + time)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_derivatives_are_those_of_the_dense_exponential(toggle: ReactionNetwork, mode: str) -> None:
    space = explore(toggle, [[0, 0]], toggle.coefficients, TIME, tolerance=1e-5)
    start = space.distribution([[0, 0]])
    values = tuple(map(jnp.asarray, toggle.coefficients))

    def mean(coefficients: Any, p: Array) -> Array:
        return space.x[0] @ evolve(space, space.rates(toggle, coefficients), p, TIME)

    differentiate = jax.jacfwd if mode == "forward" else jax.grad
    by_values, by_start = differentiate(mean, argnums=(0, 1))(values, jnp.asarray(start))
    dense = generator(space, np.asarray(space.rates(toggle, values)))
    changes = jax.jacfwd(lambda coefficients: space.rates(toggle, coefficients))(values)
    for actual, change in zip(by_values, changes, strict=True):
        frechet = expm_frechet(dense * TIME, generator(space, np.asarray(change)) * TIME, compute_expm=False)
        np.testing.assert_allclose(actual, space.x[0] @ frechet @ start, rtol=1e-10)
    np.testing.assert_allclose(by_start, space.x[0] @ expm(dense * TIME), rtol=1e-10)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_of_the_integral(birth_death: ReactionNetwork, mode: Any) -> None:
    """The integral of k/g (1 - e^-gt)."""
    space = explore(birth_death, [[0]], birth_death.coefficients, TIME, tolerance=1e-13)
    start = space.distribution([[0]])

    def area(coefficients: Any) -> Array:
        return space.x[0] @ evolve_and_integrate(space, space.rates(birth_death, coefficients), start, TIME)[1]

    k, g = values = tuple(map(jnp.asarray, birth_death.coefficients))
    exact = jax.grad(lambda k, g: k * (TIME / g + jnp.expm1(-g * TIME) / g**2), argnums=(0, 1))(k, g)
    np.testing.assert_allclose(mode(area)(values), exact, rtol=1e-9)


def test_a_rate_of_zero_has_a_derivative(death: ReactionNetwork) -> None:
    """Nothing happens at g = 0, but d E X / dg = -t x0 there."""
    space = explore(death, [[4]], death.coefficients, TIME)
    start = space.distribution([[4]])
    slope = jax.grad(lambda g: space.x[0] @ evolve(space, space.rates(death, (g,)), start, TIME))(0.0)
    np.testing.assert_allclose(slope, -TIME * 4, rtol=1e-12)


def test_known_bounds_allow_jit_and_vmap(death: ReactionNetwork) -> None:
    space = explore(death, [[4]], death.coefficients, TIME)
    start = space.distribution([[4]])

    @jax.jit
    @jax.vmap
    def mean(g: Array) -> Array:
        return space.x[0] @ evolve(space, space.rates(death, (g,)), start, TIME, fastest=4 * 0.9)

    g = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(mean(g), 4 * np.exp(-g * TIME), rtol=1e-12)
    with pytest.raises(SbmlgradError, match="fastest: give an upper bound"):
        jax.jit(lambda g: evolve(space, space.rates(death, (g,)), start, TIME))(0.1)


# ---- the bound ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-7])
def test_the_bound_is_honest(toggle: ReactionNetwork, tolerance: float) -> None:
    """What is missing from a small space is no more than it says, and no probability in it is too large."""
    spaces = [explore(toggle, [[0, 0]], toggle.coefficients, 20.0, tolerance=t) for t in (tolerance, 1e-12)]
    courses = []
    for space in spaces:
        rates = space.rates(toggle, toggle.coefficients)
        courses.append(np.asarray(evolve(space, rates, space.distribution([[0, 0]]), 20.0)))
    few, many = (
        dict(zip(map(tuple, space.states.tolist()), p.tolist(), strict=True))
        for space, p in zip(spaces, courses, strict=True)
    )
    missing = np.array([value - few.get(state, 0.0) for state, value in many.items()])
    assert len(few) < len(many)
    assert missing.min() > -1e-13
    assert 1 - courses[0].sum() <= spaces[0].lost <= tolerance
    assert missing.sum() <= spaces[0].lost + 1e-12


def test_an_unlimited_space_is_refused() -> None:
    doubling = network([[1]], lambda x, p: [p["k"] * x[0]], k=2.0)
    with pytest.raises(SimulationError, match=r"more than 500 states .* 'X0' already reaches \d+ mol.*raise") as error:
        explore(doubling, [[1]], doubling.coefficients, 10.0, limit=500)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (lambda x, p: [p["g"] + 0 * x[0]], "X0=0, where it makes a count negative"),
        (lambda x, p: [p["g"] * (x[0] - 1.5)], "propensity is -0.35 at X0=1"),
        (lambda x, p: [p["g"] / (x[0] * (x[0] - 1))], "propensity is inf"),
    ],
)
def test_propensities_are_checked(law: Any, message: str) -> None:
    net = network([[-1]], law, g=0.7)
    with pytest.raises(PropensityError, match=f"reaction 'R0': .*{message}"):
        explore(net, [[3]], net.coefficients, 50.0)


def test_what_cannot_be_is_refused(death: ReactionNetwork) -> None:
    space = explore(death, [[3]], death.coefficients, TIME)
    rates, start = space.rates(death, death.coefficients), space.distribution([[3]])
    with pytest.raises(SbmlgradError, match=r"\[4\] is not in this space"):
        space.distribution([[4]])
    for counts in ([3], [[-1]], [[0.5]], [[1, 2]]):
        with pytest.raises(SbmlgradError, match="whole numbers that are not negative"):
            explore(death, counts, death.coefficients, TIME)
    with pytest.raises(SbmlgradError, match="one for each of 1"):
        space.distribution([[3]], [0.5, 0.5])
    with pytest.raises(SbmlgradError, match="horizon and tolerance"):
        explore(death, [[3]], death.coefficients, -1.0)
    with pytest.raises(SbmlgradError, match="duration"):
        evolve(space, rates, start, -1.0)
    with pytest.raises(SbmlgradError, match="expected shapes"):
        evolve(space, rates[:, :2], start, TIME)


def test_no_time_changes_nothing(death: ReactionNetwork) -> None:
    space = explore(death, [[3]], death.coefficients, 0.0)
    assert len(space) == 1
    p, integral = evolve_and_integrate(space, space.rates(death, death.coefficients), jnp.ones(1), 0.0)
    assert (float(p[0]), float(integral[0])) == (1.0, 0.0)
