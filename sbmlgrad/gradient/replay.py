"""Derivatives of expectations by many parameters at once: reverse mode over trajectories that are run again.

Both estimators are sums over the steps of a trajectory, and both go through the segments of
:mod:`sbmlgrad.simulation.replay` from the last to the first. A segment is taken again from its checkpoint, with the same
random numbers, and this time keeps what the derivatives need; that is given up before the segment in front of it, so
memory does not grow with the number of events but for the checkpoints.

The *score function* is d E f(X_t) = E (f(X_t) - mean of the others) d log p(path), and the derivative of log p that a
step adds is that of log a_J - wait * a0. Steps are independent once their weights are known.

The *straight-through* estimator pushes tangents of counts, of time and of generator integrals along the trajectory
(:mod:`sbmlgrad.gradient.straight_through` says which, and why). Here the same linear map is transposed: adjoints of
those tangents go backward, step by step. What a step does with a tangent is written once, as a differentiable
function of the propensities; see :meth:`Replay._paired`.

The derivative by the parameters is one product for all states of a segment, whatever the estimator. States that the
propensities were linearised at when the segment was taken again are not visited a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.random import Streams, streams
from sbmlgrad.simulation.replay import ArrayLoop, Batch, Checkpoints, LaneState, LaneStep, schedule_of

Coefficients = tuple[Any, ...]

_FEW_JUMPS = 8  # counts that a reaction changes, up to which they are picked rather than multiplied


@dataclass(frozen=True, eq=False)
class Objective:
    """Functions ``function(x, parameters)`` of the state, whose expectations are differentiated.

    ``x`` is (species,); a scalar counts as one function and an array (functions,) as several.
    """

    network: ReactionNetwork
    function: Callable[[Array, Any], Any]

    def values(self, x: Any, coefficients: Coefficients) -> Array:
        """The functions (functions,) at one state."""
        return jnp.atleast_1d(jnp.asarray(self.function(x, self.network.structured(coefficients)), jnp.float64))

    @cached_property
    def size(self) -> int:
        """How many functions there are."""
        return int(jax.eval_shape(self.values, self._state, self.network.coefficients).shape[0])

    @cached_property
    def of_state_alone(self) -> bool:
        """Whether parameters do not enter the functions themselves."""
        varies = _varying(lambda p: [self.values(self._state, p)], self.network.coefficients)
        return not any(varies)

    @cached_property
    def linear(self) -> bool:
        """Whether the functions are linear in the counts, but for a constant, so that their jumps are constants.

        JAX must be able to transpose them, which leaves no way for comparisons and products of counts; and since
        it also transposes a cut to whole numbers, they are tried at some states.
        """
        coefficients = self.network.coefficients

        def transposed(x: Any, cotangent: Any) -> Any:
            return jax.linear_transpose(lambda state: self.values(state, coefficients), x)(cotangent)

        try:
            jax.eval_shape(transposed, self._state, jnp.zeros(self.size))
        except Exception:  # of many kinds: whatever has no rule
            return False
        states = np.random.default_rng(0).integers(0, 1000, (4, self._state.size)).astype(np.float64)
        slopes = np.asarray(self._slopes(coefficients))
        origin = np.asarray(self.values(jnp.zeros_like(self._state), coefficients))
        got = np.stack([np.asarray(self.values(jnp.asarray(state), coefficients)) for state in states])
        return bool(np.all(np.abs(got - origin - states @ slopes.T) <= 1e-9 * (1.0 + states @ np.abs(slopes).T)))

    def jumps(self, coefficients: Coefficients) -> Array:
        """What each reaction adds to each linear function (functions, reactions)."""
        return self._slopes(coefficients) @ jnp.asarray(self.network.stoichiometry, jnp.float64)

    def changes(self, x: Array, coefficients: Coefficients) -> Array:
        """What each reaction adds to each function at one state (reactions, functions)."""
        moved = x[None] + jnp.asarray(self.network.stoichiometry.T, jnp.float64)
        before = self.values(x, coefficients)
        return jax.vmap(lambda state: self.values(state, coefficients) - before)(moved)

    def _slopes(self, coefficients: Coefficients) -> Array:
        count = self._state.size
        units = jnp.concatenate([jnp.zeros((1, count)), jnp.eye(count)])
        values = jax.vmap(lambda state: self.values(state, coefficients))(units)
        return (values[1:] - values[:1]).T

    @property
    def _state(self) -> Array:
        return jnp.asarray(self.network.x0)


class _Adjoint(NamedTuple):
    """What the quantity to be differentiated gains per unit of a tangent, for each lane."""

    x: Any  # (species, lanes)
    time: Any  # (lanes,): of the next event
    integrals: Any  # (functions, lanes): of the generator


@dataclass(frozen=True, eq=False)
class Replay:
    """Goes backward over the segments of a batch and adds up derivatives by the parameters.

    Derivatives are added up by group, so many neighbouring lanes each, and the spread of groups tells their error.
    """

    loop: ArrayLoop
    objective: Objective
    groups: int
    _score: Callable[..., Any] = field(init=False, repr=False)
    _straight: Callable[..., Any] = field(init=False, repr=False)
    _finish: Callable[..., Any] = field(init=False, repr=False)
    values: Callable[..., Array] = field(init=False, repr=False)
    """``values(states, coefficients)``: the functions (times, functions, lanes) at states (times, species, lanes)."""
    direct: Callable[..., Any] = field(init=False, repr=False)
    """``direct(states, weights, coefficients)``: the sum of weights times derivatives of the functions themselves, for
    states (times, species, lanes) and weights (times, functions, lanes), by group."""

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
        """Sums by group of the score, weighted with ``weights`` (times, lanes) for each observation.

        Returns arrays (groups, *shape of the coefficient).
        """
        # A step is part of all paths to an observation that is still to come.
        ahead = np.append(np.cumsum(weights[::-1], axis=0)[::-1], np.zeros((1, weights.shape[1])), axis=0)
        shared = (schedule_of(times), coefficients, streams(seed), batch.trajectory)
        total = self._zeros(coefficients)
        for checkpoints in reversed(batch.checkpoints):
            total = self._score(total, checkpoints, ahead, *shared)
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
        shared = (cotangents, schedule_of(times), coefficients, jumps, streams(seed), batch.trajectory)
        lanes, species, functions = self.loop.lanes, len(objective.network.species), objective.size
        adjoint = _Adjoint(np.zeros((species, lanes)), np.zeros(lanes), np.zeros((functions, lanes)))
        total = self._zeros((coefficients,) if objective.of_state_alone else (coefficients, jumps))
        for checkpoints in reversed(batch.checkpoints):
            total, adjoint = self._straight(total, adjoint, checkpoints, *shared)
        return self._finish(total, coefficients)

    def _zeros(self, weights: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((self.groups, *np.shape(leaf))), weights)

    # ---- segments ------------------------------------------------------------------------------------------

    def _score_segments(
        self,
        total: Any,
        checkpoints: Checkpoints,
        ahead: Array,
        schedule: Array,
        coefficients: Coefficients,
        keys: Streams,
        trajectory: Array,
    ) -> Any:
        linear = _Linearised(self.loop.propensities_at, coefficients, checkpoints.states.x[0, :, 0], by_state=False)

        def by_group(residues: Any, reaction: Array, rate: Array, wait: Array, weight: Array) -> Any:
            fired = reaction[:, None] == jnp.arange(self.loop.reactions)[None]
            cotangent = weight[:, None] * (jnp.where(fired, 1.0 / rate[:, None], 0.0) - wait[:, None])
            return linear.pull_weights(residues, cotangent)

        def segment(checkpoint: LaneState, total: Any) -> Any:
            def keep(propensities: Array, step: LaneStep, residues: Any) -> Any:
                place = jnp.minimum(step.reaction, self.loop.reactions - 1)
                rate = jnp.where(step.fires, jnp.take_along_axis(propensities, place[None], axis=0)[0], 1.0)
                return residues, step.reaction, rate, step.wait, step.position

            *taken, position = self._take(checkpoint, linear.at, keep, schedule, keys, trajectory)
            weight = jnp.take_along_axis(ahead, position, axis=0)
            return self._added(total, by_group, *taken, weight)

        return _backward(segment, checkpoints, total)

    def _straight_segments(
        self,
        total: Any,
        adjoint: _Adjoint,
        checkpoints: Checkpoints,
        cotangents: Array,
        schedule: Array,
        coefficients: Coefficients,
        jumps: Any,
        keys: Streams,
        trajectory: Array,
    ) -> tuple[Any, _Adjoint]:
        # Where functions hold no parameters, their jumps are no weights to differentiate by.
        weights = (coefficients,) if self.objective.of_state_alone else (coefficients, jumps)

        def rates_and_generator(x: Array, weights: Any) -> tuple[Array, Array]:
            return self._rates_and_generator(x, *weights, *(jumps,)[: 2 - len(weights)])

        linear = _Linearised(rates_and_generator, weights, checkpoints.states.x[0, :, 0], by_state=True)
        padded = jnp.concatenate([cotangents, jnp.zeros((1, cotangents.shape[1]))])  # for lanes that have ended

        def values(x: Array) -> tuple[Array, Any]:
            (propensities, drift), residues = linear.at(x)
            return propensities, (propensities, drift, residues)

        def back(adjoint: _Adjoint, taken: Any) -> tuple[_Adjoint, tuple[Array, Array]]:
            (propensities, drift, residues), step = taken
            # An observation records the integral, less what a later last event leaves out at the end.
            seen = jnp.where(step.arrives[None], padded[step.position].T, 0.0)
            adjoint = _Adjoint(adjoint.x, adjoint.time - jnp.sum(seen * drift, axis=0), adjoint.integrals + seen)
            cotangent = jax.grad(self._paired, argnums=(0, 1))(propensities, drift, adjoint, step)
            x = adjoint.x + linear.pull_state(residues, cotangent, adjoint.x)
            return adjoint._replace(x=x), jax.tree.map(jnp.transpose, cotangent)

        def segment(checkpoint: LaneState, carry: tuple[Any, _Adjoint]) -> tuple[Any, _Adjoint]:
            total, adjoint = carry

            def keep(propensities: Array, step: LaneStep, values: Any) -> Any:
                return values, step

            taken = self._take(checkpoint, values, keep, schedule, keys, trajectory)
            adjoint, cotangent = lax.scan(back, adjoint, taken, reverse=True)
            return self._added(total, linear.pull_weights, taken[0][2], cotangent), adjoint

        return _backward(segment, checkpoints, (total, adjoint))

    def _rates_and_generator(self, x: Array, coefficients: Coefficients, jumps: Any) -> tuple[Array, Array]:
        """Propensities (reactions,) of one state, and sum_j a_j(x) (f(x + S_j) - f(x)) for each function f."""
        rates = self.loop.propensities_at(x, coefficients)
        if not self.objective.network.reactions:
            return rates, jnp.zeros(self.objective.size)
        if self.objective.linear:
            return rates, jumps @ rates
        return rates, rates @ self.objective.changes(x, coefficients)

    def _paired(self, propensities: Array, drift: Array, adjoint: _Adjoint, step: LaneStep) -> Array:
        """The adjoint times the tangent that a step adds: a function whose derivative by the ``propensities``
        (reactions, lanes) and by the ``drift`` (functions, lanes) is what reaches them from a step.

        Only derivatives mean anything: where a factor is a number in the tangent, it is held fixed here.
        """
        fixed = lax.stop_gradient
        total = jnp.sum(propensities, axis=0)
        inverse = fixed(jnp.where(total > 0, 1.0 / jnp.where(total > 0, total, 1.0), 0.0))
        fired = step.reaction[None] == jnp.arange(self.loop.reactions)[:, None]
        rate = jnp.sum(jnp.where(fired, propensities, 0.0), axis=0)
        log_fired = rate * fixed(1.0 / jnp.where(step.fires, rate, 1.0))
        log_total = total * inverse

        # d x gains half of s_J d(log a_J - log a0) - mean(s) d log a_J + sum_k s_k d a_k / a0 where J fires.
        gains = self._along_jumps(adjoint.x)
        gain = jnp.sum(jnp.where(fired, gains, 0.0), axis=0)
        spread = jnp.sum(gains * propensities, axis=0) * inverse
        shift = 0.5 * (gain * (log_fired - log_total) - fixed(spread) * log_fired + spread)
        # d time gains d wait = -wait d log a0, and the integrals wait d drift + drift d wait.
        wait = -step.wait * log_total
        integrals = jnp.sum(adjoint.integrals * (step.wait[None] * drift + fixed(drift) * wait[None]), axis=0)
        return jnp.sum(jnp.where(step.fires, shift, 0.0) + adjoint.time * wait + integrals)

    # ---- parts ---------------------------------------------------------------------------------------------

    def _take(
        self,
        checkpoint: LaneState,
        values: Callable[[Array], tuple[Array, Any]],
        keep: Callable[[Array, LaneStep, Any], Any],
        schedule: Array,
        keys: Streams,
        trajectory: Array,
    ) -> Any:
        """Take the segment after a checkpoint again and return what is to be kept of each step.

        ``values(x)`` are the propensities at the lanes' states and what goes with them, all of which goes to
        ``keep(propensities, step, what goes with them)``.
        """
        exponentials, uniforms = self.loop.draw(keys, trajectory, checkpoint.draws)

        def take(state: LaneState, numbers: tuple[Array, Array]) -> tuple[LaneState, Any]:
            propensities, others = values(state.x)
            moved, step = self.loop.step(state, propensities, *numbers, schedule)
            return moved, keep(propensities, step, others)

        return lax.scan(take, checkpoint, (exponentials, uniforms))[1]

    def _added(self, total: Any, by_group: Callable[..., Any], *kept: Any) -> Any:
        """``total`` and what ``by_group`` makes of the states of each group, a last axis of what was ``kept``."""
        return jax.tree.map(jnp.add, total, jax.vmap(by_group)(*jax.tree.map(self._dealt, kept)))

    def _dealt(self, leaf: Array) -> Array:
        """By group: (steps, lanes, ...) as (groups, states, ...)."""
        steps, lanes, *inner = leaf.shape
        parts = leaf.reshape(steps, self.groups, lanes // self.groups, *inner)
        return jnp.moveaxis(parts, 1, 0).reshape(self.groups, -1, *inner)

    def _along_jumps(self, values: Array) -> Array:
        """sum_i S_ij values_i (reactions, lanes) of ``values`` (species, lanes)."""
        places, sizes = self._jumps
        if places is None:
            return jnp.asarray(sizes) @ values
        rows = [jnp.asarray(size)[:, None] * values[place] for place, size in zip(places, sizes, strict=True)]
        return sum(rows[1:], rows[0])

    @cached_property
    def _jumps(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Places and sizes (most jumps of a reaction, reactions) of jumps; or None, and sizes (reactions, species)."""
        table = np.zeros((self.loop.reactions, len(self.objective.network.species)))
        table[: len(self.objective.network.reactions)] = self.objective.network.stoichiometry.T
        most = max(1, int(np.count_nonzero(table, axis=1).max()))
        if most > _FEW_JUMPS:
            return None, table
        places = np.argsort(table == 0, axis=1, kind="stable")[:, :most]
        return places.T, np.take_along_axis(table, places, axis=1).T

    def _through_jumps(self, total: Any, coefficients: Coefficients) -> Any:
        """Derivatives by the coefficients alone, of those by them and by the jumps of linear functions."""
        by_coefficients, *by_jumps = total
        if not jax.tree.leaves(by_jumps):
            return by_coefficients
        pull = jax.vjp(self.objective.jumps, coefficients)[1]
        through = jax.vmap(lambda cotangent: pull(cotangent)[0])(*by_jumps)
        return jax.tree.map(jnp.add, by_coefficients, through)

    def _values(self, states: Array, coefficients: Coefficients) -> Array:
        over_lanes = jax.vmap(lambda x: self.objective.values(x, coefficients), in_axes=-1, out_axes=-1)
        return jax.vmap(over_lanes)(states)

    def _direct(self, states: Array, weights: Array, coefficients: Coefficients) -> Any:
        def weighted(coefficients: Coefficients, states: Array, weights: Array) -> Array:
            return jnp.sum(jax.vmap(lambda x: self.objective.values(x, coefficients))(states) * weights)

        by_group = jax.vmap(jax.grad(weighted), in_axes=(None, 0, 0))
        return by_group(coefficients, *(self._dealt(jnp.swapaxes(leaf, 1, 2)) for leaf in (states, weights)))


