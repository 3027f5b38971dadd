"""Formulas in PEtab's grammar mean what they meant, as libpetab reads them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy
from petab.v1.math import sympify_petab

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.fitting.petab_formulas import is_id, petab_formula
from sbmlgrad.model.elements import TIME
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.sbml.formula import read_formula

VALUES = {"A": 0.7, "k": 2.5, "cell": 1.5, "<time>": 3.0}


@pytest.fixture(scope="module")
def decay(model: Callable[..., sg.Model]) -> sg.Model:
    return model(
        species={"A": {"amount": 0.7}},
        reactions={"decay": ("A ->", "k * A")},
        parameters={"k": 2.5},
        compartments={"cell": 1.5},
    )


@pytest.mark.parametrize(
    "text",
    [
        "A - k - cell",
        "A / k / cell * 2",
        "A / (k * cell)",
        "-A^2 + (-k)^2",
        "2^-A^k",
        "(A + k) * (A - k) / (A + 1e-5)",
        "exp(-k * A) + ln(k) + log10(k) + log(2, k)",
        "sqrt(A) + abs(-A) + root(3, k)",
        "sin(A) + cos(A) * tan(A) - arcsin(A) + arccos(A) / arctan(A)",
        "sinh(A) + sech(A) + arccosh(k) + arctanh(A) + cot(A) + csc(A) + arccoth(k)",
        "min(A, k, cell) * max(A, k) + max(A, 3, k)",
        "piecewise(A, A > 1, k, k >= 2 && !(A == 0.7), cell)",
        "piecewise(1, A < 1 || k <= 1, 0) + piecewise(2, A != 0.7, 3)",
        "0.1 + 1e300 * 1e-300 + 123456789.123456789",
        "decay + time",
        "pi + exponentiale",
    ],
)
def test_formulas_mean_the_same(decay: sg.Model, text: str) -> None:
    formula = read_formula(text, decay)
    again = sympify_petab(petab_formula(formula, "here"))
    expected = evaluate(formula, VALUES)
    assert np.isfinite(expected)
    assert evaluate(again, {**VALUES, "time": 3.0}) == pytest.approx(expected, rel=1e-14)


def test_what_the_grammar_lacks_is_said() -> None:
    x = sympy.Symbol("x")
    with pytest.raises(FitError, match="here: PEtab has no function 'ceiling'; write the formula without it"):
        petab_formula(sympy.ceiling(x) + 1, "here")
    for name in ("inf", "<noise of y>", "NaN"):
        with pytest.raises(FitError, match="is no id of PEtab"):
            petab_formula(sympy.Symbol(name) + 1, "here")
    with pytest.raises(FitError, match="a value is not set"):
        petab_formula(sympy.nan, "here")
    assert petab_formula(TIME + 1, "here") in ("time + 1", "1 + time")


def test_ids() -> None:
    assert [name for name in ("a_1", "1a", "time", "Inf", "a b", "lambda") if is_id(name)] == ["a_1", "lambda"]
