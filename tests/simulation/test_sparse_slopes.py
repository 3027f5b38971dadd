"""Derivatives of laws by what is inside their instructions are JAX's, operation by operation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.model.elementary import ELEMENTARY
from sbmlgrad.network.law_code import OPERATIONS
from sbmlgrad.network.program import arithmetic
from sbmlgrad.simulation.sparse_code import Code, worked_out
from sbmlgrad.simulation.sparse_slopes import Slopes, _sweep_back, mark

JAX = {item.name: getattr(jnp, item.name) for item in ELEMENTARY if item.name != "factorial"}
JAX |= arithmetic(jnp, jnp.divide, jnp.power)
BINARY = ("add", "sub", "mul", "div", "pow", "max", "min", "rem", "quotient")
SMOOTH = tuple(name for name in JAX if name not in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "not"))
POINTS = [(0.3, 0.7, 0.2), (1.7, 0.4, 2.5), (0.9, 3.0, 1.1), (0.6, 0.6, 0.6), (2.5, 0.8, 0.0)]


def swept(rows: list[tuple[int, int, int, int]], numbers: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """Derivatives (directions,) of a law of one reaction."""
    table, count = np.array(rows, np.uint32), len(tangents)
    code = Code(np.array([0, len(rows)], np.uint32), table, numbers, np.zeros(len(rows)))
    worked_out(code, np.array([3.0]), 0)
    active = np.zeros(len(rows), bool)
    mark(active, code.starts, table, tangents.any(axis=0))
    slopes = Slopes(
        starts=np.array([0, count], np.uint32),
        directions=np.arange(count, dtype=np.uint32),
        active=active,
        slots=np.arange(count, dtype=np.uint32),
        tangents=tangents,
        adjoints=np.full(len(rows), 7.0),
        rates=np.zeros(count),
        relative=np.zeros(count),
        sums=np.zeros(count),
        fired=np.zeros(count),
        due=np.zeros(count),
    )
    _sweep_back(slopes, code, 0, 0, count)
    return slopes.relative


@pytest.mark.parametrize("name", SMOOTH)
def test_each_operation(name: str) -> None:
    count = 3 if name == "where" else 2 if name in BINARY else 1
    read = [(OPERATIONS.index("number"), index, 0, 0) for index in range(3)]
    for point in POINTS:
        if name == "arccosh":
            point = tuple(1.0 + value for value in point)
        elif name in ("arcsin", "arccos", "arctanh"):
            point = tuple(value / 4.0 for value in point)
        ours = swept([*read, (OPERATIONS.index(name), 0, 1, 2)], np.array(point), np.eye(3))
        expected = jax.jacfwd(lambda p: JAX[name](*p[:count]) + 0.0)(jnp.array(point))
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-15, err_msg=str(point))


def test_a_chain_in_two_directions() -> None:
    """v A^h / (K^h + A^h) at A = 3, by K and by h together with K."""
    names = [("count", 0), ("number", 0), ("number", 1), ("pow", 0, 2), ("pow", 1, 2), ("add", 3, 4), ("div", 3, 5)]
    rows = [(OPERATIONS.index(name), *args, *[0] * (3 - len(args))) for name, *args in names]

    def law(p: jax.Array) -> jax.Array:
        return 3.0 ** p[1] / (p[0] ** p[1] + 3.0 ** p[1])

    point, tangents = np.array([2.0, 1.6]), np.array([[1.0, 0.0], [0.5, -2.0]])
    expected = [jax.jvp(law, (jnp.array(point),), (jnp.array(row),))[1] for row in tangents]
    np.testing.assert_allclose(swept(rows, point, tangents), expected, rtol=1e-13)
