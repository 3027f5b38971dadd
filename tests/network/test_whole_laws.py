"""Laws with a difference against the master equation, which scipy solves here for reactions written out by hand.

Every case is held at one time by means and standard deviations within 4 standard errors, of 4,000 trajectories with a
fixed seed: some 50 comparisons, of which 0.003 would fail by chance with another seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import expm_multiply

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, UnsupportedError
from sbmlgrad.network.stochastic import chemistry_of

TRAJECTORIES = 4_000
END = 2.0
Jumps = Sequence[tuple[Sequence[int], Callable[..., float]]]  # changes and rates, the truth of a case

G = {"G": {"amount": 0}}
TWO = {"G": {"amount": 0}, "H": {"amount": 0}}
BINDING = {"S": {"amount": 6}, "C": {"amount": 0}, "P": {"amount": 0}}
RATES: dict[str, float | None] = {"kon": 0.4, "koff": 0.6, "N": 3.0}


def case(
    species: Mapping[str, Mapping[str, Any]],
    reactions: Mapping[str, tuple[str, str]],
    truth: Jumps,
    whole: Sequence[str] = (),
    split: Sequence[str] = (),
    parameters: Mapping[str, float | None] | None = None,
    **more: Any,
) -> dict[str, Any]:
    arguments = {"species": species, "reactions": reactions, "parameters": {**RATES, **(parameters or {})}, **more}
    return {"arguments": arguments, "truth": truth, "whole": whole, "split": split}


OFF = {"off": ("G ->", "koff*G")}
CASES = {
    "one promoter": case(
        G,
        {"on": ("-> G", "kon*(1 - G)"), **OFF},
        [((1,), lambda g: 0.4 * (1 - g)), ((-1,), lambda g: 0.6 * g)],
        whole=["on"],
    ),
    "several copies": case(
        G,
        {"on": ("-> G", "kon*(N - G)"), **OFF},
        [((1,), lambda g: 0.4 * (3 - g)), ((-1,), lambda g: 0.6 * g)],
        whole=["on"],
    ),
    "several copies, written out": case(
        G,
        {"on": ("-> G", "kon*N - kon*G"), **OFF},
        [((1,), lambda g: 0.4 * (3 - g)), ((-1,), lambda g: 0.6 * g)],
        whole=["on"],
    ),
    "a fraction of the copies": case(
        G,
        {"on": ("-> G", "kon*(1 - G/N)"), **OFF},
        [((1,), lambda g: 0.4 * (1 - g / 3)), ((-1,), lambda g: 0.6 * g)],
        whole=["on"],
    ),
    "pairs of what is left": case(
        G,
        {"on": ("-> G", "kon*(6 - 2*G)*(5 - 2*G)/2"), **OFF},
        [((1,), lambda g: 0.4 * (6 - 2 * g) * (5 - 2 * g) / 2), ((-1,), lambda g: 0.6 * g)],
        whole=["on"],
    ),
    "three of what is left": case(
        G,
        {"on": ("-> G", "kon*(N*3 - 3*G)*(8 - 3*G)*(7 - 3*G)/6"), **OFF},
        [((1,), lambda g: 0.4 * (9 - 3 * g) * (8 - 3 * g) * (7 - 3 * g) / 6), ((-1,), lambda g: 0.6 * g)],
        whole=["on"],
    ),
    "two states of one promoter": case(
        TWO,
        {"on": ("-> G", "kon*(1 - G - H)"), **OFF, "lock": ("-> H", "N*(1 - G - H)"), "free": ("H ->", "koff*H")},
        [
            ((1, 0), lambda g, h: 0.4 * (1 - g - h)),
            ((-1, 0), lambda g, h: 0.6 * g),
            ((0, 1), lambda g, h: 3 * (1 - g - h)),
            ((0, -1), lambda g, h: 0.6 * h),
        ],
        whole=["on", "lock"],
    ),
    "two promoters, one of which helps the other": case(
        TWO,
        {
            "on": ("-> G", "kon*(1 + H)*(1 - G)"),
            **OFF,
            "on2": ("-> H", "kon*(2 - H)/(1 + (G/0.5)^2)"),
            "off2": ("H ->", "koff*H"),
        },
        [
            ((1, 0), lambda g, h: 0.4 * (1 + h) * (1 - g)),
            ((-1, 0), lambda g, h: 0.6 * g),
            ((0, 1), lambda g, h: 0.4 * (2 - h) / (1 + (g / 0.5) ** 2)),
            ((0, -1), lambda g, h: 0.6 * h),
        ],
        whole=["on", "on2"],
    ),
    "an eliminated enzyme": case(
        BINDING,
        {"bind": ("S -> C", "kon*(N - C)*S"), "leave": ("C -> S", "koff*C"), "make": ("C -> P", "C")},
        [
            ((-1, 1, 0), lambda s, c, p: 0.4 * (3 - c) * s),
            ((1, -1, 0), lambda s, c, p: 0.6 * c),
            ((0, -1, 1), lambda s, c, p: c),
        ],
        whole=["bind"],
    ),
    "an eliminated enzyme, by a rule": case(
        BINDING,
        {"bind": ("S -> C", "kon*E*S - koff*C"), "make": ("C -> P", "C")},
        [
            ((-1, 1, 0), lambda s, c, p: 0.4 * (3 - c) * s),
            ((1, -1, 0), lambda s, c, p: 0.6 * c),
            ((0, -1, 1), lambda s, c, p: c),
        ],
        split=["bind"],
        parameters={"E": None},
        rules={"E": "N - C"},
    ),
    "an eliminated enzyme, bound reversibly": case(
        BINDING,
        {"bind": ("S -> C", "kon*(N - C)*S - koff*C"), "make": ("C -> P", "C")},
        [
            ((-1, 1, 0), lambda s, c, p: 0.4 * (3 - c) * s),
            ((1, -1, 0), lambda s, c, p: 0.6 * c),
            ((0, -1, 1), lambda s, c, p: c),
        ],
        split=["bind"],
    ),
    "channels that open by a Hill term of a ligand": case(
        {"L": {"amount": 2}, "O": {"amount": 0}},
        {
            "open": ("-> O", "N*L^2/(4 + L^2)*(5 - O)"),
            "close": ("O ->", "koff*O"),
            "come": ("-> L", "1"),
            "go": ("L ->", "koff*L"),
        },
        [
            ((0, 1), lambda x, o: 3 * x**2 / (4 + x**2) * (5 - o)),
            ((0, -1), lambda x, o: 0.6 * o),
            ((1, 0), lambda x, o: 1.0),
            ((-1, 0), lambda x, o: 0.6 * x),
        ],
        whole=["open"],
    ),
    "production that its product represses, but never below 0": case(
        G,
        {"make": ("<-> G", "N*(1 - G/(kon + G))"), **OFF},
        [((1,), lambda g: 3 * (1 - g / (0.4 + g))), ((-1,), lambda g: 0.6 * g)],
    ),
    "production that is repressed by a Hill term": case(
        G,
        {"make": ("-> G", "N - N*G^2/(koff^2 + G^2)"), **OFF},
        [((1,), lambda g: 3 * 0.36 / (0.36 + g**2)), ((-1,), lambda g: 0.6 * g)],
    ),
    "what is conserved, in steps that could jump over nothing": case(
        {"A": {"amount": 5}, "B": {"amount": 0}},
        {"there": ("A -> B", "kon*(5 - B)"), "back": ("B -> A", "koff*B")},
        [((-1, 1), lambda a, b: 0.4 * (5 - b)), ((1, -1), lambda a, b: 0.6 * b)],
        whole=["there"],
    ),
    "pairs, with room for two at a time": case(
        G,
        {"on": ("-> 2 G", "kon*(6 - G)"), "off": ("2 G ->", "koff*G*(G - 1)")},
        [((2,), lambda g: 0.4 * (6 - g)), ((-2,), lambda g: 0.6 * g * (g - 1))],
        whole=["on"],
    ),
    "concentrations": case(
        {"G": {"concentration": 0, "only": False}},
        {"on": ("-> G", "cell*kon*(T - G)"), "off": ("G ->", "cell*koff*G")},
        [((1,), lambda g: 0.4 * (3 - g)), ((-1,), lambda g: 0.6 * g)],
        whole=["on"],
        parameters={"T": 3 / 0.7},
        compartments={"cell": 0.7},
    ),
    "two rates": case(
        G,
        {"net": ("-> G", "N - koff*G")},
        [((1,), lambda g: 3.0), ((-1,), lambda g: 0.6 * g)],
        split=["net"],
    ),
    "room that is not whole": case(
        G,
        {"net": ("-> G", "kon*(2.5 - G)")},
        [((1,), lambda g: 1.0), ((-1,), lambda g: 0.4 * g)],
        split=["net"],
    ),
    "mass action in both directions": case(
        {"A": {"amount": 5}, "B": {"amount": 0}},
        {"net": ("A -> B", "kon*A - koff*B")},
        [((-1, 1), lambda a, b: 0.4 * a), ((1, -1), lambda a, b: 0.6 * b)],
        split=["net"],
    ),
    "saturation in both directions": case(
        {"A": {"amount": 5}, "B": {"amount": 0}},
        {"net": ("A -> B", "N*(A - B/2)/(1 + A + B)")},
        [((-1, 1), lambda a, b: 3 * a / (1 + a + b)), ((1, -1), lambda a, b: 1.5 * b / (1 + a + b))],
        split=["net"],
    ),
}


LEVEL_2 = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="m">
<listOfUnitDefinitions><unitDefinition id="substance"><listOfUnits><unit kind="item"/></listOfUnits></unitDefinition>
</listOfUnitDefinitions>
<listOfCompartments><compartment id="cell" size="1"/></listOfCompartments>
<listOfSpecies><species id="G" compartment="cell" initialAmount="0" hasOnlySubstanceUnits="true"/></listOfSpecies>
<listOfParameters><parameter id="kon" value="0.4"/><parameter id="koff" value="0.6"/></listOfParameters>
<listOfReactions><reaction id="on"><listOfProducts><speciesReference species="G"/></listOfProducts>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>kon</ci>
<apply><minus/><cn>1</cn><ci>G</ci></apply></apply></math></kineticLaw></reaction>
<reaction id="off"><listOfReactants><speciesReference species="G"/></listOfReactants>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>koff</ci><ci>G</ci></apply></math>
</kineticLaw></reaction></listOfReactions></model></sbml>"""


