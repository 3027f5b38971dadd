"""A model as jumps of molecules: what its amounts, concentrations and units mean is what the model itself computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SbmlgradError, UnknownIdError, UnsupportedError
from sbmlgrad.model.elements import AVOGADRO
from sbmlgrad.network import DiscreteModel, discretise

Make = Callable[..., sg.Model]
REVERSE = " (reverse)"


def rates_at(discrete: DiscreteModel, counts: Mapping[str, float] | None = None, **changes: float) -> dict[str, float]:
    """Propensities by channel at these counts (the initial ones by default), with changed quantities."""
    start, coefficients = discrete.start(tuple({**discrete.quantities, **changes}.values()))
    state = dict(zip(discrete.network.species, start, strict=True)) | dict(counts or {})
    values = discrete.network.rates(tuple(jnp.float64(v) for v in state.values()), coefficients)
    return {name: float(v) for name, v in zip(discrete.network.reactions, values, strict=True)}


def observed(discrete: DiscreteModel, counts: Mapping[str, float] | None = None) -> dict[str, float]:
    start, coefficients = discrete.start(tuple(discrete.quantities.values()))
    state = dict(zip(discrete.network.species, start, strict=True)) | dict(counts or {})
    values = discrete.observe(tuple(jnp.float64(v) for v in state.values()), coefficients)
    return {name: float(v) for name, v in zip(discrete.observables, values, strict=True)}


def jumps(discrete: DiscreteModel) -> dict[str, dict[str, int]]:
    return {channel.name: dict(channel.jumps) for channel in discrete.channels}


CHAIN = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model>
<listOfCompartments><compartment id="c" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies><species id="X" compartment="c" initialAmount="10" hasOnlySubstanceUnits="true"
boundaryCondition="false" constant="false"/></listOfSpecies>
<listOfParameters>{parameters}</listOfParameters>{assignments}
<listOfReactions><reaction id="r" reversible="false">
<listOfProducts><speciesReference species="X" stoichiometry="1" constant="true"/></listOfProducts>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>{last}</ci></math></kineticLaw>
</reaction></listOfReactions></model></sbml>"""


# ---- amounts, concentrations, molecules ----------------------------------------------------------------


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize("given", ["amount", "concentration"])
def test_a_symbol_is_an_amount_or_a_concentration(model: Make, only: bool, given: str) -> None:
    """12 molecules in a volume of 4, with the law k*A*cell in extent per time."""
    discrete = discretise(
        model(
            {"A": {given: {"amount": 12.0, "concentration": 3.0}[given], "only": only}},
            {"decay": ("A -> ", "k*A*cell")},
            {"k": 0.5},
            {"cell": 4.0},
        ),
        ["A", "[A]"],
    )
    assert discrete.network.x0.tolist() == [12.0]
    assert rates_at(discrete) == {"decay": 0.5 * (12 if only else 3) * 4}
    assert rates_at(discrete, {"A": 8.0}) == {"decay": 0.5 * (8 if only else 2) * 4}
    assert observed(discrete, {"A": 8.0}) == {"A": 8.0, "[A]": 2.0}
    assert list(discrete.quantities) == ["k", "cell", "A" if given == "amount" else "[A]"]
    assert discrete.position == (0, None)


def test_changing_a_volume_changes_what_was_given_as_concentration(model: Make) -> None:
    discrete = discretise(
        model(
            {"A": {"concentration": 3.0, "only": False}, "B": {"amount": 12.0, "only": False}},
            {"a": ("A -> ", "A"), "b": ("B -> ", "B")},
            compartments={"cell": 4.0},
        )
    )
    indices = list(discrete.quantities)
    values = {**discrete.quantities, "cell": 8.0}
    counts, _ = discrete.start(tuple(values.values()))
    assert [float(c) for c in counts] == [24.0, 12.0]
    assert rates_at(discrete, cell=8.0) == {"a": 3.0, "b": 1.5}
    derivative = jax.jacfwd(lambda v: discrete.start(tuple(v))[0])(jnp.array(list(discrete.quantities.values())))
    assert float(derivative[0][indices.index("cell")]) == 3.0
    assert float(derivative[0][indices.index("[A]")]) == 4.0


