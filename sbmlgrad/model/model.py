"""A model with numbers: what its mathematics says at the start, and what its kinetic laws give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sbmlgrad.errors import UnknownIdError, which
from sbmlgrad.markup import html_table
from sbmlgrad.model.elements import TIME, Elements, Species
from sbmlgrad.model.evaluate import assignment_order, evaluate, symbol_ids
from sbmlgrad.model.overview import parameters_table, reactions_table, species_table

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Model:
    """A model as its document declares it (``elements``) and the numbers that were changed since.

    ``changes`` maps ids to values: parameters, compartments and ``reaction.parameter``; a species id is its
    initial amount, ``[S]`` its initial concentration. :meth:`with_parameters` makes them, with checks.
    Assignments that depend on each other in a circle raise :class:`~sbmlgrad.errors.SbmlError`.
    """

    elements: Elements
    changes: Mapping[str, float] = field(default_factory=dict)
    derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    """What was worked out from this model and is kept with it, such as its discrete form."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", MappingProxyType(dict(self.changes)))
        _ = self.assignment_order, self.initial_order  # a circle of assignments is an error here, not later

    @property
    def name(self) -> str:
        """The name of the model, else its id."""
        return self.elements.name or self.elements.id

    @property
    def species_ids(self) -> tuple[str, ...]:
        """The ids of the species in document order."""
        return tuple(self.elements.species)

    @property
    def reaction_ids(self) -> tuple[str, ...]:
        """The ids of the reactions in document order."""
        return tuple(self.elements.reactions)

    @property
    def species(self) -> pandas.DataFrame:
        """A row for each species: name, compartment, initial amount and concentration, unit of amount, what sets it."""
        start = self.initial_values()
        amounts = {identifier: self._amount(identifier, start) for identifier in self.elements.species}
        return species_table(self.elements, start, amounts)

    @property
    def reactions(self) -> pandas.DataFrame:
        """A row for each reaction: name, equation, kinetic law, and whether it is declared reversible."""
        return reactions_table(self.elements)

    @property
    def parameters(self) -> pandas.DataFrame:
        """A row for each parameter (local ones as ``reaction.parameter``): name, initial value, unit, what sets it."""
        return parameters_table(self.elements, self.initial_values())

    def __repr__(self) -> str:
        elements = self.elements
        numbers = (
            (len(items), f"{what}s" if len(items) != 1 and what != "species" else what)
            for items, what in (
                (elements.species, "species"),
                (elements.reactions, "reaction"),
                (elements.parameters, "parameter"),
                (elements.events, "event"),
            )
            if items
        )
        listed = ", ".join(f"{number} {what}" for number, what in numbers) or "empty"
        changed = f"; {len(self.changes)} values changed" if self.changes else ""
        return f"<Model {self.name!r} ({elements.source.path}): {listed}{changed}>"

    def _repr_html_(self) -> str:
        def table(caption: str, frame: pandas.DataFrame) -> str:
            rows = frame.reset_index()
            return html_table(caption, list(rows.columns), rows.itertuples(index=False))

        tables = (("species", self.species), ("reactions", self.reactions), ("parameters", self.parameters))
        return f"<p>{escape(repr(self))}</p>" + "".join(table(caption, frame) for caption, frame in tables)

    def with_parameters(self, changes: Mapping[str, float]) -> Model:
        """A model with other numbers.

        Parameters
        ----------
        changes
            Values by id: parameters, compartments (size), local parameters as ``reaction.parameter``, species
            as ``S`` (initial amount) or ``[S]`` (initial concentration).

        Raises
        ------
        UnknownIdError
            The model has no such id, or a rule or an initial assignment sets it.
        """
        merged = dict(self.changes)
        for identifier, value in changes.items():
            self._check_changeable(identifier)
            other = identifier[1:-1] if identifier.startswith("[") else f"[{identifier}]"
            if other in changes:
                raise self._unknown(
                    f"'{identifier}' and '{other}' are both given; give the amount or the concentration"
                )
            merged.pop(other, None)
            merged[identifier] = float(value)
        return Model(self.elements, merged)

    def quantities(self) -> dict[str, float]:
        """Every number that :meth:`with_parameters` takes, by id, with the changes made so far.

        Species stand under their id with the initial amount, in the units of amount of the document; what the
        document leaves unset is nan.
        """
        start = self.initial_values()
        return {
            identifier: self._amount(identifier, start) if identifier in self.elements.species else start[identifier]
            for identifier in (*self._declared, *self.elements.species)
            if identifier not in self._assigned
        }

    def by_name(self, names: Iterable[str]) -> Model:
        """The model with initial values given in the kind, ``S`` amount or ``[S]`` concentration, that is named."""
        changes = {}
        quantities = self.quantities()
        for name in names:
            plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
            if plain in self.elements.species and plain in quantities:
                value, is_amount = self.initial_value(plain)
                if is_amount != (plain == name):
                    size = self.initial_values()[self.elements.species[plain].compartment]
                    changes[name] = value / size if is_amount else value * size
        return self.with_parameters(changes) if changes else self

    def initial_values(self) -> dict[str, float]:
        """The value of every symbol at time 0 as formulas see it, by id.

        Initial assignments and assignment rules are evaluated in dependency order. A species has the amount
        or the concentration that its symbol means. ``<time>`` is 0.
        """
        values = {TIME.name: 0.0, **self._stoichiometries}
        for identifier in self.evaluation_order:
            values[identifier] = self._initial_value(identifier, values)
        return values

    @cached_property
    def assignment_order(self) -> tuple[str, ...]:
        """The ids that assignment rules set, each after those it depends on."""
        rules = self.elements.assignment_rules
        needs = {identifier: symbol_ids(rule) for identifier, rule in rules.items()}
        return assignment_order(needs, self.elements.source.path)

    @cached_property
    def initial_order(self) -> tuple[str, ...]:
        """The ids that initial assignments or rules set at time 0, each after those it depends on."""
        return tuple(identifier for identifier in self.evaluation_order if identifier in self._assigned)

    def reaction_rates(self, changes: Mapping[str, float] | None = None) -> pandas.Series:
        """The kinetic laws, in extent per time, by reaction id.

        Parameters
        ----------
        changes
            Values that differ from the initial state, as the symbols in kinetic laws mean them: a species is
            an amount or a concentration, whichever its symbol stands for. Nothing else moves with them but
            what assignment rules set; initial assignments are not made again. ``<time>`` can be set too.

        Raises
        ------
        UnknownIdError
            The model has no such id, or an assignment rule sets it.
        """
        import pandas

        values, rules = self.initial_values(), self.elements.assignment_rules
        for identifier, value in (changes or {}).items():
            if identifier not in values:
                raise self._unknown_id(identifier, values)
            if identifier in rules:
                raise self._unknown(self._assigned_text(identifier))
            values[identifier] = float(value)
        if changes:
            for identifier in self.assignment_order:
                values[identifier] = evaluate(rules[identifier], values)
        rates = [evaluate(reaction.kinetic_law, values) for reaction in self.elements.reactions.values()]
        return pandas.Series(rates, index=pandas.Index(self.reaction_ids, name="reaction"), name="rate", dtype=float)

    @cached_property
    def _assigned(self) -> Mapping[str, Any]:
        return {**self.elements.initial_assignments, **self.elements.assignment_rules}

    @cached_property
    def _declared(self) -> Mapping[str, float | None]:
        """Parameters, compartments and local parameters with the values in the document."""
        local = [parameter for reaction in self.elements.reactions.values() for parameter in reaction.local_parameters]
        return {
            **{parameter.id: parameter.value for parameter in self.elements.parameters.values()},
            **{compartment.id: compartment.size for compartment in self.elements.compartments.values()},
            **{parameter.id: parameter.value for parameter in local},
        }

    @cached_property
    def _stoichiometries(self) -> Mapping[str, float]:
        """Species references that formulas can refer to, where nothing assigns them."""
        return {
            reference.id: reference.value
            for reaction in self.elements.reactions.values()
            for reference in (*reaction.reactants, *reaction.products)
            if reference.id is not None and reference.id not in self._assigned
        }

    @cached_property
    def evaluation_order(self) -> tuple[str, ...]:
        """Every id with a value at time 0 (but species references), each after those it depends on."""
        needs: dict[str, Iterable[str]] = dict.fromkeys(self._declared, ())
        for species in self.elements.species.values():
            # a circle through a compartment is one only where its size converts this initial value
            given_as_amount = self.initial_value(species.id)[1]
            converts = given_as_amount != self._means_amount(species)
            needs[species.id] = (species.compartment,) if converts else ()
        needs.update({identifier: symbol_ids(expression) for identifier, expression in self._assigned.items()})
        return assignment_order(needs, self.elements.source.path)

    def _initial_value(self, identifier: str, values: Mapping[str, float]) -> float:
        if identifier in self._assigned:
            return evaluate(self._assigned[identifier], values)
        if identifier not in self.elements.species:
            value = self.changes.get(identifier, self._declared[identifier])
            return math.nan if value is None else value
        species = self.elements.species[identifier]
        value, is_amount = self.initial_value(species.id)
        if is_amount == self._means_amount(species):
            return value
        size = values[species.compartment]
        if not is_amount:
            return value * size
        return value / size if size else math.nan

    def initial_value(self, identifier: str) -> tuple[float, bool]:
        """The initial value given for a species, and whether it is an amount (else a concentration)."""
        species = self.elements.species[identifier]
        if species.id in self.changes:
            return self.changes[species.id], True
        if f"[{species.id}]" in self.changes:
            return self.changes[f"[{species.id}]"], False
        if species.initial_amount is not None:
            return species.initial_amount, True
        if species.initial_concentration is not None:
            return species.initial_concentration, False
        return math.nan, self._means_amount(species)

    def _means_amount(self, species: Species) -> bool:
        return self.elements.means_amount(species.id)

    def _amount(self, identifier: str, values: Mapping[str, float]) -> float:
        species = self.elements.species[identifier]
        if self._means_amount(species):
            return values[identifier]
        value, is_amount = self.initial_value(species.id)  # not through the concentration: that would round twice
        return value if is_amount else value * values[species.compartment]

    def _check_changeable(self, identifier: str) -> None:
        plain = identifier[1:-1] if identifier.startswith("[") and identifier.endswith("]") else identifier
        species = self.elements.species.get(plain)
        if species is None and (plain != identifier or plain not in self._declared):
            ids = [
                *self._declared,
                *self.elements.species,
                *(f"[{name}]" for name in self.elements.species),
            ]
            raise self._unknown_id(identifier, ids)
        if plain in self._assigned:
            raise self._unknown(self._assigned_text(plain))
        if plain != identifier and species and self.elements.compartments[species.compartment].dimensions == 0:
            raise self._unknown(
                f"'{plain}' has no concentration: its compartment has no size; set the amount '{plain}'"
            )

    def _assigned_text(self, identifier: str) -> str:
        what = "an assignment rule" if identifier in self.elements.assignment_rules else "an initial assignment"
        needs = symbol_ids(self._assigned[identifier])
        if not needs:
            return f"'{identifier}' is set by {what} to a constant; change that in the file"
        return f"'{identifier}' is set by {what}; change what it depends on instead: {', '.join(needs)}"

    def _unknown_id(self, identifier: str, ids: Iterable[str]) -> UnknownIdError:
        if identifier in self.elements.reactions:
            return self._unknown(f"'{identifier}' is a reaction; change a parameter of its kinetic law instead")
        return self._unknown(f"no parameter, compartment or species '{identifier}'; {which(identifier, ids)}")

    def _unknown(self, problem: str) -> UnknownIdError:
        return UnknownIdError(f"{self.elements.source.path}: {problem}")
