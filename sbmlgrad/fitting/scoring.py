"""Fisher's scoring within bounds: uphill on a likelihood that comes with its information.

The information stands in for the second derivatives at first; differences of scores then correct it along the way (BFGS;
Nocedal & Wright, Numerical Optimization, 2nd ed., chapter 6). Steps are damped as Levenberg's and Marquardt's are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult

from sbmlgrad.likelihood.likelihood import Evaluation

_ENOUGH = 1e-8  # of log-likelihood to be gained, at which it is over
_MOST_STEPS = 200
_DAMPED = 1e-3
_MOST_DAMPED = 1e10
_POOR, _GOOD = 0.25, 0.75  # gains, of what a parabola promised


def scored(
    evaluate: Callable[[np.ndarray], Evaluation],
    first: Evaluation,
    begin: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
) -> OptimizeResult:
    """The best point (P,) between bounds; ``first`` is the evaluation at ``begin``, with its information.

    The result has what scipy's minimisers give: ``x``, ``fun`` (minus the log-likelihood), ``success``, ``message``.
    """
    point, found, damping = begin, first, _DAMPED
    curvature = _of(found)
    for _ in range(_MOST_STEPS):
        score, free = found.score, upper > lower
        free = free & ~((point <= lower) & (score < 0)) & ~((point >= upper) & (score > 0))
        step = np.zeros_like(point)
        step[free] = _step(curvature[np.ix_(free, free)], score[free], damping)
        trial = np.clip(point + step, lower, upper)
        step = trial - point
        promised = score @ step - 0.5 * step @ curvature @ step
        if promised < _ENOUGH:
            return _result(point, found, True, "no more is to be gained")
        following = evaluate(trial)
        gained = following.value - found.value if np.isfinite(following.value) else -np.inf
        if gained > 0:
            good = gained > _POOR * promised
            curvature = _corrected(curvature, step, score - following.score) if good else _of(following)
            damping = damping / 10 if gained > _GOOD * promised else damping
            point, found = trial, following
        else:
            damping = max(damping, _DAMPED / 10) * 10
            if damping > _MOST_DAMPED:
                return _result(point, found, False, "no step uphill was found")
    return _result(point, found, False, f"{_MOST_STEPS} steps were not enough")


def _of(found: Evaluation) -> np.ndarray:
    """The information, with a trifle where nothing is known so that it can be inverted."""
    assert found.information is not None
    diagonal = np.diag(found.information)
    return found.information + np.diag(1e-10 * diagonal + 1e-8 * (1 + diagonal.max(initial=0.0)) * (diagonal <= 0))


def _step(curvature: np.ndarray, score: np.ndarray, damping: float) -> np.ndarray:
    """The damped Newton step, in units in which the curvature has a diagonal of 1."""
    scale = np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    own = curvature / np.outer(scale, scale)
    step: np.ndarray = np.linalg.lstsq(own + damping * np.eye(len(own)), score / scale, rcond=1e-14)[0] / scale
    return step


def _corrected(curvature: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The curvature that explains by how much the score fell along a step, where it did."""
    along = curvature @ step
    fell, expected = step @ change, step @ along
    if not fell > 1e-3 * expected:
        return curvature
    result: np.ndarray = curvature + np.outer(change, change) / fell - np.outer(along, along) / expected
    return result


def _result(point: np.ndarray, found: Evaluation, success: bool, message: str) -> OptimizeResult:
    return OptimizeResult(x=point, fun=-found.value, success=success, message=message)
