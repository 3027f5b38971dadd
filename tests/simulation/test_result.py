"""Results as tables."""

from __future__ import annotations

import numpy as np
import pytest

from sbmlgrad.errors import SimulationError
from sbmlgrad.simulation.result import Simulation, by_time

TIMES = np.array([0.0, 2.0])


def simulation(n: int) -> Simulation:
    mean = by_time(TIMES, ["A", "time"], np.array([[1.0, 2.0], [3.0, 4.0]]))
    return Simulation(TIMES, mean, mean / 10, n, seed=1, events=5, species=("A",))


def test_one_trajectory_and_many_have_other_columns() -> None:
    table = simulation(1).to_table()
    assert list(table.columns) == ["time", "A", "time-value"]
    assert table["A"].tolist() == [1.0, 2.0]
    table = simulation(9).to_table()
    assert list(table.columns) == ["time", "A-mean", "A-sd", "time-mean", "time-sd"]
    assert table["time-sd"].tolist() == [0.3, 0.4]


def test_counts_that_were_not_kept_are_no_counts() -> None:
    with pytest.raises(SimulationError, match="kept with keep_counts=True"):
        _ = simulation(1).counts
