"""The scale on which parameters move, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.parameters import choose


def test_errors_of_logarithms_become_errors_of_values() -> None:
    chosen = choose({"a": None, "b": (-5.0, 5.0)}, {"a": 2.0, "b": -1.0}, {}, "model")
    values = np.array([2.0, -1.0])
    assert chosen.stderr(values, np.array([0.01, 0.01])) == pytest.approx([0.02, 0.01], rel=1e-4)
    assert chosen.stderr(values, np.array([1.5, 0.5])) == pytest.approx([2 * 1.5 * np.exp(1.5**2 / 2), 0.5])
    assert np.isinf(chosen.stderr(values, np.array([np.inf, np.inf]))).all()


VALUES = {"rate": 2.0, "shift": -1.0, "free": 0.0, "bare": float("nan")}


def test_what_starts_positive_moves_on_a_logarithm() -> None:
    chosen = choose({"rate": None, "shift": (-5.0, 5.0), "free": (-1.0, 3.0)}, VALUES, {"rate": 8.0}, "model")
    assert chosen.log.tolist() == [True, False, False]
    assert chosen.unit.tolist() == [8.0, 1.0, 0.4]
    values = np.array([4.0, -2.0, 1.0])
    point = chosen.to_scale(values)
    np.testing.assert_allclose(point, [np.log(4.0), -2.0, 2.5])
    np.testing.assert_allclose(chosen.from_scale(point), values)
    np.testing.assert_allclose(chosen.slope(values), [4.0, 1.0, 0.4])
    np.testing.assert_allclose(chosen.clip(np.array([1e4, -9.0, 9.0])), [np.log(1e300), -5.0, 7.5])
    assert chosen.at_bound(np.array([4.0, -5.0, 3.0])).tolist() == [False, True, True]


def test_limits_are_symmetric_on_the_scale() -> None:
    """With one degree of freedom, Student's t reaches 12.7062 at 97.5 %."""
    chosen = choose({"rate": None, "shift": (-50.0, 50.0)}, VALUES, {}, "model")
    lower, upper = chosen.interval(chosen.to_scale(chosen.start), np.array([0.1, 0.1]), 1.0)
    np.testing.assert_allclose(lower, [2 * np.exp(-1.27062), -2.27062], rtol=1e-5)
    np.testing.assert_allclose(upper, [2 * np.exp(1.27062), 0.27062], rtol=1e-5)
    lower, upper = chosen.interval(chosen.to_scale(chosen.start), np.array([np.nan, np.inf]), 9.0)
    assert (lower[0], upper[0], lower[1], upper[1]) == (0.0, np.inf, -np.inf, np.inf)


@pytest.mark.parametrize(
    ("bounds", "init", "message"),
    [
        ({}, {}, "name at least one parameter"),
        ({"rate": None}, {"shift": 1.0}, "'shift' has a start value but is not fitted"),
        ({"rate": (3.0, 1.0)}, {}, "the bounds of 'rate', 3:1, are not in increasing order"),
        ({"rate": (3.0, 4.0)}, {}, "'rate' starts at 2, outside its bounds 3:4"),
        ({"bare": None}, {}, "'bare' has no value to start from"),
    ],
)
def test_what_cannot_be_fitted_is_refused(bounds: dict[str, None], init: dict[str, float], message: str) -> None:
    with pytest.raises(FitError, match=message):
        choose(bounds, VALUES, init, "model")


def test_an_estimate_at_a_bound_is_a_start_within_bounds() -> None:
    """exp(log(x)) may be a last digit beyond x."""
    for bound in (1e-5, 0.3, 7e-3, 1.1):
        chosen = choose({"k": (bound, 50.0)}, {"k": 2.0}, {}, "model.xml")
        again = float(chosen.within(chosen.to_scale(chosen.lower))[0])
        assert choose({"k": (bound, 50.0)}, {"k": again}, {}, "model.xml").start[0] == pytest.approx(bound)
    assert float(choose({"k": (1e-5, 50.0)}, {"k": 2.0}, {}, "").from_scale(np.log([1e-5]))[0]) < 1e-5
