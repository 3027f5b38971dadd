"""Programs compute what the expressions say, batched or unrolled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.codegen.cfunctions import log2, log10

from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import as_number, build, draw, number, piecewise, quotient, rem
from sbmlgrad.network import program as program_module
from sbmlgrad.network.graph import Graph
from sbmlgrad.network.program import Program

A, B, C = sympy.symbols("A B C")
ONE, MINUS = sympy.Integer(1), sympy.Integer(-1)
EDGES = (0.0, -0.0, 1.0, -1.0, 2.5, -3.0, 7.0, 1e300, math.inf, -math.inf, math.nan)


def program_of(expressions: Sequence[Any], extra: Sequence[str] = ()) -> Program:
    """The expressions as functions of A, B and the inputs named in ``extra``."""
    graph = Graph()
    inputs = tuple(graph.input(name) for name in ("A", "B", *extra))
    environment = {A: inputs[0], B: inputs[1]}
    return Program(graph, inputs, tuple(graph.expression(e, environment) for e in expressions))


def power(base: Any, exponent: Any) -> Any:
    return build(sympy.Pow, base, exponent)


def both_ways(program: Program, values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of the program run batched, and unrolled."""
    actual = []
    for small in (-1, 10**9):
        monkeypatch.setattr(program_module, "_SMALL", small)
        # a new function each time, so that no compiled one is found again
        actual.append(np.array(jax.jit(lambda v: program(v))(jnp.asarray(values))))
    return actual[0], actual[1]


UNARY = (
    *(sympy.exp, sympy.log, log2, log10, sympy.Abs, sympy.floor, sympy.ceiling, sympy.factorial),
    *(sympy.sin, sympy.cos, sympy.tan, sympy.sec, sympy.csc, sympy.cot),
    *(sympy.asin, sympy.acos, sympy.atan, sympy.asec, sympy.acsc, sympy.acot),
    *(sympy.sinh, sympy.cosh, sympy.tanh, sympy.sech, sympy.csch, sympy.coth),
    *(sympy.asinh, sympy.acosh, sympy.atanh, sympy.asech, sympy.acsch, sympy.acoth),
)
RELATIONS = (sympy.Eq, sympy.Ne, sympy.Lt, sympy.Le, sympy.Gt, sympy.Ge)
LESS, SMALL = build(sympy.Lt, A, B), build(sympy.Le, A, number(2.5))
BOTH = (LESS, SMALL, build(sympy.Ne, B, ONE))
EXPRESSIONS: dict[str, Any] = {
    **{kind.__name__: build(kind, A) for kind in UNARY},
    **{kind.__name__: build(kind, A, B) for kind in (quotient, rem, sympy.Max, sympy.Min)},
    **{kind.__name__: as_number(build(kind, A, B)) for kind in RELATIONS},
    **{kind.__name__: as_number(build(kind, *BOTH)) for kind in (sympy.And, sympy.Or, sympy.Xor)},
    "not": as_number(build(sympy.Not, LESS)),
    "sum": build(sympy.Add, A, B, number(0.5), build(sympy.Mul, MINUS, A, B)),
    "negated sum": build(sympy.Add, build(sympy.Mul, MINUS, A), build(sympy.Mul, MINUS, B)),
    "product": build(sympy.Mul, A, B, number(-2.5)),
    "quotient of two": build(sympy.Mul, A, power(B, MINUS)),
    "quotient of many": build(sympy.Mul, number(3.0), power(A, MINUS), power(B, sympy.Integer(-2)), MINUS),
    "square root": power(A, sympy.S.Half),
    "real power": power(A, B),
    **{f"power {n}": power(A, sympy.Integer(n)) for n in (0, 1, 2, 3, 8, 9, -1, -3, -9)},
    "largest of three": build(sympy.Max, A, B, number(1.0)),
    "piecewise": piecewise([(A, LESS), (number(7.0), SMALL)], B),
    "guarded": piecewise([(power(A, MINUS), build(sympy.Gt, A, sympy.Integer(0)))], sympy.Integer(0)),
    "numbers": build(sympy.Add, A, sympy.oo, number(2.0**60)),
    "no number": build(sympy.Mul, A, sympy.nan),
}


