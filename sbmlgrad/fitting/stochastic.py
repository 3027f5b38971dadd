"""Fits of exact simulation: moments matched by noisy gradients, in units of errors that the simulation predicts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.moments import Source
from sbmlgrad.fitting.noise import Noise, observed
from sbmlgrad.fitting.optimise import Evaluate, Path, look_by, search, settle
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.uncertainty import Verdict, covariance, judge
from sbmlgrad.gradient.estimator import Estimate, Task

if TYPE_CHECKING:
    import optax
    import pandas

_MOST_ROUNDS = 5  # of weights
_STILL = 0.3  # of the data's error: a shift by other weights that needs no further look
_LEAST_ERROR = 1e-5  # on the optimiser's scale
_FEWEST_CELLS = 5.0  # that are believed to stand behind moments
_SEEN_TRAJECTORIES = 4000  # for errors, covariances of the data, and the curves of the report
_CAUTION = 3.0  # While residuals may well be the simulation's own, the data are taken to be better than they seem.


class MomentFit:
    """Measured values and the moments of a model's exact trajectories."""

    unit = "step"

    def __init__(
        self,
        source: Source,
        parameters: Parameters,
        target: Target,
        path: str,
        n: int,
        seed: int,
        optimiser: optax.GradientTransformation | None,
    ):
        self._optimiser = optimiser
        self.source, self.parameters, self.n, self._seed = source, parameters, n, seed
        self.path = Path(parameters.to_scale(parameters.start), target)
        self._noise: Noise | None = None
        for name, reached in zip(parameters.names, source.reaches(parameters.start), strict=True):
            if not reached:
                raise FitError(f"{path}: {name!r} enters no reaction or observable, so the data cannot tell its value")

    def run(self, bar: tqdm[Any]) -> Path:
        """Search, with little noise; then settle, without bias; with weights of what was found, until they agree."""
        path, parameters = self.path, self.parameters
        rough, exact = self._evaluator(searching=True), self._evaluator(searching=False)
        for number in range(_MOST_ROUNDS):
            look_at = partial(look_by, rough, parameters, "search")
            phases = [search(look_at, parameters, path, self._optimiser)]
            if number:
                phases.append(settle(exact, parameters, path, self._error))
            for phase in phases:
                for row in phase:
                    bar.set_postfix_str(f"{row.phase}, loss {row.loss:.4g}", refresh=False)
                    bar.update()
            self._reweight()
            if number:
                shift = path.shift(parameters)
                moved = np.max(np.abs(shift) / np.maximum(self._error(path), _LEAST_ERROR))
                if not path.converged or moved <= _STILL:
                    break
        path.move(shift)
        if path.converged and moved > 1:
            path.converged = False
            path.message = f"weights and estimates still move each other after {_MOST_ROUNDS} rounds; start elsewhere"
        return path

    def warn(self) -> None:
        """Name what starts from, or is set to, fractions of molecules."""
        self.source.warn()

    def judge(self, caution: float = 1.0) -> Verdict:
        """What the residuals say at the present point."""
        path = self.path
        assert self._noise is not None
        noise = replace(self._noise, simulated=path.worth)
        return judge(path.target, noise, path.jacobian, path.residuals, caution)

    def curves(self) -> pandas.DataFrame:
        """Means and sds of the fitted model on a dense grid of times."""
        import pandas

        known = self.path.target.times
        times = np.union1d(known, np.linspace(known[0], known[-1], 101))
        values = self._simulated(times)
        mean, sd = values.mean(axis=-1), values.std(axis=-1)
        stderr = sd / np.sqrt(values.shape[-1])
        return pandas.concat(
            [
                pandas.DataFrame({"observable": name, "time": times, "mean": m, "mean_stderr": e, "sd": s})
                for name, m, e, s in zip(self.path.target.observables, mean, stderr, sd, strict=True)
            ],
            ignore_index=True,
        )

    def _reweight(self) -> None:
        """Go on in units of the errors that the model predicts at the present point."""
        target = self.path.target
        values = self._simulated(target.times)
        rows = target.influence(values)
        level = values.mean(axis=-1)[target.observable, target.time]
        predicted = rows @ rows.T / (rows.shape[1] - 1)
        one, floored, scatter = observed(target, predicted, level)
        told = target.told | target.counted
        self._noise = Noise(one, predicted, told, floored, most_share=1 / _FEWEST_CELLS, scatter=scatter)
        self.path.reweight(self._noise.errors(target))

    def _error(self, path: Path) -> np.ndarray:
        """The error (P,) that the data leave in each parameter, on the optimiser's scale."""
        return np.sqrt(np.diag(covariance(self.judge(_CAUTION).covariance, path.jacobians)))

    def _evaluator(self, searching: bool) -> Evaluate:
        """Two independent halves at any values."""
        half, times = -(-self.n // 2), self.path.target.times

        def evaluate(values: np.ndarray, step: int) -> tuple[Estimate, Estimate]:
            seeds = np.random.SeedSequence((abs(self._seed), step)).generate_state(2)
            start = min(0.0, float(times[0]))
            first, second = (
                self.source.estimate(Task(values, times, half, int(seed), start), searching) for seed in seeds
            )
            return first, second

        return evaluate

    def _simulated(self, times: np.ndarray) -> np.ndarray:
        """Observables (observables, times, n) at the present point, fractions of molecules kept in the mean."""
        values = self.parameters.from_scale(self.path.point)
        seed = int(np.random.SeedSequence((abs(self._seed), 2**32 - 1)).generate_state(1)[0])
        return self.source.simulated(values, times, _SEEN_TRAJECTORIES, seed)
