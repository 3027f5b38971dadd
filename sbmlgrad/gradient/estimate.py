"""Derivatives of moments: run an estimator over an ensemble and average its samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import SbmlgradError, UnknownIdError, UnsupportedError
from sbmlgrad.gradient.automatic import Automatic
from sbmlgrad.gradient.estimator import Estimator, Problem, Samples, Tangents
from sbmlgrad.gradient.score import Score
from sbmlgrad.gradient.straight_through import StraightThrough
from sbmlgrad.model.model import Model
from sbmlgrad.network import DiscreteModel, ReactionNetwork
from sbmlgrad.simulation.ensemble import Ensemble, run, stacked
from sbmlgrad.simulation.moments import Moments

ESTIMATORS: Mapping[str, Estimator] = {
    "auto": Automatic(),
    "straight_through": StraightThrough(),
    "score": Score(),
}


def named_estimator(name: str) -> Estimator:
    """The estimator of this name."""
    if name not in ESTIMATORS:
        raise SbmlgradError(f"estimator {name!r}: not available; choose {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


@dataclass(frozen=True, eq=False)
class Differentiable:
    """Moments of observables as functions of some quantities of a model or network.

    Built once for a set of ``parameters`` and evaluated at many values of theirs without recompiling.
    """

    problem: Problem
    parameters: tuple[str, ...]
    observables: tuple[str, ...]
    _start: Any = field(repr=False)
    """values of the parameters (P,) -> (counts, coefficients)"""

    def ensemble(
        self,
        values: Sequence[float] | np.ndarray,
        times: np.ndarray,
        n: int,
        seed: int,
        estimator: Estimator,
        start: float = 0.0,
    ) -> Ensemble:
        """The ensemble that carries the estimator at these values of the parameters."""
        point = jnp.asarray(values, jnp.float64)
        (counts, coefficients), jacobian = self._linearised(point)
        problem = self.problem if bool(jnp.all(point >= 0)) else self._checked
        return Ensemble(
            network=problem.network,
            x0=[float(c) for c in counts],
            coefficients=tuple(np.asarray(c) for c in coefficients),
            times=np.asarray(times, dtype=np.float64),
            n=n,
            seed=seed,
            start=start,
            functional=problem.functional(estimator),
            aux=_tangents(jacobian, self._dependence),
        )

    @cached_property
    def _linearised(self) -> Any:
        """Counts and coefficients at a point (P,), and their derivatives."""
        return jax.jit(lambda point: (self._start(point), jax.jacfwd(self._start)(point)))

    @cached_property
    def _dependence(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Which parameters each count and each coefficient depends on."""
        return _dependence(self._start, len(self.parameters))

    @cached_property
    def _checked(self) -> Problem:
        """The problem on a network that looks for negative propensities, for negative values of parameters."""
        return replace(self.problem, network=replace(self.problem.network, nonnegative=False))

    def samples(self, ensemble: Ensemble, estimator: Estimator, progress: str | None = None) -> Iterator[Samples]:
        """Chunks of per-trajectory values and derivatives, in order."""
        size = len(self.problem.network.species)
        for chunk in run(ensemble, progress):
            counts, records = chunk.records[:size], chunk.records[size:]
            values = self.problem.values(tuple(counts), ensemble.coefficients)
            yield estimator.samples(self.problem, stacked(values, counts[0].shape), records, ensemble.aux)


@dataclass(frozen=True)
class Estimate:
    """Means over an ensemble: values (functions, times) and derivatives (parameters, functions, times), with errors."""

    values: np.ndarray
    values_stderr: np.ndarray
    derivatives: np.ndarray
    stderr: np.ndarray
    n: int


