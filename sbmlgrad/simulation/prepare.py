"""Put numbers and observables to models whose counts are all that moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import SimulationError
from sbmlgrad.model.model import Model
from sbmlgrad.network import DiscreteModel, ReactionNetwork, discretise
from sbmlgrad.simulation.dynamics import of_network
from sbmlgrad.simulation.ensemble import on_host, stacked


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network with numbers: unrounded initial counts, coefficients, and what to look at."""

    network: ReactionNetwork
    counts: np.ndarray
    coefficients: tuple[Any, ...]
    observables: tuple[str, ...]
    observe_with: Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]] = field(repr=False)
    """Observables of counts and coefficients: a JAX function."""

    def observe(self, records: Sequence[np.ndarray]) -> np.ndarray:
        """Observables (observables, times, trajectories) of count records (times, trajectories), one a species."""
        return stacked(self.observe_at(tuple(records)), records[0].shape)

    def observe_at(self, counts: tuple[Any, ...]) -> tuple[Any, ...]:
        """Observables, one array each, of counts, one array a species; a JAX function."""
        return tuple(self.observe_with(counts, self.coefficients))


def prepare(
    model: Model | ReactionNetwork,
    parameters: Mapping[str, float] | None = None,
    select: Sequence[str] | None = None,
) -> Prepared:
    """Put numbers and observables to a model or a network."""
    if isinstance(model, ReactionNetwork):
        return _prepare_network(model, parameters or {}, select)
    discrete = discretised(model, select)
    changes = dict(parameters or {})
    if any(
        name not in discrete.quantities or name in discrete.structural or not value >= 0
        for name, value in changes.items()
    ):
        discrete = discretised(model.with_parameters(changes), select)
        changes = {}
    quantities = {**discrete.quantities, **changes}
    with on_host():
        start = discrete.start(tuple(jnp.float64(v) for v in quantities.values()))
        counts, coefficients = (tuple(np.float64(v) for v in part) for part in start)
        moved = bool(changes) and not np.array_equal(counts, discrete.network.x0)
        if moved and not discrete.network.nonnegative and of_network(discrete.network, counts, coefficients).turned:
            return prepare(model.with_parameters(changes), None, select)
    return Prepared(
        discrete.network,
        np.array(counts),
        coefficients,
        discrete.observables,
        discrete.observe,
    )


def discretised(model: Model, select: Sequence[str] | None = None, timed: bool = False) -> DiscreteModel:
    """The discrete form of a model, made once for each choice of observables; ``timed`` as for :func:`discretise`."""
    cache = model.derived
    key = ("discrete", tuple(select) if select is not None else None, timed)
    if key not in cache:
        found = discretise(model, select, timed)
        if not found.channels:  # and nothing is kept, so that it is refused again
            raise SimulationError(
                f"{model.elements.source.path}: no reaction changes anything, so there is nothing to simulate"
            )
        cache[key] = found
    discrete: DiscreteModel = cache[key]
    return discrete


def _prepare_network(network: ReactionNetwork, parameters: Mapping[str, Any], select: Sequence[str] | None) -> Prepared:
    names = tuple(select) if select is not None else network.species
    network.check_names(parameters, names)
    indices = [network.species.index(name) for name in names]
    return Prepared(
        network,
        np.asarray(network.x0),
        network.coefficients_of({**network.parameters, **parameters}),
        names,
        lambda x, coefficients: tuple(x[i] for i in indices),
    )
