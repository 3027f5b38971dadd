"""Straight lines of one variable: the slope and the rest make the whole."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from sbmlgrad.model.functions import build, number, piecewise, rem
from sbmlgrad.network.graph import Graph
from sbmlgrad.network.lines import Lines
from sbmlgrad.network.program import Program

A, B, C = sympy.symbols("A B C")
ONE, MINUS = sympy.Integer(1), sympy.Integer(-1)


def power(base: Any, exponent: Any) -> Any:
    return build(sympy.Pow, base, exponent)


LESS, SMALL = build(sympy.Lt, A, B), build(sympy.Le, A, number(2.5))


@pytest.mark.parametrize(
    ("expression", "slope", "rest"),
    [
        (A, 1.0, 0.0),
        (B, 0.0, 5.0),
        (build(sympy.Add, A, build(sympy.Mul, MINUS, A, B), number(2.0)), -4.0, 2.0),
        (build(sympy.Mul, build(sympy.Add, A, B), build(sympy.exp, B)), math.exp(5), 5 * math.exp(5)),
        (build(sympy.Mul, build(sympy.Add, A, number(3.0)), power(B, MINUS)), 0.2, 0.6),
        (build(sympy.Mul, MINUS, A), -1.0, 0.0),
        (build(sympy.Mul, A, A), None, None),
        (build(sympy.exp, A), None, None),
        (build(sympy.Mul, B, power(A, MINUS)), None, None),
        (piecewise([(A, LESS)], B), 1.0, 0.0),
        (piecewise([(A, build(sympy.Gt, A, B))], B), 0.0, 5.0),
        (build(rem, build(sympy.Mul, number(-3.0), A), B), -3.0, 5.0),
        (build(sympy.Add, A, build(sympy.floor, build(sympy.Mul, A, B))), 1.0, 10.0),
        (build(sympy.Abs, build(sympy.Add, A, number(-4.0))), -1.0, 4.0),
        (build(sympy.Max, A, build(sympy.exp, B)), 0.0, math.exp(5)),
        (build(sympy.Mul, build(sympy.floor, A), build(sympy.exp, A)), None, None),
    ],
)
def test_affine(expression: Any, slope: float | None, rest: float | None) -> None:
    graph = Graph()
    a, b = graph.input("A"), graph.input("B")
    index = graph.expression(expression, {A: a, B: b})
    actual = Lines(graph, a, graph.dynamic([a])).affine(index)
    if slope is None:
        assert actual is None
    else:
        assert actual is not None
        values = Program(graph, (a, b), actual)(jnp.array([2.0, 5.0]))
        np.testing.assert_allclose(values, [slope, rest], rtol=1e-14)


def expressions(depth: int) -> st.SearchStrategy[Any]:
    """Sums, differences, products and quotients of A, B and numbers, and functions of them."""
    leaves = st.one_of(st.sampled_from([A, B]), st.floats(-3, 3).map(lambda v: number(round(v, 2))))
    if depth == 0:
        return leaves
    inner = expressions(depth - 1)
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        leaves,
        several.map(lambda args: build(sympy.Add, *args)),
        several.map(lambda args: build(sympy.Mul, *args)),
        st.tuples(inner, inner).map(lambda p: build(sympy.Add, p[0], build(sympy.Mul, MINUS, p[1]))),
        st.tuples(inner, inner).map(lambda p: build(sympy.Mul, p[0], power(p[1], MINUS))),
        inner.map(lambda e: build(sympy.tanh, e)),
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(expression=expressions(3), at=st.tuples(st.floats(-3, 3), st.floats(0.5, 3)))
def test_affine_parts_make_the_whole(expression: Any, at: tuple[float, float]) -> None:
    """Where there is an answer, it is right; sympy says what is linear where there is none."""
    graph = Graph()
    a, b = graph.input("A"), graph.input("B")
    index = graph.expression(expression, {A: a, B: b})
    actual = Lines(graph, a, graph.dynamic([a])).affine(index)
    if actual is None:
        assert A in expression.free_symbols
        return
    assert graph.dynamic([a]).isdisjoint(actual)
    program = Program(graph, (a, b), (*actual, index))
    slope, rest, whole = (float(v) for v in program(jnp.array(at)))
    scale = abs(slope * at[0]) + abs(rest)
    if math.isfinite(scale) and math.isfinite(whole):
        assert abs(slope * at[0] + rest - whole) <= 1e-9 * max(1.0, scale)
