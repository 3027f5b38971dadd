"""What is differentiated: expectations of observables of a network, as functions of some of its quantities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import EstimatorError, SbmlgradError, UnknownIdError, UnsupportedError, which
from sbmlgrad.gradient.observables import Observable, as_observable
from sbmlgrad.network import DiscreteModel, ReactionNetwork
from sbmlgrad.network.dependence import arrivals, dependence
from sbmlgrad.network.stochastic import chemistry_of
from sbmlgrad.network.timed import Timed
from sbmlgrad.simulation.ssa import Arrays

Observe = Callable[[Arrays, Arrays], Arrays]
Made = TypeVar("Made")

_PROBES = 64


class Tangents(NamedTuple):
    """Derivatives with respect to each parameter: of the mean initial counts and of the coefficients.

    ``counts[p][i]`` and ``coefficients[p][c]`` are scalars, or None where they are zero whatever the values,
    so that no work is done for them.
    """

    counts: tuple[tuple[Any, ...], ...]
    coefficients: tuple[tuple[Any, ...], ...]

    def moves_counts(self, parameter: int) -> bool:
        """Whether initial counts depend on a parameter."""
        return any(d is not None for d in self.counts[parameter])

    def moves_rates(self, parameter: int) -> bool:
        """Whether coefficients depend on a parameter."""
        return any(d is not None for d in self.coefficients[parameter])

    def of_rates(self, parameters: Sequence[int]) -> Tangents:
        """Only what these parameters do to the coefficients."""
        no_tangent = tuple((None,) * len(row) for row in self.counts)
        return Tangents(tuple(no_tangent[p] for p in parameters), tuple(self.coefficients[p] for p in parameters))


class Point(NamedTuple):
    """A problem at values of its parameters: mean initial counts, coefficients, and their derivatives."""

    counts: tuple[float, ...]
    coefficients: tuple[Any, ...]
    tangents: Tangents


@dataclass(frozen=True, eq=False)
class Clock:
    """What says when rates that follow time bend and events happen, and quantities (Q,) at values (P,)."""

    timed: Timed
    quantities: Callable[[np.ndarray], np.ndarray] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Problem:
    """Expectations of ``functions``, to be differentiated by ``parameters``.

    ``observe(x, coefficients)`` gives the ``variables`` that the functions are of; ``linear[v]`` is the index of the
    count that variable ``v`` is, or None. Made once and evaluated at many values without recompiling.
    """

    network: ReactionNetwork
    variables: tuple[str, ...]
    observe: Observe
    linear: tuple[int | None, ...]
    functions: tuple[Observable, ...]
    parameters: tuple[str, ...]
    _start: Callable[[Any], tuple[Any, Any]] = field(repr=False)
    """values of all parameters -> (counts, coefficients)"""
    _indices: tuple[int, ...] | None = field(default=None, repr=False)
    """indices of the parameters among all; None for all of them"""
    clock: Clock | None = None
    """where rates may follow time, which is then the first of the coefficients, and events happen at known times"""
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    # ---- at values of the parameters ---------------------------------------------------------------------

    def at(self, values: Sequence[float] | np.ndarray) -> Point:
        """Counts, coefficients and derivatives at values (P,) of the parameters."""
        (counts, coefficients), jacobian = self._linearised(jnp.asarray(values, jnp.float64))
        tangents = _tangents(jacobian, self.once("dependence", lambda: _dependence(self._start, len(values))))
        if self._indices is not None:
            tangents = tangents.of_rates(self._indices)
        self._refuse_what_moves(coefficients, tangents)
        return Point(tuple(float(c) for c in counts), tuple(np.asarray(c) for c in coefficients), tangents)

    def network_at(self, values: Sequence[float] | np.ndarray) -> ReactionNetwork:
        """The network; one that looks for negative propensities where a parameter is negative."""
        return self.network if bool(np.all(np.asarray(values) >= 0)) else self._checked

    @cached_property
    def _linearised(self) -> Any:
        return jax.jit(lambda point: (self._start(point), jax.jacfwd(self._start)(point)))

    @cached_property
    def _checked(self) -> ReactionNetwork:
        return replace(self.network, nonnegative=False)

    def at_fixed_counts(self, parameters: Sequence[int]) -> Problem:
        """The same by some of the parameters only, and by no more than what these do to coefficients.

        It is evaluated at values of all parameters, as before.
        """
        names = tuple(self.parameters[p] for p in parameters)
        return replace(self, parameters=names, _indices=tuple(parameters))

    def own(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Of values of all parameters, those of the parameters to differentiate by."""
        every = np.asarray(values, np.float64)
        return every if self._indices is None else every[list(self._indices)]

    def shifted(self, values: Sequence[float] | np.ndarray, parameter: int, by: float) -> np.ndarray:
        """Values of all parameters, that of one parameter to differentiate by being another."""
        every = np.array(values, np.float64)
        every[parameter if self._indices is None else self._indices[parameter]] += by
        return every

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` makes, made at the first call and kept, so that compiled loops are found again."""
        return once(self._kept, key, make)

    def _refuse_what_moves(self, coefficients: Any, tangents: Tangents) -> None:
        """A bin of a concentration moves with the volume, which no sample shows, and so do memories of it."""
        fixed = [f for f in self.functions if not f.is_smooth or (f.has_memory and not f.is_integral)]
        if self.of_counts_alone or not fixed:
            return
        probe = tuple(jnp.asarray(row) for row in probes(self.network.x0))
        for name, row in zip(self.parameters, tangents.coefficients, strict=True):
            slopes = push(self.observe, probe, coefficients, [None] * len(probe), row)[1]
            moved = {v for v, slope in zip(self.variables, slopes, strict=True) if np.any(np.asarray(slope) != 0)}
            for function in fixed:
                for variable in moved.intersection(function.of):
                    raise EstimatorError(
                        f"{function.label}: {name!r} moves {variable!r} itself, and with it the edges in counts; look "
                        "at the species' amount"
                    )

    # ---- functions of the state ------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many functions there are."""
        return len(self.functions)

    @property
    def of_counts_alone(self) -> bool:
        """Whether the variables are counts, so that they hold no parameters themselves."""
        return all(index is not None for index in self.linear)

    def values(self, x: Arrays, coefficients: Arrays) -> Arrays:
        """What each function sees of a state: itself, the integrand, whether the target is reached, one factor."""
        named = dict(zip(self.variables, self.observe(x, coefficients), strict=True))
        shape = x[0].shape
        return tuple(jnp.broadcast_to(function.value(named), shape) for function in self.functions)

    @cached_property
    def reached(self) -> np.ndarray:
        """Which propensities may depend on which coefficients (reactions, coefficients)."""
        return dependence(self.network)

    def rates_and_generator(self, x: Arrays, coefficients: Arrays) -> tuple[Arrays, Arrays]:
        """Propensities a_j, and (A f)(x) = sum_j a_j(x) (f(x + S_j) - f(x)) for each function f of the state."""
        assert self.network.rates is not None
        rates = tuple(jnp.broadcast_to(a, x[0].shape) for a in self.network.rates(x, coefficients))
        before = self.values(x, coefficients)
        drift: list[Any] = [0.0] * self.size
        for rate, jump in zip(rates, self.network.stoichiometry.T, strict=True):
            if jump.any():
                after = self.values(moved(x, jump), coefficients)
                drift = [total + rate * (b - a) for total, a, b in zip(drift, before, after, strict=True)]
        return rates, tuple(jnp.broadcast_to(value, x[0].shape) for value in drift)

    # ---- functions of the path -------------------------------------------------------------------------------

    def grid(self, times: np.ndarray, start: float, more: Sequence[float] = ()) -> tuple[np.ndarray, np.ndarray]:
        """Times to record at, those of autocorrelations among them, and the indices of ``times`` there."""
        extra = [time for f in self.functions for time in f.also_at]
        for function in self.functions:
            if any(time < start for time in function.also_at):
                raise SbmlgradError(f"{function.label}: its time lies before the start, {start:g}")
        grid = np.unique(np.concatenate([times, extra, np.asarray(more, np.float64)]))
        return grid, np.searchsorted(grid, times)

    def finish(self, raw: np.ndarray, grid: np.ndarray, indices: np.ndarray, start: float) -> np.ndarray:
        """Functions (functions, times, n) from what was recorded (functions, grid, n)."""
        return stack([f.finish(seen, grid, indices, start) for f, seen in zip(self.functions, raw, strict=True)])

    def finish_tangent(
        self, raw: np.ndarray, change: np.ndarray, grid: np.ndarray, indices: np.ndarray, start: float
    ) -> np.ndarray:
        """Derivatives (functions, times, n) of :meth:`finish` along a change (functions, grid, n) of the records."""
        rows = zip(self.functions, raw, change, strict=True)
        return stack([f.finish_tangent(seen, shift, grid, indices, start) for f, seen, shift in rows])

    def latest(self, grid: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """The index in the grid (functions, times) up to which each function looks at the path."""
        last = [np.searchsorted(grid, max(f.also_at)) if f.also_at else 0 for f in self.functions]
        return np.maximum(indices, np.array(last)[:, None])


def once(cache: dict[Any, Any], key: Any, make: Callable[[], Made]) -> Made:
    """What ``make`` makes, made at the first call and kept under the key."""
    if key not in cache:
        cache[key] = make()
    value: Made = cache[key]
    return value


def stack(rows: Sequence[Any]) -> Any:
    """One array of several, of the library that they are of."""
    return jnp.stack(rows) if isinstance(rows[0], Array) else np.stack(rows)


def moved(x: Arrays, jump: np.ndarray) -> Arrays:
    """The state after a jump (species,)."""
    return tuple(count + float(s) if s else count for count, s in zip(x, jump, strict=True))


def push(
    function: Callable[..., Any],
    x: Arrays,
    coefficients: Arrays,
    dx: Sequence[Any],
    dcoefficients: Sequence[Any],
) -> tuple[Any, Any]:
    """Value and directional derivative of ``function(x, coefficients)``; None stands for a zero tangent."""
    primals = (*x, *coefficients)
    tangents = (*dx, *dcoefficients)
    active = [i for i, tangent in enumerate(tangents) if tangent is not None]

    def of_active(*values: Array) -> Any:
        full = list(primals)
        for index, value in zip(active, values, strict=True):
            full[index] = value
        return function(tuple(full[: len(x)]), tuple(full[len(x) :]))

    if not active:
        value = function(x, coefficients)
        return value, jax.tree.map(jnp.zeros_like, value)
    points = [jnp.asarray(primals[i]) for i in active]
    directions = [jnp.broadcast_to(tangents[i], point.shape) for i, point in zip(active, points, strict=True)]
    return jax.jvp(of_active, points, directions)


def total(terms: Sequence[Any]) -> Any:
    """The sum of arrays of trajectories; 0 of none."""
    return reduce(add, [term for term in terms if not (isinstance(term, float) and term == 0)], 0.0)


def probes(counts: Sequence[float] | np.ndarray) -> np.ndarray:
    """States (species, some) at which a law shows whether a parameter switches it off: the start, one molecule more of
    each, none and one of each, and numbers of any size, since some laws need several, or are others beyond a bound.
    In some of them there is nothing of half of the species, since a sum is 0 only where all of its terms are."""
    random = np.random.default_rng(0)
    states = np.exp(random.uniform(np.log(0.3), np.log(3000.0), (len(counts), _PROBES)))
    states[:, ::2] = np.round(states[:, ::2])
    states[:, ::4] *= random.random(states[:, ::4].shape) < 0.5
    start = np.asarray(counts, np.float64)
    states[:, :4] = np.stack([start + 1.0, start, np.zeros(len(start)), np.ones(len(start))], axis=1)
    return states


def are_off(rates: Any, slopes: Any) -> np.ndarray:
    """Where a law that is 0 has a derivative; none is known where it is no number, as of a root by a factor inside."""
    slopes = np.asarray(slopes)
    return (np.asarray(rates) == 0) & (slopes != 0) & ~np.isnan(slopes)


# ---- from models and networks --------------------------------------------------------------------------------


def differentiable(
    model: DiscreteModel | ReactionNetwork,
    parameters: Sequence[str],
    functions: Sequence[str | Observable] | None = None,
) -> Problem:
    """Prepare expectations of a model's observables for differentiation by ``parameters``.

    ``functions`` are observables, or names that stand for their means; the means of all the model's observables (of
    all species of a network) if not given.

    Raises :class:`UnknownIdError` for a name that is no quantity or variable of the model.
    """
    all_names = model.quantities if isinstance(model, DiscreteModel) else model.parameters
    for name in parameters:
        if name not in all_names:
            source = f"{model.model.elements.source.path}: " if isinstance(model, DiscreteModel) else ""
            raise UnknownIdError(f"{source}no quantity {name!r} to differentiate by; {which(name, all_names)}")
    if not parameters:
        raise SbmlgradError("name at least one parameter to differentiate by")
    variables = model.observables if isinstance(model, DiscreteModel) else model.species
    chosen = tuple(as_observable(f) for f in (variables if functions is None else functions))
    for function in chosen:
        for name in function.of:
            if name not in variables:
                raise UnknownIdError(f"there is no {name!r} to look at; there are {', '.join(variables)}")
    if isinstance(model, ReactionNetwork):
        return _of_network(model, tuple(parameters), chosen)
    for name in parameters:
        if reason := chemistry_of(model.model).without_derivative(name):
            raise UnsupportedError(model.model.elements.source.path, [reason])
    names, given = list(model.quantities), tuple(model.quantities.values())
    indices = [names.index(name) for name in parameters]

    def start(point: Any) -> tuple[Any, Any]:
        quantities: list[Any] = [jnp.float64(v) for v in given]
        for i, index in enumerate(indices):
            quantities[index] = point[i]
        return model.start(quantities)

    def quantities(values: np.ndarray) -> np.ndarray:
        every = np.array(given, np.float64)
        every[indices] = values
        return every

    clock = None if model.timed is None else Clock(model.timed, quantities)
    fixed = (model.network, model.observables, model.observe, model.position, chosen, tuple(parameters), start)
    return Problem(*fixed, clock=clock)


def _of_network(network: ReactionNetwork, parameters: tuple[str, ...], functions: tuple[Observable, ...]) -> Problem:
    network.check_numbers(parameters)
    names = list(network.parameters)

    def start(point: Any) -> tuple[Any, Any]:
        values = dict(network.parameters)
        for i, name in enumerate(parameters):
            values[name] = point[i]
        leaves = [leaf for name in names for leaf in jax.tree.leaves(values[name])]
        return tuple(jnp.float64(c) for c in network.x0), tuple(jnp.asarray(leaf) for leaf in leaves)

    indices = tuple(range(len(network.species)))
    return Problem(network, network.species, lambda x, coefficients: x, indices, functions, parameters, start)


def _tangents(jacobian: Any, dependence: tuple[list[np.ndarray], list[np.ndarray]]) -> Tangents:
    """Derivatives of counts and coefficients by each parameter, with None where there is no dependence."""
    sides = []
    for side, masks in zip(jacobian, dependence, strict=True):
        columns = [np.asarray(leaf) for leaf in side]
        parameters = len(masks[0]) if masks else 0
        sides.append(
            tuple(
                tuple(column[..., p] if mask[p] else None for column, mask in zip(columns, masks, strict=True))
                for p in range(parameters)
            )
        )
    return Tangents(*sides)


def _dependence(start: Any, parameters: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each count and each coefficient of ``start``, which parameters may reach it."""
    point = [1.0] * parameters
    counts = len(start(point)[0])
    found = list(arrivals(lambda *values: [leaf for side in start(values) for leaf in side], point))
    return found[:counts], found[counts:]
