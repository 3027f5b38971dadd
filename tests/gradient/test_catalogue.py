"""Estimators by name."""

from __future__ import annotations

import pytest

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.gradient.catalogue import ESTIMATORS, as_estimator, named_estimator
from sbmlgrad.gradient.score import Score


def test_each_stands_under_its_own_name() -> None:
    assert list(ESTIMATORS) == [
        *("auto", "controlled_score", "score", "alternative_path", "coupled_fd"),
        *("straight_through", "straight_through_plain", "propensity_straight_through", "exact"),
    ]
    assert all(named_estimator(name).name == name for name in ESTIMATORS)


def test_one_that_is_handed_in_stands_for_itself() -> None:
    own = Score(window=1.0)
    assert as_estimator(own) is own
    assert as_estimator("score") == Score()


def test_another_name_is_refused() -> None:
    with pytest.raises(SbmlgradError, match="estimator 'reinforce': not available; choose auto, controlled_score"):
        as_estimator("reinforce")
