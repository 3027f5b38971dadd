"""What every gradient estimator is: expectations of observables with their derivatives, and errors of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from jax import Array

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ensemble import Ensemble, run, run_on_device
from sbmlgrad.simulation.experiment import MAX_EVENTS, Experiment
from sbmlgrad.simulation.ssa import PathFunctional

T = TypeVar("T")


@dataclass(frozen=True)
class Estimate:
    """Expectations (functions, times), their derivatives (parameters, functions, times), and standard errors.

    ``values_sd`` is the standard deviation of the functions from trajectory to trajectory, nan where nothing is drawn;
    the standard error of an expectation may be less than it over the square root of ``n``. ``note`` says what is to be
    known of the estimate: which estimator was chosen and why, or how far an error can reach. ``estimator`` names the
    one that was chosen, where there was a choice.
    """

    values: np.ndarray
    values_stderr: np.ndarray
    derivatives: np.ndarray
    stderr: np.ndarray
    n: int
    values_sd: np.ndarray
    note: str = ""
    estimator: str = ""

    @property
    def effective_size(self) -> float:
        """How many trajectories would give as precise expectations without control variates."""
        drawn = (self.values_stderr > 0) & (self.values_sd > 0)
        if not drawn.any():
            return float(self.n)
        return float(np.median(np.square(self.values_sd[drawn] / self.values_stderr[drawn])))


@dataclass(frozen=True)
class Task:
    """Where and how to estimate: ``values`` (P,) of the parameters, increasing ``times``, trajectories and seed."""

    values: Sequence[float] | np.ndarray
    times: np.ndarray
    n: int
    seed: int
    start: float = 0.0
    max_events: int = MAX_EVENTS
    progress: str | None = None
    """Labels a progress bar on stderr, which shows only on a terminal."""

    @property
    def experiment(self) -> Experiment:
        """The same without values of parameters."""
        return Experiment(self.times, n=self.n, seed=self.seed, start=self.start, max_events=self.max_events)

    def with_n(self, n: int, use: int = 0) -> Task:
        """The same with another number of trajectories, and for ``use`` above 0 with independent random numbers."""
        if not use:
            return replace(self, n=n)
        seed = int(np.random.SeedSequence((abs(self.seed), use)).generate_state(1)[0])
        return replace(self, n=n, seed=seed, progress=None)


class Estimator(Protocol):
    """Estimates derivatives of expectations; one file each, and one test holds all of them to this."""

    @property
    def name(self) -> str:
        """What it is called by."""
        ...

    @property
    def unbiased(self) -> bool:
        """Whether the expectation of its estimate is the derivative, whatever the network."""
        ...

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        """Expectations and derivatives at ``task.values``; :class:`EstimatorError` where it cannot serve."""
        ...


def walk(
    network: ReactionNetwork,
    counts: Sequence[Any],
    coefficients: tuple[Any, ...],
    functional: PathFunctional,
    aux: Any,
    task: Task,
    grid: np.ndarray,
    take: Callable[[tuple[np.ndarray, ...]], Any] = tuple,
) -> Iterator[Any]:
    """Records (grid, trajectories) of ``functional`` along exact trajectories, chunk by chunk, in order.

    Or what ``take`` makes of them where they were simulated.
    """
    ensemble = _ensemble(network, counts, coefficients, functional, aux, task, grid)
    return run(ensemble, task.progress, len(network.species), lambda chunk: take(chunk.records))


def walk_on_device(
    network: ReactionNetwork,
    counts: Sequence[Any],
    coefficients: tuple[Any, ...],
    functional: PathFunctional,
    aux: Any,
    task: Task,
    grid: np.ndarray,
    take: Callable[[tuple[Array, ...], int], T],
) -> Iterator[T]:
    """What ``take`` makes of the same records (grid, batch), of so many trajectories, where they were simulated."""
    ensemble = _ensemble(network, counts, coefficients, functional, aux, task, grid)
    own = len(network.species)
    return run_on_device(ensemble, lambda chunk: take(chunk.records[own:], chunk.count), task.progress)


def _ensemble(
    network: ReactionNetwork,
    counts: Sequence[Any],
    coefficients: tuple[Any, ...],
    functional: PathFunctional,
    aux: Any,
    task: Task,
    grid: np.ndarray,
) -> Ensemble:
    return Ensemble(
        network=network,
        x0=counts,
        coefficients=coefficients,
        times=grid,
        n=task.n,
        seed=task.seed,
        start=task.start,
        max_events=task.max_events,
        functional=functional,
        aux=aux,
    )
