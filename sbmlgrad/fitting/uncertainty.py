"""Standard errors, and the verdict: how far the estimate would move if the data were measured again.

The estimate solves J^T W r = 0, so its covariance is the sandwich A J^T W C W J A with A = (J^T W J)^-1 and C the
covariance of the measured numbers. The model says what C is: single trajectories vary as predicted ones do, with all
their correlation in time, and moments as those of some number of cells, a number that the residuals tell. The data have
a say too: the residuals, and the scatter between replicates, may show that there is more noise, or less, or that no
parameters make this model fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import binom, chi2

from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.noise import Noise

_RARE = 1e-3  # the probability of residuals that are taken for a contradiction
_APART = 1.5  # times, that the variance between replicates is off before anyone is told
_OUTLYING = 4.0  # standard deviations beyond which a number does not tell how many cells there are
_TOLD = 6.0  # and beyond which it is named
_BULK = 10.0  # times, that measurement errors exceed the noise of molecules where these are too many to matter
_MOST_NAMED = 3
_BLIND = 1e-6  # of the largest singular value: a direction that the data do not see
_REAL = 0.25  # of what seems to be seen along a direction: below, it is the noise of the derivatives
_MEDIAN = float(chi2.median(1))


@dataclass(frozen=True, eq=False)
class Verdict:
    """The covariance (m, m) of the weighted residuals, and what is to be said of them.

    ``poor`` is whether the fit ended farther from the data than its own errors allow. ``freedom`` is how many numbers
    told the size of the covariance; infinite where it is known.
    """

    covariance: np.ndarray
    warnings: tuple[str, ...] = ()
    poor: bool = False
    freedom: float = np.inf
    goodness: Mapping[str, float] = field(default_factory=dict)


def judge(target: Target, noise: Noise, jacobian: np.ndarray, residuals: np.ndarray, caution: float = 1.0) -> Verdict:
    """Hold the weighted ``residuals`` (m,) at the estimate against what the model says of them.

    ``jacobian`` (m, P) is that of the weighted residuals. The simulation's own noise in the residuals is not counted as
    the data's, ``caution`` times.
    """
    errors = np.outer(target.error, target.error)
    fitted = _fitted(jacobian)
    verdict = Verdict(noise.one / errors * target.shared)
    drawn = noise.predicted / errors * (caution / noise.simulated)
    kinds = (
        (target.trajectory, _verdict_on_trajectories),
        (noise.told, _verdict_on_told_moments),
        (~target.trajectory & ~noise.told, _verdict_on_moments),
    )
    for rows, verdict_on in kinds:
        if rows.any():
            both = np.outer(rows, rows)
            part = _Part(target, noise, fitted, residuals, np.where(both, drawn, 0.0), rows)
            part_verdict = verdict_on(part, np.where(both, verdict.covariance, 0.0))
            verdict = Verdict(
                np.where(both, part_verdict.covariance, verdict.covariance),
                (*verdict.warnings, *part_verdict.warnings),
                verdict.poor or part_verdict.poor,
                min(verdict.freedom, part_verdict.freedom),
            )
    return replace(verdict, goodness=_goodness(target, noise, fitted, residuals, drawn))


def _goodness(
    target: Target, noise: Noise, fitted: np.ndarray, residuals: np.ndarray, drawn: np.ndarray
) -> dict[str, float]:
    """The sum of squares in units of the errors that the model or the table states, where either does."""
    part = _Part(target, noise, fitted, residuals, drawn, ~noise.floored)
    sized = (target.trajectory & noise.sized) | noise.told
    if not sized.all() or part.freedom(part.rows) < 0.5:
        return {}
    own = noise.one / np.outer(target.error, target.error) * target.shared
    matrix = part.expected(own, part.rows)
    total = float(np.sum(np.square(residuals[part.rows])))
    chi_square = total * part.freedom(part.rows) / float(np.trace(matrix))
    return {"chi2": chi_square, "p_value": _tails(matrix, total)[0]}


@dataclass(frozen=True, eq=False)
class _Part:
    """The numbers of one kind, with the orthonormal directions (m, P) of residuals that parameters take away."""

    target: Target
    noise: Noise
    fitted: np.ndarray
    residuals: np.ndarray
    simulated: np.ndarray  # covariance (m, m) that the simulation adds to the residuals
    rows: np.ndarray  # which of all numbers they are

    def expected(self, covariance: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The covariance (rows, rows) of residuals of data that have this one."""
        return self.left(covariance + self.simulated)[np.ix_(rows, rows)]

    def left(self, covariance: np.ndarray) -> np.ndarray:
        """The covariance (m, m) of residuals, of errors that have this one."""
        taken = (covariance @ self.fitted) @ self.fitted.T
        return covariance - taken - taken.T + self.fitted @ (self.fitted.T @ taken)

    def freedom(self, rows: np.ndarray) -> float:
        """How many of these numbers the parameters leave free."""
        return float(rows.sum() - np.sum(np.square(self.fitted[rows])))


