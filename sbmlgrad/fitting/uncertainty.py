"""Standard errors: how far the estimate would move if the data were measured again.

The estimate solves J^T W r = 0, so its covariance is the sandwich A J^T W C W J A with A = (J^T W J)^-1 and C the
covariance of the measured numbers, which simulated trajectories give: single trajectories vary as simulated ones
do, with all their correlation in time, and moments as those of some number of cells followed over time, a number
that the residuals tell.
"""

from __future__ import annotations

import numpy as np

from sbmlgrad.fitting.loss import Target


def noise(target: Target, values: np.ndarray) -> np.ndarray:
    """Covariance (m, m) of the weighted residuals if the data were measured again; up to a factor for moments.

    From simulated ``values`` (observables, times, n) at the estimate.
    """
    rows = target.influence(values) / target.error[:, None]
    covariance = rows @ rows.T / (values.shape[-1] - 1)
    covariance = np.where(target.group[:, None] == target.group[None, :], covariance, 0.0)
    floor = np.where(target.trajectory, np.square(target.floor / target.error), 0.0)
    return covariance + np.diag(floor)


def scale(
    target: Target,
    noise: np.ndarray,
    jacobian: np.ndarray,
    residuals: np.ndarray,
    simulated: float,
    caution: float = 1.0,
) -> np.ndarray:
    """Factors (m,) on the covariance, one for trajectories and one for moments.

    For moments it is 1 / (number of cells), read off the residuals with the simulation's own share, 1 / simulated,
    taken away (``caution`` times); for trajectories 1, or more where residuals are larger than simulated
    trajectories allow.
    """
    factors = np.ones(len(residuals))
    hat = jacobian @ np.linalg.pinv(jacobian)
    left = np.eye(len(residuals)) - hat
    for kind in (True, False):
        rows = target.trajectory == kind
        if not rows.any():
            continue
        seen = np.where(rows[:, None] & rows[None, :], noise, 0.0)
        expected = float(np.trace(left @ seen @ left.T))
        found = float(np.sum(np.square(residuals[rows])))
        if np.trace(left[np.ix_(rows, rows)]) < 0.5:  # as many parameters as numbers: residuals tell nothing
            factors[rows] = 1.0 if kind else np.inf
            continue
        ratio = found / expected if expected > 0 else 0.0
        factors[rows] = max(ratio, 1.0) if kind else max(ratio - caution / simulated, 0.0)
    return factors


def covariance(noise: np.ndarray, jacobian: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The sandwich (P, P) on the optimiser's scale; infinite for what the data do not determine."""
    if not np.all(np.isfinite(factors)):
        unknown = np.full((jacobian.shape[1],) * 2, np.nan)
        np.fill_diagonal(unknown, np.inf)
        return unknown
    root = np.sqrt(factors)
    spread = noise * np.outer(root, root)
    bread = np.linalg.pinv(jacobian, rcond=1e-6)
    result = bread @ spread @ bread.T
    _, seen, directions = np.linalg.svd(jacobian, full_matrices=True)
    sizes = np.pad(seen, (0, len(directions) - len(seen)))
    unseen = sizes <= 1e-6 * sizes.max(initial=0.0)
    blind = np.any(np.abs(directions[unseen]) > 1e-3, axis=0) if unseen.any() else np.zeros(len(result), bool)
    result[blind, blind] = np.inf
    return result
