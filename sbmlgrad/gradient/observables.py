"""What expectations are taken of: functions of the state, and of the path up to a time.

Each is a frozen dataclass over the names of a model's species (``S`` amounts, ``[S]`` concentrations) or variables, and
says itself how it is followed along a trajectory: a new one is a class of its own, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import EstimatorError, SbmlgradError


class Laws(Protocol):
    """The law of the state of a network at times of a grid, as finite state projection has it.

    ``seen`` (states,) is what an observable sees of each state; all give expectations (grid,).
    """

    def at_times(self, seen: Any) -> Any:
        """E seen."""

    def averaged(self, seen: Any) -> Any:
        """E of its average from the start on."""

    def reached(self, seen: Any) -> Any:
        """P(a state where it is 1 has been met), of one that is 0 or 1."""

    def products(self, seen: Any, time: float) -> Any:
        """E of it times itself at another time of the grid."""


class Observable:
    """What an expectation is taken of; this one, of the state at the time of observation alone.

    Those of the path say what they remember of it (``has_memory`` and ``advance``), at which other times they look at
    it (``also_at``) and what they make of it (``finish``), all elementwise over trajectories, whose arrays are numpy's
    or, on a GPU, JAX's.
    """

    of_state = True
    """Whether the state at the time of observation tells its value."""
    is_integral = False
    """Whether it is the integral of what it sees over time, up to a factor that time alone decides."""
    has_memory = False
    """Whether something of the path up to a time is carried along."""
    memory_at_start = 0.0

    if TYPE_CHECKING:  # fields or properties of each: a property here would be taken for a field's default

        @property
        def of(self) -> tuple[str, ...]:
            """Names of the variables it is of."""

        @property
        def label(self) -> str:
            """What tables call it."""

    @property
    def also_at(self) -> tuple[float, ...]:
        """Other times at which it looks at the path."""
        return ()

    @property
    def edges(self) -> tuple[float, float] | None:
        """The range of values of its one variable within which it sees 1, and elsewhere 0."""
        return None

    @property
    def is_smooth(self) -> bool:
        """Whether what it sees of a state moves with the state, rather than jumps at edges."""
        return self.edges is None

    def value(self, values: Mapping[str, Any]) -> Any:
        """What it sees of a state whose variables have these values."""
        raise NotImplementedError

    def advance(self, memory: Any, seen: Any, wait: Any) -> Any:
        """The memory after ``wait`` in a state of which this is seen."""
        raise NotImplementedError

    def record(self, memory: Any, seen: Any) -> Any:
        """What is written down at a time of observation, where there is a memory."""
        return memory

    def finish(self, records: np.ndarray, grid: np.ndarray, indices: np.ndarray, start: float) -> np.ndarray:
        """Values (times, n) of what was written down (grid, n); ``indices`` (times,) are those of times in ``grid``."""
        return records[indices]

    def finish_tangent(
        self, records: np.ndarray, change: np.ndarray, grid: np.ndarray, indices: np.ndarray, start: float
    ) -> np.ndarray:
        """Derivatives (times, n) of the values along a change (grid, n) of what was written down."""
        return self.finish(change, grid, indices, start)

    def expected(self, laws: Laws, seen: Any) -> Any:
        """Its expectations (grid,) by the law of the state."""
        if not self.of_state:
            raise EstimatorError(f"estimator 'exact' has no law of {self.label}; use 'auto'")
        return laws.at_times(seen)


@dataclass(frozen=True)
class Moment(Observable):
    """E of a product at the time of observation: ``Moment("X")`` a mean, ``Moment("X", "Y")`` a cross moment."""

    of: tuple[str, ...]

    def __init__(self, *of: str):
        if not of:
            raise SbmlgradError("Moment: name one variable or more")
        object.__setattr__(self, "of", of)

    @property
    def label(self) -> str:
        return "*".join(self.of)

    def value(self, values: Mapping[str, Any]) -> Any:
        product = values[self.of[0]]
        for name in self.of[1:]:
            product = product * values[name]
        return product


@dataclass(frozen=True)
class _OfOne(Observable):
    """What is of one variable."""

    variable: str

    @property
    def of(self) -> tuple[str, ...]:
        return (self.variable,)

    def value(self, values: Mapping[str, Any]) -> Any:
        return values[self.variable]


@dataclass(frozen=True)
class _Range(_OfOne):
    """A range of values that counts as 1, and all others as 0."""

    lower: float = -inf
    upper: float = inf

    @property
    def edges(self) -> tuple[float, float]:
        return (self.lower, self.upper)

    def value(self, values: Mapping[str, Any]) -> Any:
        return _within(values[self.variable], self.lower, self.upper)

    @property
    def _text(self) -> str:
        return _text(self.variable, self.lower, self.upper)


@dataclass(frozen=True)
class Probability(_Range):
    """P(lower <= X < upper) at the time of observation: a bin of X's histogram."""

    @property
    def label(self) -> str:
        return f"P({self._text})"