@pytest.mark.parametrize(("scale", "amount"), [(0, 50 / AVOGADRO), (-9, 50e9 / AVOGADRO), (-15, 50e15 / AVOGADRO)])
def test_moles_are_molecules_times_avogadro(model: Make, scale: int, amount: float) -> None:
    discrete = discretise(
        model(
            {"A": {"amount": amount}, "B": {"amount": 0.0}},
            {"r": ("2 A -> B", "k*A")},
            {"k": 3.0},
            substance=("mole", scale),
        )
    )
    np.testing.assert_allclose(discrete.network.x0, [50.0, 0.0], rtol=1e-12)
    assert rates_at(discrete)["r"] == pytest.approx(3.0 * 50)
    assert jumps(discrete) == {"r": {"A": -2, "B": 1}}
    assert observed(discrete, {"A": 10.0})["A"] == pytest.approx(amount / 5)


def test_molecules_per_unit_overrides_the_units(model: Make) -> None:
    system = (
        {"A": {"concentration": 2.0, "only": False}},
        {"r": ("A -> ", "k*A*cell")},
        {"k": 3.0},
        {"cell": 5.0},
    )
    discrete = discretise(model(*system, molecules_per_unit=100.0))
    assert discrete.network.x0.tolist() == [1000.0]
    assert rates_at(discrete)["r"] == pytest.approx(3.0 * 2.0 * 5.0 * 100)
    assert jumps(discrete) == {"r": {"A": -1}}
    assert observed(discrete, {"A": 500.0}) == {"A": 5.0}


def test_conversion_factors_scale_the_jumps(model: Make) -> None:
    system = ({"A": {"amount": 90.0, "conversion": "three"}, "B": {"amount": 0.0}}, {"r": ("A -> B", "k*A")})
    one = discretise(model(*system, {"k": 1.0, "three": 3.0, "two": 2.0}, conversion="two"))
    assert jumps(one) == {"r": {"A": -3, "B": 2}}
    assert one.structural == {"three", "two"}
    assert rates_at(one, {"A": 2.0}) == {"r": 0.0}, "three molecules of A are needed"
    assert rates_at(one, {"A": 3.0}) == {"r": 3.0}
    with pytest.raises(UnsupportedError, match=r"'r': changes 'A' by -1\.5 molecules.*conversion factor"):
        discretise(model(*system, {"k": 1.0, "three": 1.5, "two": 2.0}, conversion="two"))


def test_a_changed_conversion_factor_makes_another_network(model: Make) -> None:
    system = model({"A": {"amount": 60.0, "conversion": "f"}}, {"r": ("A -> ", "A/A")}, {"f": 2.0})
    assert sg.simulate(system, [1e3], n=4).mean.loc[1e3, "A"] == 0
    assert sg.simulate(system, [1e3], n=4, parameters={"f": 7.0}).mean.loc[1e3, "A"] == 4


@pytest.mark.parametrize("equation", ["1.5 A -> ", " -> 0.1 A", "A -> 1.25 A"])
def test_jumps_that_are_not_whole_are_refused(model: Make, equation: str) -> None:
    with pytest.raises(UnsupportedError, match="'r': changes 'A' by .* not a whole number") as error:
        discretise(model({"A": {"amount": 10.0}}, {"r": (equation, "A")}))
    assert "\n" not in str(error.value)


def test_jumps_too_large_to_be_counted_are_refused(model: Make) -> None:
    with pytest.raises(UnsupportedError, match=r"'r': changes 'A' by 1e\+300 molecules at once"):
        discretise(model({"A": {"amount": 10.0}}, {"r": (" -> 1e300 A", "1")}))


