"""Functions of the state whose expectations are differentiated by replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.gradient.linearised import varying
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.replay import propensities_at

Coefficients = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Objective:
    """Functions ``function(x, parameters)`` of the state, whose expectations are differentiated.

    ``x`` is (species,); a scalar counts as one function and an array (functions,) as several. Where the network takes
    inputs, so does the function: ``function(x, parameters, inputs)``. None stands for the network's own.
    """

    network: ReactionNetwork
    function: Callable[..., Any]

    def values(self, x: Any, coefficients: Coefficients, inputs: Any = None) -> Array:
        """The functions (functions,) at one state."""
        given = self.network.given(self.network.inputs if inputs is None else inputs)
        values = self.function(x, self.network.structured(coefficients), *given)
        return jnp.atleast_1d(jnp.asarray(values, jnp.float64))

    @cached_property
    def size(self) -> int:
        """How many functions there are."""
        return int(jax.eval_shape(self.values, self._state, self.network.coefficients).shape[0])

    @cached_property
    def of_state_alone(self) -> bool:
        """Whether parameters do not enter the functions themselves."""
        varies = varying(lambda p: [self.values(self._state, p)], self.network.coefficients)
        return not any(varies)

    @cached_property
    def linear(self) -> bool:
        """Whether the functions are linear in the counts, but for a constant, so that their jumps are constants.

        Those that see a trajectory's inputs do not count, since their jumps may differ. JAX must be able to transpose
        them, which leaves no way for comparisons and products of counts; and since it also transposes a cut to whole
        numbers, they are tried at some states.
        """
        coefficients = self.network.coefficients
        if any(varying(lambda inputs: [self.values(self._state, coefficients, inputs)], self.network.inputs)):
            return False

        def transposed(x: Any, cotangent: Any) -> Any:
            return jax.linear_transpose(lambda state: self.values(state, coefficients), x)(cotangent)

        try:
            jax.eval_shape(transposed, self._state, jnp.zeros(self.size))
        except Exception:  # of many kinds: whatever has no rule
            return False
        states = np.random.default_rng(0).integers(0, 1000, (4, self._state.size)).astype(np.float64)
        with jax.ensure_compile_time_eval():
            slopes = np.asarray(self._slopes(coefficients))
            origin = np.asarray(self.values(jnp.zeros(self._state.size), coefficients))
            got = np.stack([np.asarray(self.values(jnp.asarray(state), coefficients)) for state in states])
        return bool(np.all(np.abs(got - origin - states @ slopes.T) <= 1e-9 * (1.0 + states @ np.abs(slopes).T)))

    def jumps(self, coefficients: Coefficients) -> Array:
        """What each reaction adds to each linear function (functions, reactions)."""
        jumps = jnp.asarray(self.network.stoichiometry, jnp.float64)
        return self._slopes(coefficients) @ (jumps if jumps.size else jnp.zeros((len(jumps), 1)))

    def rates(self, x: Array, inputs: Any, coefficients: Coefficients) -> Array:
        """Propensities (reactions,) of one state."""
        return propensities_at(self.network, x, coefficients, inputs)

    def rates_and_generator(self, x: Array, inputs: Any, coefficients: Coefficients) -> tuple[Array, ...]:
        """Propensities a (reactions,) of one state and, unless the functions are linear, the generator applied to each.

        That is sum_j a_j(x) (f(x + S_j) - f(x)), (functions,). For linear functions it is ``jumps @ a``.
        """
        rates = self.rates(x, inputs, coefficients)
        if self.linear:
            return (rates,)
        moved = x[None] + jnp.asarray(self.network.stoichiometry.T, jnp.float64)
        before = self.values(x, coefficients, inputs)
        changes = jax.vmap(lambda state: self.values(state, coefficients, inputs) - before)(moved)
        return rates, rates[: len(moved)] @ changes

    def _slopes(self, coefficients: Coefficients) -> Array:
        count = self._state.size
        units = jnp.concatenate([jnp.zeros((1, count)), jnp.eye(count)])
        values = jax.vmap(lambda state: self.values(state, coefficients))(units)
        return (values[1:] - values[:1]).T

    @property
    def _state(self) -> Array:
        return jnp.asarray(self.network.x0)
