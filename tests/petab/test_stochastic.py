"""Problems by exact stochastic simulation, against rate equations where these are the mean, and master equations.

Means are compared within 4.5 standard errors of 10,000 trajectories: a false alarm in 150,000 runs for each number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.linalg import expm, null_space

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import PetabError, SimulationError, UnsupportedError
from sbmlgrad.petab.evaluate import Evaluation

Write = Callable[..., Path]
N = 10_000


def by_molecules(problem: Path) -> Evaluation:
    return sg.read_petab(problem).evaluate(method="ssa", n=N, seed=1)


def agree(evaluation: Evaluation, expected: Sequence[float]) -> bool:
    """Whether means are as expected, within their standard errors."""
    assert evaluation.stderr is not None
    off = np.abs(evaluation.simulations["simulation"].to_numpy() - np.array(expected))
    return bool(np.all(off <= 4.5 * evaluation.stderr + 1e-9 * np.abs(expected)))


def test_means_of_first_order_reactions_are_rate_equations(version1: Write) -> None:
    """In two conditions, of formulas with placeholders; the noise is computed with the mean."""
    problem = sg.read_petab(
        version1(
            observables="observableId | observableFormula | noiseFormula\n"
            "a | observableParameter1_a * A + s | noiseParameter1_a * a + 0.01 * A + 0.001 * time",
            measurements="observableId | simulationConditionId | time | measurement | observableParameters | "
            "noiseParameters\na | fast | 0 | 10 | 1 | 0.1\na | slow | 2 | 9 | 3 | s\na | slow | 3 | 6 | s | 0.2",
        )
    )
    by_equations, found = problem.evaluate(), problem.evaluate(method="ssa", n=N, seed=1)
    assert agree(found, by_equations.simulations["simulation"])
    assert found.stderr is not None
    assert found.stderr[0] == 0.0
    assert np.all(found.stderr[1:] > 0)
    amounts = np.array([8.0, (found.simulations["simulation"][1] - 1) / 3, found.simulations["simulation"][2] - 1])
    simulated = found.simulations["simulation"].to_numpy()
    noise = np.array([0.1, 1.0, 0.2]) * simulated + 0.01 * amounts + 0.001 * np.array([0, 2, 3])
    residuals = (simulated - [10, 9, 6]) / noise
    assert found.chi2 == pytest.approx(float(residuals @ residuals), rel=1e-9)
    by_hand = -0.5 * found.chi2 - np.sum(np.log(noise * math.sqrt(2 * math.pi)))
    assert found.llh == pytest.approx(by_hand, rel=1e-9)
    assert by_equations.stderr is None


@pytest.mark.parametrize("case", ["v1.0.0/sbml/0009", "v1.0.0/sbml/0018", "v2.0.0/sbml/0016"])
def test_cases_of_the_suite_agree_with_rate_equations(data_dir: Path, case: str) -> None:
    """A pre-equilibration, one with something that flows, and a compartment that is resized."""
    folder = data_dir / "petab-test-suite" / case
    if not folder.is_dir():
        pytest.skip(f"no case at {folder}")
    problem = sg.read_petab(folder / f"_{folder.name}.yaml", molecules_per_unit=1000)
    found = problem.evaluate(method="ssa", n=1000, seed=1)
    assert found.stderr is not None
    expected = problem.evaluate().simulations["simulation"].to_numpy()
    off = np.abs(found.simulations["simulation"].to_numpy() - expected)
    assert np.all(off <= 4.5 * found.stderr + 1e-7 * np.abs(expected))


def test_the_seed_decides(version1: Write) -> None:
    problem = sg.read_petab(version1())
    first, again, other = (problem.evaluate(method="ssa", n=50, seed=seed).llh for seed in (3, 3, 4))
    assert first == again != other


def pairs(count: int, rate: float, feed: float = 0.0) -> np.ndarray:
    """The generator of A + A -> nothing, and of A being born, on the numbers 0 to ``count``."""
    generator = np.zeros((count + 1, count + 1))
    for x in range(count + 1):
        for target, intensity in ((x - 2, rate * x * (x - 1)), (x + 1, feed)):
            if 0 <= target <= count:
                generator[target, x] += intensity
                generator[x, x] -= intensity
    return generator


DIMERS = {
    "species": {"A": {"amount": 6.0}},
    "reactions": {"pairing": ("2 A ->", "k * A * (A - 1)")},
    "parameters": {"k": 0.1, "feed": 2.0},
}
FED = {**DIMERS["reactions"], "feeding": ("-> A", "feed")}
OF_DIMERS = {
    "conditions": "conditionId\nonly",
    "observables": "observableId | observableFormula | noiseFormula\na | A | 0.5\nsquare | A^2 | 0.5",
    "measurements": "observableId | simulationConditionId | time | measurement\n"
    "a | only | 1 | 3\nsquare | only | 1 | 9\na | only | 4 | 1",
    "parameters": "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
    "k | log10 | 0.01 | 10 | 0.1 | 1",
}


def test_dimerisation_is_the_master_equation(version1: Write) -> None:
    found = by_molecules(version1(model=DIMERS, **OF_DIMERS))
    numbers = np.arange(7)
    early, late = (expm(pairs(6, 0.1) * time)[:, 6] for time in (1.0, 4.0))
    expected = [early @ numbers, early @ numbers**2, late @ numbers]
    assert agree(found, expected)
    equations = sg.read_petab(version1(model=DIMERS, **OF_DIMERS)).evaluate()
    assert not agree(found, equations.simulations["simulation"])


EQUILIBRATED = {
    **OF_DIMERS,
    "conditions": "conditionId | k | feed\nbefore | 0.1 | 2\nafter | 0.5 | 0",
    "measurements": "observableId | preequilibrationConditionId | simulationConditionId | time | measurement\n"
    "a | before | after | 0 | 3\na | before | after | 0.5 | 2\nsquare | before | after | 0 | 9",
    "parameters": "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
    "s | lin | 0 | 10 | 1 | 1",
    "observables": "observableId | observableFormula | noiseFormula\na | s * A | 0.5\nsquare | A^2 | 0.5",
}


def test_a_pre_equilibration_is_the_stationary_law(version1: Write) -> None:
    found = by_molecules(version1(model={**DIMERS, "reactions": FED}, **EQUILIBRATED))
    count = 40
    law = null_space(pairs(count, 0.1, 2.0), rcond=1e-9)[:, 0]
    law, numbers = law / law.sum(), np.arange(count + 1)
    later = expm(pairs(count, 0.5) * 0.5) @ law
    assert agree(found, [law @ numbers, later @ numbers, law @ numbers**2])


def test_infinity_is_a_long_time(version1: Write) -> None:
    measurements = OF_DIMERS["measurements"].replace("| 1 | 3", "| inf | 3")
    found = by_molecules(version1(model={**DIMERS, "reactions": FED}, **{**OF_DIMERS, "measurements": measurements}))
    law = null_space(pairs(40, 0.1, 2.0), rcond=1e-9)[:, 0]
    start = np.eye(41)[:, 6]
    early, late = (expm(pairs(40, 0.1, 2.0) * time) @ start for time in (1.0, 4.0))
    numbers = np.arange(41)
    assert agree(found, [law @ numbers / law.sum(), early @ numbers**2, late @ numbers])


C = {"concentration": 6.0, "only": False}


def test_periods_change_molecules_and_sizes(version2: Write) -> None:
    problem = version2(
        model={"species": {"A": {"concentration": 8.0, "only": False}, "B": {"amount": 6.0}, "C": C}},
        conditions="conditionId | targetId | targetValue\n"
        "again | A | A + dose\nagain | gain | 3\nlarger | cell | 2 * cell\nlarger | C | C + 1",
        experiments="experimentId | time | conditionId\ntwice | 1 |\ntwice | 2 | again\ntwice | 3 | larger",
        observables="observableId | observableFormula | noiseFormula\n"
        "a | gain * A | 0.5\nn | A * cell | 0.5\nb | B | 1\nc | C | 1",
        measurements="observableId | experimentId | time | measurement\n"
        + "\n".join(f"{name} | twice | {time} | 8" for name in "anbc" for time in (1, 1.5, 2, 3, 4)),
        parameters="parameterId | lowerBound | upperBound | nominalValue | estimate\nk | 0 | 10 | 0.25 | true\n"
        "dose | 0 | 10 | 4 | true\ngain | 0 | 10 | 1 | true",
    )
    by_equations = sg.read_petab(problem).evaluate().simulations["simulation"]
    times = np.array([1, 1.5, 2, 3, 4])
    level = 8 * np.exp(-0.25 * (times - 1)) + np.where(times >= 2, 4 * np.exp(-0.25 * (times - 2)), 0)
    sizes, gain = np.where(times >= 3, 4, 2), np.where(times >= 2, 3, 1)
    expected = [*gain * level, *level * sizes, *np.full(5, 6.0), *np.where(times >= 3, 7, 6)]
    assert list(by_equations) == pytest.approx(expected, rel=1e-6)
    assert agree(by_molecules(problem), expected)


# ---- what is refused -----------------------------------------------------------------------------------


def test_events_leave_no_time_to_come_to_rest(version1: Write) -> None:
    late = {"trigger": "A < 1", "set": {"A": "A + 1"}}
    with pytest.raises(UnsupportedError, match="come to rest over a stretch of time"):
        by_molecules(version1(model={**DIMERS, "reactions": FED, "events": {"late": late}}, **EQUILIBRATED))


def test_an_event_as_a_period_begins_is_refused(version2: Write) -> None:
    halving = {"trigger": "time >= 2", "set": {"A": "A / 2"}, "initial": False}
    with pytest.raises(UnsupportedError, match="event 'halving' comes at time 2, just as a period begins"):
        by_molecules(version2(model={"events": {"halving": halving}}))


def test_errors_name_the_experiment(version1: Write, version2: Write) -> None:
    early = "observableId | experimentId | time | measurement\na | twice | -1 | 8"
    with pytest.raises(PetabError, match="'twice': a measurement at time -1 lies before its start at 0"):
        by_molecules(version2(measurements=early))
    negative = {"reactions": {"decay": ("A ->", "(k - 1) * A")}}
    with pytest.raises(SimulationError, match="problem.yaml: experiment 'slow'"):
        by_molecules(version1(model=negative))


def test_the_command_takes_molecules(version1: Write, tmp_path: Path) -> None:
    arguments = ["petab", str(version1()), "--method", "ssa", "-n", "100", "--seed", "2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    problem = sg.read_petab(version1())
    few = problem.evaluate(method="ssa", n=100, seed=2)
    assert f"llh {few.llh:.10g}" in result.output
    result = CliRunner().invoke(main, [*arguments, "--molecules-per-unit", "1e4"])
    many = sg.read_petab(version1(), molecules_per_unit=1e4).evaluate(method="ssa", n=100, seed=2)
    assert f"llh {many.llh:.10g}" in result.output
    assert few.stderr is not None
    assert many.stderr is not None
    assert many.stderr[1] < few.stderr[1] / 50  # the spread goes with the root of the number of molecules
    assert "largest standard error of a simulated mean" in result.output
