"""Methods of simulation: one small protocol, by which others can be handed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple, Protocol

import numpy as np

from sbmlgrad.errors import SimulationError
from sbmlgrad.model.labels import Labels, labels_of
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.simulation import processes
from sbmlgrad.simulation.deterministic import prepare_equations, solve
from sbmlgrad.simulation.ensemble import Chunk, Ensemble, on_accelerator, run
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.forecast import NETWORK, look_ahead_at_network, look_ahead_at_process
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.hybrid_ensemble import HybridChunk, prepare_hybrid, run_hybrid
from sbmlgrad.simulation.moments import GrainMoments, Moments, grain_moments
from sbmlgrad.simulation.on_device import observe_on_device
from sbmlgrad.simulation.path import Settings
from sbmlgrad.simulation.prepare import Prepared, prepare
from sbmlgrad.simulation.result import Simulation, by_time
from sbmlgrad.simulation.solvers import ROSENBROCK, Solver
from sbmlgrad.simulation.sparse import run_sparse, suited
from sbmlgrad.simulation.sparse_direct import suited_process

_KEPT_BYTES = 2**30  # counts are kept by default up to this size


class Part(NamedTuple):
    """What is made of consecutive trajectories from ``first`` on: the only thing that travels between processes.

    Moments of the observables (observables, times), for each species its counts (times, trajectories) where they are
    kept, how many reactions fired, and whatever else there is to be known.
    """

    first: int
    moments: GrainMoments
    counts: Sequence[np.ndarray]
    events: int
    more: Any = None


class Method(Protocol):
    """A way to simulate; one test holds all of them to what it promises."""

    @property
    def name(self) -> str:
        """What it is called by."""
        ...

    def simulate(
        self,
        model: Model | ReactionNetwork,
        experiment: Experiment,
        keep_counts: bool | None = None,
        progress: str | None = None,
    ) -> Simulation:
        """What the experiment gives; counts are kept where they are small if ``keep_counts`` is None."""
        ...


@dataclass(frozen=True)
class SSA:
    """Exact stochastic simulation: Gillespie's direct method, with a solver for what flows between reactions.

    ``solver`` is chosen by how stiff the flow is if None; its error is held to ``rtol``, relative for every variable.
    A trajectory that needs more than ``max_steps`` steps of the solver raises :class:`TruncationError`.

    ``sparse`` says whether the loop is that of large networks, whose work does not grow with the number of reactions
    (:mod:`sbmlgrad.simulation.sparse`); chosen by size if None. Both have the same law.
    """

    solver: Solver | None = None
    rtol: float = 1e-8
    max_steps: int = 10_000_000
    name: str = "ssa"
    sparse: bool | None = None

    def __post_init__(self) -> None:
        _check(self.rtol, self.max_steps)

    @property
    def settings(self) -> Settings:
        """As loops take them."""
        return Settings(solver=self.solver, relative=self.rtol, most_steps=self.max_steps)

    def simulate(
        self,
        model: Model | ReactionNetwork,
        experiment: Experiment,
        keep_counts: bool | None = None,
        progress: str | None = None,
    ) -> Simulation:
        if isinstance(model, Model) and not only_counts(model, experiment.select):
            return self._of_what_flows(model, experiment, keep_counts, progress)
        e, prepared = experiment, prepare(model, experiment.parameters, experiment.select)
        network = prepared.network
        as_data = suited(network, self.sparse, prepared.coefficients)
        look_ahead_at_network(_source(model), network, prepared.counts, prepared.coefficients, experiment, as_data)
        warn_of_fractions(_source(model), fractional(network.species, prepared.counts))
        ensemble = Ensemble(
            network, prepared.counts, prepared.coefficients, e.times, e.n, e.seed, e.start, e.max_events
        )
        if as_data is None and on_accelerator():
            taken = observe_on_device(ensemble, prepared, _keeps(experiment, network.species, keep_counts), progress)
            result = _result(experiment, prepared.observables, network.species, *taken)
            return _described(result, model, self.name, prepared)
        kept = _keeps(experiment, network.species, keep_counts)

        def take(chunk: Chunk) -> Part:
            moments = grain_moments(prepared.observe(chunk.records))
            return Part(chunk.first, moments, chunk.records if kept else (), chunk.events)

        if as_data is None:
            parts = run(ensemble, progress, take=take)
        else:
            parts = run_sparse(ensemble, as_data, progress, take=take)
        result = _collected(experiment, prepared.observables, network.species, parts, kept)
        return _described(result, model, self.name, prepared)

    def _of_what_flows(
        self, model: Model, experiment: Experiment, keep_counts: bool | None, progress: str | None
    ) -> Simulation:
        process, quantities = prepare_hybrid(model, experiment.parameters, experiment.select)
        settings = replace(self.settings, as_data=suited_process(process, quantities, self.sparse))
        look_ahead_at_process(process, quantities, experiment)
        counted = np.flatnonzero(process.whole)
        fractions = np.zeros((2, len(process.variables)), bool)
        names = tuple(process.variables[index] for index in counted)
        kept = _keeps(experiment, (*names, *process.observables), keep_counts)
        keeps_counts = _keeps(experiment, names, keep_counts)
        observed: list[np.ndarray] | None = [] if kept else None

        def take(chunk: HybridChunk) -> Part:
            counts = tuple(chunk.states[counted]) if keeps_counts else ()
            more = chunk.fractions, chunk.observed if kept else None
            return Part(chunk.first, grain_moments(chunk.observed), counts, chunk.events, more)

        def parts() -> Iterator[Part]:
            for part in run_hybrid(process, quantities, experiment, settings, progress, take):
                not_whole, seen = part.more
                np.logical_or(fractions, not_whole, out=fractions)
                if observed is not None:
                    observed.append(seen)
                yield part

        result = _collected(experiment, process.observables, names, parts(), keeps_counts)
        result = _described(result, model, self.name, observed)
        at_start, at_events = (list(compress(process.variables, row)) for row in fractions)
        warn_of_fractions(_source(model), at_start, at_events)
        return result


@dataclass(frozen=True)
class ODE:
    """The solution of the rate equations, as a simulation of one trajectory without spread.

    The solver's error is held to ``rtol``, relative for every variable. A solution that needs more than ``max_steps``
    steps raises :class:`TruncationError`.
    """

    solver: Solver = ROSENBROCK
    rtol: float = 1e-8
    max_steps: int = 1_000_000
    name: str = "ode"

    def __post_init__(self) -> None:
        _check(self.rtol, self.max_steps)

    @property
    def settings(self) -> Settings:
        """As loops take them."""
        return Settings(solver=self.solver, relative=self.rtol, most_steps=self.max_steps)

    def simulate(
        self,
        model: Model | ReactionNetwork,
        experiment: Experiment,
        keep_counts: bool | None = None,
        progress: str | None = None,
    ) -> Simulation:
        e = experiment
        equations, quantities = prepare_equations(model, e.parameters, e.select)
        values = solve(equations, quantities, e.times, e.start, e.seed, self.settings)
        result = Simulation(
            times=e.times,
            mean=by_time(e.times, equations.observables, values),
            sd=by_time(e.times, equations.observables, np.zeros_like(values)),
            n=1,
            seed=e.seed,
            events=0,
            species=equations.variables,
        )
        return _described(result, model, self.name, [values[..., None]])


def _check(rtol: float, max_steps: int) -> None:
    if not 1e-14 <= rtol <= 0.1:
        raise SimulationError(f"rtol: expected between 1e-14 and 0.1, got {rtol!r}")
    if not 1 <= max_steps < 2**31:
        raise SimulationError(f"max_steps: expected between 1 and {2**31 - 1}, got {max_steps!r}")


def _source(model: Model | ReactionNetwork) -> str:
    return model.elements.source.path if isinstance(model, Model) else NETWORK


def _collected(
    experiment: Experiment,
    observables: tuple[str, ...],
    species: tuple[str, ...],
    parts: Iterable[Part],
    keep: bool,
) -> Simulation:
    """An ensemble of its parts."""
    shape = (experiment.n, experiment.times.size, len(species))
    kept = np.empty(shape, np.int64) if keep else None
    moments, events = Moments(), 0
    for part in parts:
        moments.add_grains(*part.moments)
        events += part.events
        if kept is not None:
            for index, rows in enumerate(part.counts):
                kept[part.first : part.first + rows.shape[-1], :, index] = rows.T
    return _result(experiment, observables, species, moments, events, None if kept is None else [kept])


def _keeps(experiment: Experiment, species: tuple[str, ...], keep_counts: bool | None) -> bool:
    """Whether counts are kept: as asked for, or where they are small and need not come from other processes."""
    if keep_counts is not None:
        return keep_counts
    return processes.count() == 1 and experiment.n * experiment.times.size * len(species) * 8 <= _KEPT_BYTES


def _result(
    experiment: Experiment,
    observables: tuple[str, ...],
    species: tuple[str, ...],
    moments: Moments,
    events: int,
    kept: Sequence[np.ndarray] | None,
) -> Simulation:
    return Simulation(
        times=experiment.times,
        mean=by_time(experiment.times, observables, moments.mean),
        sd=by_time(experiment.times, observables, moments.sd),
        n=experiment.n,
        seed=experiment.seed,
        events=events,
        species=species,
        _counts=kept,
    )


def _described(
    result: Simulation, model: Model | ReactionNetwork, method: str, observed: Prepared | list[np.ndarray] | None
) -> Simulation:
    """With words and trajectories: ``observed`` (observables, times, n), or what observes them."""
    columns = list(result.mean.columns)
    labels = labels_of(model.elements, columns) if isinstance(model, Model) else _labels_of_counts(columns)

    def observe() -> np.ndarray:
        if isinstance(observed, Prepared):
            counts = np.asarray(result.counts)
            return observed.observe([counts[..., i].T for i in range(counts.shape[-1])]).transpose(2, 1, 0)
        return np.concatenate(observed or [], axis=-1).transpose(2, 1, 0)

    is_kept = result._counts is not None if isinstance(observed, Prepared) else observed is not None
    return replace(result, method=method, labels=labels, _observe=observe if is_kept else None)


def _labels_of_counts(columns: Sequence[str]) -> Labels:
    return Labels(quantities=dict.fromkeys(columns, "molecules"))


METHODS: dict[str, Method] = {"ssa": SSA(), "ode": ODE(), "ssa-sparse": SSA(name="ssa-sparse", sparse=True)}


def as_method(item: str | Method) -> Method:
    """The method of this name; one that is handed in stands for itself."""
    if not isinstance(item, str):
        return item
    if item not in METHODS:
        raise SimulationError(f"method {item!r}: not available; use {', '.join(map(repr, METHODS))}")
    return METHODS[item]
