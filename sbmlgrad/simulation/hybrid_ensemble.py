"""Ensembles of trajectories that flow and jump: models with events, rate rules, laws over time, random numbers.

As in plain simulation, a trajectory's randomness depends on the seed and its own number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sbmlgrad.model.model import Model
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.simulation.deterministic import landmarks, with_values
from sbmlgrad.simulation.direct import DirectMethod
from sbmlgrad.simulation.distributions import expected, sample
from sbmlgrad.simulation.dynamics import of_process
from sbmlgrad.simulation.ensemble import layout
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.failures import MOST_SLOTS, check_drawn, check_effort, failure
from sbmlgrad.simulation.flow import Trajectory
from sbmlgrad.simulation.path import (
    DONE,
    QUEUE_FULL,
    RUNNING,
    Marks,
    Path,
    Realisation,
    Settings,
)
from sbmlgrad.simulation.processes import of_first
from sbmlgrad.simulation.progress import Progress
from sbmlgrad.simulation.random import Streams, key, streams
from sbmlgrad.simulation.shares import Span, gathered, own_spans
from sbmlgrad.simulation.solvers import ROSENBROCK, DormandPrince, Euler
from sbmlgrad.simulation.sparse_direct import SparseDirect
from sbmlgrad.simulation.ssa import compiler_options

T = TypeVar("T")

_INITIAL = 2**32 - 1  # the draw of what is random at the start, which no event counts up to
_STEPS_A_CALL = 4096  # so that an interrupt and the limit on events are seen
_STEPS_AN_EVENT = 50  # attempts of the explicit solver for each reaction, beyond which the equations are stiff
_STIFF = 10_000  # fastest rate times duration: the explicit solver would take a third as many steps


@dataclass(frozen=True)
class HybridChunk:
    """Consecutive trajectories: observables (observables, times, trajectories), and states (variables, ...)."""

    first: int
    observed: np.ndarray
    states: np.ndarray
    events: int
    fractions: np.ndarray  # (2, variables) whether numbers of molecules were not whole: at the start, at events


@dataclass(frozen=True)
class ScoredChunk:
    """Consecutive trajectories with derivatives in some directions.

    ``observed`` (observables, times, trajectories), its derivatives ``slopes`` (directions, observables, times,
    trajectories) with the reactions' times held, and the ``scores`` (directions, times, trajectories), derivatives of
    the logarithm of the density of all reactions up to a time. ``martingales`` (martingales, times, trajectories) are
    those of the settings, and ``gains`` (directions, martingales, times, trajectories) are expected of the score times
    each. ``missed`` (directions,) says whether a propensity that is 0 has a derivative, which no score shows.
    """

    first: int
    observed: np.ndarray
    slopes: np.ndarray
    scores: np.ndarray
    martingales: np.ndarray
    gains: np.ndarray
    missed: np.ndarray
    fractions: np.ndarray


def prepare_hybrid(
    model: Model, parameters: Mapping[str, float] | None, select: Sequence[str] | None
) -> tuple[HybridModel, np.ndarray]:
    """The jump process of a model and a vector of all quantities, for these values of some of them."""

    def build(changed: Model) -> HybridModel:
        key = ("jump process", tuple(select) if select is not None else None)
        if key not in changed.derived:
            changed.derived[key] = jump_process(chemistry_of(changed), select)
        process: HybridModel = changed.derived[key]
        return process

    values = dict(parameters or {})
    structural = chemistry_of(model).structural
    if any(name in structural for name in values):  # they make other jumps
        model, values = model.with_parameters(values), {}
    process, quantities = with_values(model, values, build)
    if values and of_process(process, quantities).turned:
        return with_values(model.with_parameters(values), {}, build)
    return process, quantities


def run_hybrid(
    model: HybridModel,
    quantities: np.ndarray,
    experiment: Experiment,
    settings: Settings,
    progress: str | None = None,
    take: Callable[[HybridChunk], Any] | None = None,
) -> Iterator[Any]:
    """Simulate chunk by chunk, in order; a solver that suits is chosen where the settings have none.

    The model observes what the experiment asks for, and the quantities are its condition. Gives each
    :class:`HybridChunk`, or what ``take`` makes of it where it was simulated.

    Raises
    ------
    TruncationError
        if more reactions fire in a trajectory than are allowed, or it needs more steps of the solver than are allowed.
    PropensityError
        if a propensity is negative or not finite.
    SimulationError
        if the flow cannot be followed, or an initial value is missing.
    """
    settings = _suited(model, quantities, experiment, settings)
    n, start, times = experiment.n, experiment.start, experiment.times
    workers, batch_size = layout(n, _arrays(model, settings))
    keys = streams(experiment.seed)
    with Progress(progress, n, start, float(times[-1])) as watch:
        marks = Marks(jnp.asarray(times), landmarks(model, quantities, start, times)[0])
        run = partial(_run_chunk, model, quantities, marks, batch_size, keys, start, experiment.max_events, watch)

        def one(settings: Settings, span: Span) -> tuple[Settings, Any]:
            used, chunk = run(settings, span)
            return used, chunk if take is None else take(chunk)

        spans = own_spans(n, batch_size, len(times) * len(model.variables))
        yield from gathered(_in_order(one, settings, list(chain(*spans)), workers), spans)


def _in_order(
    one: Callable[[Settings, Span], tuple[Settings, T]], settings: Settings, spans: Sequence[Span], workers: int
) -> Generator[T]:
    """What ``one`` makes of chunks, with the settings that serve the first of the ensemble.

    As many run at once as there are workers, those beside the first one on trust: they run again where it has found
    other settings, so that a chunk does not depend on how long another takes.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(spans)
        pending = [pool.submit(one, settings, span) for span in islice(waiting, workers)]
        try:
            slots, switched = of_first(lambda: _learned(pending[0].result()[0] if pending else settings))
            found = replace(settings, slots=slots)
            if switched and settings.instead is not None:
                found = replace(found, solver=settings.instead, instead=None)
            if found != settings:
                for future in pending[1:]:
                    future.cancel()
                pending = [future for future in pending[:1] if future.result()[0] == found]
                waiting = iter(spans[len(pending) :])
            while True:
                pending += [pool.submit(one, found, span) for span in islice(waiting, 1 + workers - len(pending))]
                if not pending:
                    return
                yield pending.pop(0).result()[1]
        finally:
            for future in pending:
                future.cancel()