@dataclass(frozen=True)
class Region(Observable):
    """P(lower <= X < upper, for each of several variables) at the time of observation: a bin of a joint histogram."""

    of: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    @property
    def label(self) -> str:
        sides = zip(self.of, self.lower, self.upper, strict=True)
        return f"P({' and '.join(_text(*side) for side in sides if side[1:] != (-inf, inf))})"

    @property
    def is_smooth(self) -> bool:
        return False

    def value(self, values: Mapping[str, Any]) -> Any:
        inside = 1.0
        for name, lower, upper in zip(self.of, self.lower, self.upper, strict=True):
            inside = inside * _within(values[name], lower, upper)
        return inside


@dataclass(frozen=True)
class Expectation(Observable):
    """E of any JAX function of variables at the time of observation, ``function(*arrays)``, elementwise.

    Straight-through needs it to be smooth in them; others do not.
    """

    of: tuple[str, ...]
    function: Callable[..., Any]
    label: str = "expectation"

    def value(self, values: Mapping[str, Any]) -> Any:
        return self.function(*(values[name] for name in self.of))


@dataclass(frozen=True)
class TimeAverage(_OfOne):
    """E of the average of X from the start to the time of observation."""

    of_state = False
    is_integral = True
    has_memory = True

    @property
    def label(self) -> str:
        return f"average({self.variable})"

    def advance(self, memory: Any, seen: Any, wait: Any) -> Any:
        return memory + seen * wait

    def finish(self, records: np.ndarray, grid: np.ndarray, indices: np.ndarray, start: float) -> np.ndarray:
        return records[indices] / np.maximum(grid[indices] - start, np.finfo(float).tiny)[:, None]

    def expected(self, laws: Laws, seen: Any) -> Any:
        return laws.averaged(seen)


@dataclass(frozen=True)
class FirstPassage(_Range):
    """P(X has been within lower <= X < upper at or before the time of observation): the law of a first passage."""

    of_state = False
    has_memory = True

    @property
    def label(self) -> str:
        return f"reached({self._text})"

    def advance(self, memory: Any, seen: Any, wait: Any) -> Any:
        return jnp.maximum(memory, seen)

    def record(self, memory: Any, seen: Any) -> Any:
        return jnp.maximum(memory, seen)

    def expected(self, laws: Laws, seen: Any) -> Any:
        return laws.reached(seen)


@dataclass(frozen=True)
class Autocorrelation(_OfOne):
    """E X(time) X(t) for the times of observation t: both sides of ``time``, which is observed as well."""

    time: float
    of_state = False

    @property
    def label(self) -> str:
        return f"{self.variable}({self.time:g})*{self.variable}"

    @property
    def also_at(self) -> tuple[float, ...]:
        return (self.time,)

    def finish(self, records: np.ndarray, grid: np.ndarray, indices: np.ndarray, start: float) -> np.ndarray:
        return records[indices] * records[np.searchsorted(grid, self.time)]

    def finish_tangent(
        self, records: np.ndarray, change: np.ndarray, grid: np.ndarray, indices: np.ndarray, start: float
    ) -> np.ndarray:
        at = np.searchsorted(grid, self.time)
        return change[indices] * records[at] + records[indices] * change[at]

    def expected(self, laws: Laws, seen: Any) -> Any:
        return laws.products(seen, self.time)


def as_observable(item: str | Observable) -> Observable:
    """An observable as it is; a name stands for the mean of what it names."""
    return Moment(item) if isinstance(item, str) else item


def _text(name: str, lower: float, upper: float) -> str:
    left = f"{lower:g} <= " if lower > -inf else ""
    right = f" < {upper:g}" if upper < inf else ""
    return f"{left}{name}{right}"


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _within(value: Any, lower: float, upper: float) -> Any:
    """1 for lower <= value < upper, else 0; its slope is that of the next values on both sides, as for counts."""
    inside = jnp.ones(jnp.shape(value), bool)
    if lower > -inf:
        inside = inside & (value >= lower)
    if upper < inf:
        inside = inside & (value < upper)
    return inside.astype(jnp.float64)


@_within.defjvp
def _within_slope(lower: float, upper: float, primals: Any, tangents: Any) -> Any:
    (value,), (change,) = primals, tangents
    slope = (_within(value + 1, lower, upper) - _within(value - 1, lower, upper)) / 2
    return _within(value, lower, upper), slope * change
