"""Uphill on a likelihood: its value and score on the optimiser's scale, the way to a maximum nearby, its curvature."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import OptimizeResult, minimize
from tqdm import tqdm

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.box_search import Local, search
from sbmlgrad.fitting.optimise import Row
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.likelihood.likelihood import Evaluation

REACH = math.log(10.0)
"""How far from where a search begins, on the optimiser's scale, before it begins anew."""

_MOST_STEPS = 500  # of an optimiser that was handed in
_STEP = 1e-3  # on the optimiser's scale, of the differences of scores
_MOST_ANEW = 10  # searches by slopes, each without the curvature that has misled the one before
_TO_GAIN = 1e-4  # twice the log-likelihood that a parabola promises: nothing
_BLIND = 1e-8  # of the largest curvature: a direction that the data do not see


class Followed(Protocol):
    """What can be followed uphill, as :class:`sbmlgrad.likelihood.likelihood.Likelihood`."""

    def prepare(self, values: np.ndarray) -> None: ...

    def evaluate(self, values: np.ndarray) -> Evaluation: ...

    def widen(self, values: np.ndarray, rough: bool = False) -> bool: ...

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]: ...


class Ascent:
    """The negative log-likelihood on the optimiser's scale."""

    def __init__(self, likelihood: Followed, parameters: Parameters, bar: tqdm[Any]):
        self.likelihood, self.parameters, self.bar = likelihood, parameters, bar
        self.rows: list[Row] = []
        self._walled = False  # whether a search has met what cannot be computed
        self._latest: tuple[np.ndarray, Evaluation] | None = None  # a point, and what was found there
        self._known: tuple[np.ndarray, np.ndarray] | None = None  # the same of the information

    def at(self, point: np.ndarray) -> Evaluation:
        """Value and score by the coordinates."""
        if self._latest is None or not np.array_equal(self._latest[0], point):
            self._latest = point.copy(), self._evaluated(point)
        return self._latest[1]

    def widen(self, point: np.ndarray, rough: bool = False) -> bool:
        """As the likelihood's, after which what was found before is known no more."""
        widened = self.likelihood.widen(self.parameters.from_scale(point), rough)
        if widened:
            self._latest = self._known = None
        return widened

    @contextmanager
    def roughly(self, point: np.ndarray) -> Iterator[None]:
        """As the likelihood's."""
        try:
            with self.likelihood.roughly(self.parameters.from_scale(point)):
                self._latest = self._known = None
                yield
        finally:
            self._latest = self._known = None

    def _evaluated(self, point: np.ndarray) -> Evaluation:
        values = self.parameters.from_scale(point)
        found, slope = self.likelihood.evaluate(values), self.parameters.slope(values)
        information = None if found.information is None else found.information * np.outer(slope, slope)
        return Evaluation(found.value, found.score * slope, information, found.kinked)

    def near(self, begin: np.ndarray, held: int | None = None, unit: np.ndarray | float = 1.0) -> Any:
        """The best point within reach, with one of the coordinates held where this is asked for.

        First steps are of the size of ``unit`` (P,), on the scale of the coordinates. ``walled`` in the result says
        whether there was more where nothing could be computed.

        Raises :class:`SimulationError` where nothing can be computed at the beginning.
        """
        lower, upper = (self.parameters.to_scale(side) for side in (self.parameters.lower, self.parameters.upper))
        begin = np.clip(begin, lower, upper)
        lower, upper = np.maximum(lower, begin - REACH), np.minimum(upper, begin + REACH)
        if held is not None:
            lower[held] = upper[held] = begin[held]
        first, self._walled = self.at(begin), False
        self._note(begin, first)
        if not np.any(lower < upper):  # the only parameter is held
            result = OptimizeResult(x=begin, fun=-first.value, success=True, message="nothing is free")
        elif first.information is not None and np.isfinite(first.value):
            result = self._by_information(first, begin, lower, upper)
        else:
            result = self._by_slopes(first, begin, (lower, upper), unit)
        result.walled = self._walled
        return result

    def _by_slopes(
        self, first: Evaluation, begin: np.ndarray, ends: tuple[np.ndarray, np.ndarray], unit: np.ndarray | float
    ) -> OptimizeResult:
        """By L-BFGS-B, which learns the curvature on the way."""
        lower, upper = ((end - begin) / unit for end in ends)
        worst = 0.0

        def loss(step: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal worst
            point = begin + unit * step
            found = first if np.array_equal(point, begin) else self._tried(point)
            if not np.isfinite(found.value):
                return 1e3 * (1 + abs(worst)), np.zeros_like(point)  # so that the step is taken back
            worst = max(worst, -found.value)
            return -found.value, -found.score * unit

        bounds = list(zip(lower, upper, strict=True))
        options = {"ftol": 1e-12, "gtol": 1e-5}
        step = np.zeros_like(begin)
        for _ in range(_MOST_ANEW):
            result = minimize(loss, step, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
            # a curvature that misleads ends the search on a slope; without it, it goes on
            free = (lower < result.x) & (result.x < upper)
            slope = np.where(free, result.jac, 0.0)
            if slope @ result.hess_inv.dot(slope) < _TO_GAIN or np.array_equal(result.x, step):
                break
            step = result.x
        result.x = begin + unit * result.x
        return result

    def _by_information(
        self, first: Evaluation, begin: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> OptimizeResult:
        """Fisher's scoring: a search whose curvature is the information that the model expects."""

        def local(point: np.ndarray) -> Local:
            found = first if np.array_equal(point, begin) else self._tried(point)
            information = np.eye(len(point)) if found.information is None else found.information
            return Local(-found.value, -found.score, information)

        found = search(local, begin, lower, upper, nothing=0.1 * _TO_GAIN)
        value = found.local.value
        return OptimizeResult(x=found.point, fun=value, success=found.converged, message=found.message)

    def _tried(self, point: np.ndarray) -> Evaluation:
        """Value and score at a point on the way; minus infinity where it is too far out."""
        try:
            found = self.at(point)
        except SimulationError:
            found, self._walled = Evaluation(-np.inf, np.zeros_like(point)), True
        self._note(point, found)
        return found

    def followed(self, point: np.ndarray, optimiser: optax.GradientTransformation) -> np.ndarray:
        """Where an optimiser that was handed in goes, left to itself."""
        state = optimiser.init(jnp.asarray(point))
        for _ in range(_MOST_STEPS):
            try:
                found = self.at(point)
            except SimulationError:  # farther than was prepared for
                self.likelihood.prepare(self.parameters.from_scale(point))
                self._latest = self._known = None
                found = self.at(point)
            self._note(point, found)
            update, state = optimiser.update(jnp.asarray(-found.score), state, jnp.asarray(point))
            point = self.parameters.clip(np.asarray(optax.apply_updates(jnp.asarray(point), update)))
            if np.max(np.abs(np.asarray(update))) < _STEP:
                break
        return point

    def flat(self, point: np.ndarray) -> bool:
        """Whether no more than rounding is to be gained, whatever the optimiser says.

        Where the score jumps it is never 0, and there is none but the search to say it.
        """
        if self.at(point).kinked:
            return True
        free = ~self._at_bound(point)
        own, score = self.information(point)[np.ix_(free, free)], self.at(point).score[free]
        scale = np.sqrt(np.maximum(np.abs(np.diag(own)), 1e-300))
        sizes, directions = np.linalg.eigh(own / np.outer(scale, scale))
        sizes = np.maximum(np.abs(sizes), _BLIND)  # uphill there is something to be gained in a valley, too
        return bool(np.sum(np.square((score / scale) @ directions) / sizes) < _TO_GAIN)

    def information(self, point: np.ndarray) -> np.ndarray:
        """Minus the second derivatives (P, P), as central differences of scores."""
        if self._known is None or not np.array_equal(self._known[0], point):
            self._known = point.copy(), self._differences(point)
        return self._known[1]

    def _differences(self, point: np.ndarray) -> np.ndarray:
        here = self.at(point)
        if here.kinked and here.information is not None:
            return here.information
        steps = _STEP * np.eye(len(point))
        rows = [(self.at(point - step).score - self.at(point + step).score) / (2 * _STEP) for step in steps]
        matrix = np.array(rows)
        return (matrix + matrix.T) / 2

    def covariance(self, point: np.ndarray) -> np.ndarray:
        """Inverse of the information; infinite for what the data do not determine, or what stands at a bound."""
        return inverse_information(self.information(point), self._at_bound(point))

    def _note(self, point: np.ndarray, found: Evaluation) -> None:
        """Keep an evaluation for the history, and show it."""
        self.rows.append(Row("search", -2 * found.value, 0.0, self.parameters.from_scale(point)))
        self.bar.set_postfix_str(f"log-likelihood {found.value:.6g}", refresh=False)
        self.bar.update()

    def _at_bound(self, point: np.ndarray) -> np.ndarray:
        return self.parameters.at_bound(self.parameters.from_scale(point))


def inverse_information(information: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The covariance (P, P); infinite variances for what the data do not determine, or what is ``fixed`` (P,)."""
    result = np.full_like(information, np.nan)
    np.fill_diagonal(result, np.inf)
    free = np.flatnonzero(~fixed & (np.diag(information) > 0))
    if not len(free):
        return result
    own = information[np.ix_(free, free)]
    scale = np.sqrt(np.diag(own))
    sizes, directions = np.linalg.eigh(own / np.outer(scale, scale))
    seen = sizes > _BLIND * sizes.max()
    inverse = (directions[:, seen] / sizes[seen]) @ directions[:, seen].T / np.outer(scale, scale)
    blind = np.any(np.abs(directions[:, ~seen]) > 1e-3, axis=1)
    inverse[blind, blind] = np.inf
    result[np.ix_(free, free)] = inverse
    return result
