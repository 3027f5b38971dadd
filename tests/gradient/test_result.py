"""Derivatives beside expectations, and the same names as a table has."""

from __future__ import annotations

import copy
import math
import pickle

import pandas as pd
import pytest

import sbmlgrad as sg

TIMES = [1.0, 2.0]


@pytest.fixture(scope="module")
def decay(text) -> sg.Model:
    return sg.read_sbml(text({"A": {"amount": 50}}, {"r": ("A ->", "d * A")}, {"d": 0.3}))


@pytest.fixture(scope="module")
def found(decay: sg.Model) -> sg.Sensitivity:
    return sg.sensitivity(decay, TIMES, ["d"], n=2000, seed=1)


def test_expectations_stand_beside_derivatives(found: sg.Sensitivity) -> None:
    assert list(found.expectations.columns) == ["time", "observable", "expectation", "stderr"]
    assert list(found.table.columns) == ["time", "observable", "parameter", "sensitivity", "stderr"]
    for row, slope in zip(found.expectations.itertuples(), found.table.itertuples(), strict=True):
        mean = 50 * math.exp(-0.3 * row.time)
        assert abs(row.expectation - mean) < 4.5 * row.stderr  # false alarm: 7e-6 a comparison
        assert abs(slope.sensitivity + row.time * mean) < 4.5 * slope.stderr


def test_rate_equations_have_no_errors(decay: sg.Model) -> None:
    smooth = sg.sensitivity(decay, TIMES, ["d"], method="ode")
    assert smooth.estimator == "ode"
    assert smooth.expectations["expectation"].tolist() == pytest.approx([50 * math.exp(-0.3 * t) for t in TIMES])
    assert (smooth.expectations["stderr"] == 0).all()


def test_the_estimator_that_was_chosen_has_a_name(found: sg.Sensitivity) -> None:
    assert found.note.startswith(f"{found.estimator}: ")
    assert found.estimator in ("controlled_score", "score")


def test_what_a_table_has_is_that_of_the_table(found: sg.Sensitivity) -> None:
    assert found["sensitivity"].equals(found.table["sensitivity"])
    assert (len(found), list(found)) == (2, list(found.table))
    assert found.set_index("time").equals(found.table.set_index("time"))
    assert found.attrs["note"] == found.note
    with pytest.raises(AttributeError, match="magic"):
        _ = found.magic


def test_a_sensitivity_is_copied_and_pickled(found: sg.Sensitivity) -> None:
    for other in (copy.copy(found), pickle.loads(pickle.dumps(found))):
        pd.testing.assert_frame_equal(other.table, found.table)


def test_a_sensitivity_shows_itself(found: sg.Sensitivity) -> None:
    shown = f"<Sensitivity by {found.estimator!r}: 1 observable by 1 parameter at 2 times, n 2000, seed 1>"
    assert repr(found) == shown
    assert found._repr_html_().count("<table>") == 2