def assert_agrees(read: sg.Model, truth: Jumps, parameters: Mapping[str, float] | None = None) -> None:
    """Means and standard deviations of the first species at the end, within 4 standard errors of the exact ones."""
    actual = sg.simulate(read, [0.0, END], n=TRAJECTORIES, seed=26, parameters=parameters)
    species = chemistry_of(read).state
    start = [round(actual.mean[name].iloc[0]) for name in species]
    values, chance = distribution(truth, start, largest=40)
    mean = chance @ values
    second, fourth = (chance @ (values - mean) ** power for power in (2, 4))
    sd = np.sqrt(second)
    for i, name in enumerate(species):
        assert abs(actual.mean[name].iloc[-1] - mean[i]) < 4 * sd[i] / np.sqrt(TRAJECTORIES), name
        error = np.sqrt((fourth[i] - second[i] ** 2) / TRAJECTORIES) / (2 * sd[i])
        assert abs(actual.sd[name].iloc[-1] - sd[i]) < 4 * error + 1e-12, name


def distribution(truth: Jumps, start: Sequence[int], largest: int) -> tuple[np.ndarray, np.ndarray]:
    """States and their probabilities at the end, from the master equation over what is reached up to ``largest``."""
    states, indices = [tuple(start)], {tuple(start): 0}
    entries: list[tuple[int, int, float]] = []
    for index, state in enumerate(states):  # grows as new ones are found
        for change, rate in truth:
            after = tuple(x + dx for x, dx in zip(state, change, strict=True))
            if rate(*state) == 0 or max(after) > largest:
                continue
            assert rate(*state) > 0
            assert min(after) >= 0
            if after not in indices:
                indices[after] = len(states)
                states.append(after)
            entries += [(indices[after], index, rate(*state)), (index, index, -rate(*state))]
    rows, columns, values = zip(*entries, strict=True)
    generator = csr_array((values, (rows, columns)), shape=(len(states), len(states)))
    return np.array(states), expm_multiply(generator * END, np.eye(len(states))[0])