def test_every_operation_is_that_of_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    """At random values and at all pairs of special ones, nan and infinities included."""
    random = np.random.default_rng(0).uniform(-4, 4, size=(2, 100))
    values = np.hstack([random, np.array(list(itertools.product(EDGES, EDGES))).T])
    batched, unrolled = both_ways(program_of(list(EXPRESSIONS.values())), values, monkeypatch)
    expected = [[evaluate(e, {"A": a, "B": b}) for a, b in zip(*values, strict=True)] for e in EXPRESSIONS.values()]
    for name, ours, alone, exact in zip(EXPRESSIONS, batched, unrolled, expected, strict=True):
        if name == "factorial":  # infinite or no number at its poles
            ours[values[0] == -1] = alone[values[0] == -1] = math.nan
        np.testing.assert_allclose(ours, exact, rtol=1e-12, atol=1e-300, err_msg=name)
        np.testing.assert_allclose(alone, ours, rtol=1e-14, atol=1e-300, err_msg=name)


def test_shapes_and_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs may be inputs or constants, values beyond the inputs are not read, and none may be asked for."""
    program = program_of([B, number(2.0), B, sympy.true, build(sympy.Add, A, B)], extra=["unused"])
    for shape in ((), (4,), (2, 3)):
        values = np.random.default_rng(1).normal(size=(5, *shape))
        for actual in both_ways(program, values, monkeypatch):
            exact = [values[1], np.full(shape, 2.0), values[1], np.ones(shape), values[0] + values[1]]
            np.testing.assert_array_equal(actual, exact)
    for actual in both_ways(program_of([]), np.ones((2, 3)), monkeypatch):
        assert actual.shape == (0, 3)


def test_large_formulas_run_all_at_once_on_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number may stand for an array, and what comes out is alike."""
    program = program_of([build(sympy.Add, *(build(sympy.exp, number(-i) * A) for i in range(200))), B])
    values = [jnp.asarray([0.5, 1.0, 2.0]), np.float64(3.0)]
    one_by_one = program.of_arrays(values)
    monkeypatch.setattr(program_module, "LARGE", 100)
    assert not program.is_deep
    sums, given = program.of_arrays(values)
    np.testing.assert_allclose(sums, one_by_one[0], rtol=1e-14)
    np.testing.assert_array_equal(given, np.full(3, 3.0))
    births = program_of([build(sympy.exp, number(-i) * B) for i in range(200)])  # whose propensities read no count
    assert {out.shape for out in jax.eval_shape(births.of_arrays, values)} == {(3,)}


def test_an_input_in_the_middle_is_not_computed() -> None:
    """What is handed in stands for its node, whatever that node would have come to."""
    graph = Graph()
    a = graph.input("A")
    inner = graph.expression(build(sympy.exp, A), {A: a})
    outer = graph.add("add", inner, graph.constant(1.0))
    assert Program(graph, (inner,), (outer,))(jnp.array([5.0])) == 6.0


def test_random_numbers_are_asked_for_by_kind_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [build(draw, sympy.Integer(kind), sympy.Integer(index), A, B) for kind, index in ((0, 1), (0, 2), (6, 3))]
    program = program_of([build(sympy.Add, *drawn), drawn[0]])
    assert program.draws
    assert not program_of([A]).draws

    def told(kind: int, index: int, parameters: tuple[Any, ...]) -> Any:
        return 100.0 * kind + 10.0 * index + parameters[0] - parameters[1]

    for small in (-1, 100):
        monkeypatch.setattr(program_module, "_SMALL", small)
        actual = program(jnp.array([3.0, 1.0]), told)
        np.testing.assert_array_equal(actual, [(10 + 2) + (20 + 2) + (600 + 30 + 2), 12])


def numbers(depth: int) -> st.SearchStrategy[Any]:
    """Expressions of A, B and C; bounded functions where a value could run away."""
    leaves = st.one_of(
        st.sampled_from([A, B, C]),
        st.integers(-4, 4).map(sympy.Integer),
        st.floats(-3, 3, allow_nan=False).map(number),
    )
    if depth == 0:
        return leaves
    inner = numbers(depth - 1)
    positive = inner.map(lambda e: build(sympy.Add, ONE, build(sympy.Abs, e)))
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        leaves,
        several.map(lambda args: build(sympy.Add, *args)),
        several.map(lambda args: build(sympy.Mul, *args)),
        several.map(lambda args: build(sympy.Max, *args)),
        several.map(lambda args: build(sympy.Min, *args)),
        st.tuples(inner, positive).map(lambda p: build(sympy.Mul, p[0], power(p[1], MINUS))),
        st.tuples(inner, st.integers(0, 12)).map(lambda p: power(p[0], sympy.Integer(p[1]))),
        st.tuples(positive, st.integers(-12, -1)).map(lambda p: power(p[0], sympy.Integer(p[1]))),
        positive.map(lambda e: power(e, sympy.S.Half)),
        positive.map(lambda e: build(sympy.log, e)),
        st.sampled_from([sympy.atan, sympy.tanh, sympy.asinh, sympy.Abs]).flatmap(
            lambda kind: inner.map(lambda e: build(kind, e))
        ),
        st.tuples(conditions(depth - 1), inner, inner).map(lambda p: piecewise([(p[1], p[0])], p[2])),
    )


