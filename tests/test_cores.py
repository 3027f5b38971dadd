"""How many threads simulate at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.cores import cores, use_cores
from sbmlgrad.simulation.ensemble import layout


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    use_cores(None)


def test_threads_are_as_many_as_was_said() -> None:
    before = cores()
    assert before >= 1
    use_cores(3)
    assert (cores(), layout(100_000, 8)[0]) == (3, 3)
    use_cores(None)
    assert cores() == before


def test_no_result_depends_on_the_number_of_threads(text) -> None:
    model = sg.read_sbml(text({"A": {"amount": 50}}, {"r": ("A ->", "d * A")}, {"d": 0.3}))
    results = []
    for number in (1, 3):
        use_cores(number)
        results.append(sg.simulate(model, [1.0, 2.0], n=5000, seed=3).counts)
    assert np.array_equal(*results)