def _fitted(jacobian: np.ndarray) -> np.ndarray:
    """An orthonormal basis (m, rank) of what the parameters can move."""
    directions, sizes, _ = np.linalg.svd(jacobian, full_matrices=False)
    return directions[:, sizes > np.finfo(float).eps * len(jacobian) * sizes.max(initial=0.0)]


def _verdict_on_trajectories(part: _Part, covariance: np.ndarray) -> Verdict:
    """As predicted, unless the residuals contradict."""
    target, noise = part.target, part.noise
    rows = part.rows & ~noise.floored
    repeated = bool(np.any(target.replicates[rows] > 1))
    # Where nothing varies, as at the start, no error allows a distance, and none tells of the noise elsewhere.
    warnings = _outlying(target, part.residuals, target.trajectory & noise.floored & (np.abs(part.residuals) > _TOLD))
    if not 1 / _APART < noise.scatter < _APART:
        warnings += (
            f"replicates scatter {np.sqrt(noise.scatter):.2g} times as much as the fitted model does (in standard "
            "deviations); the error bars go by the replicates, but the noise is not the model's",
        )
    if part.freedom(rows) < 0.5:
        has_size = noise.sized or repeated
        return Verdict(covariance if has_size else np.full_like(covariance, np.inf), warnings, bool(warnings))
    matrix = part.expected(covariance, rows)
    squares, expected = float(np.sum(np.square(part.residuals[rows]))), float(np.trace(matrix))
    bulk = noise.smooth and not np.all(target.added[rows] > 0) and squares > _BULK**2 * expected
    if (bulk or not noise.sized) and not repeated:  # what least squares takes for granted: errors that are independent
        covariance = np.diag(np.diag(covariance))
        covariance = covariance * (squares / float(np.trace(part.expected(covariance, rows))))
        warnings += keeping_sign(target.series[rows], part.residuals[rows])
        return Verdict(covariance, warnings, bool(warnings))
    above, below = _tails(matrix, squares)
    figures = f"(sum of squares {squares:.3g}, where {expected:.3g} is expected)"
    if above < _RARE:
        warnings += (
            f"the residuals are {np.sqrt(squares / expected):.2g} times as large as the noise of these data allows "
            f"{figures}: the model does not describe them, or there is noise that it does not have; the error bars are "
            "widened to match",
        )
        if repeated:
            covariance = covariance * (squares / expected)
        else:  # measurement error, without correlation
            missing = (squares - expected) / part.freedom(rows)
            covariance = covariance + missing * np.diag(np.diag(covariance))
    elif below < _RARE and not repeated:
        if noise.smooth:
            covariance = _shape(covariance, part.residuals, rows)
            covariance = covariance * (squares / float(np.trace(part.expected(covariance, rows))))
        else:
            warnings += (
                f"the data are much smoother than single trajectories of the fitted model {figures}; if they are means "
                "of many cells, call the column -mean, and the error bars will be smaller",
            )
    return Verdict(covariance, warnings, bool(warnings))


def _tails(covariance: np.ndarray, squares: float) -> tuple[float, float]:
    """The probabilities that the sum of squares of normal numbers of this covariance is above and below what was found.

    Above, such a sum is nearly a chi-square shifted and scaled to have its first three moments (Buckley & Eagleson,
    Aust. J. Stat. 30A, 150, 1988), which begins too late to serve below; there one with two (Satterthwaite, Biometrics
    Bull. 2, 110, 1946) errs on the safe side.
    """
    square = covariance @ covariance
    first, second, third = float(np.trace(covariance)), float(np.trace(square)), float(np.sum(square * covariance))
    freedom = second**3 / third**2
    above = chi2.sf(freedom + np.sqrt(freedom / second) * (squares - first), freedom)
    return float(above), float(chi2.cdf(squares * first / second, first**2 / second))


def keeping_sign(series: np.ndarray, residuals: np.ndarray) -> tuple[str, ...]:
    """What to say of residuals (m,), series by series in order of time, that change their sign too seldom."""
    neighbours = series[1:] == series[:-1]
    changes = int(np.sum(neighbours & (residuals[1:] * residuals[:-1] < 0)))
    pairs = int(neighbours.sum())
    if binom.cdf(changes, pairs, 0.5) >= _RARE:
        return ()
    return (
        f"the residuals keep their sign for long ({changes} changes, where {pairs / 2:g} are expected): the model's "
        "curve does not follow the data, and the error bars are too small",
    )


