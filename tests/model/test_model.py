"""A model's numbers: what they are at the start, how they change, and what kinetic laws make of them."""

import math

import pytest

from sbmlgrad.errors import SbmlError, UnknownIdError
from sbmlgrad.model import Model
from sbmlgrad.sbml.read import read_sbml

MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
FLAGS = 'boundaryCondition="false" constant="false"'


def assignment(kind: str, target: str, formula: str) -> str:
    attribute = "symbol" if kind == "initialAssignment" else "variable"
    return f'<{kind} {attribute}="{target}"><math {MATHML}>{formula}</math></{kind}>'


def times(*factors: str) -> str:
    return f"<apply><times/>{''.join(f'<ci>{factor}</ci>' for factor in factors)}</apply>"


CONCENTRATION = 'compartment="cell" hasOnlySubstanceUnits="false"'
TEXT = f"""<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
<model id="m" name="a model" substanceUnits="item" extentUnits="item">
  <listOfCompartments>
    <compartment id="cell" size="2" spatialDimensions="3" constant="true"/>
    <compartment id="grown" spatialDimensions="3" constant="true"/>
    <compartment id="point" spatialDimensions="0" constant="true"/>
  </listOfCompartments>
  <listOfSpecies>
    <species id="conc" {CONCENTRATION} initialAmount="6" {FLAGS}/>
    <species id="given" {CONCENTRATION} initialConcentration="5" {FLAGS}/>
    <species id="amount" compartment="cell" hasOnlySubstanceUnits="true" initialConcentration="5" {FLAGS}/>
    <species id="here" compartment="point" hasOnlySubstanceUnits="false" initialAmount="4" {FLAGS}/>
    <species id="late" compartment="grown" hasOnlySubstanceUnits="true" initialConcentration="5" {FLAGS}/>
    <species id="started" compartment="cell" hasOnlySubstanceUnits="false" {FLAGS}/>
    <species id="ruled" compartment="cell" hasOnlySubstanceUnits="false" {FLAGS}/>
    <species id="unset" compartment="cell" hasOnlySubstanceUnits="false" {FLAGS}/>
  </listOfSpecies>
  <listOfParameters>
    <parameter id="k" value="0.5" constant="true"/>
    <parameter id="open" constant="true"/>
    <parameter id="fixed" constant="true"/>
    <parameter id="twice" constant="false"/>
  </listOfParameters>
  <listOfInitialAssignments>
    {assignment("initialAssignment", "grown", times("twice", "cell"))}
    {assignment("initialAssignment", "started", times("late", "k"))}
    {assignment("initialAssignment", "fixed", "<cn>9</cn>")}
  </listOfInitialAssignments>
  <listOfRules>
    {assignment("assignmentRule", "ruled", times("twice", "conc"))}
    {assignment("assignmentRule", "twice", times("k", "given"))}
  </listOfRules>
  <listOfReactions>
    <reaction id="R1" reversible="false" fast="false">
      <listOfReactants>
        <speciesReference id="n" species="conc" stoichiometry="2" constant="true"/>
      </listOfReactants>
      <kineticLaw><math {MATHML}>{times("q", "conc", "ruled", "n")}</math>
        <listOfLocalParameters><localParameter id="q" value="3"/></listOfLocalParameters></kineticLaw>
    </reaction>
    <reaction id="R2" reversible="false" fast="false">
      <kineticLaw><math {MATHML}>{times("k", "amount", "cell")}</math></kineticLaw>
    </reaction>
  </listOfReactions>
</model></sbml>"""


@pytest.fixture(scope="module")
def model() -> Model:
    return read_sbml(TEXT)


def test_names(model: Model) -> None:
    assert model.name == "a model"
    assert model.reaction_ids == ("R1", "R2")
    assert model.species_ids[:2] == ("conc", "given")


def test_initial_values_are_what_symbols_mean(model: Model) -> None:
    assert model.initial_values() == pytest.approx(
        {
            "<time>": 0.0,
            "cell": 2.0,
            "twice": 0.5 * 5,
            "grown": 2.5 * 2,
            "point": math.nan,
            "conc": 3.0,
            "given": 5.0,
            "amount": 10.0,
            "here": 4.0,
            "late": 25.0,
            "started": 12.5,
            "ruled": 7.5,
            "unset": math.nan,
            "k": 0.5,
            "open": math.nan,
            "fixed": 9.0,
            "R1.q": 3.0,
            "n": 2.0,
        },
        nan_ok=True,
        rel=1e-15,
    )


def test_orders_put_causes_before_effects(model: Model) -> None:
    assert model.assignment_order == ("twice", "ruled")
    order = model.initial_order
    assert sorted(order) == ["fixed", "grown", "ruled", "started", "twice"]
    assert order.index("twice") < order.index("grown") < order.index("started")