@pytest.mark.parametrize("name", CASES)
def test_laws_agree_with_the_master_equation(model: Callable[..., sg.Model], name: str) -> None:
    system = CASES[name]
    read = model(**system["arguments"])
    differences = chemistry_of(read).differences
    assert [r for r, d in differences.items() if not d.split] == list(system["whole"])
    assert [r for r, d in differences.items() if d.split] == list(system["split"])
    assert all(difference.sure for difference in differences.values())
    assert_agrees(read, system["truth"])


def test_level_2_without_the_attribute() -> None:
    read = sg.read_sbml(LEVEL_2)
    assert read.elements.reactions["on"].reversible
    assert not chemistry_of(read).differences["on"].split
    assert_agrees(read, CASES["one promoter"]["truth"])


def test_events_elsewhere_leave_a_law_whole(model: Callable[..., sg.Model]) -> None:
    """The engine that knows events runs the same channels."""
    kick = {"kick": {"trigger": "time > 1", "set": {"unused": "1"}}}
    read = model(G, {"on": ("-> G", "kon*(N - G)"), **OFF}, {**RATES, "unused": 0}, events=kick)
    assert not chemistry_of(read).differences["on"].split
    assert_agrees(read, CASES["several copies"]["truth"])


@pytest.mark.parametrize("arrow", ["->", "<->"])
def test_a_law_whose_room_events_move_stays_whole(model: Callable[..., sg.Model], arrow: str) -> None:
    """Half way, copies are lost and there are more of them; where there are too few, the run ends by name."""
    reactions = {"on": (f"{arrow} G", "kon*(N - G)"), **OFF}
    lose = {"lose": {"trigger": "time >= 1", "set": {"G": "0", "N": "5"}}}
    read = model(G, reactions, RATES, events=lose)
    actual = chemistry_of(read).differences["on"]
    assert (actual.split, actual.sure, actual.why) == (False, False, "an event or a random number sets G, N")
    simulation = sg.simulate(read, [END], n=TRAJECTORIES, seed=26)
    chance = 0.4 * (1 - np.exp(-1.0))  # 5 copies are on or off after 1
    variance = 5 * chance * (1 - chance)
    assert abs(simulation.mean["G"].iloc[0] - 5 * chance) < 4 * np.sqrt(variance / TRAJECTORIES)
    assert simulation.sd["G"].iloc[0] ** 2 / variance == pytest.approx(1, abs=4 * np.sqrt(2 / TRAJECTORIES))
    too_few = model(G, reactions, RATES, events={"fewer": {"trigger": "time >= 1", "set": {"N": "0"}}})
    with pytest.raises(PropensityError, match="reaction 'on': its propensity is -"):
        sg.simulate(too_few, [END], n=100, seed=26)


