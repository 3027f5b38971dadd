"""Room that is left, as ``N - X``: when it is shown that it never falls below 0, and what follows where it is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import PropensityError
from sbmlgrad.network import discretise
from sbmlgrad.network.channels import Difference
from sbmlgrad.network.stochastic import chemistry_of
from sbmlgrad.simulation.prepare import discretised

G = {"G": {"amount": 0}}
RATES = {"k": 0.4, "N": 3.0, "M": 2.0}
OFF = ("G ->", "k*G")

HOLDS = {
    "k*(N - G)": G,
    "k*(5 - 2*G - H)": {"G": {"amount": 0}, "H": {"amount": 5}},  # H is not changed, only a constant here
    "-k*(G - N)": G,
    "(N - G)/(k + G)": G,
    "k*(N - G)/(M + N - G)": G,  # M and what never falls below 0
    "k*(N - G)*(M + N - G)^2": G,
    "k*(N - G)*exp(-G)": G,
    "N - G": G,
}
MOVES = "an event or a random number sets"
FAILS = {
    "k*(2.5 - G)": "no whole number of steps",
    "k*(N - G) + 1": "does not stop when none is left",
}


def on(model: Callable[..., sg.Model], law: str, species: Any = None, equation: str = "-> G", **more: Any) -> sg.Model:
    """A model with a reaction of this law, and one back."""
    reactions = {"on": (equation, law), "off": OFF, **more.pop("reactions", {})}
    return model(species or G, reactions, {**RATES, **more.pop("parameters", {})}, **more)


def difference(read: sg.Model) -> Difference:
    return chemistry_of(read).differences["on"]


@pytest.mark.parametrize("law", HOLDS)
def test_laws_that_reach_0_in_whole_steps_are_one(model: Callable[..., sg.Model], law: str) -> None:
    read = on(model, law, HOLDS[law])
    assert (difference(read).split, difference(read).sure) == (False, True)
    assert chemistry_of(read).warnings == []


@pytest.mark.parametrize("law", FAILS)
def test_laws_that_might_not_are_looked_at_as_before(model: Callable[..., sg.Model], law: str) -> None:
    read = on(model, law)
    assert FAILS[law] in difference(read).why
    assert difference(read).split
    (warning,) = chemistry_of(read).warnings
    assert warning.startswith("reaction 'on': is declared irreversible, but its law can turn negative")


@pytest.mark.parametrize("law", ["N - k*G", "k*N - M*G", "5 - 0.1*G"])
def test_two_rates_are_no_room(model: Callable[..., sg.Model], law: str) -> None:
    assert difference(on(model, law)) == Difference(True, True, "a difference of two rates")


def test_room_that_is_jumped_over_does_not_hold(model: Callable[..., sg.Model]) -> None:
    assert "jumped over" in difference(on(model, "k*(4 - G)", equation="-> 2 G")).why
    pairs = {"off": ("2 G ->", "k*G*(G - 1)")}
    assert difference(on(model, "k*(4 - G)", equation="-> 2 G", reactions=pairs)).sure
    assert difference(on(model, "k*(5 - G)", equation="-> 2 G", reactions=pairs)).split


def test_what_is_negative_only_where_another_factor_is_0_holds(model: Callable[..., sg.Model]) -> None:
    """With 6 and steps of 2, 5 - 2 G is -1 only where nothing is left of 6."""
    assert difference(on(model, "k*(6 - 2*G)*(5 - 2*G)")).sure
    assert difference(on(model, "k*(6 - 2*G)*(3 - 2*G)")).split  # at 4 of 6
    assert difference(on(model, "k*(6 - 2*G)*(5 - 2*G)", {"G": {"amount": 0.5}})).split
    assert difference(on(model, "k*(6 - 2*G) + k*(5 - 2*G)")).split


def test_room_that_others_take_does_not_hold(model: Callable[..., sg.Model]) -> None:
    assert difference(on(model, "k*(N - G)", reactions={"leak": ("-> G", "k")})).split
    # less of it is left in the other law, which stops first
    assert difference(on(model, "k*(N - G)", reactions={"less": ("-> G", "k*(M - G)")})).sure
    assert difference(on(model, "k*(2 - G)", reactions={"more": ("-> G", "k*(N - G)")})).split


def test_what_is_conserved_holds_without_a_look_at_laws(model: Callable[..., sg.Model]) -> None:
    pair = {"A": {"amount": 3}, "G": {"amount": 0}, "P": {"amount": 0}}
    swap = {"off": ("G -> A", "k*G"), "swap": ("A -> G", "k*A")}
    assert difference(on(model, "k*(N - G)", pair, "-> P", reactions=swap)).sure
    assert not difference(on(model, "k*(2 - G)", pair, "-> P", reactions=swap)).sure  # A and G are 3
    leaky = {**swap, "leak": ("-> A", "k")}
    assert not difference(on(model, "k*(N - G)", pair, "-> P", reactions=leaky)).sure


def test_what_events_or_time_move_is_not_shown(model: Callable[..., sg.Model]) -> None:
    kick = {"kick": {"trigger": "time > 1", "set": {"G": "7"}}}
    assert difference(on(model, "k*(N - G)", events=kick)) == Difference(False, False, f"{MOVES} G")
    kick = {"kick": {"trigger": "time > 1", "set": {"N": "1"}}}
    assert difference(on(model, "k*(N - G)", events=kick)) == Difference(False, False, f"{MOVES} N")
    assert difference(on(model, "k*(N - G)", rates={"N": "-1"})).split


def test_a_fraction_of_a_molecule_at_the_start_is_not_shown(model: Callable[..., sg.Model]) -> None:
    assert "no whole number of steps" in difference(on(model, "k*(3.5 - G)", {"G": {"amount": 0.5}})).why
    assert not difference(on(model, "k*(3 - G)", {"G": {"amount": 2.5}})).split
    assert "negative at the start" in difference(on(model, "k*(3 - G)", {"G": {"amount": 3.5}})).why
    assert "negative at the start" in difference(on(model, "k*(N - G)", {"G": {"amount": 4}})).why


def test_rounding_is_nothing_left(model: Callable[..., sg.Model]) -> None:
    """0.3 - 3*0.1 is not 0 in binary numbers, but there is no room for a fourth molecule."""
    read = on(
        model,
        "k*10*(T - G)",
        {"G": {"concentration": 0, "only": False}},
        parameters={"T": 0.3},
        compartments={"cell": 10.0},
        reactions={"off": ("G ->", "0.01*G")},
    )
    assert difference(read).sure
    actual = sg.simulate(read, [0, 50], n=200, seed=1)
    assert actual.mean["G"].iloc[-1] <= 3


def test_what_runs_as_two_against_the_document_is_said_once(text: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "net.xml"
    path.write_text(text(G, {"on": ("-> G", "N - k*G")}, RATES), encoding="utf-8")
    said = f"{path}: reaction 'on': is declared irreversible"
    with pytest.warns(sg.SbmlgradWarning, match=re.escape(said)) as seen:
        sg.simulate(sg.read_sbml(path), [0, 1], n=2)
    assert len(seen) == 1
    arguments = ["simulate", str(path), "-n", "2", "--end", "1", "--points", "2"]
    assert CliRunner().invoke(main, [*arguments, "--set", "k=0.3"]).stderr.count(said) == 1
    assert said not in CliRunner().invoke(main, [*arguments, "--method", "ode"]).stderr


def test_a_total_that_is_fitted_is_checked(model: Callable[..., sg.Model]) -> None:
    """The decision was for 3 copies: at 2.5 the law turns negative and ends the run by name."""
    discrete = discretise(on(model, "k*(N - G)"))
    assert not discrete.network.nonnegative
    assert "N" in discrete.structural
    assert "N" not in discrete.stoichiometric
    _, coefficients = discrete.start(tuple({**discrete.quantities, "N": 2.5}.values()))
    other = {name: float(v) for name, v in zip(discrete.network.parameters, coefficients, strict=True)}
    with pytest.raises(PropensityError, match="'on'"):
        sg.simulate(discrete.network, [0, 50], n=100, seed=1, parameters=other)


def test_mass_action_is_not_checked(model: Callable[..., sg.Model]) -> None:
    assert discretised(on(model, "k*N")).network.nonnegative
