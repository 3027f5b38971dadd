"""Models that are put together from others: what comes out is one model, and only files beside it are opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbmlgrad.errors import SbmlError, UnsupportedError
from sbmlgrad.sbml.read import read_sbml

CORE = "http://www.sbml.org/sbml/level3/version1/core"
COMP = "http://www.sbml.org/sbml/level3/version1/comp/version1"
CELL = (
    '<listOfCompartments><compartment id="cell" size="2" spatialDimensions="3" constant="true">{}</compartment>'
    "</listOfCompartments>"
)
# A decay with its own species, rate constant and compartment.
DECAY = f"""{CELL.format("")}
<listOfSpecies><species id="S" compartment="cell" initialAmount="3" hasOnlySubstanceUnits="true"
  boundaryCondition="false" constant="false"/></listOfSpecies>
<listOfParameters><parameter id="k" value="0.5" constant="true"/></listOfParameters>
<listOfReactions><reaction id="decay" reversible="false" fast="false">
  <listOfReactants><speciesReference species="S" stoichiometry="1" constant="true"/></listOfReactants>
  <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci><ci>S</ci></apply></math>
  </kineticLaw></reaction></listOfReactions>"""
PORTS = '<comp:listOfPorts><comp:port comp:id="S_port" comp:idRef="S"/></comp:listOfPorts>'
DELETION = '<comp:listOfDeletions><comp:deletion comp:idRef="{}"/></comp:listOfDeletions>'
SUBMODELS = "<comp:listOfSubmodels>{}</comp:listOfSubmodels>"


def document(model: str, definitions: str = "", name: str = "top") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<sbml xmlns="{CORE}" level="3" version="1" xmlns:comp="{COMP}" '
        f'comp:required="true"><model id="{name}">{model}</model>{definitions}</sbml>'
    )


def submodel(identifier: str, reference: str = "part") -> str:
    return f'<comp:submodel comp:id="{identifier}" comp:modelRef="{reference}"/>'


def external(source: str, name: str = "part", reference: str = "") -> str:
    attribute = f' comp:modelRef="{reference}"' if reference else ""
    return (
        "<comp:listOfExternalModelDefinitions><comp:externalModelDefinition "
        f'comp:id="{name}" comp:source="{source}"{attribute}/></comp:listOfExternalModelDefinitions>'
    )


def internal(model: str = DECAY, name: str = "part") -> str:
    definition = f'<comp:modelDefinition id="{name}">{model}</comp:modelDefinition>'
    return f"<comp:listOfModelDefinitions>{definition}</comp:listOfModelDefinitions>"


def write(folder: Path, **files: str) -> Path:
    """Files by name without ending; the path of the first."""
    for name, content in files.items():
        (folder / f"{name}.xml").write_text(content, encoding="utf-8")
    return folder / f"{next(iter(files))}.xml"


def test_submodels_are_copies_with_ids_of_their_own() -> None:
    model = read_sbml(document(SUBMODELS.format(submodel("one") + submodel("two")), internal()))
    assert model.species_ids == ("one__S", "two__S")
    assert model.reaction_ids == ("one__decay", "two__decay")
    changed = model.with_parameters({"two__k": 2.0, "two__S": 5.0})
    assert changed.reaction_rates().to_dict() == {"one__decay": 1.5, "two__decay": 10.0}


@pytest.mark.parametrize(
    ("link", "part"), [('comp:portRef="S_port"', DECAY + PORTS), ('comp:idRef="S"', DECAY)], ids=["by port", "by id"]
)
def test_a_replaced_element_is_the_one_that_replaces_it(link: str, part: str) -> None:
    shared = (
        '<listOfSpecies><species id="shared" compartment="cell" initialAmount="10" hasOnlySubstanceUnits="true" '
        'boundaryCondition="false" constant="false"><comp:listOfReplacedElements>'
        f'<comp:replacedElement comp:submodelRef="one" {link}/>'
        f'<comp:replacedElement comp:submodelRef="two" {link}/>'
        "</comp:listOfReplacedElements></species></listOfSpecies>"
    )
    content = CELL.format("") + shared + SUBMODELS.format(submodel("one") + submodel("two"))
    model = read_sbml(document(content, internal(part)))
    assert model.species_ids == ("shared",)
    assert model.reaction_rates().to_dict() == {"one__decay": 5.0, "two__decay": 5.0}
    assert [side.species for r in model.elements.reactions.values() for side in r.reactants] == ["shared", "shared"]


def test_a_deleted_element_is_gone() -> None:
    one = submodel("one").replace("/>", f">{DELETION.format('decay')}</comp:submodel>")
    assert read_sbml(document(SUBMODELS.format(one), internal())).reaction_ids == ()


def test_a_file_with_ports_alone_is_a_model_as_it_stands() -> None:
    model = read_sbml(document(DECAY + PORTS))
    assert model.reaction_rates().to_dict() == {"decay": 1.5}


@pytest.mark.parametrize("source", ["part.xml", "./part.xml", "file:part.xml"])
def test_a_definition_may_be_in_a_file_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Beside the file, not beside where the program happens to run."""
    top = document(SUBMODELS.format(submodel("one")), external(source))
    path = write(tmp_path, top=top, part=document(DECAY, name="inner"))
    monkeypatch.chdir("/")
    model = read_sbml(path)
    assert model.reaction_rates().to_dict() == {"one__decay": 1.5}
    assert model.elements.source.path == str(path)
    assert model.elements.source.text == top, "what is kept is the document as it was given"


