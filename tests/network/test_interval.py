"""Bounds of operations hold for every value between the bounds of their arguments."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.network import program as program_module
from sbmlgrad.network.graph import Graph
from sbmlgrad.network.interval import OPERATIONS, enclosures

SAMPLES = 40
DOMAIN = {  # where an operation has values
    "sqrt": (0.0, 9.0),
    "log": (0.01, 9.0),
    "log2": (0.01, 9.0),
    "log10": (0.01, 9.0),
    "arcsin": (-1.0, 1.0),
    "arccos": (-1.0, 1.0),
    "arccosh": (1.0, 9.0),
    "arctanh": (-0.99, 0.99),
    "factorial": (0.0, 6.0),
}
TRUTHS = ("and", "or", "xor", "not")


def test_every_operation_has_bounds() -> None:
    assert OPERATIONS.keys() == program_module._OPERATIONS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_are_between_the_bounds(name: str) -> None:
    function = program_module._OPERATIONS[name]
    rng = np.random.default_rng(3)
    count = next(k for k in (1, 2, 3) if _takes(function, k))
    low, high = DOMAIN.get(name, (-9.0, 9.0))
    ends = np.sort(rng.uniform(low, high, (count, 2, 300)), axis=1)
    # narrow ones, points, and ends at 0 and at whole numbers
    ends[:, 1, :100] = ends[:, 0, :100] + 0.01 * (ends[:, 1, :100] - ends[:, 0, :100])
    ends[:, 1, 100:130] = ends[:, 0, 100:130]
    ends[:, :, 130:160] = np.round(ends[:, :, 130:160])
    if name in TRUTHS:
        ends = np.sort(rng.integers(0, 2, ends.shape), axis=1).astype(float)
    if name == "pow":
        ends[1, :, 160:] = np.round(ends[1, :1, 160:])  # whole exponents, of any base
        ends[0, :, :160] = np.abs(ends[0, :, :160])
        ends = np.sort(ends, axis=1)
    graph = Graph()
    indices = [graph.input(f"x{k}") for k in range(count)]
    node = graph.add(name, *indices)
    actual = enclosures(graph, [node], {p: (e[0], e[1]) for p, e in zip(indices, ends, strict=True)})[node]
    share = rng.uniform(0, 1, (SAMPLES, count, 300))
    share[0], share[1] = 0.0, 1.0
    inner = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
    if name in TRUTHS:
        inner = np.round(inner)
    values = np.array([function(*(jnp.asarray(x) for x in sample)) for sample in inner])
    finite = np.isfinite(values)
    values = np.where(finite, values, 0.0)
    slack = 1e-12 * np.maximum(1.0, np.abs(values))
    assert np.all((values >= actual[0] - slack)[finite])
    assert np.all((values <= actual[1] + slack)[finite])
    if name not in ("div", "quotient", "pow", "tan", "factorial", "arctanh"):
        assert np.mean(np.isfinite(actual[0]) & np.isfinite(actual[1])) > 0.95  # they say something


def _takes(function: object, count: int) -> bool:
    try:
        function(*[jnp.float64(0.5)] * count)  # type: ignore[operator]
    except TypeError:
        return False
    return True


def test_a_square_is_not_negative() -> None:
    graph = Graph()
    x = graph.input("x")
    node = graph.add("mul", x, x)
    low, high = enclosures(graph, [node], {x: (np.array([-2.0]), np.array([1.0]))})[node]
    assert (low[0], high[0]) == (0.0, 4.0)


def test_bounds_become_narrow_with_their_arguments() -> None:
    graph = Graph()
    t = graph.input("t")
    node = graph.add("exp", graph.add("neg", graph.add("mul", t, graph.add("sin", t))))
    width = 1e-6
    low, high = enclosures(graph, graph.reachable([node]), {t: (np.array([2.0]), np.array([2.0 + width]))})[node]
    assert 0 < high[0] - low[0] < 5 * width
