"""Fits of PEtab problems by exact simulation: the likelihood of the means of molecules, whose noise is accounted for.

Likelihood, gradient and information are computed from what two independent halves of all trajectories say, and from
their mean: twice the latter less the mean of the former is free of what the noise of simulation, squared, does to them
(Quenouille, Biometrika 43, 353, 1956). From each start a descent goes down until noise hides the slope, with the same
random numbers at all points; from the best of their ends on, independent estimates of the optimum are averaged.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sbmlgrad.errors import FitError, PetabError, SimulationError
from sbmlgrad.fitting.ascent import inverse_information
from sbmlgrad.fitting.optimise import MOST_EVALUATIONS, Row, Steps, descend, polyak_average
from sbmlgrad.fitting.optimise import Evaluation as Noisy
from sbmlgrad.petab.evaluate import Evaluation, Evaluator
from sbmlgrad.petab.fit import Ended, MultiStart, Options
from sbmlgrad.petab.objective import Objective, Posterior
from sbmlgrad.petab.observe import Simulated
from sbmlgrad.petab.stochastic_slopes import Drawn, MovingMeans, Sampling

_ROUGH = 4  # times fewer trajectories, until the best of the starts is known
_FEWEST = 20  # trajectories, of which two halves have means


@dataclass(frozen=True, eq=False)
class _Average:
    """What was drawn at points close to each other, on average, as it is at any point nearby, to first order."""

    points: list[np.ndarray]
    drawn: list[Drawn]

    def at(self, point: np.ndarray) -> Drawn:
        first, second = (
            _mean_of([_moved(getattr(one, half), point - where) for one, where in self._pairs])
            for half in ("first", "second")
        )
        errors = np.sqrt(np.sum([one.errors**2 for one in self.drawn], axis=0)) / len(self.drawn)
        return Drawn(first, second, errors)

    @property
    def _pairs(self) -> Iterable[tuple[Drawn, np.ndarray]]:
        return zip(self.drawn, self.points, strict=True)


class StochasticStarts(MultiStart):
    """Searches by exact simulation: rough ones from all starts, and from the best of their ends an exact one."""

    exact = False

    def __init__(self, evaluator: Evaluator, options: Options, n: int, sampling: Sampling):
        super().__init__(evaluator, options)
        if n < _FEWEST:
            raise FitError(f"{self.definition.source}: {n} trajectories are too few for means; give at least {_FEWEST}")
        self.n, self.means = n, MovingMeans(evaluator, sampling)
        self.objective = Objective(evaluator, self.parameters, self.fixed, evaluator.settings)
        self._average = _Average([], [])

    def evaluation(self, best: Ended) -> Evaluation:
        """What was found at the end, without what noise of simulation does to it."""
        assert best.point is not None
        assert best.posterior is not None
        drawn = self._average.at(best.point) if self._average.drawn else None
        values, _ = self.objective.moving(best.point)
        simulated = best.posterior.simulated
        rows = list(zip(simulated.values.tolist(), simulated.noise.tolist(), strict=True))
        found = self.evaluator.compared(values, rows, None if drawn is None else drawn.errors)
        return replace(found, llh=best.posterior.llh)

    def warn(self) -> None:
        """Name what starts from fractions of molecules."""
        self.means.warn()

    def _ended(self, start: np.ndarray) -> Ended:
        begin = time.perf_counter()
        steps, latest = Steps(self.parameters.to_scale(start)), _Latest()
        look = partial(self._seen, phase="search", n=max(self.n // _ROUGH, _FEWEST), latest=latest)
        try:
            self._run(descend(look, self.parameters, steps))
        except (SimulationError, PetabError) as error:
            return Ended(start, time.perf_counter() - begin, str(error))
        seconds = time.perf_counter() - begin
        converged = len(steps.rows) < min(self.options.evaluations, MOST_EVALUATIONS)
        message = "noise hides the slope" if converged else f"took all {len(steps.rows)} evaluations"
        return Ended(start, seconds, message, latest.point, latest.posterior, len(steps.rows), converged)

    def _confirmed(self, best: Ended) -> Ended:
        """From the best end on by all trajectories, without bias."""
        assert best.point is not None
        begin = time.perf_counter()
        steps, latest = Steps(best.point), _Latest()
        look = partial(self._seen, phase="search", n=self.n, latest=latest)
        average = partial(self._seen, phase="settle", n=self.n, latest=latest)
        try:
            self._run(descend(look, self.parameters, steps))
            steps.begun = len(steps.rows)
            self._run(polyak_average(average, self.parameters, steps, self._data_error))
        except (SimulationError, PetabError) as error:
            self._average = _Average([], [])  # which is not that of the rough end
            return replace(best, converged=False, message=f"not averaged around the end of the search: {error}")
        if steps.mc_covariance is not None:
            self.mc_covariance = steps.mc_covariance
        posterior, _ = self._posteriors(steps.point, self._average.at(steps.point))
        seconds = best.seconds + time.perf_counter() - begin
        evaluations = best.evaluations + len(steps.rows)
        message = steps.message or f"took all {len(steps.rows)} evaluations"
        return Ended(best.start, seconds, message, steps.point, posterior, evaluations, steps.converged)

    def _run(self, rows: Iterable[Row]) -> None:
        for number, _ in enumerate(rows, start=1):
            if number >= self.options.evaluations:
                break

    def _seen(self, steps: Steps, phase: str, n: int, latest: _Latest) -> Noisy:
        """One evaluation, with random numbers of its own only where estimates are averaged."""
        settling = phase == "settle"
        point, number = steps.point, 1 + len(self._average.points) if settling else 0
        try:
            drawn = self._drawn(point, n, number, descending=phase == "search" and n < self.n)
            whole, halves = self._posteriors(point, drawn)
        except (SimulationError, PetabError):
            if settling or not steps.rows:
                raise
            steps.rows.append(Row(phase, np.inf, 0.0, self.parameters.from_scale(point)))
            return _nowhere(len(point))
        if settling:
            self._average.points.append(point)
            self._average.drawn.append(drawn)
        latest.point, latest.posterior = point, whole
        loss, noise = 2 * whole.value, abs(halves[0].value - halves[1].value)
        steps.rows.append(Row(phase, loss, noise, self.parameters.from_scale(point)))
        return Noisy(
            loss=loss,
            noise=noise,
            gradient=whole.gradient,
            scatter=(halves[0].gradient - halves[1].gradient) / 2,
            curvature=whole.curvature,
            jacobians=np.zeros((2, 0, len(point))),
            residuals=np.zeros(0),
            effective_size=float(n),
        )

    def _drawn(self, point: np.ndarray, n: int, number: int, descending: bool) -> Drawn:
        values, slopes = self.objective.moving(point)
        seed = int(np.random.SeedSequence((self.options.seed, number)).generate_state(1, np.uint64)[0] >> 1)

        def computed() -> tuple[np.ndarray, ...]:
            found = self.means.drawn(values, slopes, n, seed, descending)
            return *_parts(found.first), *_parts(found.second), found.errors

        *parts, errors = self.options.memory(
            f"means, descending {descending}", (point, [n, number, descending]), computed
        )
        return Drawn(Simulated(*parts[:4]), Simulated(*parts[4:]), errors)

    def _posteriors(self, point: np.ndarray, drawn: Drawn) -> tuple[Posterior, list[Posterior]]:
        """That of all trajectories, without what their noise, squared, does; and those of the halves."""
        halves = [self.objective.posterior(point, one) for one in (drawn.first, drawn.second)]
        whole = self.objective.posterior(point, _mean_of([drawn.first, drawn.second]))
        value, gradient, curvature, llh = (
            2 * getattr(whole, part) - np.mean([getattr(one, part) for one in halves], axis=0)
            for part in ("value", "gradient", "curvature", "llh")
        )
        whole = replace(whole, value=float(value), gradient=gradient, curvature=curvature, llh=float(llh))
        return whole, halves

    def _data_error(self, steps: Steps) -> np.ndarray:
        """The error (P,) that the data leave, on the scale of the parameters."""
        posterior, _ = self._posteriors(steps.point, self._average.at(steps.point))
        at_bound = self.parameters.at_bound(self.parameters.from_scale(steps.point))
        return np.sqrt(np.diag(inverse_information(posterior.curvature, at_bound)))


@dataclass
class _Latest:
    """Where a search looked last."""

    point: np.ndarray | None = None
    posterior: Posterior | None = None


def _parts(simulated: Simulated) -> tuple[np.ndarray, ...]:
    return simulated.values, simulated.noise, simulated.slopes, simulated.noise_slopes


def _mean_of(simulated: list[Simulated]) -> Simulated:
    return Simulated(
        values=np.mean([one.values for one in simulated], axis=0),
        noise=np.mean([one.noise for one in simulated], axis=0),
        slopes=np.mean([one.slopes for one in simulated], axis=0),
        noise_slopes=np.mean([one.noise_slopes for one in simulated], axis=0),
    )


def _moved(simulated: Simulated, step: np.ndarray) -> Simulated:
    """A step (P,) away, to first order."""
    return replace(
        simulated,
        values=simulated.values + simulated.slopes @ step,
        noise=simulated.noise + simulated.noise_slopes @ step,
    )


def _nowhere(size: int) -> Noisy:
    """Where nothing can be simulated: a step there is taken back."""
    still = np.zeros(size)
    return Noisy(np.inf, 0.0, still, still, np.eye(size), np.zeros((2, 0, size)), np.zeros(0), 0.0)
