"""Programs run in numpy: slower than when compiled, but at once, as looks ahead need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sbmlgrad.model.elementary import ELEMENTARY
from sbmlgrad.network.program import Draw, Program, arithmetic


def _factorial(x: Any) -> Any:
    from scipy.special import gamma  # for the few models that have factorials

    return gamma(x + 1.0)


NUMPY_OPERATIONS: dict[str, Callable[..., Any]] = {
    **{item.name: item.evaluate for item in ELEMENTARY},
    "factorial": _factorial,
    **arithmetic(np, np.divide, np.power),
}


class NumpyProgram:
    """A :class:`Program` as a function of numpy arrays, all nodes of one kind at once.

    Not bit for bit what JAX computes: powers and functions differ in the last digits.
    """

    def __init__(self, program: Program):
        batches, self._constants, self._outputs = program.schedule
        self._read = np.array(program.read, np.int64)
        self._batches = [
            (node, NUMPY_OPERATIONS.get(node.operation), [np.array(column) for column in columns])
            for node, columns in batches
        ]
        self._size = len(self._read) + len(self._constants) + sum(len(columns[0]) for _, columns in batches)

    @property
    def nodes(self) -> int:
        """How many numbers are computed for each column."""
        return self._size

    @property
    def batches(self) -> int:
        """In how many calls of numpy they are."""
        return len(self._batches)

    def __call__(self, values: np.ndarray, random: Draw | None = None) -> np.ndarray:
        """The outputs (outputs, ...) for inputs (inputs or more, ...), float64; what comes after them is not read."""
        shape = values.shape[1:]
        if not len(self._outputs):
            return np.zeros((0, *shape))
        store = np.empty((self._size, *shape))
        begin, end = len(self._read), len(self._read) + len(self._constants)
        store[:begin] = values[self._read]
        store[begin:end] = self._constants.reshape((-1,) + (1,) * len(shape))
        with np.errstate(all="ignore"):
            for node, function, columns in self._batches:
                begin, end = end, end + len(columns[0])
                args = tuple(store[column] for column in columns)
                if function is None:
                    assert random is not None, node.operation  # only what is drawn is no function
                    kind, index = node.detail
                    store[begin:end] = [random(kind, index, single) for single in zip(*args, strict=True)]
                else:
                    store[begin:end] = function(*args)
        return store[self._outputs]
