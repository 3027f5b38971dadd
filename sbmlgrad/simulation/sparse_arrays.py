"""Large sparse networks as the arrays that the compiled loop takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from sbmlgrad.network.mass_action import MassAction, Numbers

_ONE_LEVEL = 500  # reactions up to which there are sums of one level
_LEAF_BITS = 4  # log2 of the propensities in a sum where there are two levels: two lines of a cache


@dataclass(frozen=True, eq=False)
class SparseArrays:
    """A network as data with numbers: constants and offsets at the values of parameters."""

    network: MassAction
    numbers: Numbers

    @cached_property
    def loop(self) -> Any:
        """The module of the compiled loop, imported when it is needed, since Numba takes long."""
        return import_module("sbmlgrad.simulation.sparse_loop")

    def code(self) -> Any:
        """The instructions with room to work; None where all laws are products."""
        code = self.network.code
        if code is None:
            return None
        machine, registers = import_module("sbmlgrad.simulation.sparse_code"), np.zeros(code.longest)
        return machine.Code(code.starts.astype(np.uint32), code.rows, self.numbers.in_code, registers)

    @cached_property
    def tables(self) -> Any:
        """The network with its numbers, as the loop takes it."""
        network, dependents, species = self.network, self.network.dependents, self.network.jumps.items
        rates = self.numbers.constants[dependents.reactions]
        indices = {
            "factor_starts": network.factors.starts,
            "factor_species": network.factors.items,
            "need_starts": network.needs.starts,
            "need_species": network.needs.items,
            "jump_starts": network.jumps.starts,
            "jumps": np.stack([species, *(part[species] for part in dependents.runs)], axis=1),
            "dependents": np.stack([dependents.reactions, dependents.partners], axis=1),
        }
        return self.loop.Tables(
            constants=self.numbers.constants,
            offsets=self.numbers.offsets,
            least=network.least,
            changes=network.changes,
            rates=np.where(rates < 0, np.nan, rates),  # what follows a count by such a rate is computed in full
            **{name: values.astype(np.uint32) for name, values in indices.items()},
        )

    @property
    def bits(self) -> int:
        """log2 of how many propensities are put together in a sum."""
        reactions = self.network.reactions
        return round(math.log2(max(reactions, 2)) / 2) if reactions <= _ONE_LEVEL else _LEAF_BITS

    @property
    def group_bits(self) -> int:
        """log2 of how many there are in a sum of such sums."""
        return round((_LEAF_BITS + math.log2(max(self.network.reactions, 2))) / 2)

    def scratch(self) -> Any:
        """Room for one trajectory at a time."""
        reactions, bits, group_bits = self.network.reactions, self.bits, self.group_bits
        groups = (reactions >> group_bits) + 1 if reactions > _ONE_LEVEL else 1
        blocks = groups << (group_bits - bits) if groups > 1 else (reactions >> bits) + 1
        uniforms, mantissas = np.zeros((2, self.loop.DRAWS))
        return self.loop.Scratch(
            x=np.zeros(self.network.size),
            propensities=np.zeros(blocks << bits, np.int64),
            blocks=np.zeros(blocks, np.int64),
            groups=np.zeros(groups, np.int64),
            exponentials=np.zeros(self.loop.DRAWS),
            uniforms=uniforms,
            uniform_bits=uniforms.view(np.int64),
            mantissas=mantissas,
            words=mantissas.view(np.int64),
            powers=np.zeros(self.loop.DRAWS),
            clock=np.zeros(1),
            place=np.zeros(9, np.int64),
        )
