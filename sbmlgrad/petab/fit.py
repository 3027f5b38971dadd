"""The fit of a PEtab problem: searches from many starts, the best of which is the estimate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sbmlgrad.errors import FitError, PetabError, SimulationError
from sbmlgrad.fitting.box_search import FIRST_RADIUS, Found, Local, search
from sbmlgrad.fitting.checkpoint import Memory, forgetful
from sbmlgrad.petab.evaluate import Evaluation, Evaluator, parameter_values
from sbmlgrad.petab.objective import Objective, Posterior, coordinates
from sbmlgrad.petab.starts import check_starts, draw_starts
from sbmlgrad.simulation.path import Settings
from sbmlgrad.simulation.progress import bar

_COARSER = 1e2  # times the tolerance, until a search has come to its first end
_FINER = 1e-2  # times the tolerance, where value and gradient contradict each other
_FINEST = 1e-12
_NEAR = 0.1  # the first radius of a search that goes on from an end
_SAME = 1e-2  # of log-likelihood: what tolerances may do to it
_MOST_STARTS = 1_000_000
_MOST_STEPS = 20_000  # of a solver, in a simulation: where it needs more, a search does not go


@dataclass(frozen=True)
class Options:
    """How a problem is fitted; see :meth:`sbmlgrad.petab.problem.Problem.fit`."""

    starts: Any
    seed: int
    nominal: bool
    evaluations: int
    tolerance: float
    progress: bool
    memory: Memory = forgetful
    """what was evaluated before a search was cut off"""


@dataclass(frozen=True, eq=False)
class Ended:
    """Where the search from one start (P,) ended, or why it did not; ``point`` is on the parameters' scale."""

    start: np.ndarray
    seconds: float
    message: str
    point: np.ndarray | None = None
    posterior: Posterior | None = None
    evaluations: int = 0
    converged: bool = False

    @property
    def value(self) -> float:
        """Minus the log posterior; infinite where it could not be computed."""
        return np.inf if self.posterior is None else self.posterior.value


