"""A model as plain reactions, for simulators that do not read SBML or that read it by running its text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sympy

from sbmlgrad.errors import UnsupportedError
from sbmlgrad.model import Model
from sbmlgrad.model.elements import TIME, SpeciesReference, symbol
from sbmlgrad.sbml.read import read_sbml


@dataclass(frozen=True, eq=False)
class PeerNetwork:
    """Counts that change by reactions, with propensities over names that are safe in any language.

    ``species`` and ``parameters`` are SBML ids; ``names`` and ``coefficients`` are what the ``laws`` call
    them (``s0000``, ``p0000``), in the same order, which is also alphabetical. ``initial`` is (species,),
    ``values`` (parameters,), ``reactants`` and ``products`` are (species, reactions).
    """

    species: tuple[str, ...]
    initial: np.ndarray
    parameters: tuple[str, ...]
    values: np.ndarray
    reactants: np.ndarray
    products: np.ndarray
    laws: tuple[Any, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Safe names of the species."""
        return _names("s", self.species)

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Safe names of the parameters."""
        return _names("p", self.parameters)

    @cached_property
    def propensities(self) -> tuple[Callable[[Any, Any], Any], ...]:
        """One JAX function of (species,) and (parameters,) for each reaction."""
        return tuple(self._propensity(law) for law in self.laws)

    def _propensity(self, law: Any) -> Callable[[Any, Any], Any]:
        states = [i for i, name in enumerate(self.names) if sympy.Symbol(name) in law.free_symbols]
        rates = [j for j, name in enumerate(self.coefficients) if sympy.Symbol(name) in law.free_symbols]
        arguments = [*(self.names[i] for i in states), *(self.coefficients[j] for j in rates)]
        function = sympy.lambdify([sympy.Symbol(name) for name in arguments], law, modules="jax")
        return lambda x, p: function(*(x[i] for i in states), *(p[j] for j in rates))


def read_network(path: str | Path) -> PeerNetwork:
    """Read an SBML file whose species are counts and whose laws are the propensities of single reactions.

    Raises
    ------
    UnsupportedError
        if a law depends on time, a stoichiometry is not a number, or an amount does not count molecules.
    """
    model = read_sbml(path)
    reasons = list(_reasons(model))
    if reasons:
        raise UnsupportedError(str(path), reasons)
    elements, start = model.elements, model.initial_values()
    laws = [_without_rules(model, reaction.kinetic_law) for reaction in elements.reactions.values()]
    changing = {ref.species for r in elements.reactions.values() for ref in (*r.reactants, *r.products)}
    free = [s for s in elements.species.values() if s.id in changing and not (s.boundary or s.constant)]
    local = (p.id for reaction in elements.reactions.values() for p in reaction.local_parameters)
    used = {s.name for law in laws for s in law.free_symbols}
    parameters = tuple(name for name in (*elements.parameters, *local) if name in used)

    volumes = [1.0 if _is_amount(model, s.id) else start[s.compartment] for s in free]
    meaning: dict[Any, Any] = {symbol(identifier): sympy.Float(value) for identifier, value in start.items()}
    for name, species, volume in zip(_names("s", free), free, volumes, strict=True):
        meaning[symbol(species.id)] = sympy.Symbol(name) if volume == 1 else sympy.Symbol(name) / volume
    for name, identifier in zip(_names("p", parameters), parameters, strict=True):
        meaning[symbol(identifier)] = sympy.Symbol(name)
    rows = {s.id: i for i, s in enumerate(free)}
    return PeerNetwork(
        species=tuple(rows),
        initial=np.array([start[s.id] * volume for s, volume in zip(free, volumes, strict=True)]),
        parameters=parameters,
        values=np.array([start[identifier] for identifier in parameters]),
        reactants=_matrix(rows, [r.reactants for r in elements.reactions.values()]),
        products=_matrix(rows, [r.products for r in elements.reactions.values()]),
        laws=tuple(law.xreplace(meaning) for law in laws),
    )


def _reasons(model: Model) -> Iterable[str]:
    elements = model.elements
    for reaction in elements.reactions.values():
        if TIME in _without_rules(model, reaction.kinetic_law).free_symbols:
            yield f"the law of {reaction.id} depends on time, which is not handed to other simulators"
        for reference in (*reaction.reactants, *reaction.products):
            if not reference.stoichiometry.is_number:
                yield f"the stoichiometry of {reference.species} in {reaction.id} is not a number"
    units = {species.molecules_per_unit for species in elements.species.values()} | {elements.extent_molecules}
    if units - {1.0}:
        yield "amounts are not counts, and other simulators would take them for counts; declare units of item"


def _without_rules(model: Model, law: Any) -> Any:
    for identifier in reversed(model.assignment_order):
        law = law.xreplace({symbol(identifier): model.elements.assignment_rules[identifier]})
    return law


def _is_amount(model: Model, identifier: str) -> bool:
    species = model.elements.species[identifier]
    return species.only_substance_units or model.elements.compartments[species.compartment].dimensions == 0


def _matrix(rows: dict[str, int], sides: list[tuple[SpeciesReference, ...]]) -> np.ndarray:
    matrix = np.zeros((len(rows), len(sides)))
    for column, references in enumerate(sides):
        for reference in references:
            if reference.species in rows:
                matrix[rows[reference.species], column] += float(reference.stoichiometry)
    return matrix


def _names(letter: str, items: Iterable[object]) -> tuple[str, ...]:
    return tuple(f"{letter}{i:04d}" for i, _ in enumerate(items))
