"""Formulas as users write them, such as ``scale*[S] + offset``, by libSBML's grammar of infix formulas (Level 3)."""

from __future__ import annotations

import re
from collections.abc import Collection

import libsbml
import sympy

from sbmlgrad.errors import SbmlError, SbmlgradError
from sbmlgrad.model.derive import amount, concentration
from sbmlgrad.model.elements import symbol
from sbmlgrad.model.model import Model
from sbmlgrad.sbml.mathml import Scope

_BRACKETED = re.compile(r"\[\s*([A-Za-z_]\w*)\s*\]")
_LONGEST = 10_000  # characters
_BUILT_IN = "time|avogadro|pi|true|false|exponentiale|infinity|inf|notanumber|nan"
_MEANT = re.compile(rf"\b({_BUILT_IN})\b", re.IGNORECASE)  # by the grammar, unless an id is called that


def read_formula(text: str, model: Model, names: Collection[str] = (), where: str = "") -> sympy.Expr:
    """A formula over the ids of a model, as an expression of symbols as its kinetic laws have them.

    ``S`` is an amount and ``[S]`` a concentration, as everywhere; a reaction's id is its rate, ``time`` the time. Other
    ``names`` may stand in it too. ``where`` is for messages.

    Raises :class:`SbmlError` for what is no formula, and for ids that are not there.
    """
    elements = model.elements
    if len(text) > _LONGEST:
        raise SbmlError(f"{where}: the formula has {len(text)} characters; {_LONGEST} are the most")
    ids = {*elements.species, *elements.parameters, *elements.compartments, *names}
    local: dict[str, sympy.Expr] = {name: amount(elements, name) for name in elements.species if name not in names}

    def stand_in(name: str, meaning: sympy.Expr) -> str:
        while name in ids:
            name += "_"
        local[name] = meaning
        return name

    def bracketed(found: re.Match[str]) -> str:
        name = found[1]
        if name not in elements.species:
            raise SbmlError(f"{where}: '[{name}]' in {text!r} is no concentration: {name!r} is no species")
        return stand_in(f"concentration_of_{name}", concentration(elements, name))

    def called_so(found: re.Match[str]) -> str:
        name = found[1]
        return stand_in(f"{name}_", local.get(name, symbol(name))) if name in ids else name

    plain = _MEANT.sub(called_so, _BRACKETED.sub(bracketed, text))
    settings = libsbml.L3ParserSettings()
    settings.setParseUnits(False)
    node = libsbml.parseL3FormulaWithSettings(plain, settings)
    if node is None:
        problem = " ".join((libsbml.getLastParseL3Error() or "nothing can be read").split())
        raise SbmlError(f"{where}: {text!r} is no formula ({problem}); write it as in 'scale*S + offset'")
    scope = Scope(
        where,
        frozenset(ids),
        {},
        lambda name: elements.reactions[name].kinetic_law if name in elements.reactions else None,
    )
    try:
        return scope.expression(node, repr(text), local)
    except SbmlgradError as error:
        raise SbmlError(str(error)) from None