def _backward(segment: Callable[[LaneState, Any], Any], checkpoints: Checkpoints, carry: Any) -> Any:
    """``carry`` after ``segment(checkpoint, carry)`` for each checkpoint in use, the last one first."""

    def turn(count: Array, carry: Any) -> Any:
        place = checkpoints.used - 1 - count
        return segment(jax.tree.map(lambda leaf: leaf[place], checkpoints.states), carry)

    return lax.fori_loop(0, checkpoints.used, turn, carry)


class _Linearised:
    """A function of one state and of weights, linearised in both, or in the weights alone, at many states.

    What the linear function needs to know is split into what depends on the state, the residues, and what does not,
    such as matrices of weights, which need not be stored for each state.
    """

    def __init__(self, function: Callable[[Array, Any], Any], weights: Any, state: Array, by_state: bool) -> None:
        self._function, self._weights, self._by_state = function, weights, by_state
        self._still = (jnp.zeros_like(state), jax.tree.map(jnp.zeros_like, weights))
        leaves, self._tree = jax.tree.flatten(self._linearise(state)[1])
        self._varies = _varying(lambda state: jax.tree.leaves(self._linearise(state)[1]), state)
        self._constant = [leaf for leaf, varies in zip(leaves, self._varies, strict=True) if not varies]

    def at(self, x: Array) -> tuple[Any, tuple[Array, ...]]:
        """Values (..., lanes) and residues (..., lanes) at states (species, lanes)."""

        def one(state: Array) -> tuple[Any, tuple[Array, ...]]:
            value, push = self._linearise(state)
            leaves = jax.tree.leaves(push)
            return value, tuple(leaf for leaf, varies in zip(leaves, self._varies, strict=True) if varies)

        return jax.vmap(one, in_axes=-1, out_axes=(-1, 0))(x)

    def pull_state(self, residues: tuple[Array, ...], cotangent: Any, like: Array) -> Array:
        """What cotangents (..., lanes) of the values are as cotangents (species, lanes) of the states."""

        def push(tangent: Array) -> Any:
            def one(tangent: Array, residues: tuple[Array, ...]) -> Any:
                return self._pushing(residues)(tangent, self._still[1])

            return jax.vmap(one, in_axes=(-1, 0), out_axes=-1)(tangent, residues)

        return jax.linear_transpose(push, like)(cotangent)[0]

    def pull_weights(self, residues: tuple[Array, ...], cotangent: Any) -> Any:
        """What cotangents (..., states) of the values are as a cotangent of the weights, summed over states."""
        states = jax.tree.leaves(cotangent)[0].shape[0]

        def push(tangent: Any) -> Any:
            def one(residues: tuple[Array, ...]) -> Any:
                pushing = self._pushing(residues)
                return pushing(self._still[0], tangent) if self._by_state else pushing(tangent)

            return jax.vmap(one, axis_size=states)(residues)

        return jax.linear_transpose(push, self._still[1])(cotangent)[0]

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


def _varying(function: Callable[[Any], Sequence[Any]], point: Any) -> list[bool]:
    """Which of the arrays that ``function`` returns are computed from what is in ``point``."""
    program = jax.make_jaxpr(function)(point).jaxpr
    reached = {id(variable) for variable in program.invars}
    for equation in program.eqns:
        if any(id(variable) in reached for variable in equation.invars):
            reached |= {id(variable) for variable in equation.outvars}
    return [id(variable) in reached for variable in program.outvars]