def _shape(covariance: np.ndarray, residuals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The covariance, or its variances alone, whichever makes the residuals likelier in the size that suits them."""

    def likelihood(matrix: np.ndarray) -> float:
        own, r = matrix[np.ix_(rows, rows)], residuals[rows]
        return -len(r) * np.log(r @ np.linalg.solve(own, r)) - np.linalg.slogdet(own)[1]

    independent = np.diag(np.diag(covariance))
    return max(independent, covariance, key=likelihood)


def _verdict_on_moments(part: _Part, covariance: np.ndarray) -> Verdict:
    """One over the number of cells, read off the residuals but for those that lie far from the rest."""
    target, kind = part.target, part.rows
    squares, expected = np.square(part.residuals), np.diag(part.left(covariance))
    simulated = np.diag(part.left(part.simulated))
    telling = kind & ~part.noise.floored & (expected > 1e-6)
    if part.freedom(kind) < 0.5 or not telling.any():  # as many parameters as numbers: residuals tell nothing
        return Verdict(np.full_like(covariance, np.inf))
    share = float(np.median(squares[telling] / expected[telling])) / _MEDIAN
    near = telling & (squares <= _OUTLYING**2 * share * expected)
    share, freedom = float(squares[near].sum() / expected[near].sum()), max(part.freedom(near), 1.0)
    far = kind & (squares > _TOLD**2 * share * np.maximum(expected, 1e-6))
    share = max(share - float(simulated[near].sum() / expected[near].sum()), 0.0)
    warnings = _outlying(target, part.residuals, far)
    if share <= part.noise.most_share:
        return Verdict(covariance * share, warnings, freedom=freedom)
    few = (
        f"the residuals are as large as if {1 / share:.2g} cells stood behind each of the moments: the model does not "
        "describe them, or a column -sd holds standard errors instead of the spread between cells"
    )
    return Verdict(covariance * share, (*warnings, few), poor=True, freedom=freedom)


def _verdict_on_told_moments(part: _Part, covariance: np.ndarray) -> Verdict:
    """As the numbers of cells, or the errors in the table, say, unless the residuals contradict."""
    telling = part.rows & ~part.noise.floored
    every = part.left(covariance + part.simulated)
    far = part.rows & (np.square(part.residuals) > _TOLD**2 * np.maximum(np.diag(every), 1e-6))
    warnings = _outlying(part.target, part.residuals, far)
    rows = telling & ~far
    if part.freedom(rows) < 0.5:
        return Verdict(covariance, warnings, bool(warnings))
    matrix = every[np.ix_(rows, rows)]
    squares, expected = float(np.sum(np.square(part.residuals[rows]))), float(np.trace(matrix))
    if _tails(matrix, squares)[0] >= _RARE:
        return Verdict(covariance, warnings)
    large = (
        f"the residuals are {np.sqrt(squares / expected):.2g} times as large as the numbers of cells, or errors, in "
        f"the table allow (sum of squares {squares:.3g}, where {expected:.3g} is expected): the model does not "
        "describe the data; the error bars are widened to match"
    )
    return Verdict(covariance * (squares / expected), (*warnings, large), poor=True, freedom=part.freedom(rows))


def _outlying(target: Target, residuals: np.ndarray, far: np.ndarray) -> tuple[str, ...]:
    """Numbers that lie far from the rest, the farthest first."""
    if not far.any():
        return ()
    order = [i for i in np.argsort(-np.abs(residuals)) if far[i]]
    named = [
        f"{target.column(i)} at time {target.times[target.time[i]]:g} ({target.value[i]:.4g} measured, "
        f"{target.value[i] + residuals[i] * target.error[i]:.4g} predicted)"
        for i in order[:_MOST_NAMED]
    ]
    more = f" and {len(order) - _MOST_NAMED} more" if len(order) > _MOST_NAMED else ""
    return (f"far off beside the rest, and not counted in the error bars: {', '.join(named)}{more}",)


def covariance(noise: np.ndarray, jacobians: np.ndarray) -> np.ndarray:
    """The sandwich (P, P) on the optimiser's scale; infinite for what the data do not determine.

    From the covariance (m, m) of the weighted residuals and two estimates (2, m, P) of their derivatives, independent
    where they are noisy. The square of a noisy derivative is too large by the noise's variance, which would make error
    bars small where the data see nothing; the product of two is not.
    """
    if not np.all(np.isfinite(noise)):
        unknown = np.full((jacobians.shape[-1],) * 2, np.nan)
        np.fill_diagonal(unknown, np.inf)
        return unknown
    # In units of their own, so that a rate near 0, whose logarithm moves nothing, still shares its errors with others.
    scale = np.abs(jacobians.mean(axis=0)).max(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    left, right = jacobians / scale
    residuals, sizes, parameters = np.linalg.svd((left + right) / 2, full_matrices=False)
    seen = sizes > _BLIND * sizes.max(initial=0.0)
    to_parameters = parameters[seen].T / sizes[seen]  # from what the residuals move along each direction
    product = (left @ to_parameters).T @ (right @ to_parameters)  # 1 but for noise
    real, turned = np.linalg.eigh((product + product.T) / 2)
    true = real > _REAL
    along = to_parameters @ turned
    # The noise is in the middle of the sandwich as well, so that half of it is taken off each side.
    bread = (along[:, true] / np.sqrt(real[true])) @ (residuals[:, seen] @ turned[:, true]).T
    unseen = np.concatenate([_complement(parameters[seen]), _unit(along[:, ~true].T)])
    blind = np.any(np.abs(unseen) > 1e-3, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        result = bread @ noise @ bread.T / scale[:, None] / scale
    result[blind, blind] = np.inf
    return result


def _complement(rows: np.ndarray) -> np.ndarray:
    """Orthonormal directions that are orthogonal to these."""
    every = np.linalg.svd(rows, full_matrices=True)[2]
    return every[len(rows) :]


def _unit(rows: np.ndarray) -> np.ndarray:
    """The same directions, of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
