"""From a model to a reaction network on molecule counts, with generated JAX functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy

from sbmlgrad.errors import UnknownIdError, UnsupportedError
from sbmlgrad.model.elements import TIME, symbol
from sbmlgrad.model.functions import build, number
from sbmlgrad.model.model import Model
from sbmlgrad.network.assembly import default_observables
from sbmlgrad.network.channels import Channel, Chemistry, count_symbol, product, ratio
from sbmlgrad.network.generate import Program, compile_source
from sbmlgrad.network.network import ReactionNetwork
from sbmlgrad.network.stochastic import chemistry_of

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
        For each observable that is a species' count itself, that species' place in the state; else None.
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
    source: str = field(repr=False)
    """The generated functions as readable source."""


def discretise(model: Model, observables: Iterable[str] | None = None) -> DiscreteModel:
    """The exact stochastic meaning of a model.

    Parameters
    ----------
    observables
        What to look at; all species (as amounts) and all variables of assignment rules if not given.

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
    watched = [_observable(chemistry, name) for name in names]
    reasons = [*chemistry.reasons, *_beyond_counts(chemistry, names)]
    if reasons:
        raise UnsupportedError(model.elements.source.path, reasons)
    writer = _Writer(chemistry)
    laws = [channel.law for channel in chemistry.channels]
    rates, rates_source = writer.state_function("rates", laws)
    observe, observe_source = writer.state_function("observe", watched)
    start, start_source = writer.start_function()  # last, when all coefficients are known
    counts, coefficients = start(tuple(writer.quantities.values()))
    state = chemistry.state
    jumps = np.array([[c.jumps.get(s, 0) for c in chemistry.channels] for s in state], dtype=np.int64)
    network = ReactionNetwork(
        stoichiometry=jumps.reshape(len(state), len(laws)),
        x0=[float(v) for v in counts],
        parameters={f"k{i}": float(v) for i, v in enumerate(coefficients)},
        species=state,
        reactions=tuple(c.name for c in chemistry.channels),
        rates=rates,
        nonnegative=all(chemistry.surely_positive(law) for law in laws)
        and all(not value < 0 for value in writer.quantities.values()),
    )
    places = {count_symbol(identifier): i for i, identifier in enumerate(state)}
    return DiscreteModel(
        model=model,
        channels=chemistry.channels,
        network=network,
        quantities=writer.quantities,
        start=start,
        observables=names,
        observe=observe,
        position=tuple(places.get(expression) for expression in watched),
        structural=frozenset(chemistry.structural),
        stoichiometric=frozenset(chemistry.stoichiometric),
        source="\n\n".join((start_source, rates_source, observe_source)),
    )


def only_counts(model: Model, observables: Iterable[str] | None = None) -> bool:
    """Whether counts that jump at rates of their own are all that moves in a model, so that it can be discretised."""
    names = default_observables(model) if observables is None else tuple(observables)
    return not _beyond_counts(chemistry_of(model), names)


def _beyond_counts(chemistry: Chemistry, names: Iterable[str]) -> list[str]:
    """What moves beside counts that react: one sentence for each kind."""
    elements, reasons = chemistry.elements, []
    ways = "here only reactions may change anything; simulate does more, and gradients and fits do with method 'ode'"
    if elements.events:
        reasons.append(f"event {elements.events[0].id!r} (and {len(elements.events)} in all): {ways}")
    if elements.rate_rules:
        reasons.append(f"the rate rule of {next(iter(elements.rate_rules))!r}: {ways}")
    varying = [c.name for c in chemistry.channels if chemistry.depends_on_time(c.law)]
    plain = (name[1:-1] if name.startswith("[") and name.endswith("]") else name for name in names)
    varying += [name for name in plain if chemistry.depends_on_time(symbol(name))]
    if varying:
        reasons.append(f"{varying[0]!r} depends on time: {ways}")
    if not (reasons or chemistry.plain or chemistry.reasons):
        reasons.append(f"random numbers are drawn for initial values: {ways}")
    return reasons


def _observable(chemistry: Chemistry, name: str) -> sympy.Expr:
    """The expression of an observable over count symbols."""
    elements = chemistry.elements
    plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    species = elements.species.get(plain)
    if species is None:
        if plain != name or name not in chemistry.initial:
            raise UnknownIdError(f"{elements.source.path}: no species or variable {name!r} to look at")
        expression = symbol(name)
    else:
        amount = chemistry.amount(plain, chemistry.translate(symbol(plain)))
        if plain in chemistry.state:
            amount = chemistry.amount_of_count(plain)
        expression = amount if plain == name else ratio(amount, symbol(species.compartment))
    return expression