def estimate(
    target: Differentiable,
    values: Sequence[float] | np.ndarray,
    times: np.ndarray,
    n: int,
    seed: int,
    estimator: Estimator,
    start: float = 0.0,
    progress: str | None = None,
) -> Estimate:
    """Expected functions and their derivatives at ``values`` of the parameters."""
    level, slope = Moments(), Moments()
    for samples in target.samples(target.ensemble(values, times, n, seed, estimator, start), estimator, progress):
        level.add(samples.values)
        slope.add(samples.derivatives)
    return Estimate(level.mean, level.stderr, slope.mean, slope.stderr, n)


def differentiable(
    model: DiscreteModel | ReactionNetwork,
    parameters: Sequence[str],
    squares: bool = False,
    observables: Sequence[str] | None = None,
) -> Differentiable:
    """Prepare the moments of a model's observables for differentiation by ``parameters``.

    With ``squares`` their second moments too. A network can be told which ``observables`` (species) to look at; a
    discrete model has its own.

    Raises :class:`UnknownIdError` for a name that is no quantity of the model.
    """
    known = model.quantities if isinstance(model, DiscreteModel) else model.parameters
    for name in parameters:
        if name not in known:
            raise UnknownIdError(f"no quantity {name!r} to differentiate by; there are {', '.join(known)}")
    if not parameters:
        raise SbmlgradError("name at least one parameter to differentiate by")
    if isinstance(model, ReactionNetwork):
        return _of_network(model, tuple(parameters), squares, observables)
    for name in set(parameters) & model.structural:
        reason = f"{name!r} sets a stoichiometry, which has no derivative; fix it"
        raise UnsupportedError(model.model.elements.source.path, [reason])
    problem = Problem(model.network, model.observe, len(model.observables), model.position, squares)
    names, given = list(model.quantities), tuple(model.quantities.values())
    places = [names.index(name) for name in parameters]

    def start(point: jax.Array) -> tuple[Any, Any]:
        quantities: list[Any] = [jnp.float64(v) for v in given]
        for i, place in enumerate(places):
            quantities[place] = point[i]
        return model.start(quantities)

    return Differentiable(problem, tuple(parameters), model.observables, start)


def _of_network(
    network: ReactionNetwork, parameters: tuple[str, ...], squares: bool, observables: Sequence[str] | None
) -> Differentiable:
    watched = tuple(network.species if observables is None else observables)
    for name in watched:
        if name not in network.species:
            raise UnknownIdError(f"the network has no species {name!r}; it has {', '.join(network.species)}")
    places = tuple(network.species.index(name) for name in watched)
    for name in parameters:
        if np.ndim(network.parameters[name]):
            raise SbmlgradError(f"parameter {name!r}: is an array; only numbers can be differentiated by so far")
    problem = Problem(network, lambda x, coefficients: tuple(x[i] for i in places), len(places), places, squares)
    names = list(network.parameters)

    def start(point: jax.Array) -> tuple[Any, Any]:
        values = [jnp.asarray(v) for v in network.parameters.values()]
        for i, name in enumerate(parameters):
            values[names.index(name)] = point[i]
        return tuple(jnp.float64(c) for c in network.x0), tuple(values)

    return Differentiable(problem, parameters, watched, start)


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
    """For each count and each coefficient of ``start``, which parameters reach it: NaN in, NaN out."""
    poisoned = [start(jnp.ones(parameters).at[p].set(jnp.nan)) for p in range(parameters)]
    counts, coefficients = (
        [
            np.array([bool(np.any(np.isnan(np.asarray(run[side][i])))) for run in poisoned])
            for i in range(len(poisoned[0][side]))
        ]
        for side in (0, 1)
    )
    return counts, coefficients


def by_name(model: Model, names: Sequence[str]) -> Model:
    """The model with initial values given in the kind (amount or concentration) in which they are named."""
    changes = {}
    quantities = model.quantities()
    for name in names:
        plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        if plain in model.elements.species and plain in quantities:
            value, is_amount = model.initial_value(plain)
            if is_amount != (plain == name):
                size = model.initial_values()[model.elements.species[plain].compartment]
                changes[name] = value / size if is_amount else value * size
    return model.with_parameters(changes) if changes else model
