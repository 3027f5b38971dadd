"""Generated functions compute what the expressions say, for every node that a document can hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.codegen.cfunctions import log2, log10

from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import as_number, build, number, piecewise, quotient, rem
from sbmlgrad.network.generate import Program, compile_source

A, B, C = (sympy.Symbol(name) for name in "ABC")
ONE, MINUS = sympy.Integer(1), sympy.Integer(-1)
Function = Callable[[Sequence[float]], float]


def generated(expressions: Sequence[Any], symbols: Sequence[sympy.Symbol]) -> tuple[Any, str]:
    """A function of one tuple of arrays that returns the expressions' values, and its source."""
    program = Program("f", {"x": symbols})
    source = program.source([program.value(e) for e in expressions])
    return compile_source(source, "f"), source


def agree(expression: Any, symbols: Sequence[sympy.Symbol], points: np.ndarray, jitted: bool = True) -> None:
    """Hold the generated function to ``model.evaluate`` at points (symbols, n)."""
    expression = as_number(expression)
    function, source = generated([expression], symbols)
    run = jax.jit(function) if jitted else function
    (found,) = run(tuple(jnp.asarray(row) for row in points))
    names = [s.name for s in symbols]
    expected = [evaluate(expression, dict(zip(names, point, strict=True))) for point in points.T]
    found = np.broadcast_to(np.asarray(found, np.float64), points.shape[1:])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300, err_msg=source)


# ---- each kind of node ---------------------------------------------------------------------------------

# Domains in which a function is far from its poles, so that 1e-12 is a fair demand.
REAL, POSITIVE, UNIT, ABOVE_ONE = (-3.0, 3.0), (0.1, 5.0), (-0.9, 0.9), (1.1, 5.0)

UNARY: list[tuple[Any, tuple[float, float], Callable[[Any], Any]]] = [
    (sympy.exp, REAL, mpmath.exp),
    (sympy.log, POSITIVE, mpmath.log),
    (log10, POSITIVE, mpmath.log10),
    (log2, POSITIVE, lambda x: mpmath.log(x, 2)),
    (sympy.Abs, REAL, abs),
    (sympy.floor, REAL, mpmath.floor),
    (sympy.ceiling, REAL, mpmath.ceil),
    (sympy.factorial, POSITIVE, lambda x: mpmath.gamma(x + 1)),
    (sympy.sin, REAL, mpmath.sin),
    (sympy.cos, REAL, mpmath.cos),
    (sympy.tan, UNIT, mpmath.tan),
    (sympy.sec, UNIT, mpmath.sec),
    (sympy.csc, POSITIVE, mpmath.csc),
    (sympy.cot, (0.1, 1.5), mpmath.cot),
    (sympy.sinh, REAL, mpmath.sinh),
    (sympy.cosh, REAL, mpmath.cosh),
    (sympy.tanh, REAL, mpmath.tanh),
    (sympy.sech, REAL, mpmath.sech),
    (sympy.csch, POSITIVE, mpmath.csch),
    (sympy.coth, POSITIVE, mpmath.coth),
    (sympy.asin, UNIT, mpmath.asin),
    (sympy.acos, UNIT, mpmath.acos),
    (sympy.atan, REAL, mpmath.atan),
    (sympy.asec, ABOVE_ONE, mpmath.asec),
    (sympy.acsc, ABOVE_ONE, mpmath.acsc),
    (sympy.acot, POSITIVE, mpmath.acot),
    (sympy.asinh, REAL, mpmath.asinh),
    (sympy.acosh, ABOVE_ONE, mpmath.acosh),
    (sympy.atanh, UNIT, mpmath.atanh),
    (sympy.asech, (0.1, 0.9), mpmath.asech),
    (sympy.acsch, POSITIVE, mpmath.acsch),
    (sympy.acoth, ABOVE_ONE, mpmath.acoth),
]


@pytest.mark.parametrize(("kind", "domain", "reference"), UNARY, ids=lambda value: getattr(value, "__name__", ""))
def test_functions_of_one_argument(kind: Any, domain: tuple[float, float], reference: Callable[[Any], Any]) -> None:
    points = np.random.default_rng(0).uniform(*domain, size=(1, 50))
    agree(build(kind, A), [A], points)
    function, _ = generated([build(kind, A)], [A])
    with mpmath.workdps(30):
        exact = [float(reference(mpmath.mpf(value))) for value in points[0]]
    np.testing.assert_allclose(function((jnp.asarray(points[0]),))[0], exact, rtol=2e-12, atol=1e-15)


def power(base: Any, exponent: Any) -> Any:
    return build(sympy.Pow, base, exponent)


