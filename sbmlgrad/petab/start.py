"""Initial values as one compiled function of those that are given, with its derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import PetabError
from sbmlgrad.model.elements import TIME
from sbmlgrad.model.model import Model
from sbmlgrad.network.assembly import initial_values
from sbmlgrad.petab.formulas import Known


class Start:
    """The initial values of a model in which some are to be given from outside.

    ``columns`` are the ids of those that are given, each with what the model's quantities call it.
    """

    def __init__(self, model: Model, columns: Mapping[str, str]):
        self.columns, self.source = columns, model.elements.source.path
        self.fixed = model.initial_values()
        self.names = model.evaluation_order
        self.quantities, program = initial_values(model, self.names)
        self.places = {column: place for place, column in enumerate(self.quantities)}

        def moved(quantities: Any, directions: Any) -> Any:
            def push(direction: Any) -> Any:
                return jax.jvp(program, (quantities,), (direction,))

            return jax.vmap(push, out_axes=(None, 0))(directions)

        self.run = jax.jit(moved)

    def at(self, given: Known, time: float) -> Known:
        """All values for these, which are those that are to be given, and how they move.

        Raises :class:`PetabError` for a stoichiometry, which may not move.
        """
        quantities = np.array(list(self.quantities.values()), dtype=float)
        directions = np.zeros((len(next(iter(given.slopes.values()))), len(quantities)))
        for name, value in given.values.items():
            place = self.places.get(self.columns[name])
            if place is not None:
                quantities[place] = value
                directions[:, place] = given.slopes.get(name, 0.0)
            elif name in given.slopes:
                raise PetabError(f"{self.source}: {name!r} cannot be estimated; give it a number")
        values, slopes = (np.asarray(part) for part in self.run(jnp.asarray(quantities), jnp.asarray(directions)))
        known = {**self.fixed, **given.values, **dict(zip(self.names, values.tolist(), strict=True)), TIME.name: time}
        moving = np.flatnonzero(np.any(slopes != 0, axis=0))
        return Known(known, {self.names[index]: slopes[:, index] for index in moving})
