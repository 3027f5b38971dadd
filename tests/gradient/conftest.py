"""Small networks whose expectations and their derivatives are known from the chemical master equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.linalg import expm, expm_frechet

from sbmlgrad.network import ReactionNetwork


@dataclass(frozen=True, eq=False)
class Case:
    """A network that moves among finitely many ``states``, observed at one time; parameters are k0, k1, ..."""

    jumps: np.ndarray
    propensities: Callable[[Any, Sequence[Any]], Sequence[Any]]
    x0: tuple[int, ...]
    states: tuple[tuple[int, ...], ...]
    values: tuple[float, ...]
    time: float

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(f"k{i}" for i in range(len(self.values)))

    @cached_property
    def network(self) -> ReactionNetwork:
        def stacked(x: Array, parameters: dict[str, Array]) -> Array:
            rates = self.propensities(x, [parameters[name] for name in self.parameters])
            return jnp.stack([jnp.asarray(rate, jnp.float64) for rate in rates])

        named = dict(zip(self.parameters, self.values, strict=True))
        return ReactionNetwork(self.jumps, stacked, x0=self.x0, parameters=named)

    @cached_property
    def moments(self) -> np.ndarray:
        """Means and then second moments (2 * species,), by the matrix exponential of the generator."""
        return self._functions @ (expm(self._generator(self.values) * self.time) @ self._start)

    @cached_property
    def derivatives(self) -> np.ndarray:
        """Their derivatives (parameters, 2 * species), by the Fréchet derivative of the exponential."""
        generator = self._generator(self.values) * self.time
        rows = []
        for i in range(len(self.values)):
            # Propensities are linear in the parameters, so this difference is the derivative.
            shifted = [value + (j == i) for j, value in enumerate(self.values)]
            direction = self._generator(shifted) * self.time - generator
            change = expm_frechet(generator, direction, compute_expm=False)
            rows.append(self._functions @ (change @ self._start))
        return np.array(rows)

    @property
    def _functions(self) -> np.ndarray:
        x = np.array(self.states, float).T
        return np.concatenate([x, x**2])

    @property
    def _start(self) -> np.ndarray:
        return np.array([float(state == self.x0) for state in self.states])

    def _generator(self, values: Sequence[float]) -> np.ndarray:
        index = {state: i for i, state in enumerate(self.states)}
        generator = np.zeros((len(index), len(index)))
        for state, i in index.items():
            rates = self.propensities(np.array(state, float), values)
            for jump, rate in zip(self.jumps.T, rates, strict=True):
                target = index.get(tuple(int(s) for s in np.array(state) + jump))
                if target is not None:
                    generator[target, i] += rate
                    generator[i, i] -= rate
        return generator


@cache
def case_of(name: str, time: float) -> Case:
    """The networks of the project's measurements of gradient estimators."""
    if name == "birth":
        states = tuple((i,) for i in range(61))
        return Case(np.array([[1]]), lambda x, k: [k[0]], (0,), states, (2.0,), time)
    if name == "birth-death":
        states = tuple((i,) for i in range(61))
        return Case(np.array([[1, -1]]), lambda x, k: [k[0], k[1] * x[0]], (0,), states, (10.0, 1.0), time)
    assert name == "dimerisation"
    return Case(
        np.array([[-2, 2], [1, -1]]),
        lambda x, k: [k[0] * x[0] * (x[0] - 1), k[1] * x[1]],
        (20, 0),
        tuple((20 - 2 * i, i) for i in range(11)),
        (0.01, 0.1),
        time,
    )


CASES = [
    ("birth", 5.0),
    ("birth-death", 1.0),
    ("birth-death", 5.0),
    ("dimerisation", 5.0),
    ("dimerisation", 30.0),
]
FEW = {("birth-death", 1.0), ("dimerisation", 5.0)}  # by themselves, in the default run


@pytest.fixture(
    params=[pytest.param(case, marks=[] if case in FEW else [pytest.mark.slow]) for case in CASES],
    ids=lambda case: f"{case[0]}-{case[1]:g}",
)
def case(request: pytest.FixtureRequest) -> Case:
    """Each of the cases in turn."""
    return case_of(*request.param)


@pytest.fixture
def cases() -> list[Case]:
    """All of them."""
    return [case_of(*which) for which in CASES]


@pytest.fixture(scope="session")
def birth_death() -> ReactionNetwork:
    """Born at 10, lost at 1."""
    return ReactionNetwork(
        [[1, -1]], lambda x, p: jnp.stack([p["k"], p["g"] * x[0]]), x0=[0], parameters={"k": 10.0, "g": 1.0}
    )


@pytest.fixture(scope="session")
def neural() -> ReactionNetwork:
    """A gene whose production is a small neural network of its product; parameters in tuples, lists and dicts."""
    rng = np.random.default_rng(1)

    def propensities(x: Array, p: dict[str, Any]) -> Array:
        hidden = x / 10
        for weights, bias in p["layers"]:
            hidden = jnp.tanh(weights @ hidden + bias)
        return jnp.stack([8 * jax.nn.softplus(p["out"]["weights"] @ hidden + p["out"]["bias"]), p["decay"] * x[0]])

    layers = [(rng.normal(size=(3, 1)), rng.normal(size=3)), (rng.normal(size=(2, 3)), rng.normal(size=2))]
    parameters = {
        "layers": layers,
        "out": {"weights": rng.normal(size=2), "bias": np.array(0.1)},
        "decay": 1.0,
        "readout": np.array([0.5, 0.02]),
    }
    return ReactionNetwork([[1, -1]], propensities, x0=[2], parameters=parameters)


MOST = 40  # molecules in the exact answer


@pytest.fixture(scope="session")
def exact_sum() -> Callable[..., float]:
    """The sum of E f(X_t), of a network, a function f, times and parameters."""
    return _exact_sum


def _exact_sum(
    net: ReactionNetwork, function: Callable[..., Any], times: list[float], leaves: list[np.ndarray]
) -> float:
    """The sum of E f(X_t) by the matrix exponential of the generator, cut off at MOST molecules."""
    states = jnp.arange(MOST + 1.0)[:, None]
    birth, death = np.asarray(jax.vmap(lambda x: net.propensities_at(x, leaves))(states)).T
    generator = np.diag(birth[:-1], -1) + np.diag(death[1:], 1)
    generator -= np.diag(generator.sum(axis=0))
    values = np.asarray(jax.vmap(lambda x: jnp.atleast_1d(function(x, net.structured(leaves))))(states)).sum(axis=1)
    start = np.zeros(MOST + 1)
    start[int(net.x0[0])] = 1.0
    return float(sum(values @ (expm(generator * t) @ start) for t in times))