def _learned(settings: Settings) -> tuple[int, bool]:
    """What a chunk may have changed in its settings: how much room there is, and whether the solver is another."""
    return settings.slots, settings.instead is None


def run_scored(
    model: HybridModel,
    quantities: np.ndarray,
    directions: np.ndarray,
    experiment: Experiment,
    settings: Settings,
) -> Iterator[ScoredChunk]:
    """The trajectories of :func:`run_hybrid` with derivatives along ``directions`` (directions, quantities).

    The settings say which martingales are kept. The quantities must move neither numbers of molecules nor times at
    which a law or the state jumps.

    Raises as :func:`run_hybrid` does.
    """
    settings = replace(_suited(model, quantities, experiment, settings), scored=True)
    n, start, times, max_events = experiment.n, experiment.start, experiment.times, experiment.max_events
    _, batch_size = layout(n, _arrays(model, settings) * (len(directions) + 1))
    marks = Marks(jnp.asarray(times), landmarks(model, quantities, start, times)[0])
    fixed = (jnp.asarray(quantities), jnp.asarray(directions), marks, streams(experiment.seed))
    one = partial(_run_scored_chunk, model, fixed, batch_size, start, max_events)
    numbers = len(times) * (1 + len(directions)) * (len(model.observables) + 2 + len(settings.martingales))
    spans = own_spans(n, batch_size, numbers)
    return gathered(_in_order(one, settings, list(chain(*spans)), workers=1), spans)


