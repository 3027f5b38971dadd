"""A problem with other measured values."""

from __future__ import annotations

import pytest

from sbmlgrad.errors import PetabError
from sbmlgrad.petab.problem import Problem


def test_other_measurements_are_compared_with_the_same_simulations(decay: Problem) -> None:
    first, other = decay.evaluate(), decay.with_measurements([7.0, 3.0]).evaluate()
    assert list(other.simulations["simulation"]) == list(first.simulations["simulation"])
    assert other.chi2 == pytest.approx(first.chi2 + 4.0, rel=1e-6)
    assert decay.evaluate().chi2 == first.chi2
    with pytest.raises(PetabError, match=r"measurements of shape \(1,\); give 2"):
        decay.with_measurements([7.0])
