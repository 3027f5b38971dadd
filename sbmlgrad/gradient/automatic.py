"""The default choice of estimator, parameter by parameter.

The score function is unbiased whatever the model does, and so it is the one for all parameters that have a score.
Straight-through often has a tenth of its standard error, but where the surrogate fails nothing in its own standard
error tells: on the Vilar oscillator it was off by hundreds of standard errors, on a telegraph gene its variance
exploded (docs/gradients.md has the measurements). It serves for what a parameter does to the initial counts, which
are fixed and so have no score, and for whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sbmlgrad.gradient.estimator import Problem, Samples, Tangents
from sbmlgrad.gradient.score import Score
from sbmlgrad.gradient.straight_through import StraightThrough
from sbmlgrad.simulation.ssa import Arrays, PathFunctional, Step


@dataclass(frozen=True)
class Automatic:
    """Score function for the effect on rates, straight-through for the effect on initial counts."""

    name: str = "auto"
    score: Score = field(default_factory=Score)
    straight_through: StraightThrough = field(default_factory=StraightThrough)

    def functional(self, problem: Problem) -> _Both:
        """Both functionals, each with its share of the tangents."""
        return _Both(self.score.functional(problem), self.straight_through.functional(problem))

    def samples(
        self, problem: Problem, values: np.ndarray, records: Sequence[np.ndarray], tangents: Tangents
    ) -> Samples:
        """The sum of both, parameter by parameter."""
        scored, pushed, by_score, by_push = _split(tangents)
        size = self.score.records(problem, len(by_score))
        derivatives = np.zeros((len(tangents.counts), *values.shape))
        derivatives[by_score] += self.score.samples(problem, values, records[:size], scored).derivatives
        derivatives[by_push] += self.straight_through.samples(problem, values, records[size:], pushed).derivatives
        return Samples(values, derivatives)


@dataclass(frozen=True, eq=False)
class _Both:
    score: PathFunctional
    pushforward: PathFunctional

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        scored, pushed, *_ = _split(aux)
        return (*self.score.initial(x, coefficients, scored), *self.pushforward.initial(x, coefficients, pushed))

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        scored, pushed, *_ = _split(aux)
        size = len(scored.counts)
        return (
            *self.score.advance(carry[:size], step, scored),
            *self.pushforward.advance(carry[size:], step, pushed),
        )

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        scored, pushed, *_ = _split(aux)
        size = len(scored.counts)
        return (
            *self.score.record(carry[:size], x, coefficients, scored),
            *self.pushforward.record(carry[size:], x, coefficients, pushed),
        )


def _split(tangents: Tangents) -> tuple[Tangents, Tangents, list[int], list[int]]:
    """What moves the rates, what moves the initial counts, and the parameters that do the one and the other.

    A parameter such as a compartment's size may do both; its derivative is the sum of the two.
    """
    everyone = range(len(tangents.counts))
    moves_counts = [any(d is not None for d in tangents.counts[p]) for p in everyone]
    by_push = [p for p in everyone if moves_counts[p]]
    by_score = [p for p in everyone if not moves_counts[p] or any(d is not None for d in tangents.coefficients[p])]
    still = [(None,) * len(side[0]) if side else () for side in tangents]
    scored = Tangents(tuple(still[0] for _ in by_score), tuple(tangents.coefficients[p] for p in by_score))
    pushed = Tangents(tuple(tangents.counts[p] for p in by_push), tuple(still[1] for _ in by_push))
    return scored, pushed, by_score, by_push
