"""What is done to a model, and what is looked at: the same for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import numpy as np

from sbmlgrad.errors import SimulationError

MAX_EVENTS = 100_000_000
"""How many reactions may fire in a trajectory unless told otherwise."""

_LARGEST_DRAW = 2**32 - 2
_SEEDS = 2**64  # so many bits enter random numbers
_MOST_TRAJECTORIES = 2**32  # beyond, random numbers would repeat


@dataclass(frozen=True, eq=False)
class Experiment:
    """When a model is observed, in what condition, how often and within which limits.

    Attributes
    ----------
    times
        Increasing observation times (times,), in the model's unit of time, not before ``start``.
    select
        What is observed: species ids (amounts), ``[S]`` (concentrations), rule variables; by sensitivities also
        observables such as :class:`Moment`. All variables if None.
    parameters
        The condition: values that replace the model's, by id (``S`` initial amount, ``[S]`` initial concentration).
    n, seed
        How many trajectories; the same seed gives the same trajectories on the same platform.
    start
        The time at which trajectories begin.
    max_events
        How many reactions may fire in a trajectory.

    Raises :class:`SimulationError` for what makes no sense.
    """

    times: np.ndarray
    select: Sequence[Any] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    n: int = 1000
    seed: int = 0
    start: float = 0.0
    max_events: int = MAX_EVENTS

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "n", index(self.n))
            object.__setattr__(self, "seed", index(self.seed))
        except TypeError:
            raise SimulationError(f"n and seed: expected whole numbers, got {self.n!r} and {self.seed!r}") from None
        object.__setattr__(self, "times", np.asarray(self.times, dtype=np.float64))
        object.__setattr__(self, "parameters", dict(self.parameters))
        check_seed(self.seed)
        check_times(self.times, self.start)
        check_size(self.n, self.max_events)

    @classmethod
    def of(
        cls, times: Sequence[float] | np.ndarray | Experiment, defaults: Mapping[str, Any] | None, **others: Any
    ) -> Experiment:
        """The experiment that was handed in in place of times, or one of times and the keywords beside them.

        Beside an experiment keywords have to be left at their ``defaults``.
        """
        if not isinstance(times, Experiment):
            return cls(np.asarray(times, dtype=np.float64), **{k: v for k, v in others.items() if v is not None})
        for name, value in others.items():
            if value != (defaults or {})[name]:
                raise SimulationError(f"{name}: is said by the experiment; change it there")
        return times


def too_many(firings: float, of_document: bool = False) -> tuple[str, str]:
    """What to do where so many reactions would fire in a trajectory: by keywords, and by options.

    A model ``of_document`` can be read with fewer molecules.
    """
    ways = [
        ("solve the rate equations (method='ode')", "solve the rate equations (--method ode)"),
        ("end earlier", "end earlier (--end)"),
    ]
    if firings < 0.5 * _LARGEST_DRAW:
        most = f"{_rounded_up(firings):.0f}"
        ways.append((f"raise max_events (to {most})", f"allow more (--max-events {most})"))
    if of_document:
        ways.append(
            (
                "read fewer molecules in a unit (molecules_per_unit)",
                "read fewer molecules in a unit (--molecules-per-unit)",
            )
        )
    keywords, options = (f"{', '.join(words[:-1])} or {words[-1]}" for words in zip(*ways, strict=True))
    return keywords, options


def _rounded_up(firings: float) -> float:
    """A round number well above."""
    size = 10.0 ** np.floor(np.log10(max(firings, 1.0)))
    return float(min(size * np.ceil(1.5 * firings / size), _LARGEST_DRAW))


def check_times(times: np.ndarray, start: float) -> None:
    """Raise :class:`SimulationError` unless these are increasing finite times from ``start`` on."""
    if times.ndim != 1 or not len(times) or not np.all(np.isfinite(times)):
        raise SimulationError("times: expected one or more finite numbers")
    if times[0] < start or np.any(np.diff(times) <= 0):
        raise SimulationError(f"times: expected increasing numbers from {start:g} on")


def check_seed(seed: Any) -> int:
    """The seed as an integer; raises :class:`SimulationError` for one that is none, or that would be another's too."""
    try:
        number = index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < _SEEDS:
        raise SimulationError(f"seed: expected a whole number from 0 to {_SEEDS - 1}, got {seed!r}")
    return number


def next_seed(seed: int, step: int = 1) -> int:
    """A seed further on, for a run of its own; after the last comes the first."""
    return (seed + step) % _SEEDS


def check_size(n: int, max_events: int) -> None:
    """Raise :class:`SimulationError` for numbers of trajectories and events that random numbers do not reach to."""
    if not 1 <= n <= _MOST_TRAJECTORIES:
        raise SimulationError(f"n: expected between 1 and {_MOST_TRAJECTORIES} trajectories, got {n}")
    if not 0 < max_events <= _LARGEST_DRAW:
        raise SimulationError(f"max_events: expected between 1 and {_LARGEST_DRAW}")
