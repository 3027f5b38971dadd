"""The default: which estimator serves a problem best, from its size and from what was measured.

The score with controls goes first, without bias (the plain score, where there are too many parameters for them). If
that leaves much noise, small ensembles of alternative paths and of coupled finite differences are measured, and the
best does it again; the bias of the latter, of order h^2, is far below such noise. While a fit descends, a small bias
does no harm and noise does: then straight-through takes part, and what counts is the squared error. What parameters do
to initial counts, which have no score, comes from coupled pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.alternative_path import AlternativePath
from sbmlgrad.gradient.controlled_score import ControlledScore
from sbmlgrad.gradient.coupled import by_initial_counts
from sbmlgrad.gradient.coupled_fd import CoupledDifferences
from sbmlgrad.gradient.estimator import Estimate, Estimator, Task
from sbmlgrad.gradient.features import choose
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.gradient.score import Score
from sbmlgrad.gradient.sparse_score import served
from sbmlgrad.gradient.straight_through import StraightThrough

_PILOT = 1024  # trajectories
_QUIET = 0.03  # a standard error over a derivative that needs no second thought
_ALONE = 500  # reactions, beyond which estimators in the plain loop take long to compile, or never end
_MOST_BY_FEATURES = 40  # parameters
_MOST_BETTER = 100.0  # times, that a squared error counts for at most


@dataclass(frozen=True)
class Choice:
    """An estimator, and why it was chosen."""

    estimator: Estimator
    reason: str


@dataclass(frozen=True)
class Automatic:
    """Little noise without bias, or where that cannot be had coupled differences; see above for ``descending``."""

    descending: bool = False
    choice: Choice | None = None
    name: str = "auto"

    @property
    def unbiased(self) -> bool:
        return not self.descending

    def with_choice(self, problem: Problem, task: Task) -> Automatic:
        """The same with its choice made, for a row of tasks like this one."""
        tangents = problem.at(task.values).tangents
        by_rates = [p for p in range(len(problem.parameters)) if tangents.moves_rates(p)]
        if not by_rates:
            return self
        moves = any(tangents.moves_counts(p) for p in range(len(problem.parameters)))
        own = _at_fixed_counts(problem, by_rates) if moves else problem
        return replace(self, choice=self.choose(own, task, unbiased=not self.descending))

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        point = problem.at(task.values)
        tangents, everyone = point.tangents, range(len(problem.parameters))
        by_rates = [p for p in everyone if tangents.moves_rates(p)]
        if not any(tangents.moves_counts(p) for p in everyone):
            return _said(*self._run(problem, task))
        frozen = _at_fixed_counts(problem, by_rates)
        mean, stderr = by_initial_counts(problem, point, task)
        if not by_rates:
            plain = Score().estimate(frozen, task)
            return replace(plain, derivatives=mean, stderr=stderr, note="coupled pairs for initial counts")
        rest, choice = self._run(frozen, task)
        mean[by_rates] += rest.derivatives
        stderr[by_rates] = np.hypot(stderr[by_rates], rest.stderr)
        result = replace(rest, derivatives=mean, stderr=stderr)
        return _said(result, Choice(choice.estimator, f"{choice.reason}; coupled pairs for initial counts"))

    def choose(self, problem: Problem, task: Task, unbiased: bool = False) -> Choice:
        """The estimator for tasks like this one, by small ensembles; no parameter may move initial counts."""
        candidates, reason = self._candidates(problem)
        candidates = [c for c in candidates if c.unbiased or not unbiased]
        if len(candidates) == 1:
            return Choice(candidates[0], reason)
        pilot = task.with_n(min(task.n, _PILOT), use=77)
        pilots = {c.name: e for c in candidates if (e := _attempted(c, problem, pilot)) is not None}
        errors = _errors(pilots, candidates, task.n, len(problem.parameters))
        best = min((c for c in candidates if c.name in errors), key=lambda c: errors[c.name])
        listed = ", ".join(f"{name} {error / errors[best.name]:.2g}" for name, error in errors.items())
        return Choice(best, f"least squared error for its cost in {pilot.n} trajectories ({listed})")

    def _run(self, problem: Problem, task: Task) -> tuple[Estimate, Choice]:
        """An estimate, and a second one where the first is noisy and another estimator does better."""
        final = self.choice or (self.choose(problem, task) if self.descending else None)
        choice = final or self._first(problem)
        estimate = _attempted(choice.estimator, problem, task)
        if estimate is None:  # a parameter at 0 switches a reaction off
            other = AlternativePath()
            return other.estimate(problem, task), Choice(other, "unbiased even where a parameter is 0")
        if final or choice.reason:
            return estimate, choice
        noise = _noise(estimate, problem, task)
        if noise <= _QUIET:
            return estimate, Choice(
                choice.estimator, f"unbiased, and its standard errors are small enough ({noise:.1%})"
            )
        better = self.choose(problem, task)
        if better.estimator.name == choice.estimator.name:
            return estimate, better
        return better.estimator.estimate(problem, task), better

    def _first(self, problem: Problem) -> Choice:
        """The likeliest estimator; with a reason where there is no other."""
        (first, *_), reason = self._candidates(problem)
        return Choice(first, reason)

    def _candidates(self, problem: Problem) -> tuple[Sequence[Estimator], str]:
        """Estimators to choose from, the likeliest first; with a reason where there is nothing to choose."""
        parameters = len(problem.parameters)
        if len(problem.network.reactions) > _ALONE and served(problem) is not None:
            return (ControlledScore(),), "of a network so large that others would take long"
        if parameters > _MOST_BY_FEATURES:
            return (Score(),), f"with {parameters} parameters, of which each costs the score least"
        first = Score() if choose(problem, parameters) is None else ControlledScore()
        others = (
            (StraightThrough(), AlternativePath()) if self.descending else (AlternativePath(), CoupledDifferences())
        )
        return (first, *others), ""


def _attempted(estimator: Estimator, problem: Problem, task: Task) -> Estimate | None:
    """An estimate, or None where the estimator cannot serve these observables or parameters."""
    try:
        return estimator.estimate(problem, task)
    except EstimatorError:
        return None


def _noise(estimate: Estimate, problem: Problem, task: Task) -> float:
    """The median standard error, over what would move the observable by its own size, or by its sd if that is more."""
    own = np.abs(problem.own(task.values))
    own = np.where(own > 0, own, 1.0)[:, None, None]
    level = np.maximum(np.abs(estimate.values), estimate.values_sd)
    size = np.maximum(np.abs(estimate.derivatives), _QUIET * np.nan_to_num(level) / own)
    seen = size > 0
    return float(np.nanmedian(estimate.stderr[seen] / size[seen])) if seen.any() else 0.0


def _at_fixed_counts(problem: Problem, by_rates: Sequence[int]) -> Problem:
    fixed_counts: Problem = problem.once(
        ("at fixed counts", tuple(by_rates)), lambda: problem.at_fixed_counts(by_rates)
    )
    return fixed_counts


def _said(estimate: Estimate, choice: Choice) -> Estimate:
    note = f"{choice.estimator.name}: {choice.reason}" + (f"; {estimate.note}" if estimate.note else "")
    return replace(estimate, note=note, estimator=choice.estimator.name)


def _errors(
    pilots: Mapping[str, Estimate], candidates: Sequence[Estimator], n: int, parameters: int
) -> dict[str, float]:
    """Mean squared error at ``n`` trajectories times cost, in units of the least noisy unbiased one's variance.

    The bias of others is their distance from it, less what noise alone would make.
    """
    unbiased = [c.name for c in candidates if c.unbiased and c.name in pilots]
    reference = pilots[min(unbiased, key=lambda name: float(np.median(_scaled(pilots[name], pilots[name]))))]
    result = {}
    for candidate in candidates:
        pilot = pilots.get(candidate.name)
        if pilot is None:
            continue
        variance = pilot.stderr**2 * pilot.n / n
        if isinstance(candidate, CoupledDifferences):  # noise would drown any measurement of so small a bias
            variance = variance + (candidate.step**2 * pilot.derivatives) ** 2
        elif not candidate.unbiased:
            apart = (pilot.derivatives - reference.derivatives) ** 2 - pilot.stderr**2 - reference.stderr**2
            variance = variance + np.maximum(apart, 0.0)
        scale = reference.stderr**2 * reference.n / n
        seen = (scale > 0) & np.isfinite(variance)
        ratios = variance[seen] / scale[seen]
        # No single derivative decides, least of all one of which nothing was seen.
        error = (
            float(np.exp(np.mean(np.log(np.clip(ratios, 1 / _MOST_BETTER, _MOST_BETTER))))) if ratios.size else np.inf
        )
        result[candidate.name] = error * _cost(candidate.name, parameters)
    return result


def _scaled(estimate: Estimate, reference: Estimate) -> np.ndarray:
    size = np.maximum(np.abs(reference.derivatives), 1e-300)
    return np.nan_to_num(estimate.stderr / size, nan=np.inf)


def _cost(name: str, parameters: int) -> float:
    """Work for an event over that of a simulation without derivatives, about as measured (docs/gradients.md).

    Clocks are not asked, so that the same seed makes the same choice.
    """
    fixed, each = {
        "score": (1.2, 0.2),
        "controlled_score": (2.0, 0.6),
        "alternative_path": (15.0, 1.0),  # three times its work: its tails are heavy, and small ensembles flatter it
        "coupled_fd": (0.0, 4.0),
        "straight_through": (1.5, 0.6),
    }[name]
    return fixed + each * parameters
