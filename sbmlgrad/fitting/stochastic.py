"""Fits of exact simulation: moments matched by noisy gradients, in units of errors that the simulation predicts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.common_numbers import CommonNumbers, repeats
from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.moments import Source
from sbmlgrad.fitting.noise import Noise, observed
from sbmlgrad.fitting.optimise import Descent, Evaluate, descend, evaluate_at, polyak_average
from sbmlgrad.fitting.outcome import Outcome, curves_of_trajectories, dense, of_least_squares, of_squares
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.profile import Surface
from sbmlgrad.fitting.uncertainty import Verdict, covariance, judge
from sbmlgrad.gradient.estimator import Estimate, Task

if TYPE_CHECKING:
    import optax
    import pandas

_MOST_ROUNDS = 5  # of weights
_NEGLIGIBLE_SHIFT = 0.3  # of the data's error: a shift by other weights that needs no further average
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
        origin: str,
        n: int,
        seed: int,
        optimiser: optax.GradientTransformation | None,
    ):
        self.settings = origin, n, seed, optimiser  # for another fit like this one
        self._optimiser = optimiser
        self.source, self.parameters, self.n, self._seed = source, parameters, n, seed
        self.descent = Descent(parameters.to_scale(parameters.start), target=target)
        self._noise: Noise | None = None
        for name, reached in zip(parameters.names, source.reaches(parameters.start), strict=True):
            if not reached:
                raise FitError(
                    f"{origin}: {name!r} enters no reaction or observable, so the data cannot tell its value; fix it"
                )

    def solve(self, bar: tqdm[Any]) -> Outcome:
        """Run to the end."""
        descent = self.run(bar)
        return of_least_squares(descent, self.judge(), self.parameters, self.n, self.curves())

    def run(self, bar: tqdm[Any]) -> Descent:
        """Descend, with little noise; then average, without bias; with weights of what was found, until they agree."""
        descent, parameters = self.descent, self.parameters
        rough, exact = self._evaluator(descending=True), self._evaluator(descending=False)
        for number in range(_MOST_ROUNDS):
            evaluate = partial(evaluate_at, rough, parameters, "search")
            phases = [descend(evaluate, parameters, descent, self._optimiser)]
            if number:
                average = partial(evaluate_at, exact, parameters, "settle")
                phases.append(polyak_average(average, parameters, descent, self._error))
            for phase in phases:
                for row in phase:
                    bar.set_postfix_str(f"{row.phase}, loss {row.loss:.4g}", refresh=False)
                    bar.update()
            self._reweight()
            if number:
                shift = descent.shift(parameters)
                moved = np.max(np.abs(shift) / np.maximum(self._error(descent), _LEAST_ERROR))
                if not descent.converged or moved <= _NEGLIGIBLE_SHIFT:
                    break
        descent.move(shift)
        if descent.converged and moved > 1:
            descent.converged = False
            descent.message = (
                f"weights and estimates still move each other after {_MOST_ROUNDS} rounds; start elsewhere"
            )
        return descent

    def warn(self) -> None:
        """Name what starts from, or is set to, fractions of molecules."""
        self.source.warn()

    def surface(self, outcome: Outcome, bar: tqdm[Any]) -> Surface:
        """The weighted squares around the estimate, of the same random numbers at all points."""
        descent, errors = self.descent, np.sqrt(np.diag(outcome.covariance))
        often = repeats(descent, errors)
        climb = CommonNumbers(self._evaluator(descending=False), self.parameters, descent, often, bar)
        inverse, margins = of_squares(outcome, descent.jacobians)
        note = f", by simulation: the same random numbers of {often * self.n} trajectories at all points"
        best = climb.at(descent.point).value
        return Surface(climb, descent.point, best, inverse, margins, quantity="loss", note=note)

    def judge(self, caution: float = 1.0) -> Verdict:
        """What the residuals say at the present point."""
        descent = self.descent
        assert self._noise is not None
        noise = replace(self._noise, simulated=descent.effective_size)
        return judge(descent.target, noise, descent.jacobian, descent.residuals, caution)

    def curves(self) -> pandas.DataFrame:
        """Means and sds of the fitted model on a dense grid of times."""
        import pandas

        target, frames = self.descent.target, []
        times = dense(target.times)
        values = target.shown(self._simulated(times))
        for trial, condition in enumerate(target.conditions):
            own, shown = target.own_times(trial), np.array(target.trials) == trial
            here = (times >= own[0]) & (times <= own[-1])
            names = list(compress(target.observables, shown))
            frames.append(curves_of_trajectories(names, times[here], values[shown][:, here], condition))
        return pandas.concat(frames, ignore_index=True)

    def _reweight(self) -> None:
        """Go on in units of the errors that the model predicts at the present point."""
        target = self.descent.target
        values = self._simulated(target.times)
        rows = target.influence(values)
        level = values.mean(axis=-1)[target.observable, target.time]
        predicted = np.where(target.trial[:, None] == target.trial, rows @ rows.T / (rows.shape[1] - 1), 0.0)
        one, floored, scatter = observed(target, predicted, level)
        told = target.told | target.counted
        self._noise = Noise(one, predicted, told, floored, most_share=1 / _FEWEST_CELLS, scatter=scatter)
        self.descent.reweight(self._noise.errors(target), target.blurred(values, np.diag(predicted)))

    def _error(self, descent: Descent) -> np.ndarray:
        """The error (P,) that the data leave in each parameter, on the optimiser's scale."""
        return np.sqrt(np.diag(covariance(self.judge(_CAUTION).covariance, descent.jacobians)))

    def _evaluator(self, descending: bool) -> Evaluate:
        """Two independent halves at any values."""
        half, times = -(-self.n // 2), self.descent.target.times

        def evaluate(values: np.ndarray, step: int) -> tuple[Estimate, Estimate]:
            seeds = np.random.SeedSequence((abs(self._seed), step)).generate_state(2)
            first, second = (self.source.estimate(Task(values, times, half, int(seed)), descending) for seed in seeds)
            return first, second

        return evaluate

    def _simulated(self, times: np.ndarray) -> np.ndarray:
        """Observables (observables, times, n) at the present point, fractions of molecules kept in the mean."""
        values = self.parameters.from_scale(self.descent.point)
        seed = int(np.random.SeedSequence((abs(self._seed), 2**32 - 1)).generate_state(1)[0])
        return self.source.simulated(values, times, _SEEN_TRAJECTORIES, seed)
