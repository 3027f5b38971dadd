"""Formulas mean what MathML says, whatever they are called and however they are nested."""

import math
import time

import pytest
import sympy

from sbmlgrad.errors import SbmlError
from sbmlgrad.model import Model
from sbmlgrad.model.elements import AVOGADRO, TIME
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.sbml.read import read_sbml

MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
SYMBOLS = "http://www.sbml.org/sbml/symbols"
HALF, TWO, THREE, FIVE = "<cn>0.5</cn>", "<cn>2</cn>", "<cn>3</cn>", "<cn>5</cn>"


def model(formula: str, functions: str = "", parameters: str = "x y z") -> Model:
    """A Level 3 Version 2 model with ``formula`` for its one kinetic law; its parameters are 0.5, 1.5, ..."""
    declared = "".join(
        f'<parameter id="{name}" value="{number + 0.5}" constant="true"/>'
        for number, name in enumerate(parameters.split())
    )
    return read_sbml(
        f"""<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model>
        {f"<listOfFunctionDefinitions>{functions}</listOfFunctionDefinitions>" if functions else ""}
        <listOfParameters>{declared}</listOfParameters>
        <listOfReactions><reaction id="R" reversible="false">
          <kineticLaw><math {MATHML}>{formula}</math></kineticLaw>
        </reaction></listOfReactions></model></sbml>"""
    )


def law(formula: str, functions: str = "") -> sympy.Expr:
    return model(formula, functions).elements.reactions["R"].kinetic_law


def value(formula: str, functions: str = "") -> float:
    return model(formula, functions).reaction_rates()["R"]


def apply(operator: str, *arguments: str) -> str:
    return f"<apply><{operator}/>{''.join(arguments)}</apply>"


def call(function: str, *arguments: str) -> str:
    return f"<apply><ci>{function}</ci>{''.join(arguments)}</apply>"


def function(name: str, parameters: str, body: str) -> str:
    bound = "".join(f"<bvar><ci>{parameter}</ci></bvar>" for parameter in parameters.split())
    definition = f"<math {MATHML}><lambda>{bound}{body}</lambda></math>"
    return f'<functionDefinition id="{name}">{definition}</functionDefinition>'


def truth(condition: str) -> str:
    return f"<piecewise><piece><cn>1</cn>{condition}</piece><otherwise><cn>0</cn></otherwise></piecewise>"


