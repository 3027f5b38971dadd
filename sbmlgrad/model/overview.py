"""What a model declares, as tables for its reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sbmlgrad.model.elements import Elements, SpeciesReference

if TYPE_CHECKING:
    import pandas


def species_table(elements: Elements, values: Mapping[str, float], amounts: Mapping[str, float]) -> pandas.DataFrame:
    """A row for each species: name, compartment, amount and concentration at the start, unit of amount, what sets it.

    ``values`` are those of all symbols at time 0, and ``amounts`` those of species.
    """
    rows = []
    for species in elements.species.values():
        compartment = elements.compartments[species.compartment]
        size, amount = values[compartment.id], amounts[species.id]
        rows.append(
            {
                "species": species.id,
                "name": species.name,
                "compartment": compartment.id,
                "amount": amount,
                "concentration": amount / size if compartment.dimensions and size else float("nan"),
                "units": species.units or elements.substance_units,
                "boundary": species.boundary,
                "set_by": _set_by(elements, species.id),
            }
        )
    columns = ["species", "name", "compartment", "amount", "concentration", "units", "boundary", "set_by"]
    return _frame(rows, columns)


def reactions_table(elements: Elements) -> pandas.DataFrame:
    """A row for each reaction: name, equation, kinetic law (extent per time) and whether it is called reversible."""
    rows = [
        {
            "reaction": reaction.id,
            "name": reaction.name,
            "equation": f"{_side(reaction.reactants)} {'<->' if reaction.reversible else '->'} "
            f"{_side(reaction.products)}".strip(),
            "kinetic_law": str(reaction.kinetic_law),
            "reversible": reaction.reversible,
        }
        for reaction in elements.reactions.values()
    ]
    return _frame(rows, ["reaction", "name", "equation", "kinetic_law", "reversible"])


def parameters_table(elements: Elements, values: Mapping[str, float]) -> pandas.DataFrame:
    """A row for each parameter, local ones as ``reaction.parameter``: name, value at the start, unit, what sets it."""
    local = (parameter for reaction in elements.reactions.values() for parameter in reaction.local_parameters)
    rows = [
        {
            "parameter": parameter.id,
            "name": parameter.name,
            "value": values[parameter.id],
            "units": parameter.units,
            "set_by": _set_by(elements, parameter.id),
        }
        for parameter in (*elements.parameters.values(), *local)
    ]
    return _frame(rows, ["parameter", "name", "value", "units", "set_by"])


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(rows, columns=columns).set_index(columns[0])


def _set_by(elements: Elements, identifier: str) -> str:
    """What else than reactions sets a value, in words; empty where the document's number stands."""
    ways = {
        "assignment rule": elements.assignment_rules,
        "rate rule": elements.rate_rules,
        "initial assignment": elements.initial_assignments,
        "event": elements.set_by_events,
    }
    return ", ".join(way for way, identifiers in ways.items() if identifier in identifiers)


def _side(references: Iterable[SpeciesReference]) -> str:
    """One side of an equation, as in ``2 A + B``."""
    terms = []
    for reference in references:
        number = reference.stoichiometry
        factor = "" if number == 1 else f"{float(number):g} " if number.is_number else f"({number}) "
        terms.append(f"{factor}{reference.species}")
    return " + ".join(terms)
