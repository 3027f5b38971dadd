"""Whether the numbers of a sum outweigh what is subtracted."""

from __future__ import annotations

import pytest
import sympy

from sbmlgrad.network.sums import outweighs

NAMES = sympy.symbols("V K x n", positive=True)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("V - V*x/(K + x)", True),
        ("1 - x/(K + x)", True),
        ("1 - x**n/(K**n + x**n)", True),
        ("2 - x/(K + x) - K/(K + x)", True),
        ("1 - 2*x/(K + x)", False),
        ("1 - x/(K + x) - x/(V + x)", False),
        ("1 - x", False),
        ("V - x/(K + x)", False),
        ("1 + x", False),
    ],
)
def test_fractions_of_a_sum_are_less_than_one(formula: str, expected: bool) -> None:
    names = {str(name): name for name in NAMES}
    expression = _sum(formula, names)
    assert outweighs(expression, lambda base: True) == expected


def test_what_may_be_negative_outweighs_nothing() -> None:
    expression = _sum("V - V*x/(K + x)", {str(name): name for name in NAMES})
    assert not outweighs(expression, lambda base: base != NAMES[0])


def _sum(formula: str, names: dict[str, sympy.Symbol]) -> sympy.Expr:
    return sympy.parsing.sympy_parser.parse_expr(formula, local_dict=names)
