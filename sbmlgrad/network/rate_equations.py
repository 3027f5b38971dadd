"""The rate equations of a network from Python: counts that flow at the mean of their jumps, ``dx/dt = S a(x)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.network.columns import Columns
from sbmlgrad.network.hybrid_model import HybridModel, Relations
from sbmlgrad.network.network import ReactionNetwork


@dataclass(frozen=True, eq=False)
class Function:
    """A JAX function of a vector in the place of a program of a graph."""

    function: Callable[[Any], Any]

    def __call__(self, values: Any, random: Any = None) -> Any:
        """The outputs (outputs,)."""
        return self.function(values)

    def rounding(self, values: Any) -> Any:
        """As that of a program, from the outside: how far rounding of the inputs and outputs moves the outputs."""
        slopes = jax.jacfwd(self.function)(values)
        return jnp.abs(slopes) @ jnp.abs(values) + jnp.abs(self.function(values))


def equations_of_network(network: ReactionNetwork, observables: Sequence[str]) -> HybridModel:
    """The deterministic limit of a network.

    Its quantities are the numbers in its parameters, one after the other: a single one has the parameter's name.
    """
    size = len(network.species)
    leaves = network.coefficients
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
    jumps = jnp.asarray(network.stoichiometry, jnp.float64)
    indices = np.array([network.species.index(name) for name in observables], np.int64)

    def flow(values: Array) -> Array:
        numbers = values[1 + size :]
        parts = [numbers[a:b].reshape(leaf.shape) for a, b, leaf in zip(ends[:-1], ends[1:], leaves, strict=True)]
        return jumps @ network.propensities_at(values[1 : 1 + size], tuple(parts))

    nothing, none = Function(lambda values: jnp.zeros(0)), np.zeros(0, bool)
    return HybridModel(
        source="the network",
        quantities=_quantities(network),
        variables=network.species,
        amounts=np.ones(size, bool),
        observables=tuple(observables),
        events=None,
        channels=(),
        propensities=None,
        columns=Columns.of(size, []),
        whole=np.zeros(size, bool),
        piecewise_constant=False,
        stepwise=None,
        delays=None,
        start_program=Function(lambda quantities: jnp.concatenate([jnp.asarray(network.x0), quantities])),
        flow_program=Function(flow),
        observe_program=Function(lambda values: values[1 : 1 + size][indices]),
        relations=Relations(nothing, none, none, Function(flow), nothing),
        switches=nothing,
        landmarks=None,
    )


def _quantities(network: ReactionNetwork) -> dict[str, float]:
    result: dict[str, float] = {}
    for name, tree in network.parameters.items():
        numbers = flat(jax.tree.leaves(tree))
        single = np.ndim(tree) == 0 and not isinstance(tree, (dict, list, tuple))
        names = [name] if single else [f"{name}[{index}]" for index in range(len(numbers))]
        result.update(zip(names, numbers.tolist(), strict=True))
    return result


def flat(leaves: Sequence[np.ndarray]) -> np.ndarray:
    """All numbers of some arrays, one after the other."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves]) if leaves else np.zeros(0)
