"""A function of a state, of what a trajectory is given and of weights, linearised at many states and transposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sbmlgrad.network.dependence import reach


class Residues(NamedTuple):
    """What a linear function needs to know of a state, and what of a trajectory, whatever its state."""

    of_state: tuple[Array, ...]
    of_trajectory: tuple[Array, ...]


class Linearised:
    """``function(state, given, weights)``, linearised in state and weights, or in the weights alone, at many states.

    ``given`` (a tree) is what each trajectory has of its own. What the linear function needs to know is split into
    what depends on the state, what depends on what is given alone, such as an image, and what depends on neither,
    such as matrices of weights: only the first is stored for each state.
    """

    def __init__(
        self, function: Callable[[Array, Any, Any], Any], weights: Any, state: Array, given: Any, by_state: bool
    ) -> None:
        self._function, self._weights, self._by_state = function, weights, by_state
        self._no_tangent = (jnp.zeros_like(state), jax.tree.map(jnp.zeros_like, weights))
        leaves, self._tree = jax.tree.flatten(self._linearise(state, given)[1])
        of_state = varying(lambda state: jax.tree.leaves(self._linearise(state, given)[1]), state)
        of_given = varying(lambda given: jax.tree.leaves(self._linearise(state, given)[1]), given)
        self._kinds = [0 if state else 1 if given else 2 for state, given in zip(of_state, of_given, strict=True)]
        self._constant = [leaf for leaf, kind in zip(leaves, self._kinds, strict=True) if kind == 2]

    def at(self, x: Array, given: Any = ()) -> tuple[Any, Residues]:
        """Values (steps, trajectories, *value) and residues at states (steps, trajectories, species).

        Residues are (steps, trajectories, ...) of states and (trajectories, ...) of what is ``given``, whose arrays
        are (trajectories, ...).
        """

        def one(state: Array, given: Any) -> tuple[Any, Residues]:
            value, push = self._linearise(state, given)
            leaves = list(zip(jax.tree.leaves(push), self._kinds, strict=True))
            return value, Residues(*(tuple(leaf for leaf, kind in leaves if kind == own) for own in (0, 1)))

        of_trajectories = jax.vmap(one)
        return jax.vmap(of_trajectories, in_axes=(0, None), out_axes=(0, Residues(0, None)))(x, given)  # type: ignore[arg-type]

    def pull_state(self, residues: Residues, cotangent: Any) -> Array:
        """What cotangents (trajectories, *value) of the values are as cotangents (trajectories, species) of states.

        Residues of states are (trajectories, ...) here: those of one step.
        """

        def one(residues: Residues, cotangent: Any) -> Any:
            pushing, no_tangent = self._pushing(residues), self._no_tangent[1]
            return jax.linear_transpose(lambda tangent: pushing(tangent, no_tangent), self._no_tangent[0])(cotangent)[0]

        return jax.vmap(one)(residues, cotangent)

    def pull_weights(self, residues: Residues, cotangent: Any) -> Any:
        """What cotangents (steps, trajectories, *value) are as a cotangent of the weights, summed over all states."""
        steps, trajectories = jax.tree.leaves(cotangent)[0].shape[:2]

        def push(tangent: Any) -> Any:
            def one(residues: Residues) -> Any:
                pushing = self._pushing(residues)
                return pushing(self._no_tangent[0], tangent) if self._by_state else pushing(tangent)

            # What a trajectory is given is multiplied once for all its steps: nothing of a step enters there.
            of_trajectories = jax.vmap(one, axis_size=trajectories)
            return jax.vmap(of_trajectories, in_axes=(Residues(0, None),), axis_size=steps)(residues)  # type: ignore[arg-type]

        return jax.linear_transpose(push, self._no_tangent[1])(cotangent)[0]

    def _linearise(self, state: Array, given: Any) -> tuple[Any, Callable[..., Any]]:
        if self._by_state:
            return jax.linearize(lambda state, weights: self._function(state, given, weights), state, self._weights)
        return jax.linearize(lambda weights: self._function(state, given, weights), self._weights)

    def _pushing(self, residues: Residues) -> Callable[..., Any]:
        """The linear function at one state."""
        sources = [iter(residues.of_state), iter(residues.of_trajectory), iter(self._constant)]
        push: Callable[..., Any] = jax.tree.unflatten(self._tree, [next(sources[kind]) for kind in self._kinds])
        return push


def varying(function: Callable[[Any], Sequence[Any]], point: Any) -> list[bool]:
    """Which of the arrays that ``function`` returns are computed from what is in ``point``."""
    return [bool(row.any()) for row in reach(jax.make_jaxpr(function)(point).jaxpr)]
