"""The default choice of estimator, parameter by parameter.

The score function is unbiased whatever the model does, and so it is the one for all parameters that have a score.
Straight-through often has a tenth of its standard error, but where the surrogate fails nothing in its own standard
error tells: on the Vilar oscillator it was off by hundreds of standard errors, on a telegraph gene its variance
exploded (docs/gradients.md has the measurements). It serves for initial amounts, which are fixed and so have no
score, and for whoever asks for it.
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
    """Score function for everything but initial amounts, straight-through for those."""

    name: str = "auto"
    score: Score = field(default_factory=Score)
    straight_through: StraightThrough = field(default_factory=StraightThrough)

    def functional(self, problem: Problem) -> _Both:
        """Both functionals, each with its share of the parameters."""
        return _Both(self.score.functional(problem), self.straight_through.functional(problem))

    def samples(
        self, problem: Problem, values: np.ndarray, records: Sequence[np.ndarray], tangents: Tangents
    ) -> Samples:
        """The samples of both, in the order of the parameters."""
        scored, pushed, order = _split(tangents)
        size = self.score.records(problem, len(scored.counts))
        derivatives = np.concatenate(
            [
                self.score.samples(problem, values, records[:size], scored).derivatives,
                self.straight_through.samples(problem, values, records[size:], pushed).derivatives,
            ]
        )
        return Samples(values, derivatives[np.argsort(order)])


@dataclass(frozen=True, eq=False)
class _Both:
    score: PathFunctional
    pushforward: PathFunctional

    def initial(self, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        scored, pushed, _ = _split(aux)
        return (
            *self.score.initial(x, coefficients, scored),
            *self.pushforward.initial(x, coefficients, pushed),
        )

    def advance(self, carry: Arrays, step: Step, aux: Tangents) -> Arrays:
        scored, pushed, _ = _split(aux)
        size = len(scored.counts)
        return (
            *self.score.advance(carry[:size], step, scored),
            *self.pushforward.advance(carry[size:], step, pushed),
        )

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Tangents) -> Arrays:
        scored, pushed, _ = _split(aux)
        size = len(scored.counts)
        return (
            *self.score.record(carry[:size], x, coefficients, scored),
            *self.pushforward.record(carry[size:], x, coefficients, pushed),
        )


def _split(tangents: Tangents) -> tuple[Tangents, Tangents, list[int]]:
    """Tangents with a score, those without (initial amounts), and the parameters' places in that order."""
    fixed = [any(d is not None for d in counts) for counts in tangents.counts]
    order = sorted(range(len(fixed)), key=lambda p: fixed[p])
    parts = [
        Tangents(*(tuple(side[p] for p in order if fixed[p] is moved) for side in tangents)) for moved in (False, True)
    ]
    return parts[0], parts[1], order