def test_stoichiometries_of_one_species_add_up(model: Make) -> None:
    discrete = discretise(
        model(
            {"A": {"amount": 10.0}},
            {"r": ("A + A -> A", "A"), "s": ("0.5 A -> 1.5 A", "A"), "t": ("A -> A", "A")},
        )
    )
    assert jumps(discrete) == {"r": {"A": -1}, "s": {"A": 1}}


# ---- what does not react -------------------------------------------------------------------------------


def test_boundary_and_constant_species_stay(model: Make) -> None:
    discrete = discretise(
        model(
            {
                "A": {"amount": 10.0},
                "Bath": {"amount": 7.0, "boundary": True},
                "Fixed": {"amount": 3.0, "boundary": True, "constant": True},
                "Idle": {"amount": 5.0},
            },
            {"r": ("A + Bath -> Fixed", "k*A*Bath*Fixed")},
            {"k": 1.0},
        )
    )
    assert discrete.network.species == ("A",)
    assert jumps(discrete) == {"r": {"A": -1}}
    assert rates_at(discrete) == {"r": 210.0}
    assert observed(discrete, {"A": 1.0}) == {"A": 1.0, "Bath": 7.0, "Fixed": 3.0, "Idle": 5.0}
    sim = sg.simulate(discrete.model, [100.0], n=5)
    assert sim.mean.loc[100.0].to_dict() == {"A": 0.0, "Bath": 7.0, "Fixed": 3.0, "Idle": 5.0}


def test_rules_follow_the_state_and_can_be_observed(model: Make) -> None:
    discrete = discretise(
        model(
            {"A": {"amount": 10.0}, "B": {"amount": 2.0}, "Free": {"amount": 0.0}},
            {"r": ("A -> B", "speed*A")},
            {"k": 0.5, "total": 0.0, "speed": 0.0, "fixed": 0.0},
            rules={"speed": "k*total", "total": "A + 2*B", "fixed": "k*4", "Free": "total - A"},
        )
    )
    assert set(discrete.observables) == {"A", "B", "Free", "total", "speed", "fixed"}
    assert observed(discrete) == {"A": 10, "B": 2, "Free": 4, "total": 14, "speed": 7, "fixed": 2}
    assert observed(discrete, {"A": 4.0, "B": 8.0})["speed"] == 10
    assert rates_at(discrete, {"A": 4.0, "B": 8.0}) == {"r": 40.0}
    assert rates_at(discrete, {"A": 4.0, "B": 8.0}, k=1.0) == {"r": 80.0}


def test_initial_assignments_follow_the_quantities(model: Make) -> None:
    discrete = discretise(
        model(
            {"A": {}},
            {"r": ("A -> ", "k2*A")},
            {"k": 0.5, "k2": 0.0},
            initial={"A": "k*20", "k2": "k*k"},
        )
    )
    assert "A" not in discrete.quantities
    assert "k2" not in discrete.quantities
    assert rates_at(discrete) == {"r": 2.5}
    assert rates_at(discrete, k=2.0) == {"r": 160.0}


def test_local_parameters_have_their_reaction_s_name(model: Make) -> None:
    discrete = discretise(
        model(
            {"A": {"amount": 10.0}},
            {"r": ("A -> ", "k*A"), "s": ("A -> ", "k*A")},
            {"k": 1.0},
            local={"r": {"k": 5.0}},
        )
    )
    assert rates_at(discrete) == {"r": 50.0, "s": 10.0}
    assert rates_at(discrete, **{"r.k": 2.0}) == {"r": 20.0, "s": 10.0}


# ---- reversible laws and missing reactants -------------------------------------------------------------


