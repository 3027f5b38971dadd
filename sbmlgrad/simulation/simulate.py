"""Simulate a model or a network: the one entry point to trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.experiment import MAX_EVENTS, Experiment
from sbmlgrad.simulation.methods import Method, as_method
from sbmlgrad.simulation.result import Simulation


def simulate(
    model: Model | ReactionNetwork,
    times: Sequence[float] | np.ndarray | Experiment,
    *,
    n: int = 1000,
    seed: int = 0,
    parameters: Mapping[str, float] | None = None,
    method: str | Method = "ssa",
    select: Sequence[str] | None = None,
    start: float = 0.0,
    keep_counts: bool | None = None,
    max_events: int = MAX_EVENTS,
    progress: bool = True,
) -> Simulation:
    """Exact stochastic simulation of an ensemble (Gillespie's direct method), or the solution of the rate equations.

    Parameters
    ----------
    model
        A :class:`Model` or a :class:`ReactionNetwork`; called as ``sbmlgrad.simulate``, also a path, a BioModels id or
        the text of a document, which is then read in each call.
    times
        Increasing observation times (times,), in the model's unit of time, not before ``start``; or an
        :class:`Experiment`, which says all that ``n``, ``seed``, ``parameters``, ``select``, ``start`` and
        ``max_events`` would. Trajectories start from whole molecules: where an initial amount is not, from one of the
        two numbers beside it, so that the mean is kept, with a :class:`SbmlgradWarning`.
    n, seed
        How many trajectories; the same seed gives the same trajectories on the same platform. With method ``ode``
        there is one, and the seed decides between events of equal priority only.
    parameters
        Values that replace the model's, by id (``S`` initial amount, ``[S]`` initial concentration).
    method
        ``ssa``, exact and stochastic, or ``ode``, the deterministic limit; or an object: :class:`SSA` and
        :class:`ODE` with a solver, tolerance and limit of their own, or any other with that protocol.
    select
        Observables: species ids (amounts), ``[S]`` (concentrations), rule variables. All by default.
    keep_counts
        Whether ``counts`` are kept; by default where they take less than 1 GiB.
    max_events
        A trajectory in which more reactions fire raises :class:`TruncationError`.
    progress
        Whether what takes longer shows how far it is, on a terminal or in a notebook.

    Raises
    ------
    UnsupportedError, UnknownIdError, PropensityError, TruncationError
    """
    require_float64()
    chosen = as_method(method)
    said = {"n": n, "seed": seed, "parameters": parameters, "select": select, "start": start, "max_events": max_events}
    experiment = Experiment.of(times, simulate.__kwdefaults__, **said)
    return chosen.simulate(model, experiment, keep_counts, "simulate" if progress else None)