@pytest.mark.parametrize("argument", ["<cn>{}</cn>", "<apply><plus/><ci>x</ci><cn>{}</cn></apply>"])
@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("sin", 0.7, math.sin(0.7)),
        ("cos", 0.7, math.cos(0.7)),
        ("tan", 0.7, math.tan(0.7)),
        ("sec", 0.7, 1 / math.cos(0.7)),
        ("csc", 0.7, 1 / math.sin(0.7)),
        ("cot", 0.7, 1 / math.tan(0.7)),
        ("arcsin", 0.7, math.asin(0.7)),
        ("arccos", 0.7, math.acos(0.7)),
        ("arctan", 0.7, math.atan(0.7)),
        ("arcsec", 1.7, math.acos(1 / 1.7)),
        ("arccsc", 1.7, math.asin(1 / 1.7)),
        ("arccot", 0.7, math.atan(1 / 0.7)),
        ("sinh", 0.7, math.sinh(0.7)),
        ("cosh", 0.7, math.cosh(0.7)),
        ("tanh", 0.7, math.tanh(0.7)),
        ("sech", 0.7, 1 / math.cosh(0.7)),
        ("csch", 0.7, 1 / math.sinh(0.7)),
        ("coth", 0.7, 1 / math.tanh(0.7)),
        ("arcsinh", 0.7, math.asinh(0.7)),
        ("arccosh", 1.7, math.acosh(1.7)),
        ("arctanh", 0.7, math.atanh(0.7)),
        ("arcsech", 0.7, math.acosh(1 / 0.7)),
        ("arccsch", 0.7, math.asinh(1 / 0.7)),
        ("arccoth", 1.7, math.atanh(1 / 1.7)),
        ("abs", -0.7, 0.7),
        ("ceiling", 1.2, 2.0),
        ("floor", -1.2, -2.0),
        ("exp", 0.7, math.exp(0.7)),
        ("ln", 0.7, math.log(0.7)),
        ("log", 1000.0, 3.0),
        ("root", 2.0, math.sqrt(2)),
        ("factorial", 5.0, 120.0),
        ("minus", 2.0, -2.0),
    ],
)
def test_functions_of_one_number(name: str, at: float, expected: float, argument: str) -> None:
    at = at if argument.startswith("<cn>") else at - 0.5
    assert value(apply(name, argument.format(at))) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (apply("plus"), 0.0),
        (apply("times"), 1.0),
        (apply("plus", TWO, THREE, FIVE), 10.0),
        (apply("times", TWO, THREE, FIVE), 30.0),
        (apply("minus", TWO, apply("minus", THREE, "<ci>x</ci>")), -0.5),
        (apply("divide", "<cn>1</cn>", THREE), 1 / 3),
        (apply("divide", "<ci>x</ci>", "<ci>y</ci>"), 0.5 / 1.5),
        (apply("power", "<ci>y</ci>", THREE), 1.5**3),
        (apply("root", f"<degree>{THREE}</degree>", "<cn>27</cn>"), 3.0),
        (apply("log", f"<logbase>{TWO}</logbase>", "<cn>8</cn>"), 3.0),
        (apply("log", f"<logbase>{THREE}</logbase>", "<ci>y</ci>"), math.log(1.5) / math.log(3)),
        (apply("max", TWO, "<ci>x</ci>", THREE), 3.0),
        (apply("min", TWO, "<ci>x</ci>", "<ci>x</ci>"), 0.5),
        (apply("quotient", "<cn>-7</cn>", TWO), -3.0),
        (apply("rem", "<cn>-7</cn>", "<ci>y</ci>"), math.fmod(-7, 1.5)),
    ],
)
def test_functions_of_several_numbers(formula: str, expected: float) -> None:
    assert value(formula) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ('<cn type="integer">-3</cn>', -3.0),
        ('<cn type="rational">1<sep/>3</cn>', 1 / 3),
        ('<cn type="e-notation">1.1<sep/>-3</cn>', 1.1e-3),
        ('<cn type="e-notation">4.9<sep/>-324</cn>', 4.9e-324),
        ("<cn>0.1</cn>", 0.1),
        ("<pi/>", math.pi),
        ("<exponentiale/>", math.e),
        ("<infinity/>", math.inf),
        ("<notanumber/>", math.nan),
        (f'<csymbol encoding="text" definitionURL="{SYMBOLS}/avogadro">N</csymbol>', AVOGADRO),
        ("<true/>", 1.0),
    ],
)
def test_literals_are_rounded_once(literal: str, expected: float) -> None:
    assert value(literal) == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


def test_time_is_a_symbol_of_its_own() -> None:
    formula = f'<csymbol encoding="text" definitionURL="{SYMBOLS}/time">anything</csymbol>'
    assert law(formula) == TIME
    assert model(formula).reaction_rates({"<time>": 3.0})["R"] == 3.0


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (apply("lt", HALF, "<ci>y</ci>", TWO), 1),
        (apply("lt", HALF, "<ci>y</ci>", "<ci>y</ci>"), 0),
        (apply("leq", "<ci>y</ci>", "<ci>y</ci>"), 1),
        (apply("gt", "<ci>y</ci>", "<ci>x</ci>", "<cn>0</cn>"), 1),
        (apply("geq", "<ci>x</ci>", "<ci>y</ci>"), 0),
        (apply("eq", "<ci>x</ci>", HALF, HALF), 1),
        (apply("neq", "<ci>x</ci>", HALF), 0),
        (apply("and"), 1),
        (apply("or"), 0),
        (apply("xor"), 0),
        (apply("and", "<true/>", apply("lt", "<ci>x</ci>", TWO), "<false/>"), 0),
        (apply("or", "<false/>", apply("lt", "<ci>x</ci>", TWO)), 1),
        (apply("xor", "<true/>", "<true/>", "<true/>"), 1),
        (apply("xor", *[apply("lt", "<ci>x</ci>", TWO)] * 2), 0),
        (apply("xor", apply("lt", "<ci>x</ci>", TWO), apply("lt", "<ci>y</ci>", TWO), "<true/>"), 1),
        (apply("not", apply("lt", "<ci>x</ci>", TWO)), 0),
        (apply("implies", apply("lt", "<ci>x</ci>", TWO), apply("gt", "<ci>x</ci>", TWO)), 0),
        (apply("implies", "<false/>", "<false/>"), 1),
        ("<ci>x</ci>", 1),  # a number as a condition: it differs from 0
        (apply("plus", "<true/>", "<cn>-1</cn>"), 0),  # a condition as a number: it is 1
        (truth(apply("lt", "<ci>x</ci>", TWO)), 1),
        (apply("eq", "<true/>", apply("lt", "<ci>x</ci>", TWO)), 1),
        (apply("lt", "<notanumber/>", "<ci>x</ci>"), 0),
        (apply("geq", "<notanumber/>", "<ci>x</ci>"), 0),
    ],
)
def test_conditions(condition: str, expected: int) -> None:
    assert value(truth(condition)) == expected


