"""Writing changes the numbers that were asked for, adds one annotation, and leaves every other byte alone."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from sbmlgrad.errors import SbmlError, SbmlgradError, UnknownIdError
from sbmlgrad.sbml.document import read_source
from sbmlgrad.sbml.edit import FIT_NAMESPACE, edit_values, format_number
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.sbml.write import FitRecord, fit_annotation, write_sbml

LEVEL2 = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4">
  <model id="m">
    <annotation>
      <tool:settings xmlns:tool="urn:tool"><parameter id="k" value="7"/></tool:settings>
    </annotation>
    <listOfCompartments>
      <compartment id="cell" size="2"/>
    </listOfCompartments>
    <listOfSpecies>
      <species id="A" compartment="cell" initialConcentration="5"/>
      <species id="B" compartment="cell" initialAmount="3.0"/>
      <species id="C" compartment="cell"/>
    </listOfSpecies>
    <listOfParameters>
      <parameter id="k" value="0.5"/>
      <parameter id="ruled" value="1" constant="false"/>
      <parameter id="assigned" value="1"/>
      <parameter id="rated" value="1" constant="false"/>
    </listOfParameters>
    <listOfInitialAssignments>
      <initialAssignment symbol="assigned">
        <math xmlns="http://www.w3.org/1998/Math/MathML"><ci>k</ci></math>
      </initialAssignment>
    </listOfInitialAssignments>
    <listOfRules>
      <assignmentRule variable="ruled">
        <math xmlns="http://www.w3.org/1998/Math/MathML"><ci>k</ci></math>
      </assignmentRule>
      <rateRule variable="rated">
        <math xmlns="http://www.w3.org/1998/Math/MathML"><ci>k</ci></math>
      </rateRule>
    </listOfRules>
    <listOfReactions>
      <reaction id="r1" reversible="false">
        <listOfReactants><speciesReference species="A"/></listOfReactants>
        <listOfProducts><speciesReference species="B"/></listOfProducts>
        <kineticLaw>
          <math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci><ci>A</ci></apply></math>
          <listOfParameters>
            <parameter id="k" value="9"/>
          </listOfParameters>
        </kineticLaw>
      </reaction>
    </listOfReactions>
  </model>
</sbml>
"""

LEVEL3 = """<?xml version='1.0' encoding='UTF-8'?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"
      xmlns:layout="http://www.sbml.org/sbml/level3/version1/layout/version1" layout:required="false">
  <!-- <parameter id="k" value="1"/> -->
  <model id="m" name="a &lt; b &amp; c">
    <notes>
      <body xmlns="http://www.w3.org/1999/xhtml"><![CDATA[ <parameter id="k" value="2"/> ]]></body>
    </notes>
    <listOfCompartments>
      <compartment id='cell' name='x > y &amp; "z"' size = '1.5' spatialDimensions='3' constant='true'
      />
    </listOfCompartments>
    <listOfSpecies>
      <species id="S" compartment="cell" hasOnlySubstanceUnits="true" constant="false"
               boundaryCondition="false"/>
    </listOfSpecies>
    <listOfParameters>
      <parameter id="k" name="value=&quot;3&quot;" constant="true"/>
      <parameter name="µ &#x3bb;" constant="true" id='&#107;2'/>
    </listOfParameters>
    <listOfReactions>
      <reaction id="r" reversible="false" fast="false">
        <listOfReactants><speciesReference species="S" stoichiometry="1" constant="true"/></listOfReactants>
        <kineticLaw>
          <math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci><ci>S</ci></apply></math>
          <listOfLocalParameters><localParameter id="k" value="4e-3"/></listOfLocalParameters>
        </kineticLaw>
      </reaction>
    </listOfReactions>
    <layout:listOfLayouts>
      <layout:layout layout:id="k">
        <layout:dimensions layout:id="cell" layout:width="400" layout:height="230"/>
      </layout:layout>
    </layout:listOfLayouts>
  </model>
</sbml>
"""

LEVEL1 = """<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2">
<model name="m">
<listOfCompartments><compartment name="cell" volume="4"/></listOfCompartments>
<listOfSpecies><species name="S" compartment="cell" initialAmount="8"/></listOfSpecies>
<listOfParameters><parameter name="k" value="1"/><parameter name="rule" value="1"/></listOfParameters>
<listOfRules>
<parameterRule name="rule" formula="k"/><parameterRule type="rate" name="k" formula="1"/>
</listOfRules>
</model>
</sbml>
"""

