"""A function of a state and of weights, linearised at many states at once, and transposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from sbmlgrad.network.dependence import reach


class Linearised:
    """A function of one state and of weights, linearised in both, or in the weights alone, at many states.

    What the linear function needs to know is split into what depends on the state, the residues, and what does not,
    such as matrices of weights, which need not be stored for each state.
    """

    def __init__(self, function: Callable[[Array, Any], Any], weights: Any, state: Array, by_state: bool) -> None:
        self._function, self._weights, self._by_state = function, weights, by_state
        self._no_tangent = (jnp.zeros_like(state), jax.tree.map(jnp.zeros_like, weights))
        leaves, self._tree = jax.tree.flatten(self._linearise(state)[1])
        self._varies = varying(lambda state: jax.tree.leaves(self._linearise(state)[1]), state)
        self._constant = [leaf for leaf, varies in zip(leaves, self._varies, strict=True) if not varies]

    def at(self, x: Array) -> tuple[Any, tuple[Array, ...]]:
        """Values (..., *value) and residues (..., *residue) at states (..., species)."""

        def one(state: Array) -> tuple[Any, tuple[Array, ...]]:
            value, push = self._linearise(state)
            leaves = jax.tree.leaves(push)
            return value, tuple(leaf for leaf, varies in zip(leaves, self._varies, strict=True) if varies)

        *outer, species = x.shape
        results = jax.vmap(one)(x.reshape(-1, species))
        return jax.tree.map(lambda leaf: leaf.reshape(*outer, *leaf.shape[1:]), results)

    def pull_state(self, residues: tuple[Array, ...], cotangent: Any) -> Array:
        """What cotangents (states, *value) of the values are as cotangents (states, species) of the states."""

        def one(residues: tuple[Array, ...], cotangent: Any) -> Any:
            pushing, no_tangent = self._pushing(residues), self._no_tangent[1]
            return jax.linear_transpose(lambda tangent: pushing(tangent, no_tangent), self._no_tangent[0])(cotangent)[0]

        return jax.vmap(one)(residues, cotangent)

    def pull_weights(self, residues: tuple[Array, ...], cotangent: Any) -> Any:
        """What cotangents (states, *value) of the values are as a cotangent of the weights, summed over states."""
        states = jax.tree.leaves(cotangent)[0].shape[0]

        def push(tangent: Any) -> Any:
            def one(residues: tuple[Array, ...]) -> Any:
                pushing = self._pushing(residues)
                return pushing(self._no_tangent[0], tangent) if self._by_state else pushing(tangent)

            return jax.vmap(one, axis_size=states)(residues)

        return jax.linear_transpose(push, self._no_tangent[1])(cotangent)[0]

    def _linearise(self, state: Array) -> tuple[Any, Callable[..., Any]]:
        if self._by_state:
            return jax.linearize(self._function, state, self._weights)
        return jax.linearize(lambda weights: self._function(state, weights), self._weights)

    def _pushing(self, residues: tuple[Array, ...]) -> Callable[..., Any]:
        """The linear function at one state."""
        own, shared = iter(residues), iter(self._constant)
        leaves = [next(own) if varies else next(shared) for varies in self._varies]
        push: Callable[..., Any] = jax.tree.unflatten(self._tree, leaves)
        return push


def varying(function: Callable[[Any], Sequence[Any]], point: Any) -> list[bool]:
    """Which of the arrays that ``function`` returns are computed from what is in ``point``."""
    return [bool(row.any()) for row in reach(jax.make_jaxpr(function)(point).jaxpr)]
