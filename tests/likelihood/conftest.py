"""Networks with known laws, and records drawn without sbmlgrad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.gradient.problem import Problem, differentiable

BIRTH, DEATH = 4.0, 0.7
RATES = {"k": 3.0, "d": 1.0, "b": 2.0, "g": 0.5}


@pytest.fixture(scope="session")
def birth_death() -> Problem:
    """X is born at k and lost at g each, from 3."""
    network = sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"] + 0 * x[0], p["g"] * x[0]), [3], {"k": BIRTH, "g": DEATH}, species=("X",)
    )
    return differentiable(network, ["k", "g"])


@pytest.fixture(scope="session")
def expression() -> Problem:
    """Messages M, which nobody sees, make proteins P."""
    network = sg.ReactionNetwork(
        [[1, -1, 0, 0], [0, 0, 1, -1]],
        lambda x, p: jnp.stack([p["k"] + 0 * x[0], p["d"] * x[0], p["b"] * x[0], p["g"] * x[1]]),
        [0, 0],
        RATES,
        species=("M", "P"),
    )
    return differentiable(network, list(RATES))


@pytest.fixture(scope="session")
def prepared() -> Callable[[Any, np.ndarray], Any]:
    """Returns a likelihood once it has the states that it needs at some values."""

    def widened(likelihood: Any, values: np.ndarray) -> Any:
        likelihood.prepare(values)
        while likelihood.widen(values):
            pass
        return likelihood

    return widened


@pytest.fixture(scope="session")
def differences() -> Callable[..., np.ndarray]:
    """Central differences of a function by each of its values, with a share of it for a step."""

    def slopes(function: Callable[[np.ndarray], float], values: np.ndarray, share: float = 1e-4) -> np.ndarray:
        steps = share * np.diag(values)
        return np.array([(function(values + s) - function(values - s)) / (2 * s.sum()) for s in steps])

    return slopes


@pytest.fixture(scope="session")
def draw() -> Callable[[np.random.Generator, np.ndarray], np.ndarray]:
    """One trajectory of proteins at some times, event by event."""

    def proteins(random: np.random.Generator, times: np.ndarray) -> np.ndarray:
        jumps = np.array([[1, -1, 0, 0], [0, 0, 1, -1]])
        x, now, row = np.zeros(2), 0.0, []
        for time in times:
            while True:
                rates = np.array([RATES["k"], RATES["d"] * x[0], RATES["b"] * x[0], RATES["g"] * x[1]])
                wait = random.exponential(1 / rates.sum())
                if now + wait > time:
                    now = time
                    break
                now += wait
                x = x + jumps[:, random.choice(4, p=rates / rates.sum())]
            row.append(x[1])
        return np.array(row)

    return proteins