RECORD = FitRecord(
    parameters={"k": (0.25, 0.125), "r1.k": (3.0, float("nan"))},
    data='counts "a" & <b>.csv',
    loss="gaussian",
    loss_value=12.5,
    seed=7,
    version="1.2.3",
    date="2026-03-04",
)


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that a text has lost and gained, without their indentation."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    lost, gained = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    return lost, gained


def fits_in(text: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(text).findall(f"*/*/{{{FIT_NAMESPACE}}}fit")


# ---- values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "values", "lost", "gained"),
    [
        (LEVEL2, {"k": 0.1}, '<parameter id="k" value="0.5"/>', '<parameter id="k" value="0.1"/>'),
        (LEVEL2, {"r1.k": 2}, '<parameter id="k" value="9"/>', '<parameter id="k" value="2"/>'),
        (LEVEL2, {"cell": 1e-15}, '"cell" size="2"', '"cell" size="1e-15"'),
        (LEVEL2, {"rated": 0.0}, 'id="rated" value="1"', 'id="rated" value="0"'),
        (LEVEL2, {"[A]": 1 / 3}, 'initialConcentration="5"', 'initialConcentration="0.3333333333333333"'),
        (LEVEL2, {"A": 4}, 'initialConcentration="5"', 'initialConcentration="2"'),
        (LEVEL2, {"B": 4}, 'initialAmount="3.0"', 'initialAmount="4.0"'),
        (LEVEL2, {"[B]": 4}, 'initialAmount="3.0"', 'initialAmount="8.0"'),
        (LEVEL2, {"C": 4}, 'id="C" compartment', 'id="C" initialAmount="4" compartment'),
        (LEVEL2, {"[C]": 4}, 'id="C" compartment', 'id="C" initialConcentration="4" compartment'),
        (LEVEL3, {"cell": 2}, "size = '1.5'", "size = '2.0'"),
        (LEVEL3, {"k": 2}, 'id="k" name=', 'id="k" value="2" name='),
        (LEVEL3, {"k2": 0.5}, "id='&#107;2'/>", "id='&#107;2' value='0.5'/>"),
        (LEVEL3, {"r.k": 0.002}, 'value="4e-3"', 'value="0.002"'),
        (LEVEL3, {"S": 10}, 'id="S" compartment', 'id="S" initialAmount="10" compartment'),
        (LEVEL1, {"cell": 3}, 'volume="4"', 'volume="3"'),
        (LEVEL1, {"S": 3}, 'initialAmount="8"', 'initialAmount="3"'),
        (LEVEL1, {"[S]": 3}, 'initialAmount="8"', 'initialAmount="12"'),
        (LEVEL1, {"k": 3}, '"k" value="1"', '"k" value="3"'),
    ],
)
def test_one_attribute_changes_and_nothing_else(
    document: str, values: dict[str, float], lost: str, gained: str
) -> None:
    assert document.count(lost) == 1
    assert edit_values(document, values) == document.replace(lost, gained)


def test_a_new_size_converts_a_new_amount_and_leaves_old_concentrations() -> None:
    assert edit_values(LEVEL2, {"cell": 10}) == LEVEL2.replace('size="2"', 'size="10"')
    assert 'id="A" compartment="cell" initialConcentration="0.4"' in edit_values(LEVEL2, {"cell": 10, "A": 4})
    assert 'id="B" compartment="cell" initialAmount="40.0"' in edit_values(LEVEL2, {"[B]": 4, "cell": 10})


def test_a_value_that_is_there_already_keeps_its_digits() -> None:
    assert edit_values(LEVEL3, {"r.k": 0.004, "cell": 1.5}) == LEVEL3
    assert edit_values(LEVEL2, {}) == LEVEL2


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_are_kept(mark: str) -> None:
    values = {"k": 2, "r.k": 1}
    edited = edit_values(mark + LEVEL3.replace("\n", "\r\n"), values, fit_annotation(RECORD))
    assert edited == mark + edit_values(LEVEL3, values, fit_annotation(RECORD)).replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("number", "old", "text"),
    [
        (2.0, None, "2"),
        (2.0, "1", "2"),
        (2.0, "1.0", "2.0"),
        (0.1, "1", "0.1"),
        (1e-300, "1", "1e-300"),
        (6.02214179e23, "1.0", "6.02214179e+23"),
        (float("-inf"), None, "-INF"),
        (float("nan"), None, "NaN"),
    ],
)
def test_numbers_are_short_and_exact(number: float, old: str | None, text: str) -> None:
    assert format_number(number, old) == text


