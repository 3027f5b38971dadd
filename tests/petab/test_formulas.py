"""Formulas of PEtab become expressions and numbers, or one line of words."""

from __future__ import annotations

import pytest
import sympy

from sbmlgrad.errors import PetabError
from sbmlgrad.petab.formulas import check_constants, parse, symbols, value_of


def test_text_and_numbers() -> None:
    formula = parse(" 2^k + log10(100)*S ", "here")
    assert value_of(formula, {"k": 3.0, "S": 5.0}, "here") == 18.0
    assert symbols([formula, parse("x", "here")]) == {"k", "S", "x"}
    assert parse(2.5, "here") == sympy.Float(2.5)


def test_what_is_no_formula_is_named() -> None:
    with pytest.raises(PetabError, match=r"^here: 'k \+' is not a formula of PEtab \([^\n]+\); correct it$"):
        parse("k +", "here")
    with pytest.raises(PetabError, match="here: 'S' has no value here; add it to the parameter table"):
        value_of(parse("k*S", "here"), {"k": 1.0}, "here")


def test_a_power_that_no_number_holds_is_refused_before_it_is_computed() -> None:
    with pytest.raises(PetabError, match="has a power that no number can hold"):
        parse("10^10^10^10", "here")
    check_constants("10^300 + k^99", "here")
    check_constants("no formula (", "here")
