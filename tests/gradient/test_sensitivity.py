"""The table of sensitivities, and what cannot be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.errors import EstimatorError, SbmlgradError, SimulationError, UnknownIdError, UnsupportedError
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import Problem
from sbmlgrad.gradient.score import Score
from sbmlgrad.network import discretise

MATH = 'xmlns="http://www.w3.org/1998/Math/MathML"'
DOCUMENT = """<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="m">
<listOfCompartments><compartment id="cell" spatialDimensions="3" size="2" constant="{constant}"/></listOfCompartments>
<listOfSpecies><species id="A" compartment="cell" {initial} hasOnlySubstanceUnits="false" boundaryCondition="false"
 constant="false"/></listOfSpecies>
<listOfParameters><parameter id="k" value="0.5" constant="true"/><parameter id="b" value="5" constant="true"/>
</listOfParameters>{extra}<listOfReactions><reaction id="r" reversible="false" fast="false">{sides}
<kineticLaw><math {math}>{law}</math></kineticLaw></reaction></listOfReactions></model></sbml>"""
USES_A = '<listOfReactants><speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants>'
DECAY = "<apply><times/><ci>cell</ci><ci>k</ci><ci>A</ci></apply>"


def test_a_size_moves_rates_and_initial_counts() -> None:
    """A of 50 per volume decays at k: E[A(t)] = 50 V exp(-k t), so that its derivative by V is 50 exp(-k t)."""
    text = DOCUMENT.format(
        constant="true", initial='initialConcentration="50"', extra="", sides=USES_A, law=DECAY, math=MATH
    )
    model = sg.read_sbml(text)
    table = sg.sensitivity(model, [1.0, 2.0], ["cell", "k"], n=20_000, seed=1).set_index(["parameter", "time"])
    for time in (1.0, 2.0):
        exact = {"cell": 50 * np.exp(-0.5 * time), "k": -100 * time * np.exp(-0.5 * time)}
        for name, value in exact.items():
            row = table.loc[(name, time)]
            assert abs(row["sensitivity"] - value) < 4 * row["stderr"] + 1e-9 * abs(value)  # false alarms: 6e-5 each


def test_time_hidden_in_a_volume_is_refused() -> None:
    """A's symbol is a concentration, and its volume grows with time."""
    grow = (
        f'<listOfRules><assignmentRule variable="cell"><math {MATH}><apply><plus/><cn>1</cn><csymbol encoding="text" '
        'definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol></apply></math></assignmentRule></listOfRules>'
    )
    text = DOCUMENT.format(
        constant="false",
        initial='initialAmount="50"',
        extra=grow,
        sides=USES_A,
        law="<apply><times/><ci>k</ci><ci>A</ci></apply>",
        math=MATH,
    )
    with pytest.raises(UnsupportedError, match="'r' depends on time"):
        discretise(sg.read_sbml(text), ["A"])


def test_what_sets_a_stoichiometry_changes_jumps_and_has_no_derivative() -> None:
    burst = (
        f'<listOfInitialAssignments><initialAssignment symbol="size"><math {MATH}><ci>b</ci></math></initialAssignment>'
        "</listOfInitialAssignments>"
    )
    sides = '<listOfProducts><speciesReference id="size" species="A" constant="true"/></listOfProducts>'
    text = DOCUMENT.format(
        constant="true", initial='initialAmount="0"', extra=burst, sides=sides, law="<ci>k</ci>", math=MATH
    )
    model = sg.read_sbml(text)
    for size in (5, 6):
        counts = sg.simulate(model, [4.0], n=500, seed=1, parameters={"b": size}).counts
        assert counts.max() > 0
        assert np.all(counts % size == 0)
    with pytest.raises(UnsupportedError, match="'b' sets a stoichiometry"):
        sg.sensitivity(model, [1.0], ["b"])


