"""Errors of libSBML: those that touch no mathematics are warnings with their line and element, others are raised."""

import re
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import pytest

from sbmlgrad.errors import SbmlError, UnsupportedError
from sbmlgrad.info import describe
from sbmlgrad.sbml.faults import without_nameless
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.sbml.write import write_sbml

MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
PACKAGE = "http://www.sbml.org/sbml/level3/version1/{}/version{}"
MODEL = f"""<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
<model id="m" extentUnits="item">
<listOfCompartments><compartment id="box" spatialDimensions="3" size="2" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="box" initialAmount="10" substanceUnits="item" hasOnlySubstanceUnits="false"
  boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="k" value="0.5" constant="true"/></listOfParameters>
<listOfReactions>
<reaction id="r" reversible="false" fast="false">
<listOfReactants><speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants>
<kineticLaw>
<math {MATHML}><apply><times/><ci> k </ci><ci> A </ci></apply></math></kineticLaw>
</reaction>
</listOfReactions>
</model>
</sbml>
"""
LEVEL_2 = MODEL.replace("level3/version1/core", "level2/version4").replace(
    'level="3" version="1"', 'level="2" version="4"'
)
LEVEL_2 = LEVEL_2.replace(' extentUnits="item"', "").replace('stoichiometry="1" constant="true"', 'stoichiometry="1"')
VERSION_2 = MODEL.replace("level3/version1/core", "level3/version2/core").replace(
    'level="3" version="1"', 'level="3" version="2"'
)
EVENT = (
    '<listOfEvents><event id="e" useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">'
    f"<math {MATHML}><false/></math></trigger></event></listOfEvents>"
)
UNIT = (
    '<listOfUnitDefinitions><unitDefinition id="{}"><listOfUnits>{}</listOfUnits></unitDefinition>'
    "</listOfUnitDefinitions>"
)


def changed(old: str, new: str, model: str = MODEL) -> str:
    assert model.count(old) >= 1, old
    return model.replace(old, new, 1)


def within(anchor: str, content: str, model: str = MODEL) -> str:
    """The model with content put directly before a tag."""
    return changed(anchor, content + anchor, model)


def warnings(text: str) -> tuple[str, ...]:
    """Warnings of a model that must mean the same as without its fault."""
    model = read_sbml(text)
    assert model.reaction_rates().to_dict() == {"r": 2.5}
    assert model.quantities().items() >= read_sbml(MODEL).quantities().items()
    assert all("\n" not in warning for warning in model.elements.warnings)
    return tuple(w for w in model.elements.warnings if "units of substance" not in w)


def refusal(text: str) -> str:
    with pytest.raises((SbmlError, UnsupportedError)) as caught:
        read_sbml(text)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("<text>: ")


def test_the_model_of_these_tests_has_no_fault() -> None:
    for text in (MODEL, LEVEL_2, VERSION_2.replace(' fast="false"', "")):
        assert warnings(text) == ()


# ---- lists ---------------------------------------------------------------------------------------------

EMPTY = [
    *[("<listOfReactions>", f"listOf{name}", "<model> 'm'") for name in ("InitialAssignments", "Rules", "Constraints")],
    *[("<listOfCompartments>", f"listOf{name}", "<model> 'm'") for name in ("FunctionDefinitions", "UnitDefinitions")],
    ("</model>", "listOfEvents", "<model> 'm'"),
    ("<kineticLaw>", "listOfProducts", "<reaction> 'r'"),
    ("<kineticLaw>", "listOfModifiers", "<reaction> 'r'"),
    ("</kineticLaw>", "listOfLocalParameters", "<kineticLaw> of <reaction> 'r'"),
]


@pytest.mark.parametrize("form", ["<{0}/>", "<{0}>\n</{0}>"], ids=["closed", "open"])
@pytest.mark.parametrize(("anchor", "name", "owner"), EMPTY, ids=[name for _, name, _ in EMPTY])
def test_empty_lists_are_named(anchor: str, name: str, owner: str, form: str) -> None:
    (warning,) = warnings(within(anchor, "\n" + form.format(name)))
    line = MODEL[: MODEL.index(anchor)].count("\n") + 2
    assert warning == f"line {line}: <{name}> of {owner} is empty, which SBML does not allow here"


