"""The optimiser: Gauss-Newton directions from noisy gradients, taken by optax, to an end that the noise defines.

First a damped descent: steps are taken back where the loss rises beyond its noise, and the descent ends when the
decrease that the gradient still promises is no larger than its noise promises. Then estimates are averaged: every
further evaluation gives an independent estimate of the optimum, and their running average is the result
(Polyak & Juditsky, SIAM J. Control Optim. 1992) once its Monte Carlo error is small beside the error that the
data leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
import optax

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.gradient.estimator import Estimate

Evaluate = Callable[[np.ndarray, int], tuple[Estimate, Estimate]]
"""(parameter values, step) -> moments from two independent halves of an ensemble"""

MOST_EVALUATIONS = 60
"""In a descent, and in an average."""

_MOST_EVALUATIONS_OF_OTHERS = 300  # in a descent by an optimiser without second derivatives
_LARGEST_STEP = 1.0  # on the optimiser's scale: a factor e
_MC_SHARE = 0.5  # Monte Carlo error over the error that the data leave
_FEWEST_EVALUATIONS = 6
_RISEN = 6.0  # times the noise of the loss, that its end may lie above the lowest of many


class Evaluation(NamedTuple):
    """What one pair of ensembles says at one point, on the optimiser's scale.

    Products of two quantities take one from each half, so that noise does not enter squared.
    """

    loss: float
    noise: float
    gradient: np.ndarray
    scatter: np.ndarray  # half the difference of the two gradients: a draw of the gradient's noise
    curvature: np.ndarray  # Gauss-Newton: half the expected Hessian of the loss
    jacobians: np.ndarray  # of the weighted residuals, one from each half (2, m, P)
    residuals: np.ndarray  # weighted (m,)
    effective_size: float  # trajectories without control variates that would be as precise


@dataclass(frozen=True)
class Row:
    """One step of the history."""

    phase: str
    loss: float
    noise: float
    values: np.ndarray


@dataclass
class Steps:
    """How a search went: its rows, where it is now, and why it stopped."""

    point: np.ndarray
    rows: list[Row] = field(default_factory=list)
    message: str = ""
    converged: bool = False
    """Whether the stopping rule was met."""
    mc_covariance: np.ndarray | None = None
    jacobians: np.ndarray = field(default_factory=lambda: np.zeros((2, 0, 0)))
    """Of the weighted residuals (2, m, P), with noise of their own; the same twice where nothing is drawn."""
    residuals: np.ndarray = field(default_factory=lambda: np.zeros(()))
    evaluations: int = 0
    effective_size: float = 0.0
    """Trajectories without control variates that would be as precise."""
    begun: int = 0
    """How many rows are older than the present weights."""

    @property
    def jacobian(self) -> np.ndarray:
        """Derivatives (m, P) of the weighted residuals."""
        mean: np.ndarray = self.jacobians.mean(axis=0)
        return mean


Searched = TypeVar("Searched", bound=Steps)


@dataclass
class Descent(Steps):
    """A search for the least weighted squares of a target."""

    target: Target = field(kw_only=True)

    def reweight(self, error: np.ndarray, blur: np.ndarray | None = None) -> None:
        """From here on in units of other errors (m,), and with another ``blur`` where it is given."""
        old, ratio = self.target, self.target.error / error
        self.target = replace(old, error=error, blur=old.blur if blur is None else blur)
        if self.evaluations:
            smaller = np.where(old.counted, (self.target.blur - old.blur) / (old.replicates * error), 0.0)
            self.residuals, self.jacobians = self.residuals * ratio - smaller, self.jacobians * ratio[:, None]
        self.begun = len(self.rows)

    def shift(self, parameters: Parameters) -> np.ndarray:
        """How far (P,) the present weights move the estimate, to first order."""
        gradient = self.jacobian.T @ self.residuals
        free = _free(parameters, self.point, gradient)
        curvature = np.where(np.outer(free, free), self.jacobian.T @ self.jacobian, 0.0)
        step = np.clip(solve(curvature, np.where(free, gradient, 0.0)), -_LARGEST_STEP, _LARGEST_STEP)
        return parameters.clip(self.point - step) - self.point

    def move(self, shift: np.ndarray) -> None:
        """Take a small step (P,)."""
        self.point, self.residuals = self.point + shift, self.residuals + self.jacobian @ shift


def evaluation_of(moments: tuple[Estimate, Estimate], target: Target, slope: np.ndarray) -> Evaluation:
    """Loss, gradient and curvature from the two halves."""
    first, second = (target.residuals(m) for m in moments)
    left, right = (target.jacobian(m) * slope / target.error[:, None] for m in moments)
    if not (np.all(np.isfinite(first + second)) and np.all(np.isfinite(left + right))):
        raise FitError("the simulated moments or their derivatives are not finite here; tighten the bounds")
    one, two = left.T @ second, right.T @ first
    cross = left.T @ right
    middle = (first + second) / 2
    return Evaluation(
        loss=float(first @ second),
        noise=float(abs(middle @ (first - second))),
        gradient=(one + two) / 2,
        scatter=(one - two) / 2,
        curvature=(cross + cross.T) / 2,
        jacobians=np.stack([left, right]),
        residuals=middle,
        effective_size=sum(m.effective_size for m in moments),
    )


def exact_evaluation(residuals: np.ndarray, jacobian: np.ndarray) -> Evaluation:
    """Loss, gradient and curvature of weighted residuals (m,) and their derivatives (m, P), where nothing is drawn."""
    gradient, none = jacobian.T @ residuals, np.zeros(jacobian.shape[1])
    loss, curvature = float(residuals @ residuals), jacobian.T @ jacobian
    return Evaluation(loss, 0.0, gradient, none, curvature, np.stack([jacobian] * 2), residuals, 0.0)


def gauss_newton() -> optax.GradientTransformationExtraArgs:
    """Turn a gradient into the damped Gauss-Newton direction.

    ``update`` takes ``curvature`` (P, P) and ``damping``, the fraction of its diagonal that is added (Marquardt,
    SIAM J. Appl. Math. 1963), and remembers curvatures with a half-life of one step, to see through their noise.
    """

    def init(params: Any) -> Any:
        return jnp.zeros((params.size, params.size))

    def update(updates: Any, state: Any, params: Any = None, *, curvature: Any, damping: Any, **_: Any) -> Any:
        state = jnp.where(jnp.any(state != 0), 0.5 * (state + curvature), curvature)
        return jnp.asarray(solve(np.asarray(state), np.asarray(updates), float(damping))), state

    return optax.GradientTransformationExtraArgs(init, update)


def solve(curvature: np.ndarray, gradient: np.ndarray, damping: float = 0.0) -> np.ndarray:
    """The Gauss-Newton direction; directions that the data do not see (or that noise makes negative) stay put."""
    scale = np.sqrt(np.maximum(np.diag(curvature), 0.0))
    scale = np.where(scale > 0, scale, np.inf)
    scaled = curvature / np.outer(scale, scale)
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    seen = values + damping > 1e-6 * max(float(values.max(initial=0.0)), 1e-12)
    inverse = np.where(seen, 1.0 / np.where(seen, values + damping, 1.0), 0.0)
    return (vectors @ (inverse * (vectors.T @ (gradient / scale)))) / scale


def descend(
    evaluate: Callable[[Searched], Evaluation],
    parameters: Parameters,
    descent: Searched,
    handed_in: optax.GradientTransformation | None = None,
    damping: float = 0.1,
) -> Iterator[Row]:
    """Go downhill until the noise hides the slope, or for as many evaluations as are reasonable.

    By damped Gauss-Newton steps that are taken back where they led uphill, or as an optimiser that is ``handed_in``
    says, which is given the gradient of the loss and left to itself.
    """
    own = optax.chain(gauss_newton(), optax.clip(_LARGEST_STEP), optax.scale(-1.0))
    optimiser = own if handed_in is None else optax.with_extra_args_support(handed_in)
    factor = 1.0 if handed_in is None else 2.0  # an Evaluation has halves of gradient and curvature
    state = optimiser.init(jnp.asarray(descent.point))
    best: tuple[np.ndarray, Evaluation] | None = None
    promised: list[float] = []
    quiet = 0
    for _ in range(MOST_EVALUATIONS if handed_in is None else _MOST_EVALUATIONS_OF_OTHERS):
        seen = evaluate(descent)
        yield descent.rows[-1]
        if handed_in is None and best and seen.loss > best[1].loss + 2 * (seen.noise + best[1].noise) and damping < 1e6:
            damping *= 10
            descent.point, seen = best
        else:
            damping = max(damping / 3, 1e-4)
            best = (descent.point, seen) if best is None or seen.loss < best[1].loss else best
            promised.append(_promise(seen.scatter, seen.curvature))
            hidden = _promise(seen.gradient, seen.curvature) <= 4 * float(np.mean(promised[-5:])) + 1e-6 * abs(
                seen.loss
            )
            quiet = quiet + 1 if hidden else 0
            if quiet == 2:
                return
        free = _free(parameters, descent.point, seen.gradient)
        step, state = optimiser.update(
            jnp.asarray(factor * np.where(free, seen.gradient, 0.0)),
            state,
            jnp.asarray(descent.point),
            curvature=np.where(np.outer(free, free), seen.curvature, 0.0),
            damping=damping,
        )
        descent.point = parameters.clip(np.asarray(optax.apply_updates(jnp.asarray(descent.point), step)))


def polyak_average(
    evaluate: Callable[[Searched], Evaluation],
    parameters: Parameters,
    descent: Searched,
    data_error: Callable[[Searched], np.ndarray],
) -> Iterator[Row]:
    """Average independent estimates of the optimum until their error is small beside the data's."""
    targets: list[np.ndarray] = []
    descent.effective_size, descent.converged = 0.0, False
    curvature = np.zeros((len(parameters.names),) * 2)
    descent.jacobians, residuals, visited = np.zeros(()), np.zeros(()), np.zeros(())
    noise = np.full(len(parameters.names), np.inf)
    tolerance = noise
    for k in range(1, MOST_EVALUATIONS + 1):
        seen = evaluate(descent)
        yield descent.rows[-1]
        curvature = curvature + (seen.curvature - curvature) / k
        descent.jacobians = descent.jacobians + (seen.jacobians - descent.jacobians) / k
        residuals = residuals + (seen.residuals - residuals) / k
        visited = visited + (descent.point - visited) / k
        free = _free(parameters, descent.point, seen.gradient)
        shown = np.where(np.outer(free, free), curvature, 0.0)
        step = np.clip(solve(shown, np.where(free, seen.gradient, 0.0)), -_LARGEST_STEP, _LARGEST_STEP)
        targets.append(parameters.clip(descent.point - step))
        descent.point = np.mean(targets, axis=0)
        descent.residuals = residuals + descent.jacobian @ (descent.point - visited)  # at the estimate, to first order
        descent.evaluations = k
        descent.effective_size += seen.effective_size
        if k >= _FEWEST_EVALUATIONS:
            # Of so few the variance is that of Student's t, and a rule that stops where it seems small needs it.
            descent.mc_covariance = np.atleast_2d(np.cov(np.array(targets).T)) / k * (k - 1) / (k - 3)
            noise = np.sqrt(np.diag(descent.mc_covariance))
            tolerance = np.maximum(_MC_SHARE * data_error(descent), 1e-5)
            if np.all(noise <= tolerance):
                descent.converged = not _risen(descent.rows[descent.begun :])
                descent.message = (
                    f"settled: Monte Carlo error at most {_MC_SHARE:g} of the data's after {k} evaluations"
                )
                if not descent.converged:
                    descent.message = (
                        "the loss is higher at the end than on the way, so these gradients mislead here; "
                        "start elsewhere, raise n, or use estimator 'score'"
                    )
                return
    worst = parameters.names[int(np.argmax(noise / tolerance))]
    descent.message = (
        f"took all {MOST_EVALUATIONS} evaluations, and the Monte Carlo error in {worst!r} is still above "
        f"{_MC_SHARE:g} of the data's; the standard errors include it, and a larger n makes them smaller"
    )


