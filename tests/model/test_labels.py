"""What pictures call things."""

from __future__ import annotations

from dataclasses import replace

from sbmlgrad.model.labels import Labels, labels_of


def test_names_and_units_are_those_of_the_document(model) -> None:
    species, reactions = {"A": {"amount": 3}, "B": {"amount": 1}}, {"r": ("A -> B", "k * A")}
    elements = model(species, reactions, {"k": 1.0, "x": None}, rules={"x": "k - A"}).elements
    named = {**elements.species, "A": replace(elements.species["A"], name="active")}
    volume = {"cell": replace(elements.compartments["cell"], units="litre")}
    labels = labels_of(
        replace(elements, species=named, compartments=volume, time_units="hour", name="m"), ["A", "[A]", "B", "x"]
    )
    assert (labels.title, labels.time) == ("m", "time (hour)")
    assert [labels.name(column) for column in ("A", "[A]", "B")] == ["active (A)", "active ([A])", "B"]
    assert labels.quantity("A") == "molecules"
    assert labels.quantity("[A]") == "concentration (item/litre)"
    assert labels.signed == {"x"}


def test_seconds_are_counted_as_people_do(model) -> None:
    elements = model({"A": {"amount": 3}}).elements
    assert labels_of(replace(elements, time_units="3600 second"), ["A"]).time == "time (hour)"
    assert labels_of(replace(elements, time_units="7 second"), ["A"]).time == "time (7 second)"
    assert labels_of(replace(elements, time_units="dimensionless"), ["A"]).time == "time"


def test_names_that_two_share_tell_nothing(model) -> None:
    elements = model({"A": {"amount": 3}, "B": {"amount": 1}}, {"r": ("A -> B", "k * A")}, {"k": 1.0}).elements
    named = {identifier: replace(item, name="protein") for identifier, item in elements.species.items()}
    assert labels_of(replace(elements, species=named), ["A", "B"]).names == {}


def test_without_a_document_columns_are_called_by_their_names() -> None:
    assert (Labels().name("A"), Labels().quantity("A"), Labels().time) == ("A", "value", "time")
