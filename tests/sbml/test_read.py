"""Documents are read for what they say, and refused in one line for what they lack."""

import gzip
from pathlib import Path

import pytest
import sympy

import sbmlgrad as sg
from sbmlgrad.errors import SbmlError, UnsupportedError
from sbmlgrad.model.elements import AVOGADRO
from sbmlgrad.sbml.read import read_sbml

MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
CORE = {
    (2, 1): "http://www.sbml.org/sbml/level2",
    (2, 4): "http://www.sbml.org/sbml/level2/version4",
    (3, 1): "http://www.sbml.org/sbml/level3/version1/core",
    (3, 2): "http://www.sbml.org/sbml/level3/version2/core",
}
CELL = '<compartment id="cell" size="2" spatialDimensions="3" constant="true"/>'
CELL_2 = '<compartment id="cell" size="2"/>'  # as Level 2 has it


def math(formula: str) -> str:
    return f"<math {MATHML}>{formula}</math>"


def document(content: str, level: tuple[int, int] = (3, 1), model: str = "", root: str = "") -> str:
    """A document around ``content``, which is elements with their lists."""
    opening = f'<sbml xmlns="{CORE[level]}" level="{level[0]}" version="{level[1]}" {root}>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}<model id="m" {model}>{content}</model></sbml>'


def lists(**items: str) -> str:
    """``compartments="..."`` as ``<listOfCompartments>...</listOfCompartments>``, and so on."""
    named = ((name[0].upper() + name[1:], text) for name, text in items.items())
    return "".join(f"<listOf{name}>{text}</listOf{name}>" for name, text in named)


def species(identifier: str = "S", **attributes: str) -> str:
    """A Level 3 species in the cell, with an initial amount of 3 unless told otherwise."""
    given = {"compartment": "cell", "initialAmount": "3", "hasOnlySubstanceUnits": "false"}
    given |= {"boundaryCondition": "false", "constant": "false"} | attributes
    words = " ".join(f'{name}="{value}"' for name, value in given.items() if value)
    return f'<species id="{identifier}" {words}/>'


def parameter(identifier: str, value: str = "1", constant: str = "true") -> str:
    return f'<parameter id="{identifier}" value="{value}" constant="{constant}"/>'


def reaction(identifier: str = "R", law: str | None = "<cn>1</cn>", inside: str = "") -> str:
    kinetic = "" if law is None else f"<kineticLaw>{math(law)}</kineticLaw>"
    return f'<reaction id="{identifier}" reversible="false" fast="false">{inside}{kinetic}</reaction>'


def test_a_path_a_string_and_a_text_are_the_same(tmp_path: Path) -> None:
    text = document(lists(parameters=parameter("k", "2")))
    path = tmp_path / "model.xml"
    path.write_text(text, encoding="utf-8")
    for source in (path, str(path), text, "\ufeff\n " + text):
        assert read_sbml(source).quantities() == {"k": 2.0}
    assert read_sbml(path).elements.source.path == str(path)
    assert read_sbml(text).elements.source.path == "<text>"
    assert read_sbml(path).elements.source.text == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    text = document("", model='name="Zelle \xe4"').replace("UTF-8", declared)
    path = tmp_path / "model.xml"
    path.write_bytes(text.encode(encoding))
    assert read_sbml(path).name == "Zelle \xe4"
    assert read_sbml(path).elements.source.text.lstrip("\ufeff") == text


def test_line_ends_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(document("").replace("\n", "\r\n").encode())
    assert "\r\n" in read_sbml(path).elements.source.text