def test_a_net_law_becomes_two_reactions(model: Make) -> None:
    discrete = discretise(
        model(
            {"A": {"amount": 10.0, "only": False}, "B": {"amount": 4.0, "only": False}},
            {"r": ("A -> 2 B", "cell*(kf*A - kr*B)")},
            {"kf": 3.0, "kr": 1.0},
            {"cell": 2.0},
        )
    )
    assert jumps(discrete) == {"r": {"A": -1, "B": 2}, "r (reverse)": {"A": 1, "B": -2}}
    assert rates_at(discrete) == {"r": 30.0, "r (reverse)": 4.0}
    assert rates_at(discrete, {"B": 1.0})["r (reverse)"] == 0, "two molecules of B are needed"
    assert discrete.network.nonnegative


def test_the_noise_of_a_net_law_is_that_of_two_reactions(model: Make) -> None:
    """At equilibrium each molecule is A or B by the toss of a coin: a binomial variance, not a smaller one."""
    system = model({"A": {"amount": 100.0}, "B": {"amount": 0.0}}, {"r": ("A -> B", "k*(A - B/2)")}, {"k": 1.0})
    counts = sg.simulate(system, [20.0], n=4000, seed=1).counts[:, 0, 0]
    assert abs(counts.mean() - 100 / 3) < 4 * np.sqrt(200 / 9 / 4000)
    assert counts.var() / (200 / 9) == pytest.approx(1, abs=4 * np.sqrt(2 / 4000))


@pytest.mark.parametrize(
    ("equation", "formula", "start", "end"),
    [
        ("2 X -> ", "k*X*X", 5, 1),
        ("2 X -> ", "k*X*X", 8, 0),
        ("2 X -> ", "k*X*(X - 1)", 5, 1),
        ("X -> ", "k", 4, 0),
        ("2 X -> ", "k", 5, 1),
        ("X -> ", "k*X/(0.1 + X)", 4, 0),
        ("X -> ", "k/(1 + X)", 3, 0),
    ],
)
def test_no_reaction_fires_without_its_reactants(
    model: Make, equation: str, formula: str, start: int, end: int
) -> None:
    system = model({"X": {"amount": start}}, {"r": (equation, formula)}, {"k": 10.0})
    sim = sg.simulate(system, np.linspace(0.01, 50, 100), n=200)
    assert sim.counts.min() == end
    assert np.all(sim.counts[:, -1] == end)


def test_a_law_is_taken_verbatim_where_its_reactants_are_there(model: Make) -> None:
    system = model({"X": {"amount": 5}}, {"r": ("2 X -> ", "k*X*X")}, {"k": 10.0})
    discrete = discretise(system)
    assert [rates_at(discrete, {"X": float(x)})["r"] for x in range(4)] == [0, 0, 40, 90]


def test_a_net_law_that_cannot_be_split_and_goes_negative_is_refused(model: Make) -> None:
    """The reverse part does not need the product, so it is not a reaction of its own."""
    system = model({"A": {"amount": 5}, "B": {"amount": 0}}, {"net": ("A -> B", "kf*A - kr")}, {"kf": 1.0, "kr": 2.5})
    assert not discretise(system).network.nonnegative
    with pytest.raises(PropensityError, match="reaction 'net': its propensity is -0.5"):
        sg.simulate(system, [100.0], n=20)


@pytest.mark.parametrize("formula", ["k*A", "k*(A - B/2)", "A*k*2 + A"], ids=["rate", "net", "sum"])
@pytest.mark.parametrize("how", ["value", "changed", "initial assignment", "rule"])
def test_a_negative_parameter_is_never_taken_for_a_positive_one(model: Make, formula: str, how: str) -> None:
    """Symbols are taken to be non-negative, but only where they are."""
    system = model(
        {"A": {"amount": 5}, "B": {"amount": 5}},
        {"r": ("A -> B", formula), "s": ("B -> ", "B")},
        {"k": -1.0 if how == "value" else 1.0, "a": 1.0},
        initial={"k": "a - 2"} if how == "initial assignment" else None,
        rules={"k": "a - 2"} if how == "rule" else None,
    )
    with pytest.raises(PropensityError, match="reaction 'r"):
        sg.simulate(system, [100.0], n=20, parameters={"k": -1.0} if how == "changed" else None)