def test_empty_lists_in_lists_and_in_level_2() -> None:
    assert (
        "<listOfUnits> of <unitDefinition> 'u' is empty"
        in warnings(within("<listOfCompartments>", UNIT.format("u", "")))[0]
    )
    assert (
        "<listOfEventAssignments> of <event> 'e' is empty"
        in warnings(within("</model>", EVENT.replace("</event>", "<listOfEventAssignments/></event>")))[0]
    )
    assert (
        "<listOfRules> of <model> 'm' is empty" in warnings(within("<listOfReactions>", "<listOfRules/>", LEVEL_2))[0]
    )
    assert warnings(within("<listOfReactions>", "<listOfRules/>", VERSION_2.replace(' fast="false"', ""))) == ()


def test_two_empty_lists_are_two_warnings() -> None:
    text = within("<listOfReactions>", "\n<listOfInitialAssignments/>\n<listOfRules/>")
    first, second = warnings(text)
    assert first.startswith("line 11: <listOfInitialAssignments> of <model> 'm'")
    assert second.startswith("line 12: <listOfRules> of <model> 'm'")


def test_level_1_calls_its_ids_names() -> None:
    text = """<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="old">
      <listOfCompartments><compartment name="cell"/></listOfCompartments>
      <listOfSpecies><species name="S" compartment="cell" initialAmount="3"/></listOfSpecies>
      <listOfReactions><reaction name="R">
        <listOfReactants/><kineticLaw formula="2*S"/></reaction></listOfReactions></model></sbml>"""
    model = read_sbml(text)
    assert model.reaction_rates().to_dict() == {"R": 6}
    assert model.elements.warnings[0].startswith("line 5: <listOfReactants> of <reaction> 'R' is empty")
    assert "mend <species> 'S'" in refusal(text.replace(' initialAmount="3"', ""))


def test_an_empty_law_is_no_empty_list() -> None:
    law = MODEL[MODEL.index("<kineticLaw>") : MODEL.index("</kineticLaw>") + len("</kineticLaw>")]
    assert "mend <reaction> 'r'" in refusal(changed(law, "<kineticLaw/>"))


def test_a_list_that_is_there_twice_is_named() -> None:
    twice = '<listOfParameters><parameter id="z" value="1" constant="true"/></listOfParameters>'
    assert "mend <listOfParameters>" in refusal(within("<listOfParameters>", twice))


# ---- attributes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "warning"),
    [
        (' constant="true"/></listOfCompartments>', "line 4: <compartment> 'box' lacks the attribute 'constant'"),
        (' constant="false"', "line 6: <species> 'A' lacks the attribute 'constant'"),
        (' constant="true"/></listOfParameters>', "line 9: <parameter> 'k' lacks the attribute 'constant'"),
        (' reversible="false"', "line 11: <reaction> 'r' lacks the attribute 'reversible'"),
        (' fast="false"', "line 11: <reaction> 'r' lacks the attribute 'fast'"),
        (' constant="true"/></listOfReactants>', "line 12: <speciesReference> of <reaction> 'r' lacks the attribute"),
    ],
)
def test_attributes_that_the_mathematics_does_not_need(attribute: str, warning: str) -> None:
    rest = attribute.partition("/>")
    (actual,) = warnings(changed(attribute, rest[1] + rest[2]))
    assert actual.startswith(warning)
    assert actual.endswith("which SBML requires; the mathematics does not need it")


@pytest.mark.parametrize(
    "attribute", ['hasOnlySubstanceUnits="false"', 'boundaryCondition="false"', 'compartment="box"', ' species="A"']
)
def test_attributes_that_the_mathematics_needs(attribute: str) -> None:
    assert f"'{attribute.strip().partition('=')[0]}'" in refusal(changed(attribute, ""))


def test_whether_an_attribute_is_needed_can_depend_on_the_rest() -> None:
    idle = '<species id="B" compartment="box" initialAmount="1" hasOnlySubstanceUnits="true" constant="false"/>'
    assert "<species> 'B' lacks the attribute 'boundaryCondition'" in warnings(within("</listOfSpecies>", idle))[0]
    untimed = EVENT.replace(' useValuesFromTriggerTime="true"', "")
    assert "<event> 'e' lacks the attribute 'useValuesFromTriggerTime'" in warnings(within("</model>", untimed))[0]
    delayed = untimed.replace("</trigger>", f"</trigger><delay><math {MATHML}><cn>1</cn></math></delay>")
    assert "useValuesfromTriggerTime' is missing" in refusal(within("</model>", delayed))
    for name in ("initialValue", "persistent"):
        assert f"'{name}' is missing" in refusal(within("</model>", EVENT.replace(f' {name}="true"', "")))
    unit = UNIT.format("u", '<unit kind="mole"/>')
    assert len(warnings(within("<listOfCompartments>", unit))) == 3
    counted = changed('substanceUnits="item"', 'substanceUnits="u"', within("<listOfCompartments>", unit))
    assert "'exponent' is missing" in refusal(counted)


