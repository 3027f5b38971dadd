"""Uphill on a likelihood: its value and score on the optimiser's scale, the way to a maximum nearby, its curvature."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import minimize
from tqdm import tqdm

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.optimise import Row
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.likelihood.likelihood import Evaluation, Likelihood

REACH = np.log(10.0)
"""How far from where a search begins, on the optimiser's scale, before it begins anew."""

_MOST_STEPS = 500  # of an optimiser that was handed in
_STEP = 1e-3  # on the optimiser's scale, of the differences of scores
_BLIND = 1e-8  # of the largest curvature: a direction that the data do not see


class Ascent:
    """The negative log-likelihood on the optimiser's scale."""

    def __init__(self, likelihood: Likelihood, parameters: Parameters, bar: tqdm[Any]):
        self.likelihood, self.parameters, self.bar = likelihood, parameters, bar
        self.rows: list[Row] = []

    def at(self, point: np.ndarray) -> Evaluation:
        """Value and score by the coordinates."""
        values = self.parameters.from_scale(point)
        found = self.likelihood.evaluate(values)
        return Evaluation(found.value, found.score * self.parameters.slope(values))

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
        bounds = list(zip((lower - begin) / unit, (upper - begin) / unit, strict=True))
        worst, walled = 0.0, False

        def loss(step: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal worst, walled
            point = begin + unit * step
            try:
                found = self.at(point)
            except SimulationError:
                if np.array_equal(point, begin):
                    raise
                found, walled = Evaluation(-np.inf, np.zeros_like(point)), True  # too far out
            self._note(point, found)
            if not np.isfinite(found.value):
                return 1e3 * (1 + abs(worst)), np.zeros_like(point)  # so that the step is taken back
            worst = max(worst, -found.value)
            return -found.value, -found.score * unit

        options = {"ftol": 1e-12, "gtol": 1e-5}
        result = minimize(loss, np.zeros_like(begin), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        result.x, result.walled = begin + unit * result.x, walled
        return result

    def followed(self, point: np.ndarray, optimiser: optax.GradientTransformation) -> np.ndarray:
        """Where an optimiser that was handed in goes, left to itself."""
        state = optimiser.init(jnp.asarray(point))
        for _ in range(_MOST_STEPS):
            try:
                found = self.at(point)
            except SimulationError:  # farther than was prepared for
                self.likelihood.prepare(self.parameters.from_scale(point))
                found = self.at(point)
            self._note(point, found)
            update, state = optimiser.update(jnp.asarray(-found.score), state, jnp.asarray(point))
            point = self.parameters.clip(np.asarray(optax.apply_updates(jnp.asarray(point), update)))
            if np.max(np.abs(np.asarray(update))) < _STEP:
                break
        return point

    def flat(self, point: np.ndarray) -> bool:
        """Whether no more than rounding is to be gained, whatever the optimiser says."""
        information = self.information(point)
        score = np.where(self._at_bound(point), 0.0, self.at(point).score)
        return bool(score @ np.linalg.pinv(information) @ score < 1e-4)

    def information(self, point: np.ndarray) -> np.ndarray:
        """Minus the second derivatives (P, P), as central differences of scores."""
        steps = _STEP * np.eye(len(point))
        rows = [(self.at(point - step).score - self.at(point + step).score) / (2 * _STEP) for step in steps]
        matrix = np.array(rows)
        return (matrix + matrix.T) / 2

    def covariance(self, point: np.ndarray) -> np.ndarray:
        """Inverse of the information; infinite for what the data do not determine, or what stands at a bound."""
        information = self.information(point)
        result = np.full_like(information, np.nan)
        np.fill_diagonal(result, np.inf)
        free = np.flatnonzero(~self._at_bound(point) & (np.diag(information) > 0))
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

    def _note(self, point: np.ndarray, found: Evaluation) -> None:
        """Keep an evaluation for the history, and show it."""
        self.rows.append(Row("search", -2 * found.value, 0.0, self.parameters.from_scale(point)))
        self.bar.set_postfix_str(f"log-likelihood {found.value:.6g}", refresh=False)
        self.bar.update()

    def _at_bound(self, point: np.ndarray) -> np.ndarray:
        return self.parameters.at_bound(self.parameters.from_scale(point))
