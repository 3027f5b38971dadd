"""The steps of large sparse networks between events and known times, compiled by Numba once for all of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.network.compiled import compiled_loop
from sbmlgrad.simulation.sparse_code import worked_out
from sbmlgrad.simulation.sparse_loop import DRAWS, EXPONENT, TOTAL, choose, draw_block, fire, weigh


class Triggers(NamedTuple):
    """Triggers that reactions may change: their instructions, and which of them each reaction may."""

    code: Any
    starts: np.ndarray
    items: np.ndarray


class Batch(NamedTuple):
    """Where trajectories are, each (n,) unless said."""

    x: np.ndarray  # (n, variables and the time)
    time: np.ndarray
    until: np.ndarray  # the next time at which something other than a reaction may happen
    draws: np.ndarray  # random numbers used
    fired: np.ndarray
    truth: np.ndarray  # (n, triggers) as last seen
    going: np.ndarray
    broken: np.ndarray  # whether a propensity was negative or not finite


@compiled_loop
def between(
    tables: Any, scratch: Any, code: Any, triggers: Any, task: Any, numbers: Any, batch: Any, budget: Any
) -> Any:
    """Have reactions fire until something else may happen, for at most ``budget`` draws: what is left of them.

    ``numbers`` are those of the trajectories.
    """
    for column in range(batch.time.size):
        if not batch.going[column] or not batch.time[column] < batch.until[column]:
            continue
        for i in range(scratch.x.size):
            scratch.x[i] = batch.x[column, i]
        if weigh(tables, scratch, None, code, task):
            budget = _trajectory(tables, scratch, code, triggers, task, numbers, batch, column, budget)
        else:
            batch.broken[column] = True
        for i in range(scratch.x.size):
            batch.x[column, i] = scratch.x[i]
        if budget <= 0:
            break
    return budget


@compiled_loop
def _trajectory(
    tables: Any,
    scratch: Any,
    code: Any,
    triggers: Any,
    task: Any,
    numbers: Any,
    batch: Any,
    column: Any,
    budget: Any,
) -> Any:
    place, bits, group_bits = scratch.place, task.bits, task.group_bits
    time, until, draw, fired = batch.time[column], batch.until[column], batch.draws[column], batch.fired[column]
    total, unit = place[TOTAL], 2.0 ** place[EXPONENT]
    if draw % DRAWS != 0:
        draw_block(task.keys, numbers[column], draw - draw % DRAWS, scratch)
    while budget > 0 and time < until:
        budget -= 1
        slot = draw % DRAWS
        if slot == 0:
            draw_block(task.keys, numbers[column], draw, scratch)
        draw += 1
        weight = np.float64(total)
        arrival = time + scratch.exponentials[slot] * unit / weight
        if arrival < until:
            time = arrival
            fired += 1
            reaction = choose(scratch, bits, group_bits, min(np.int64(scratch.uniforms[slot] * weight), total - 1))
            total = fire(tables, scratch, None, code, bits, group_bits, reaction, unit, total)
            if total < 0:
                if not weigh(tables, scratch, None, code, task):
                    batch.broken[column] = True
                    break
                total, unit = place[TOTAL], 2.0 ** place[EXPONENT]
            for i in range(np.int64(triggers.starts[reaction]), np.int64(triggers.starts[reaction + 1])):
                trigger = triggers.items[i]
                if (worked_out(triggers.code, scratch.x, trigger) > 0.5) != batch.truth[column, trigger]:
                    until = time
        else:
            time = until
    batch.time[column], batch.until[column], batch.draws[column], batch.fired[column] = time, until, draw, fired
    return budget
