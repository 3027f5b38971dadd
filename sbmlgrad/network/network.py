"""A reaction network: integer jumps and propensities, ready for exact simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import SbmlgradError

Rates = Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class ReactionNetwork:
    """Species counts that change by integer jumps at state-dependent rates.

    Parameters
    ----------
    stoichiometry
        Integer array (species, reactions): the change of each count when a reaction fires.
    propensities
        JAX function ``propensities(x, parameters) -> (reactions,)`` of the counts ``x`` (species,), float64,
        in events per time.
    x0
        Initial counts (species,).
    parameters
        Mapping from names to numbers or arrays, handed to ``propensities`` as a dict.
    species, reactions
        Names for columns and messages; ``X0, X1, ...`` and ``R0, R1, ...`` if not given.
    """

    stoichiometry: np.ndarray
    propensities: Callable[[Array, Any], Array] | None = None
    x0: Sequence[float] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    species: tuple[str, ...] = ()
    reactions: tuple[str, ...] = ()
    rates: Rates | None = field(default=None, repr=False)
    """The propensities on one array a species and one a reaction; derived from ``propensities`` if not given."""
    nonnegative: bool = False
    """True where the propensities cannot become negative, so that no time is spent on checking."""
    compiled: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    """Loops compiled for this network, by their shape; they live as long as it does."""

    def __post_init__(self) -> None:
        jumps = np.asarray(self.stoichiometry)
        if jumps.ndim != 2 or not np.array_equal(jumps, np.round(jumps)):
            raise SbmlgradError("stoichiometry: expected an integer array of shape (species, reactions)")
        count, reactions = jumps.shape
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - frozen dataclass
        set_("stoichiometry", jumps.astype(np.int64))
        set_("species", tuple(self.species) or tuple(f"X{i}" for i in range(count)))
        set_("reactions", tuple(self.reactions) or tuple(f"R{j}" for j in range(reactions)))
        set_("x0", np.asarray(self.x0, dtype=np.float64))
        set_(
            "parameters",
            {name: np.asarray(value, dtype=np.float64) for name, value in self.parameters.items()},
        )
        if np.shape(self.x0) != (count,):
            raise SbmlgradError(f"x0: expected {count} initial counts, one a species, got shape {np.shape(self.x0)}")
        if (len(self.species), len(self.reactions)) != (count, reactions):
            raise SbmlgradError("species and reactions: expected one name for each row and column of stoichiometry")
        if self.rates is None:
            if self.propensities is None:
                raise SbmlgradError("propensities: a function of (x, parameters) is needed")
            set_("rates", self._elementwise())

    def _elementwise(self) -> Rates:
        names = tuple(self.parameters)
        propensities = self.propensities
        assert propensities is not None
        expected = (len(self.reactions),)
        try:
            point = (jnp.asarray(self.x0), dict(self.parameters))
            shape = jax.eval_shape(lambda x, p: jnp.asarray(propensities(x, p)), *point).shape
        except SbmlgradError:
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise SbmlgradError(f"propensities: cannot be called with (x, parameters): {reason}") from error
        if shape != expected:
            raise SbmlgradError(f"propensities: expected an array of shape {expected}, one a reaction, got {shape}")

        def rates(x: tuple[Any, ...], coefficients: tuple[Any, ...]) -> tuple[Any, ...]:
            parameters = dict(zip(names, coefficients, strict=True))
            lanes = jax.vmap(lambda state: jnp.asarray(propensities(state, parameters)), in_axes=1, out_axes=1)
            return tuple(lanes(jnp.stack(x)))

        return rates

    @property
    def coefficients(self) -> tuple[np.ndarray, ...]:
        """The parameters' values in the order in which ``rates`` takes them."""
        return tuple(np.asarray(value) for value in self.parameters.values())
