"""What an instrument makes of particles: how likely measured values are at each, and where values lead particles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import FitError
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.measurement import (
    Laws,
    Measurement,
    central_moments,
    log_density,
    log_density_as_stated,
    mixture_moments,
    valid,
)
from sbmlgrad.simulation.ssa import Arrays

_LEAST = 0.5  # molecules that a value is taken for when it says how large errors are


class Signal(NamedTuple):
    """What is measured of states (observables, ...), and the parameters of the laws of noise (...), None for none."""

    level: Array
    parameters: tuple[Array | None, ...]


@dataclass(frozen=True)
class Readings:
    """Observables by their variables (``places``), and for each the law of its noise and that one's variable.

    A law that is "" is normal with the variance that is stated with each value, and exact where that is 0.
    """

    problem: Problem
    places: tuple[int, ...]
    laws: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, problem: Problem, observables: Sequence[str], laws: Laws) -> Readings:
        """Of observables by their names."""
        places = tuple(problem.variables.index(name) for name in observables)
        return cls(problem, places, tuple(placed(problem, observables, laws)))

    def check(self, coefficients: Arrays, x: Arrays) -> None:
        """Raise :class:`FitError` for a noise that is none in some of the states ``x``, (states,) of each species."""
        every = self.problem.observe(x, coefficients)
        for place, (law, parameter) in zip(self.places, self.laws, strict=True):
            if parameter < 0:
                continue
            sizes = np.broadcast_to(every[parameter], x[0].shape)
            wrong = np.flatnonzero(~np.asarray(valid(law, sizes)))
            if len(wrong):
                name, first = self.problem.variables[place], wrong[0]
                counts = (f"{s} = {c[first]:g}" for s, c in zip(self.problem.network.species, x, strict=True))
                raise FitError(
                    f"the noise of {name!r} is {sizes[first]:.4g} where {', '.join(counts)}, and no {law} law has "
                    f"that; give it a part that stays, as in 'sigma + 0.1*{name}'"
                )

    @property
    def moving(self) -> bool:
        """Whether what is observed, or its noise, depends on parameters itself."""
        variables = (*self.places, *(place for _, place in self.laws if place >= 0))
        return any(self.problem.linear[place] is None for place in variables)

    def signal(self, x: Arrays, coefficients: Arrays, shape: Sequence[int]) -> Signal:
        """Of states, arrays (batch,) of each species, in this shape."""
        every = self.problem.observe(x, coefficients)

        def of(place: int) -> Array:
            return jnp.broadcast_to(every[place], x[0].shape).reshape(shape)

        parameters = tuple(of(place) if place >= 0 else None for _, place in self.laws)
        return Signal(jnp.stack([of(place) for place in self.places]), parameters)

    def log_density(self, signal: Signal, values: Array, variance: Array) -> Array:
        """Of ``values`` and variances (observables, ...), nan where there is none, that go with the signal's shape."""
        total = jnp.zeros(signal.level.shape[1:])
        for index, (law, _) in enumerate(self.laws):
            there = ~jnp.isnan(values[index])
            value, level = jnp.where(there, values[index], 1.0), signal.level[index]
            if law:
                density = log_density(law, value, level, signal.parameters[index])
            else:
                density = log_density_as_stated(value, level, variance[index])
            total = total + jnp.where(there, density, 0.0)
        return total

    def aims(self, signal: Signal, values: Array, variance: Array) -> tuple[Array, Array]:
        """The signals (observables, ...) that values speak for, nan for none, and the variances of what they say.

        By the mean and the variance that a law has at the signal whose mean is the value.
        """
        aims, spreads = [], []
        for index, (law, _) in enumerate(self.laws):
            value, wide = values[index], variance[index]
            if law:
                parameter = signal.parameters[index]
                gain = central_moments(law, jnp.ones_like(value), parameter)[0]  # means are in proportion to signals
                value = value / gain
                wide = central_moments(law, jnp.maximum(value, _LEAST), parameter)[1] / jnp.square(gain)
            aims.append(jnp.broadcast_to(value, signal.level.shape[1:]))
            spreads.append(jnp.broadcast_to(wide, signal.level.shape[1:]))
        return jnp.stack(aims), jnp.stack(spreads)

    def moments(self, signal: Signal, variance: Array) -> Array:
        """Mean, variance and fourth central moment (3, replicates, observables) of what is measured of equally likely
        particles (filters, replicates, particles), with errors of a ``variance`` (observables, 1, replicates, 1)."""

        def average(values: Array) -> Array:
            return jnp.mean(values, axis=(0, 2), keepdims=True)

        columns = []
        for index, (law, _) in enumerate(self.laws):
            found = mixture_moments(law, signal.level[index], signal.parameters[index], variance[index], average)
            columns.append(jnp.stack(found)[:, 0, :, 0])
        return jnp.stack(columns, axis=-1)


def placed(problem: Problem, observables: Sequence[str], laws: Laws) -> list[tuple[str, int]]:
    """The law of each observable, "" where it has none, and the variable that holds its parameter, -1 for none."""
    own = [laws.get(name, Measurement("")) for name in observables]
    return [(law.law, problem.variables.index(law.parameter) if law.parameter else -1) for law in own]
