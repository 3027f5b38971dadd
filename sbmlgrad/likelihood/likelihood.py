"""The protocol of likelihoods: what data say of parameter values, and what the model says of the data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from sbmlgrad.likelihood.records import Trajectories


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The log-likelihood at one point, and its derivatives (P,) by the parameters.

    ``information`` (P, P) is the covariance of the score that the model expects of such data (Fisher's information),
    where the likelihood comes with it. ``kinked`` says that the score jumps at the data, so that its differences are no
    second derivatives, and the information takes their place.
    """

    value: float
    score: np.ndarray
    information: np.ndarray | None = None
    kinked: bool = False


@dataclass(frozen=True, eq=False)
class Expected:
    """What the model, fitted so far, says of each measured number before it is seen; arrays (m,) of one row a number.

    Attributes
    ----------
    observable, time, measured
        Index of the observable, when, and what was measured.
    statistic
        What the number is: a value of one trajectory, or the share of cells.
    predicted, sd
        Its mean and standard deviation by the model, given what was seen of the trajectory before.
    wildness
        The fourth central moment over the squared variance, 3 for a normal law.
    """

    observable: np.ndarray
    time: np.ndarray
    statistic: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    sd: np.ndarray
    wildness: np.ndarray


def expected_values(data: Trajectories, mean: np.ndarray, variance: np.ndarray, wildness: np.ndarray) -> Expected:
    """What is expected of the values of trajectories, of arrays (replicates, observables, times) each."""
    present = ~np.isnan(data.values)
    _, observable, time = np.nonzero(present)
    return Expected(
        observable=observable,
        time=data.times[time],
        statistic=np.full(len(time), "value"),
        measured=data.values[present],
        predicted=mean[present],
        sd=np.sqrt(np.maximum(variance[present], 0.0)),
        wildness=wildness[present],
    )


def joined(every: Sequence[Expected]) -> Expected:
    """What is expected of one set of data after the other."""
    columns = {field.name: [getattr(one, field.name) for one in every] for field in fields(Expected)}
    return Expected(**{name: np.concatenate(parts) for name, parts in columns.items()})


class Likelihood(Protocol):
    """The log-likelihood of one set of data at any values (P,) of the fitted parameters."""

    @property
    def name(self) -> str:
        """What it is called by."""
        ...

    @property
    def drawn(self) -> bool:
        """Whether it is estimated by simulation, so that it differs by chance from one preparation to another."""
        ...

    @property
    def size(self) -> int:
        """How many independent numbers, or cells, stand behind it."""
        ...

    def prepare(self, values: np.ndarray) -> None:
        """Choose what to take into account at these values; :class:`SimulationError` where that is too much."""
        ...

    def evaluate(self, values: np.ndarray) -> Evaluation:
        """The log-likelihood and its derivatives; minus infinity where the data are impossible."""
        ...

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        """Whether what the likelihood takes into account was too little at these values, and is more from here on.

        ``rough`` is for confidence limits, which need fewer digits, and are not worth as much.
        """
        ...

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]:
        """For a while, take no more into account than confidence limits around these values need."""
        ...

    def expected(self, values: np.ndarray) -> Expected:
        """What the model says of the data at these values."""
        ...

    def describe(self) -> str:
        """How it was computed, in a few words for the report."""
        ...