def test_level_1_is_converted() -> None:
    text = """<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="old">
      <listOfCompartments><compartment name="cell" volume="2"/></listOfCompartments>
      <listOfSpecies><species name="S" compartment="cell" initialAmount="3"/></listOfSpecies>
      <listOfParameters><parameter name="k" value="5"/></listOfParameters>
      <listOfReactions><reaction name="R" reversible="false">
        <listOfReactants><speciesReference species="S" stoichiometry="1" denominator="2"/></listOfReactants>
        <kineticLaw formula="k*S^2"/></reaction></listOfReactions></model></sbml>"""
    model = read_sbml(text)
    assert model.reaction_rates()["R"] == 5 * 1.5**2
    assert model.elements.reactions["R"].reactants[0].stoichiometry == sympy.Float(0.5)
    assert model.elements.source.text == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"S1,S2\n1,2\n", "not XML"),
        (b"<sbml><model></sbml>", "not XML: mismatched tag: line 1"),
        (b"<html><body/></html>", "XML but not SBML: the root is <html>"),
        (b"<sbml level='3' version='1'><model/></sbml>", "line 1: not valid SBML: .*namespace"),
        (document("").replace('version="1"', 'version="7"').encode(), "not valid SBML"),
        (document("<listOfNothing/>").encode(), "line 2: not valid SBML: .*listOfNothing"),
        (f'<sbml xmlns="{CORE[3, 1]}" level="3" version="1"/>'.encode(), "No model"),
        (b'<!DOCTYPE sbml [<!ENTITY a "b">]><sbml/>', "document type"),
        (b"\xff\xfe\xff", "not text in utf-16"),
        (b"<?xml version='1.0' encoding='klingon'?><sbml/>", "not text in klingon"),
        (gzip.compress(b"<sbml/>", mtime=0), r"compressed \(gzip\)"),
        (b"PK\x03\x04....", r"compressed \(zip\)"),
    ],
)
def test_files_that_hold_no_model(
    tmp_path: Path, content: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(content)
    with pytest.raises(SbmlError, match=message) as caught:
        read_sbml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.xml", "nowhere.xml: there is no such file"),
        ("", "no file was named"),
        ("BIOMD35", "BIOMD35: there is no such file; .* an id such as BIOMD0000000035"),
        ("a\x00b", "cannot be read"),
        ("model\n  S -> T", "neither a path nor XML"),
    ],
)
def test_sources_that_are_no_files(source: str, message: str) -> None:
    with pytest.raises(SbmlError, match=message) as caught:
        read_sbml(source)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SbmlError, match="this is a folder"):
        read_sbml(tmp_path)