def test_many_faults_of_a_kind_are_one_warning() -> None:
    more = "".join(f'\n<parameter id="k{i}" value="1"/>' for i in range(9))
    (warning,) = warnings(within("</listOfParameters>", more))
    assert warning.startswith("line 10: <parameter> 'k0' lacks the attribute 'constant'")
    assert warning.endswith("(and 8 more like it)")


@pytest.mark.parametrize(
    ("old", "new", "model"),
    [
        ("<species ", '<species speciesType="q" ', MODEL),
        ("<species ", '<species xmlns:v="http://vendor.org" v:color="red" ', MODEL),
        ("<compartment ", '<compartment outside="box" ', MODEL),
        ("<listOfSpecies>", '<listOfSpecies size="1">', MODEL),
        ("<model ", '<model xml:lang="en" ', MODEL),
        ('reversible="false"', 'reversible="false" fast="false"', VERSION_2.replace(' fast="false"', "")),
        ("<listOfComp", UNIT.format("u", '<unit kind="second" offset="0"/>') + "<listOfComp", LEVEL_2),
        ('stoichiometry="1"', 'stoichiometry="1" constant="true"', LEVEL_2),
        ("<species ", '<species metaid="" ', MODEL),
        ("<parameter ", '<parameter units="" ', MODEL),
    ],
)
def test_attributes_that_say_nothing(old: str, new: str, model: str) -> None:
    (warning,) = warnings(changed(old, new, model))
    assert warning.endswith(("does not define; it is passed over", "it is taken as not there"))


@pytest.mark.parametrize(
    ("old", "new", "model", "message"),
    [
        ("<species ", '<species intialAmount="7" ', MODEL, "'intialAmount' is not part .*; mend <species> 'A'"),
        ("<model ", '<model substanceunits="mole" ', MODEL, "'substanceunits' is not part"),
        ("<species ", '<species conversionFactor="k" ', LEVEL_2, "'conversionFactor' is not part"),
        (
            "<species ",
            '<species conversionFactor="" ',
            MODEL,
            "'conversionFactor' on an <species> must not be an empty",
        ),
        ('reversible="false"', 'reversible="false" fast="true"', VERSION_2.replace(' fast="false"', ""), "'fast'"),
        (
            'value="0.5"',
            'value="a half"',
            MODEL,
            "line 9: .* parameter value attribute must be a double .*; mend <parameter> 'k'",
        ),
        ('"k"', '"k-1"', MODEL, "'k-1' does not conform"),
        ("<ci> k </ci>", "<sum/>", MODEL, "line 14: .* <sum> is not valid"),
        ("<listOfSpecies>", "<listOfThings/><listOfSpecies>", MODEL, "'listOfThings' is not part"),
    ],
)
def test_what_may_change_a_number_is_refused(old: str, new: str, model: str, message: str) -> None:
    assert re.search(message, refusal(changed(old, new, model)))


class Chain:
    """A list of elements as libSBML keeps it: it walks from the head to whatever is asked for, and counts its steps."""

    def __init__(self, items: list[object]):
        self.items, self.steps = items, 0

    def getSize(self) -> int:
        return len(self.items)

    def get(self, index: int) -> object:
        self.steps += index + 1
        return self.items[index]

    def remove(self, index: int) -> object:
        self.steps += index + 1
        return self.items.pop(index)


def test_looking_for_what_has_no_id_takes_a_step_an_element() -> None:
    element = SimpleNamespace(getElementName=lambda: "parameter", getPackageName=lambda: "core", getId=lambda: "p")
    chain = Chain([element] * 1000)
    without_nameless(SimpleNamespace(getListOfAllElements=lambda: chain))
    assert chain.steps <= 2 * 1000


def test_ids_that_no_formula_names() -> None:
    for text in (
        changed('"m"', '"my model"'),
        within("</model>", EVENT.replace('"e"', '"the event"')),
        within(
            "<listOfCompartments>", UNIT.format("per s", '<unit kind="second" exponent="-1" scale="0" multiplier="1"/>')
        ),
    ):
        (warning,) = warnings(text)
        assert "has an id that SBML does not allow" in warning