LESS, MORE, SAME = (build(kind, A, B) for kind in (sympy.Lt, sympy.Gt, sympy.Eq))
NODES: dict[str, tuple[Any, Callable[[float, float], float]]] = {
    "sum": (build(sympy.Add, A, B, number(0.5), A), lambda a, b: 2 * a + b + 0.5),
    "difference": (build(sympy.Add, A, build(sympy.Mul, MINUS, B)), lambda a, b: a - b),
    "product": (build(sympy.Mul, A, B, number(-2.5), A), lambda a, b: -2.5 * a * a * b),
    "quotient of two": (build(sympy.Mul, A, power(B, MINUS)), lambda a, b: a / b),
    "quotient of many": (
        build(sympy.Mul, A, power(B, MINUS), number(3.0), power(build(sympy.Add, A, B), sympy.Integer(-2))),
        lambda a, b: a / b * 3 / (a + b) ** 2,
    ),
    "reciprocals": (build(sympy.Mul, power(A, MINUS), power(B, MINUS)), lambda a, b: 1 / a / b),
    "reciprocal": (power(A, MINUS), lambda a, b: 1 / a),
    "square root": (power(A, sympy.S.Half), lambda a, b: math.sqrt(a)),
    "power of two": (power(A, B), lambda a, b: a**b),
    "real power": (power(A, number(-1.7)), lambda a, b: a**-1.7),
    "zeroth power": (power(A, sympy.Integer(0)), lambda a, b: 1.0),
    **{f"power {n}": (power(A, sympy.Integer(n)), lambda a, b, n=n: a**n) for n in (1, 2, 5, 8, 9, 23, -2, -8, -9)},
    "quotient": (build(quotient, A, B), lambda a, b: float(math.trunc(a / b))),
    "remainder": (build(rem, A, B), math.fmod),
    "remainder of a negative": (build(rem, build(sympy.Mul, MINUS, A), B), lambda a, b: math.fmod(-a, b)),
    "quotient of a negative": (
        build(quotient, build(sympy.Mul, MINUS, A), B),
        lambda a, b: math.trunc(-a / b),
    ),
    "maximum": (build(sympy.Max, A, B, number(1.0)), lambda a, b: max(a, b, 1.0)),
    "minimum": (build(sympy.Min, A, B, number(1.0)), lambda a, b: min(a, b, 1.0)),
    "piecewise": (
        piecewise([(A, LESS), (number(7.0), build(sympy.Gt, A, number(3.0)))], B),
        lambda a, b: a if a < b else 7.0 if a > 3 else b,
    ),
    "nested piecewise": (
        piecewise([(piecewise([(A, build(sympy.Ge, B, ONE))], number(0.0)), MORE)], build(sympy.Mul, A, B)),
        lambda a, b: (a if b >= 1 else 0.0) if a > b else a * b,
    ),
    "condition on a piecewise": (
        piecewise([(A, build(sympy.Ne, piecewise([(ONE, LESS)], sympy.Integer(0)), sympy.Integer(0)))], B),
        min,
    ),
    "infinity": (build(sympy.Min, A, sympy.oo), lambda a, b: a),
    "minus infinity": (build(sympy.Max, A, -sympy.oo), lambda a, b: a),
    "no number": (build(sympy.Add, A, sympy.nan), lambda a, b: math.nan),
    "large number": (build(sympy.Add, A, number(2.0**60)), lambda a, b: a + 2.0**60),
    "true": (as_number(build(sympy.Or, sympy.true, LESS)), lambda a, b: 1.0),
    "eq": (as_number(SAME), lambda a, b: float(a == b)),
    "ne": (as_number(build(sympy.Ne, A, B)), lambda a, b: float(a != b)),
    "le": (as_number(build(sympy.Le, A, B)), lambda a, b: float(a <= b)),
    "ge": (as_number(build(sympy.Ge, A, B)), lambda a, b: float(a >= b)),
    "and": (as_number(build(sympy.And, LESS, build(sympy.Gt, A, ONE))), lambda a, b: float(1 < a < b)),
    "or": (as_number(build(sympy.Or, LESS, build(sympy.Gt, A, ONE))), lambda a, b: float(a < b or a > 1)),
    "xor": (
        as_number(build(sympy.Xor, LESS, build(sympy.Gt, A, ONE), build(sympy.Gt, B, ONE))),
        lambda a, b: float((a < b) ^ (a > 1) ^ (b > 1)),
    ),
    "not": (as_number(build(sympy.Not, LESS)), lambda a, b: float(not a < b)),
    "not and": (
        as_number(build(sympy.Not, build(sympy.And, LESS, build(sympy.Gt, A, ONE), sympy.true))),
        lambda a, b: float(not 1 < a < b),
    ),
}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("jitted", [True, False], ids=["jitted", "plain"])
def test_nodes(name: str, jitted: bool) -> None:
    expression, reference = NODES[name]
    points = np.random.default_rng(1).uniform(0.3, 4.0, size=(2, 60))
    points[1, :5] = points[0, :5]  # ties
    agree(expression, [A, B], points, jitted)
    function, source = generated([expression], [A, B])
    exact = [reference(*point) for point in points.T]
    (found,) = function(tuple(jnp.asarray(points)))
    np.testing.assert_allclose(np.broadcast_to(found, 60), exact, rtol=1e-12, err_msg=source)


def test_a_branch_that_is_not_taken_may_be_undefined() -> None:
    guarded = piecewise([(power(A, MINUS), build(sympy.Gt, A, sympy.Integer(0)))], sympy.Integer(0))
    agree(guarded, [A], np.array([[0.0, 2.0, -1.0]]))
    function, _ = generated([guarded], [A])
    assert function((jnp.float64(0.0),))[0] == 0


