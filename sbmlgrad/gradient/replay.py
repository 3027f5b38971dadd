"""Derivatives of expectations by many parameters at once: reverse mode over trajectories that are run again.

Both estimators are sums over the steps of a trajectory, and both go through the segments of
:mod:`sbmlgrad.simulation.replay` from the last to the first. A segment is run again from its checkpoint, with the same
random numbers, and this time keeps what the derivatives need; that is given up before the segment in front of it, so
memory does not grow with the number of events but for the checkpoints.

The *score function* is d E f(X_t) = E (f(X_t) - mean of the others) d log p(path), and the derivative of log p that a
step adds is that of log a_J - wait * a0. Steps are independent once their weights are known.

The *straight-through* estimator pushes tangents of counts, of time and of generator integrals along the trajectory
(:mod:`sbmlgrad.gradient.straight_through` says which, and why). Here the same linear map is transposed: adjoints of
those tangents go backward, step by step. What a step does with a tangent is written once, as a differentiable
function of the propensities, in :meth:`Replay._paired`.

All states of a segment are linearised at once, and the derivatives by the parameters are one product for all of
them, whatever the estimator; only the adjoints of the counts take one step after the other. Arrays of the states of
a segment are (groups, steps, trajectories of a group, ...), so that the states of a group lie together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.gradient.linearised import Linearised, Residues
from sbmlgrad.gradient.objective import Coefficients, Objective
from sbmlgrad.simulation.random import Streams, streams
from sbmlgrad.simulation.replay import STEPS, ArrayLoop, Batch, Checkpoints, ReplayState, schedule_of

_FEW_JUMPS = 8  # counts that a reaction changes, up to which they are picked rather than multiplied


class _Adjoint(NamedTuple):
    """What the quantity to be differentiated gains per unit of a tangent, for each trajectory."""

    x: Any  # (batch, species)
    time: Any  # (batch,): of the next event
    integrals: Any  # (batch, functions): of the generator
    jumps: Any  # (batch, reactions): integrals times what a reaction adds to linear functions; empty for others


class _Steps(NamedTuple):
    """What the steps of a segment did (steps, batch), or one of them (batch,)."""

    reaction: Array  # as in Checkpoints.reactions
    wait: Array  # time that passed
    position: Array  # index of the next observation before the step


class _Segment(NamedTuple):
    """A segment from its checkpoint on."""

    state: ReplayState
    reactions: Array  # (steps, batch)


@dataclass(frozen=True, eq=False)
class Replay:
    """Goes backward over the segments of a batch and adds up derivatives by the parameters.

    Derivatives are added up by group, so many neighbouring trajectories each; the spread of groups tells their error.
    """

    loop: ArrayLoop
    objective: Objective
    groups: int
    _score: Callable[..., Any] = field(init=False, repr=False)
    _straight: Callable[..., Any] = field(init=False, repr=False)
    _finish: Callable[..., Any] = field(init=False, repr=False)
    values: Callable[..., Array] = field(init=False, repr=False)
    """``values(states, coefficients, inputs)``: the functions (times, functions, batch) at states (times, species,
    batch)."""
    direct: Callable[..., Any] = field(init=False, repr=False)
    """``direct(states, weights, coefficients, inputs)``: the sum of weights times derivatives of the functions
    themselves, for states (times, species, batch) and weights (times, functions, batch), by group."""

    def __post_init__(self) -> None:
        for name, function, donated in (
            ("_score", self._score_segments, (0,)),
            ("_straight", self._straight_segments, (0,)),
            ("_finish", self._through_jumps, ()),
            ("values", self._values, ()),
            ("direct", self._direct, ()),
        ):
            object.__setattr__(self, name, jax.jit(function, donate_argnums=donated))

    def score(self, batch: Batch, weights: np.ndarray, times: np.ndarray, seed: int, coefficients: Any) -> Any:
        """Sums by group of the score, weighted with ``weights`` (times, batch) for each observation.

        Returns arrays (groups, *shape of the coefficient).
        """
        # A step is part of all paths to an observation that is still to come.
        ahead = np.append(np.cumsum(weights[::-1], axis=0)[::-1], np.zeros((1, weights.shape[1])), axis=0)
        shared = (schedule_of(times), coefficients, batch.inputs, streams(seed), batch.trajectory)
        total = self._zeros(coefficients)
        for checkpoints in reversed(batch.checkpoints):
            total = self._score(total, self._padded(checkpoints), ahead, *shared)
        return total

    def straight_through(
        self, batch: Batch, cotangents: np.ndarray, times: np.ndarray, seed: int, coefficients: Any
    ) -> Any:
        """Sums by group of the straight-through derivative of the functions weighted with ``cotangents``.

        ``cotangents`` are (times, functions). Returns arrays (groups, *shape of the coefficient), in which the
        derivative of the functions themselves at the start is still missing.
        """
        objective = self.objective
        jumps = objective.jumps(coefficients) if objective.linear else ()
        shared = (cotangents, schedule_of(times), coefficients, batch.inputs, jumps, streams(seed), batch.trajectory)
        sizes = (len(objective.network.species), objective.size, self.loop.reactions if objective.linear else 0)
        x, integrals, along = (np.zeros((self.loop.batch_size, size)) for size in sizes)
        adjoint = _Adjoint(x, np.zeros(self.loop.batch_size), integrals, along)
        total = self._zeros((coefficients, jumps if self._moving_jumps else ()))
        for checkpoints in reversed(batch.checkpoints):
            total, adjoint = self._straight(total, adjoint, self._padded(checkpoints), *shared)
        return self._finish(total, coefficients) if self._moving_jumps else total[0]

    def _zeros(self, weights: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((self.groups, *np.shape(leaf))), weights)

    def _padded(self, checkpoints: Checkpoints) -> Checkpoints:
        """With as many segments as any other, so that nothing is compiled again."""
        missing = self.loop.segments - checkpoints.used
        if not missing:
            return checkpoints
        return jax.tree.map(
            lambda leaf: (
                np.concatenate([leaf, np.zeros((missing, *leaf.shape[1:]), leaf.dtype)]) if leaf.ndim else leaf
            ),
            checkpoints,
        )

    # ---- segments ------------------------------------------------------------------------------------------

    def _score_segments(
        self,
        total: Any,
        checkpoints: Checkpoints,
        ahead: Array,
        schedule: Array,
        coefficients: Coefficients,
        inputs: Any,
        keys: Streams,
        trajectory: Array,
    ) -> Any:
        linear = self._linearised(self.objective.rates, coefficients, checkpoints, inputs, by_state=False)
        given = self._by_group(inputs)

        def by_group(residues: Any, reaction: Array, rate: Array, wait: Array, weight: Array) -> Any:
            fired = reaction[..., None] == jnp.arange(self.loop.reactions)[None, None]
            cotangent = weight[..., None] * (jnp.where(fired, 1.0 / rate[..., None], 0.0) - wait[..., None])
            return linear.pull_weights(residues, cotangent)

        def back(segment: _Segment, carry: tuple[Any, Array]) -> tuple[Any, Array]:
            total, room = carry
            states = self._states(segment, room)
            propensities, residues = jax.vmap(linear.at)(states, given)
            steps = self._steps(segment, jnp.sum(propensities, axis=-1), schedule, keys, trajectory)
            weight = jnp.take_along_axis(ahead, steps.position, axis=0)
            reaction, wait, weight = (self._dealt(leaf) for leaf in (steps.reaction, steps.wait, weight))
            index = jnp.minimum(reaction, self.loop.reactions - 1)
            rate = jnp.take_along_axis(propensities, index[..., None], axis=-1)[..., 0]
            rate = jnp.where(reaction < self.loop.reactions, rate, 1.0)
            return jax.tree.map(jnp.add, total, jax.vmap(by_group)(residues, reaction, rate, wait, weight)), states

        return _backward(back, checkpoints, (total, self._room(len(self.objective.network.species))))[0]

    def _straight_segments(
        self,
        total: Any,
        adjoint: _Adjoint,
        checkpoints: Checkpoints,
        cotangents: Array,
        schedule: Array,
        coefficients: Coefficients,
        inputs: Any,
        jumps: Any,
        keys: Streams,
        trajectory: Array,
    ) -> tuple[Any, _Adjoint]:
        objective = self.objective
        linear = self._linearised(objective.rates_and_generator, coefficients, checkpoints, inputs, by_state=True)
        given = self._by_group(inputs)
        padded = jnp.concatenate([cotangents, jnp.zeros((1, cotangents.shape[1]))])  # for trajectories that have ended

        def back_step(adjoint: _Adjoint, step: _Steps, values: Any) -> tuple[_Adjoint, Any]:
            propensities, *others = values
            arrives = step.reaction == self.loop.reactions

            def observe(adjoint: _Adjoint) -> _Adjoint:
                # An observation records the integral, less what a later last event leaves out at the end.
                seen = jnp.where(arrives[:, None], padded[step.position], 0.0)
                drift = propensities @ jumps.T if objective.linear else others[0]
                integrals = adjoint.integrals + seen
                along = integrals @ jumps if objective.linear else adjoint.jumps
                return _Adjoint(adjoint.x, adjoint.time - jnp.sum(seen * drift, axis=-1), integrals, along)

            adjoint = lax.cond(jnp.any(arrives), observe, lambda adjoint: adjoint, adjoint)
            cotangent = jax.grad(self._paired)((propensities, *others), adjoint, step)
            by_drift = adjoint.integrals * step.wait[:, None] if self._moving_jumps else ()
            return adjoint, (cotangent, by_drift)

        def by_group(residues: Any, propensities: Array, cotangent: Any, by_drift: Any) -> Any:
            pulled = linear.pull_weights(residues, cotangent)
            return pulled, jnp.einsum("slf,slr->fr", by_drift, propensities) if self._moving_jumps else ()

        def back(segment: _Segment, carry: Any) -> Any:
            total, adjoint, room, kept = carry
            states = self._states(segment, room)
            values, residues = jax.vmap(linear.at)(states, given)
            of_trajectory = jax.tree.map(
                lambda leaf: leaf.reshape(self.loop.batch_size, *leaf.shape[2:]), residues.of_trajectory
            )
            steps = self._steps(segment, jnp.sum(values[0], axis=-1), schedule, keys, trajectory)

            def turn(count: Array, loop: tuple[_Adjoint, Any]) -> tuple[_Adjoint, Any]:
                adjoint, kept = loop
                index = self.loop.steps - 1 - count
                step, here = jax.tree.map(lambda leaf: leaf[index], steps), partial(self._batch_of, index)
                adjoint, keep = back_step(adjoint, step, jax.tree.map(here, values))
                kept = jax.tree.map(partial(self._set, index), kept, keep)
                # The cotangent is read back, since XLA would compute it once more for each use of it.
                cotangent = jax.tree.map(here, kept[0])
                of_state = jax.tree.map(here, residues.of_state)
                x = adjoint.x + linear.pull_state(Residues(of_state, of_trajectory), cotangent)
                return adjoint._replace(x=x), kept

            adjoint, kept = lax.fori_loop(0, self.loop.steps, turn, (adjoint, kept))
            return jax.tree.map(jnp.add, total, jax.vmap(by_group)(residues, values[0], *kept)), adjoint, states, kept

        sizes = (self.loop.reactions,) if objective.linear else (self.loop.reactions, objective.size)
        cotangent = tuple(self._room(size) for size in sizes)
        kept = (cotangent, self._room(objective.size) if self._moving_jumps else ())
        room = self._room(len(objective.network.species))
        return _backward(back, checkpoints, (total, adjoint, room, kept))[:2]

    @property
    def _moving_jumps(self) -> bool:
        """Whether jumps of linear functions hold parameters, and so are differentiated by."""
        return self.objective.linear and not self.objective.of_state_alone

    def _paired(self, values: tuple[Array, ...], adjoint: _Adjoint, step: _Steps) -> Array:
        """The adjoint times the tangent that a step adds; its derivative by ``values`` is what reaches them from it.

        These are the propensities (batch, reactions) and, if the functions are not linear, the generator applied to
        each (batch, functions). Only derivatives mean anything: factors that are numbers in the tangent are held fixed.
        """
        propensities, *drift = values
        fixed = lax.stop_gradient
        total = jnp.sum(propensities, axis=-1)
        inverse = fixed(jnp.where(total > 0, 1.0 / jnp.where(total > 0, total, 1.0), 0.0))
        fires = step.reaction < self.loop.reactions
        fired = step.reaction[:, None] == jnp.arange(self.loop.reactions)[None]
        rate = jnp.sum(jnp.where(fired, propensities, 0.0), axis=-1)
        log_fired = rate * fixed(1.0 / jnp.where(fires, rate, 1.0))
        log_total = total * inverse

        # d x gains half of s_J d(log a_J - log a0) - mean(s) d log a_J + sum_k s_k d a_k / a0 where J fires.
        gains = self._along_jumps(adjoint.x)
        gain = jnp.sum(jnp.where(fired, gains, 0.0), axis=-1)
        spread = jnp.sum(gains * propensities, axis=-1) * inverse
        shift = 0.5 * (gain * (log_fired - log_total) - fixed(spread) * log_fired + spread)
        # d time gains d wait = -wait d log a0, and the integrals wait d drift + drift d wait.
        wait = -step.wait * log_total
        moved = jnp.sum(adjoint.integrals * drift[0] if drift else adjoint.jumps * propensities, axis=-1)
        return jnp.sum(jnp.where(fires, shift, 0.0) + (adjoint.time + fixed(moved)) * wait + step.wait * moved)

    # ---- parts ---------------------------------------------------------------------------------------------

    def _linearised(
        self,
        function: Callable[..., Any],
        coefficients: Coefficients,
        checkpoints: Checkpoints,
        inputs: Any,
        by_state: bool,
    ) -> Linearised:
        given = jax.tree.map(lambda leaf: leaf[0], inputs)
        return Linearised(function, coefficients, checkpoints.states.x[0, :, 0], given, by_state)

    def _by_group(self, inputs: Any) -> Any:
        """What trajectories are given (batch, ...) as (groups, trajectories of a group, ...)."""
        return jax.tree.map(lambda leaf: leaf.reshape(self.groups, -1, *leaf.shape[1:]), inputs)

    def _states(self, segment: _Segment, room: Array) -> Array:
        """Counts (groups, steps, trajectories of a group, species) before each step, written into ``room``."""
        jumps = jnp.asarray(self.loop.jumps)

        def turn(index: Array, loop: tuple[Array, Array]) -> tuple[Array, Array]:
            x, room = loop
            return x + jumps[segment.reactions[index]], self._set(index, room, x)

        return lax.fori_loop(0, self.loop.steps, turn, (segment.state.x.T, room))[1]

    def _steps(self, segment: _Segment, totals: Array, schedule: Array, keys: Streams, trajectory: Array) -> _Steps:
        """The steps, where ``totals`` (groups, steps, trajectories of a group) are the sums of the propensities."""
        reactions = segment.reactions.astype(jnp.int32)
        totals = jnp.moveaxis(totals, 0, 1).reshape(reactions.shape)
        wait = self.loop.waits(segment.state, reactions, totals, schedule, keys, trajectory)
        arrivals = jnp.cumsum(reactions == self.loop.reactions, axis=0, dtype=jnp.int32)
        before = jnp.concatenate([jnp.zeros_like(arrivals[:1]), arrivals[:-1]])
        return _Steps(reactions, wait, segment.state.position[None] + before)

    def _room(self, size: int) -> Array:
        """An array for ``size`` numbers of each state, which segment after segment writes into."""
        return jnp.zeros((self.groups, self.loop.steps, self.loop.batch_size // self.groups, size))

    def _batch_of(self, index: Array, leaf: Array) -> Array:
        """What belongs to one step (batch, ...)."""
        return leaf[:, index].reshape(self.loop.batch_size, *leaf.shape[3:])

    def _set(self, index: Array, into: Array, leaf: Array) -> Array:
        return into.at[:, index].set(leaf.reshape(self.groups, -1, *leaf.shape[1:]))

    def _dealt(self, leaf: Array) -> Array:
        """Steps and trajectories (steps, batch, ...) as (groups, steps, trajectories of a group, ...)."""
        steps, batch_size, *inner = leaf.shape
        return jnp.moveaxis(leaf.reshape(steps, self.groups, batch_size // self.groups, *inner), 1, 0)

    def _along_jumps(self, values: Array) -> Array:
        """sum_i S_ij values_i (batch, reactions) of ``values`` (batch, species)."""
        indices, sizes = self._jumps
        if indices is None:
            return values @ jnp.asarray(sizes).T
        rows = [values[:, index] * jnp.asarray(size)[None] for index, size in zip(indices, sizes, strict=True)]
        return sum(rows[1:], rows[0])

    @cached_property
    def _jumps(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Places and sizes (most jumps of a reaction, reactions) of jumps; or None, and sizes (reactions, species)."""
        table = self.loop.jumps[: self.loop.reactions]
        most = max(1, int(np.count_nonzero(table, axis=1).max()))
        if most > _FEW_JUMPS:
            return None, table
        indices = np.argsort(table == 0, axis=1, kind="stable")[:, :most]
        return indices.T, np.take_along_axis(table, indices, axis=1).T

    def _through_jumps(self, total: Any, coefficients: Coefficients) -> Any:
        """Derivatives by the coefficients alone, of those by them and by the jumps of linear functions."""
        by_coefficients, by_jumps = total
        pull = jax.vjp(self.objective.jumps, coefficients)[1]
        return jax.tree.map(jnp.add, by_coefficients, jax.vmap(lambda cotangent: pull(cotangent)[0])(by_jumps))

    def _values(self, states: Array, coefficients: Coefficients, inputs: Any) -> Array:
        of_one = partial(self.objective.values, coefficients=coefficients)

        def of_batch(states: Array) -> Array:
            return jax.vmap(lambda x, given: of_one(x, inputs=given), in_axes=(-1, 0), out_axes=-1)(states, inputs)

        return jax.vmap(of_batch)(states)

    def _direct(self, states: Array, weights: Array, coefficients: Coefficients, inputs: Any) -> Any:
        def weighted(coefficients: Coefficients, states: Array, weights: Array, given: Any) -> Array:
            of_one = jax.vmap(lambda x, given: self.objective.values(x, coefficients, given))
            return jnp.sum(jax.vmap(of_one, in_axes=(0, None))(states, given) * weights)

        of_group = [self._dealt(jnp.swapaxes(leaf, 1, 2)) for leaf in (states, weights)]
        return jax.vmap(jax.grad(weighted), in_axes=(None, 0, 0, 0))(coefficients, *of_group, self._by_group(inputs))