def test_files_refer_to_others_beside_themselves(tmp_path: Path) -> None:
    inside = tmp_path / "parts"
    inside.mkdir()
    write(inside, middle=document(SUBMODELS.format(submodel("deep")), external("last.xml")), last=document(DECAY))
    path = write(tmp_path, top=document(SUBMODELS.format(submodel("one")), external("parts/middle.xml")))
    assert read_sbml(path).reaction_rates().to_dict() == {"one__deep__decay": 1.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "part.xml: there is no such file"),
        ("<html/>", "part.xml: XML but not SBML"),
        ('<!DOCTYPE sbml [<!ENTITY a "b">]><sbml/>', "part.xml: the file declares a document type"),
    ],
)
def test_files_that_do_not_serve(tmp_path: Path, content: str | None, message: str) -> None:
    top = document(SUBMODELS.format(submodel("one")), external("part.xml"))
    path = write(tmp_path, top=top, **({} if content is None else {"part": content}))
    with pytest.raises(SbmlError, match=message) as caught:
        read_sbml(path)
    assert "\n" not in str(caught.value)


OUTSIDE = [
    *("{folder}/part.xml", "file:{folder}/part.xml", "file://{folder}/part.xml", "C:/part.xml"),
    *("../{name}/part.xml", "parts/../../part.xml"),
    *("https://example.org/part.xml", "urn:miriam:biomodels.db:BIOMD0000000001"),
]


@pytest.mark.parametrize("source", OUTSIDE)
def test_only_files_beside_are_opened(tmp_path: Path, source: str) -> None:
    location = source.format(folder=tmp_path, name=tmp_path.name)
    path = write(tmp_path, top=document(SUBMODELS.format(submodel("one")), external(location)), part=document(DECAY))
    with pytest.raises(SbmlError, match="'part' refers to .*; only files beside the model's own file are") as caught:
        read_sbml(path)
    assert str(caught.value).startswith(str(path))


def test_text_has_no_files_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, part=document(DECAY))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SbmlError, match="<text>: the model definition 'part' refers to 'part.xml'; only files"):
        read_sbml(document(SUBMODELS.format(submodel("one")), external("part.xml")))


def test_ports_of_the_whole_may_point_nowhere() -> None:
    """Nobody refers to them."""
    ports = PORTS.replace('"S"', '"nowhere"')
    model = read_sbml(document(SUBMODELS.format(submodel("one")) + ports, internal()))
    assert model.species_ids == ("one__S",)