def test_a_power_of_zero_is_one_for_every_base() -> None:
    points = np.array([[0.0, np.nan, np.inf, -2.0]])
    agree(power(A, sympy.Integer(0)), [A], points)


def test_zero_divided_by_zero_is_no_number_and_nothing_cancels() -> None:
    same = build(sympy.Mul, A, power(A, MINUS))
    function, _ = generated([same, power(A, MINUS)], [A])
    ratio, inverse = function((jnp.float64(0.0),))
    assert np.isnan(ratio)
    assert np.isinf(inverse)


def test_symbols_that_stand_for_numbers_divide_like_numbers() -> None:
    """A rule may set a variable to the number 0, and dividing by it gives infinity and not an exception."""
    program = Program("f", {"x": [A]})
    program.define(B, sympy.Integer(0))
    outputs = [
        program.value(e)
        for e in (
            power(B, MINUS),
            build(sympy.Mul, sympy.Integer(2), power(B, MINUS)),
            build(quotient, ONE, B),
        )
    ]
    function = compile_source(program.source(outputs), "f")
    with np.errstate(all="ignore"):
        assert [float(v) for v in function((jnp.float64(1.0),))] == [math.inf] * 3


# ---- any expression ------------------------------------------------------------------------------------


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
    function, source = generated([expression], [A, B, C])
    (found,) = function(tuple(jnp.asarray(values)))
    found = np.broadcast_to(np.asarray(found, np.float64), values.shape[1:])
    for value, point in zip(found, values.T, strict=True):
        expected = evaluate(expression, dict(zip("ABC", point, strict=True)))
        # Terms may cancel: what is left is judged by the size of what was added up.
        scale = evaluate(magnitude(expression), dict(zip("ABC", point, strict=True)))
        if np.isfinite(scale):
            assert abs(value - expected) <= 1e-12 * max(scale, abs(expected)), source


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


# ---- the source ----------------------------------------------------------------------------------------

HOSTILE = [
    *(
        "lambda",
        "S",
        "I",
        "E",
        "pi",
        "None",
        "__class__",
        "__builtins__",
        "jnp",
        "gamma",
        "x0",
        "t0",
        "f",
        "x",
    ),
    *(
        "__import__('os').system('false')",
        "a\nb",
        "a'b",
        'a"b',
        "a;b",
        "\u03b1",
        "count:A",
        "",
        "0",
        "return",
    ),
]


def test_ids_never_reach_the_source() -> None:
    symbols = [sympy.Symbol(name) for name in HOSTILE]
    expressions = [build(sympy.Mul, s, sympy.Integer(i + 2)) for i, s in enumerate(symbols)]
    function, source = generated(expressions, symbols)
    values = np.linspace(1, 2, len(symbols))
    np.testing.assert_array_equal(function(tuple(values)), values * (np.arange(len(symbols)) + 2))
    words = set(source.replace("(", " ").replace(")", " ").replace(",", " ").split())
    assert not words & (set(HOSTILE) - {"x0", "t0", "f", "x", "return"})
    assert "system" not in source


def test_symbols_of_equal_names_in_different_roles_do_not_mix() -> None:
    """An id that looks like a name of ours is still just an id."""
    names = [sympy.Symbol(name) for name in ("x1", "x0", "t1", "t0")]
    function, _ = generated([build(sympy.Add, names[0], build(sympy.Mul, names[1], names[2])), names[3]], names)
    assert [float(v) for v in function((2.0, 3.0, 5.0, 7.0))] == [17.0, 7.0]


def test_equal_parts_are_written_once() -> None:
    shared = build(sympy.exp, build(sympy.Mul, A, B))
    _, source = generated([build(sympy.Add, shared, ONE), build(sympy.Mul, shared, A)], [A, B])
    assert source.count("jnp.exp") == 1


def test_an_unknown_symbol_is_an_error_when_the_source_is_written() -> None:
    with pytest.raises(KeyError, match="no value for 'B'"):
        generated([build(sympy.Add, A, B)], [A])


def test_functions_take_any_shape_and_can_be_empty() -> None:
    function, _ = generated([A, number(2.0)], [A])
    assert np.shape(function((jnp.ones((3, 4)),))[0]) == (3, 4)
    nothing, _ = generated([], [])
    assert nothing(()) == ()


@pytest.mark.parametrize("name", ["product", "quotient of many", "power 5", "power -2", "piecewise", "maximum"])
def test_derivatives_are_those_of_the_expression(name: str) -> None:
    expression, reference = NODES[name]
    function, _ = generated([expression], [A, B])
    for point in np.random.default_rng(2).uniform(1.2, 3.0, size=(10, 2)):
        found = jax.jacfwd(lambda v: function(tuple(v))[0])(jnp.asarray(point))
        step = 1e-6 * np.eye(2)
        exact = [(reference(*(point + d)) - reference(*(point - d))) / 2e-6 for d in step]
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-8)
