"""Ensembles of any size: chunks of trajectories on all cores, bounded memory, errors with names.

A trajectory's randomness depends on the seed and its own number alone, so how an ensemble is cut into chunks
does not change a bit of it.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.cores import cores
from sbmlgrad.errors import PropensityError, SimulationError, TruncationError
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.experiment import MAX_EVENTS, check_size, check_times, too_many
from sbmlgrad.simulation.progress import Progress
from sbmlgrad.simulation.random import Streams, streams
from sbmlgrad.simulation.shares import GRAIN, Span, Stop, devices, in_order, own_spans, portion
from sbmlgrad.simulation.ssa import BatchState, Kernel, PathFunctional, build_kernel, initial_count

_CACHE_BYTES = 1_600_000  # what a chunk's arrays may take: measured best where they stay near a core's L2 cache
_RANDOM_ARRAYS = 30  # of 8 bytes a trajectory: random numbers of a block, times and indices
_DEVICE_BYTES = 1 << 30  # what the state and the records of a chunk may take of a GPU's memory
_SEGMENT = 64  # observation times handled by one call of the loop: bounds memory and compile variants
_WINDOW = 4


@dataclass(frozen=True)
class Ensemble:
    """What to simulate: initial counts, coefficients, observation times, trajectories and seed.

    ``x0`` may hold fractions: a trajectory then starts from one of the two neighbouring whole numbers, so that
    the mean is right. It may also hold whole numbers for each trajectory, (n,) for a species. ``aux`` is handed to
    the path functional. ``inputs`` are what trajectories are given, a tree of arrays (n, ...), where they are not
    the network's own; only the loop of :mod:`sbmlgrad.simulation.replay` knows of them.
    """

    network: ReactionNetwork
    x0: Sequence[Any] | np.ndarray
    coefficients: tuple[Any, ...]
    times: np.ndarray
    n: int
    seed: int
    start: float = 0.0
    max_events: int = MAX_EVENTS
    functional: PathFunctional | None = None
    aux: Any = ()
    inputs: Any = None
    registers: bool | None = None
    """Whether the loop is that of :mod:`sbmlgrad.simulation.registers`; chosen by platform and size if None."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive trajectories: ``records[q]`` is (times, trajectories), counts first, then the functional's."""

    first: int
    records: tuple[np.ndarray, ...]
    events: int


@dataclass(frozen=True)
class DeviceChunk:
    """Consecutive trajectories, ``count`` from ``first`` on, whose records lie where they were simulated.

    ``records[q]`` is (times, batch), of a batch of whole grains; what is beyond the last trajectory means nothing.
    """

    first: int
    count: int
    records: tuple[jax.Array, ...]
    events: int


T = TypeVar("T")


def on_accelerator() -> bool:
    """Whether trajectories are simulated elsewhere than on the CPU, so that what comes from there is to be short."""
    return jax.default_backend() != "cpu"


def on_host() -> AbstractContextManager[Any]:
    """Within it small things are computed on the CPU, where that takes microseconds."""
    return jax.default_device(_host())


@cache
def _host() -> jax.Device | None:
    """The CPU, where JAX would go elsewhere and has it as well."""
    if not on_accelerator():
        return None
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # the user has left it out
        return None


def run_on_device(ensemble: Ensemble, take: Callable[[DeviceChunk], T], progress: str | None = None) -> Iterator[T]:
    """As :func:`run`, but records stay on the device, for what ``take`` makes of them there."""
    return _run(ensemble, take, progress)


def run(
    ensemble: Ensemble, progress: str | None = None, skip: int = 0, take: Callable[[Chunk], Any] | None = None
) -> Iterator[Any]:
    """Simulate chunk by chunk, in order, with as many chunks at work as there are cores.

    Gives each :class:`Chunk`, or what ``take`` makes of it where it was simulated. ``progress`` labels a progress bar,
    which shows only on a terminal and in a notebook. The first ``skip`` of the records are left out.

    Raises
    ------
    TruncationError
        if a trajectory needs more than ``max_events`` events.
    PropensityError
        if a propensity is negative or not finite.
    """

    def taken(chunk: DeviceChunk) -> Any:
        records = tuple(np.asarray(record)[:, : chunk.count] for record in chunk.records[skip:])
        own = Chunk(chunk.first, records, chunk.events)
        return own if take is None else take(own)

    return _run(ensemble, taken, progress)


