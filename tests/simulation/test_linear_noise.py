"""The linear noise approximation against closed forms, and against its own equations solved directly."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sbmlgrad.errors import SimulationError
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.linear_noise import linear_noise

TIMES = np.array([0.0, 0.3, 1.0, 2.5, 7.0])
EARLIER = np.minimum.outer(np.arange(TIMES.size), np.arange(TIMES.size))
APART = np.abs(TIMES[:, None] - TIMES[None, :])


def covariance(network: ReactionNetwork, times: np.ndarray) -> np.ndarray:
    """Of all counts (species, times, species, times)."""
    actual = linear_noise(network, network.x0, network.coefficients, times)
    size = len(network.species)
    return actual.covariance(np.repeat(np.eye(size)[None], len(times), axis=0))


def test_birth_death_from_nothing_is_poisson() -> None:
    """The mean m grows to k / g, the variance is m, and the covariance m(s) exp(-g (t - s))."""
    k, g = 7.0, 0.8
    network = ReactionNetwork(
        np.array([[1, -1]]), lambda x, p: jnp.array([p["k"], p["g"] * x[0]]), [0], {"k": k, "g": g}
    )
    mean = k / g * (1 - np.exp(-g * TIMES))
    actual = linear_noise(network, network.x0, network.coefficients, TIMES)
    assert actual.mean[:, 0] == pytest.approx(mean, rel=1e-6)
    assert covariance(network, TIMES)[0, :, 0, :] == pytest.approx(mean[EARLIER] * np.exp(-g * APART), rel=1e-5)


def test_isomerisation_is_binomial() -> None:
    """Each of N molecules is in A with probability p(t) by itself; counts that are conserved do not vary."""
    forth, back, n = 0.7, 0.4, 100
    network = ReactionNetwork(
        np.array([[-1, 1], [1, -1]]),
        lambda x, p: jnp.array([p["f"] * x[0], p["b"] * x[1]]),
        [n, 0],
        {"f": forth, "b": back},
    )
    total = forth + back
    p = (back + forth * np.exp(-total * TIMES)) / total
    expected = n * (p * (1 - p))[EARLIER] * np.exp(-total * APART)
    actual = covariance(network, TIMES)
    assert actual[0, :, 0, :] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert actual[0, :, 1, :] == pytest.approx(-expected, rel=1e-5, abs=1e-9)


def test_a_nonlinear_stiff_network_follows_its_equations() -> None:
    """A promoter that switches a thousand times faster than all else, and pairs that form and part."""
    parameters = {"on": 1000.0, "off": 20.0, "make": 40.0, "pair": 0.05, "part": 0.5, "die": 0.3}
    jumps = np.array([[1, -1, 0, 0, 0, 0], [0, 0, 1, -2, 2, -1], [0, 0, 0, 1, -1, 0]])

    def propensities(x: jnp.ndarray, p: dict[str, float]) -> jnp.ndarray:
        pairs = p["pair"] * x[1] * (x[1] - 1) / 2
        rest = [p["make"] * x[0], pairs, p["part"] * x[2], p["die"] * x[1]]
        return jnp.stack([p["on"] * (1 - x[0]), p["off"] * x[1] * x[0], *rest])

    network = ReactionNetwork(jumps, propensities, [1, 0, 5], parameters)
    p = parameters

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        x, sigma = y[:3], y[3:].reshape(3, 3)
        a = np.array(
            [
                p["on"] * (1 - x[0]),
                p["off"] * x[1] * x[0],
                p["make"] * x[0],
                p["pair"] * x[1] * (x[1] - 1) / 2,
                p["part"] * x[2],
                p["die"] * x[1],
            ]
        )
        by_x = np.zeros((6, 3))
        by_x[0, 0], by_x[1, :2], by_x[2, 0] = -p["on"], (p["off"] * x[1], p["off"] * x[0]), p["make"]
        by_x[3, 1], by_x[4, 2], by_x[5, 1] = p["pair"] * (x[1] - 0.5), p["part"], p["die"]
        j = jumps @ by_x
        return np.concatenate([jumps @ a, (j @ sigma + sigma @ j.T + (jumps * a) @ jumps.T).ravel()])

    times = np.array([0.01, 0.5, 2.0, 10.0])
    expected = solve_ivp(slope, (0, 10), np.append([1, 0, 5], np.zeros(9)), "Radau", times, rtol=1e-9, atol=1e-9).y
    actual = covariance(network, times)
    for i in range(len(times)):
        assert actual[:, i, :, i] == pytest.approx(expected[3:, i].reshape(3, 3), rel=1e-3, abs=1e-4)


def test_fractions_at_the_start_vary_as_simulations_draw_them() -> None:
    network = ReactionNetwork(np.array([[-1]]), lambda x, p: jnp.array([p["g"] * x[0]]), [2.25], {"g": 1.0})
    assert covariance(network, np.array([0.0]))[0, 0, 0, 0] == pytest.approx(0.25 * 0.75)


def test_what_runs_away_is_refused() -> None:
    network = ReactionNetwork(np.array([[1]]), lambda x, p: jnp.array([p["k"] * x[0] ** 2]), [10], {"k": 1.0})
    with pytest.raises(SimulationError, match="cannot be followed"):
        linear_noise(network, network.x0, network.coefficients, np.array([1.0]))