def _run_scored_chunk(
    model: HybridModel,
    fixed: tuple[Any, ...],
    batch_size: int,
    start: float,
    max_events: int,
    settings: Settings,
    span: Span,
) -> tuple[Settings, ScoredChunk]:
    """Some trajectories, with the settings under which they came to their end."""
    first, count = span
    trajectory = jnp.asarray((first + np.arange(batch_size)).astype(np.uint32))
    while True:
        run = _compiled_scores(model, settings)
        (values, slopes), paths, coefficients = run(*fixed, trajectory, count, jnp.float64(start), max_events)
        other = _other_settings(model, settings, paths, coefficients, first, count, max_events)
        if other is None:
            break
        settings = other
    values, slopes = np.asarray(values)[..., :count], np.asarray(slopes)[..., :count]
    size = len(values) - 2 - len(settings.martingales)
    return settings, ScoredChunk(
        first,
        observed=values[:size],
        slopes=slopes[:, :size],
        scores=slopes[:, size],
        martingales=values[size + 2 :],
        gains=-slopes[:, size + 2 :],  # what is expected of a martingale is all of it that has a derivative
        missed=np.any(slopes[:, size + 1] != 0, axis=(1, 2)),
        fractions=_fractions(paths, count),
    )


def _compiled_scores(model: HybridModel, settings: Settings) -> Any:
    """Observables, the logarithm of the density, and the martingales (rows, times, batch), with their derivatives."""
    key = ("scores", settings)
    if key not in model.compiled:

        def run(
            quantities: Array,
            directions: Array,
            marks: Marks,
            keys: Streams,
            trajectory: Array,
            count: Array,
            begin: Array,
            max_events: Array,
        ) -> Any:
            def whole(quantities: Array) -> Any:
                paths, coefficients, records = _begin(model, settings, quantities, marks, keys, trajectory, begin)
                idle = jnp.arange(len(trajectory)) >= count
                paths = paths._replace(status=jnp.where(idle, DONE, paths.status))
                paths, records = _loop(model, settings)(
                    paths, records, coefficients, marks, keys, trajectory, max_events=max_events
                )
                size = len(model.variables)
                seen = _observe(model, records[..., :size], coefficients, marks.times)
                return jnp.concatenate([seen, jnp.moveaxis(records[..., size:], -1, 0)]), (paths, coefficients)

            def push(direction: Array) -> Any:
                return jax.jvp(whole, (quantities,), (direction,), has_aux=True)

            values, slopes, (paths, coefficients) = jax.vmap(push, out_axes=(None, 0, None))(directions)
            return (values, slopes), paths, coefficients

        model.compiled[key] = jax.jit(run, compiler_options=compiler_options())
    return model.compiled[key]


def _run_chunk(
    model: HybridModel,
    quantities: np.ndarray,
    marks: Marks,
    batch_size: int,
    keys: Streams,
    start: float,
    max_events: int,
    watch: Progress,
    settings: Settings,
    span: Span,
) -> tuple[Settings, HybridChunk]:
    """Some trajectories, with the settings under which they came to their end."""
    first, count = span
    trajectory = (first + np.arange(batch_size)).astype(np.uint32)
    fixed = (jnp.asarray(quantities), marks, keys, jnp.asarray(trajectory))
    while True:
        begin, advance, observe = _compiled(model, settings)
        paths, coefficients, records = begin(*fixed, jnp.float64(start))
        # those beyond the last trajectory have nothing to do; one that failed would stop all others
        paths = paths._replace(status=jnp.where(jnp.arange(batch_size) < count, paths.status, DONE))
        while True:
            paths, records = advance(paths, records, coefficients, *fixed[1:])
            if watch.shown:
                watch.tell(first, np.asarray(paths.time)[:count])
            other = _other_settings(model, settings, paths, coefficients, first, count, max_events)
            if other is not None or not np.any(np.asarray(paths.status)[:count] == RUNNING):
                break
        if other is None:
            observed = np.asarray(observe(records, coefficients, marks.times))[..., :count]
            states = np.asarray(records).transpose(2, 0, 1)[..., :count]
            fired = int(np.asarray(paths.draws)[:count].sum())
            return settings, HybridChunk(first, observed, states, fired, _fractions(paths, count))
        settings = other