def _run(ensemble: Ensemble, take: Callable[[DeviceChunk], T], progress: str | None) -> Iterator[T]:
    check_ensemble(ensemble)
    workers, kernel = _register_kernel(ensemble) or _plain_kernel(ensemble)
    keys, numbers = streams(ensemble.seed), len(ensemble.times) * (len(ensemble.x0) + _carried(ensemble))
    with Progress(progress, ensemble.n, ensemble.start, float(ensemble.times[-1])) as watch:

        def make(span: Span, stop: Stop) -> T:
            return take(_run_chunk(kernel, ensemble, keys, span, stop, watch))

        yield from in_order(make, own_spans(ensemble.n, kernel.batch_size, numbers), workers)


def layout(n: int, arrays: int, recorded: int | None = None) -> tuple[int, int]:
    """Worker threads and trajectories a chunk for an ensemble of ``n`` that carries so many ``arrays``.

    ``recorded`` is how many numbers a trajectory writes down, of a loop that keeps all else in registers.
    """
    n = portion(n)
    if recorded is not None:
        most = max(GRAIN, _DEVICE_BYTES // (8 * (recorded + arrays)) // GRAIN * GRAIN)
        return len(devices()), _round_up(-(-n // -(-n // most)), GRAIN)
    if on_accelerator():
        return len(devices()), min(1 << 17, _round_up(n, GRAIN))
    workers = cores()
    if n <= GRAIN:
        return 1, max(8, 1 << (n - 1).bit_length())
    largest = max(2 * GRAIN, _CACHE_BYTES // (8 * (arrays + _RANDOM_ARRAYS)) // GRAIN * GRAIN)
    chunks = -(-n // largest)
    if n > workers * 2 * GRAIN:
        chunks = _round_up(chunks, workers)
    return workers, _round_up(-(-n // chunks), GRAIN)


def _arrays(ensemble: Ensemble) -> int:
    """About how many arrays of trajectories a step of the loop goes through."""
    return 4 * len(ensemble.x0) + 2 * _carried(ensemble)


def _carried(ensemble: Ensemble) -> int:
    """How many arrays of trajectories the path functional carries."""
    if ensemble.functional is None:
        return 0
    column = tuple(np.zeros(1) for _ in ensemble.x0)
    return len(ensemble.functional.initial(column, ensemble.coefficients, ensemble.aux))


def _in_registers(ensemble: Ensemble) -> bool:
    """Whether the loop is one GPU kernel: asked for, or on a GPU where a trajectory is small enough."""
    if ensemble.registers is not None:
        return ensemble.registers
    if jax.default_backend() != "gpu":
        return False
    registers = import_module("sbmlgrad.simulation.registers")
    return registers.suits(ensemble.network, _carried(ensemble), (ensemble.coefficients, ensemble.aux))


class _Part(NamedTuple):
    """What of an ensemble a loop is at: its trajectories, and the index of the first time of the segment."""

    first: int
    size: int
    begin: int


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def check_ensemble(ensemble: Ensemble) -> None:
    """Raise :class:`SimulationError` for times, sizes and initial counts that make no sense."""
    check_times(np.asarray(ensemble.times), ensemble.start)
    check_size(ensemble.n, ensemble.max_events)
    if not all(np.all(np.isfinite(count) & (np.asarray(count) >= 0)) for count in ensemble.x0):
        raise SimulationError("initial counts: expected finite numbers that are not negative")


def _plain_kernel(ensemble: Ensemble) -> tuple[int, Kernel]:
    """Worker threads, and the loop that XLA compiles."""
    workers, batch_size = layout(ensemble.n, _arrays(ensemble))
    times, block = min(len(ensemble.times), _SEGMENT), _block(ensemble)
    key = (batch_size, times, block, ensemble.functional)
    cache = ensemble.network.compiled
    if key not in cache:
        cache[key] = build_kernel(ensemble.network, batch_size, times, block, _WINDOW, ensemble.functional)
    return workers, cache[key]


def _register_kernel(ensemble: Ensemble) -> tuple[int, Kernel] | None:
    """Worker threads, and the loop as one GPU kernel; None where it does not serve, or cannot be made."""
    cache, refused = ensemble.network.compiled, ("no register kernel", ensemble.functional)
    if not _in_registers(ensemble) or refused in cache:
        return None
    recorded = len(ensemble.times) * (len(ensemble.x0) + _carried(ensemble))
    workers, batch_size = layout(ensemble.n, _arrays(ensemble), recorded)
    times, block = min(len(ensemble.times), _SEGMENT), _block(ensemble)
    numbers = (ensemble.coefficients, ensemble.aux)
    key = (batch_size, times, block, ensemble.functional, jax.tree.structure(numbers))
    if key not in cache:
        registers = import_module("sbmlgrad.simulation.registers")  # Pallas takes long to import
        try:
            cache[key] = registers.build_kernel(
                ensemble.network, batch_size, times, block, ensemble.functional, numbers
            )
        except Exception:  # of many kinds: whatever there is no way to a kernel for
            cache[refused] = True
            return None
    return workers, cache[key]


def _block(ensemble: Ensemble) -> int:
    """Steps between looks at the observation times: fewer where observations come thick and fast."""
    rates = _propensities(ensemble, np.array([[np.mean(count)] for count in ensemble.x0]))
    spacing = (ensemble.times[-1] - ensemble.start) / len(ensemble.times)
    expected = float(rates.sum()) * spacing
    return 4 if expected < 8 else 8 if expected < 40 else 16


def _run_chunk(
    kernel: Kernel, ensemble: Ensemble, keys: Streams, span: Span, stop: Stop, watch: Progress
) -> DeviceChunk:
    first, count = span
    x0 = [_padded(value, first, kernel.batch_size) if np.ndim(value) else float(value) for value in ensemble.x0]
    state = kernel.start(x0, ensemble.coefficients, ensemble.aux, keys, first, ensemble.start)
    part = _Part(first, count, 0)
    segments = []
    for begin in range(0, len(ensemble.times), kernel.times):
        times = ensemble.times[begin : begin + kernel.times]
        padded = np.concatenate([times, np.full(kernel.times - len(times), times[-1])])
        state, draws = _finish_segment(kernel, ensemble, keys, state, padded, part._replace(begin=begin), stop, watch)
        segments.append([_rows(record, len(times)) for record in state.records])
    records = segments[0]
    if len(segments) > 1:
        concatenate = jnp.concatenate if on_accelerator() else np.concatenate
        records = [concatenate(rows) for rows in zip(*segments, strict=True)]
    visits = int(np.count_nonzero(np.diff(ensemble.times, prepend=ensemble.start)))
    return DeviceChunk(first, count, tuple(records), draws - visits * count)


def _rows(record: Any, count: int) -> Any:
    """The first rows of a record, which stay when the loop takes its state's memory for the next one."""
    if not on_accelerator():
        return np.asarray(record)[:count]
    return record[:count] if count < len(record) else jnp.copy(record)


def _padded(counts: Any, first: int, batch_size: int) -> np.ndarray:
    """The counts of the trajectories from ``first`` on; trajectories beyond the last repeat its count."""
    own = np.asarray(counts, np.float64)[first : first + batch_size]
    return np.concatenate([own, np.full(batch_size - len(own), own[-1])])


def initial_counts(means: Sequence[float], n: int, seed: int) -> list[np.ndarray]:
    """Whole initial counts (n,) of each species with these means, as an ensemble of that seed draws them."""
    keys, trajectory = streams(seed), np.arange(n).astype(np.uint32)
    return [initial_count(float(mean), keys, trajectory, i) for i, mean in enumerate(means)]


def _finish_segment(
    kernel: Kernel,
    ensemble: Ensemble,
    keys: Streams,
    state: BatchState,
    times: np.ndarray,
    part: _Part,
    stop: Stop,
    watch: Progress,
) -> tuple[BatchState, int]:
    """Call the loop until all trajectories are through, in calls short enough to interrupt and to watch.

    Gives the state and the random draws used by all trajectories so far.
    """
    first, count, begin = part
    state, blocks = state._replace(position=kernel.begin(count)), 64
    while True:
        before = clock.perf_counter()
        state = kernel.advance(
            state,
            times,
            ensemble.coefficients,
            ensemble.aux,
            keys,
            np.uint32(first),
            np.int64(blocks),
            np.float32(1.0),
        )
        done, broken, most, draws = jax.device_get(kernel.progress(state))
        if broken and np.any(np.asarray(state.broken)[:count]):
            raise propensity_error(ensemble, state, first, count)
        if most > min(ensemble.max_events, MAX_EVENTS) // 100:
            check_effort(ensemble, state, first, count, begin, bool(done))
        if watch.shown:
            watch.tell(first, np.asarray(state.time)[:count])
        if done:
            return state, int(draws)
        if stop.asked:
            raise SimulationError("the simulation was stopped")
        if clock.perf_counter() - before < 0.25:
            blocks *= 2


def check_effort(ensemble: Ensemble, state: BatchState, first: int, count: int, begin: int, done: bool) -> None:
    """Refuse trajectories that have used up their events, or clearly will.

    The forecast, present total propensity times remaining time, counts only once a hundredth of the allowance
    is spent, so that a short burst at the start is no reason to stop.
    """
    visits = begin + np.asarray(state.position)[:count]  # observations take a draw too, but are no events
    events = np.maximum(np.asarray(state.draws)[:count].astype(np.float64) - visits, 0.0)
    time = np.asarray(state.time)[:count]
    x = np.stack([np.asarray(row)[:count] for row in state.x])
    totals = _propensities(ensemble, x, first).sum(axis=0)
    forecast = events + (0.0 if done else totals * (ensemble.times[-1] - time))
    if forecast.max() > ensemble.max_events:
        column = int(np.argmax(forecast))
        at = Whereabouts(first + column, float(time[column]), float(events[column]), x[:, column])
        raise too_many_events(ensemble, at, float(forecast[column]))


def propensity_error(ensemble: Ensemble, state: BatchState, first: int, count: int) -> PropensityError:
    """What to say of the first broken trajectory among the ``count`` from trajectory ``first`` on."""
    column = int(np.argmax(np.asarray(state.broken)[:count]))
    x = np.array([[float(row[column])] for row in state.x])
    at = Whereabouts(first + column, float(state.time[column]), float(state.draws[column]), x[:, 0])
    return broken_law(ensemble.network, at, _propensities(ensemble, x, first + column)[:, 0])


class Whereabouts(NamedTuple):
    """Where a trajectory is: its number, the time, how many reactions have fired, and counts (species,)."""

    trajectory: int
    time: float
    fired: float
    x: np.ndarray


def broken_law(network: ReactionNetwork, at: Whereabouts, values: np.ndarray) -> PropensityError:
    """What to say of propensities (reactions,), of which one is negative or not finite."""
    worst = int(np.argmax(~(values >= 0) | ~np.isfinite(values)))
    counts = ", ".join(f"{s}={v:.6g}" for s, v in zip(network.species, at.x, strict=True))
    return PropensityError(
        f"reaction {network.reactions[worst]!r}: its propensity is {values[worst]:g} at time "
        f"{at.time:g} in trajectory {at.trajectory} ({_shortened(counts)}); exact simulation needs "
        "finite laws that are not negative: write a reversible law as two reactions, or check its parameters"
    )


def too_many_events(ensemble: Ensemble, at: Whereabouts, forecast: float) -> TruncationError:
    """What to say of a trajectory that heads for more reactions than are allowed."""
    largest = int(np.argmax(at.x))
    return TruncationError(
        f"trajectory {at.trajectory}: at time {at.time:g} {at.fired:.3g} reactions have fired and it "
        f"heads for {forecast:.3g}, more than the {ensemble.max_events:.3g} allowed; species "
        f"{ensemble.network.species[largest]!r} is at {at.x[largest]:.6g} molecules. "
        "If it should not explode, check the rates",
        *too_many(forecast),
    )


def _shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[:most] + " ..."


def _propensities(ensemble: Ensemble, x: np.ndarray, first: int = 0) -> np.ndarray:
    """Propensities (reactions, batch) at counts (species, batch) of the trajectories from ``first`` on."""
    network = ensemble.network
    if ensemble.inputs is None:
        return propensities_of(network, ensemble.coefficients, x)
    inputs = jax.tree.map(lambda leaf: leaf[first : first + x.shape[1]], ensemble.inputs)
    of_each = jax.vmap(lambda state, given: network.propensities_at(state, ensemble.coefficients, given), (1, 0), 1)
    with on_host():
        return np.asarray(of_each(x, inputs))


def propensities_of(network: ReactionNetwork, coefficients: Sequence[Any], x: np.ndarray) -> np.ndarray:
    """Propensities (reactions, batch) at counts (species, batch)."""
    assert network.rates is not None
    compiled = network.compiled
    if "propensities" not in compiled:
        compiled["propensities"] = jax.jit(network.rates)
    with on_host():
        values = compiled["propensities"](tuple(x), tuple(coefficients))
        return stacked(values, x.shape[1:])


def stacked(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """One array (values, *shape) of what a function of the state returns; constants are spread out."""
    if not values:
        return np.zeros((0, *shape))
    return np.stack([np.broadcast_to(np.asarray(value), shape) for value in values])