def test_parts_may_declare_packages_of_which_they_use_nothing() -> None:
    """Required, as iBioSim writes ``arrays``, or wrongly used: libSBML would not put such parts together."""
    arrays = 'xmlns:a="http://www.sbml.org/sbml/level3/version1/arrays/version1" a:required="true" '
    fbc = 'xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2" fbc:required="false" '
    text = document(SUBMODELS.format(submodel("one")), internal()).replace("<sbml ", f"<sbml {arrays}{fbc}")
    text = text.replace("<comp:modelDefinition", '<comp:modelDefinition fbc:strict="false"')
    assert read_sbml(text).species_ids == ("one__S",)


def test_circles_are_errors(tmp_path: Path) -> None:
    """A file that uses itself, two that use each other, and definitions in one document that do."""
    own = write(tmp_path, own=document(SUBMODELS.format(submodel("one")), external("own.xml")))
    first = document(SUBMODELS.format(submodel("one")), external("second.xml"))
    pair = write(tmp_path, first=first, second=document(SUBMODELS.format(submodel("two")), external("first.xml")))
    inner = document(
        SUBMODELS.format(submodel("one")),
        internal(SUBMODELS.format(submodel("two"))),
    )
    for source in (own, pair, inner):
        with pytest.raises(SbmlError, match="cannot be put together") as caught:
            read_sbml(source)
        assert "\n" not in str(caught.value)


REPLACED = (
    '<listOfSpecies><species id="shared" compartment="cell" initialAmount="10" hasOnlySubstanceUnits="true" '
    'boundaryCondition="false" constant="false"><comp:listOfReplacedElements>\n{}</comp:listOfReplacedElements>'
    "</species></listOfSpecies>"
)
WITHOUT_MODEL = f'<sbml xmlns="{CORE}" level="3" version="1"/>'
OF_LEVEL_2 = '<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="inner"/></sbml>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            SUBMODELS.format(submodel("one") + "\n" + submodel("two", "nothing")),
            r"line 3, <submodel> 'two': .*the referenced model \('nothing'\) does not exist",
        ),
        (
            SUBMODELS.format(
                submodel("zero")
                + "\n"
                + submodel("one").replace("/>", f">{DELETION.format('nothing')}</comp:submodel>")
            ),
            "line 3, <deletion> of <submodel> 'one': .*no such SId .*'nothing'",
        ),
        (
            REPLACED.format('<comp:replacedElement comp:submodelRef="one" comp:idRef="nothing"/>'),
            r"line 3, <replacedElement> of <species> 'shared' \(of submodel 'one'\): .*no such SId .*'nothing'",
        ),
        (
            REPLACED.format('<comp:replacedElement comp:submodelRef="one" comp:portRef="nothing"/>'),
            r"<replacedElement> of <species> 'shared' \(of submodel 'one'\): .*port .*'nothing'",
        ),
        (
            REPLACED.format('<comp:replacedElement comp:submodelRef="other" comp:idRef="S"/>'),
            "<replacedElement> of <species> 'shared' .*: the submodelRef 'other' could not be found",
        ),
        (
            CELL.format('\n<comp:replacedBy comp:submodelRef="one" comp:idRef="nothing"/>'),
            r"line 3, <replacedBy> of <compartment> 'cell' \(of submodel 'one'\): .*no such SId",
        ),
    ],
    ids=["no such model", "no such element", "replaced id", "replaced port", "replaced submodel", "replaced by"],
)
def test_submodels_that_do_not_fit(content: str, message: str) -> None:
    if "listOfSubmodels" not in content:
        content = (content if "<compartment " in content else CELL.format("") + content) + SUBMODELS.format(
            submodel("one")
        )
    with pytest.raises(SbmlError, match=f"<text>: its submodels cannot be put together: .*{message}") as caught:
        read_sbml(document(content, internal()))
    assert "\n" not in str(caught.value)
    assert "::" not in str(caught.value), "a user knows no functions of libsbml"


