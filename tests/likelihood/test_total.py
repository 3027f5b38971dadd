"""The likelihood of several experiments is the product of theirs."""

import numpy as np

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.records import Snapshots, Trajectories
from sbmlgrad.likelihood.total import Total


def test_parts_share_some_of_the_parameters(birth_death: Problem) -> None:
    times = np.array([1.0, 2.0])
    path = Trajectories(("X",), times, np.array([[[4.0, 6.0]]]), np.zeros((1, 1, 2)))
    cells = Snapshots.of(("X",), np.array([1.0, 1.0, 2.0]), np.array([[3.0], [5.0], [4.0]]))
    parts = ProjectedPaths(birth_death, path), ProjectedCells(birth_death, cells)
    total = Total(parts, [np.array([0, 2]), np.array([1, 2])])  # two rates of birth, one of death
    values = np.array([4.0, 5.0, 0.7])
    total.prepare(values)
    found, first, second = total.evaluate(values), parts[0].evaluate(values[[0, 2]]), parts[1].evaluate(values[[1, 2]])
    assert found.value == first.value + second.value
    np.testing.assert_array_equal(found.score, [first.score[0], second.score[0], first.score[1] + second.score[1]])
    assert total.size == parts[0].size + parts[1].size == 5
    expected = total.expected(values)
    assert list(expected.statistic) == ["value", "value", "mean", "sd", "mean", "sd"]
    assert total.name == "projection"
