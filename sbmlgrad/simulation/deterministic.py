"""The deterministic twin: a model's differential equations, solved in float64 with its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from threadpoolctl import ThreadpoolController

from sbmlgrad.errors import SimulationError, TruncationError
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.assembly import rate_equations
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.rate_equations import equations_of_network, flat
from sbmlgrad.simulation.failures import restless, too_many_steps
from sbmlgrad.simulation.flow import Trajectory
from sbmlgrad.simulation.path import (
    DONE,
    ENDLESS_EVENTS,
    QUEUE_FULL,
    RESTLESS_EVENTS,
    RUNNING,
    STUCK,
    TOO_MANY_STEPS,
    Marks,
    Path,
    Realisation,
    Settings,
)
from sbmlgrad.simulation.random import Streams, streams
from sbmlgrad.simulation.solvers import Euler
from sbmlgrad.simulation.ssa import compiler_options

_MOST_SLOTS = 4096
_MANY_STEPS = 200_000  # beyond, it is time to ask what rounding does
_THREADS_FROM = 100
SETTINGS = Settings()


def equations(model: Model, select: Sequence[str] | None = None) -> HybridModel:
    """The differential equations of a model, made once for each choice of observables."""
    key = ("equations", tuple(select) if select is not None else None)
    if key not in model.derived:
        model.derived[key] = rate_equations(model, select)
    process: HybridModel = model.derived[key]
    return process


def prepare_equations(
    model: Model | ReactionNetwork, parameters: Mapping[str, Any] | None, select: Sequence[str] | None
) -> tuple[HybridModel, np.ndarray]:
    """The equations and a vector of all quantities, for these values of some of them."""
    if isinstance(model, ReactionNetwork):
        return _prepare_network(model, parameters or {}, select)
    return with_values(model, parameters, lambda changed: equations(changed, select))


def _prepare_network(
    network: ReactionNetwork, parameters: Mapping[str, Any], select: Sequence[str] | None
) -> tuple[HybridModel, np.ndarray]:
    names = network.species if select is None else tuple(select)
    network.check_names(parameters, names)
    key = ("equations", names)
    if key not in network.compiled:
        network.compiled[key] = equations_of_network(network, names)
    return network.compiled[key], flat(network.coefficients_of({**network.parameters, **parameters}))


def with_values(
    model: Model, parameters: Mapping[str, float] | None, make: Callable[[Model], HybridModel]
) -> tuple[HybridModel, np.ndarray]:
    """What is made of a model, and a vector of its quantities, for these values of some of them."""
    process, changes = make(model), dict(parameters or {})
    if any(name not in process.quantities for name in changes):
        process, changes = make(model.with_parameters(changes)), {}
    return process, np.array([float(changes.get(name, value)) for name, value in process.quantities.items()])


def solve(
    model: HybridModel,
    quantities: np.ndarray,
    times: np.ndarray,
    start: float = 0.0,
    seed: int = 0,
    settings: Settings = SETTINGS,
) -> np.ndarray:
    """Observables (observables, times) along the solution.

    Raises
    ------
    SimulationError
        if a variable has no initial value, becomes infinite, or cannot be followed; names variable and time.
    TruncationError
        if it takes more steps than the settings allow.
    """
    return np.asarray(_solution(model, quantities, times, start, seed, settings)[0]).T


def steps_taken(model: HybridModel, quantities: np.ndarray, times: np.ndarray, start: float = 0.0) -> int:
    """How many steps, tried ones included, :func:`solve` takes."""
    return int(_solution(model, quantities, times, start, 0, SETTINGS)[1].steps)


def _solution(
    model: HybridModel, quantities: np.ndarray, times: np.ndarray, start: float, seed: int, settings: Settings
) -> tuple[Any, Path]:
    """Observables (times, observables), and where the trajectory ended."""
    marks = landmarks(model, quantities, start, times)
    fixed = (jnp.asarray(quantities), jnp.asarray(times), marks, jnp.float64(start), streams(seed))
    return _to_the_end(model, settings, lambda s: _compiled(model, s)(s.relative, *fixed))


def landmarks(model: HybridModel, quantities: np.ndarray, start: float, times: np.ndarray) -> tuple[Array, Array]:
    """Times (k,) of what depends on time alone, and the switch (k,) behind each; see :class:`Landmarks`.

    The last ones are kept: they are looked for before a run and in it.
    """
    if model.landmarks is None:
        return jnp.zeros(0), jnp.zeros(0, jnp.int64)
    key = (np.asarray(quantities, np.float64).tobytes(), start, float(times[-1]))
    kept, marks = model.compiled.get("landmarks", (None, None))
    if kept != key:
        found = model.landmarks.find(quantities, start, float(times[-1]))
        marks = jnp.asarray(found[0]), jnp.asarray(found[1])
        model.compiled["landmarks"] = key, marks
    assert marks is not None
    return marks


def sensitivities(
    model: HybridModel,
    quantities: np.ndarray,
    indices: Sequence[int],
    times: np.ndarray,
    start: float = 0.0,
    settings: Settings = SETTINGS,
) -> tuple[np.ndarray, np.ndarray]:
    """Observables (observables, times) and their derivatives (indices, observables, times) by some quantities."""
    directions = np.zeros((len(indices), len(quantities)))
    directions[np.arange(len(indices)), list(indices)] = 1.0
    return directional(model, quantities, directions, times, start, settings)


def directional(
    model: HybridModel,
    quantities: np.ndarray,
    directions: np.ndarray,
    times: np.ndarray,
    start: float = 0.0,
    settings: Settings = SETTINGS,
) -> tuple[np.ndarray, np.ndarray]:
    """Observables (observables, times) and their derivatives (directions, observables, times) along some directions
    (directions, quantities).

    Forward mode through the solver's steps, with the times of events differentiated too.
    """
    fixed = (jnp.asarray(times), landmarks(model, quantities, start, times), jnp.float64(start), streams(0))
    moving = (jnp.asarray(quantities), jnp.asarray(directions))
    (values, slopes), _ = _to_the_end(
        model, replace(settings, sensitive=True), lambda s: _compiled_tangents(model, s)(s.relative, *moving, *fixed)
    )
    return np.asarray(values).T, np.asarray(slopes).swapaxes(1, 2)


def _to_the_end(
    model: HybridModel, settings: Settings, run: Callable[[Settings], tuple[Any, Path]]
) -> tuple[Any, Path]:
    """The result of a run with settings under which it comes to its end."""
    most, settings = settings.most_steps, _suited(model, settings)
    exact = settings.solver is not None and settings.solver.is_exact
    if not exact:
        settings = replace(settings, most_steps=min(most, _MANY_STEPS))
    while True:
        with _one_thread(model):
            result, path = run(settings)
            status = int(path.status)
        if status == DONE:
            return result, path
        if status == QUEUE_FULL and settings.slots < _MOST_SLOTS:
            settings = replace(settings, slots=8 * settings.slots)
        elif status in (STUCK, TOO_MANY_STEPS) and not (settings.careful or exact):
            settings = replace(settings, careful=True, most_steps=most)  # rounding may be what cannot be followed
        else:
            raise _failure(model, path, status, settings)


@contextmanager
def _one_thread(model: HybridModel) -> Iterator[None]:
    """Linear algebra on one thread: at this size, threads of OpenBLAS wait for each other a hundred times longer than
    they work, wherever cores are busy. It asks for them from about 130 equations on.
    """
    if len(model.variables) < _THREADS_FROM:
        yield
        return
    with _linear_algebra().limit(limits=1, user_api="blas"):
        yield


@cache
def _linear_algebra() -> ThreadpoolController:
    import scipy.linalg.cython_lapack  # noqa: F401  JAX calls it, and only what is loaded can be controlled

    return ThreadpoolController()


def _suited(model: HybridModel, settings: Settings) -> Settings:
    """The settings with the exact solver where nothing flows."""
    return replace(settings, solver=Euler()) if model.piecewise_constant else settings


def _trajectory(
    model: HybridModel,
    settings: Settings,
    quantities: Any,
    times: Any,
    marks: tuple[Array, Array],
    start: Any,
    keys: Streams,
) -> tuple[Any, Path]:
    """Observables (times, observables), and where the trajectory ended."""
    state, coefficients = model.start(quantities)
    realisation = Realisation(coefficients, keys, jnp.zeros((), jnp.uint32))
    landmarks, switches = marks
    if settings.sensitive and model.landmarks is not None:
        landmarks = model.landmarks.moving(landmarks, switches, len(state), coefficients)
    path, states = _follow(Trajectory(model, settings, Marks(times, landmarks), realisation), state, start)

    def observe(time: Any, record: Any) -> Any:
        state, delayed = record[: len(model.variables)], record[len(model.variables) :]
        now = coefficients if model.delays is None else coefficients.at[model.delays.indices].set(delayed)
        return model.observe(time, state, now)

    return jax.vmap(observe)(times, states), path


def _follow(trajectory: Trajectory, state: Array, begin: Array) -> tuple[Path, Array]:
    """One trajectory from ``state`` to its end: where it ended, and at all times the state and, after it, the values
    of the past that formulas need then (times, variables + delays).
    """
    size, times = trajectory.size, len(trajectory.times)

    def write(path: Path, records: Array) -> Array:
        row = jnp.where(path.observed, path.position - 1, times)
        record = jnp.concatenate([trajectory.observed_state(path), trajectory.delayed(path)])
        return records.at[row].set(record, mode="drop")

    def go_on(loop: tuple[Path, Array]) -> tuple[Path, Array]:
        path = trajectory.advance(loop[0])
        return path, write(path, loop[1])

    path = trajectory.start(state, begin)
    first = write(path, jnp.zeros((times, size + len(trajectory.delayed(path)))))
    return lax.while_loop(lambda loop: loop[0].status == RUNNING, go_on, (path, first))


@cache
def quick_to_compile(threads: bool = False) -> dict[str, Any] | None:
    """XLA options for a program that runs once or a few times: these halve the time to compile it, or better.

    Without XLA's emitters of fused loops it runs no slower, where it is small operations on small arrays, or what
    reads far apart in memory. With ``threads``, all cores work on an operation of a large array.
    """
    options = compiler_options()
    if options is None:
        return None
    if threads:
        options = {}
    quick = {**options, "xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
    try:
        jax.jit(lambda: 1.0, compiler_options=quick)()
    except jax.errors.JaxRuntimeError:  # options of XLA come and go between its versions
        return options
    return quick


def _compiled(model: HybridModel, settings: Settings) -> Any:
    """Observables (times, observables) and the end; compiled once for all tolerances, the first argument."""
    key = ("solve", replace(settings, relative=0.0))
    if key not in model.compiled:

        def run(relative: Any, *rest: Any) -> Any:
            return _trajectory(model, replace(settings, relative=relative), *rest)

        model.compiled[key] = jax.jit(run, compiler_options=quick_to_compile())
    return model.compiled[key]


def _compiled_tangents(model: HybridModel, settings: Settings) -> Any:
    """Derivatives (directions, times, observables), in one program for all tolerances, the first argument."""
    key = ("tangents", replace(settings, relative=0.0))
    if key not in model.compiled:

        def along(relative: Any, quantities: Any, directions: Any, *fixed: Any) -> Any:
            run = partial(_trajectory, model, replace(settings, relative=relative))

            def push(direction: Any) -> Any:
                return jax.jvp(lambda q: run(q, *fixed), (quantities,), (direction,), has_aux=True)

            values, slopes, path = jax.vmap(push, out_axes=(None, 0, None))(directions)
            return (values, slopes), path

        model.compiled[key] = jax.jit(along, compiler_options=quick_to_compile())
    return model.compiled[key]


def _failure(model: HybridModel, path: Path, status: int, settings: Settings) -> SimulationError:
    source, time = model.source, float(path.time)
    if status == TOO_MANY_STEPS:
        return TruncationError(f"{source}: at time {time:g} {too_many_steps(int(path.steps), settings.most_steps)}")
    if status == ENDLESS_EVENTS:
        return SimulationError(
            f"{source}: events trigger each other without end at time {time:g}; check their triggers and assignments"
        )
    if status == RESTLESS_EVENTS:
        assert path.pending is not None
        return TruncationError(f"{source}: " + restless(int(path.pending.chance), f"at time {time:g}"))
    if status == QUEUE_FULL:
        return SimulationError(f"{source}: more than {_MOST_SLOTS} executions of one event wait at time {time:g}")
    sizes = np.abs(np.asarray(path.state))
    if int(path.steps) == 0:
        name = model.variables[int(np.argmin(np.isfinite(sizes)))]
        return SimulationError(f"{source}: {name!r} has no finite initial value; give it one with {name}=value")
    largest = model.variables[int(np.argmax(np.where(np.isnan(sizes), np.inf, sizes)))]
    return SimulationError(
        f"{source}: the equations cannot be followed beyond time {time:g}, where a rate is not finite or a variable "
        f"runs away (the largest is {largest!r} at {sizes.max():.4g}); check the laws there"
    )
