"""Scores of large sparse networks: the same estimate, of what their loop counts by kind of reaction.

Where each propensity is a constant times counts, its logarithm has the same derivatives in every state, those of the
constant. Reactions with equal derivatives are of a kind, c, and d log p(path) = sum over c of L_c (N_c - A_c), with N_c
how many of the kind have fired and A_c the integral of their propensities. N_c - A_c are martingales, and what is
expected of their product with the score is that of L_c A_c: the control variates of
:mod:`~sbmlgrad.gradient.controlled_score`, for nothing.

A parameter inside instructions adds to the score the derivatives of the logarithms of what has fired, less the integral
of those of the propensities, B_c for each kind, and B_c to what is expected of the products.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.controls import Controlled, between, linear_algebra
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import Point, Problem, probes
from sbmlgrad.network.mass_action import MassAction
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.progress import Progress
from sbmlgrad.simulation.sparse import SparseRun, run_sparse, suited
from sbmlgrad.simulation.sparse_paths import Followed


class _Kinds(NamedTuple):
    """The kind of each reaction, and derivatives of the logarithm of its constant (parameters, kinds).

    ``inside`` are the parameters that move what is inside instructions, the directions of what is ``followed``.
    """

    followed: Followed
    slopes: np.ndarray
    inside: np.ndarray


def served(problem: Problem) -> MassAction | None:
    """The network as data where its loop gives the score: where it is faster, and functions are of counts at times."""
    if problem.clock is not None or not problem.of_counts_alone:
        return None
    if not all(function.of_state for function in problem.functions):
        return None
    data = suited(problem.network, None)
    return None if data is None or data.constants_program is None else data


def sparse_estimate(name: str, problem: Problem, data: MassAction, point: Point, task: Task) -> Estimate | None:
    """Expectations and derivatives of what :func:`served` serves, by a controlled score; None where offsets move, or
    there are factorials among instructions that move.

    Raises :class:`EstimatorError` for parameters at 0 that switch a reaction off. ``name`` is the estimator's.
    """
    kinds = _kinds(name, problem, data, point)
    if kinds is None:
        return None
    with linear_algebra().limit(limits=1):
        return _estimate(name, problem, data, point, task, kinds)


def _estimate(name: str, problem: Problem, data: MassAction, point: Point, task: Task, kinds: _Kinds) -> Estimate:
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
    run = SparseRun(ensemble, data, Progress(None, task.n, task.start, float(grid[-1])), kinds.followed)
    off, by = run.switched_off(probes(point.counts))
    if len(off):
        raise _switched_off(name, problem, problem.parameters[kinds.inside[by[0]]], off[0])
    for chunk in run_sparse(ensemble, data, task.progress, kinds.followed):
        counts, parts = chunk.records[:size], kinds.followed.parts(np.asarray(chunk.records[size:]))
        raw = np.stack([np.asarray(row) for row in problem.values(counts, point.coefficients)])
        seen = problem.finish(raw, grid, indices, task.start)
        values.add(seen)
        martingales = parts.fired - parts.due
        scores, gains = np.tensordot(kinds.slopes, martingales, axes=1), kinds.slopes[..., None, None] * parts.due
        scores[kinds.inside] += parts.fired_inside - parts.due_inside.sum(axis=1)
        gains[kinds.inside] += parts.due_inside
        fits.add(seen, scores, martingales, gains, 0.0)
    slopes, stderr = fits.derivatives()
    mean, error = fits.expectations()
    return Estimate(mean, error, slopes, stderr, task.n, values.sd)


def _kinds(name: str, problem: Problem, data: MassAction, point: Point) -> _Kinds | None:
    """Reactions by the derivatives of their laws; None where a parameter moves an offset, or there is none."""
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
    offsets = data.reactions + int(np.sum(~data.plain))
    constants, moved, tangents = values[0, : data.reactions], slopes[:, : data.reactions], slopes[:, offsets:]
    if np.any(slopes[:, data.reactions : offsets]) or not np.all(np.isfinite(values[0, data.reactions :])):
        return None
    for parameter, row in zip(problem.parameters, moved, strict=True):
        off = np.flatnonzero((constants == 0) & (row != 0))
        if len(off):
            raise _switched_off(name, problem, parameter, off[0])
    inside = np.flatnonzero(tangents.any(axis=1))
    if len(inside) and data.code is not None and data.code.has_factorials:
        return None
    by_code = np.zeros((data.reactions, 0)) if data.code is None else data.code.moved_by(tangents[inside])
    logarithmic = np.where(constants == 0, 0.0, moved / np.where(constants == 0, 1.0, constants))
    mantissas, exponents = np.frexp(logarithmic)
    alike = np.ldexp(np.round(np.ldexp(mantissas, 40)), exponents - 40)  # what differs by rounding is the same
    alike = np.concatenate([alike, by_code.T])
    _, first, of = np.unique(alike, axis=1, return_index=True, return_inverse=True)
    return _Kinds(Followed(of.ravel(), tangents[inside], data.code), logarithmic[:, first], inside)


def _switched_off(name: str, problem: Problem, parameter: str, reaction: int) -> EstimatorError:
    return EstimatorError(
        f"estimator {name!r} learns from reactions that fire, and {parameter!r} at its value switches "
        f"{problem.network.reactions[reaction]!r} off; use 'auto' or 'alternative_path'"
    )
