"""What is compared with what, and in which units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.fitting.loss import target
from sbmlgrad.tables.measurements import read_measurements


def test_replicates_become_means_with_what_they_share() -> None:
    table = pd.DataFrame(
        {"replicate": [1, 1, 2, 2, 3], "time": [0, 1, 0, 1, 0], "A": [1.0, 2, 3, 6, 5], "B": [7, np.nan, 9, 8, np.nan]}
    )
    aim = target(read_measurements(table))
    assert aim.value.tolist() == [3, 4, 8, 8]  # A at 0 and 1, then B
    assert aim.replicates.tolist() == [3, 2, 2, 1]
    assert aim.scatter[:3].tolist() == [4, 8, 2]
    assert np.isnan(aim.scatter[3])
    shared = [[1 / 3, 2 / 6, 2 / 6, 1 / 3], [2 / 6, 1 / 2, 2 / 4, 1 / 2], [2 / 6, 2 / 4, 1 / 2, 1 / 2]]
    assert aim.shared[:3] == pytest.approx(np.array(shared))