def test_a_fractional_start_is_a_whole_one_in_each_trajectory(model: Callable[..., sg.Model]) -> None:
    read = model({"G": {"amount": 0.5}}, {"on": ("<-> G", "kon*(1 - G)"), **OFF}, RATES)
    assert not chemistry_of(read).differences["on"].split
    with pytest.warns(sg.SbmlgradWarning, match="'G' starts from a number of molecules that is not whole"):
        counts = sg.simulate(read, [0.0, END], n=TRAJECTORIES, seed=26).counts
    assert counts.max() == 1
    chance = 0.5 * np.exp(-END) + 0.4 * (1 - np.exp(-END))
    assert abs(counts[:, 1, 0].mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / TRAJECTORIES)


@pytest.mark.parametrize("estimator", ["auto", "score", "exact", "coupled_fd"])
def test_the_total_at_which_a_law_stops_has_no_derivative(model: Callable[..., sg.Model], estimator: str) -> None:
    read = model(G, {"on": ("-> G", "kon*(N - G)"), **OFF}, RATES)
    with pytest.raises(UnsupportedError, match="'N' decides at how many molecules reaction 'on' stops"):
        sg.sensitivity(read, [END], ["N"], n=100, estimator=estimator)
    assert len(sg.sensitivity(read, [END], ["kon"], n=100, estimator=estimator)) == 1


@pytest.mark.parametrize("other", [5.0, 0.0, 2.5])
def test_another_total_is_decided_anew(model: Callable[..., sg.Model], other: float) -> None:
    read = model(G, {"on": ("-> G", "kon*(N - G)"), **OFF}, RATES)
    truth = [((1,), lambda g: 0.4 * (5 - g)), ((-1,), lambda g: 0.6 * g)]
    if other == 0:
        read, other = read.with_parameters({"N": 0.0}), 5.0
    if other == 2.5:
        assert chemistry_of(read.with_parameters({"N": other})).differences["on"].split
        truth = [((1,), lambda g: 1.0), ((-1,), lambda g: g)]
    assert_agrees(read, truth, {"N": other})


@pytest.mark.parametrize("engine", ["counts", "events"])
def test_another_start_is_decided_anew(model: Callable[..., sg.Model], engine: str) -> None:
    """Of more copies than there is room for, as the model with that start says: copies are born and die."""
    kick = {"kick": {"trigger": "time > 1", "set": {"unused": "1"}}} if engine == "events" else {}
    read = model(G, {"on": ("-> G", "kon*(N - G)"), **OFF}, {**RATES, "unused": 0}, events=kick)
    assert not chemistry_of(read).differences["on"].split
    mean = 1.2 + (5 - 1.2) * np.exp(-END)  # 1.2 are born in a time, and each dies at the rate 1
    variance = 5 * np.exp(-END) * (1 - np.exp(-END)) + 1.2 * (1 - np.exp(-END))
    simulation = sg.simulate(read, [END], n=TRAJECTORIES, seed=26, parameters={"G": 5.0})
    assert abs(simulation.mean["G"].iloc[0] - mean) < 4 * np.sqrt(variance / TRAJECTORIES)
    assert simulation.sd["G"].iloc[0] ** 2 / variance == pytest.approx(1, abs=4 * np.sqrt(2.5 / TRAJECTORIES))