def evaluate_at(evaluate: Evaluate, parameters: Parameters, phase: str, descent: Descent) -> Evaluation:
    """Evaluate the present point, and write it into the history."""
    values = parameters.from_scale(descent.point)
    seen = evaluation_of(evaluate(values, len(descent.rows)), descent.target, parameters.slope(values))
    descent.rows.append(Row(phase, seen.loss, seen.noise, values))
    return seen


def _risen(rows: list[Row]) -> bool:
    """Whether the average ended clearly above the best that the descent saw."""
    averaged = [row for row in rows if row.phase == "settle"][-_FEWEST_EVALUATIONS:]
    descended = [row.loss for row in rows if row.phase == "search"]
    end = float(np.median([row.loss for row in averaged]))
    noise = float(np.mean([row.noise for row in rows]))
    return bool(descended) and end > min(descended) + _RISEN * noise + 0.1 * abs(end)


def _promise(gradient: np.ndarray, curvature: np.ndarray) -> float:
    """The decrease of the loss that a gradient promises; for a draw of its noise, what noise alone would promise."""
    return float(gradient @ solve(curvature, gradient, 1e-3))


def _free(parameters: Parameters, point: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Which parameters can move: not those pushed against a bound."""
    lower, upper = parameters.to_scale(parameters.lower), parameters.to_scale(parameters.upper)
    return ~(((point <= lower) & (gradient > 0)) | ((point >= upper) & (gradient < 0)))
