"""What expectations are taken of: functions of the state, and of the path up to a time.

Each is a frozen dataclass over the names of a model's species (``S`` amounts, ``[S]`` concentrations) or variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from sbmlgrad.errors import SbmlgradError


@dataclass(frozen=True)
class Moment:
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
        """At a state whose variables have these values."""
        product = values[self.of[0]]
        for name in self.of[1:]:
            product = product * values[name]
        return product


@dataclass(frozen=True)
class _OfOne:
    """What is of one variable."""

    variable: str

    @property
    def of(self) -> tuple[str, ...]:
        return (self.variable,)


@dataclass(frozen=True)
class _Range(_OfOne):
    """A range of values that counts as 1, and all others as 0."""

    lower: float = -inf
    upper: float = inf

    def value(self, values: Mapping[str, Any]) -> Any:
        """1 within the range, 0 outside."""
        return _within(values[self.variable], self.lower, self.upper)

    @property
    def _text(self) -> str:
        left = f"{self.lower:g} <= " if self.lower > -inf else ""
        right = f" < {self.upper:g}" if self.upper < inf else ""
        return f"{left}{self.variable}{right}"


@dataclass(frozen=True)
class Probability(_Range):
    """P(lower <= X < upper) at the time of observation: a bin of X's histogram."""

    @property
    def label(self) -> str:
        return f"P({self._text})"


@dataclass(frozen=True)
class Expectation:
    """E of any JAX function of variables at the time of observation, ``function(*arrays)``, elementwise.

    Straight-through needs it to be smooth in them; others do not.
    """

    of: tuple[str, ...]
    function: Callable[..., Any]
    label: str = "expectation"

    def value(self, values: Mapping[str, Any]) -> Any:
        """At a state whose variables have these values."""
        return self.function(*(values[name] for name in self.of))


@dataclass(frozen=True)
class TimeAverage(_OfOne):
    """E of the average of X from the start to the time of observation."""

    @property
    def label(self) -> str:
        return f"average({self.variable})"


@dataclass(frozen=True)
class FirstPassage(_Range):
    """P(X has been within lower <= X < upper at or before the time of observation): the law of a first passage."""

    @property
    def label(self) -> str:
        return f"reached({self._text})"


@dataclass(frozen=True)
class Autocorrelation(_OfOne):
    """E X(time) X(t) for the times of observation t: both sides of ``time``, which is observed as well."""

    time: float

    @property
    def label(self) -> str:
        return f"{self.variable}({self.time:g})*{self.variable}"


StateObservable: TypeAlias = Moment | Probability | Expectation
Observable: TypeAlias = StateObservable | TimeAverage | FirstPassage | Autocorrelation


def as_observable(item: str | Observable) -> Observable:
    """An observable as it is; a name stands for the mean of what it names."""
    return Moment(item) if isinstance(item, str) else item


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
