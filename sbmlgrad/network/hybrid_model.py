"""Models that flow and jump: the JAX functions of which trajectories with events are made.

The state holds one number for each variable that reactions, rate rules or events change. Deterministically it flows
between events; stochastically, reactions make it jump at propensities that may change as it flows (a piecewise
deterministic Markov process; Davis, J. R. Stat. Soc. B 46:353, 1984).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.network.columns import Columns
from sbmlgrad.network.jacobian import Jacobian, jacobian_of
from sbmlgrad.network.landmarks import Landmarks
from sbmlgrad.network.program import Draw, Program


class Formulas(Protocol):
    """Outputs as a function of a vector: a :class:`Program` of a graph, or a function from Python."""

    def __call__(self, values: Any, random: Draw | None = None) -> Any:
        """The outputs (outputs,)."""
        ...

    def rounding(self, values: Any) -> Any:
        """How far rounding may move the outputs (outputs,), in units of half a last digit."""
        ...


@dataclass(frozen=True, eq=False)
class EventSystem:
    """The events of a model, with arrays (events, ...) that say what they do.

    ``triggers(z)`` gives the truth of every trigger; ``details(z)`` gives delays, priorities, and the values assigned,
    one after the other. Both take the vector of time, state and coefficients.

    ``targets[e, a]`` is the index in the state of assignment ``a`` of event ``e`` (the size of the state where there
    is none), ``scaled[e, a]`` whether the value is multiplied by what ``sizes`` says of that variable, and
    ``values[e, a]`` the index among the values.
    """

    names: tuple[str, ...]
    triggers: Program
    details: Program
    targets: np.ndarray
    scaled: np.ndarray
    values: np.ndarray
    initial: np.ndarray
    persistent: np.ndarray
    delayed: np.ndarray
    from_trigger_time: np.ndarray
    sizes: Program
    """What the symbol's value is multiplied by to give the state, for each variable in it."""


@dataclass(frozen=True, eq=False)
class Relations:
    """Comparisons that may change within a step: those in triggers, and of what flows also those in laws.

    ``program(z)`` gives the truth of each, then the value of each that changes sign where its truth does, then the size
    of what each compares. ``flowing`` (relations,) are those that follow more than time, ``deciding`` those of
    triggers. ``flow`` and ``propensities`` take the truth of the flowing ones after everything else, so that they are
    smooth while it is held.
    """

    program: Formulas
    flowing: np.ndarray
    deciding: np.ndarray
    flow: Formulas
    propensities: Formulas

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.flowing)


@dataclass(frozen=True, eq=False)
class Delays:
    """Values of the past that formulas need.

    They stand at ``indices`` among the coefficients. ``now`` are the values that will be needed later, ``lags`` how
    long ago, and ``before`` what was there before the start, as of that time; (delays,) each.
    """

    indices: np.ndarray
    now: Program
    lags: Program
    before: Program


@dataclass(frozen=True, eq=False)
class Stepwise:
    """What only reactions move between known times and events.

    ``reacting`` are the indices in the state that reactions change, ``triggers`` the program of those triggers that
    follow them, and ``watched`` their indices among the events.
    """

    reacting: np.ndarray
    triggers: Program
    watched: np.ndarray


@dataclass(frozen=True, eq=False)
class HybridModel:
    """A model as a state that flows, and jumps at events and, where there are ``propensities``, by reactions.

    Attributes
    ----------
    source
        Where the model is from, for messages.
    quantities
        The numbers that can be changed or fitted, by name, as for :class:`DiscreteModel`.
    variables
        Names of the state's variables; ``amounts`` says which are amounts of species, ``whole`` which are counts.
    channels, propensities, columns
        Names of what can fire, the program of their propensities, and the change of the state by each of them.
    still
        Whether nothing flows and no propensity changes between jumps.
    stepwise
        There where nothing flows, and propensities and triggers follow time in steps, at known times.
    """

    source: str
    quantities: Mapping[str, float]
    variables: tuple[str, ...]
    amounts: np.ndarray
    observables: tuple[str, ...]
    events: EventSystem | None
    channels: tuple[str, ...]
    propensities: Program | None
    columns: Columns
    whole: np.ndarray
    piecewise_constant: bool
    stepwise: Stepwise | None
    delays: Delays | None
    start_program: Formulas = field(repr=False)
    flow_program: Formulas = field(repr=False)
    observe_program: Formulas = field(repr=False)
    relations: Relations
    switches: Formulas
    """Of the times near the present at which what is a straight line in time bends or jumps."""
    landmarks: Landmarks | None
    """Other times at which what depends on time alone does something."""
    compiled: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    """Functions compiled for this model; they live as long as it does."""

    @cached_property
    def jumps(self) -> np.ndarray:
        """The change of the state by each channel (variables, channels)."""
        return self.columns.matrix(np.float64)

    def start(self, quantities: Array, random: Draw | None = None) -> tuple[Array, Array]:
        """State (variables,) at the start and coefficients, from a vector in the order of ``quantities``."""
        values = self.start_program(quantities, random)
        return values[: len(self.variables)], values[len(self.variables) :]

    def flow(self, time: Array, state: Array, coefficients: Array) -> Array:
        """The time derivative of the state (variables,)."""
        return self.flow_program(joined(time, state, coefficients))

    def rounding(self, time: Array, state: Array, coefficients: Array) -> Array:
        """How far rounding may move the time derivative of the state (variables,), in units of half a last digit."""
        return self.flow_program.rounding(joined(time, state, coefficients))

    @cached_property
    def jacobian(self) -> Jacobian | None:
        """The derivative of the flow by state and time, where there is a better way than one variable at a time.

        It takes coefficients with the truth of relations after them.
        """
        flow = self.relations.flow
        return jacobian_of(flow, len(self.variables)) if isinstance(flow, Program) else None

    def observe(self, time: Array, state: Array, coefficients: Array) -> Array:
        """The observables (observables,)."""
        return self.observe_program(joined(time, state, coefficients))

    def propensities_at(self, time: Array, state: Array, coefficients: Array) -> Array:
        """The propensities (channels,)."""
        assert self.propensities is not None
        return self.propensities(joined(time, state, coefficients))


def joined(time: Array, state: Array, coefficients: Array) -> Array:
    """The vector of which programs are functions."""
    return jnp.concatenate([jnp.asarray(time, jnp.float64)[None], state, coefficients])