class MultiStart:
    """Searches from several starts, in the order of the starts, with one compiled objective."""

    exact = True
    """whether values are the same each time, and smooth"""

    def __init__(self, evaluator: Evaluator, options: Options):
        self.evaluator, self.definition, self.options = evaluator, evaluator.definition, options
        self.parameters = coordinates(self.definition)
        self._check()
        self.fixed = parameter_values(self.definition, dict.fromkeys(self.parameters.names, 1.0))
        self.objectives: dict[float, Objective] = {}
        self.starts = self._starts()
        self.mc_covariance = np.zeros((len(self.parameters.names),) * 2)
        """what chance in simulations adds to the covariance of the best end"""

    def _check(self) -> None:
        source, parameters = self.definition.source, self.parameters
        if not parameters.names:
            raise FitError(f"{source}: no parameter is to be estimated; set estimate to 1 in the parameter table")
        for name, lower, upper in zip(parameters.names, parameters.lower, parameters.upper, strict=True):
            if not lower < upper:
                raise FitError(
                    f"{source}: the bounds of {name!r}, {lower:g} and {upper:g}, are not in increasing order"
                )

    def _starts(self) -> np.ndarray:
        """Values (starts, P)."""
        source, parameters = self.definition.source, self.parameters
        if isinstance(self.options.starts, int | np.integer):
            if self.options.starts < 1:
                raise FitError(f"{source}: {self.options.starts} starts are none; give at least 1")
            if self.options.starts > _MOST_STARTS:
                raise FitError(f"{source}: {self.options.starts:.3g} starts never end; give at most {_MOST_STARTS}")
            starts = draw_starts(self.definition, parameters, int(self.options.starts), self.options.seed)
        else:
            starts = check_starts(self.options.starts, parameters, source)
        if self.options.nominal:
            if np.any(np.isnan(parameters.start)):
                name = parameters.names[int(np.argmax(np.isnan(parameters.start)))]
                raise FitError(f"{source}: {name!r} has no nominal value to start from; give it one")
            nominal = np.clip(parameters.start, parameters.lower, parameters.upper)
            starts = np.concatenate([nominal[None], starts])
        return starts

    def evaluation(self, best: Ended) -> Evaluation:
        """What is simulated at an end."""
        assert best.point is not None
        return self.evaluator.evaluate(self.named(best.point))

    def warn(self) -> None:
        """Name what is to be known of the models."""

    def run(self) -> tuple[list[Ended], Ended]:
        """Where each search ended, and the one that counts.

        Raises
        ------
        FitError
            if nothing can be simulated at any of the starts.
        """
        ended: list[Ended] = []
        shown = bar(self.options.progress, iterable=self.starts, desc="fit", unit="start")
        for start in shown:
            ended.append(self._ended(start))
            shown.set_postfix_str(f"best {min(item.value for item in ended):.6g}", refresh=False)
        best = min(range(len(ended)), key=lambda index: ended[index].value)
        if ended[best].posterior is None:
            raise FitError(f"none of {len(ended)} starts could be simulated; the first: {ended[0].message}")
        ended[best] = self._confirmed(ended[best])
        return ended, ended[best]

    def _ended(self, start: np.ndarray) -> Ended:
        begin = time.perf_counter()
        try:
            searched = self._searched(self.parameters.to_scale(start), _COARSER * self.options.tolerance)
        except (SimulationError, PetabError) as error:
            return Ended(start, time.perf_counter() - begin, str(error))
        return _of(*searched, start, time.perf_counter() - begin)

    def _searched(self, point: np.ndarray, tolerance: float) -> tuple[Posterior, Found, int]:
        """The end of a search, with as exact a solver as it takes, and the evaluations until then."""
        lower, upper = (self.parameters.to_scale(side) for side in (self.parameters.lower, self.parameters.upper))
        first, evaluations = True, 0
        while True:
            radius = FIRST_RADIUS if first else _NEAR
            left = max(self.options.evaluations - evaluations, 1)
            found = search(self._remembered(tolerance), point, lower, upper, left, radius)
            evaluations += found.evaluations
            fine = tolerance <= self.options.tolerance
            last, tolerance = tolerance, tolerance * _FINER
            if fine and (not found.stuck or tolerance < _FINEST * (1 - 1e-6)):
                local = found.local
                posterior = local if isinstance(local, Posterior) else self.objective_at(last)(found.point)
                return posterior, found, evaluations
            first, point = False, found.point

    def _confirmed(self, best: Ended) -> Ended:
        """The best end, searched on from there where an exact simulation says something else."""
        assert best.point is not None
        assert best.posterior is not None
        exact = self.evaluator.evaluate(self.named(best.point)).llh
        if abs(exact - best.posterior.llh) <= _SAME:
            return best
        begin = time.perf_counter()
        posterior, found, evaluations = self._searched(best.point, self.evaluator.settings.relative)
        seconds = best.seconds + time.perf_counter() - begin
        again = _of(posterior, found, best.evaluations + evaluations, best.start, seconds)
        return replace(again, message=f"{again.message}, at a finer tolerance")

    def named(self, point: np.ndarray) -> dict[str, float]:
        """Values of the estimated parameters at a point (P,) on their scale."""
        return dict(zip(self.parameters.names, self.parameters.from_scale(point).tolist(), strict=True))

    def _remembered(self, tolerance: float) -> Callable[[np.ndarray], Local]:
        """The objective, or what is remembered of it."""
        objective, memory = self.objective_at(tolerance), self.options.memory
        if memory is forgetful:
            return objective

        def local(point: np.ndarray) -> Local:
            def computed() -> tuple[np.ndarray, ...]:
                found = objective(point)
                return np.array(found.value), found.gradient, found.curvature

            value, gradient, curvature = memory(f"objective at {tolerance:.3g}", (point,), computed)
            return Local(float(value), gradient, curvature)

        return local

    def objective_at(self, tolerance: float) -> Objective:
        """What is made small, by a solver of this tolerance."""
        if tolerance not in self.objectives:
            settings = Settings(relative=tolerance, most_steps=_MOST_STEPS)
            self.objectives[tolerance] = Objective(self.evaluator, self.parameters, self.fixed, settings)
        return self.objectives[tolerance]


def _of(posterior: Posterior, found: Found, evaluations: int, start: np.ndarray, seconds: float) -> Ended:
    return Ended(start, seconds, found.message, found.point, posterior, evaluations, found.converged)
