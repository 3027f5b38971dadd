"""Scores of large sparse networks: the same estimate, of what their loop counts by kind of reaction.

Where each propensity is a constant times counts, its logarithm has the same derivatives in every state, those of the
constant. Reactions with equal derivatives are of a kind, c, and d log p(path) = sum over c of L_c (N_c - A_c), with N_c
how many of the kind have fired and A_c the integral of their propensities. N_c - A_c are martingales, and what is
expected of their product with the score is that of L_c A_c: the control variates of
:mod:`~sbmlgrad.gradient.controlled_score`, for nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.controls import Controlled, between, linear_algebra
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import Point, Problem
from sbmlgrad.network.mass_action import MassAction
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.sparse import run_sparse, suited


class _Kinds(NamedTuple):
    """The kind of each reaction (reactions,), and derivatives of the logarithm of its constant (parameters, kinds)."""

    of: np.ndarray
    slopes: np.ndarray


def served(problem: Problem) -> MassAction | None:
    """The network as data where its loop gives the score: where it is faster, and functions are of counts at times."""
    if problem.clock is not None or not problem.of_counts_alone:
        return None
    if not all(function.of_state for function in problem.functions):
        return None
    data = suited(problem.network, None)
    return None if data is None or data.constants_program is None else data


def sparse_estimate(name: str, problem: Problem, data: MassAction, point: Point, task: Task) -> Estimate | None:
    """Expectations and derivatives of what :func:`served` serves, by a controlled score; None where offsets move.

    Raises :class:`EstimatorError` for parameters at 0 that switch a reaction off. ``name`` is the estimator's.
    """
    kinds = _kinds(name, problem, data, point)
    if kinds is None:
        return None
    with linear_algebra().limit(limits=1):
        return _estimate(problem, data, point, task, kinds)


def _estimate(problem: Problem, data: MassAction, point: Point, task: Task, kinds: _Kinds) -> Estimate:
    grid, indices = problem.grid(task.times, task.start, between(task))
    parameters, count = kinds.slopes.shape
    fits = Controlled(problem.latest(grid, indices), grid, task.start, task.n, parameters, count)
    values, size = Moments(), data.size
    ensemble = Ensemble(
        problem.network_at(task.values),
        point.counts,
        point.coefficients,
        grid,
        task.n,
        task.seed,
        task.start,
        task.max_events,
    )
    for chunk in run_sparse(ensemble, data, task.progress, kinds.of):
        counts, (fired, due) = chunk.records[:size], np.reshape(chunk.records[size:], (2, count, len(grid), -1))
        raw = np.stack([np.asarray(row) for row in problem.values(counts, point.coefficients)])
        seen = problem.finish(raw, grid, indices, task.start)
        values.add(seen)
        martingales = fired - due
        scores = np.tensordot(kinds.slopes, martingales, axes=1)
        fits.add(seen, scores, martingales, kinds.slopes[..., None, None] * due, 0.0)
    slopes, stderr = fits.derivatives()
    mean, error = fits.expectations()
    return Estimate(mean, error, slopes, stderr, task.n, values.sd)


def _kinds(name: str, problem: Problem, data: MassAction, point: Point) -> _Kinds | None:
    """Reactions by the derivatives of their constants; None where a parameter moves an offset, or there is none."""
    program = data.constants_program
    assert program is not None
    coefficients = jnp.asarray([float(value) for value in point.coefficients])
    directions = np.array(
        [[0.0 if d is None else float(d) for d in row] for row in point.tangents.coefficients], np.float64
    )

    def numbers(values: jax.Array) -> jax.Array:
        return program(jnp.concatenate([jnp.zeros(1 + data.size), values]))

    compiled = problem.once(
        "constants and slopes",
        lambda: jax.jit(jax.vmap(lambda at, along: jax.jvp(numbers, (at,), (along,)), in_axes=(None, 0))),
    )
    values, slopes = (np.asarray(part) for part in compiled(coefficients, directions))
    constants, moved = values[0, : data.reactions], slopes[:, : data.reactions]
    if np.any(slopes[:, data.reactions :]) or not np.all(np.isfinite(values[0, data.reactions :])):
        return None
    for parameter, row in zip(problem.parameters, moved, strict=True):
        off = np.flatnonzero((constants == 0) & (row != 0))
        if len(off):
            raise EstimatorError(
                f"estimator {name!r} learns from reactions that fire, and {parameter!r} at its value switches "
                f"{problem.network.reactions[off[0]]!r} off; use 'auto' or 'alternative_path'"
            )
    logarithmic = np.where(constants == 0, 0.0, moved / np.where(constants == 0, 1.0, constants))
    mantissas, exponents = np.frexp(logarithmic)
    alike = np.ldexp(np.round(np.ldexp(mantissas, 40)), exponents - 40)  # what differs by rounding is the same
    _, first, of = np.unique(alike, axis=1, return_index=True, return_inverse=True)
    return _Kinds(of.ravel(), logarithmic[:, first])