# ---- refusals ------------------------------------------------------------------------------------------

UNSIZED = LEVEL2.replace('<compartment id="cell" size="2"/>', '<compartment id="cell"/>')


@pytest.mark.parametrize(
    ("document", "values", "message"),
    [
        (LEVEL2, {"assigned": 2}, "m.xml: assigned is set by an initial assignment"),
        (LEVEL2, {"ruled": 2}, "m.xml: ruled is set by an assignment rule"),
        (LEVEL1, {"rule": 2}, "m.xml: rule is set by an assignment rule"),
        (LEVEL2, {"rates": 2}, "did you mean rated?"),
        (LEVEL2, {"r1.j": 2}, "did you mean r1.k?"),
        (LEVEL2, {"[k]": 2}, "has no parameter"),
        (LEVEL2, {"tool": 2}, "has no parameter"),
        (LEVEL2, {"A": 2, "[A]": 1}, "give one of them"),
        (UNSIZED, {"A": 2}, "no usable size; give [A]"),
        (UNSIZED, {"[B]": 2}, "no usable size; give B"),
        (LEVEL2.replace('symbol="assigned"', 'symbol="cell"'), {"A": 2}, "an initial assignment; give [A]"),
    ],
)
def test_values_that_no_reader_would_see_are_refused(document: str, values: dict[str, float], message: str) -> None:
    with pytest.raises(UnknownIdError, match=re.escape(message)):
        edit_values(document, values, source="m.xml")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("<sbml", "m.xml: not well-formed XML, line 1"),
        ("<html/>", "root element is <html>"),
        (LEVEL2.replace("sbml.org", "example.org"), "root element is <sbml>"),
        ('<!DOCTYPE sbml [<!ENTITY e "">]>' + LEVEL1, "has a DOCTYPE"),
        ('<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"/>', "no model"),
        (LEVEL2 + "\ud800", "not valid Unicode"),
        (LEVEL2.replace('id="A"', 'id="A" initialAmount="10"'), "has both"),
    ],
)
def test_documents_that_are_not_sbml_are_refused(document: str, message: str) -> None:
    with pytest.raises(SbmlError, match=message):
        edit_values(document, {"A": 1}, source="m.xml")


# ---- the annotation ------------------------------------------------------------------------------------


def test_the_annotation_says_what_was_fitted() -> None:
    fit = ElementTree.fromstring(fit_annotation(RECORD))
    assert fit.tag == f"{{{FIT_NAMESPACE}}}fit"
    assert fit.attrib == {
        "version": "1.2.3",
        "date": "2026-03-04",
        "data": RECORD.data,
        "loss": "gaussian",
        "lossValue": "12.5",
        "seed": "7",
    }
    assert [child.attrib for child in fit] == [
        {"id": "k", "estimate": "0.25", "standardError": "0.125"},
        {"id": "r1.k", "estimate": "3", "standardError": "NaN"},
    ]


def test_an_annotation_joins_those_of_other_tools() -> None:
    edited = edit_values(LEVEL2, {}, fit_annotation(RECORD))
    lines = [line.strip() for line in fit_annotation(RECORD).splitlines()]
    assert changed_lines(LEVEL2, edited) == ([], lines)
    assert '\n      <sbmlgrad:fit xmlns:sbmlgrad="' in edited
    assert '\n        <sbmlgrad:parameter id="k"' in edited
    assert "\n      </sbmlgrad:fit>\n    </annotation>\n" in edited


def test_a_new_annotation_adds_lines_and_changes_none() -> None:
    edited = edit_values(LEVEL3, {}, fit_annotation(RECORD))
    lines = ["<annotation>", *fit_annotation(RECORD).splitlines(), "</annotation>"]
    assert changed_lines(LEVEL3, edited) == ([], [line.strip() for line in lines])


def test_a_second_fit_replaces_the_first() -> None:
    once = edit_values(LEVEL2, {}, '<f:fit xmlns:f="https://sbmlgrad.readthedocs.io/ns/fit/1">\n</f:fit>')
    assert edit_values(once, {}, fit_annotation(RECORD)) == edit_values(LEVEL2, {}, fit_annotation(RECORD))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (LEVEL3, "</notes>\n    <annotation>\n      <sbmlgrad:fit"),
        (LEVEL1, '<model name="m">\n<annotation>\n  <sbmlgrad:fit'),
        (LEVEL1.replace("\n", ""), '<model name="m"><annotation><sbmlgrad:fit'),
        (LEVEL1.replace('version="2"', 'version="1"').replace("species", "specie"), "<annotations>"),
        (LEVEL1.replace('name="m">', 'name="m"><notes/><annotation />'), "<notes/><annotation><sbmlgrad:fit"),
        (
            '<s:sbml xmlns:s="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">'
            '<s:model id="m" /></s:sbml>',
            '<s:model id="m"><s:annotation><sbmlgrad:fit',
        ),
    ],
    ids=["after notes", "first child", "one line", "level 1 version 1", "empty", "prefix"],
)
def test_an_annotation_is_made_where_there_is_none(document: str, expected: str) -> None:
    edited = edit_values(document, {}, fit_annotation(RECORD))
    assert expected in edited
    (fit,) = fits_in(edited)
    assert len(fit) == 2


