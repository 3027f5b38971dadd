"""Net laws fall into a forward and a backward part where, and only where, they are the difference of two rates."""

from __future__ import annotations

import itertools
import re
from typing import Any

import libsbml
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import build, piecewise, substitute
from sbmlgrad.network.channels import count_symbol
from sbmlgrad.network.split import signed_parts, split_reversible, vanishes
from sbmlgrad.sbml.mathml import Scope

COUNTS = "ABCD"  # whole numbers at the points of comparison; every other symbol is a positive real number


def law(formula: str) -> Any:
    """The expression of a formula, as it would be read from a document."""
    ids = frozenset(re.findall(r"[A-Za-z_]\w*", formula))
    scope = Scope(source="test", ids=ids, functions={}, rate=lambda _: None)
    expression = scope.expression(libsbml.parseL3Formula(formula), "the test")
    return substitute(expression, {sympy.Symbol(name): count_symbol(name) for name in COUNTS})


def symbols(names: str) -> list[sympy.Symbol]:
    return [count_symbol(name) if name in COUNTS else sympy.Symbol(name) for name in names]


def points(expressions: list[Any], number: int = 40) -> list[dict[str, float]]:
    """Non-negative values for all symbols, with whole counts down to 0."""
    random = np.random.default_rng(0)
    names = sorted({symbol.name for e in expressions for symbol in e.free_symbols})
    return [
        {
            name: float(random.integers(0, 9) if name.startswith("count:") else random.uniform(0.05, 3.0))
            for name in names
        }
        for _ in range(number)
    ]


def assert_parts(expression: Any, parts: tuple[Any, Any]) -> None:
    """Both parts are non-negative and their difference is the law."""
    for values in points([expression, *parts]):
        forward, backward, net = (evaluate(e, values) for e in (*parts, expression))
        assert forward >= 0
        assert backward >= 0
        if np.isfinite(net):
            assert forward - backward == pytest.approx(net, rel=1e-12, abs=1e-12 * (forward + backward))


SPLIT = [
    ("kf*A - kr*B", "A", "B"),
    ("-kr*B + kf*A", "A", "B"),
    ("-(kr*B - kf*A)", "A", "B"),
    ("k*(A - B/Keq)", "A", "B"),
    ("cell*(kf*A - kr*B)", "A", "B"),
    ("kf*A*B - kr*C", "AB", "C"),
    ("kf*A^2 - kr*B", "A", "B"),
    ("kf*A*(A - 1) - kr*B", "A", "B"),
    ("kf*A*(A - 1)/2 - kr*B", "A", "B"),
    ("(Vf*A/Kf - Vr*B/Kr)/(1 + A/Kf + B/Kr)", "A", "B"),
    ("Vmax*(A - B/Keq)/(Ka*(1 + B/Kb) + A)", "A", "B"),
    ("Vmax*(A*B - C*D/Keq)/((Ka + A)*(Kb + B))", "AB", "CD"),
    ("(kf*A - kr*B)*(1 + M)", "A", "B"),
    ("M*(kf*A - kr*B)/(K + I)", "A", "B"),
    ("exp(-E)*A - exp(-F)*B", "A", "B"),
    ("kf*A^2/(K^2 + A^2) - kr*B", "A", "B"),
    ("k - g*A", "", "A"),
    ("k*(Outside - A)", "", "A"),
    ("g*A - k", "A", ""),
    ("piecewise(kf*A - kr*B, T > 5, 2*kf*A - kx*B)", "A", "B"),
    ("piecewise(kf*A, T > 5, kf*A - kx*B)", "A", "B"),
    ("sqrt(E)*(kf*A - kr*B)", "A", "B"),
    ("max(E, F)*kf*A - kr*B", "A", "B"),
    ("kf*A - kr*B - kx*B*C", "A", "B"),
    ("kf*A - 0.5*B", "A", "B"),
    ("A - B", "A", "B"),
]


@pytest.mark.parametrize(("formula", "reactants", "products"), SPLIT, ids=[case[0] for case in SPLIT])
def test_net_laws_are_split(formula: str, reactants: str, products: str) -> None:
    expression = law(formula)
    parts = split_reversible(expression, symbols(reactants), symbols(products))
    assert parts is not None
    assert_parts(expression, parts)
    forward, backward = parts
    for side, part in ((reactants, forward), (products, backward)):
        assert any(evaluate(part, values) > 0 for values in points([part]))
        for values, absent in itertools.product(points([part]), side):
            assert evaluate(part, {**values, f"count:{absent}": 0.0}) == 0, f"{part} fires without {absent}"


