"""Why trajectories that flow and jump are given up: what is checked as they go on, and the errors in words."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.errors import PropensityError, SimulationError, TruncationError
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.program import Program
from sbmlgrad.simulation import events
from sbmlgrad.simulation.experiment import too_many
from sbmlgrad.simulation.path import (
    BAD_PROPENSITY,
    ENDLESS_EVENTS,
    QUEUE_FULL,
    RESTLESS_EVENTS,
    TOO_MANY_STEPS,
    Path,
    Settings,
)

MOST_SLOTS = 4096
"""How many executions of one event may wait."""


def check_drawn(model: HybridModel, paths: Path, coefficients: Array, first: int, count: int) -> None:
    """Refuse random numbers that cannot be drawn, which are not numbers."""
    assert isinstance(model.start_program, Program)
    if all(node.operation != "draw" for node in model.start_program.graph.nodes):
        return
    lost = np.isnan(np.asarray(paths.state)[:count, : len(model.variables)])
    for_constants = np.isnan(np.asarray(coefficients)[:count]).any(axis=1)
    if not (lost.any() or for_constants.any()):
        return
    # what nothing sets is not a number either, and may not matter
    usual, constants = model.start(jnp.asarray(list(model.quantities.values())), lambda *_: jnp.zeros(()))
    lost &= ~np.isnan(np.asarray(usual))
    for_constants &= not np.isnan(np.asarray(constants)).any()
    failed = np.flatnonzero(lost.any(axis=1) | for_constants)
    if len(failed):
        names = [model.variables[index] for index in np.flatnonzero(lost[failed[0]])]
        at = f" at time {float(paths.time[failed[0]]):g}" if names else ""
        what = repr(names[0]) if names else "an initial value"
        where = f"is not a number{at} in trajectory {first + failed[0]}"
        raise SimulationError(
            f"{model.source}: {what} {where}: a random number cannot be drawn where its distribution has impossible "
            "parameters (a negative sd, a probability above 1, a mean count beyond 1e15) or bounds that nothing falls "
            "between; correct them"
        )


def check_effort(model: HybridModel, paths: Path, first: int, count: int, max_events: int) -> None:
    """Refuse trajectories in which more reactions have fired than are allowed, or events have no end.

    Propensities that change in time give no forecast of how many there will be.
    """
    if paths.pending is not None and (rounds := np.asarray(paths.pending.chance)[:count]).max() > events.MOST_ROUNDS:
        busy = int(np.argmax(rounds))
        where = f"at time {float(paths.time[busy]):g} in trajectory {first + busy}"
        raise TruncationError(f"{model.source}: {restless(int(rounds[busy]), where)}")
    fired = np.asarray(paths.draws)[:count]
    if fired.max() <= max_events:
        return
    worst = int(np.argmax(fired))
    state = np.where(model.whole, np.asarray(paths.state[worst])[: len(model.variables)], 0.0)
    largest = int(np.argmax(state))
    raise TruncationError(
        f"{model.source}: trajectory {first + worst}: at time {float(paths.time[worst]):g} {fired[worst]:.3g} "
        f"reactions have fired, more than the {max_events:.3g} allowed; species {model.variables[largest]!r} is at "
        f"{state[largest]:.6g} molecules. If it should not explode, check the rates",
        *too_many(float(fired[worst]), of_document=True),
    )


def too_many_steps(taken: int, most: int) -> str:
    """What is said of a solver that takes more steps than it may."""
    return (
        f"the solver has taken {taken} steps and will not be at the end with the {most} that are allowed; end earlier, "
        "or look for what changes without bound or faster than need be"
    )


def restless(rounds: int, where: str) -> str:
    """What is said of events that will be more than are allowed."""
    return (
        f"{where} events have been triggered and executed {rounds} times, and would be more than "
        f"{events.MOST_ROUNDS} times; end earlier, or correct an event that triggers itself again"
    )


def failure(
    model: HybridModel,
    paths: Path,
    coefficients: Array,
    first: int,
    failed: int,
    status: int,
    settings: Settings,
) -> SimulationError:
    """The error that a trajectory with this status of failure comes to."""
    source, time = model.source, float(paths.time[failed])
    state = np.asarray(paths.state[failed])[: len(model.variables)]
    where = f"at time {time:g} in trajectory {first + failed}"
    if status == BAD_PROPENSITY:
        values = np.asarray(model.propensities_at(paths.time[failed], jnp.asarray(state), coefficients[failed]))
        worst = int(np.argmax(~(values >= 0) | ~np.isfinite(values)))
        return PropensityError(
            f"{source}: reaction {model.channels[worst]!r}: its propensity is {values[worst]:g} {where}; exact "
            "simulation needs finite laws that are not negative: write a reversible law as two reactions, or check "
            "its parameters"
        )
    if status == TOO_MANY_STEPS:
        return TruncationError(
            f"{source}: {where} {too_many_steps(int(np.asarray(paths.steps)[failed]), settings.most_steps)}"
        )
    if status == ENDLESS_EVENTS:
        return SimulationError(f"{source}: events trigger each other without end {where}; check their triggers")
    if status == RESTLESS_EVENTS:
        assert paths.pending is not None
        return TruncationError(f"{source}: {restless(int(np.asarray(paths.pending.chance)[failed]), where)}")
    if status == QUEUE_FULL:
        return SimulationError(f"{source}: more than {MOST_SLOTS} executions of one event wait {where}")
    largest = model.variables[int(np.argmax(np.where(np.isnan(state), np.inf, np.abs(state))))]
    return SimulationError(
        f"{source}: the flow between reactions cannot be followed {where}, where a rate is not finite or a variable "
        f"runs away (the largest is {largest!r}); check the rules there"
    )