def test_a_piecewise_takes_the_first_piece_that_holds() -> None:
    pieces = "".join(
        f"<piece><cn>{number}</cn>{apply('lt', '<ci>x</ci>', f'<cn>{limit}</cn>')}</piece>"
        for number, limit in ((1, 0.1), (2, 0.6), (3, 0.7))
    )
    assert value(f"<piecewise>{pieces}<otherwise>{FIVE}</otherwise></piecewise>") == 2


def test_a_piecewise_without_otherwise_is_not_a_number_elsewhere() -> None:
    piece = f"<piece>{FIVE}{apply('lt', '<ci>x</ci>', '<cn>0</cn>')}</piece>"
    assert math.isnan(value(f"<piecewise>{piece}</piecewise>"))


def test_nothing_is_simplified() -> None:
    ratio = law(apply("divide", "<ci>x</ci>", "<ci>x</ci>"))
    assert math.isnan(evaluate(ratio, {"x": 0.0}))
    assert evaluate(law(apply("divide", "<ci>x</ci>", "<cn>0</cn>")), {"x": 1.0}) == math.inf
    assert evaluate(law(apply("times", "<cn>0</cn>", "<infinity/>")), {}) != 0.0


@pytest.mark.parametrize("name", ["lambda", "import", "S", "I", "E", "pi", "__class__", "time", "N", "Q", "oo"])
def test_ids_are_only_ids(name: str) -> None:
    formula = apply("times", f"<ci>{name}</ci>", "<ci>k</ci>")
    hostile = model(formula, parameters=f"k {name}")
    assert hostile.elements.reactions["R"].kinetic_law.free_symbols == {sympy.Symbol(name), sympy.Symbol("k")}
    assert hostile.with_parameters({name: 4.0}).reaction_rates()["R"] == 2.0


def test_functions_are_put_in_place_without_capture() -> None:
    # g's x is not f's x, and f's y is not the model's
    f = function("f", "x y", apply("minus", "<ci>x</ci>", call("g", "<ci>y</ci>")))
    g = function("g", "x", apply("power", "<ci>x</ci>", TWO))
    assert value(call("f", "<ci>y</ci>", "<ci>x</ci>"), f + g) == 1.5 - 0.25


def test_a_function_may_have_many_parameters() -> None:
    names = [f"a{index}" for index in range(101)]
    weighed = apply("plus", *(apply("times", f"<cn>{index}</cn>", f"<ci>a{index}</ci>") for index in range(101)))
    f = function("f", " ".join(names), weighed)
    assert value(call("f", *(f"<cn>{index}</cn>" for index in range(101))), f) == sum(i * i for i in range(101))


def test_a_function_may_have_no_parameters() -> None:
    assert value(call("f"), function("f", "", FIVE)) == 5