WHOLE = [
    ("k*A", "A", "B"),
    ("k*A*(A - 1)", "A", "B"),
    ("k*A*(A - 1)/2", "A", "B"),
    ("k*A*(A - 1)*(A - 2)/6", "A", "B"),
    ("k*A*(A - 1)*B*(B - 1)", "AB", "C"),
    ("k*A*(A - 1)*exp(-E)", "A", "B"),
    ("k*A - kr*C", "A", "B"),  # what takes back is no product
    ("kf*A - kr*B", "A", "BC"),  # nor does it need all products
    ("kf*A - kr", "A", "B"),
    ("kf - kr*B", "A", "B"),
    ("kf*C - kr*B", "A", "B"),
    ("r*A*(1 - A/K)", "", "A"),
    ("k*(A - 1)*(A - 2)", "A", "B"),  # not a falling factorial: 2 at no A
    ("sin(A) - B", "A", "B"),
    ("k*abs(A - B)", "A", "B"),
    ("k*(A - B)^2", "A", "B"),
    ("k*max(A - B, 0)", "A", "B"),
    ("k*(A - B)^0.5", "A", "B"),
    ("k/(A - B)", "A", "B"),
    ("k*ln(A) - kr*B", "A", "B"),
    ("piecewise(k*A, A > B, 0)", "A", "B"),
    ("k", "", "A"),
    ("0*A", "A", "B"),
]


@pytest.mark.parametrize(("formula", "reactants", "products"), WHOLE, ids=[case[0] for case in WHOLE])
def test_other_laws_are_left_whole(formula: str, reactants: str, products: str) -> None:
    assert split_reversible(law(formula), symbols(reactants), symbols(products)) is None


@pytest.mark.parametrize("formula", ["k*A*(1 - B)", "k*A*(1 - B/Full)", "k*A*(Full - B)/Full"])
def test_room_that_fills_up_is_no_reverse_reaction(formula: str) -> None:
    """A -> B that stops when B is full: what is subtracted needs A, as no way back from B would."""
    assert split_reversible(law(formula), symbols("A"), symbols("B")) is None


@pytest.mark.parametrize(
    "formula",
    [
        "k*A*(A - 1)",
        "k*A*(A - 1)*(A - 2)",
        "exp(A - B)",
        "abs(A - B)",
        "(A - B)^2",
        "(A - B)^-2",
        "k/(K + A)",
        "sqrt(A)",
        "k*A^n",
        "k - k*A/(K + A)",
        "k*(1 - A^n/(K^n + A^n))",
        "k - k/(1 + A/K)",
        "3 - 2*A/(K + A + B)",
        "k - k*A/(2*A + K)",
        "max(A, B)",
        "min(A, k*B)",
        "factorial(A)",
        "piecewise(A, A - B > 0, k)",
        "3*A/(2 + B)^2",
        "--A",
        "-3*-A",
        "(-A)*(-B)",
    ],
)
def test_forms_that_cannot_be_negative(formula: str) -> None:
    expression = law(formula)
    parts = signed_parts(expression)
    assert parts is not None
    assert parts[1] == 0
    assert_parts(expression, parts)


@pytest.mark.parametrize(
    "formula",
    [
        "sin(A)",
        "ln(A)",
        "1/(A - B)",
        "max(A - B, 0)",
        "(A - B)^0.5",
        "log10(A)",
        "floor(A - B)",
        "2^(-A) - sin(B)",
    ],
)
def test_forms_whose_sign_is_unknown(formula: str) -> None:
    assert signed_parts(law(formula)) is None


@pytest.mark.parametrize(
    "formula", ["V - W*A/(K + A)", "2 - 3*A/(K + A)", "1 - A/(K + A) - B/(K + B)", "k - k*A/(K + B)"]
)
def test_fractions_that_may_outweigh_the_rest(formula: str) -> None:
    parts = signed_parts(law(formula))
    assert parts is not None
    assert parts[1] != 0
    assert_parts(law(formula), parts)


