"""The likelihood of several experiments, which are independent of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from sbmlgrad.likelihood.likelihood import Evaluation, Expected, Likelihood, joined


class Total:
    """The sum of log-likelihoods, each of some of the parameters: ``places`` are their indices among all."""

    def __init__(self, parts: Sequence[Likelihood], places: Sequence[np.ndarray]):
        self.parts, self.places = tuple(parts), tuple(places)

    @property
    def name(self) -> str:
        return ", ".join(dict.fromkeys(part.name for part in self.parts))

    @property
    def drawn(self) -> bool:
        return any(part.drawn for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def prepare(self, values: np.ndarray) -> None:
        for part, places in zip(self.parts, self.places, strict=True):
            part.prepare(values[places])

    def evaluate(self, values: np.ndarray) -> Evaluation:
        value, score, information = 0.0, np.zeros(len(values)), np.zeros((len(values), len(values)))
        known, kinked = True, False
        for part, places in zip(self.parts, self.places, strict=True):
            found = part.evaluate(values[places])
            value += found.value
            score[places] += found.score
            kinked = kinked or found.kinked
            if found.information is None:
                known = False
            else:
                information[np.ix_(places, places)] += found.information
        return Evaluation(value, score, information if known else None, kinked)

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        widened = [part.widen(values[places], rough) for part, places in zip(self.parts, self.places, strict=True)]
        return any(widened)

    @contextmanager
    def roughly(self, values: np.ndarray) -> Iterator[None]:
        with ExitStack() as stack:
            for part, places in zip(self.parts, self.places, strict=True):
                stack.enter_context(part.roughly(values[places]))
            yield

    def expected(self, values: np.ndarray) -> Expected:
        """One part after the other; observables are numbered within each."""
        return joined(self.each_expected(values))

    def each_expected(self, values: np.ndarray) -> list[Expected]:
        """That of each part."""
        return [part.expected(values[places]) for part, places in zip(self.parts, self.places, strict=True)]

    def describe(self) -> str:
        return "; ".join(dict.fromkeys(part.describe() for part in self.parts))