@pytest.mark.parametrize(
    ("formula", "functions", "message"),
    [
        ("<ci>nowhere</ci>", "", "uses 'nowhere', which the model does not declare"),
        (call("nowhere", TWO), "", "calls 'nowhere', which is no function definition"),
        (call("f", TWO, TWO), function("f", "x", TWO), "calls 'f' with 2 arguments; its definition has 1"),
        (call("f", TWO), function("f", "x", call("f", TWO)), r"calls itself \(f -> f\)"),
        (
            call("f", TWO),
            function("f", "x", call("g", TWO)) + function("g", "x", call("f", TWO)),
            r"calls itself \(f -> g -> f\)",
        ),
        ("<ci>R</ci>", "", "kinetic laws of R -> R"),
    ],
)
def test_formulas_that_cannot_be_computed(formula: str, functions: str, message: str) -> None:
    with pytest.raises(SbmlError, match=message) as caught:
        model(formula, functions)
    assert "\n" not in str(caught.value)
    assert "'R'" in str(caught.value) or "R -> R" in str(caught.value)


def nested(depth: int, wrap: str) -> str:
    formula = "<ci>x</ci>"
    for _ in range(depth):
        formula = wrap.format(formula)
    return formula


@pytest.mark.parametrize(
    ("formula", "functions"),
    [
        (nested(200, "<apply><sin/>{}</apply>"), ""),
        (nested(900, "<apply><sin/>{}</apply>"), ""),
        (nested(20_000, "<apply><sin/>{}</apply>"), ""),
        (nested(60, "<apply><ci>f</ci>{}</apply>"), function("f", "a", apply("times", *["<ci>a</ci>"] * 2))),
        (
            call("f11", "<ci>x</ci>"),
            function("f0", "a", apply("sin", "<ci>a</ci>"))
            + "".join(
                function(f"f{n}", "a", apply("plus", *[call(f"f{n - 1}", "<ci>a</ci>")] * 10)) for n in range(1, 12)
            ),
        ),
    ],
    ids=["deep", "deeper", "deepest", "doubling", "laughs"],
)
def test_hostile_formulas_are_refused_at_once(formula: str, functions: str) -> None:
    start = time.perf_counter()
    with pytest.raises(SbmlError, match=r"split|nested|more than"):
        model(formula, functions)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (nested(4, "<apply><power/><cn>9</cn>{}</apply>").replace("<ci>x</ci>", "<cn>9</cn>"), math.inf),
        (apply("factorial", '<cn type="integer">1000000000</cn>'), math.inf),
        (apply("power", "<cn>10</cn>", "<cn>-100000000</cn>"), 0.0),
        (nested(400, "<apply><plus/>{}<ci>x</ci></apply>"), 200.5),
        (nested(401, "<apply><minus/>{}</apply>"), -0.5),
    ],
)
def test_what_looks_hostile_but_has_a_value(formula: str, expected: float) -> None:
    assert value(formula) == expected


def test_rates_of_reactions_stand_for_their_laws() -> None:
    text = f"""<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model>
      <listOfParameters><parameter id="k" value="2" constant="true"/></listOfParameters>
      <listOfReactions>
        <reaction id="A" reversible="false" fast="false"><kineticLaw>
          <math {MATHML}>{apply("times", "<ci>B</ci>", "<ci>k</ci>")}</math></kineticLaw></reaction>
        <reaction id="B" reversible="false" fast="false"><kineticLaw>
          <math {MATHML}>{apply("plus", "<ci>k</ci>", "<ci>q</ci>")}</math>
          <listOfLocalParameters><localParameter id="q" value="5"/></listOfLocalParameters>
        </kineticLaw></reaction>
      </listOfReactions></model></sbml>"""
    assert read_sbml(text).reaction_rates().to_dict() == {"A": 14.0, "B": 7.0}


@pytest.mark.parametrize(
    ("mantissa", "exponent", "meant"),
    [("0.00001", 3, 0.01), ("1e-5", 3, 0.01), ("12345678901234567", -16, 1.2345678901234567), ("1", -400, 0.0)],
)
def test_a_mantissa_may_need_a_power_of_ten_of_its_own(mantissa: str, exponent: int, meant: float) -> None:
    assert value(f'<cn type="e-notation">{mantissa}<sep/>{exponent}</cn>') == meant


def test_a_function_without_a_formula_is_named() -> None:
    empty = function("f", "a", "")
    with pytest.raises(SbmlError, match=r"reaction 'R' calls the function 'f', whose definition has no formula; give"):
        value(call("f", TWO), empty)