def test_a_falling_factorial_is_one_of_counts_only() -> None:
    """A*(A - 1) is never negative where A is a count; for a real number, such as an exponent, it can be."""
    parts = signed_parts(law("h*(h - 1)*A"))
    if parts is not None:
        assert evaluate(parts[0], {"h": 0.5, "count:A": 1.0}) >= 0
        assert evaluate(parts[1], {"h": 0.5, "count:A": 1.0}) >= 0


def test_a_piecewise_without_otherwise_has_no_known_sign() -> None:
    assert signed_parts(law("piecewise(A, A > B)")) is None


@pytest.mark.parametrize(
    ("formula", "value", "expected"),
    [
        ("k*A", 0, True),
        ("k*A*(A - 1)", 0, True),
        ("k*A*(A - 1)", 1, True),
        ("k*A*A", 1, False),
        ("k*A/(K + A)", 0, True),
        ("k/(K + A)", 0, False),
        ("k", 0, False),
        ("k*A^n", 0, False),  # n could be 0
        ("k*A^2.5", 0, True),
        ("k*A^(-1)", 0, False),
        ("k*(A + B*A)", 0, True),
        ("piecewise(k*A, B > 2, A*B)", 0, True),
        ("piecewise(k*A, B > 2, B)", 0, False),
    ],
)
def test_what_vanishes(formula: str, value: int, expected: bool) -> None:
    assert vanishes(law(formula), count_symbol("A"), value) is expected


# ---- any law -------------------------------------------------------------------------------------------


def laws(depth: int) -> st.SearchStrategy[Any]:
    """Sums, differences, products, powers, quotients and branches of counts and parameters."""
    leaves = st.sampled_from([*symbols("ABk"), sympy.Integer(2), sympy.Integer(-1), sympy.Integer(0), sympy.Float(0.5)])
    if depth == 0:
        return leaves
    inner = laws(depth - 1)
    several = st.lists(inner, min_size=2, max_size=3)
    conditions = st.sampled_from(
        [build(sympy.Gt, sympy.Symbol("k"), sympy.Integer(1)), build(sympy.Lt, *symbols("AB"))]
    )
    return st.one_of(
        leaves,
        several.map(lambda args: build(sympy.Add, *args)),
        several.map(lambda args: build(sympy.Mul, *args)),
        st.tuples(inner, st.integers(0, 4)).map(lambda p: build(sympy.Pow, p[0], sympy.Integer(p[1]))),
        inner.map(
            lambda e: build(sympy.Pow, build(sympy.Add, sympy.Symbol("k"), build(sympy.Abs, e)), sympy.Integer(-1))
        ),
        inner.map(lambda e: build(sympy.exp, build(sympy.Mul, sympy.Integer(-1), build(sympy.Abs, e)))),
        st.tuples(inner, conditions, inner).map(lambda p: piecewise([(p[0], p[1])], p[2])),
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(expression=laws(3))
def test_the_parts_of_any_law_are_rates_and_differ_by_it(expression: Any) -> None:
    parts = signed_parts(expression)
    if parts is None:
        return
    for a, b in itertools.product(range(4), range(4)):
        values = {"count:A": float(a), "count:B": float(b), "k": 0.75}
        forward, backward, net = (evaluate(e, values) for e in (*parts, expression))
        assert forward >= 0
        assert backward >= 0
        if np.isfinite(forward + backward):
            assert forward - backward == pytest.approx(net, rel=1e-9, abs=1e-9 * (1 + forward + backward))


def test_substitution_leaves_the_form_alone() -> None:
    """0*x stays a product, so that a law that vanishes by its form is told from one that is 0 * infinity."""
    replaced = substitute(law("A*k/B"), {count_symbol("A"): sympy.Integer(0)})
    assert np.isnan(evaluate(replaced, {"k": 1.0, "count:B": 0.0}))


def test_a_long_product_of_differences_is_not_multiplied_out() -> None:
    """Each factor doubles what is written out: 24 of them would be 17 million terms."""
    assert signed_parts(law("k*" + "*".join(f"(A - p{i})" for i in range(24)))) is None
    parts = signed_parts(law("k*(A - p)*(B - q)"))
    assert parts is not None
    assert parts[1] != 0
