"""Programs in numpy compute what JAX computes, for one state and for many."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from sbmlgrad.model.functions import build, draw, number, piecewise, quotient, rem
from sbmlgrad.network.graph import Graph
from sbmlgrad.network.numpy_program import NumpyProgram
from sbmlgrad.network.program import Program

A, B = sympy.symbols("A B")
ONE = sympy.Integer(1)
UNARY = (
    *(sympy.exp, sympy.log, sympy.Abs, sympy.floor, sympy.ceiling, sympy.factorial, sympy.sin, sympy.cos, sympy.tan),
    *(sympy.asin, sympy.acos, sympy.atan, sympy.sinh, sympy.cosh, sympy.tanh, sympy.asinh, sympy.acosh, sympy.atanh),
    *(sympy.sec, sympy.acoth),
)
RELATIONS = (sympy.Eq, sympy.Ne, sympy.Lt, sympy.Le, sympy.Gt, sympy.Ge)
LESS, SMALL = build(sympy.Lt, A, B), build(sympy.Le, A, number(2.5))


def program_of(*expressions: sympy.Expr) -> Program:
    graph = Graph()
    inputs = tuple(graph.input(name) for name in ("A", "B", "unused"))
    environment = dict(zip((A, B), inputs, strict=False))
    return Program(graph, inputs, tuple(graph.expression(e, environment) for e in expressions))


EVERYTHING = (
    A,
    number(3.5),
    *(build(function, A) for function in UNARY),
    *(piecewise([(A, build(relation, A, B))], ONE) for relation in RELATIONS),
    *(piecewise([(A, build(logic, LESS, SMALL))], B) for logic in (sympy.And, sympy.Or, sympy.Xor)),
    *(build(function, A, B) for function in (sympy.Max, sympy.Min, sympy.Add, sympy.Mul, sympy.Pow, rem, quotient)),
    build(sympy.Pow, A, number(-1.5)),
    build(sympy.Add, A, build(sympy.Mul, sympy.Integer(-1), B)),
)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_every_operation_is_that_of_jax(shape: tuple[int, ...]) -> None:
    program = program_of(*EVERYTHING)
    values = np.random.default_rng(1).uniform(-3, 3, (3, *shape))
    expected = np.asarray(jax.jit(program)(jnp.asarray(values)))
    np.testing.assert_allclose(NumpyProgram(program)(values), expected, rtol=1e-12, atol=1e-12)


def test_what_is_drawn_is_asked_for() -> None:
    program = program_of(build(sympy.Add, A, draw(ONE, sympy.Integer(7), A, B)))

    def random(kind: int, index: int, parameters: tuple[float, ...]) -> float:
        assert (kind, index) == (1, 7)
        return 10.0 * parameters[0] + parameters[1]

    np.testing.assert_array_equal(NumpyProgram(program)(np.array([2.0, 3.0, 0.0]), random), [25.0])


def test_no_outputs() -> None:
    assert NumpyProgram(program_of())(np.ones((3, 4))).shape == (0, 4)
