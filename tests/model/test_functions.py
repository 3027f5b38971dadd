"""Nodes are built as a file writes them."""

import math

import sympy

from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import build, substitute

x, y = sympy.symbols("x y")


def test_substitution_evaluates_nothing() -> None:
    expression = build(sympy.Mul, x, build(sympy.Pow, y, sympy.Integer(-1)))
    assert math.isnan(evaluate(substitute(expression, {y: x}), {"x": 0.0}))
    assert substitute(expression, {sympy.Symbol("z"): x}) is expression
