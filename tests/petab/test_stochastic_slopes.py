"""Derivatives of simulated means against those of rate equations, where these are the mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import sbmlgrad as sg
from sbmlgrad.gradient.catalogue import as_estimator
from sbmlgrad.petab.evaluate import Evaluator
from sbmlgrad.petab.fit import MultiStart, Options
from sbmlgrad.petab.objective import Objective
from sbmlgrad.petab.observe import Simulated
from sbmlgrad.petab.stochastic_slopes import MovingMeans, Sampling
from sbmlgrad.simulation.methods import SSA
from sbmlgrad.simulation.path import Settings

Write = Callable[..., Path]


def both(problem: Path, seeds: int = 4) -> tuple[Simulated, list[Simulated]]:
    """By rate equations, and by independent ensembles, at the nominal parameters."""
    definition = sg.read_petab(problem).definition
    evaluator = Evaluator(definition, Settings(relative=1e-10))
    searches = MultiStart(evaluator, Options(1, 0, True, 1, 1e-8, False))
    objective = Objective(evaluator, searches.parameters, searches.fixed, evaluator.settings)
    values, slopes = objective.moving(searches.parameters.to_scale(searches.parameters.start))
    means = MovingMeans(evaluator, Sampling(SSA(), as_estimator("auto"), 10_000))
    drawn = [means.drawn(values, slopes, 2000, seed, descending=False) for seed in range(seeds)]
    exact = evaluator.simulate(values, slopes, evaluator.settings)
    return exact, [half for one in drawn for half in (one.first, one.second)]


def agree(exact: Simulated, found: list[Simulated], parts: tuple[str, ...], most: float = 0.05) -> bool:
    """Within 9 standard errors of 8 ensembles, which Student's t of 7 degrees of freedom exceeds once in 20,000."""
    for part in parts:
        values, expected = np.array([getattr(one, part) for one in found]), getattr(exact, part)
        error = values.std(axis=0, ddof=1) / np.sqrt(len(found))
        assert np.all(error <= most * np.max(np.abs(expected))), "too noisy to tell"
        if np.any(np.abs(values.mean(axis=0) - expected) > 9 * error + 1e-9 * np.max(np.abs(expected))):
            return False
    return True


EVERY = ("values", "noise", "slopes", "noise_slopes")


def test_conditions_scales_and_noise_move(version1: Write) -> None:
    """An initial value, a rate, a scale and the noise, each by a parameter of its own."""
    exact, found = both(
        version1(
            conditions="conditionId | k | A\nfast | 1 | 8\nslow | k_slow | begin",
            observables="observableId | observableFormula | noiseFormula\n"
            "a | observableParameter1_a * A + 1 | noiseParameter1_a * a + 0.01 * A",
            measurements="observableId | simulationConditionId | time | measurement | observableParameters | "
            "noiseParameters\na | fast | 1 | 10 | s | 0.1\na | slow | 2 | 9 | s | sigma\na | slow | 3 | 6 | 2 | 0.2",
            parameters="parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
            "k_slow | log10 | 0.01 | 10 | 0.25 | 1\ns | lin | 0 | 10 | 1.5 | 1\nsigma | log | 0.01 | 1 | 0.1 | 1\n"
            "begin | log10 | 1 | 100 | 20 | 1",
        )
    )
    assert np.count_nonzero(exact.slopes) == 6
    assert np.count_nonzero(exact.noise_slopes) == 7
    assert agree(exact, found, EVERY)


def test_periods_and_pre_equilibrations_move(version1: Write) -> None:
    """What was reached before and what goes on from there, of a species that is fed and decays."""
    exact, found = both(
        version1(
            model={
                "species": {"A": {"amount": 5.0}},
                "reactions": {"feeding": ("-> A", "feed"), "decay": ("A ->", "k * A")},
                "parameters": {"k": 0.5, "feed": 10.0},
                "compartments": {"cell": 1.0},
            },
            conditions="conditionId | k | feed\nbefore | 1 | level\nafter | k_slow | 0",
            measurements="observableId | preequilibrationConditionId | simulationConditionId | time | measurement\n"
            "a | before | after | 0 | 20\na | before | after | 2 | 12",
            parameters="parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
            "k_slow | log10 | 0.01 | 10 | 0.25 | 1\nlevel | lin | 0 | 100 | 20 | 1\ns | lin | 0 | 10 | 1 | 0",
        )
    )
    assert agree(exact, found, ("values", "slopes"), most=0.1)


def test_what_does_not_depend_on_parameters_is_only_simulated(version1: Write) -> None:
    exact, found = both(version1(observables="observableId | observableFormula | noiseFormula\na | A | s"))
    assert agree(exact, found, EVERY)
    assert not np.any(found[0].slopes[0])