def test_quantities_are_what_can_be_changed(model: Model) -> None:
    quantities = model.quantities()
    assert quantities == pytest.approx(
        {
            "k": 0.5,
            "open": math.nan,
            "cell": 2.0,
            "point": math.nan,
            "R1.q": 3.0,
            "conc": 6.0,
            "given": 10.0,
            "amount": 10.0,
            "here": 4.0,
            "late": 25.0,
            "unset": math.nan,
        },
        nan_ok=True,
        rel=1e-15,
    )
    assert model.with_parameters(quantities).quantities() == pytest.approx(quantities, nan_ok=True, rel=0)


def test_changes_make_a_new_model(model: Model) -> None:
    changed = model.with_parameters({"cell": 4.0, "conc": 20.0})
    assert changed.initial_values()["conc"] == 5.0
    assert model.initial_values()["conc"] == 3.0


def test_changes_reach_what_depends_on_them(model: Model) -> None:
    changed = model.with_parameters({"k": 1.0, "cell": 4.0, "R1.q": 7.0, "conc": 20.0})
    values = changed.initial_values()
    assert (values["twice"], values["grown"], values["late"], values["amount"]) == (5.0, 20.0, 100.0, 20.0)
    assert changed.reaction_rates()["R1"] == 7 * 5 * 25 * 2
    assert changed.quantities()["given"] == 20.0


def test_the_last_change_of_a_species_holds(model: Model) -> None:
    changed = model.with_parameters({"conc": 8.0}).with_parameters({"[conc]": 10.0})
    assert changed.quantities()["conc"] == 20.0
    assert changed.with_parameters({"conc": 1.0}).quantities()["conc"] == 1.0
    assert changed.with_parameters({"k": 1.0}).quantities()["conc"] == 20.0


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("kk", "no parameter, compartment or species 'kk'; did you mean k"),
        ("q", r"did you mean R1\.q"),
        ("[k]", r"no parameter, compartment or species '\[k\]'"),
        ("R1", "'R1' is a reaction; change a parameter of its kinetic law"),
        ("ruled", "set by an assignment rule; change what it depends on instead: conc, twice"),
        ("[ruled]", "set by an assignment rule"),
        ("grown", "set by an initial assignment; change what it depends on instead: cell, twice"),
        ("fixed", "set by an initial assignment to a constant; change that in the file"),
        ("[here]", "'here' has no concentration"),
        ("n", "no parameter, compartment or species 'n'"),
        ("<time>", "no parameter"),
    ],
)
def test_what_cannot_be_changed(model: Model, identifier: str, message: str) -> None:
    with pytest.raises(UnknownIdError, match=message) as caught:
        model.with_parameters({identifier: 1.0})
    assert str(caught.value).startswith("<text>: ")
    assert "\n" not in str(caught.value)


def test_amount_and_concentration_together_are_refused(model: Model) -> None:
    with pytest.raises(UnknownIdError, match="both given"):
        model.with_parameters({"conc": 1.0, "[conc]": 1.0})


def test_reaction_rates(model: Model) -> None:
    rates = model.reaction_rates()
    assert rates.to_dict() == {"R1": 3 * 3 * 7.5 * 2, "R2": 0.5 * 10 * 2}
    assert (rates.name, rates.index.name) == ("rate", "reaction")


def test_reaction_rates_elsewhere_follow_the_rules_only(model: Model) -> None:
    rates = model.reaction_rates({"conc": 1.0, "k": 2.0, "n": 1.0})
    assert rates.to_dict() == {"R1": 3 * 1 * (2 * 5 * 1) * 1, "R2": 2 * 10 * 2}
    assert model.reaction_rates({"cell": 3.0})["R2"] == 0.5 * 10 * 3


def test_reaction_rates_know_their_ids(model: Model) -> None:
    with pytest.raises(UnknownIdError, match="'ruled' is set by an assignment rule"):
        model.reaction_rates({"ruled": 1.0})
    with pytest.raises(UnknownIdError, match="no parameter, compartment or species 'nowhere'"):
        model.reaction_rates({"nowhere": 1.0})


def test_a_model_without_reactions_has_no_rates() -> None:
    empty = read_sbml('<sbml xmlns="http://www.sbml.org/sbml/level2" level="2" version="1"><model/></sbml>')
    assert empty.reaction_rates().empty
    assert empty.quantities() == {}


def test_a_circle_through_a_compartment_is_found() -> None:
    head, tail = TEXT.split("<listOfInitialAssignments>")
    circle = assignment("initialAssignment", "cell", "<ci>conc</ci>")
    with pytest.raises(SbmlError, match="circle"):
        read_sbml(f"{head}<listOfInitialAssignments>{circle}{tail}")


def test_a_compartment_may_depend_on_what_it_does_not_convert() -> None:
    head, tail = TEXT.split("<listOfInitialAssignments>")
    size = assignment("initialAssignment", "cell", "<ci>given</ci>")
    assert read_sbml(f"{head}<listOfInitialAssignments>{size}{tail}").initial_values()["conc"] == 6 / 5


def test_what_is_frozen_is_frozen(model: Model) -> None:
    with pytest.raises(TypeError):
        model.changes["k"] = 3.0  # type: ignore[index]
