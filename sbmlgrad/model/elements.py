"""The parts of a model as frozen dataclasses.

Mathematics is held as sympy expressions over the symbols of :func:`symbol`: one symbol for each SBML id,
``reaction.parameter`` for local parameters, and :data:`TIME`. A species symbol means what it means in a
kinetic law: an amount where ``hasOnlySubstanceUnits`` is set or the compartment has no size to divide by
(spatial dimensions 0), a concentration elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import sympy

TIME = sympy.Symbol("<time>")  # no SBML id contains "<", so this cannot collide
AVOGADRO = 6.02214179e23  # the value that SBML L3 fixes for its csymbol


@lru_cache(maxsize=100_000)
def symbol(identifier: str) -> sympy.Symbol:
    """The symbol that stands for an SBML id; never parsed, so ``lambda`` or ``I`` are ids like any other."""
    return sympy.Symbol(identifier)


def rate_id(identifier: str) -> str:
    """The pseudo-id of a variable's rate of change, which ``rateOf`` in formulas refers to."""
    return f"<rate of {identifier}>"


@dataclass(frozen=True)
class Compartment:
    """A compartment; ``size`` is None where the file leaves it unset."""

    id: str
    name: str
    size: float | None
    dimensions: float
    constant: bool
    units: str


@dataclass(frozen=True)
class Species:
    """A species with its initial value as the file gives it (an amount, a concentration or neither).

    ``molecules_per_unit`` is the number of molecules in one unit of amount, which ``units`` names in words.
    """

    id: str
    name: str
    compartment: str
    initial_amount: float | None
    initial_concentration: float | None
    only_substance_units: bool
    boundary: bool
    constant: bool
    conversion_factor: str | None
    units: str
    molecules_per_unit: float = 1.0


@dataclass(frozen=True)
class Parameter:
    """A global parameter, or a local one whose id is ``reaction.parameter``; ``value`` None if unset."""

    id: str
    name: str
    value: float | None
    constant: bool
    units: str


@dataclass(frozen=True)
class SpeciesReference:
    """One reactant or product: the species and how much of it one unit of extent uses or makes.

    ``stoichiometry`` is a number or a sympy expression; ``id`` is set where other formulas may refer to it.
    Where an initial assignment, a rule or an event sets that id, ``stoichiometry`` is its symbol, and ``value``
    is what the document declares.
    """

    species: str
    stoichiometry: sympy.Expr
    id: str | None = None
    value: float = 1.0


@dataclass(frozen=True)
class Reaction:
    """A reaction with its kinetic law in extent per time, verbatim (never divided by a compartment size)."""

    id: str
    name: str
    reversible: bool
    reactants: tuple[SpeciesReference, ...]
    products: tuple[SpeciesReference, ...]
    modifiers: tuple[str, ...]
    kinetic_law: sympy.Expr
    local_parameters: tuple[Parameter, ...] = ()
    fast: bool = False


@dataclass(frozen=True)
class Event:
    """What happens when a condition becomes true.

    The event is triggered when ``trigger`` turns from false to true; before time 0 it counts as
    ``initial_value``. It is executed ``delay`` later, with values from the one time or the other
    (``values_from_trigger_time``), in the order of falling ``priority`` where several are due. One that is not
    ``persistent`` is called off where the trigger turns false before. ``assignments`` map ids to expressions.
    """

    id: str
    trigger: sympy.Basic
    assignments: Mapping[str, sympy.Expr]
    delay: sympy.Expr | None = None
    priority: sympy.Expr | None = None
    initial_value: bool = True
    persistent: bool = True
    values_from_trigger_time: bool = True


@dataclass(frozen=True)
class Source:
    """Where a model came from: the path or ``<text>``, and the document itself as text, unchanged."""

    path: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class Elements:
    """All that a document declares, in document order, keyed by id.

    ``assignment_rules``, ``rate_rules`` and ``initial_assignments`` map the id that is set to its expression;
    among the assignment rules are those that algebraic rules come to, and the rates of change that formulas refer
    to, under :func:`rate_id`. ``algebraic_rules`` are expressions that are 0 and could not be solved.
    ``extent_molecules`` is the number of molecules in one unit of reaction extent.
    ``conversion_factor`` is the id of the parameter that the model names as such, or None.
    ``time_units`` and ``substance_units`` are in words ("hour", "nanomole"), "" where undeclared.
    ``warnings`` are sentences that ``info`` prints.
    """

    id: str
    name: str
    level: int
    version: int
    compartments: Mapping[str, Compartment]
    species: Mapping[str, Species]
    parameters: Mapping[str, Parameter]
    reactions: Mapping[str, Reaction]
    assignment_rules: Mapping[str, sympy.Expr]
    initial_assignments: Mapping[str, sympy.Expr]
    extent_molecules: float
    conversion_factor: str | None
    time_units: str
    substance_units: str
    source: Source
    rate_rules: Mapping[str, sympy.Expr] = field(default_factory=dict)
    algebraic_rules: tuple[sympy.Expr, ...] = ()
    events: tuple[Event, ...] = ()
    warnings: tuple[str, ...] = ()

    def means_amount(self, species: str) -> bool:
        """Whether the species' symbol stands for its amount rather than its concentration."""
        item = self.species[species]
        return item.only_substance_units or self.compartments[item.compartment].dimensions == 0

    @cached_property
    def uses(self) -> Mapping[str, tuple[tuple[int, SpeciesReference, Reaction], ...]]:
        """By species, where reactions take it (-1) or make it (1): sign, reference and reaction, in document order."""
        uses: dict[str, list[tuple[int, SpeciesReference, Reaction]]] = {}
        for reaction in self.reactions.values():
            for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
                for reference in side:
                    uses.setdefault(reference.species, []).append((sign, reference, reaction))
        return {species: tuple(items) for species, items in uses.items()}

    @cached_property
    def set_by_events(self) -> frozenset[str]:
        """The ids that events assign."""
        return frozenset(identifier for event in self.events for identifier in event.assignments)
