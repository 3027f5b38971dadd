"""What ``info`` finds in a model: the models that ship with the project, with single things changed."""

import json
import math
import re
from pathlib import Path

import pytest

from sbmlgrad.errors import SbmlError
from sbmlgrad.info import Info, as_text, describe

MINUS_ONE = re.compile(r"<apply>\s*<minus/>\s*<ci> A </ci>\s*<cn [^>]*> 1 </cn>\s*</apply>")
EVENT = """<listOfEvents><event id="kick" useValuesFromTriggerTime="true">
<trigger initialValue="true" persistent="true"><math xmlns="http://www.w3.org/1998/Math/MathML">
<apply><gt/><ci>X</ci><cn>3</cn></apply></math></trigger></event></listOfEvents></model>"""


@pytest.fixture
def birth_death(models_dir: Path) -> str:
    return (models_dir / "birth_death" / "model.xml").read_text(encoding="utf-8")


@pytest.fixture
def dimerisation(models_dir: Path) -> str:
    return (models_dir / "dimerisation" / "model.xml").read_text(encoding="utf-8")


def changed(text: str, old: str | re.Pattern[str], new: str) -> Info:
    """Describe the text with ``old`` replaced once."""
    pattern = re.compile(re.escape(old)) if isinstance(old, str) else old
    text, number = pattern.subn(lambda _: new, text, count=1)
    assert number == 1
    return describe(text)


def test_the_text_says_what_is_there(models_dir: Path) -> None:
    path = models_dir / "birth_death" / "model.xml"
    assert as_text(describe(path)).splitlines() == [
        f"Birth and death of one molecular species ({path})",
        "SBML Level 3 Version 1: compartments 1, species 1, parameters 2, reactions 2",
        "exact simulation (--method ssa): yes, about 10 events per second at the start",
        "  about 2e+03 reactions fire in a trajectory to time 100",
        "rate equations (--method ode): yes",
        "initial molecules: 0 to 0 of a species",
        "can be set (--set) or fitted (-p):",
        "  k     10",
        "  g     1",
        "  cell  1",
        "  X     0",
        "observables, [id] for concentrations: X",
    ]


def test_json_holds_the_same(dimerisation: str) -> None:
    said = describe(dimerisation).as_json()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["exact"] is True
    assert said["molecules"] == [0, 100]
    assert said["events"] == pytest.approx(0.001 * 100 * 99)
    assert said["quantities"]["c2"] == 0.1
    assert said["observables"] == ["A", "D"]
    assert Info("m.xml", events=math.nan).as_json()["events"] is None


def test_what_is_hopeless_is_said_with_the_time_and_the_remedy(models_dir: Path) -> None:
    info = describe(models_dir / "birth_death" / "model.xml", molecules_per_unit=1e9, end=20.0)
    assert info.ahead is not None
    assert info.ahead.firings == pytest.approx(1e9 * (2 * 10 * 20 - 10), rel=0.02)
    lines = as_text(info).splitlines()
    assert lines[3] == "  about 3.9e+11 reactions fire in a trajectory to time 20"
    assert lines[4].startswith("  that is more than the 1e+08 allowed, which have fired by time 0.00")
    assert lines[4].endswith("(--end) or read fewer molecules in a unit (--molecules-per-unit)")
    assert info.as_json()["ahead"]["limit_at"] == pytest.approx(0.01, rel=0.05)


def test_what_is_not_sbml_is_an_error() -> None:
    with pytest.raises(SbmlError):
        describe("<html/>")


def test_what_is_valid_but_not_supported_is_an_answer(birth_death: str) -> None:
    info = changed(birth_death, 'name="loss" reversible="false" fast="false"', 'reversible="false" fast="true"')
    assert not info.exact
    assert not info.ode
    reason = "reaction 'death' is fast (equilibria are not computed; give it a finite rate)"
    assert info.reasons == info.ode_reasons == (reason,)
    lines = as_text(info).splitlines()
    assert lines[2:6] == [
        "exact simulation (--method ssa): no",
        f"  {reason}",
        "rate equations (--method ode): no",
        "  for the same reasons",
    ]
    assert lines[6].startswith("remedy: ")


