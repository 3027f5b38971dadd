"""The gradient that fits follow, against finite differences: small problems, cases of the suite, published ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.petab.objective import Objective, coordinates
from sbmlgrad.petab.problem import Problem
from sbmlgrad.simulation.path import Settings

Write = Callable[..., Path]

STEP = 1e-4  # on the parameters' scale
QUICK = {("v1.0.0", "0009"), ("v2.0.0", "0024")}  # others take long to compile
CASES = [("v1.0.0", f"{number:04}") for number in range(1, 21)]
CASES += [("v2.0.0", f"{number:04}") for number in range(1, 33) if number != 19]
PUBLISHED = [
    "Boehm_JProteomeRes2014",
    "Elowitz_Nature2000",
    "Fiedler_BMCSystBiol2016",
    "Blasi_CellSystems2016",  # a steady state before
    "Sneyd_PNAS2002",
    "Zheng_PNAS2012",  # a steady state before
    "Fujita_SciSignal2010",  # an input that is switched at times
    "Armistead_CellDeathDis2024",
]


def objective_of(problem: Problem, tolerance: float = 1e-10) -> tuple[Objective, np.ndarray]:
    """The objective of a problem, and its nominal point."""
    parameters = coordinates(problem.definition)
    objective = Objective(problem._evaluator, parameters, dict(problem.nominal), Settings(relative=tolerance))
    return objective, parameters.to_scale(parameters.start)


def loss(problem: Problem, values: np.ndarray) -> float:
    """Minus the log posterior by an evaluation, which computes no derivatives."""
    names = coordinates(problem.definition).names
    evaluation = problem.evaluate(dict(zip(names, values.tolist(), strict=True)))
    return -(evaluation.llh if evaluation.log_posterior is None else evaluation.log_posterior)


def deviation(problem: Problem) -> float:
    """The largest deviation of the gradient from central differences, beside its largest component.

    Away from the nominal values, which may be the optimum, where a gradient is nothing but errors.
    """
    objective, point = objective_of(problem)
    parameters = objective.parameters
    lower, upper = (parameters.to_scale(side) for side in (parameters.lower, parameters.upper))
    width = np.minimum(np.maximum(np.abs(point), 1.0), upper - lower)
    inward = np.where(point + 0.06 * width < upper, 0.05, -0.05)
    try:
        gradient = objective(point + inward * width).gradient
        point = point + inward * width
    except SimulationError:  # beyond what a prior allows
        gradient = objective(point).gradient
    differences = np.empty_like(gradient)
    for index, size in enumerate(STEP * width):
        step = np.zeros_like(point)
        step[index] = size
        values = [loss(problem, parameters.from_scale(point + factor * step)) for factor in (-2, -1, 1, 2)]
        differences[index] = np.dot(values, [1, -8, 8, -1]) / (12 * size)
    size = np.max(np.abs(gradient)) + 1e-6 * abs(objective(point).value)  # which may not change at all
    return float(np.max(np.abs(gradient - differences)) / size)


def test_likelihood_and_gradient_are_those_of_an_evaluation(decay: Problem) -> None:
    objective, point = objective_of(decay)
    assert objective(point).llh == pytest.approx(decay.evaluate().llh, rel=1e-9)
    assert objective(point).value == pytest.approx(-decay.evaluate().llh, rel=1e-9)
    assert deviation(decay) < 1e-7


EQUILIBRATED = {
    "conditions": "conditionId | k | A\nbefore | k_before | 3\nafter | 2 |",
    "measurements": "observableId | preequilibrationConditionId | simulationConditionId | time | measurement\n"
    "a | before | after | 0 | 1\na | before | after | 1 | 2\na | before | after | inf | 1",
    "parameters": "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
    "k_before | log10 | 0.1 | 10 | 0.7 | 1\nrate | log | 1 | 10 | 6 | 1\ns | lin | 0 | 10 | 1 | 1",
}
FED = {
    "reactions": {"decay": ("A ->", "k * A * cell"), "feed": ("-> A", "rate * cell")},
    "parameters": {"k": 0.5, "rate": 6.0},
}


def test_steady_states_carry_derivatives(version1: Write) -> None:
    problem = sg.read_petab(version1(model=FED, **EQUILIBRATED))
    assert deviation(problem) < 1e-6


def test_events_and_periods_carry_derivatives(version2: Write) -> None:
    dose = {"trigger": "A < threshold", "set": {"A": "A + size"}}
    problem = version2(
        model={"events": {"dose": dose}, "parameters": {"k": 0.5, "threshold": 4.0, "size": 2.0}},
        conditions="conditionId | targetId | targetValue\nagain | A | A + 2 * size",
        measurements="observableId | experimentId | time | measurement\na | twice | 1 | 8\na | twice | 3 | 6\n"
        "a | twice | 9 | 5",
        parameters="parameterId | lowerBound | upperBound | nominalValue | estimate\nk | 0.01 | 10 | 0.6 | true\n"
        "threshold | 1 | 7 | 3.9 | true\nsize | 0.5 | 4 | 1.5 | true",
    )
    assert deviation(sg.read_petab(problem)) < 1e-6


def test_every_noise_model_has_its_gradient(version1: Write) -> None:
    kinds = [(scale, noise) for scale in ("lin", "log", "log10") for noise in ("normal", "laplace")]
    observables = [
        f"{scale}_{noise} | s * A + 1 | sigma * {scale}_{noise} + 0.1 | {scale} | {noise}" for scale, noise in kinds
    ]
    measurements = [f"{scale}_{noise} | slow | {time} | 3" for scale, noise in kinds for time in (1, 2)]
    head = "observableId | observableFormula | noiseFormula | observableTransformation | noiseDistribution"
    problem = version1(
        observables="\n".join([head, *observables]),
        measurements="\n".join(["observableId | simulationConditionId | time | measurement", *measurements]),
        parameters="parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
        "k_slow | log10 | 0.01 | 10 | 0.25 | 1\ns | lin | 0 | 10 | 1.3 | 1\nsigma | log | 0.01 | 10 | 0.2 | 1",
    )
    assert deviation(sg.read_petab(problem)) < 1e-6


def test_priors_are_part_of_it(version1: Write) -> None:
    parameters = (
        "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate | objectivePriorType | "
        "objectivePriorParameters\nk_slow | log10 | 0.01 | 10 | 0.25 | 1 | parameterScaleNormal | -1;0.3\n"
        "s | lin | 0 | 10 | 1 | 1 | laplace | 2;1"
    )
    problem = sg.read_petab(version1(parameters=parameters))
    objective, point = objective_of(problem)
    assert objective(point).value == pytest.approx(-(problem.evaluate().log_posterior or 0.0), rel=1e-9)
    assert deviation(problem) < 1e-6
    shift = np.log10(0.25) + 1
    # up to the part of the prior that the bounds cut off
    assert (problem.evaluate().log_prior or {})["k_slow"] == pytest.approx(
        -0.5 * (shift / 0.3) ** 2 - np.log(0.3 * np.sqrt(2 * np.pi)), abs=1e-3
    )


@pytest.mark.parametrize(
    ("version", "case"), [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_gradients_of_the_suite(data_dir: Path, version: str, case: str) -> None:
    path = data_dir / "petab-test-suite" / version / "sbml" / case / f"_{case}.yaml"
    if not path.is_file():
        pytest.skip(f"no case at {path}")
    problem = sg.read_petab(path)
    if not coordinates(problem.definition).names:
        pytest.skip("nothing is estimated")
    assert deviation(problem) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_gradients_of_published_problems(data_dir: Path, name: str) -> None:
    path = data_dir / "petab" / name / f"{name}.yaml"
    if not path.is_file():
        pytest.skip(f"no problem at {path}")
    assert deviation(sg.read_petab(path)) < 1e-4
