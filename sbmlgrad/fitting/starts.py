"""Fits from several start values: drawn within the bounds, and the best end taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc
from tqdm import tqdm

from sbmlgrad.errors import CheckpointError, FitError, SbmlgradError
from sbmlgrad.fitting.checkpoint import Checkpoint, Ended
from sbmlgrad.fitting.outcome import Outcome, Posed
from sbmlgrad.fitting.parameters import Parameters

_AROUND = np.log(10.0)  # on the optimiser's scale, to either side of the start where there is no bound
_SAME = 0.1  # of the loss, or of twice the log-likelihood: ends that are one


def drawn(parameters: Parameters, starts: int, seed: int) -> list[dict[str, float]]:
    """Start values beside the given ones: a Latin hypercube on the optimiser's scale, within the bounds.

    Where there is no bound, or a logarithm has none at 0, within a factor of ten of the start.
    """
    if starts < 2:
        return []
    middle = parameters.to_scale(parameters.start)
    lower, upper = (parameters.to_scale(side) for side in (parameters.lower, parameters.upper))
    free_below = ~np.isfinite(lower) | (parameters.log & (parameters.lower <= 0))
    free_above = ~np.isfinite(upper) | (parameters.upper >= 1e300)
    lower = np.where(free_below, np.minimum(middle, upper) - _AROUND, lower)
    upper = np.where(free_above, np.maximum(middle, lower) + _AROUND, upper)
    shares = qmc.LatinHypercube(len(middle), rng=np.random.default_rng(seed)).random(starts - 1)
    points = lower + shares * (upper - lower)
    return [dict(zip(parameters.names, parameters.from_scale(point).tolist(), strict=True)) for point in points]


def best_of(
    first: Posed,
    pose: Callable[[Mapping[str, float]], Posed],
    starts: int,
    seed: int,
    bar: tqdm[Any],
    checkpoint: Checkpoint | None = None,
) -> tuple[Posed, Outcome, str]:
    """Solve from the given start and from others; the problem and outcome of the smallest loss, and what is to be said.

    What fails from one start is passed over; the first error is raised where all fail. Ends that a checkpoint has are
    not found again, but for the best one.
    """
    best: tuple[Posed, Outcome] | None = None
    losses: list[float] = []
    errors: list[SbmlgradError] = []
    if checkpoint is not None:
        checkpoint.new_round()
    for number, values in enumerate([None, *drawn(first.parameters, starts, seed)]):
        known = None if checkpoint is None else checkpoint.begin(number)
        if known is not None:
            if known.error:
                errors.append(FitError(known.error))
            else:
                losses.append(known.loss)
            continue
        try:
            problem = first if values is None else pose(values)
            outcome = problem.solve(bar)
        except CheckpointError:
            raise
        except SbmlgradError as error:
            errors.append(error)
            ended = Ended(np.nan, str(error))
        else:
            ended = Ended(outcome.loss)
            losses.append(outcome.loss)
            if best is None or _rank(outcome.loss) < _rank(best[1].loss):
                best = problem, outcome
        if checkpoint is not None:
            checkpoint.end(ended)
    if best is None:
        raise errors[0]
    problem, outcome = best
    if starts < 2:
        return problem, outcome, ""
    same = sum(loss <= outcome.loss + _SAME for loss in losses)
    failed = f", {len(errors)} failed ({errors[0]})" if errors else ""
    return problem, outcome, f"best of {starts} starts, {same} of which ended there{failed}; "


def _rank(loss: float) -> tuple[bool, float]:
    """Smaller is better, and a number better than none."""
    return bool(np.isnan(loss)), loss
