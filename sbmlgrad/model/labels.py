"""What axes and legends call things: names and units as the document has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sbmlgrad.model.elements import Compartment, Elements, Parameter, Species


@dataclass(frozen=True)
class Labels:
    """Words for a picture.

    ``names`` say what a column is called (its id where there is no name), ``quantities`` what it measures, with the
    unit; ``signed`` are those that may be negative.
    """

    title: str = ""
    time: str = "time"
    names: Mapping[str, str] = field(default_factory=dict)
    quantities: Mapping[str, str] = field(default_factory=dict)
    signed: frozenset[str] = frozenset()

    def name(self, column: str) -> str:
        """What a column is called."""
        return self.names.get(column, column)

    def quantity(self, column: str) -> str:
        """What a column measures."""
        return self.quantities.get(column, "value")


def labels_of(elements: Elements, columns: Collection[str]) -> Labels:
    """The words for columns ``S`` (amounts), ``[S]`` (concentrations) and other variables of a document."""
    items: dict[str, Compartment | Parameter | Species]
    items = {**elements.compartments, **elements.parameters, **elements.species}
    shared = Counter(item.name for item in items.values())
    names, quantities, signed = {}, {}, set()
    for column in columns:
        plain = column[1:-1] if column.startswith("[") and column.endswith("]") else column
        item = items.get(plain)
        if item is not None and item.name and shared[item.name] == 1 and item.name != plain:
            names[column] = f"{item.name} ({column})"
        quantities[column] = _quantity(elements, plain, plain != column)
        if plain not in elements.species and plain not in elements.compartments:
            signed.add(column)
    title = elements.name or elements.id
    return Labels(title, _with_unit("time", elements.time_units), names, quantities, frozenset(signed))


def _quantity(elements: Elements, identifier: str, is_concentration: bool) -> str:
    if identifier in elements.species:
        species = elements.species[identifier]
        amount = species.units or elements.substance_units
        if not is_concentration:
            return "molecules" if amount == "item" else _with_unit("amount", amount)
        size = elements.compartments[species.compartment].units
        return _with_unit("concentration", f"{amount or 'amount'}/{size}" if size else "")
    if identifier in elements.compartments:
        return _with_unit("size", elements.compartments[identifier].units)
    if identifier in elements.parameters:
        return _with_unit("value", elements.parameters[identifier].units)
    return "value"


_CLOCK = {"60 second": "minute", "3600 second": "hour", "86400 second": "day"}


def _with_unit(what: str, unit: str) -> str:
    return what if unit in ("", "dimensionless") else f"{what} ({_CLOCK.get(unit, unit)})"