RULE = '<assignmentRule variable="{}">{}</assignmentRule>'
INITIAL = '<initialAssignment symbol="{}">{}</initialAssignment>'
ONE = math("<cn>1</cn>")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lists(parameters=parameter("k") * 2), "line 2: the id 'k' is declared twice"),
        (lists(parameters=parameter("R"), reactions=reaction()), "the id 'R' is declared twice"),
        (lists(species=species()), "species 'S' is in compartment 'cell', which is not declared"),
        (
            lists(reactions=reaction(inside=lists(reactants='<speciesReference species="S" constant="true"/>'))),
            "reaction 'R' names the species 'S', which is not declared",
        ),
        (lists(rules=RULE.format("k", ONE)), "assignment rule of 'k' sets an id that is not declared"),
        (
            lists(initialAssignments=INITIAL.format("k", ONE)),
            "initial assignment of 'k' sets an id that is not",
        ),
        (lists(parameters=parameter("k"), rules=RULE.format("k", ONE) * 2), "'k' has two assignment rules"),
        (
            lists(
                parameters=parameter("k"),
                initialAssignments=INITIAL.format("k", ONE),
                rules=RULE.format("k", ONE),
            ),
            "'k' has an assignment rule and an initial assignment",
        ),
        (
            lists(
                parameters=parameter("a") + parameter("b"),
                rules=RULE.format("a", math("<ci>b</ci>")) + RULE.format("b", math("<ci>a</ci>")),
            ),
            "circle",
        ),
        (
            lists(compartments=CELL, species=species(conversionFactor="f")),
            "conversion factor 'f' of species 'S' is no parameter",
        ),
        (
            lists(
                reactions='<reaction id="R" reversible="false" fast="false"><kineticLaw>'
                + math("<ci>k</ci>")
                + lists(localParameters='<localParameter id="k" value="1"/>' * 2)
                + "</kineticLaw></reaction>"
            ),
            "reaction 'R' declares the parameter 'k' twice",
        ),
    ],
)
def test_models_that_cannot_be_computed(content: str, message: str) -> None:
    with pytest.raises(SbmlError, match=message) as caught:
        read_sbml(document(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["ssa", "ode"])
def test_all_that_no_method_simulates_is_read_and_then_named_at_once(method: str) -> None:
    delay = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/delay">d</csymbol>'
    unsolvable = math("<apply><times/><ci>p</ci><ci>p</ci></apply>")
    content = lists(
        parameters=parameter("k") + parameter("p", constant="false"),
        rules=f"<algebraicRule>{unsolvable}</algebraicRule>",
        reactions=reaction("quick").replace('fast="false"', 'fast="true"')
        + reaction("late", f"<apply>{delay}<ci>k</ci><cn>1</cn></apply>")
        + reaction("lawless", law=None),
    )
    model = read_sbml(document(content))
    assert model.reaction_rates()["late"] == 1  # now, the past is what is now
    assert model.elements.reactions["lawless"].kinetic_law is sympy.nan
    with pytest.raises(UnsupportedError) as caught:
        sg.simulate(model, [1.0], n=1, method=method)
    reasons = "\n".join(caught.value.reasons)
    expected = ["'lawless' has no kinetic law", "rule on p cannot be solved", "'quick' is fast"]
    if method == "ssa":
        expected.append("'late' uses delay")
    for words in expected:
        assert words in reasons
    assert len(caught.value.reasons) == len(expected)
    assert str(caught.value).startswith("<text>: ")


@pytest.mark.parametrize("package", ["qual", "nobodyknows"])
def test_packages_that_are_required_are_refused(package: str) -> None:
    root = f'xmlns:p="http://www.sbml.org/sbml/level3/version1/{package}/version1" p:required="true" p:more="1"'
    with pytest.raises(UnsupportedError, match=r"the package '\w+' is required"):
        read_sbml(document("", root=root))


@pytest.mark.parametrize("package", ["comp", "distrib"])
def test_packages_that_are_read_are_not_refused(package: str) -> None:
    root = f'xmlns:p="http://www.sbml.org/sbml/level3/version1/{package}/version1" p:required="true"'
    assert read_sbml(document(lists(parameters=parameter("k", "2")), root=root)).quantities() == {"k": 2.0}


def test_packages_that_are_not_required_are_ignored_with_a_warning() -> None:
    uri = "http://www.sbml.org/sbml/level3/version1/fbc/version1"
    model = read_sbml(document("", root=f'xmlns:fbc="{uri}" fbc:required="false"'))
    assert model.elements.warnings == ("the package 'fbc' is ignored: the document does not require it",)


def test_the_mathematics_of_level_3_version_2_is_no_package_to_refuse() -> None:
    model = read_sbml(document("", (3, 2)))
    assert model.elements.warnings == ()


def test_compartments() -> None:
    cells = (
        '<compartment id="a" size="2.5" spatialDimensions="2" constant="true" units="area"/>'
        '<compartment id="b" constant="false"/>'
        '<compartment id="p" spatialDimensions="0" constant="true"/>'
    )
    compartments = read_sbml(document(lists(compartments=cells))).elements.compartments
    assert [(item.id, item.size, item.dimensions, item.constant) for item in compartments.values()] == [
        ("a", 2.5, 2.0, True),
        ("b", None, 3.0, False),
        ("p", None, 0.0, True),
    ]


def test_level_2_compartments_have_size_1_where_none_is_given() -> None:
    model = read_sbml(document(lists(compartments='<compartment id="c"/>'), (2, 1)))
    assert model.elements.compartments["c"].size == 1.0


def test_species_references_and_stoichiometry() -> None:
    references = lists(
        reactants='<speciesReference species="S" stoichiometry="2" constant="true"/>',
        products='<speciesReference id="n" species="S" stoichiometry="3" constant="false"/>'
        '<speciesReference id="v" species="S" stoichiometry="3" constant="true"/>'
        '<speciesReference species="S" constant="true"/>',
        modifiers='<modifierSpeciesReference species="S"/>',
    )
    content = lists(
        compartments=CELL,
        species=species(),
        initialAssignments=INITIAL.format("n", math("<cn>7</cn>")),
        reactions=reaction(law="<apply><plus/><ci>n</ci><ci>v</ci></apply>", inside=references),
    )
    model = read_sbml(document(content))
    actual = model.elements.reactions["R"]
    assert [(item.id, item.stoichiometry) for item in (*actual.reactants, *actual.products)] == [
        (None, 2),
        ("n", sympy.Symbol("n")),
        ("v", 3),
        (None, 1),
    ]
    assert actual.modifiers == ("S",)
    assert any("stoichiometry of 'S' open" in warning for warning in model.elements.warnings)
    assert model.reaction_rates()["R"] == 10


def test_level_2_stoichiometry_as_mathematics() -> None:
    reference = f'<speciesReference species="S"><stoichiometryMath>{math("<ci>k</ci>")}</stoichiometryMath>'
    content = lists(
        compartments=CELL_2,
        species='<species id="S" compartment="cell" initialAmount="3"/>',
        parameters='<parameter id="k" value="2"/>',
        reactions=f'<reaction id="R">{lists(reactants=reference + "</speciesReference>")}'
        f"<kineticLaw>{math('<ci>S</ci>')}</kineticLaw></reaction>",
    )
    model = read_sbml(document(content, (2, 4)))
    assert model.elements.reactions["R"].reactants[0].stoichiometry == sympy.Symbol("k")
    assert model.reaction_rates()["R"] == 1.5
    empty = document(content, (2, 4)).replace(math("<ci>k</ci>"), "")
    with pytest.raises(SbmlError, match="the formula of a stoichiometry in 'R' is missing; give it one"):
        read_sbml(empty)


def test_local_parameters_hide_global_ids() -> None:
    local = lists(localParameters='<localParameter id="k" value="5"/><localParameter id="S" value="7"/>')
    law = math("<apply><times/><ci>k</ci><ci>S</ci></apply>")
    content = lists(
        compartments=CELL,
        species=species(),
        parameters=parameter("k", "2"),
        reactions=f'<reaction id="R" reversible="false" fast="false"><kineticLaw>{law}{local}</kineticLaw></reaction>',
    )
    model = read_sbml(document(content))
    assert [item.id for item in model.elements.reactions["R"].local_parameters] == ["R.k", "R.S"]
    assert model.elements.reactions["R"].kinetic_law.free_symbols == {
        sympy.Symbol("R.k"),
        sympy.Symbol("R.S"),
    }
    assert model.reaction_rates()["R"] == 35


def test_conversion_factors() -> None:
    content = lists(
        compartments=CELL,
        species=species(conversionFactor="f") + species("T"),
        parameters=parameter("f") + parameter("g"),
    )
    elements = read_sbml(document(content, model='conversionFactor="g"')).elements
    assert elements.conversion_factor == "g"
    assert elements.species["S"].conversion_factor == "f"
    assert elements.species["T"].conversion_factor is None


def units(identifier: str, kind: str, scale: int = 0, multiplier: float = 1) -> str:
    unit = f'<unit kind="{kind}" exponent="1" scale="{scale}" multiplier="{multiplier}"/>'
    return f'<unitDefinition id="{identifier}"><listOfUnits>{unit}</listOfUnits></unitDefinition>'


@pytest.mark.parametrize(
    ("definition", "molecules", "warns"),
    [
        (units("u", "item"), 1.0, False),
        (units("u", "mole", -9), AVOGADRO * 1e-9, False),
        (units("u", "mole", -9, 3), AVOGADRO * 3e-9, False),
        (units("u", "avogadro"), AVOGADRO, False),
        (units("u", "dimensionless"), 1.0, True),
        (units("u", "gram"), 1.0, True),
    ],
)
def test_molecules_in_a_unit(definition: str, molecules: float, warns: bool) -> None:
    content = lists(unitDefinitions=definition, compartments=CELL, species=species())
    text = document(content, model='substanceUnits="u" extentUnits="u"')
    elements = read_sbml(text).elements
    assert elements.species["S"].molecules_per_unit == pytest.approx(molecules, rel=1e-15)
    assert elements.extent_molecules == pytest.approx(molecules, rel=1e-15)
    assert any("taken as numbers of molecules" in warning for warning in elements.warnings) == warns
    overridden = read_sbml(text, molecules_per_unit=7.0).elements
    assert (overridden.species["S"].molecules_per_unit, overridden.extent_molecules) == (7.0, 7.0)
    assert overridden.warnings == ()


def test_units_of_a_species_come_before_those_of_the_model() -> None:
    content = lists(compartments=CELL, species=species(substanceUnits="item") + species("T"))
    actual = read_sbml(document(content, model='substanceUnits="mole" extentUnits="item"')).elements
    assert [item.molecules_per_unit for item in actual.species.values()] == [1.0, AVOGADRO]
    assert actual.extent_molecules == 1.0


def test_undeclared_units_are_molecules_with_one_warning() -> None:
    content = lists(compartments=CELL, species="".join(species(f"S{n}") for n in range(9)))
    warnings = read_sbml(document(content)).elements.warnings
    assert len(warnings) == 1
    assert "'S0', 'S1', 'S2', 'S3' and 5 more: no units of substance are declared" in warnings[0]


@pytest.mark.parametrize("level", [(2, 4), (3, 1)])
def test_undeclared_extent_is_in_the_unit_of_all_amounts(level: tuple[int, int]) -> None:
    cell = CELL if level > (3, 0) else CELL_2
    flags = 'hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"'
    both = [f'<species id="S" compartment="cell" substanceUnits="mole" {flags}/>']
    both.append(both[0].replace('"S"', '"T"'))
    moles = document(lists(compartments=cell, species="".join(both)), level)
    assert read_sbml(moles).elements.extent_molecules == AVOGADRO
    mixed = document(lists(compartments=cell, species=both[0] + both[1].replace("mole", "item")), level)
    assert read_sbml(mixed).elements.extent_molecules == 1.0


@pytest.mark.parametrize(("kind", "molecules"), [("item", 1.0), ("mole", AVOGADRO)])
def test_level_2_can_define_its_substance(kind: str, molecules: float) -> None:
    definition = f'<unitDefinition id="substance"><listOfUnits><unit kind="{kind}"/></listOfUnits></unitDefinition>'
    content = lists(
        unitDefinitions=definition,
        compartments=CELL_2,
        species='<species id="S" compartment="cell" initialAmount="3"/>',
    )
    elements = read_sbml(document(content, (2, 4))).elements
    assert (elements.species["S"].molecules_per_unit, elements.extent_molecules) == (molecules, molecules)
    assert elements.warnings == ()


def test_units_in_words() -> None:
    definitions = units("hour", "second", multiplier=3600) + units("nmol", "mole", -9)
    elements = read_sbml(
        document(lists(unitDefinitions=definitions), model='timeUnits="hour" substanceUnits="nmol"')
    ).elements
    assert (elements.time_units, elements.substance_units) == ("3600 second", "nanomole")


@pytest.mark.parametrize("molecules", [0.0, -1.0, float("inf"), float("nan")])
def test_molecules_per_unit_is_a_positive_number(molecules: float) -> None:
    with pytest.raises(SbmlError, match="must be a positive number"):
        read_sbml(document(""), molecules_per_unit=molecules)


def test_what_the_document_leaves_unset_is_named() -> None:
    content = lists(
        compartments='<compartment id="cell" constant="true"/>',
        species=species(initialAmount="", substanceUnits="item"),
        parameters='<parameter id="k" constant="true"/>',
    )
    warnings = read_sbml(document(content, model='extentUnits="item"')).elements.warnings
    assert [warning.partition(" is given")[0] for warning in warnings] == [
        "'S': no initial amount or concentration",
        "'k': no value",
        "'cell': no size",
    ]
