"""Values and gradients of losses of expectations, for networks with many parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import SbmlgradError, SimulationError
from sbmlgrad.gradient.objective import Objective
from sbmlgrad.gradient.replay import Replay, numbers_per_state
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.experiment import MAX_EVENTS, check_seed, check_size, check_times
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.replay import STEPS, Batch, array_loop, run_batches

ESTIMATORS = ("auto", "score", "straight_through")

_BATCH_BYTES = 2**29  # what the replay of a segment may take
_LARGEST_BATCH = 4096
_LEAST_GROUPS, _MOST_GROUPS = 8, 64
_GROUPED_BYTES = 2**24  # what gradients by group may take, if there are more than the least number of groups


@dataclass(frozen=True, eq=False)
class Gradient:
    """A loss of expectations and its derivatives, with standard errors.

    Attributes
    ----------
    value, stderr
        The loss of the expectations, and its standard error (nan for one trajectory).
    gradient, gradient_stderr
        Its derivatives by the network's parameters in the structure of ``network.parameters``, and their standard
        errors (nan for one trajectory), from the spread between groups of trajectories at the same derivatives of
        the loss.
    expectations
        Means of the functions (times, functions).
    n, events
        Trajectories, and how many reactions fired in all of them.
    """

    value: float
    stderr: float
    gradient: dict[str, Any]
    gradient_stderr: dict[str, Any]
    expectations: np.ndarray
    n: int
    events: int


@dataclass(frozen=True, eq=False)
class Expectations:
    """Functions of the state of exact trajectories.

    Attributes
    ----------
    mean, stderr
        Over the trajectories (times, functions); the standard errors are nan for one trajectory. They take trajectories
        as independent draws: with ``inputs``, of items too. Of the mean over these very items they are too large; of
        new items, too small where several trajectories share one.
    values
        Of each trajectory (times, functions, n).
    n, events
        Trajectories, and how many reactions fired in all of them.
    """

    mean: np.ndarray
    stderr: np.ndarray
    values: np.ndarray
    n: int
    events: int


def expectations(
    network: ReactionNetwork,
    function: Callable[..., Any],
    times: Sequence[float] | np.ndarray,
    *,
    inputs: Any = None,
    x0: Any = None,
    n: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    start: float = 0.0,
    max_events: int = MAX_EVENTS,
    parameters: Mapping[str, Any] | None = None,
) -> Expectations:
    """Functions of the state of exact trajectories without derivatives: held-out data, or a look before training.

    Arguments mean what they mean to :func:`value_and_grad`, and so do errors; the trajectories are the same.
    """
    ensemble, replay = _prepared(
        network, function, times, inputs, x0, n, seed, "score", batch, start, max_events, parameters
    )
    _, values, events = _forward(replay, ensemble, keep=False)
    ddof = min(1, ensemble.n - 1)
    spread = np.std(values, axis=-1, ddof=ddof) / (np.sqrt(ensemble.n) if ddof else np.nan)
    return Expectations(values.mean(axis=-1), spread, values, ensemble.n, events)


def value_and_grad(
    network: ReactionNetwork,
    function: Callable[..., Any],
    times: Sequence[float] | np.ndarray,
    *,
    inputs: Any = None,
    x0: Any = None,
    loss: Callable[[Any], Any] | None = None,
    n: int | None = None,
    seed: int = 0,
    estimator: str = "auto",
    batch: int | None = None,
    start: float = 0.0,
    max_events: int = MAX_EVENTS,
    parameters: Mapping[str, Any] | None = None,
) -> Gradient:
    """A loss of expectations E f(X_t) of exact trajectories, and its gradient by all parameters of a network.

    By reverse mode: the trajectories are simulated, and then run again backwards in segments, so that time does not
    grow with the number of parameters, and memory with the number of events only by what is kept to run them again:
    2 bytes for an event, and 8 bytes for a species for each 64 events of a trajectory.

    Parameters
    ----------
    network
        Its parameters may be trees of arrays, such as the layers of a neural network.
    function
        JAX function ``function(x, parameters)`` of the counts ``x`` (species,) that returns a scalar or an array
        (functions,). In a network with inputs it is ``function(x, parameters, inputs)``, so that a loss of each
        trajectory, such as that of an image and its label, is a function.
    times
        Increasing observation times, not before ``start``.
    inputs
        What trajectories are given, in the structure of ``network.inputs`` with a leading axis of items, such as
        images; neighbouring trajectories share an item where there are more of them. The network's own if not given.
        What propensities make of the inputs alone is differentiated once for the steps of a segment.
    x0
        Initial counts in place of ``network.x0``: (species,), or (items, species) beside ``inputs``.
    loss
        JAX function of the expectations (times, functions), where a scalar counts as one function; their sum if not
        given. The gradient is sum dloss/dE dE/dparameters with dloss/dE at the ensemble's own expectations. For a loss
        that is not linear both ``value`` and ``gradient`` therefore have a bias of order 1/n.
    n, seed
        How many trajectories, 1000 if not given; with ``inputs`` one of each item, or a multiple of it. The same
        seed gives the same trajectories, those of :func:`simulate` too.
    estimator
        ``score``, unbiased; ``straight_through``, often of much less variance, but biased where few molecules decide
        what happens next; ``auto`` is ``score``.
    batch
        How many trajectories run side by side; by default as many as keep the memory for a segment near 512 MiB.
    max_events
        A trajectory that needs more events raises :class:`TruncationError`.
    parameters
        Values in place of ``network.parameters``, in the same structure. An optimiser hands its own in here, together
        with the same network and the same ``function``, so that nothing is compiled again.

    Raises
    ------
    SbmlgradError, PropensityError, TruncationError

    References
    ----------
    Score function: Plyasunov & Arkin, J. Comput. Phys. 2007. Straight-through: Vilar & Saiz, arXiv 2602.19775, here of
    second order and through the generator. Replay from checkpoints: Chen et al., arXiv 1604.06174.
    """
    ensemble, replay = _prepared(
        network, function, times, inputs, x0, n, seed, estimator, batch, start, max_events, parameters
    )
    batches, values, events = _forward(replay, ensemble, keep=True)
    expectations = values.mean(axis=-1)
    value, cotangents = _loss(loss, expectations)
    weighted = np.einsum("km,kmn->n", cotangents, values)
    sums, sizes = _backward(replay, ensemble, batches, values, cotangents / ensemble.n, estimator)
    gradient, error = _mean_and_error(sums, sizes)
    return Gradient(
        value=value,
        stderr=float(np.std(weighted, ddof=1) / np.sqrt(ensemble.n)) if ensemble.n > 1 else float("nan"),
        gradient=network.structured(gradient),
        gradient_stderr=network.structured(error),
        expectations=expectations,
        n=ensemble.n,
        events=events,
    )


def _prepared(
    network: Any,
    function: Callable[..., Any],
    times: Any,
    inputs: Any,
    x0: Any,
    n: int | None,
    seed: int,
    estimator: str,
    batch: int | None,
    start: float,
    max_events: int,
    parameters: Mapping[str, Any] | None,
) -> tuple[Ensemble, Replay]:
    """What was asked for, found to make sense, and the compiled loops for it."""
    try:
        n, seed, batch = n if n is None else index(n), index(seed), batch if batch is None else index(batch)
    except TypeError:
        raise SimulationError(f"n, seed and batch: expected whole numbers, got {n!r}, {seed!r}, {batch!r}") from None
    require_float64()
    ensemble = _ensemble(network, times, n, seed, start, max_events, parameters, inputs, x0)
    if estimator not in ESTIMATORS:
        raise SbmlgradError(f"estimator {estimator!r}: not available; choose {', '.join(ESTIMATORS)}")
    if not any(np.ndim(count) for count in ensemble.x0):
        warn_of_fractions("the network", fractional(network.species, ensemble.x0))
    return ensemble, _replay(_objective(ensemble.network, function), ensemble, batch, estimator)


def _ensemble(
    network: Any,
    times: Any,
    n: int | None,
    seed: int,
    start: float,
    max_events: int,
    parameters: Mapping[str, Any] | None,
    inputs: Any,
    x0: Any,
) -> Ensemble:
    if not isinstance(network, ReactionNetwork):
        raise SbmlgradError(
            f"value_and_grad: expected a ReactionNetwork, got {type(network).__name__}; "
            "for models there are sensitivity and fit"
        )
    if not network.coefficients:
        raise SbmlgradError("the network has no parameters to differentiate by")
    times = np.asarray(times, dtype=np.float64)
    check_times(times, start)
    check_seed(seed)
    inputs = inputs if inputs is None else network.inputs_of(inputs)
    items = 0 if inputs is None else len(jax.tree.leaves(inputs)[0])
    n = (items or 1000) if n is None else n
    check_size(n, max_events)
    if items and n % items:
        raise SimulationError(f"n: expected a multiple of the {items} items that are the inputs, got {n}")
    each = n // items if items else 0
    if each > 1:
        inputs = jax.tree.map(lambda leaf: np.repeat(leaf, each, axis=0), inputs)
    coefficients = network.coefficients if parameters is None else network.coefficients_of(parameters)
    if network.nonnegative and any(np.any(leaf < 0) for leaf in coefficients):
        network = replace(network, nonnegative=False)  # which was found for other values
    counts = _counts(network, x0, items, each)
    return Ensemble(network, counts, coefficients, times, n, seed, start, max_events, inputs=inputs)


def _counts(network: ReactionNetwork, x0: Any, items: int, each: int) -> Any:
    """Initial counts by species: numbers, or arrays of one for each trajectory."""
    if x0 is None:
        return network.x0
    counts, species = np.asarray(x0, np.float64), len(network.species)
    if counts.shape == (species,):
        return counts
    if not items or counts.shape != (items, species):
        expected = f"({species},)" + (f" or ({items}, {species})" if items else "")
        raise SbmlgradError(f"x0: expected initial counts of shape {expected}, got shape {counts.shape}")
    if np.any(counts != np.round(counts)):
        raise SbmlgradError("x0: expected whole numbers where items have counts of their own")
    return list(np.repeat(counts, each, axis=0).T)


def _objective(network: ReactionNetwork, function: Callable[..., Any]) -> Objective:
    """The functions, found to be callable and of the right shape; one and the same each time."""
    key = ("objective", function)
    if key not in network.compiled:
        try:
            point = (jnp.asarray(network.x0), dict(network.parameters), *network.given(network.inputs))
            shape = jax.eval_shape(lambda *point: jnp.asarray(function(*point)), *point).shape
        except SbmlgradError:
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0]
            arguments = "(x, parameters)" if network.inputs is None else "(x, parameters, inputs)"
            raise SbmlgradError(f"function: cannot be called with {arguments}: {reason}") from error
        if len(shape) > 1 or not all(shape):
            raise SbmlgradError(f"function: expected a scalar or an array of shape (functions,), got shape {shape}")
        network.compiled[key] = Objective(network, function)
    objective: Objective = network.compiled[key]
    return objective


def _layout(objective: Objective, ensemble: Ensemble, batch: int | None, estimator: str) -> tuple[int, int]:
    """How many groups there are, and how many trajectories, a multiple of it."""
    size = sum(leaf.nbytes for leaf in ensemble.coefficients)
    groups = min(ensemble.n, int(np.clip(_GROUPED_BYTES // size, _LEAST_GROUPS, _MOST_GROUPS)))
    if batch is None:
        most = _BATCH_BYTES // (8 * STEPS * numbers_per_state(objective, estimator == "straight_through"))
        batch = int(np.clip(most, groups, _LARGEST_BATCH))
    elif batch < 1:
        raise SbmlgradError(f"batch: expected at least 1 trajectory, got {batch}")
    batch_size = -(-ensemble.n // -(-ensemble.n // batch))  # batches of about the same size
    even = [count for count in range(groups, min(_LEAST_GROUPS, groups) - 1, -1) if batch_size % count == 0]
    size = batch_size // even[0] if even else max(1, batch_size // groups)
    groups = -(-batch_size // size)
    return groups, groups * size


def _replay(objective: Objective, ensemble: Ensemble, batch: int | None, estimator: str) -> Replay:
    """The compiled replay for a shape of run, made once."""
    cache, times = objective.network.compiled, len(ensemble.times)
    asked = ("layout", objective.function, ensemble.n, batch, estimator)
    if asked not in cache:
        cache[asked] = _layout(objective, ensemble, batch, estimator)
    groups, batch_size = cache[asked]
    key = ("replay", objective.function, batch_size, times, groups)
    if key not in cache:
        cache[key] = Replay(array_loop(objective.network, batch_size, times), objective, groups)
    replay: Replay = cache[key]
    return replay


def _forward(replay: Replay, ensemble: Ensemble, keep: bool) -> tuple[list[Batch], np.ndarray, int]:
    """All batches if they are kept, with checkpoints, the functions (times, functions, n) and the number of events."""
    batches, values, events = [], [], 0
    for batch in run_batches(ensemble, replay.loop, keep):
        seen = replay.values(batch.observed, ensemble.coefficients, batch.inputs)
        values.append(np.asarray(seen)[..., : batch.count])
        if keep:
            batches.append(replace(batch, observed=batch.observed[:0]) if replay.objective.of_state_alone else batch)
        events += batch.events
    return batches, np.concatenate(values, axis=-1), events


def _loss(loss: Callable[[Any], Any] | None, expectations: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss and its derivative by each expectation."""
    if loss is None:
        return float(expectations.sum()), np.ones_like(expectations)
    try:
        shape = jax.eval_shape(loss, expectations).shape
    except SbmlgradError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise SbmlgradError(
            f"loss: cannot be called with expectations of shape {expectations.shape} (times, functions): {reason}"
        ) from error
    if shape:
        raise SbmlgradError(f"loss: expected a function that returns one number, got an array of shape {shape}")
    value, cotangents = jax.value_and_grad(loss)(jnp.asarray(expectations))
    return float(value), np.asarray(cotangents)


