"""Matrices column by column: the same numbers as the matrix itself."""

from __future__ import annotations

import numpy as np

import sbmlgrad as sg
from sbmlgrad.network.columns import Columns

MATRIX = np.array([[1, 0, -2, 0], [0, 0, 0, 3], [0, 0, 1, -1]])


def test_columns_are_those_of_the_matrix() -> None:
    columns = Columns.of_matrix(MATRIX)
    assert columns.shape == MATRIX.shape
    np.testing.assert_array_equal(columns.matrix(np.int64), MATRIX)
    given = Columns.of(3, [{0: 1}, {}, {2: 1, 0: -2}, {1: 3, 2: -1}])
    for one, other in zip(columns, given, strict=True):
        np.testing.assert_array_equal(one, other)


def test_some_rows_are_those_of_the_matrix() -> None:
    for rows in ([0, 2], [1], [], [0, 1, 2]):
        chosen = Columns.of_matrix(MATRIX).of_rows(np.array(rows, np.int64))
        np.testing.assert_array_equal(chosen.matrix(np.float64), MATRIX[rows])


def test_no_columns_are_an_empty_matrix() -> None:
    np.testing.assert_array_equal(Columns.of(2, []).matrix(np.int64), np.zeros((2, 0)))


def test_a_network_of_columns_is_that_of_the_matrix() -> None:
    def propensities(x, _):  # type: ignore[no-untyped-def]
        return x[np.array([0, 1, 2, 0])]

    given = sg.ReactionNetwork(Columns.of_matrix(MATRIX), propensities, x0=[1, 2, 3])
    np.testing.assert_array_equal(given.stoichiometry, MATRIX)
    dense = sg.ReactionNetwork(MATRIX.astype(float), propensities, x0=[1, 2, 3])
    assert dense.stoichiometry.dtype == np.int64
    for one, other in zip(dense.columns, given.columns, strict=True):
        np.testing.assert_array_equal(one, other)
