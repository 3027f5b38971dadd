"""The ranges of counts that a projection begins with: of some trajectories at the values of the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.jumps import JumpProcess
from sbmlgrad.simulation.ensemble import Ensemble, initial_counts, run

_TRAJECTORIES = 256
_SEED = 20260101
_LOOKS = 9  # times at which rates that follow time are looked at
_ROWS = 17  # times at which counts are


def ranges(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest of each row, nan where there is none."""
    there = [row[~np.isnan(row)] for row in rows]
    least = np.array([row.min() if row.size else np.nan for row in there])
    return least, np.array([row.max() if row.size else np.nan for row in there])


def simulated_ranges(
    problem: Problem,
    values: np.ndarray,
    begin: float,
    times: np.ndarray,
    process: JumpProcess | None,
    edges: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest counts (species,) of some trajectories; rates that follow time stand still in each.

    With the jumps of a ``process``, which happen at some of the ``edges``.
    """
    parts = list(_plain(problem, values, begin, times))
    if process is not None and edges is not None:
        parts += _with_jumps(problem, values, process, edges)
    return ranges([np.concatenate([np.ravel(part[species]) for part in parts]) for species in range(len(parts[0]))])


def over_time(problem: Problem, values: np.ndarray, begin: float, end: float) -> list[tuple[Any, ...]]:
    """The coefficients, at some times where rates follow it."""
    coefficients = problem.at(values).coefficients
    if problem.clock is None:
        return [coefficients]
    return [(np.float64(time), *coefficients[1:]) for time in np.linspace(begin, end, _LOOKS)]


def _plain(problem: Problem, values: np.ndarray, begin: float, times: np.ndarray) -> Iterator[Sequence[np.ndarray]]:
    grid = np.unique(np.append(np.linspace(begin, times[-1], _ROWS)[1:], times))
    network, counts = problem.network_at(values), np.asarray(problem.at(values).counts)
    for coefficients in over_time(problem, values, begin, float(times[-1])):
        for chunk in run(Ensemble(network, counts, coefficients, grid, _TRAJECTORIES, _SEED, start=begin)):
            yield chunk.records


def _with_jumps(
    problem: Problem, values: np.ndarray, process: JumpProcess, edges: np.ndarray
) -> Iterator[Sequence[np.ndarray]]:
    """From one jump to the next, and what is there just after each."""
    point, network = problem.at(values), problem.network_at(values)
    schedule = process.schedule(edges, point.coefficients)
    stages = np.asarray(process.held(schedule, edges, point.coefficients))
    counts = np.stack(initial_counts(point.counts, _TRAJECTORIES, _SEED))
    for stage, (begin, end) in enumerate(pairwise([edges[0], *edges[schedule.edges], edges[-1]])):
        now = process.timed.holding(stages[stage], ((begin + end) / 2, *point.coefficients[1:]))
        if end > begin:
            grid = np.linspace(begin, end, _ROWS)[1:]
            for chunk in run(Ensemble(network, counts, now, grid, _TRAJECTORIES, _SEED + stage, start=begin)):
                yield chunk.records
                counts = np.stack([record[-1] for record in chunk.records])
        if stage < len(schedule.edges):
            counts[process.set] = process.images(counts.T, schedule.alone(stage), edges, now)[0]
            yield list(counts)
