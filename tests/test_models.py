"""The models that ship with the project are valid SBML, in molecules, with their source and a command."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import libsbml
import pytest

MODELS = Path(__file__).resolve().parent.parent / "models"
FOLDERS = sorted(path for path in MODELS.iterdir() if path.is_dir())
EXPECTED = {
    "birth_death",
    "dimerisation",
    "dusp1",
    "lotka_volterra",
    "michaelis_menten",
    "repressilator",
    "schlogl",
    "sir_influenza",
    "stl1_osmotic",
    "telegraph",
    "toggle_switch",
    "vilar_oscillator",
}


@pytest.fixture(params=FOLDERS, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def document(folder: Path) -> libsbml.SBMLDocument:
    """The document itself, because libsbml's models die with the document that holds them."""
    return libsbml.readSBMLFromFile(str(folder / "model.xml"))


@pytest.fixture
def readme(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def test_every_model_is_there() -> None:
    assert {folder.name for folder in FOLDERS} >= EXPECTED


def test_folder_has_model_and_readme(folder: Path) -> None:
    assert (folder / "model.xml").is_file()
    assert (folder / "README.md").is_file()


def test_libsbml_finds_nothing_to_complain_about(document: libsbml.SBMLDocument) -> None:
    """All categories of libsbml's checks, units included, give neither errors nor warnings."""
    document.checkConsistency()
    assert [document.getError(i).getMessage() for i in range(document.getNumErrors())] == []


def test_no_reaction_is_reversible(document: libsbml.SBMLDocument) -> None:
    """A net law of both directions would understate noise; the models write two reactions."""
    assert not [r.getId() for r in document.getModel().getListOfReactions() if r.getReversible()]


def test_species_are_counts_of_molecules(document: libsbml.SBMLDocument) -> None:
    for species in document.getModel().getListOfSpecies():
        assert species.getSubstanceUnits() == "item", species.getId()
        assert species.getHasOnlySubstanceUnits(), species.getId()
        assert species.getInitialAmount().is_integer(), species.getId()


def test_every_parameter_has_value_and_unit(document: libsbml.SBMLDocument) -> None:
    for parameter in document.getModel().getListOfParameters():
        assert parameter.isSetValue(), parameter.getId()
        assert parameter.isSetUnits(), parameter.getId()


def test_readme_names_source_and_command(folder: Path, readme: str) -> None:
    source = re.search(r"^\*\*Source\.\*\*.*?\n\n", readme, re.DOTALL | re.MULTILINE)
    assert source, "no source"
    assert re.search(r"\b(19|20)\d\d\b", source.group()), "no year in the source"
    assert re.search(rf"^sbmlgrad \w+ models/{folder.name}/model\.xml ", readme, re.MULTILINE), "no command"
    assert "--end" in readme
    assert "--points" in readme


def test_readme_names_every_reaction_and_parameter(document: libsbml.SBMLDocument, readme: str) -> None:
    model = document.getModel()
    # In the repressilator's table `g` stands for any of its three genes.
    reactions = {re.sub(r"_(lacI|tetR|cI)$", "_g", r.getId()) for r in model.getListOfReactions()}
    assert {name for name in reactions if f"`{name}`" not in readme} == set()
    parameters = {parameter.getId() for parameter in model.getListOfParameters()}
    assert {name for name in parameters if not re.search(rf"\b{name}\b", readme)} == set()


def test_influenza_data_are_the_fourteen_published_counts() -> None:
    with (MODELS / "sir_influenza" / "data.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["time", "I"]
    boys_in_bed = [3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4]
    assert [(int(time), int(count)) for time, count in rows] == list(enumerate(boys_in_bed))


def test_influenza_starts_from_the_first_count_in_a_school_of_763() -> None:
    document = libsbml.readSBMLFromFile(str(MODELS / "sir_influenza" / "model.xml"))
    model = document.getModel()
    assert model.getSpecies("I").getInitialAmount() == 3
    everyone = sum(species.getInitialAmount() for species in model.getListOfSpecies())
    assert everyone == model.getParameter("N").getValue() == 763
