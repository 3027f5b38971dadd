"""The scale on which parameters move, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from sbmlgrad.fitting.parameters import choose


def test_errors_of_logarithms_become_errors_of_values() -> None:
    chosen = choose({"a": None, "b": (-5.0, 5.0)}, {"a": 2.0, "b": -1.0}, {}, "model")
    values = np.array([2.0, -1.0])
    assert chosen.stderr(values, np.array([0.01, 0.01])) == pytest.approx([0.02, 0.01], rel=1e-4)
    assert chosen.stderr(values, np.array([1.5, 0.5])) == pytest.approx([2 * 1.5 * np.exp(1.5**2 / 2), 0.5])
    assert np.isinf(chosen.stderr(values, np.array([np.inf, np.inf]))).all()
