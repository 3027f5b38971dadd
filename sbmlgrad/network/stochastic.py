"""From a model to a jump process whose propensities may change between jumps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import sympy

from sbmlgrad.errors import UnsupportedError, warn_user
from sbmlgrad.model.model import Model
from sbmlgrad.network.assembly import Assembly
from sbmlgrad.network.channels import Chemistry, count_symbol
from sbmlgrad.network.columns import Columns
from sbmlgrad.network.hybrid_model import HybridModel


def jump_process(chemistry: Chemistry, observables: Iterable[str] | None = None) -> HybridModel:
    """The exact stochastic meaning of a model that has more than reactions: events, rate rules, laws over time.

    Raises
    ------
    UnsupportedError
        with all reasons at once.
    UnknownIdError
        for an observable that the model does not have.
    """
    if chemistry.reasons:
        raise UnsupportedError(chemistry.elements.source.path, chemistry.reasons)
    return _StochasticAssembly(chemistry).assembled(observables)


def chemistry_of(model: Model) -> Chemistry:
    """The model read as a jump process, once, and what was taken for granted in that said."""
    if "chemistry" not in model.derived:
        model.derived["chemistry"] = Chemistry(model)
        for text in model.derived["chemistry"].warnings:
            warn_user(f"{model.elements.source.path}: {text}")
    chemistry: Chemistry = model.derived["chemistry"]
    return chemistry


class _StochasticAssembly(Assembly):
    """The assembly in which species that react are counts, and reactions are propensities of jumps."""

    def __init__(self, chemistry: Chemistry):
        self.chemistry = chemistry
        super().__init__(chemistry.model)

    def _is_count(self, identifier: str) -> bool:
        return identifier in self._counted

    @cached_property
    def _counted(self) -> frozenset[str]:
        return frozenset(self.chemistry.state)

    def _per_unit(self, species: str) -> int:
        return self.graph.constant(self.elements.species[species].molecules_per_unit)

    def _amount_now(self, species: str) -> int:
        if not self._is_count(species):
            return super()._amount_now(species)
        return self.graph.quotient(self.inputs[self.indices[species]], self._per_unit(species))

    def _initial_state(self, identifier: str) -> int:
        value = super()._initial_state(identifier)
        return self.graph.product([value, self._per_unit(identifier)]) if self._is_count(identifier) else value

    def _change(self, identifier: str) -> int:
        return self.graph.constant(0.0) if self._is_count(identifier) else super()._change(identifier)

    def _scale(self, identifier: str) -> int:
        scale = super()._scale(identifier)
        return self.graph.product([scale, self._per_unit(identifier)]) if self._is_count(identifier) else scale

    def _channels(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.chemistry.channels)

    def _propensities(self) -> list[int]:
        counts = {count_symbol(species): self.inputs[self.indices[species]] for species in self.chemistry.state}
        environment: dict[sympy.Symbol, int] = {**self.now, **counts}
        return [self.graph.expression(channel.law, environment) for channel in self.chemistry.channels]

    def _columns(self) -> Columns:
        jumps = (channel.jumps for channel in self.chemistry.channels)
        rows = ({self.indices[species]: change for species, change in each.items()} for each in jumps)
        return Columns.of(len(self.variables), rows)