def test_what_moves_beside_reactions_is_said(birth_death: str) -> None:
    info = changed(birth_death, "</model>", EVENT)
    assert info.exact
    assert info.ode
    assert info.events == 10
    assert info.quantities == {"k": 10, "g": 1, "cell": 1, "X": 0}
    assert "changed by 1 event too\n" in as_text(info)


def test_what_cannot_be_simulated_exactly_is_an_answer(birth_death: str) -> None:
    info = changed(birth_death, 'initialAmount="0"', 'initialAmount="1e13"')
    assert not info.exact
    assert info.numbers["reactions"] == 2
    assert "  species 'X': starts with 1e+13 molecules" in as_text(info)
    still = changed(birth_death, re.compile("<listOfReactions>.*</listOfReactions>", re.DOTALL), "")
    assert still.reasons == ("no reaction changes anything, so there is nothing to simulate",)


def test_molecules_per_unit_is_for_the_user_to_say(birth_death: str) -> None:
    text = birth_death.replace('initialAmount="0"', 'initialAmount="0.5"')
    assert describe(text, molecules_per_unit=20).molecules == (10, 10)


def test_a_law_for_large_numbers_is_pointed_at(dimerisation: str) -> None:
    assert describe(dimerisation).warnings == ()  # A*(A - 1)
    (warning,) = changed(dimerisation, MINUS_ONE, "<ci> A </ci>").warnings
    assert warning.startswith("reaction 'dimerise': takes 2 of 'A' by a law for large numbers, such as k*A*A")
    assert "write k*A*(A - 1), with A in molecules" in warning


def test_initial_numbers_that_are_not_whole_are_pointed_at(birth_death: str) -> None:
    (warning,) = changed(birth_death, 'initialAmount="0"', 'initialAmount="10.4"').warnings
    assert warning.startswith("'X' (10.4): the initial number of molecules is not whole")
    assert changed(birth_death, 'initialAmount="0"', 'initialAmount="100000.4"').warnings == ()


def test_net_laws_are_split_or_pointed_at(birth_death: str) -> None:
    net = "<apply><minus/><ci> k </ci><apply><times/><ci> g </ci><ci> {} </ci></apply></apply>"
    split = changed(birth_death, "<ci> k </ci>", net.format("X"))
    assert split.split == ("birth",)
    (warning,) = split.warnings
    assert warning.startswith("reaction 'birth': is declared irreversible, but its law can turn negative")
    assert "run as two reactions, one a direction: birth\n  birth: a difference of two rates\n" in as_text(split)
    reversible = birth_death.replace('reversible="false"', 'reversible="true"')
    assert changed(reversible, "<ci> k </ci>", net.format("X")).warnings == ()
    (warning,) = changed(birth_death, "<ci> k </ci>", net.format("cell")).warnings
    assert warning.startswith("reaction 'birth': its law is a difference that is not split")


def test_laws_that_stop_at_nothing_left_are_said_to_be_one(birth_death: str) -> None:
    room = "<apply><times/><ci> k </ci><apply><minus/><cn type='integer'> 3 </cn><ci> X </ci></apply></apply>"
    info = changed(birth_death, "<ci> k </ci>", room)
    assert (info.split, info.whole, info.warnings) == ((), ("birth",), ())
    assert info.as_json()["why"] == {"birth": "the room for X never falls below 0"}
    text = as_text(info)
    assert "one reaction though the law is a difference: birth\n  birth: the room for X never falls below 0\n" in text


def test_a_law_that_takes_a_thousand_million_molecules_is_not_written_out(dimerisation: str) -> None:
    dimerisation = dimerisation.replace('stoichiometry="2"', 'stoichiometry="1000000000"')
    info = changed(dimerisation, MINUS_ONE, "<ci> A </ci>")
    (said,) = (warning for warning in info.warnings if "by a law for large numbers" in warning)
    assert "takes 1000000000 of 'A'" in said
    assert "k*A*(A - 1)*(A - 2)*(A - 3)*(A - 4)*(A - 5)*..., with A in molecules" in said