@pytest.mark.parametrize("model", [MODEL, LEVEL_2], ids=["Level 3", "Level 2"])
def test_what_cannot_be_named_is_passed_over(model: str) -> None:
    nameless = '<parameter value="3" constant="true"/>'
    (warning,) = warnings(within("</listOfParameters>", nameless, model))
    assert warning == "line 9: <parameter> of <model> 'm' has no id; it is passed over"
    assert read_sbml(within("</listOfParameters>", nameless, model)).quantities() == read_sbml(model).quantities()
    assert "'id' is" in refusal(changed('<reaction id="r"', "<reaction", model))


def test_what_is_called_sbml_and_is_not() -> None:
    message = refusal(changed("level3/version1/core", "level3"))
    assert message.endswith(
        "'http://www.sbml.org/sbml/level3' is no namespace of it; export as SBML (in BioNetGen writeSBML, not writeXML)"
    )


def test_a_fault_in_a_formula_names_what_the_formula_is_of() -> None:
    for lines, words in (("{}\n{}\n", "that line, in "), ("{}{}\n", "")):
        head = '<listOfFunctionDefinitions><functionDefinition id="f">'
        function = lines.format(head, f"<math {MATHML}><lambda/></math>")
        function += "</functionDefinition></listOfFunctionDefinitions>\n"
        message = refusal(within("<listOfCompartments>", function))
        assert message.endswith(f"not valid SBML: Invalid MathML element; mend {words}<functionDefinition> 'f'")


@pytest.mark.parametrize("model", [LEVEL_2, VERSION_2.replace(' fast="false"', "")], ids=["Level 2", "Level 3"])
def test_the_namespace_of_another_version(model: str) -> None:
    other = model.replace("level2/version4", "level2/version3").replace("version2/core", "version1/core")
    (warning,) = warnings(other)
    assert "<sbml> has the namespace of another version; it is read as SBML Level" in warning
    assert read_sbml(other).elements.version == read_sbml(model).elements.version
    assert "'level' attribute" in refusal(changed("level3/version1/core", "level2/version4"))


# ---- annotations and packages --------------------------------------------------------------------------


@pytest.mark.parametrize("model", [MODEL, LEVEL_2], ids=["Level 3", "Level 2"])
@pytest.mark.parametrize(
    "content",
    [
        '<annotation><x xmlns="a:b"/><y xmlns="a:b"/></annotation>',
        '<annotation><x xmlns="a:b"/></annotation><annotation><x xmlns="a:c"/></annotation>',
        "<notes><p>no namespace</p></notes>",
        f"<notes><p {XHTML}>one</p></notes><notes><p {XHTML}>two</p></notes>",
    ],
)
def test_annotations_and_notes(content: str, model: str) -> None:
    actual = warnings(within("<listOfReactants>", content, model))
    assert actual
    for warning in actual:
        assert warning.startswith("line 11: ")
        assert "reaction" in warning
        assert warning.endswith("this part is not read")


@pytest.mark.parametrize("attribute", ['sboTerm="SBO:12"', 'metaid="1 2"', 'sboTerm=""'])
def test_terms_and_labels(attribute: str) -> None:
    (warning,) = warnings(changed("<species ", f"<species {attribute} "))
    assert warning.startswith("line 6: Invalid syntax")
    assert "<species> 'A'" in warning


def test_a_label_in_other_letters() -> None:
    (warning,) = warnings(changed("<species ", '<species SBOTerm="SBO:0000252" '))
    assert "has an attribute 'SBOTerm', which SBML Level 3 Version 1 does not define; it is passed over" in warning


def with_package(name: str, required: str, content: str = "", version: int = 1, model: str = MODEL) -> str:
    declared = f'xmlns:{name}="{PACKAGE.format(name, version)}" {required and f"{name}:required={required}"}'
    return within("</model>", content, changed("<sbml ", f"<sbml {declared} ", model))