class _Writer:
    """Writes the functions of one model; ``pool`` collects the coefficients that they share."""

    def __init__(self, chemistry: Chemistry):
        self._chemistry = chemistry
        self._pool: dict[Any, sympy.Symbol] = {}
        self._given = {s: name for s in chemistry.elements.species if (name := _given_as(chemistry, s)) is not None}
        self.quantities = self._quantities()

    def state_function(self, name: str, expressions: Sequence[sympy.Expr]) -> tuple[Any, str]:
        """A function of counts and coefficients that returns the values of the expressions."""
        rules = {i: self._hoist(e) for i, e in self._needed_rules(expressions).items()}
        outputs = [self._hoist(e) for e in expressions]
        counts = [count_symbol(s) for s in self._chemistry.state]
        program = Program(name, {"x": counts, "k": list(self._pool.values())})
        for identifier, expression in rules.items():
            program.define(symbol(identifier), expression)
        source = program.source([program.value(e) for e in outputs])
        inner = compile_source(source, name)
        used = len(self._pool)  # later functions may add coefficients

        def function(counts: Arrays, coefficients: Arrays) -> Arrays:
            return inner(counts, coefficients[:used])

        return function, source

    def start_function(self) -> tuple[Any, str]:
        """The function that computes initial counts and coefficients from the quantities."""
        chemistry = self._chemistry
        program = Program("start", {"q": [_quantity(name) for name in self.quantities]})
        for reference, value in chemistry.initial.items():
            if reference not in chemistry.model.evaluation_order and reference != TIME.name:
                program.define(symbol(reference), number(value))  # stoichiometries that formulas refer to
        program.define(TIME, sympy.Integer(0))
        for identifier in chemistry.model.evaluation_order:
            program.define(symbol(identifier), self._initial(identifier))
        counts = [
            product(chemistry.amount(s, symbol(s)), number(chemistry.elements.species[s].molecules_per_unit))
            for s in chemistry.state
        ]
        source = program.source([program.value(e) for e in (*counts, *self._pool)])
        inner = compile_source(source, "start")
        size = len(counts)

        def start(quantities: Sequence[Any]) -> tuple[Arrays, Arrays]:
            values = inner(tuple(jnp.asarray(value, jnp.float64) for value in quantities))
            return values[:size], values[size:]

        return start, source

    def _quantities(self) -> dict[str, float]:
        model = self._chemistry.model
        values = {}
        for identifier, value in model.quantities().items():
            name = self._given.get(identifier, identifier)
            values[name] = value if name == identifier else model.initial_value(identifier)[0]
        return values

    def _initial(self, identifier: str) -> sympy.Expr:
        elements = self._chemistry.elements
        assigned = elements.assignment_rules.get(identifier, elements.initial_assignments.get(identifier))
        if assigned is not None:
            return assigned
        name = self._given.get(identifier)
        if name is None:
            return _quantity(identifier)
        species = elements.species[identifier]
        if self._chemistry.is_amount(species) == (name == identifier):
            return _quantity(name)
        if name == identifier:
            return ratio(_quantity(name), symbol(species.compartment))
        return product(_quantity(name), symbol(species.compartment))

    def _needed_rules(self, expressions: Sequence[sympy.Expr]) -> dict[str, sympy.Expr]:
        """The state-dependent rules that the expressions use, directly or through others, in order."""
        needed = {item.name for e in expressions for item in e.free_symbols}
        rules = self._chemistry.rules
        for identifier in reversed(rules):
            if identifier in needed:
                needed |= {item.name for item in rules[identifier].free_symbols}
        return {identifier: e for identifier, e in rules.items() if identifier in needed}

    def _hoist(self, node: Any) -> Any:
        """The expression with every part that does not follow the state replaced by a coefficient."""
        if isinstance(node, sympy.Number) or node in (sympy.true, sympy.false):
            return node
        moving = self._chemistry.moving | {TIME}
        if isinstance(node, sympy.Expr) and not node.free_symbols & moving:
            return self._pool.setdefault(node, sympy.Symbol(f"coefficient:{len(self._pool)}"))
        if not node.args:
            return node
        args = list(node.args)
        if node.func in (sympy.Add, sympy.Mul):
            fixed = [arg for arg in args if not arg.free_symbols & moving]
            if len(fixed) > 1:
                args = [build(node.func, *fixed), *(arg for arg in args if arg.free_symbols & moving)]
        return build(node.func, *[self._hoist(arg) for arg in args])


def _quantity(name: str) -> sympy.Symbol:
    return sympy.Symbol(f"quantity:{name}")


def _given_as(chemistry: Chemistry, species: str) -> str | None:
    """The name of a species' initial value in the kind in which it is given; None where it is assigned."""
    elements = chemistry.elements
    if species in elements.initial_assignments or species in elements.assignment_rules:
        return None
    return species if chemistry.model.initial_value(species)[1] else f"[{species}]"