@pytest.mark.parametrize(
    ("part", "reference", "message"),
    [
        (document(DECAY, internal(name="inner")), "other", "for the model 'other', but it has 'top', 'inner'; correct"),
        (OF_LEVEL_2, "", "'part' refers to .*part.xml, which is SBML Level 2; export that file as Level 3"),
        (WITHOUT_MODEL, "", "part.xml: line 1: not valid SBML: No model"),
        (document(DECAY.replace('"0.5"', '"half"')), "", "part.xml: line .*: not valid SBML: Attribute type mismatch"),
    ],
)
def test_files_that_hold_no_such_model(tmp_path: Path, part: str, reference: str, message: str) -> None:
    top = document(SUBMODELS.format(submodel("one")), external("part.xml", reference=reference))
    with pytest.raises(SbmlError, match=message) as caught:
        read_sbml(write(tmp_path, top=top, part=part))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["qual", "arrays"])
def test_packages_that_files_beside_require_are_refused(tmp_path: Path, package: str) -> None:
    address = f"http://www.sbml.org/sbml/level3/version1/{package}/version1"
    declared = f'xmlns:p="{address}" p:required="true" p:more="1" xmlns:comp'
    part = document(DECAY).replace("xmlns:comp", declared)
    path = write(tmp_path, top=document(SUBMODELS.format(submodel("one")), external("part.xml")), part=part)
    with pytest.raises(UnsupportedError, match=f"part.xml: the package '{package}' is required"):
        read_sbml(path)


def test_faults_of_files_beside_are_warnings_with_their_name(tmp_path: Path) -> None:
    part = document(DECAY.replace('value="0.5" constant="true"', 'value="0.5"'))
    path = write(tmp_path, top=document(SUBMODELS.format(submodel("one")), external("part.xml")), part=part)
    model = read_sbml(path)
    assert model.reaction_rates().to_dict() == {"one__decay": 1.5}
    assert model.elements.warnings[0].startswith("part.xml: line 5: <parameter> 'k' lacks the attribute 'constant'")


def test_another_prefix_is_read_as_well(data_dir: Path) -> None:
    """libSBML ends the process when it puts submodels together under another prefix than ``comp``."""
    model = read_sbml(data_dir / "cases" / "25-under-attack" / "comp_prefix.xml")
    assert model.species_ids == ("sub1__s1",)
    assert model.reaction_rates().to_dict() == {"sub1__J0": 0.01}
    text = document(SUBMODELS.format(submodel("one")), internal())
    other = text.replace("comp:", "c:").replace("xmlns:comp", "xmlns:c").replace("</model>", "<!-- c:id < --></model>")
    assert read_sbml(other).quantities() == read_sbml(text).quantities()


def test_a_crash_of_libsbml_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = document(SUBMODELS.format(submodel("one")), internal())
    program = "import os, signal; os.kill(os.getpid(), signal.{})"
    for name, told in (("SIGSEGV", "libSBML crashes on them"), ("SIGXCPU", "more than 12 s"), ("SIGABRT", "2 GiB")):
        monkeypatch.setattr("sbmlgrad.sbml.rehearsal._PROGRAM", program.format(name))
        with pytest.raises(
            SbmlError, match=rf"its submodels \('one'\) cannot be put together: .*{told}.*; have the"
        ) as e:
            read_sbml(text)
        assert "\n" not in str(e.value)


def test_submodels_that_double_are_counted_before_they_are_made() -> None:
    levels = "".join(
        f'<comp:modelDefinition id="level{i}">{SUBMODELS.format(submodel("a", name) + submodel("b", name))}'
        "</comp:modelDefinition>"
        for i in range(25)
        for name in [f"level{i + 1}"]
    )
    definitions = (
        f'<comp:listOfModelDefinitions>{levels}<comp:modelDefinition id="level25"/></comp:listOfModelDefinitions>'
    )
    told = r"submodel 'top' comes to 67108863 models, since 'level0' holds .*, and 5000 is the most .*; take fewer$"
    with pytest.raises(SbmlError, match=told):
        read_sbml(document(SUBMODELS.format(submodel("top", "level0")), definitions))