def numbers_per_state(objective: Objective, straight_through: bool) -> int:
    """About how many numbers a replay holds for each state of a segment."""
    x, coefficients = jnp.asarray(objective.network.x0), objective.network.coefficients
    function = objective.rates_and_generator if straight_through else objective.rates

    def linearised(x: Array, coefficients: Coefficients, inputs: Any) -> Any:
        given = jax.tree.map(lambda leaf: leaf[None], inputs)
        return Linearised(function, coefficients, x, inputs, straight_through).at(x[None, None], given)

    values, residues = jax.eval_shape(linearised, x, coefficients, objective.network.inputs)
    # Beside these there are the counts, cotangents of the values, and what XLA lays out anew for its products.
    sizes = [3 * leaf.size for leaf in jax.tree.leaves(values)] + [2 * leaf.size for leaf in residues.of_state]
    return 2 * x.size + sum(sizes) + sum(leaf.size for leaf in residues.of_trajectory) // STEPS


def _backward(back: Callable[[_Segment, Any], Any], checkpoints: Checkpoints, carry: Any) -> Any:
    """``carry`` after ``back(segment, carry)`` for each segment, the last one first."""

    def turn(count: Array, carry: Any) -> Any:
        index = checkpoints.used - 1 - count
        state = jax.tree.map(lambda leaf: leaf[index], checkpoints.states)
        return back(_Segment(state, checkpoints.reactions[index]), carry)

    return lax.fori_loop(0, checkpoints.used, turn, carry)
