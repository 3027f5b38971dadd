"""From a model to a reaction network on molecule counts, with generated JAX functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sbmlgrad.errors import UnsupportedError
from sbmlgrad.model.elements import symbol
from sbmlgrad.model.model import Model
from sbmlgrad.network.assembly import default_observables
from sbmlgrad.network.channels import Channel, Chemistry
from sbmlgrad.network.hybrid_model import Formulas, HybridModel
from sbmlgrad.network.network import ReactionNetwork
from sbmlgrad.network.program import Program
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.network.timed import Timed, beyond_known_times

Arrays = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class DiscreteModel:
    """A model as a Markov process on molecule counts.

    Attributes
    ----------
    network
        What the simulator runs; its species are the model's species that reactions change.
    quantities
        The numbers that can be changed or fitted, by name: parameters, compartment sizes, local parameters, and
        initial values of species in the kind in which they are given, ``S`` or ``[S]``.
    start
        ``start(quantities) -> (counts, coefficients)``: a JAX function of a tuple of numbers in the order of
        ``quantities``. Counts are not rounded: 10.4 molecules are 10.4 here. Coefficients are everything in rate
        laws and observables that does not follow the state.
    observables
        Names of what is looked at: ``S`` amounts, ``[S]`` concentrations, other ids as their symbols mean.
    observe
        ``observe(counts, coefficients) -> values``, one array for each observable.
    position
        For each observable that is a species' count itself, that species' index in the state; else None.
    """

    model: Model
    channels: tuple[Channel, ...]
    network: ReactionNetwork
    quantities: Mapping[str, float]
    start: Callable[[Sequence[Any]], tuple[Arrays, Arrays]]
    observables: tuple[str, ...]
    observe: Callable[[Arrays, Arrays], Arrays]
    position: tuple[int | None, ...]
    structural: frozenset[str]
    """Quantities that decide what the channels are, so that changing them makes another network."""
    stoichiometric: frozenset[str]
    """Those of them that enter the jumps, so that nothing has a derivative by them."""
    timed: Timed | None = None
    """Where laws may follow time and events happen at known times, the process that says when; coefficients are then
    as :class:`~sbmlgrad.network.timed.Timed` has them."""


def discretise(model: Model, observables: Iterable[str] | None = None, timed: bool = False) -> DiscreteModel:
    """The exact stochastic meaning of a model.

    Parameters
    ----------
    observables
        What to look at; all species (as amounts) and all variables of assignment rules if not given.
    timed
        Whether laws may depend on time, which is then the first of the coefficients, 0 at first, and events may happen
        at times that time alone decides.

    Raises
    ------
    UnsupportedError
        with all reasons at once: laws that depend on time, stoichiometries that are not whole numbers of
        molecules or change, counts beyond exact simulation.
    UnknownIdError
        for an observable that the model does not have.
    """
    chemistry = chemistry_of(model)
    names = default_observables(model) if observables is None else tuple(observables)
    reasons = [*chemistry.reasons, *_beyond_counts(chemistry, names, timed)]
    if reasons:
        raise UnsupportedError(model.elements.source.path, reasons)
    process = jump_process(chemistry, names)
    layout = Timed.of(process) if timed else None
    start, laws = _start(process, layout), [channel.law for channel in chemistry.channels]
    counts, coefficients = start(tuple(process.quantities.values()))
    reacting = list(layout.counts) if layout else list(range(len(process.variables)))
    network = ReactionNetwork(
        stoichiometry=process.columns.of_rows(np.array(reacting, np.int64)),
        x0=[float(v) for v in counts],
        parameters={f"k{i}": float(v) for i, v in enumerate(coefficients)},
        species=tuple(process.variables[index] for index in reacting),
        reactions=process.channels,
        rates=_of_counts(process.propensities, layout),
        nonnegative=all(chemistry.surely_positive(law) for law in laws)
        and all(not value < 0 for value in process.quantities.values()),
    )
    return DiscreteModel(
        model=model,
        channels=chemistry.channels,
        network=network,
        quantities=process.quantities,
        start=start,
        observables=names,
        observe=_of_counts(process.observe_program, layout),
        position=_positions(process, reacting),
        structural=frozenset(chemistry.structural),
        stoichiometric=frozenset(chemistry.stoichiometric),
        timed=layout,
    )


def only_counts(model: Model, observables: Iterable[str] | None = None) -> bool:
    """Whether counts that jump at rates of their own are all that moves in a model, so that it can be discretised."""
    names = default_observables(model) if observables is None else tuple(observables)
    return not _beyond_counts(chemistry_of(model), names)


def beyond_counts_in_time(model: Model, observables: Iterable[str] | None = None) -> list[str]:
    """What moves beside counts that jump at rates of their own and of the time, and are set at known times: one
    sentence for each kind."""
    names = default_observables(model) if observables is None else tuple(observables)
    return _beyond_counts(chemistry_of(model), names, timed=True)


def _beyond_counts(chemistry: Chemistry, names: Iterable[str], timed: bool = False) -> list[str]:
    """What moves beside counts that react, in laws that follow time and at known times where these are ``timed``."""
    names, elements, reasons = tuple(names), chemistry.elements, []
    ways = "here only reactions may change anything; simulate, sensitivity and fit do more"
    if timed:
        reasons += [f"{reason}: {ways}" for reason in beyond_known_times(chemistry, names)]
    elif elements.events:
        reasons.append(f"event {elements.events[0].id!r} (and {len(elements.events)} in all): {ways}")
    if elements.rate_rules:
        reasons.append(f"the rate rule of {next(iter(elements.rate_rules))!r}: {ways}")
    varying = [c.name for c in chemistry.channels if not timed and chemistry.depends_on_time(c.law)]
    plain = (name[1:-1] if name.startswith("[") and name.endswith("]") else name for name in names)
    varying += [name for name in plain if chemistry.depends_on_time(symbol(name))]
    if varying:
        reasons.append(f"{varying[0]!r} depends on time: {ways}")
    if chemistry.draws and not (reasons or chemistry.reasons):
        reasons.append(f"random numbers are drawn for initial values: {ways}")
    return reasons


@dataclass(frozen=True, eq=False)
class OfCounts:
    """A program as a function of counts and coefficients, one array each."""

    program: Program | None
    timed: Timed | None

    def __call__(self, counts: Arrays, coefficients: Arrays) -> Arrays:
        time = np.float64(0.0)  # nothing follows it, or else it is among the coefficients
        inputs = self.timed.inputs(counts, coefficients) if self.timed else (time, *counts, *coefficients)
        return tuple(self.program.of_arrays(inputs)) if self.program else ()


def _of_counts(program: Formulas | None, timed: Timed | None) -> OfCounts:
    assert program is None or isinstance(program, Program)
    return OfCounts(program, timed)


def _positions(process: HybridModel, reacting: Sequence[int]) -> tuple[int | None, ...]:
    """For each observable that is a count itself, its index among those that react; else None."""
    program = process.observe_program
    assert isinstance(program, Program)
    indices = {program.inputs[1 + variable]: index for index, variable in enumerate(reacting)}
    return tuple(indices.get(node) for node in program.outputs)


def _start(process: HybridModel, timed: Timed | None) -> Callable[[Sequence[Any]], tuple[Arrays, Arrays]]:
    """The function that computes initial counts and coefficients from the quantities, one number each."""
    size, program = len(process.variables), process.start_program
    assert isinstance(program, Program)

    def start(quantities: Sequence[Any]) -> tuple[Arrays, Arrays]:
        values = tuple(program.unrolled([np.float64(v) if isinstance(v, (int, float)) else v for v in quantities]))
        return timed.started(values[:size], values[size:]) if timed else (values[:size], values[size:])

    return start
