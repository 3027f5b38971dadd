"""Estimators by name, and estimates by an estimator's name."""

from __future__ import annotations

from collections.abc import Mapping

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.gradient.alternative_path import AlternativePath
from sbmlgrad.gradient.automatic import Automatic
from sbmlgrad.gradient.controlled_score import ControlledScore
from sbmlgrad.gradient.coupled_fd import CoupledDifferences
from sbmlgrad.gradient.estimator import Estimator
from sbmlgrad.gradient.exact import Exact
from sbmlgrad.gradient.propensity_straight_through import PropensityStraightThrough
from sbmlgrad.gradient.score import Score
from sbmlgrad.gradient.straight_through import StraightThrough
from sbmlgrad.gradient.straight_through_plain import StraightThroughPlain

ESTIMATORS: Mapping[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        Automatic(),
        ControlledScore(),
        Score(),
        AlternativePath(),
        CoupledDifferences(),
        StraightThrough(),
        StraightThroughPlain(),
        PropensityStraightThrough(),
        Exact(),
    )
}


def as_estimator(item: str | Estimator) -> Estimator:
    """The estimator of this name; one that is handed in stands for itself."""
    return named_estimator(item) if isinstance(item, str) else item


def named_estimator(name: str) -> Estimator:
    """The estimator of this name."""
    if name not in ESTIMATORS:
        raise SbmlgradError(f"estimator {name!r}: not available; choose {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]
