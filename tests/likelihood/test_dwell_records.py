"""What a record is with a resolution imposed on it."""

from __future__ import annotations

import numpy as np
import pytest

from sbmlgrad.errors import SimulationError
from sbmlgrad.likelihood.dwell_records import DwellRecord


def test_short_stays_are_part_of_the_sojourn_before() -> None:
    """Of 0.04 at level 1 nothing is seen; the last stay has no end."""
    times = np.array([0.0, 1.0, 1.04, 2.0, 3.0, 3.02, 4.0])
    record = DwellRecord.of("S", [(times, np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]))], 0.1)
    assert record.level.tolist() == [0, 1]
    assert record.begin.tolist() == [0, 2]
    assert record.duration.tolist() == pytest.approx([2, 2])
    assert record.after.tolist() == [1, 0]
    assert record.size == 2


def test_a_record_begins_with_the_first_stay_that_is_seen() -> None:
    times, levels = np.array([0.0, 0.04, 1.0, 2.0]), np.array([0.0, 1.0, 0.0, 1.0])
    record = DwellRecord.of("S", [(times, levels)], 0.1)
    assert record.begin.tolist() == [0.04, 1]
    assert record.after.tolist() == [0, 1]


def test_stays_in_two_other_levels_are_short_one_by_one() -> None:
    """Together they last 0.12, but neither is seen."""
    times, levels = np.array([0.0, 1.0, 1.06, 1.12, 3.0]), np.array([0.0, 1.0, 2.0, 0.0, 1.0])
    record = DwellRecord.of("S", [(times, levels)], 0.1)
    assert record.duration.tolist() == [3]


def test_a_stay_of_just_the_resolution_is_seen_in_spite_of_rounding() -> None:
    times = 0.1 * np.arange(1, 9)
    record = DwellRecord.of("S", [(times, np.arange(8) % 2.0)], 0.1)
    assert record.size == 7


def test_a_last_row_of_the_same_level_says_until_when_it_was_seen() -> None:
    times, levels = np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 1.0])
    record = DwellRecord.of("S", [(times, levels)])
    assert record.duration.tolist() == [1, 2]
    assert np.isnan(record.after[1])
    assert record.size == 1
    short = DwellRecord.of("S", [(np.array([0.0, 1.0, 1.04]), levels)], 0.1)  # whether it will be seen is open
    assert short.duration.tolist() == [1.04]
    assert np.isnan(short.after[0])


def test_several_records_begin_anew() -> None:
    one = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 0.0])
    assert DwellRecord.of("S", [one, one]).first.tolist() == [True, False, True, False]


def test_a_record_without_sojourns_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"'S' has no two levels that are not shorter than 0.5"):
        DwellRecord.of("S", [(np.array([0.0, 0.1, 0.2]), np.array([0.0, 1.0, 0.0]))], 0.5)
