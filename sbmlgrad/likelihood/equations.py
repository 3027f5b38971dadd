"""The likelihood of measured values around the solution of rate equations, independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import FitError
from sbmlgrad.likelihood.likelihood import Evaluation, Expected, expected_values
from sbmlgrad.likelihood.measurement import Laws, Measurement, central_moments, information, log_density, valid
from sbmlgrad.likelihood.records import Trajectories
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.simulation.deterministic import sensitivities, solve
from sbmlgrad.simulation.path import Settings

_NORMAL = Measurement("normal")
_SOFT, _SHARP = 1.0, 1e-3  # of the scale, over which the tip of a Laplace law is rounded off, at first and at last
_CERTAIN = 1e30  # information that nothing measured has


class MeasuredEquations:
    """Values that differ from the solution by errors of measurement alone.

    ``equations`` observe the data's observables, and after them the parameters of the ``laws`` in their order. What has
    no law is normal, with the variance that the data state.
    """

    name = "ode"
    drawn = False

    def __init__(
        self,
        equations: HybridModel,
        quantities: np.ndarray,
        indices: Sequence[int],
        data: Trajectories,
        laws: Laws,
        settings: Settings,
    ):
        self.equations, self.data, self.laws, self._settings = equations, data, laws, settings
        self._quantities, self._indices = quantities, list(indices)
        self._law = [laws.get(name, _NORMAL) for name in data.observables]
        self._place = [equations.observables.index(law.parameter) if law.parameter else -1 for law in self._law]
        self._start = min(data.start, float(data.times[0]))
        self._softness = _SOFT

    @property
    def size(self) -> int:
        return self.data.size

    def prepare(self, values: np.ndarray) -> None:
        """Raises :class:`FitError` for a noise that is none at these values."""
        levels = self._levels(values)
        for index, name in enumerate(self.data.observables):
            law, place = self._law[index], self._place[index]
            seen = ~np.all(np.isnan(self.data.values[:, index]), axis=0)
            wrong = seen & ~np.asarray(valid(law.law, levels[place])) if place >= 0 else np.zeros(len(seen), bool)
            if wrong.any():
                time, level = self.data.times[wrong][0], levels[place][wrong][0]
                raise FitError(
                    f"the noise of {name!r} is {level:.4g} at time {time:g} with the start values, and no "
                    f"{law.law} law has that; give it a part that stays, as in 'sigma + 0.1*{name}', or start elsewhere"
                )

    def evaluate(self, values: np.ndarray) -> Evaluation:
        every = self._at(values)
        if self._indices:
            fixed = (self.data.times, self._start, self._settings)
            levels, slopes = sensitivities(self.equations, every, self._indices, *fixed)
        else:
            levels = self._levels(values)
            slopes = np.zeros((0, *levels.shape))
        total, score = 0.0, np.zeros(len(self._indices))
        known = np.zeros((len(score), len(score)))
        for index, (law, place) in enumerate(zip(self._law, self._place, strict=True)):
            own = levels[place] if place >= 0 else np.sqrt(self.data.variance[:, index])
            own = np.where(own > 0, own, 1.0) if place < 0 else own  # where nothing was measured
            density = _density(law.law)
            value, (by_level, by_own) = density(self.data.values[:, index], levels[index], own, self._softness)
            total += float(value)
            score += slopes[:, index] @ np.nan_to_num(np.asarray(by_level))
            if place >= 0:
                score += slopes[:, place] @ np.nan_to_num(np.asarray(by_own))
            known += self._information(index, levels[index], own, slopes)
        if not np.isfinite(total):
            return Evaluation(-np.inf, score, np.zeros_like(known))
        return Evaluation(total, score, known, kinked=any(law.law == "laplace" for law in self._law))

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        """A search that begins with a rounded tip does not stick at the first of a thousand kinks."""
        if self._softness <= _SHARP or all(law.law != "laplace" for law in self._law):
            return False
        self._softness /= 10
        return True

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]:
        return nullcontext()

    def expected(self, values: np.ndarray) -> Expected:
        levels, shape = self._levels(values), self.data.values.shape
        mean, variance, wildness = (np.zeros(shape) for _ in range(3))
        for index, (law, place) in enumerate(zip(self._law, self._place, strict=True)):
            own = levels[place] if place >= 0 else np.sqrt(self.data.variance[:, index])
            first, second, _, fourth = (
                np.broadcast_to(np.asarray(v), mean[:, index].shape)
                for v in central_moments(law.law, levels[index], own)
            )
            mean[:, index], variance[:, index] = first, second
            wildness[:, index] = fourth / np.where(second > 0, second, 1.0) ** 2
        return expected_values(self.data, mean, variance, wildness)

    def describe(self) -> str:
        laws = ", ".join(dict.fromkeys(law.law.replace("_", " ") for law in self._law))
        return f"likelihood of values around the rate equations, {laws}"

    def _information(self, index: int, level: np.ndarray, own: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """What the values of one observable are expected to tell of the parameters (P, P)."""
        law, place = self._law[index], self._place[index]
        seen = ~np.isnan(self.data.values[:, index])
        with np.errstate(all="ignore"):
            parts = (np.asarray(part) for part in information(law.law, level[None], np.atleast_2d(own)))
            of_level, of_both, of_own = (
                np.where(seen & np.isfinite(part) & (part < _CERTAIN), part, 0.0).sum(axis=0) for part in parts
            )
        by_level = slopes[:, index]
        result = (by_level * of_level) @ by_level.T
        if place >= 0:
            by_own = slopes[:, place]
            cross = (by_level * of_both) @ by_own.T
            result = result + cross + cross.T + (by_own * of_own) @ by_own.T
        return result

    def _levels(self, values: np.ndarray) -> np.ndarray:
        """Observables and parameters of laws (observables, times)."""
        return solve(self.equations, self._at(values), self.data.times, self._start, settings=self._settings)

    def _at(self, values: np.ndarray) -> np.ndarray:
        every = self._quantities.copy()
        every[self._indices] = values
        return every


@cache
def _density(law: str) -> Any:
    """Compiled: the log density of values (replicates, times) in all, and its derivatives by signal and parameter."""

    def total(values: Any, signal: Any, parameter: Any, softness: Any) -> Any:
        there = ~jnp.isnan(values)
        density = log_density(law, jnp.where(there, values, 1.0), signal[None], jnp.atleast_2d(parameter), softness)
        return jnp.sum(jnp.where(there, density, 0.0))

    return jax.jit(jax.value_and_grad(total, argnums=(1, 2)))
