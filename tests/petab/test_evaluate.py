"""What a problem evaluates to, against solutions by hand and published simulations."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import PetabError, SimulationError, UnknownIdError, UnsupportedError
from sbmlgrad.petab.problem import Problem

Write = Callable[..., Path]


def simulated(problem: Path, **parameters: float) -> list[float]:
    return list(sg.read_petab(problem).evaluate(parameters).simulations["simulation"])


def test_a_problem_of_version_1_is_what_its_solution_says(decay: Problem) -> None:
    evaluation = decay.evaluate()
    expected = np.array([8.0, 8 * math.exp(-0.5)])
    assert list(evaluation.simulations["simulation"]) == pytest.approx(list(expected), rel=1e-7)
    residuals = (expected - [8.0, 3.0]) / 0.5
    assert evaluation.chi2 == pytest.approx(float(residuals @ residuals), rel=1e-6)
    assert evaluation.llh == pytest.approx(-0.5 * evaluation.chi2 - 2 * math.log(0.5 * math.sqrt(2 * math.pi)))
    assert (evaluation.n_data, evaluation.log_prior, evaluation.log_posterior) == (2, None, None)


def test_other_parameters_replace_nominal_ones(decay: Problem) -> None:
    evaluation = decay.evaluate({"k_slow": 0.5, "s": 2.0}).simulations["simulation"]
    assert list(evaluation) == pytest.approx([16.0, 16 * math.exp(-1.0)], rel=1e-7)
    with pytest.raises(UnknownIdError, match=r"problem.yaml: the parameter table has no 'k'; it has k_slow, s"):
        decay.evaluate({"k": 1.0})


def test_files_hold_what_was_found(decay: Problem, tmp_path: Path) -> None:
    evaluation = decay.evaluate()
    evaluation.save_json(tmp_path / "found.json")
    evaluation.write(tmp_path / "out")
    written = json.loads((tmp_path / "found.json").read_text())
    assert (written["chi2"], written["llh"], written["n_data"]) == (evaluation.chi2, evaluation.llh, 2)
    assert written["parameters"] == {"k_slow": 0.25, "s": 1.0}
    table = pd.read_csv(tmp_path / "out" / "simulations.tsv", sep="\t")
    assert list(table.columns) == ["observableId", "simulationConditionId", "time", "simulation"]
    assert list(table["simulation"]) == pytest.approx(list(evaluation.simulations["simulation"]))


def test_periods_follow_each_other(version2: Write) -> None:
    again = (8 * math.exp(-0.5) + 8) * math.exp(-0.25)
    assert simulated(version2()) == pytest.approx([8.0, again], rel=1e-7)


def test_resizing_a_compartment_keeps_concentrations(version2: Write) -> None:
    problem = version2(
        conditions="conditionId | targetId | targetValue\nagain | cell | 4",
        observables="observableId | observableFormula | noiseFormula\na | A * cell | 0.5",
    )
    assert simulated(problem) == pytest.approx([16.0, 4 * 8 * math.exp(-0.75)], rel=1e-7)


def test_events_see_periods(version2: Write) -> None:
    # the dose of time 1 must not come again; at time 2, A is set to A + 8 first, and the event takes half of that
    dose = {"trigger": "time >= 1", "set": {"A": "A + 1"}, "initial": False}
    halving = {"trigger": "time >= 2", "set": {"A": "A / 2"}, "initial": False, "from_trigger": True}
    problem = version2(model={"events": {"dose": dose, "halving": halving}})
    dosed = (8 * math.exp(-0.25) + 1) * math.exp(-0.25)
    assert simulated(problem)[1] == pytest.approx((dosed + 8) / 2 * math.exp(-0.25), rel=1e-7)


def test_a_delay_across_periods_is_refused(version2: Write) -> None:
    late = {"trigger": "time >= 1", "set": {"A": "A + 1"}, "delay": "5"}
    with pytest.raises(UnsupportedError, match="event 'late' has a delay"):
        simulated(version2(model={"events": {"late": late}}))


EQUILIBRATED = {
    "conditions": "conditionId | k | A\nbefore | 1 | 3\nafter | 2 |",
    "measurements": "observableId | preequilibrationConditionId | simulationConditionId | time | measurement\n"
    "a | before | after | 0 | 1\na | before | after | inf | 1",
    "parameters": "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
    "s | lin | 0 | 10 | 1 | 1",
}
FED = {"reactions": {"decay": ("A ->", "k * A * cell"), "feed": ("-> A", "6 * cell")}}


def test_a_simulation_starts_from_the_steady_state_and_ends_there(version1: Write) -> None:
    # A' = 6 - k A
    assert simulated(version1(model=FED, **EQUILIBRATED)) == pytest.approx([6.0, 3.0], rel=1e-6)


def test_a_slow_approach_is_not_taken_for_a_steady_state(version1: Write) -> None:
    slow = {"reactions": {"decay": ("A ->", "1e-5 * k * A * cell"), "feed": ("-> A", "6e-5 * cell")}}
    assert simulated(version1(model=slow, **EQUILIBRATED)) == pytest.approx([6.0, 3.0], rel=1e-6)


def test_growth_without_end_has_no_steady_state(version1: Write) -> None:
    grows = {"reactions": {"feed": ("-> A", "k * cell")}}
    with pytest.raises(SimulationError, match="experiment 'before, after'.*no steady state.*'?A"):
        simulated(version1(model=grows, **EQUILIBRATED))


def test_an_empty_cell_after_equilibration_is_the_models_constant(version1: Write) -> None:
    tables = {**EQUILIBRATED, "conditions": "conditionId | k | A\nbefore | 1 | 3\nafter | | 5"}
    # k is 0.5 in the model, so the end is 12
    assert simulated(version1(model=FED, **tables)) == pytest.approx([5.0, 12.0], rel=1e-6)


def test_placeholders_are_measurement_by_measurement(version1: Write) -> None:
    problem = version1(
        observables="observableId | observableFormula | noiseFormula | observableTransformation\n"
        "a | observableParameter1_a * A + observableParameter2_a | noiseParameter1_a * a | log10",
        measurements="observableId | simulationConditionId | time | measurement | observableParameters | "
        "noiseParameters\na | fast | 0 | 10 | 1;2 | 0.1\na | fast | 0 | 10 | s;0 | 0.2",
    )
    evaluation = sg.read_petab(problem).evaluate({"s": 0.5})
    assert list(evaluation.simulations["simulation"]) == [10.0, 4.0]
    assert evaluation.chi2 == pytest.approx((math.log10(10 / 4) / (0.2 * 4)) ** 2)


def test_a_mapping_names_a_local_parameter(version2: Write) -> None:
    problem = version2(
        model={"reactions": {"decay": ("A ->", "rate * A * cell")}, "local": {"decay": {"rate": 7.0}}},
        mapping="petabEntityId | modelEntityId\nk_decay | decay.rate",
        parameters="parameterId | lowerBound | upperBound | nominalValue | estimate\nk_decay | 0 | 10 | 0.25 | true",
    )
    problem.write_text(problem.read_text() + "mapping_files: [mapping.tsv]\n")
    assert simulated(problem)[1] == pytest.approx((8 * math.exp(-0.5) + 8) * math.exp(-0.25), rel=1e-7)


def test_noise_that_is_none_is_said(version2: Write) -> None:
    with pytest.raises(PetabError, match=r"observable 'a': the noise is -1 at time 0 of experiment 'twice'"):
        simulated(version2(observables="observableId | observableFormula | noiseFormula\na | A | -1"))


def test_slips_of_ids_are_said(version1: Write, version2: Write) -> None:
    with pytest.raises(PetabError, match=r"observable 'a': 'B' has no value; add it to the parameter table"):
        simulated(version2(observables="observableId | observableFormula | noiseFormula\na | B | 1"))
    with pytest.raises(PetabError, match=r"sets 'K', which is neither in a model nor in a formula"):
        simulated(version1(conditions="conditionId | K\nfast | 1\nslow | k_slow"))
    parameters = "parameterId | lowerBound | upperBound | nominalValue | estimate\nk1 | 0 | 10 | 0.25 | true"
    with pytest.raises(PetabError, match=r"the parameter 'k1' is neither in a model nor in a formula"):
        simulated(version2(parameters=parameters))


@pytest.mark.parametrize(
    "name",
    [
        "Boehm_JProteomeRes2014",
        pytest.param("Bachmann_MSB2011", marks=pytest.mark.slow),
        pytest.param("Blasi_CellSystems2016", marks=pytest.mark.slow),  # steady states
        pytest.param("Giordano_Nature2020", marks=pytest.mark.slow),  # steps in time
        pytest.param("Laske_PLOSComputBiol2019", marks=pytest.mark.slow),
    ],
)
def test_published_simulations_are_met(data_dir: Path, name: str) -> None:
    folder = data_dir / "petab" / name
    if not folder.is_dir():
        pytest.skip(f"no problem at {folder}")
    (published,) = folder.glob("simulatedData*.tsv")
    keys = ["observableId", "simulationConditionId", "time"]
    expected = pd.read_csv(published, sep="\t").drop_duplicates(keys).set_index(keys)["simulation"]
    evaluation = sg.read_petab(folder / f"{name}.yaml").evaluate().simulations
    if "observableParameters" in evaluation and evaluation["observableParameters"].notna().any():
        rows = pd.read_csv(published, sep="\t")["simulation"].to_numpy()  # in the order of the measurements
    else:
        rows = expected.loc[list(evaluation[keys].itertuples(index=False, name=None))].to_numpy()
    np.testing.assert_allclose(evaluation["simulation"], rows, rtol=1e-4, atol=1e-9 * np.abs(rows).max())