def test_arguments_that_make_no_sense_are_one_line(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    network = sg.ReactionNetwork([[1]], lambda x, p: jnp.array([p["k"]]), x0=[0], parameters={"k": 1.0})
    with pytest.raises(SbmlgradError, match="at least one parameter"):
        sg.sensitivity(model, [1.0], [])
    with pytest.raises(SbmlgradError, match="there is no 'nonsense'"):
        sg.sensitivity(network, [1.0], ["k"], select=["nonsense"])
    with pytest.raises(SbmlgradError, match="estimator 'guess': not available"):
        sg.sensitivity(model, [1.0], ["k"], estimator="guess")
    with pytest.raises(SimulationError, match="expected whole numbers"):
        sg.simulate(model, [1.0], n=1e3)  # type: ignore[arg-type]


def test_samples_do_not_depend_on_how_an_ensemble_is_cut(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    whole = sg.sensitivity(model, [1.0], ["k", "g", "X"], n=1000, seed=3)
    monkeypatch.setattr("sbmlgrad.simulation.ensemble.layout", lambda n, arrays: (2, 256))
    cut = sg.sensitivity(model, [1.0], ["k", "g", "X"], n=1000, seed=3)
    assert whole.table.equals(cut.table)


@pytest.mark.parametrize(
    ("estimator", "note"), [("auto", "times of reactions held"), ("coupled_fd", "common random numbers")]
)
def test_models_with_events_and_rates_over_time_have_derivatives(
    model: Callable[..., sg.Model], estimator: str, note: str
) -> None:
    """Birth at k (1 + t), death at g, X doubled at t = 1: E X obeys a linear equation whose derivatives are known."""
    system = model(
        {"X": {"amount": 0}},
        {"birth": ("-> X", "k * (1 + time)"), "death": ("X ->", "g * X")},
        {"k": 20.0, "g": 0.5},
        events={"double": {"trigger": "time >= 1", "set": {"X": "2 * X"}}},
    )
    times, chosen = np.array([0.5, 2.0]), ["X", sg.Moment("X", "X")]
    table = sg.sensitivity(system, times, ["k", "g"], n=4000, seed=1, select=chosen, estimator=estimator)
    assert note in table.attrs["note"]
    smooth = sg.sensitivity(system, times, ["k", "g"], method="ode", select=["X"])  # the mean's own equation
    drawn = table[table["observable"] == "X"].reset_index(drop=True)
    off = (drawn["sensitivity"] - smooth["sensitivity"]).abs()
    assert (off < 0.01 * smooth["sensitivity"].abs() + 4.5 * drawn["stderr"]).all()  # false alarms: 7e-6 each
    assert (drawn["stderr"] < 0.1 * smooth["sensitivity"].abs()).all()


def test_what_has_no_derivative_beside_events_is_named(model: Callable[..., sg.Model]) -> None:
    system = model(
        {"X": {"amount": 3}},
        {"death": ("X ->", "g * X")},
        {"g": 0.5, "T": 1.0},
        events={"double": {"trigger": "time >= T", "set": {"X": "2 * X"}}},
    )
    with pytest.raises(EstimatorError, match="'score': 'T' moves the time of event 'double', .*use 'auto'"):
        sg.sensitivity(system, [2.0], ["T"], estimator="score")
    with pytest.raises(EstimatorError, match="'score': 'X' moves the initial number of 'X'"):
        sg.sensitivity(system, [2.0], ["X"], estimator="score")
    with pytest.raises(EstimatorError, match="'score': 'g' is 0 and switches 'death' off"):
        sg.sensitivity(system.with_parameters({"g": 0.0}), [2.0], ["g"], estimator="score")
    late = model({"X": {"amount": 0}}, {"pair": ("2 X ->", "c * X * (X - 1) * time")}, {"c": 0.0})
    with pytest.raises(EstimatorError, match="'score': 'c' is 0 and switches 'pair' off"):
        sg.sensitivity(late, [2.0], ["c"], estimator="score")
    with pytest.raises(EstimatorError, match="'straight_through'.*use 'auto'"):
        sg.sensitivity(system, [2.0], ["g"], estimator="straight_through")
    with pytest.raises(EstimatorError, match="average\\(X\\): needs a model in which only reactions"):
        sg.sensitivity(system, [2.0], ["g"], select=[sg.TimeAverage("X")])


def test_a_second_call_compiles_nothing(model: Callable[..., sg.Model]) -> None:
    """Another seed finds the loops of the first call, with reactions only and with events; so do other values of the
    parameters by which it is differentiated, with the numbers of a model or network that has these values.
    """
    plain = model({"X": {"amount": 3}}, {"birth": ("-> X", "k"), "death": ("X ->", "g * X")}, {"k": 2.0, "g": 0.5})
    dosed = model(
        {"X": {"amount": 3}},
        {"birth": ("-> X", "k"), "death": ("X ->", "g * X")},
        {"k": 2.0, "g": 0.5},
        events={"dose": {"trigger": "time >= 1", "set": {"X": "X + 5"}}},
    )
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(name) if "backend_compile" in name else None
    )
    for each, names in ((plain, ["k", "g"]), (dosed, ["k", "g"]), (hill(), ["n", "K"])):
        sg.sensitivity(each, [0.5, 2.0], names, n=512, seed=1, estimator="score")
        assert compiled
        compiled.clear()
        sg.sensitivity(each, [0.5, 2.0], names, n=512, seed=2, estimator="score")
        point = dict(zip(names, (3.0, 0.7), strict=True))
        look = sg.Experiment(np.array([0.5, 2.0]), parameters=point, n=512, seed=2)
        found = sg.sensitivity(each, look, names, estimator="score")
        assert compiled == []
        other = sg.sensitivity(each.with_parameters(point), [0.5, 2.0], names, n=512, seed=2, estimator="score")
        for column in ("sensitivity", "stderr"):
            np.testing.assert_allclose(found.table[column], other.table[column], rtol=1e-9)
        compiled.clear()


@dataclass(frozen=True)
class Halved:
    """An estimator from outside: half the score's derivatives."""

    name: str = "halved"
    unbiased: bool = False

    def estimate(self, problem: Problem, task: Task) -> Estimate:
        actual = Score().estimate(problem, task)
        return replace(actual, derivatives=actual.derivatives / 2)


def test_an_estimator_may_be_handed_in(model: Callable[..., sg.Model], tmp_path: Path) -> None:
    system = model({"X": {"amount": 20}}, {"death": ("X ->", "g * X")}, {"g": 0.5})
    path = tmp_path / "death.xml"
    sg.write_sbml(system, path)
    whole, same, half = (
        sg.sensitivity(given, [1.0], ["g"], n=500, seed=1, estimator=estimator)["sensitivity"]
        for given, estimator in ((system, "score"), (str(path), Score()), (path, Halved()))
    )
    np.testing.assert_array_equal(whole, same)
    np.testing.assert_array_equal(whole / 2, half)


def test_sensitivities_are_a_table_without_errors(models_dir: Path) -> None:
    # dX/dt = k - g X from 0: X = k/g (1 - exp(-g t))
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    table = sg.sensitivity(model, [0.5, 2.0], ["k", "g"], method="ode")
    assert list(table.columns) == ["time", "observable", "parameter", "sensitivity", "stderr"]
    assert (table["stderr"] == 0).all()
    wide = table.pivot(index="time", columns="parameter", values="sensitivity")
    k, g, t = 10.0, 1.0, wide.index.to_numpy()
    assert wide["k"].to_numpy() == pytest.approx((1 - np.exp(-g * t)) / g, rel=1e-6)
    assert wide["g"].to_numpy() == pytest.approx(k * (np.exp(-g * t) * (g * t + 1) - 1) / g**2, rel=1e-6)


def test_what_cannot_be_differentiated_is_an_error(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    with pytest.raises(UnknownIdError, match="no parameter, compartment or species 'nothing'|'nothing'"):
        sg.sensitivity(model, [1.0], ["nothing"], method="ode")
    with pytest.raises(SbmlgradError, match="method 'euler'"):
        sg.sensitivity(model, [1.0], ["k"], method="euler")
    network = sg.ReactionNetwork([[1]], lambda x, p: np.ones(1), x0=[0], parameters={"k": [1.0]})
    with pytest.raises(SbmlgradError, match="not a single number"):
        sg.sensitivity(network, [1.0], ["k"], method="ode")


BEGINS = """<listOfInitialAssignments><initialAssignment symbol="A"><math {math}>{math_of_b}</math></initialAssignment>
</listOfInitialAssignments>"""
MORE_THAN_3 = (
    "<piecewise><piece><apply><minus/><ci>b</ci><cn>3</cn></apply><apply><gt/><ci>b</ci><cn>3</cn></apply></piece>"
    "<otherwise><cn>0</cn></otherwise></piecewise>"
)
FLOW = f'<listOfRules><rateRule variable="z"><math {MATH}><cn>1</cn></math></rateRule></listOfRules>'


@pytest.mark.filterwarnings("ignore:.* not whole")  # of what differences look at
@pytest.mark.parametrize("flows", [False, True])
def test_a_start_that_a_parameter_moves_beyond_a_bound_only(flows: bool) -> None:
    """A begins at V (b - 3) for b > 3, else 0, and decays: E[A(t)] = (b - 3) V exp(-k t) while b > 3."""
    text = DOCUMENT.format(
        constant="true",
        initial='initialAmount="0"',
        extra=BEGINS.format(math=MATH, math_of_b=MORE_THAN_3) + (FLOW if flows else ""),
        sides=USES_A,
        law=DECAY,
        math=MATH,
    )
    if flows:
        text = text.replace("</listOfParameters>", '<parameter id="z" value="0" constant="false"/></listOfParameters>')
    model = sg.read_sbml(text)
    for b, slope in ((43.0, 2.0), (2.0, 0.0)):
        look = sg.Experiment(np.array([0.0, 1.0]), parameters={"b": b}, select=["A"], n=4_000, seed=1)
        table = sg.sensitivity(model, look, ["b"]).table.set_index("time")
        for time, row in table.iterrows():
            exact = slope * np.exp(-0.5 * float(str(time)))
            assert abs(row["sensitivity"] - exact) < 4 * row["stderr"] + 1e-9  # false alarms: 6e-5 each


@pytest.mark.parametrize(
    "lost", [lambda x, c: c * x * (x - 1), lambda x, c: c * (x > 6)], ids=["by pairs", "beyond a bound"]
)
def test_a_reaction_that_a_parameter_switches_off(lost: Callable[..., Any]) -> None:
    """Begun at none, where one molecule does not show it: that no such reaction fires is not to be learnt from.

    X is made at 10 and lost at 0.5 X and by that reaction, two at a time; judged by scipy's exponential of the
    generator.
    """

    def mean(c: float) -> float:
        x = np.arange(60.0)
        generator = 10 * np.diag(np.ones(59), -1) + np.diag(0.5 * x[1:], 1) + np.diag(lost(x, c)[2:], 2)
        generator -= np.diag(generator.sum(axis=0))
        return float(x @ expm(3 * generator)[:, 0])

    network = sg.ReactionNetwork(
        [[1, -1, -2]],
        lambda x, p: jnp.stack([10.0 + 0 * x[0], 0.5 * x[0], lost(x[0], p["c"])]),
        x0=[0],
        parameters={"c": 0.0},
    )
    exact = (-3 * mean(0.0) + 4 * mean(1e-4) - mean(2e-4)) / 2e-4
    found = sg.sensitivity(network, [3.0], ["c"], n=4_000, seed=1)
    row = found.table.iloc[0]
    assert abs(row["sensitivity"] - exact) < 4 * row["stderr"] + 1e-3 * abs(exact)  # false alarms: 6e-5 each
    assert row["stderr"] < 0.05 * abs(exact)
    with pytest.raises(EstimatorError, match="'c' at its value switches 'R2' off"):
        sg.sensitivity(network, [3.0], ["c"], n=100, estimator="controlled_score")


def hill() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([5 / (1 + (x[0] / p["K"]) ** p["n"]), p["g"] * x[0]]),
        x0=[2],
        parameters={"K": 1.0, "n": 2.0, "g": 0.1},
    )


@pytest.mark.parametrize("estimator", ["auto", "score", "alternative_path"])
@pytest.mark.parametrize(
    "made", [lambda x, n: 5 / (1 + x**n), lambda x, n: (x > 3) * n + (x <= 3) * 5], ids=["power", "comparison"]
)
def test_what_a_law_hides_at_the_start(made: Callable[..., Any], estimator: str) -> None:
    """X is made by a law in which n does not matter at the start, 1, and lost at 0.1 X; judged by scipy's exponential
    of the generator.
    """

    def mean(n: float) -> float:
        x = np.arange(60.0)
        lost = 0.1 * x
        generator = np.diag(made(x, n)[:-1], -1) + np.diag(lost[1:], 1)
        generator -= np.diag(generator.sum(axis=0))
        return float(x @ expm(5 * generator)[:, 1])

    network = sg.ReactionNetwork(
        [[1, -1]], lambda x, p: jnp.stack([made(x[0], p["n"]), 0.1 * x[0]]), x0=[1], parameters={"n": 2.0}
    )
    exact = (mean(2.001) - mean(1.999)) / 0.002
    row = sg.sensitivity(network, [5.0], ["n"], n=4_000, seed=1, estimator=estimator).table.iloc[0]
    assert 0 < row["stderr"] < 0.2
    assert abs(row["sensitivity"] - exact) < 4 * row["stderr"]  # false alarms: 6e-5 each


@pytest.mark.parametrize(
    ("names", "condition", "slopes"),
    [(["[R]", "V"], {"V": 3.0}, [3.0, 2.0]), (["R", "V"], {"V": 3.0, "[R]": 2.0}, [1.0, 0.0])],
)
def test_amounts_and_concentrations_are_taken_at_the_size_that_a_condition_sets(
    model: Callable[..., sg.Model], names: list[str], condition: dict[str, float], slopes: list[float]
) -> None:
    """There are 6 at the start in both conditions, the amount or twice the size, and exp(-1) of them at the end."""
    species = {"R": {"amount": 6, "compartment": "V"}}
    system = model(species, {"gone": ("R ->", "R")}, {}, compartments={"V": 2.0})
    found = sg.sensitivity(system, sg.Experiment([1.0], parameters=condition, select=["R"]), names, method="ode")
    np.testing.assert_allclose(found.expectations["expectation"], 6 * np.exp(-1), rtol=1e-6)
    by_name = found.table.set_index("parameter")["sensitivity"]
    np.testing.assert_allclose(by_name[names], np.array(slopes) * np.exp(-1), rtol=1e-6, atol=1e-9)
