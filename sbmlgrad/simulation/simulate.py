"""Simulate a model or a network: the one entry point to trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import index
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import SimulationError
from sbmlgrad.model.model import Model
from sbmlgrad.network import DiscreteModel, ReactionNetwork, discretise
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.deterministic import prepare_equations, solve
from sbmlgrad.simulation.ensemble import MAX_EVENTS, Ensemble, check_size, check_times, run, stacked
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.hybrid import prepare_hybrid, run_hybrid
from sbmlgrad.simulation.moments import Moments

if TYPE_CHECKING:
    import pandas

_KEPT_BYTES = 2**30  # counts are kept by default up to this size


@dataclass(frozen=True, eq=False)
class Simulation:
    """An ensemble of exact trajectories at given times.

    Attributes
    ----------
    mean, sd
        DataFrames with index ``time`` and a column for each species (amount) or other observable; ``sd`` is the
        sample standard deviation, nan for one trajectory.
    n, seed, events
        Trajectories, the seed, and how many reactions fired in all of them.
    species
        The species of ``counts``: those that reactions change.
    """

    times: np.ndarray
    mean: pandas.DataFrame
    sd: pandas.DataFrame
    n: int
    seed: int
    events: int
    species: tuple[str, ...]
    _counts: np.ndarray | None = field(repr=False, default=None)

    @property
    def counts(self) -> np.ndarray:
        """Molecule counts, int64 array (n, times, species)."""
        if self._counts is None:
            raise SimulationError("there are no counts: they are kept with keep_counts=True, and by method 'ssa' only")
        return self._counts

    def to_table(self) -> pandas.DataFrame:
        """Columns ``time, S-mean, S-sd``, or ``time, S`` for a single trajectory, as CSV files have them."""
        if self.n == 1:
            return self.mean.reset_index()
        columns = {}
        for name in self.mean.columns:
            columns[f"{name}-mean"] = self.mean[name]
            columns[f"{name}-sd"] = self.sd[name]
        import pandas

        return pandas.DataFrame(columns).rename_axis("time").reset_index()


def simulate(
    model: Model | ReactionNetwork,
    times: Sequence[float] | np.ndarray,
    *,
    n: int = 1000,
    seed: int = 0,
    parameters: Mapping[str, float] | None = None,
    method: str = "ssa",
    select: Sequence[str] | None = None,
    start: float = 0.0,
    keep_counts: bool | None = None,
    max_events: int = MAX_EVENTS,
    progress: bool = False,
) -> Simulation:
    """Exact stochastic simulation of an ensemble (Gillespie's direct method), or the solution of the rate equations.

    Parameters
    ----------
    model
        A :class:`Model` or a :class:`ReactionNetwork`; called as ``sbmlgrad.simulate``, also a path, a BioModels id or
        the text of a document, which is then read in each call.
    times
        Increasing observation times (times,), in the model's unit of time, not before ``start``. Trajectories
        start from whole molecules: where an initial amount is not, from one of the two numbers beside it, so that the
        mean is kept, with a :class:`SbmlgradWarning`.
    n, seed
        How many trajectories; the same seed gives the same trajectories on the same platform. With method ``ode``
        there is one, and the seed decides between events of equal priority only.
    parameters
        Values that replace the model's, by id (``S`` initial amount, ``[S]`` initial concentration).
    method
        ``ssa``, exact and stochastic, or ``ode``, the deterministic limit.
    select
        Observables: species ids (amounts), ``[S]`` (concentrations), rule variables. All by default.
    keep_counts
        Whether ``counts`` are kept; by default where they take less than 1 GiB.
    max_events
        A trajectory that needs more events raises :class:`TruncationError`.
    progress
        Whether to show a progress bar on a terminal.

    Raises
    ------
    UnsupportedError, UnknownIdError, PropensityError, TruncationError
    """
    require_float64()
    if method not in ("ssa", "ode"):
        raise SimulationError(f"method {method!r}: not available; use 'ssa' or 'ode'")
    try:
        n, seed = index(n), index(seed)
    except TypeError:
        raise SimulationError(f"n and seed: expected whole numbers, got {n!r} and {seed!r}") from None
    times = np.asarray(times, dtype=np.float64)
    if method == "ode":
        return _solved(model, times, parameters, select, start, seed)
    if isinstance(model, Model) and not only_counts(model, select):
        return _simulated(model, times, n, seed, parameters, select, start, keep_counts, max_events, progress)
    prepared = prepare(model, parameters, select)
    network = prepared.network
    source = model.elements.source.path if isinstance(model, Model) else "the network"
    warn_of_fractions(source, fractional(network.species, prepared.counts))
    ensemble = Ensemble(network, prepared.counts, prepared.coefficients, times, n, seed, start, max_events)
    if keep_counts is None:
        keep_counts = n * times.size * len(network.species) * 8 <= _KEPT_BYTES
    kept = np.empty((n, times.size, len(network.species)), np.int64) if keep_counts else None
    moments, events = Moments(), 0
    for chunk in run(ensemble, "simulate" if progress else None):
        moments.add(prepared.observe(chunk.records))
        events += chunk.events
        if kept is not None:
            kept[chunk.first : chunk.first + chunk.records[0].shape[1]] = np.stack(chunk.records, axis=-1).swapaxes(
                0, 1
            )
    return Simulation(
        times=times,
        mean=_frame(times, prepared.observables, moments.mean),
        sd=_frame(times, prepared.observables, moments.sd),
        n=n,
        seed=seed,
        events=events,
        species=network.species,
        _counts=kept,
    )


def _simulated(
    model: Model,
    times: np.ndarray,
    n: int,
    seed: int,
    parameters: Mapping[str, float] | None,
    select: Sequence[str] | None,
    start: float,
    keep_counts: bool | None,
    max_events: int,
    progress: bool,
) -> Simulation:
    """An ensemble of a model in which more than counts moves."""
    check_times(times, start)
    check_size(n, max_events)
    process, quantities = prepare_hybrid(model, parameters, select)
    counted = np.flatnonzero(process.whole)
    if keep_counts is None:
        keep_counts = n * times.size * len(counted) * 8 <= _KEPT_BYTES
    kept = np.empty((n, times.size, len(counted)), np.int64) if keep_counts else None
    moments, events, fractions = Moments(), 0, np.zeros((2, len(process.variables)), bool)
    label = "simulate" if progress else None
    for chunk in run_hybrid(process, quantities, times, n, seed, start, max_events, label):
        moments.add(chunk.observed)
        events += chunk.events
        fractions |= chunk.fractions
        if kept is not None:
            kept[chunk.first : chunk.first + chunk.states.shape[-1]] = chunk.states[counted].transpose(2, 1, 0)
    at_start, at_events = (list(compress(process.variables, row)) for row in fractions)
    warn_of_fractions(model.elements.source.path, at_start, at_events)
    return Simulation(
        times=times,
        mean=_frame(times, process.observables, moments.mean),
        sd=_frame(times, process.observables, moments.sd),
        n=n,
        seed=seed,
        events=events,
        species=tuple(process.variables[place] for place in counted),
        _counts=kept,
    )


def _solved(
    model: Model | ReactionNetwork,
    times: np.ndarray,
    parameters: Mapping[str, float] | None,
    select: Sequence[str] | None,
    start: float,
    seed: int,
) -> Simulation:
    """The solution of the rate equations, as a simulation of one trajectory without spread."""
    check_times(times, start)
    equations, quantities = prepare_equations(model, parameters, select)
    values = solve(equations, quantities, times, start, seed)
    return Simulation(
        times=times,
        mean=_frame(times, equations.observables, values),
        sd=_frame(times, equations.observables, np.zeros_like(values)),
        n=1,
        seed=seed,
        events=0,
        species=equations.variables,
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network with numbers: unrounded initial counts, coefficients, and what to look at."""

    network: ReactionNetwork
    counts: np.ndarray
    coefficients: tuple[Any, ...]
    observables: tuple[str, ...]
    _observe: Any = field(repr=False)

    def observe(self, records: Sequence[np.ndarray]) -> np.ndarray:
        """Observables (observables, times, trajectories) of count records (times, trajectories), one a species."""
        return stacked(self.observe_at(tuple(records)), records[0].shape)

    def observe_at(self, counts: tuple[Any, ...]) -> tuple[Any, ...]:
        """Observables, one array each, of counts, one array a species; a JAX function."""
        return tuple(self._observe(counts, self.coefficients))


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
    counts, coefficients = discrete.start(tuple(jnp.float64(v) for v in quantities.values()))
    return Prepared(
        discrete.network,
        np.array([float(v) for v in counts]),
        tuple(np.float64(v) for v in coefficients),
        discrete.observables,
        discrete.observe,
    )


def discretised(model: Model, select: Sequence[str] | None = None) -> DiscreteModel:
    """The discrete form of a model, made once for each choice of observables."""
    known = model.derived
    key = ("discrete", tuple(select) if select is not None else None)
    if key not in known:
        known[key] = discretise(model, select)
        if not known[key].channels:
            raise SimulationError(
                f"{model.elements.source.path}: no reaction changes anything, so there is nothing to simulate"
            )
    discrete: DiscreteModel = known[key]
    return discrete


def _prepare_network(network: ReactionNetwork, parameters: Mapping[str, Any], select: Sequence[str] | None) -> Prepared:
    names = tuple(select) if select is not None else network.species
    network.check_names(parameters, names)
    places = [network.species.index(name) for name in names]
    return Prepared(
        network,
        np.asarray(network.x0),
        network.coefficients_of({**network.parameters, **parameters}),
        names,
        lambda x, coefficients: tuple(x[i] for i in places),
    )


def _frame(times: np.ndarray, names: Sequence[str], values: np.ndarray) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(values.T, index=pandas.Index(times, name="time"), columns=list(names))
