"""What is in a model, how it can be simulated, and what to look out for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import sympy

from sbmlgrad.errors import SbmlgradWarning, UnsupportedError
from sbmlgrad.model.elements import Elements, Reaction
from sbmlgrad.network import Channel, DiscreteModel, discretise
from sbmlgrad.network.assembly import rate_equations
from sbmlgrad.network.bounds import listing
from sbmlgrad.network.channels import Chemistry, count_symbol
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.network.formulas import refusals
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.split import vanishes
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.simulation.dynamics import Dynamics, of_network, of_process
from sbmlgrad.simulation.experiment import MAX_EVENTS, too_many
from sbmlgrad.simulation.forecast import Forecast, forecast, impossible

END = 100.0
"""To which time reactions are counted unless told otherwise."""

_REVERSE = " (reverse)"
_SHOWN = 20  # of a long list
_MOST_FACTORS = 6  # of a product that a warning writes out
_ROUNDING = 1e-3  # relative change of an initial count by rounding that is worth a warning


@dataclass(frozen=True)
class Info:
    """What ``sbmlgrad info`` says of a model.

    ``reasons`` are those against exact simulation, if any, and ``ode_reasons`` those against rate equations.
    ``molecules`` are the smallest and largest initial counts, ``events`` the total propensity at the start, ``ahead``
    the forecast of a trajectory to the time asked for, ``beside`` what changes the model beside reactions, ``split``
    the reactions that run as two, ``whole`` those that run as one though their law is a difference, ``why`` the reasons
    for either, by reaction, ``quantities`` what can be set or fitted, with values. Where a model is refused, what could
    not be found out is empty.
    """

    source: str
    name: str = ""
    level: int | None = None
    version: int | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    ode_reasons: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    molecules: tuple[float, float] | None = None
    events: float | None = None
    ahead: Forecast | None = None
    time_units: str = ""
    split: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    quantities: Mapping[str, float] = field(default_factory=dict)
    observables: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether exact simulation works."""
        return not self.reasons

    @property
    def ode(self) -> bool:
        """Whether the rate equations can be solved."""
        return not self.ode_reasons

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it: what is not a finite number is null."""
        said = {item.name: _jsonable(getattr(self, item.name)) for item in fields(self)}
        said["ahead"] = self.ahead and {name: _jsonable(value) for name, value in vars(self.ahead).items()}
        return {"exact": self.exact, "ode": self.ode, **said}


def describe(source: str | Path, molecules_per_unit: float | None = None, end: float = END) -> Info:
    """Read a model and find out how it can be simulated, and how many reactions would fire from time 0 to ``end``.

    Raises :class:`~sbmlgrad.errors.SbmlError` for what is not valid SBML; what is valid but not supported is
    an answer, with its reasons.
    """
    try:
        model = read_sbml(source, molecules_per_unit)
    except UnsupportedError as error:
        return Info(error.source, reasons=error.reasons, ode_reasons=error.reasons)
    elements = model.elements
    info = Info(
        source=elements.source.path,
        name=model.name,
        level=elements.level,
        version=elements.version,
        numbers={
            "compartments": len(elements.compartments),
            "species": len(elements.species),
            "parameters": len(elements.parameters),
            "reactions": len(elements.reactions),
        },
        time_units=elements.time_units,
        warnings=elements.warnings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SbmlgradWarning)  # the answer has them
        chemistry = chemistry_of(model)
    against = tuple(refusals(elements))
    info = replace(info, reasons=tuple(chemistry.reasons), ode_reasons=against, beside=tuple(_beside(elements)))
    differences = chemistry.differences
    info = replace(
        info,
        split=tuple(reaction for reaction, difference in differences.items() if difference.split),
        whole=tuple(reaction for reaction, difference in differences.items() if not difference.split),
        why={reaction: difference.why for reaction, difference in differences.items()},
        warnings=(*info.warnings, *chemistry.warnings, *_signs(chemistry)),
    )
    if info.exact and only_counts(model):
        discrete = discretise(model)
        if discrete.channels:
            return _with_chemistry(info, discrete, end)
        info = replace(info, reasons=("no reaction changes anything, so there is nothing to simulate",))
    if info.exact:
        return _with_process(info, jump_process(chemistry), end)
    return _with_equations(info, rate_equations(model)) if info.ode else info


def _beside(elements: Elements) -> Iterator[str]:
    """What changes a model beside reactions, in words."""
    for what, number in (("event", len(elements.events)), ("rate rule", len(elements.rate_rules))):
        if number:
            yield f"{number} {what}{'s' if number > 1 else ''}"


def _with_process(info: Info, process: HybridModel, end: float) -> Info:
    quantities = np.array(list(process.quantities.values()))
    dynamics = of_process(process, quantities)
    counts, reacts = dynamics.state[process.whole], process.propensities is not None
    return replace(
        _with_equations(info, process),
        molecules=(float(counts.min()), float(counts.max())) if len(counts) else None,
        events=_events(dynamics) if reacts else None,
        ahead=forecast(dynamics, 0.0, end, MAX_EVENTS) if reacts else None,
        warnings=(
            *info.warnings,
            *_rounding(list(compress(process.variables, process.whole)), counts),
            *_impossible(dynamics, process.channels),
        ),
    )


def _with_equations(info: Info, model: HybridModel) -> Info:
    return replace(info, quantities=dict(model.quantities), observables=model.observables)


def _with_chemistry(info: Info, discrete: DiscreteModel, end: float) -> Info:
    counts, network = np.asarray(discrete.network.x0), discrete.network
    dynamics = of_network(network, counts, network.coefficients)
    return replace(
        info,
        molecules=(float(counts.min()), float(counts.max())),
        events=_events(dynamics),
        ahead=forecast(dynamics, 0.0, end, MAX_EVENTS),
        quantities={k: v for k, v in discrete.quantities.items() if k not in discrete.stoichiometric},
        observables=discrete.observables,
        warnings=(
            *info.warnings,
            *_rounding(discrete.network.species, counts),
            *_impossible(dynamics, network.reactions),
            *_mean_field(discrete),
        ),
    )


def _impossible(dynamics: Dynamics, reactions: Sequence[str]) -> Iterator[str]:
    """A reaction that ends exact simulation where it begins."""
    bad = impossible(dynamics, 0.0, certain=False)
    if bad is not None:
        yield (
            f"reaction {reactions[bad[0]]!r}: its propensity is {bad[1]:g} at the start, where exact simulation ends: "
            "write a reversible law as two reactions, check its parameters, or use --method ode"
        )


def _events(dynamics: Dynamics) -> float:
    """The total propensity at the start."""
    state = np.where(dynamics.whole, np.round(dynamics.state), dynamics.state)
    return math.fsum(dynamics.rates(np.zeros(1), state[:, None])[: dynamics.channels, 0])


def _rounding(species: Sequence[str], counts: np.ndarray) -> Iterator[str]:
    # half a molecule of a million is no news
    odd = [f"{name!r} ({x:.6g})" for name, x in zip(species, counts, strict=True) if abs(x - round(x)) > _ROUNDING * x]
    if odd:
        yield (
            f"{listing(odd)}: the initial number of molecules is not whole; each trajectory starts from one of the two "
            "whole numbers beside it, drawn so that the mean is kept"
        )


def _signs(chemistry: Chemistry) -> Iterator[str]:
    for reaction, difference in chemistry.differences.items():
        if not difference.split and not difference.sure:
            yield (
                f"reaction {reaction!r}: its law is a difference that is not split into two directions, "
                "and simulation stops where it becomes negative; write it as two reactions"
            )


def _mean_field(discrete: DiscreteModel) -> Iterator[str]:
    """Reactions of several molecules of one kind whose law does not know that there may be too few."""
    reactions = discrete.model.elements.reactions
    for channel in discrete.channels:
        for species, number in _consumed(reactions[channel.name.removesuffix(_REVERSE)], channel).items():
            count = count_symbol(species)
            if number >= 2 and count in channel.law.free_symbols and not vanishes(channel.law, count, 1):
                shown = min(number, _MOST_FACTORS)
                etc = "*..." if number > shown else ""
                factors = "*".join([species, *(f"({species} - {i})" for i in range(1, shown))])
                yield (
                    f"reaction {channel.name!r}: takes {number} of {species!r} by a law for large numbers, "
                    f"such as k*{'*'.join([species] * shown)}{etc}, taken as it is; for few molecules write "
                    f"k*{factors}{etc}, with {species} in molecules"
                )


def _consumed(reaction: Reaction, channel: Channel) -> dict[str, int]:
    """Molecules of each species that an event needs; whole and constant stoichiometries only."""
    side = reaction.products if channel.name.endswith(_REVERSE) else reaction.reactants
    numbers: dict[str, int] = {}
    for reference in side:
        amount = reference.stoichiometry
        if isinstance(amount, sympy.Number) and amount == int(amount):
            numbers[reference.species] = numbers.get(reference.species, 0) + int(amount)
    return numbers


def as_text(info: Info, every: bool = True) -> str:
    """The lines that ``sbmlgrad info`` prints: of long lists the first items, unless ``every`` one is asked for."""
    return "\n".join(_lines(info, len(info.quantities) + len(info.observables) + len(info.why) if every else _SHOWN))


def _lines(info: Info, most: int) -> Iterator[str]:
    yield f"{info.name} ({info.source})" if info.name else info.source
    if info.level:
        numbers = ", ".join(f"{what} {number}" for what, number in info.numbers.items())
        yield f"SBML Level {info.level} Version {info.version}: {numbers}"
    if info.exact:
        has_unit = info.time_units.isalpha() and info.time_units != "dimensionless"
        per = info.time_units if has_unit else "unit of time"
        events = f", about {info.events:.3g} events per {per} at the start" if info.events is not None else ""
        yield f"exact simulation (--method ssa): yes{events}"
        yield from _looking_ahead(info)
    else:
        yield "exact simulation (--method ssa): no"
        yield from (f"  {reason}" for reason in info.reasons)
    if info.ode:
        yield "rate equations (--method ode): yes"
    else:
        yield "rate equations (--method ode): no"
        yield from (f"  {reason}" for reason in info.ode_reasons if reason not in info.reasons or info.exact)
        if set(info.ode_reasons) <= set(info.reasons):
            yield "  for the same reasons"
    if not info.exact and info.ode:
        yield "remedy: run it with --method ode, or change the model so that it needs none of these"
    elif not info.exact:
        yield "remedy: change the model so that it needs none of these"
    if info.beside:
        yield f"changed by {' and '.join(info.beside)} too"
    if info.molecules:
        low, high = info.molecules
        yield f"initial molecules: {low:.6g} to {high:.6g} of a species"
    for what, reactions in (
        ("run as two reactions, one a direction", info.split),
        ("run as one reaction though the law is a difference", info.whole),
    ):
        if reactions:
            yield f"{what}: {_first(reactions, most)}"
            yield from (f"  {reaction}: {info.why[reaction]}" for reaction in reactions[:most])
    if info.quantities:
        yield "can be set (--set) or fitted (-p):"
        shown = dict(islice(info.quantities.items(), most))
        width = max(map(len, shown))
        yield from (f"  {name:<{width}}  {value:.6g}" for name, value in shown.items())
        if len(shown) < len(info.quantities):
            yield f"  and {len(info.quantities) - len(shown)} more; --all lists them"
    if info.observables:
        yield f"observables, [id] for concentrations: {_first(info.observables, most)}"
    yield from (f"warning: {text}" for text in info.warnings)


def _looking_ahead(info: Info) -> Iterator[str]:
    """How many reactions would fire, and what to do where they are too many."""
    ahead = info.ahead
    if ahead is None:
        return
    yield f"  about {ahead.firings:.2g} reactions fire in a trajectory to time {ahead.end:g}"
    if ahead.hopeless:
        by = f", which have fired by time {ahead.limit_at:.3g}" if ahead.limit_at is not None else ""
        remedy = too_many(ahead.firings, of_document=True)[1]
        yield f"  that is more than the {ahead.limit:.3g} allowed{by}: {remedy}"


def _first(names: Sequence[str], most: int) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more; --all lists them"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