def conditions(depth: int) -> st.SearchStrategy[Any]:
    """Truth values; comparisons are with numbers that sums do not hit by rounding."""
    inner = numbers(depth)
    kinds = st.sampled_from([sympy.Lt, sympy.Le, sympy.Gt, sympy.Ge])
    relation = st.tuples(kinds, inner).map(lambda p: build(p[0], p[1], number(0.1234567891)))
    if depth == 0:
        return st.one_of(relation, st.sampled_from([sympy.true, sympy.false]))
    pairs = st.lists(conditions(depth - 1), min_size=2, max_size=3)
    return st.one_of(
        relation,
        relation.map(lambda r: build(sympy.Not, r)),
        *(pairs.map(lambda args, kind=kind: build(kind, *args)) for kind in (sympy.And, sympy.Or, sympy.Xor)),
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    expression=numbers(3),
    points=st.lists(st.tuples(*[st.floats(-5, 5).map(lambda v: round(v, 3))] * 3), min_size=1, max_size=4),
)
def test_any_expression(expression: Any, points: list[tuple[float, float, float]]) -> None:
    values = np.array(points).T
    graph = Graph()
    inputs = tuple(graph.input(item.name, moving=item is not B) for item in (A, B, C))
    program = Program(graph, inputs, (graph.expression(expression, dict(zip((A, B, C), inputs, strict=True))),))
    (actual,) = program.unrolled(tuple(jnp.asarray(values)))
    actual = np.broadcast_to(np.asarray(actual, np.float64), values.shape[1:])
    np.testing.assert_allclose(program(jnp.asarray(values))[0], actual, rtol=1e-14)
    for value, point in zip(actual, values.T, strict=True):
        expected = evaluate(expression, dict(zip("ABC", point, strict=True)))
        # Terms may cancel: what is left is judged by the size of what was added up.
        scale = evaluate(magnitude(expression), dict(zip("ABC", point, strict=True)))
        if np.isfinite(scale):
            assert abs(value - expected) <= 1e-12 * max(scale, abs(expected))


def magnitude(node: Any) -> Any:
    """An expression for the size that a value may have had on the way, before terms cancelled."""
    if isinstance(node, sympy.logic.boolalg.Boolean) or not node.args:
        return build(sympy.Abs, node)
    kind = node.func
    if kind is sympy.Pow and isinstance(node.args[1], sympy.Integer) and node.args[1] >= 0:
        scale = power(build(sympy.Add, ONE, magnitude(node.args[0])), node.args[1])
        return build(sympy.Mul, build(sympy.Add, ONE, node.args[1]), scale)
    if kind is sympy.Piecewise:
        sizes = [magnitude(branch.args[0]) for branch in node.args]
        return build(sympy.Add, ONE, *sizes)
    if kind in (sympy.Add, sympy.Mul):
        parts = [magnitude(arg) for arg in node.args]
        grown = [build(sympy.Add, ONE, part) for part in parts] if kind is sympy.Mul else [ONE, *parts]
        return build(kind, *grown)
    if kind is sympy.Pow:
        return build(sympy.Add, ONE, magnitude(node.args[0]))  # a root or a reciprocal of at least 1
    return build(sympy.Add, ONE, *(magnitude(arg) for arg in node.args))


@pytest.mark.parametrize("small", [-1, 10**9], ids=["batched", "unrolled"])
def test_derivatives_are_those_of_sympy(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_module, "_SMALL", small)
    smooth = [
        build(sympy.Mul, A, A, power(B, MINUS)),
        build(sympy.exp, build(sympy.Mul, A, B)),
        power(A, B),
        build(sympy.sin, build(sympy.Add, A, power(B, sympy.S.Half))),
        piecewise([(build(sympy.Mul, A, B), build(sympy.Gt, A, B))], power(A, sympy.Integer(3))),
    ]
    program = program_of(smooth)
    for point in ((1.3, 0.7), (0.4, 2.1)):
        actual = jax.jacfwd(program)(jnp.array(point))
        values = dict(zip((A, B), point, strict=True))
        exact = [[float(sympy.diff(e, s).subs(values)) for s in (A, B)] for e in smooth]
        np.testing.assert_allclose(actual, exact, rtol=1e-12)
