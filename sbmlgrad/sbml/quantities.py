"""How many molecules one unit of substance is.

A count of molecules is what exact simulation works on, and units say how to get there: ``item`` is a
molecule, ``mole`` is Avogadro's number of them. Where the units say neither, an amount is taken as a count,
with a warning.
"""

from __future__ import annotations

import math
from typing import Any

import libsbml

from sbmlgrad.model.elements import AVOGADRO

_COUNTS = {
    libsbml.UNIT_KIND_ITEM: 1.0,
    libsbml.UNIT_KIND_MOLE: AVOGADRO,
    libsbml.UNIT_KIND_AVOGADRO: AVOGADRO,
}
_PREFIXES = {-18: "atto", -15: "femto", -12: "pico", -9: "nano", -6: "micro", -3: "milli", 0: "", 3: "kilo"}
_REMEDY = "amounts are taken as numbers of molecules; state molecules_per_unit if they are not"


class Quantities:
    """The substance units of one model: molecules in a unit of each species and of extent.

    ``override``, where given, is the answer for all of them. ``warnings`` collects one sentence for each way
    in which the units leave the number open.
    """

    def __init__(self, model: Any, override: float | None = None):
        self._model = model
        self._override = override
        self._open: dict[str, list[str]] = {}

    def species(self, species: Any) -> float:
        """Molecules in one unit of amount of a species."""
        units = species.getSubstanceUnits() or substance_units(self._model)
        return self._molecules(units, f"'{species.getId()}'")

    def extent(self) -> float:
        """Molecules in one unit of reaction extent."""
        user = "reaction extent" if self._model.getNumReactions() else ""
        return self._molecules(extent_units(self._model), user)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on units that do not say a number of molecules, one for each reason."""
        return tuple(f"{listing(users)}: {reason}; {_REMEDY}" for reason, users in self._open.items())

    def _molecules(self, units: str, user: str) -> float:
        if self._override is not None:
            return self._override
        count, reason = self._count(units)
        if reason and user:
            self._open.setdefault(reason, []).append(user)
        return count

    def _count(self, units: str) -> tuple[float, str]:
        if not units:
            return 1.0, "no units of substance are declared"
        definition = self._model.getUnitDefinition(units)
        if definition is None:
            kind = libsbml.UnitKind_forName(units)
            if units == "substance":  # SBML Level 2 says mole here, but files that mean it say so
                return 1.0, "no units of substance are declared"
            if kind in _COUNTS:
                return _COUNTS[kind], ""
            return 1.0, f"the unit '{units}' is no number of molecules"
        return _defined_count(definition)


def substance_units(model: Any) -> str:
    """The id of the unit in which amounts are where a species names none; "" where undeclared."""
    return model.getSubstanceUnits() if model.getLevel() > 2 else "substance"


def size_units(model: Any, dimensions: float) -> str:
    """The id of the unit of compartments of so many dimensions that name none; "" where undeclared."""
    kinds = {3: "volume", 2: "area", 1: "length"}
    if dimensions not in kinds:
        return ""
    kind = kinds[int(dimensions)]
    if model.getLevel() < 3:
        return kind
    return str({"volume": model.getVolumeUnits, "area": model.getAreaUnits, "length": model.getLengthUnits}[kind]())


def extent_units(model: Any) -> str:
    """The id of the unit of reaction extent; where undeclared, that of all amounts; "" if they differ."""
    declared = model.getExtentUnits() if model.getLevel() > 2 else "substance"
    if declared and (declared != "substance" or model.getUnitDefinition("substance") is not None):
        return declared
    amounts = {species.getSubstanceUnits() or substance_units(model) for species in model.getListOfSpecies()}
    return amounts.pop() if len(amounts) == 1 else ""


def in_words(model: Any, units: str) -> str:
    """A unit as a reader would name it ("nanomole", "3600 second"), from its id; "" where undeclared."""
    definition = model.getUnitDefinition(units) if units else None
    if definition is None:
        return {"substance": "", "time": "second", "volume": "litre", "area": "", "length": ""}.get(units, units)
    parts = [definition.getUnit(index) for index in range(definition.getNumUnits())]
    if not all(part.isSetScale() and part.isSetMultiplier() and part.isSetExponent() for part in parts):
        return definition.getName() or units
    return definition.getName() or " ".join(map(_unit_in_words, parts))


def _unit_in_words(unit: Any) -> str:
    kind, scale, multiplier, exponent = (
        libsbml.UnitKind_toString(unit.getKind()),
        unit.getScale(),
        unit.getMultiplier(),
        unit.getExponentAsDouble(),
    )
    if multiplier == 1 and scale in _PREFIXES:
        words = _PREFIXES[scale] + kind
    else:
        words = f"{_times_power(multiplier, 10.0, scale):g} {kind}"
    return words if exponent == 1 else f"({words})^{exponent:g}"


def _defined_count(definition: Any) -> tuple[float, str]:
    count, kinds = 1.0, 0
    for index in range(definition.getNumUnits()):
        unit = definition.getUnit(index)
        factor = _times_power(unit.getMultiplier(), 10.0, unit.getScale())
        if unit.getKind() in _COUNTS and unit.getExponentAsDouble() == 1:
            count *= factor * _COUNTS[unit.getKind()]
            kinds += 1
        elif unit.getKind() == libsbml.UNIT_KIND_DIMENSIONLESS:
            count = _times_power(count, factor, unit.getExponentAsDouble())
        else:
            return 1.0, f"the unit '{definition.getId()}' is no number of molecules"
    if kinds != 1:
        return 1.0, f"the unit '{definition.getId()}' is no number of molecules"
    if not 0 < count < math.inf:
        return 1.0, f"the unit '{definition.getId()}' comes to {count:g} molecules, which is no number to count in"
    return count, ""


def _times_power(number: float, base: float, exponent: float) -> float:
    """``number * base**exponent``: infinite where it is beyond floats, nan where it is not defined."""
    try:
        power = base**exponent
    except OverflowError:
        power = math.inf
    except ZeroDivisionError:
        return math.nan
    return number * power if isinstance(power, float) else math.nan  # a root of a negative number is complex


def listing(users: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    shown = ", ".join(users[:4])
    return shown if len(users) <= 4 else f"{shown} and {len(users) - 4} more"