def test_a_law_that_changes_its_sign_with_a_real_number_is_found(model: Make) -> None:
    """h*(h - 1) is a falling factorial for a count; for the parameter h = 0.5 it is negative."""
    system = model({"A": {"amount": 5}}, {"r": ("A -> ", "h*(h - 1)*A"), "s": ("A -> ", "A")}, {"h": 0.5})
    with pytest.raises(PropensityError, match="reaction 'r'"):
        sg.simulate(system, [1.0], n=20)


# ---- refusals and odd inputs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (({"A": {"amount": 1}}, {"r": ("A -> ", "A*time")}), "'r' depends on time: here only reactions"),
        (
            ({"A": {"amount": 1}}, {"r": ("A -> ", "A*p")}, {"p": 0.0}, None, {"p": "time + 1"}),
            "'r' depends on time: here only reactions",
        ),
        (({"A": {"amount": -1}}, {"r": ("A -> ", "A")}), "'A': starts with a negative amount"),
        (({"A": {}}, {"r": ("A -> ", "A")}), "'A': has no initial value; .* A=value"),
        (({"A": {"amount": 1e13}}, {"r": ("A -> ", "A")}), "'A': starts with 1e\\+13 molecules, .* hopeless"),
    ],
)
def test_what_cannot_be_simulated_is_named(model: Make, system: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message) as error:
        discretise(model(*system))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("<text>: ")


def test_all_reasons_come_at_once(model: Make) -> None:
    with pytest.raises(UnsupportedError) as error:
        discretise(model({"A": {"amount": -1}}, {"r": ("1.5 A -> ", "A"), "s": ("A -> ", "time")}))
    assert len(error.value.reasons) == 3


def test_an_observable_that_does_not_exist_is_named(model: Make) -> None:
    system = model({"A": {"amount": 1}}, {"r": ("A -> ", "A")})
    for name in ("Z", "[Z]", "[cell]", "[r]"):
        with pytest.raises(UnknownIdError, match="to look at"):
            discretise(system, [name])


def test_a_model_in_which_nothing_changes_is_refused(model: Make) -> None:
    with pytest.raises(SbmlgradError, match="no reaction changes anything"):
        sg.simulate(model({"A": {"amount": 1}}, {}), [1.0])


def test_a_division_by_a_number_that_is_zero_is_infinite(model: Make) -> None:
    """A parameter that is set to the number 0 and divides another: infinity is named, nothing crashes."""
    system = model(
        {"A": {"amount": 5}},
        {"r": ("A -> ", "A*life")},
        {"zero": 1.0, "life": 1.0},
        initial={"zero": "0", "life": "1/zero"},
    )
    with pytest.raises(PropensityError, match="'r': its propensity is inf"):
        sg.simulate(system, [1.0], n=5)


def test_a_law_with_a_branch_missing_is_simulated_where_it_is_defined(model: Make) -> None:
    system = model({"A": {"amount": 5}}, {"r": ("A -> ", "piecewise(A, A > 0.5, 0, A < 0.5)")})
    assert sg.simulate(system, [50.0], n=5).mean.loc[50.0, "A"] == 0


def test_ids_that_are_words_of_python_or_sympy(model: Make) -> None:
    names = [
        "lambda",
        "S",
        "I",
        "E",
        "N",
        "Q",
        "O",
        "beta",
        "zeta",
        "gamma",
        "__class__",
        "x0",
        "k0",
        "t0",
        "jnp",
        "None",
    ]
    species = {name: {"amount": 10.0 + i} for i, name in enumerate(names)}
    discrete = discretise(
        model(species, {f"r{i}": (f"{name} -> ", f"pi_*{name}") for i, name in enumerate(names)}, {"pi_": 2.0})
    )
    assert discrete.network.species == tuple(names)
    assert list(rates_at(discrete).values()) == [2 * (10.0 + i) for i in range(len(names))]


# ---- published models ----------------------------------------------------------------------------------

