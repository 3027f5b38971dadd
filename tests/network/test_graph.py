"""Graphs of operations hold each value once, and keep apart what does not move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from sbmlgrad.model.functions import build, draw
from sbmlgrad.network.graph import Graph
from sbmlgrad.network.program import Program

A, B, C = sympy.symbols("A B C")
ONE, MINUS = sympy.Integer(1), sympy.Integer(-1)


def program_of(expressions: Sequence[Any], extra: Sequence[str] = ()) -> Program:
    """The expressions as functions of A, B and the inputs named in ``extra``."""
    graph = Graph()
    inputs = tuple(graph.input(name) for name in ("A", "B", *extra))
    environment = {A: inputs[0], B: inputs[1]}
    return Program(graph, inputs, tuple(graph.expression(e, environment) for e in expressions))


def power(base: Any, exponent: Any) -> Any:
    return build(sympy.Pow, base, exponent)


def test_equal_nodes_stand_once() -> None:
    graph = Graph()
    a, b = graph.input("A"), graph.input("B")
    shared = build(sympy.exp, build(sympy.Mul, A, B))
    indices = [
        graph.expression(build(kind, shared, other), {A: a, B: b})
        for kind, other in ((sympy.Add, ONE), (sympy.Add, ONE), (sympy.Mul, A))
    ]
    assert indices[0] == indices[1] != indices[2]
    assert [node.operation for node in graph.nodes] == ["input", "input", "mul", "exp", "constant", "add", "mul"]
    assert graph.constant(math.nan) == graph.constant(math.nan)
    assert graph.constant(0.0) != graph.constant(-0.0), "1/0 and 1/-0 are not the same"
    assert math.isnan(graph.value(graph.constant(math.nan)) or 0.0)
    assert graph.value(a) is None


def test_what_is_long_is_shallow() -> None:
    """A sum of 1000 terms is 10 additions deep, and so are products and the largest of as many."""
    symbols = [sympy.Symbol(f"x{i}") for i in range(1000)]
    for kind, exactly in ((sympy.Add, math.fsum), (sympy.Mul, math.prod), (sympy.Max, max), (sympy.Min, min)):
        graph = Graph()
        environment = {s: graph.input(s.name) for s in symbols}
        index = graph.expression(build(kind, *symbols), environment)
        depth: dict[int, int] = {}
        for at, node in enumerate(graph.nodes):
            depth[at] = 1 + max((depth[arg] for arg in node.args), default=-1)
        assert depth[index] == 10
        program = Program(graph, tuple(environment.values()), (index,))
        values = np.random.default_rng(2).uniform(0.9, 1.1, size=1000)
        assert float(program(jnp.asarray(values))[0]) == pytest.approx(exactly(values.tolist()), rel=1e-13)


def test_what_moves_and_what_is_needed() -> None:
    graph = Graph()
    a, b = graph.input("A"), graph.input("B")
    random = build(draw, sympy.Integer(0), ONE, B, B)
    indices = {
        name: graph.expression(expression, {A: a, B: b})
        for name, expression in {"of A": build(sympy.exp, A), "of B": build(sympy.exp, B), "drawn": random}.items()
    }
    both = graph.add("add", indices["of A"], indices["of B"])
    assert graph.dynamic([a]) == {a, indices["of A"], indices["drawn"], both}
    assert graph.dynamic([a], drawn=[indices["drawn"]]) == {a, indices["of A"], both}
    assert graph.reachable([both]) == sorted([a, b, indices["of A"], indices["of B"], both])
    assert graph.reachable([both], {indices["of A"]}) == sorted([b, indices["of A"], indices["of B"], both])


def test_numbers_divide_as_in_any_other_formula() -> None:
    """1/0 between two numbers of a document is infinite, and 0/0 none, without a word from numpy."""
    nothing = build(sympy.Add, ONE, MINUS)
    for above, exact in ((ONE, math.inf), (nothing, math.nan)):
        (actual,) = program_of([build(sympy.Mul, above, power(nothing, MINUS))]).unrolled([1.0, 2.0])
        np.testing.assert_equal(float(actual), exact)


def test_what_does_not_move_is_computed_once() -> None:
    """Of k*A*k/B/(A + B), the coefficient is k*k/B, however the formula is written; A/B stays a division."""
    graph = Graph()
    a, b, k = graph.input("A", moving=True), graph.input("B"), graph.input("C")
    environment = {A: a, B: b, C: k}
    law = build(sympy.Mul, C, A, C, power(B, MINUS), power(build(sympy.Add, A, B), MINUS))
    graph.expression(law, environment)
    fixed = [index for index in range(len(graph.nodes)) if index not in graph.moving]
    assert [graph.nodes[index].operation for index in fixed] == ["input", "input", "mul", "div"]
    alone = graph.nodes[graph.expression(build(sympy.Mul, A, power(B, MINUS)), environment)]
    assert (alone.operation, alone.args) == ("div", (a, b))


def test_depth_counts_operations_that_wait_for_each_other() -> None:
    graph = Graph()
    x = graph.input("x")
    row = x
    for number in range(5):
        row = graph.add("mul", row, graph.constant(number + 2.0))
    beside = graph.add("add", x, x)
    assert graph.depth(graph.reachable([row, beside])) == 5
    assert graph.depth(graph.reachable([x])) == 0