# ---- files ---------------------------------------------------------------------------------------------


def changed(source: str | Path, changes: Mapping[str, float]) -> SimpleNamespace:
    """The part of a model that writing needs: also for documents that sbmlgrad cannot simulate."""
    return SimpleNamespace(elements=SimpleNamespace(source=read_source(source)), changes=changes)


@pytest.mark.parametrize("document", [LEVEL1, LEVEL2, LEVEL3], ids=["level 1", "level 2", "level 3"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_without_changes_the_bytes_are_the_same(document: str, encoding: str, tmp_path: Path) -> None:
    original, copy = tmp_path / "model.xml", tmp_path / "copy.xml"
    original.write_bytes(document.replace("\n", "\r\n").encode(encoding))
    write_sbml(changed(original, {}), copy)
    assert copy.read_bytes() == original.read_bytes()


def test_a_written_model_reads_back(tmp_path: Path) -> None:
    changes = {"k": 0.1 + 0.2, "r1.k": 1e-7, "cell": 3.0, "A": 0.7, "[B]": 0.1, "C": 11.0}
    document = re.sub("<rateRule.*</rateRule>", "", LEVEL2, flags=re.S)
    model = read_sbml(document).with_parameters(changes)
    write_sbml(model, tmp_path / "fitted.xml", RECORD)
    assert read_sbml(tmp_path / "fitted.xml").reaction_rates().equals(model.reaction_rates())
    elements = read_sbml(tmp_path / "fitted.xml").elements
    assert elements.parameters["k"].value == 0.1 + 0.2
    assert elements.reactions["r1"].local_parameters[0].value == 1e-7
    assert elements.compartments["cell"].size == 3
    assert elements.species["A"].initial_concentration == 0.7 / 3
    assert elements.species["B"].initial_amount == 0.1 * 3
    assert elements.species["C"].initial_amount == 11
    assert len(fits_in(elements.source.text)) == 1


def test_another_encoding_is_kept(tmp_path: Path) -> None:
    document = LEVEL3.replace("UTF-8", "ISO-8859-1")
    original, copy = tmp_path / "model.xml", tmp_path / "copy.xml"
    original.write_bytes(document.encode("latin-1"))
    write_sbml(read_sbml(original).with_parameters({"k2": 2}), copy, replace(RECORD, data="λ.csv"))
    assert "µ".encode("latin-1") in copy.read_bytes()
    (fit,) = ElementTree.fromstring(copy.read_bytes()).iter(f"{{{FIT_NAMESPACE}}}fit")
    assert fit.get("data") == "λ.csv"


def test_white_space_before_the_declaration_is_dropped(tmp_path: Path) -> None:
    write_sbml(changed("\n  " + LEVEL2, {"k": 1}), tmp_path / "fitted.xml")
    assert (tmp_path / "fitted.xml").read_text(encoding="utf-8").startswith("<?xml")


def test_a_new_error_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    flat = LEVEL2.replace('id="cell" size="2"', 'id="cell" spatialDimensions="0"')
    flat = flat.replace('initialConcentration="5"', 'initialAmount="5"')
    with pytest.raises(SbmlError, match=r"^<text>: not written, the new values break an SBML rule: line 13"):
        write_sbml(changed(flat, {"[C]": 1}), tmp_path / "fitted.xml")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "fitted.xml"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SbmlgradError, match=r"fitted\.xml: cannot be written: No space left on device"):
        write_sbml(changed(LEVEL2, {"k": 1}), target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "missing" / "f.xml", tmp_path / "file" / "f.xml", tmp_path):
        with pytest.raises(SbmlgradError, match=f"{re.escape(str(target))}: cannot be written"):
            write_sbml(changed(LEVEL2, {"k": 1}), target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "target.xml", tmp_path / "link.xml"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_sbml(changed(LEVEL2, {"k": 1}), link)
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert '<parameter id="k" value="1.0"/>' in target.read_text(encoding="utf-8")


# ---- published models ----------------------------------------------------------------------------------


def test_vilar_oscillator_with_three_parameters_changed(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "biomodels" / "BIOMD0000000035.xml"
    if not path.is_file():
        pytest.skip(f"no {path}")
    model = read_sbml(path)
    changes = {
        parameter.id: 1.5 * parameter.value
        for reaction in model.elements.reactions.values()
        for parameter in reaction.local_parameters
        if parameter.id.endswith((".gammaC", ".alphaAp", ".betaR")) and parameter.value
    }
    assert len(changes) == 3
    fitted = tmp_path / "fitted.xml"
    record = replace(RECORD, parameters={name: (value, 0.1) for name, value in changes.items()})
    model = model.with_parameters(changes)
    write_sbml(model, fitted, record)

    lost, gained = changed_lines(path.read_bytes().decode(), fitted.read_bytes().decode())
    annotation = [line.strip() for line in fit_annotation(record).splitlines()]
    assert [line for line in gained if line in annotation] == annotation
    values = re.compile(r' value="([^"]*)"')
    new = [line for line in gained if line not in annotation]
    assert [values.sub("", line) for line in lost] == [values.sub("", line) for line in new]
    assert [float(values.search(line)[1]) for line in new] == list(changes.values())

    import roadrunner

    runner = roadrunner.RoadRunner(str(fitted))
    assert np.isfinite(runner.simulate(0, 10, 11)).all()
    ones = dict.fromkeys(runner.model.getFloatingSpeciesIds(), 1.0)
    for species, amount in ones.items():
        runner.setValue(species, amount)
    rates = model.reaction_rates(ones)[runner.model.getReactionIds()]
    np.testing.assert_allclose(runner.model.getReactionRates(), rates, rtol=1e-12)


@pytest.mark.slow
def test_every_number_of_published_models_can_be_changed(data_dir: Path, tmp_path: Path) -> None:
    """Every 26th model; SBMLGRAD_MODEL_STEP=1 tries all of them."""
    step = int(os.environ.get("SBMLGRAD_MODEL_STEP", "26"))
    paths = sorted((data_dir / "biomodels").glob("*.xml"))[::step]
    if not paths:
        pytest.skip("no published models")
    for path in paths:
        change_every_number(path, tmp_path / path.name)


def stored_numbers(text: str) -> dict[str, float]:
    """All numbers in a document that no assignment overrides, by the id that changes them."""
    model = ElementTree.fromstring(text.encode()).find("{*}model")
    rules = [e.get("variable") for e in model.findall("{*}listOfRules/{*}assignmentRule")]
    initial = [e.get("symbol") for e in model.findall("{*}listOfInitialAssignments/*")]
    lists = ("Parameters", "Compartments", "Species")
    actual = [(e.get("id"), e) for name in lists for e in model.findall(f"{{*}}listOf{name}/*")]
    for reaction in model.findall("{*}listOfReactions/{*}reaction"):
        local = [e for e in reaction.findall("{*}kineticLaw/*/*") if e.get("value") is not None]
        actual += [(f"{reaction.get('id')}.{e.get('id')}", e) for e in local]
    forms = {"value": "{}", "size": "{}", "initialAmount": "{}", "initialConcentration": "[{}]"}
    return {
        form.format(name): float(element.get(attribute))
        for name, element in actual
        for attribute, form in forms.items()
        if element.get(attribute) is not None and name not in [*rules, *initial]
    }


def change_every_number(path: Path, target: Path) -> None:
    source = read_source(path)
    changes = {name: 1.1 * value if value else 1.1 for name, value in stored_numbers(source.text).items()}
    assert changes or "<species " not in source.text, path  # BIOMD0000000593 declares no number
    write_sbml(changed(path, changes), target, RECORD)
    before, after = (file.read_bytes().decode().splitlines() for file in (path, target))
    annotation = len(fit_annotation(RECORD).splitlines())
    first = next(n for n, line in enumerate(after) if "<sbmlgrad:fit" in line)
    is_new = len(after) - len(before) == annotation + 2  # with <annotation> around it
    del after[first - is_new : first + annotation + is_new]
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    number = re.compile(r'\b(value|size|initialAmount|initialConcentration)="[^"]*"')
    assert [number.sub("", a) for a, _ in pairs] == [number.sub("", b) for _, b in pairs], path
    assert len(pairs) == len(changes), path