PUBLISHED = [3, 5, 9, 11, 13, 15, 17, 21, 23, 27, 29, 31, 35, 37, 43, 57, 61, 65, 183, 775]


@pytest.fixture(params=PUBLISHED, ids=lambda number: f"BIOMD{number:010d}")
def published(request: pytest.FixtureRequest, data_dir: Path) -> sg.Model:
    """A model of BioModels with a million molecules to the unit of substance, whatever its units say."""
    path = data_dir / "biomodels" / f"BIOMD{request.param:010d}.xml"
    if not path.is_file():
        pytest.skip(f"no model at {path}")
    return sg.read_sbml(path, molecules_per_unit=1e6)


def test_published_models_start_and_react_as_the_model_says(published: sg.Model) -> None:
    """At the initial state and at two others, through :meth:`Model.reaction_rates`, which is other code."""
    elements, discrete = published.elements, discretise(published)
    initial = published.initial_values()
    units = {}  # molecules in one unit of what the symbol means
    for name in discrete.network.species:
        species = elements.species[name]
        is_amount = species.only_substance_units or elements.compartments[species.compartment].dimensions == 0
        units[name] = species.molecules_per_unit * (1.0 if is_amount else initial[species.compartment])
    start, _ = discrete.start(tuple(discrete.quantities.values()))
    expected = [initial[name] * units[name] for name in discrete.network.species]
    np.testing.assert_allclose([float(c) for c in start], expected, rtol=1e-12)
    random = np.random.default_rng(0)
    for spread in (None, 0.5, 1.0):
        counts = dict(zip(discrete.network.species, map(float, start), strict=True))
        if spread is not None:
            counts = {
                s: np.floor(c * random.uniform(1 - spread, 2) + random.integers(10, 1000)) for s, c in counts.items()
            }
        laws = published.reaction_rates({s: c / units[s] for s, c in counts.items()}) * elements.extent_molecules
        compare(discrete, counts, laws.to_dict())


def compare(discrete: DiscreteModel, counts: Mapping[str, float], laws: Mapping[str, float]) -> None:
    """Hold propensities to kinetic laws; the two directions of a split law differ by it."""
    rates = rates_at(discrete, counts)
    for channel in discrete.channels:
        if channel.name.endswith(REVERSE):
            continue
        back = rates.get(channel.name + REVERSE, 0.0)
        forward, law = rates[channel.name], laws[channel.name]
        lacking = [s for s, change in channel.jumps.items() if counts[s] + change < 0]
        if lacking and forward == 0:
            continue  # nothing fires without its reactants
        assert forward - back == pytest.approx(law, rel=1e-9, abs=1e-9 * (abs(forward) + abs(back)), nan_ok=True), (
            channel.name
        )
        if channel.name + REVERSE in rates:
            assert min(forward, back) >= 0


@pytest.mark.parametrize("as_rules", [True, False])
def test_a_chain_of_assignments_is_followed_to_its_end(as_rules: bool) -> None:
    """p0 = X + 1, p1 = p0 + 1, ...: no walk along it may recurse."""
    length = 1200
    item, target = ("assignmentRule", "variable") if as_rules else ("initialAssignment", "symbol")
    steps = "".join(
        f'<{item} {target}="p{i}"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><plus/>'
        f"<ci>{f'p{i - 1}' if i else 'X'}</ci><cn>1</cn></apply></math></{item}>"
        for i in range(length)
    )
    steps = (
        f"<listOfRules>{steps}</listOfRules>"
        if as_rules
        else (f"<listOfInitialAssignments>{steps}</listOfInitialAssignments>")
    )
    discrete = discretise(
        sg.read_sbml(
            CHAIN.format(
                parameters="".join(f'<parameter id="p{i}" constant="false"/>' for i in range(length)),
                assignments=steps,
                last=f"p{length - 1}",
            )
        ),
        ["X"],
    )
    assert rates_at(discrete) == {"r": 10.0 + length}
