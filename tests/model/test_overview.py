"""Models as tables, in one line and as a page."""

from __future__ import annotations

import math

import pytest

import sbmlgrad as sg


@pytest.fixture
def enzyme(text) -> sg.Model:
    return sg.read_sbml(
        text(
            {"S": {"concentration": 4, "only": False}, "P": {"amount": 0}, "E": {"amount": 1}},
            {"bind": ("2 S + E <-> P", "kf * S"), "leave": ("P ->", "k * P")},
            {"kf": 2.0, "v": None},
            {"cell": 3.0},
            rules={"v": "2 * kf"},
            local={"leave": {"k": 0.5}},
        )
    )


def test_species_have_amounts_and_concentrations(enzyme: sg.Model) -> None:
    table = enzyme.species
    assert list(table.index) == ["S", "P", "E"]
    assert table.loc["S", ["amount", "concentration", "compartment"]].tolist() == [12, 4, "cell"]
    assert table.loc["E", "concentration"] == pytest.approx(1 / 3)
    assert enzyme.with_parameters({"S": 6}).species.loc["S", "concentration"] == 2


def test_reactions_have_equations_and_laws(enzyme: sg.Model) -> None:
    table = enzyme.reactions
    assert table["equation"].tolist() == ["2 S + E <-> P", "P ->"]
    assert table["kinetic_law"].tolist() == ["S*kf", "P*leave.k"]
    assert table["reversible"].tolist() == [True, False]


def test_parameters_have_values_and_say_what_sets_them(enzyme: sg.Model) -> None:
    table = enzyme.parameters
    assert table["value"].to_dict() == {"kf": 2, "v": 4, "leave.k": 0.5}
    assert table["set_by"].to_dict() == {"kf": "", "v": "assignment rule", "leave.k": ""}


def test_a_species_without_a_value_is_no_obstacle(model) -> None:
    table = model({"A": {}}, {"r": ("A ->", "k * A")}, {"k": 1.0}).species
    assert math.isnan(table.loc["A", "amount"])


def test_a_model_shows_itself(enzyme: sg.Model, text) -> None:
    assert repr(enzyme) == "<Model '' (<text>): 3 species, 2 reactions, 2 parameters>"
    assert repr(enzyme.with_parameters({"kf": 1})).endswith("; 1 values changed>")
    page = enzyme._repr_html_()
    assert page.count("<table>") == 3
    assert "&lt;text&gt;" in page
    hostile = text({"A": {"amount": 1}}, {"r": ("A ->", "k * A")}, {"k": 1.0})
    named = hostile.replace('<species id="A"', '<species id="A" name="&lt;script&gt;"')
    assert named != hostile
    assert "<script>" not in sg.read_sbml(named)._repr_html_()
