"""Cells that are others at each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.simulation.snapshots import snapshots
from sbmlgrad.tables import read_measurements, write_table


def test_cells_at_two_times_are_independent_and_read_as_cells(text, tmp_path: Path) -> None:
    model = sg.read_sbml(text({"A": {"amount": 60}}, {"r": ("A ->", "d * A")}, {"d": 0.3}))
    table = snapshots(model, [1.0, 2.0], n=2000, seed=3)
    first, second = (table["A"][table["time"] == t].to_numpy() for t in (1.0, 2.0))
    for time, cells in ((1.0, first), (2.0, second)):
        p = np.exp(-0.3 * time)  # binomial
        assert cells.mean() == pytest.approx(60 * p, abs=4 * np.sqrt(60 * p * (1 - p) / 2000))  # false alarm: 6e-5
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(2000)  # of followed cells it is 0.6; false alarm: 6e-5
    write_table(table, tmp_path / "cells.csv")
    (read,) = read_measurements(tmp_path / "cells.csv")
    assert read.cells is not None
    assert np.array_equal(read.cells.of("A"), table["A"])
