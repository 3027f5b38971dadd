"""A reaction network: integer jumps and propensities, ready for exact simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import SbmlgradError, UnknownIdError
from sbmlgrad.network.columns import Columns, WrittenOut

_JUMPS = WrittenOut()
Rates = Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class ReactionNetwork:
    """Species counts that change by integer jumps at state-dependent rates.

    Parameters
    ----------
    stoichiometry
        Integer array (species, reactions): the change of each count when a reaction fires. It may be handed in as its
        :class:`~sbmlgrad.network.columns.Columns`, and is then written out when it is first asked for.
    propensities
        JAX function ``propensities(x, parameters) -> (reactions,)`` of the counts ``x`` (species,), float64,
        in events per time; with ``inputs``, ``propensities(x, parameters, inputs)``.
    x0
        Initial counts (species,).
    parameters
        Mapping from names to numbers or arrays, handed to ``propensities`` as a dict. A value may also be a tree of
        arrays, such as the layers of a neural network: dicts, lists, tuples and whatever else JAX knows as a
        pytree, nested as deep as you like. Lists of plain numbers are arrays.
    species, reactions
        Names for columns and messages; ``X0, X1, ...`` and ``R0, R1, ...`` if not given.
    inputs
        What a trajectory is given beside the parameters, such as an image: any tree of arrays. It goes to all
        trajectories but where :func:`value_and_grad` has others for each, in the same structure.
    """

    stoichiometry: WrittenOut = _JUMPS
    propensities: Callable[..., Any] | None = None
    x0: Any = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    species: tuple[str, ...] = ()
    reactions: tuple[str, ...] = ()
    rates: Rates | None = field(default=None, repr=False)
    """The propensities on one array a species and one a reaction; derived from ``propensities`` if not given."""
    nonnegative: bool = False
    """True where the propensities cannot become negative, so that no time is spent on checking."""
    inputs: Any = None
    compiled: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    """Loops compiled for this network, by their shape; they live as long as it does."""

    def __post_init__(self) -> None:
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - frozen dataclass
        given = _JUMPS.columns(self)
        if given is None:
            jumps = np.asarray(self.stoichiometry)
            if jumps.ndim != 2 or not np.array_equal(jumps, np.round(jumps)):
                raise SbmlgradError("stoichiometry: expected an integer array of shape (species, reactions)")
            set_("stoichiometry", jumps.astype(np.int64))
        count, reactions = jumps.shape if given is None else given.shape
        set_("species", tuple(self.species) or tuple(f"X{i}" for i in range(count)))
        set_("reactions", tuple(self.reactions) or tuple(f"R{j}" for j in range(reactions)))
        set_("x0", np.asarray(self.x0, dtype=np.float64))
        set_("parameters", {name: _as_arrays(name, value) for name, value in self.parameters.items()})
        set_("inputs", jax.tree.map(np.asarray, self.inputs, is_leaf=_holds_numbers))
        if np.shape(self.x0) != (count,):
            raise SbmlgradError(f"x0: expected {count} initial counts, one a species, got shape {np.shape(self.x0)}")
        if (len(self.species), len(self.reactions)) != (count, reactions):
            raise SbmlgradError("species and reactions: expected one name for each row and column of stoichiometry")
        if self.rates is None:
            if self.propensities is None:
                raise SbmlgradError("propensities: a function of (x, parameters) is needed")
            set_("rates", self._elementwise())

    @cached_property
    def columns(self) -> Columns:
        """The jumps of each reaction, without the species that it does not change."""
        given: Columns | None = _JUMPS.columns(self)
        return Columns.of_matrix(self.stoichiometry) if given is None else given

    def _elementwise(self) -> Rates:
        propensities, given = self.propensities, self.given(self.inputs)
        assert propensities is not None
        expected = (len(self.reactions),)
        try:
            point = (jnp.asarray(self.x0), dict(self.parameters), *given)
            shape = jax.eval_shape(lambda *point: jnp.asarray(propensities(*point)), *point).shape
        except SbmlgradError:
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0]
            arguments = "(x, parameters, inputs)" if given else "(x, parameters)"
            raise SbmlgradError(f"propensities: cannot be called with {arguments}: {reason}") from error
        if shape != expected:
            raise SbmlgradError(f"propensities: expected an array of shape {expected}, one a reaction, got {shape}")

        structured = self._structure()

        def rates(x: tuple[Any, ...], coefficients: tuple[Any, ...]) -> tuple[Any, ...]:
            parameters = structured(coefficients)
            batched = jax.vmap(
                lambda state: jnp.asarray(propensities(state, parameters, *given)), in_axes=1, out_axes=1
            )
            return tuple(batched(jnp.stack(x)))

        return rates

    def _structure(self) -> Callable[[Any], dict[str, Any]]:
        """:meth:`structured`, without a hold on this network, from which others with the same ``rates`` may be made."""
        names = tuple(self.parameters)
        # One tree a name, since JAX would sort the names of one tree of them all, and their order is the user's.
        trees: list[Any] = [jax.tree.structure(value) for value in self.parameters.values()]

        def structured(coefficients: Any) -> dict[str, Any]:
            leaves = iter(jax.tree.leaves(coefficients))
            return {
                name: jax.tree.unflatten(tree, [next(leaves) for _ in range(tree.num_leaves)])
                for name, tree in zip(names, trees, strict=True)
            }

        return structured

    def structured(self, coefficients: Any) -> dict[str, Any]:
        """Values in the order of ``coefficients`` put into the structure of ``parameters``."""
        return self._structure()(coefficients)

    def given(self, inputs: Any) -> tuple[Any, ...]:
        """What functions of (x, parameters) are given beside these: ``inputs``, or nothing in a network without any."""
        return () if self.inputs is None else (inputs,)

    def propensities_at(self, x: Any, coefficients: Any, inputs: Any = None) -> Array:
        """The propensities (reactions,), float64, of one state ``x`` (species,), also where only ``rates`` is known.

        ``inputs`` are the trajectory's; the network's own if not given.
        """
        if self.propensities is not None:
            given = self.given(self.inputs if inputs is None else inputs)
            values = jnp.asarray(self.propensities(x, self.structured(coefficients), *given))
        else:
            assert self.rates is not None
            rates = self.rates(tuple(x), tuple(coefficients))
            values = jnp.stack([jnp.broadcast_to(rate, ()) for rate in rates]) if rates else jnp.zeros(0)
        return values.astype(jnp.float64)

    def with_parameters(self, values: Mapping[str, Any]) -> ReactionNetwork:
        """The same network with other values of some parameters; :class:`UnknownIdError` for others."""
        self.check_names(values, ())
        given = _JUMPS.columns(self)
        jumps = self.stoichiometry if given is None else given
        return replace(self, stoichiometry=jumps, parameters={**self.parameters, **values})

    def with_inputs(self, inputs: Any) -> ReactionNetwork:
        """The same network with other inputs to all trajectories, in the same structure."""
        for_each = self.inputs_of(jax.tree.map(lambda leaf: np.asarray(leaf)[None], inputs))
        return replace(self, inputs=jax.tree.map(lambda leaf: leaf[0], for_each), rates=None)

    def inputs_of(self, inputs: Any) -> Any:
        """Inputs for several trajectories, each array with a leading axis, in the structure and shapes of these.

        Raises :class:`SbmlgradError` for others, and where arrays differ in how many there are.
        """
        if self.inputs is None:
            raise SbmlgradError("inputs: the network takes none; give it some (ReactionNetwork(..., inputs=example))")
        trees: list[Any] = [jax.tree.structure(tree) for tree in (self.inputs, inputs)]
        own, leaves = jax.tree.leaves(self.inputs), [np.asarray(leaf) for leaf in jax.tree.leaves(inputs)]
        expected, shapes = [leaf.shape for leaf in own], [leaf.shape for leaf in leaves]
        if trees[0] != trees[1] or [shape[1:] for shape in shapes] != expected or not all(shapes):
            raise SbmlgradError(
                f"inputs: expected the structure of the network's own, {trees[0]}, with arrays of shapes {expected} "
                f"and a leading axis of trajectories, got shapes {shapes}"
            )
        if len({shape[0] for shape in shapes}) != 1 or not shapes[0][0]:
            raise SbmlgradError(f"inputs: expected as many of each, and at least one, got shapes {shapes}")
        return jax.tree.unflatten(trees[0], leaves)

    def check_numbers(self, parameters: Iterable[str]) -> None:
        """Raise :class:`SbmlgradError` for parameters that are not single numbers."""
        for name in parameters:
            if np.ndim(self.parameters[name]) or isinstance(self.parameters[name], (dict, list, tuple)):
                raise SbmlgradError(
                    f"parameter {name!r}: is not a single number; differentiate by arrays with sbmlgrad.value_and_grad"
                )

    def check_names(self, parameters: Iterable[str], species: Iterable[str]) -> None:
        """Raise :class:`UnknownIdError` for names that are none of the network's parameters or species."""
        unknown = [name for name in parameters if name not in self.parameters]
        unknown += [name for name in species if name not in self.species]
        if unknown:
            raise UnknownIdError(
                f"the network has no {unknown[0]!r}; it has {', '.join((*self.parameters, *self.species))}"
            )

    @property
    def coefficients(self) -> tuple[np.ndarray, ...]:
        """The arrays of the parameters in the order in which ``rates`` takes them, name by name."""
        return tuple(leaf for value in self.parameters.values() for leaf in jax.tree.leaves(value))

    def coefficients_of(self, parameters: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
        """The arrays of other values of all parameters, which must have the structure and shapes of these."""
        if set(parameters) != set(self.parameters):
            raise SbmlgradError(f"parameters: expected values for {', '.join(self.parameters)}")
        leaves: list[np.ndarray] = []
        for name, value in self.parameters.items():
            other = _as_arrays(name, parameters[name])
            shapes, others = ([np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (value, other))
            expected: Any = jax.tree.structure(value)
            if expected != jax.tree.structure(other) or shapes != others:
                raise SbmlgradError(
                    f"parameter {name!r}: expected the structure of the network's own, {expected}, with arrays of "
                    f"shapes {shapes}, got shapes {others}"
                )
            leaves += jax.tree.leaves(other)
        return tuple(leaves)


def _as_arrays(name: str, value: Any) -> Any:
    """The tree of a parameter with float64 arrays for leaves; a list of numbers is one."""
    try:
        return jax.tree.map(lambda leaf: np.asarray(leaf, dtype=np.float64), value, is_leaf=_holds_numbers)
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SbmlgradError(f"parameter {name!r}: expected numbers, arrays or trees of them: {reason}") from None


def _holds_numbers(value: Any) -> bool:
    """Whether this is a list or tuple of plain numbers, or of such lists."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(isinstance(item, (int, float, np.number)) or _holds_numbers(item) for item in value)