def _other_settings(
    model: HybridModel, settings: Settings, paths: Path, coefficients: Array, first: int, count: int, max_events: int
) -> Settings | None:
    """Those to run with instead, from the start; None where these serve. Raises where none do."""
    status = np.asarray(paths.status)[:count]
    check_drawn(model, paths, coefficients, first, count)
    check_effort(model, paths, first, count, max_events)
    worst = int(status.max())
    if worst == QUEUE_FULL and settings.slots < MOST_SLOTS:
        return replace(settings, slots=8 * settings.slots)
    if settings.instead is not None and bool(np.any(_out_of_proportion(paths)[:count])):
        return replace(settings, solver=settings.instead, instead=None)
    if worst > DONE:
        raise failure(model, paths, coefficients, first, int(np.argmax(status == worst)), worst, settings)
    return None


def _fractions(paths: Path, count: int) -> np.ndarray:
    start = np.asarray(paths.fractions)[:count]
    events = np.zeros_like(start) if paths.pending is None else np.asarray(paths.pending.fractions)[:count]
    return np.stack([start.any(axis=0), events.any(axis=0)])


def _suited(model: HybridModel, quantities: np.ndarray, experiment: Experiment, settings: Settings) -> Settings:
    """The settings with what suits the model where they leave it open: a solver, or none at all."""
    settings = replace(settings, slots=_slots(model))
    if model.stepwise is not None:
        return replace(settings, solver=None)
    if model.piecewise_constant:
        return replace(settings, solver=Euler())
    if settings.solver is not None:
        return settings
    if _is_stiff(model, quantities, float(experiment.times[-1]) - experiment.start):
        return replace(settings, solver=ROSENBROCK)
    return replace(settings, solver=DormandPrince(), instead=ROSENBROCK)


def _is_stiff(model: HybridModel, quantities: np.ndarray, span: float) -> bool:
    """Whether the flow is stiff at the start."""
    begin = jnp.zeros(())
    state, coefficients = model.start(jnp.asarray(quantities), expected)
    rates = np.asarray(jax.jacfwd(lambda y: model.flow(begin, y, coefficients))(state))
    fastest = np.max(np.abs(np.linalg.eigvals(np.where(np.isfinite(rates), rates, 0.0))), initial=0.0)
    return bool(fastest * span > _STIFF)


def _arrays(model: HybridModel, settings: Settings) -> int:
    """About how many arrays of trajectories a step of the loop goes through."""
    each = 4 if settings.solver is None or settings.solver.is_exact else 16
    return each * (len(model.variables) + 1) + len(model.channels)


def _slots(model: HybridModel) -> int:
    """How many executions of an event there is room for at first."""
    waiting = model.delays is not None or (model.events is not None and bool(model.events.delayed.any()))
    return 4 if waiting else 1


def _out_of_proportion(paths: Path) -> Array:
    """Whether steps (batch,) are so many more than reactions that the equations must have become stiff."""
    return paths.steps > _STEPS_AN_EVENT * (paths.draws + 1000.0)


def _compiled(model: HybridModel, settings: Settings) -> tuple[Any, Any, Any]:
    key = ("hybrid", settings)
    if key not in model.compiled:
        options = compiler_options()
        loop = _loop(model, settings)
        if settings.as_data is None:
            loop = jax.jit(loop, donate_argnums=(0, 1), compiler_options=options)
        functions = (
            jax.jit(partial(_begin, model, settings), compiler_options=options),
            loop,
            jax.jit(partial(_observe, model), compiler_options=options),
        )
        model.compiled.setdefault(key, functions)  # two chunks may ask at once; what both get compiles once
    kept: tuple[Any, Any, Any] = model.compiled[key]
    return kept


