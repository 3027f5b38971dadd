"""The machine that works out laws does what numpy does, operation by operation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sbmlgrad.network.law_code import OPERATIONS, LawCode
from sbmlgrad.network.numpy_program import NUMPY_OPERATIONS
from sbmlgrad.simulation.sparse_code import Code, worked_out

VALUES = [0.0, 1.0, -1.0, 0.5, -0.3, 2.0, 7.5, -4.0, np.inf, np.nan]
BINARY = ("add", "sub", "mul", "div", "pow", "max", "min", "rem", "quotient", "lt", "le", "gt", "ge", "eq", "ne")
BINARY += ("and", "or", "xor")


@pytest.mark.parametrize("name", NUMPY_OPERATIONS)
def test_operations_are_those_of_numpy(name: str) -> None:
    count = 3 if name == "where" else 2 if name in BINARY else 1
    read = [(OPERATIONS.index("count"), index, 0, 0) for index in range(3)]
    rows = np.array([*read, (OPERATIONS.index(name), 0, 1, 2)], np.uint32)
    code = Code(np.array([0, 4], np.uint32), rows, np.zeros(0), np.zeros(4))
    for args in itertools.product(VALUES, repeat=count):
        x = np.array([*args, 0.0, 0.0][:3])
        with np.errstate(all="ignore"):
            expected = NUMPY_OPERATIONS[name](*(np.float64(arg) for arg in args)) + 0.0
        np.testing.assert_allclose(worked_out(code, x, 0), expected, rtol=1e-14, err_msg=str(args))
        own = LawCode(np.array([0, 4]), rows).values(x[:, None], np.zeros(0))
        np.testing.assert_array_equal(own, [[expected]])