def _backward(
    replay: Replay,
    ensemble: Ensemble,
    batches: list[Batch],
    values: np.ndarray,
    cotangents: np.ndarray,
    estimator: str,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Derivatives weighted with ``cotangents`` (times, functions): sums by group (groups, ...), and groups' sizes.

    Takes the batches out of their list, so that their checkpoints are given up one batch after the other.
    """
    others = (values.sum(axis=-1, keepdims=True) - values) / max(ensemble.n - 1, 1)
    scores = np.einsum("km,kmn->kn", cotangents, values - others)
    shared = (ensemble.times, ensemble.seed, ensemble.coefficients)
    # Where batches are too small to be dealt to enough groups, some batches have groups of their own.
    turns = min(len(batches), -(-_LEAST_GROUPS // replay.groups))
    sums = [np.zeros((turns, replay.groups, *np.shape(leaf))) for leaf in ensemble.coefficients]
    sizes = np.zeros((turns, replay.groups), np.int64)
    while batches:
        turn = (len(batches) - 1) % turns
        batch = batches.pop()
        inside = np.arange(replay.loop.batch_size) < batch.count
        if estimator == "straight_through":
            parts = [replay.straight_through(batch, cotangents, *shared)]
            states, weights = batch.start[None], cotangents.sum(axis=0)[None]
        else:
            padded = np.zeros((len(ensemble.times), replay.loop.batch_size))
            padded[:, : batch.count] = scores[:, batch.first : batch.first + batch.count]
            parts = [replay.score(batch, padded, *shared)]
            states, weights = batch.observed, cotangents
        if not replay.objective.of_state_alone:
            parts.append(replay.direct(states, weights[..., None] * inside, ensemble.coefficients, batch.inputs))
        for total, *leaves in zip(sums, *parts, strict=True):
            for leaf in leaves:
                total[turn] += np.asarray(leaf)
        sizes[turn] += inside.reshape(replay.groups, -1).sum(axis=1)
    return [total.reshape(-1, *total.shape[2:]) for total in sums], sizes.ravel()


def _mean_and_error(sums: Sequence[np.ndarray], sizes: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sums over groups of trajectories, and their standard errors from the spread between groups."""
    groups, shares = len(sizes), sizes / sizes.sum()
    totals, errors = [], []
    for parts in sums:
        total = parts.sum(axis=0)
        rest = parts - shares.reshape(-1, *[1] * total.ndim) * total
        totals.append(np.asarray(total))
        with np.errstate(invalid="ignore", divide="ignore"):
            errors.append(np.asarray(np.sqrt(np.sum(rest**2, axis=0) * np.float64(groups) / (groups - 1))))
    return totals, errors
