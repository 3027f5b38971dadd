"""What is asked of another simulator, and how its time is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Protocol, TypeVar

Result = TypeVar("Result")

FIRST = 100  # trajectories of the first measurement
ENOUGH = 2.0  # seconds: a measurement as long as this is final
LONGEST = 20.0  # seconds that a measurement may be expected to last


@dataclass(frozen=True)
class PeerRun:
    """One timed run of another simulator.

    ``seconds`` is wall-clock time without building and compiling; a slow simulator may have run fewer
    ``trajectories`` than asked for. ``mean`` is the mean amount of each species at the end, by SBML id, to
    show that the same thing was simulated. ``gradient`` is filled by those that differentiate: the
    derivative of the mean of the first species in ``mean`` with respect to each parameter.
    """

    name: str
    version: str
    seconds: float
    trajectories: int
    mean: Mapping[str, float]
    gradient: Mapping[str, float] = field(default_factory=dict)


class Peer(Protocol):
    """Another simulator, driven from an SBML file in the way that its own documentation recommends."""

    @property
    def name(self) -> str:
        """How it is called in the table."""
        ...

    def available(self) -> str | None:
        """None if it can run here, else the reason why not."""
        ...

    def run(self, model_path: str | Path, end: float, points: int, trajectories: int, seed: int) -> PeerRun:
        """Simulate from 0 to ``end`` with ``points`` equally spaced outputs (2: start and end).

        Raises
        ------
        SbmlgradError
            if the model has something that this simulator is not handed.
        """
        ...


def measure(sample: Callable[[int, int], Result], trajectories: int, seed: int) -> tuple[float, int, Result]:
    """Time ``sample(trajectories, seed)``; seconds, number of trajectories and the result.

    Each size runs twice and the second run counts, so that compilation, which may depend on the size, is left
    out. A small ensemble comes first, and larger ones, up to ``trajectories``, follow until one of them lasts
    ``ENOUGH``. None is expected to last ``LONGEST``, if time grows in proportion to the size or more slowly.
    """
    n = min(trajectories, FIRST)
    while True:
        sample(n, seed)
        start = time.perf_counter()
        result = sample(n, seed + 1)
        seconds = time.perf_counter() - start
        if n == trajectories or seconds >= ENOUGH:
            return seconds, n, result
        n = min(trajectories, int(n * LONGEST / seconds))


def missing(module: str, distribution: str) -> str | None:
    """Why a peer cannot be imported, or None; nothing is imported to find out."""
    if util.find_spec(module) is None:
        return f"{distribution} is not installed; install sbmlgrad[benchmark]"
    return None


def version(distribution: str) -> str:
    """The installed version of a distribution."""
    return metadata.version(distribution)