@pytest.mark.parametrize(
    ("name", "required", "content", "version"),
    [
        ("fbc", '"false"', "", 2),  # lacks fbc:strict
        ("fbc", "", "", 1),  # lacks fbc:required
        ("fbc", '"false"', "<fbc:listOfObjectives/>", 1),
        ("layout", '"true"', "", 1),  # a drawing that no mathematics requires
        ("layout", '"false"', "<layout:listOfLayouts><layout:layout/></layout:listOfLayouts>", 1),
        ("render", '"true"', "", 1),
        ("groups", '"false"', '<groups:listOfGroups><groups:group groups:kind="x"/></groups:listOfGroups>', 1),
        ("comp", '"false"', "", 1),
        ("distrib", "", "", 1),
    ],
)
def test_faults_in_packages_that_are_not_needed_or_read_anyway(
    name: str, required: str, content: str, version: int
) -> None:
    actual = warnings(with_package(name, required, content, version))
    assert actual[0].startswith("line ")
    assert f"the package '{name}'" in actual[0]


def test_a_package_may_be_strange_to_the_level() -> None:
    (warning,) = warnings(with_package("layout", '"false"', model=LEVEL_2))
    assert "the package 'layout', which is not read here, is used wrongly" in warning


def test_strange_elements_of_a_package_are_its_own() -> None:
    inside = f'<listOfLayouts xmlns="{PACKAGE.format("layout", 1)}"><layout id="l"><nonsense/></layout></listOfLayouts>'
    actual = warnings(with_package("layout", '"false"', inside))
    assert all("layout" in warning for warning in actual)


@pytest.mark.parametrize("name", ["qual", "multi", "spatial", "arrays", "nobodyknows"])
@pytest.mark.parametrize(
    "fault",
    [
        ("<species ", '<species intialAmount="7" '),
        ('value="0.5"', 'value="a half"'),
        ('"box" spatial', '"no box" spatial'),
    ],
    ids=["attribute", "number", "id"],
)
def test_a_package_that_is_required_is_named_before_anything_else(name: str, fault: tuple[str, str]) -> None:
    message = refusal(with_package(name, '"true"', f"<{name}:listOfThings/>", model=changed(*fault)))
    assert message == f"the package '{name}' is required to read it, and is not supported"


def test_a_package_of_the_mathematics_is_required_whatever_a_document_says() -> None:
    text = with_package("multi", '"false"', "<multi:listOfSpeciesTypes/>")
    assert "the package 'multi' is required" in refusal(text)


@pytest.mark.parametrize("name", ["qual", "multi", "spatial", "arrays", "nobodyknows", "fbc"])
def test_a_required_package_of_which_nothing_is_there_is_not_needed(name: str) -> None:
    """Exporters declare what they might have used (iBioSim: ``arrays``)."""
    *_, warning = warnings(with_package(name, '"true"'))
    assert warning == f"the package '{name}' is ignored: nothing of it is in the document"
    text = changed("<species ", f'<species {name}:thing="1" ', with_package(name, '"true"'))
    assert f"the package '{name}' is required" in refusal(text)


# ---- all of it -----------------------------------------------------------------------------------------


def test_files_at_hand_load_with_a_warning(data_dir: Path) -> None:
    paths = [
        data_dir / "cases" / "21-missing-constant" / "model.xml",
        data_dir / "cases" / "22-optional-package-faults" / "annotation.xml",
        data_dir / "cases" / "22-optional-package-faults" / "fbc.xml",
    ]
    if not all(path.is_file() for path in paths):
        pytest.skip("no files with such faults among the data sets")
    for path in paths:
        actual = describe(path)
        assert actual.exact
        assert any(warning.startswith("line ") for warning in actual.warnings), path


def test_a_document_with_faults_is_written_with_its_faults(tmp_path: Path) -> None:
    text = within("<listOfReactions>", "<listOfRules/>", changed(' constant="false"', ""))
    write_sbml(read_sbml(text).with_parameters({"k": 0.25}), tmp_path / "fitted.xml")
    written = (tmp_path / "fitted.xml").read_text(encoding="utf-8")
    assert written == text.replace('value="0.5"', 'value="0.25"')
    assert len(read_sbml(written).elements.warnings) == 2


def test_as_many_faults_as_there_are_tags_are_no_trouble() -> None:
    """Each looked at all tags once, which took minutes; now 6,000 take half a second."""
    species = '<species id="A" ' + MODEL.split('<species id="A" ')[1].split(' constant="false"/>')[0] + "/>"
    many = "\n".join(species.replace('"A"', f'"A{index}"') for index in range(6000))
    begun = process_time()
    model = read_sbml(MODEL.replace("</listOfSpecies>", f"{many}</listOfSpecies>"))
    assert process_time() - begun < 5
    assert "lacks the attribute 'constant'" in model.elements.warnings[0]
    assert "and 5999 more like it" in model.elements.warnings[0]
