"""Downhill within bounds: steps of a trust region that is a box, by exact gradients and approximate curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

from sbmlgrad.errors import SbmlgradError

FIRST_RADIUS = 1.0
"""Of a search, in units of the coordinates."""

_LARGEST, _SMALLEST = 10.0, 1e-9  # radius
_NOTHING = 1e-8  # a decrease that is not worth a step
_HIDDEN = 1e-4  # a decrease that the errors of a solver may hide
_MOST_QUIET = 5
_POOR, _GOOD = 0.25, 0.75  # of the decrease that was expected
_SKEW = 1e-6  # an update along directions so far from the step tells nothing
_FLAT = 1e-12  # of the largest curvature: less is none


@dataclass(frozen=True, eq=False)
class Local:
    """A function at a point: its value, gradient (P,), and a curvature (P, P) that is never negative."""

    value: float
    gradient: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """Where a search ended; ``stuck`` is whether value and gradient contradict each other there."""

    point: np.ndarray
    local: Local
    evaluations: int
    converged: bool
    message: str
    stuck: bool = False


def search(
    function: Callable[[np.ndarray], Local],
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    most: int = 500,
    radius: float = FIRST_RADIUS,
    nothing: float = _NOTHING,
) -> Found:
    """The minimum of a function between bounds (P,) that is nearest downhill from a start (P,).

    It ends where no step is expected to gain more than ``nothing``.

    Each step is to the minimum of the quadratic model in the part of a box around the point that lies within the
    bounds; the box grows and shrinks with how well the model has told the function (J. Nocedal, S. J. Wright, Numerical
    Optimization, 2nd ed., chapters 4 and 10; for boxes R. Fletcher, Practical Methods of Optimization, 5.1). Where the
    function cannot be computed, the step is taken back.

    Raises
    ------
    SbmlgradError
        what the function raises at the start.
    """
    point = np.clip(start, lower, upper)
    here, evaluations, quiet = function(point), 1, 0
    missing, trusted = np.zeros_like(here.curvature), False
    while evaluations < most:
        low, high = np.maximum(lower - point, -radius), np.minimum(upper - point, radius)
        curvature = here.curvature + missing if trusted else here.curvature
        step = _step(here.gradient, curvature, low, high)
        expected = -float(here.gradient @ step + 0.5 * step @ curvature @ step)
        if expected <= nothing:
            return Found(point, here, evaluations, True, "no step is expected to gain anything")
        there = _tried(function, point + step)
        evaluations += 1
        gained = -np.inf if there is None else here.value - there.value
        if there is not None:
            # of two models, the one that has told this step better is to tell the next
            known, bend = expected - gained, 0.5 * float(step @ missing @ step)
            trusted = abs(known) <= abs(known + bend) if trusted else abs(known - bend) < abs(known)
            missing = _learnt(missing, step, there.gradient - here.gradient - there.curvature @ step)
        if gained < _POOR * expected:
            radius = 0.25 * float(np.max(np.abs(step)))
        elif gained > _GOOD * expected and np.max(np.abs(step)) > 0.99 * radius:
            radius = min(2.0 * radius, _LARGEST)
        quiet = quiet + 1 if gained < _HIDDEN and expected < _HIDDEN else 0
        if there is not None and gained > 0:
            point, here = point + step, there
        if quiet == _MOST_QUIET:
            return Found(point, here, evaluations, True, "steps gain next to nothing")
        if radius < _SMALLEST:
            message = "no step leads downhill, though the gradient says so"
            return Found(point, here, evaluations, False, message, stuck=True)
    return Found(point, here, evaluations, False, f"took all {most} evaluations")


def _tried(function: Callable[[np.ndarray], Local], point: np.ndarray) -> Local | None:
    """The function, None where it cannot be computed."""
    try:
        there = function(point)
    except SbmlgradError:
        return None
    return there if np.isfinite(there.value) else None


def _learnt(missing: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """What the curvature (P, P) misses, after a step on which it missed this ``change`` of the gradient (P,).

    A symmetric update of rank one, sized first: J. E. Dennis, D. M. Gay, R. E. Welsch, ACM Trans. Math. Softw. 7:348
    (1981), chapter 3; with the update of A. R. Conn, N. I. M. Gould, P. L. Toint, Math. Program. 50:177 (1991).
    """
    bend = abs(float(step @ missing @ step))
    if bend > 0:
        missing = missing * min(1.0, abs(float(step @ change)) / bend)
    rest = change - missing @ step
    along = float(rest @ step)
    if abs(along) <= _SKEW * np.linalg.norm(rest) * np.linalg.norm(step):
        return missing
    return missing + np.outer(rest, rest) / along


def _step(gradient: np.ndarray, curvature: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The minimum of the quadratic model between limits of the step (P,): a linear least-squares problem."""
    free = high > low
    step = np.zeros_like(low)
    if not np.any(free):
        return step
    sizes, directions = np.linalg.eigh(curvature[np.ix_(free, free)])
    root = np.sqrt(np.maximum(sizes, max(_FLAT * float(sizes[-1]), 1e-300)))
    right = -(directions.T @ gradient[free]) / root
    step[free] = lsq_linear(root[:, None] * directions.T, right, (low[free], high[free]), method="bvls").x
    return np.clip(step, low, high)