def _loop(model: HybridModel, settings: Settings) -> Any:
    """What takes paths on: ``advance(paths, records, coefficients, marks, keys, trajectory)``."""
    if settings.as_data is not None:
        return SparseDirect(model, settings).advance
    if settings.solver is None:
        return DirectMethod(model, settings).advance
    return partial(_advance, model, settings)


def _begin(
    model: HybridModel,
    settings: Settings,
    quantities: Array,
    marks: Marks,
    keys: Streams,
    trajectory: Array,
    begin: Array,
) -> tuple[Path, Array, Array]:
    """Paths, coefficients (batch, coefficients), and records (times, batch, variables) at the start."""

    def one(number: Array) -> tuple[Path, Array, Array]:
        random = partial(sample, key(keys.drawing, number, jnp.full((), _INITIAL, jnp.uint32)))
        state, coefficients = model.start(quantities, random)
        path = Trajectory(model, settings, marks, Realisation(coefficients, keys, number)).start(state, begin)
        return path, coefficients, path.state[: len(model.variables)]

    paths, coefficients, states = jax.vmap(one)(trajectory)
    if settings.scored:
        states = jnp.pad(states, ((0, 0), (0, 2 + len(settings.martingales))))
    records = jnp.zeros((len(marks.times), *states.shape))
    return paths, coefficients, records.at[0].set(states)


def _advance(
    model: HybridModel,
    settings: Settings,
    paths: Path,
    records: Array,
    coefficients: Array,
    marks: Marks,
    keys: Streams,
    trajectory: Array,
    max_events: Array | None = None,
) -> tuple[Path, Array]:
    """Some steps of all trajectories, until all are at their end or one has failed.

    Where nobody looks in between, as for scores, there are ``max_events`` instead of a number of steps.
    """
    columns, size = jnp.arange(len(trajectory)), len(model.variables)

    def one(path: Path, coefficients: Array, number: Array) -> Path:
        return Trajectory(model, settings, marks, Realisation(coefficients, keys, number)).advance(path)

    def go_on(loop: tuple[Array, Path, Array]) -> Array:
        count, paths, _ = loop
        going = jnp.any(paths.status == RUNNING) & ~jnp.any(paths.status > DONE)
        if max_events is None:
            return (count < _STEPS_A_CALL) & going
        stiff = jnp.zeros((), bool) if settings.instead is None else jnp.any(_out_of_proportion(paths))
        return going & ~stiff & jnp.all(paths.draws <= max_events)

    def step(loop: tuple[Array, Path, Array]) -> tuple[Array, Path, Array]:
        count, paths, records = loop
        paths = jax.vmap(one)(paths, coefficients, trajectory)

        def write(records: Array) -> Array:
            row = jnp.where(paths.observed, paths.position - 1, len(marks.times))
            state = paths.state[:, :size]
            if paths.weight is not None and paths.missed is not None and paths.martingales is not None:
                density = paths.weight - paths.state[:, -1]
                state = jnp.column_stack([state, density, paths.missed, paths.martingales])
            return records.at[row, columns].set(state, mode="drop")

        records = lax.cond(jnp.any(paths.observed), write, lambda records: records, records)
        return count + 1, paths, records

    return lax.while_loop(go_on, step, (jnp.zeros((), jnp.int32), paths, records))[1:]


def _observe(model: HybridModel, records: Array, coefficients: Array, times: Array) -> Array:
    """Observables (observables, times, batch)."""

    def one(time: Array, state: Array, coefficients: Array) -> Array:
        return model.observe(time, state, coefficients)

    over_batch = jax.vmap(one, in_axes=(None, 0, 0))
    return jax.vmap(over_batch, in_axes=(0, 0, None))(times, records, coefficients).transpose(2, 0, 1)
