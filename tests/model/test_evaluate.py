"""Numbers from expressions as IEEE 754 has them, and the order of assignments."""

import math

import pytest
import sympy

from sbmlgrad.errors import SbmlError
from sbmlgrad.model.evaluate import assignment_order, evaluate
from sbmlgrad.model.functions import build, quotient, rem

x, y = sympy.symbols("x y")


def test_order_of_assignments() -> None:
    assert assignment_order({"a": ["b", "elsewhere"], "b": ["c"], "c": []}, "f.xml") == ("c", "b", "a")
    with pytest.raises(SbmlError, match=r"f\.xml: the assignments of (a -> b -> a|b -> a -> b) "):
        assignment_order({"a": ["b"], "b": ["a"]}, "f.xml")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (build(sympy.Pow, x, sympy.Integer(-1)), math.inf),
        (build(sympy.Mul, x, build(sympy.Pow, x, sympy.Integer(-1))), math.nan),
        (build(sympy.log, x), -math.inf),
        (build(sympy.exp, build(sympy.Mul, y, sympy.Integer(1000))), math.inf),
        (build(sympy.Pow, sympy.Integer(-8), sympy.Float(1 / 3)), math.nan),
        (build(sympy.Pow, x, x), 1.0),
        (build(sympy.sqrt(y).func, sympy.Integer(-1), sympy.S.Half), math.nan),
        (build(sympy.factorial, sympy.Float(0.5)), math.gamma(1.5)),
        (build(sympy.factorial, sympy.Integer(-1)), math.nan),
        (build(quotient, sympy.Integer(-7), y), -3.0),
        (build(rem, sympy.Integer(-7), y), -1.0),
        (build(sympy.Max, x, sympy.nan), math.nan),
        (sympy.pi, math.pi),
        (sympy.zoo, math.inf),
        (sympy.true, 1.0),
    ],
)
def test_evaluation_is_ieee(expression: sympy.Basic, expected: float) -> None:
    assert evaluate(expression, {"x": 0.0, "y": 2.0}) == pytest.approx(expected, nan_ok=True, rel=1e-15)


def test_division_rounds_once() -> None:
    assert evaluate(build(sympy.Mul, x, build(sympy.Pow, y, sympy.Integer(-1))), {"x": 5.0, "y": 3.0}) == 5 / 3


def test_nothing_of_an_unknown_kind_is_evaluated() -> None:
    with pytest.raises(TypeError, match="zeta"):
        evaluate(sympy.zeta(x), {"x": 1.0})
