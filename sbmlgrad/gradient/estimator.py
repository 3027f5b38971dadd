"""What every gradient estimator is: derivatives of expectations, one sample a trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ssa import Arrays, PathFunctional

Observe = Callable[[Arrays, Arrays], Arrays]


class Tangents(NamedTuple):
    """Derivatives with respect to each parameter: of the mean initial counts and of the coefficients.

    ``counts[p][i]`` and ``coefficients[p][c]`` are scalars, or None where they are zero whatever the values,
    so that no work is done for them.
    """

    counts: tuple[tuple[Any, ...], ...]
    coefficients: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """Functions of the state whose expectations are differentiated.

    The functions are those of ``observe(x, coefficients)``, ``size`` arrays, and with ``squares`` their squares
    after them. ``linear[o]`` is the place of the count that observable ``o`` is, or None.
    """

    network: ReactionNetwork
    observe: Observe
    size: int
    linear: tuple[int | None, ...]
    squares: bool
    _functionals: dict[Any, PathFunctional] = field(default_factory=dict, init=False, repr=False)

    def functional(self, estimator: Estimator) -> PathFunctional:
        """The estimator's path functional, one and the same each time, so that its compiled loop is found again."""
        if estimator not in self._functionals:
            self._functionals[estimator] = estimator.functional(self)
        return self._functionals[estimator]

    @property
    def functions(self) -> int:
        """How many functions there are."""
        return self.size * (2 if self.squares else 1)

    @property
    def of_counts_alone(self) -> bool:
        """Whether the observables are counts, so that they hold no parameters themselves."""
        return all(place is not None for place in self.linear)

    def values(self, x: Arrays, coefficients: Arrays) -> Arrays:
        """The functions at a state."""
        observed = self.observe(x, coefficients)
        return (*observed, *(y * y for y in observed)) if self.squares else tuple(observed)

    def rates_and_generator(self, x: Arrays, coefficients: Arrays) -> tuple[Arrays, Arrays]:
        """Propensities a_j, and (A f)(x) = sum_j a_j(x) (f(x + S_j) - f(x)) for each function f."""
        assert self.network.rates is not None
        rates = self.network.rates(x, coefficients)
        observed = self.observe(x, coefficients)
        changes = self._changes(x, coefficients, observed)
        drift = [self._sum(a * change for a, change in zip(rates, row, strict=True)) for row in changes]
        if self.squares:  # f(x + S_j)^2 - f(x)^2, without subtracting large squares
            drift += [
                self._sum(a * change * (2 * y + change) for a, change in zip(rates, row, strict=True))
                for y, row in zip(observed, changes, strict=True)
            ]
        shape = x[0].shape
        return tuple(rates), tuple(jnp.broadcast_to(value, shape) for value in drift)

    def _changes(self, x: Arrays, coefficients: Arrays, observed: Arrays) -> list[list[Any]]:
        """Change of each observable by each reaction."""
        jumps = self.network.stoichiometry
        rows: list[list[Any]] = [
            [float(jump) for jump in jumps[place]] if place is not None else [] for place in self.linear
        ]
        if all(rows):
            return rows
        for jump in jumps.T:
            moved = self.observe(tuple(c + float(s) if s else c for c, s in zip(x, jump, strict=True)), coefficients)
            for row, place, after, before in zip(rows, self.linear, moved, observed, strict=True):
                if place is None:
                    row.append(after - before)
        return rows

    @staticmethod
    def _sum(terms: Any) -> Any:
        return reduce(add, terms, 0.0)


class Samples(NamedTuple):
    """One chunk: values (functions, times, n) and derivatives (parameters, functions, times, n)."""

    values: np.ndarray
    derivatives: np.ndarray


class Estimator(Protocol):
    """An estimator carries a path functional along trajectories and reads samples off its records."""

    @property
    def name(self) -> str:
        """What it is called by."""
        ...

    def functional(self, problem: Problem) -> PathFunctional:
        """What to carry along each trajectory; its ``aux`` are :class:`Tangents`."""

    def samples(
        self, problem: Problem, values: np.ndarray, records: Sequence[np.ndarray], tangents: Tangents
    ) -> Samples:
        """Samples from values (functions, times, n) and the functional's records (times, n)."""


def push(
    function: Callable[..., Any],
    x: Arrays,
    coefficients: Arrays,
    dx: Sequence[Any],
    dcoefficients: Sequence[Any],
) -> tuple[Any, Any]:
    """Value and directional derivative of ``function(x, coefficients)``; None stands for a zero tangent."""
    primals = (*x, *coefficients)
    tangents = (*dx, *dcoefficients)
    active = [i for i, tangent in enumerate(tangents) if tangent is not None]

    def of_active(*values: Array) -> Any:
        full = list(primals)
        for place, value in zip(active, values, strict=True):
            full[place] = value
        return function(tuple(full[: len(x)]), tuple(full[len(x) :]))

    if not active:
        value = function(x, coefficients)
        return value, jax.tree.map(jnp.zeros_like, value)
    points = [jnp.asarray(primals[i]) for i in active]
    directions = [jnp.broadcast_to(tangents[i], point.shape) for i, point in zip(active, points, strict=True)]
    return jax.jvp(of_active, points, directions)
