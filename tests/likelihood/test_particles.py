"""Particle filters against the forward filter, which is exact.

All seeds are fixed. Chance alone would make a test of |z| < 4 fail once in 16,000 times; where a sample is skewed, once
in some thousands.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError, SimulationError
from sbmlgrad.fitting.measured import with_noise
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.likelihood.particles import FILTERS, Estimate, ParticlePaths, few_molecules
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.records import Trajectories
from sbmlgrad.model.derive import with_constants
from sbmlgrad.simulation.prepare import discretised

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]
VALUES = np.array([3.0, 1.0, 2.0, 0.5])
AWAY = np.array([3.3, 1.1, 1.8, 0.55])
RUNS = 12


def proteins(draw: Draw, error: float, replicates: int = 2) -> Trajectories:
    random, times = np.random.default_rng(11), 0.5 * np.arange(1, 9)
    values = np.stack([draw(random, times) + error * random.normal(size=8) for _ in range(replicates)])[:, None]
    values[0, 0, 3] = np.nan  # nobody looked
    return Trajectories(("P",), times, values, np.full(values.shape, error**2))


def exact(problem: Problem, data: Trajectories) -> ProjectedPaths:
    likelihood = ProjectedPaths(problem, data)
    likelihood.prepare(VALUES[: len(problem.parameters)])
    while likelihood.widen(VALUES[: len(problem.parameters)]):
        pass
    return likelihood


def z_of(ratios: np.ndarray) -> float:
    return float((ratios.mean() - 1) / (ratios.std(ddof=1) / np.sqrt(len(ratios))))


@pytest.mark.parametrize("error", [0.0, 1.5])
def test_the_likelihood_is_unbiased_here_and_elsewhere(expression: Problem, draw: Draw, error: float) -> None:
    """Two trajectories of proteins, a missing value, messages hidden: |z| < 4 of 96 filters; scores within 2 % or 4
    standard errors of their mean, and within a tenth of a standard error of the parameter."""
    data = proteins(draw, error)
    judge = exact(expression, data)
    here, there = judge.evaluate(VALUES), judge.evaluate(AWAY).value
    near, far, scores = [], [], []
    for seed in range(RUNS):
        filters = ParticlePaths(expression, data, seed, particles=256)
        filters.prepare(VALUES)
        near.append(filters.estimate(VALUES).values.sum(axis=1))
        scores.append(filters.estimate(VALUES).score)
        far.append(filters.estimate(AWAY).values.sum(axis=1))
        assert filters.estimate(VALUES).noise < 1
    assert abs(z_of(np.exp(np.concatenate(near) - here.value))) < 4
    assert abs(z_of(np.exp(np.concatenate(far) - there))) < 4
    off, wide = np.mean(scores, axis=0) - here.score, np.std(scores, axis=0, ddof=1) / np.sqrt(RUNS)
    assert np.all(np.abs(off) < np.maximum(0.02 * np.abs(here.score), 4 * wide))
    step = 1e-3 * VALUES
    information = [
        (judge.evaluate(VALUES - s).score - judge.evaluate(VALUES + s).score)[i] / (2 * step[i])
        for i, s in enumerate(np.diag(step))
    ]
    assert np.all(np.abs(off) < 0.1 * np.sqrt(np.maximum(information, 0.01)))


def test_a_law_that_is_no_factor_of_its_parameters(draw: Draw) -> None:
    """Saturated loss: score within 4 standard errors of the mean of 12 runs, or 2 %; the value 10 % away within 0.1."""
    network = sg.ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["k"] + 0 * x[0], p["v"] * x[0] / (p["h"] + x[0])]),
        [3],
        {"k": 3.0, "v": 6.0, "h": 4.0},
        species=("X",),
    )
    problem, values = differentiable(network, ["v", "h"]), np.array([6.0, 4.0])
    data = Trajectories(
        ("X",), 0.5 * np.arange(1, 9), np.array([[[4.0, 4, 3, 5, 6, 4, 2, 3]]]), np.full((1, 1, 8), 0.5)
    )
    judge = ProjectedPaths(problem, data)
    judge.prepare(values)
    while judge.widen(values):
        pass
    found = []
    for seed in range(RUNS):
        filters = ParticlePaths(problem, data, seed, particles=256)
        filters.prepare(values)
        rise = filters.estimate(1.1 * values).value - filters.estimate(values).value
        assert rise == pytest.approx(judge.evaluate(1.1 * values).value - judge.evaluate(values).value, abs=0.1)
        found.append(filters.estimate(values).score)
    score, wide = judge.evaluate(values).score, np.std(found, axis=0, ddof=1) / np.sqrt(RUNS)
    assert np.all(np.abs(np.mean(found, axis=0) - score) < np.maximum(0.02 * np.abs(score), 4 * wide))


@pytest.mark.parametrize("law", ["binomial", "lognormal", "relative"])
def test_what_an_instrument_makes_of_counts(models_dir: Path, law: str) -> None:
    """Birth and death seen through noise with a fitted parameter: |z| < 4 of 48 filters, here and elsewhere, scores
    within 2 % or 4 standard errors, the moments of what is expected within 5 % of those by projection."""
    model = with_constants(sg.read_sbml(models_dir / "birth_death" / "model.xml"), {"p": 0.6})
    text = {"binomial": "binomial(p)", "lognormal": "lognormal(p)", "relative": "p + 0.1*X"}[law]
    model, laws = with_noise(model, {"X": text}, {"X"})
    problem = differentiable(discretised(model, ("X", laws["X"].parameter)), ("k", "g", "p"))
    seen = np.array([2.0, 4.0, np.nan, 3.0, 5.0, 2.0])
    data = Trajectories(("X",), np.array([0.5, 1.5, 2.0, 2.5, 3.0, 4.0]), seen[None, None], np.zeros((1, 1, 6)))
    values = np.array([4.0, 0.7, 0.6])
    judge = ProjectedPaths(problem, data, laws)
    judge.prepare(values)
    while judge.widen(values):
        pass
    here, there = judge.evaluate(values), judge.evaluate(1.1 * values).value
    near, far, scores = [], [], []
    for seed in range(RUNS // 2):
        filters = ParticlePaths(problem, data, seed, particles=256, laws=laws)
        filters.prepare(values)
        near.append(filters.estimate(values).values.sum(axis=1))
        scores.append(filters.estimate(values).score)
        far.append(filters.estimate(1.1 * values).values.sum(axis=1))
        assert filters.estimate(values).noise < 1
    assert abs(z_of(np.exp(np.concatenate(near) - here.value))) < 4
    assert abs(z_of(np.exp(np.concatenate(far) - there))) < 4
    off, wide = np.mean(scores, axis=0) - here.score, np.std(scores, axis=0, ddof=1) / np.sqrt(RUNS // 2)
    assert np.all(np.abs(off) < np.maximum(0.02 * np.abs(here.score), 4 * wide))
    found, expected = filters.expected(values), judge.expected(values)
    np.testing.assert_allclose(found.predicted, expected.predicted, rtol=0.05)
    np.testing.assert_allclose(found.sd, expected.sd, rtol=0.1)


def test_noise_that_no_law_has_is_refused(models_dir: Path) -> None:
    model, laws = with_noise(sg.read_sbml(models_dir / "birth_death" / "model.xml"), {"X": "0.1*X"}, {"X"})
    problem = differentiable(discretised(model, ("X", laws["X"].parameter)), ("k", "g"))
    data = Trajectories(("X",), np.array([1.0]), np.array([[[2.0]]]), np.zeros((1, 1, 1)))
    with pytest.raises(FitError, match="noise of 'X' is 0 where X = 0, and no normal law has that"):
        ParticlePaths(problem, data, laws=laws).prepare(np.array([4.0, 0.7]))


def test_the_score_is_the_derivative_and_nothing_is_compiled_twice(expression: Problem, draw: Draw) -> None:
    data = proteins(draw, 0.0)
    filters = ParticlePaths(expression, data, seed=3, particles=256)
    filters.prepare(VALUES)
    found = filters.evaluate(VALUES)
    for index, step in enumerate(1e-4 * np.diag(VALUES)):
        slope = (filters.evaluate(VALUES + step).value - filters.evaluate(VALUES - step).value) / (2 * step[index])
        assert found.score[index] == pytest.approx(slope, abs=1e-5)
    filters.prepare(AWAY)
    filters.evaluate(AWAY)
    assert filters._compiled("slopes")._cache_size() == 1
    assert filters._compiled("run")._cache_size() == 1


def test_the_same_seed_gives_the_same_numbers(expression: Problem, draw: Draw) -> None:
    data, found = proteins(draw, 1.5), []
    for seed in (5, 5, 6):
        filters = ParticlePaths(expression, data, seed, particles=256)
        filters.prepare(VALUES)
        found.append(filters.estimate(VALUES).values)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.any(found[0] == found[2])


def test_what_is_expected_of_the_next_value(expression: Problem, draw: Draw) -> None:
    """Means to 0.3 of 2,000 particles with a standard deviation of about 3 (more than 4 standard errors)."""
    data = proteins(draw, 0.0)
    filters, judge = ParticlePaths(expression, data, seed=1, particles=256), exact(expression, data)
    filters.prepare(VALUES)
    found, told = filters.expected(VALUES), judge.expected(VALUES)
    np.testing.assert_array_equal(found.measured, told.measured)
    np.testing.assert_allclose(found.predicted, told.predicted, atol=0.5)
    np.testing.assert_allclose(found.sd, told.sd, rtol=0.15)


def test_as_many_particles_as_are_needed(expression: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump that hardly ever happens kills particles; more of them live, or it is said that there are too many."""
    data = Trajectories(("P",), np.array([0.5, 1.0]), np.array([[[2.0, 24.0]]]), np.zeros((1, 1, 2)))
    filters = ParticlePaths(expression, data)
    filters.prepare(VALUES)
    assert filters.particles > 256
    monkeypatch.setattr("sbmlgrad.likelihood.particles._MOST_PARTICLES", 256)
    impossible = Trajectories(("P",), np.array([0.0, 1.0]), np.array([[[2.0, 3.0]]]), np.zeros((1, 1, 2)))
    with pytest.raises(SimulationError, match="too many to follow"):
        ParticlePaths(expression, impossible).prepare(VALUES)
    alone = ParticlePaths(expression, impossible, particles=64)
    alone.prepare(VALUES)
    assert alone.evaluate(VALUES).value == -np.inf


def test_where_paths_are_rare_particles_are_simulated_anew(expression: Problem, draw: Draw) -> None:
    data = proteins(draw, 1.5)
    filters = ParticlePaths(expression, data, particles=256)
    filters.prepare(VALUES)
    far = VALUES * np.array([6.0, 0.2, 0.2, 5.0])
    with pytest.raises(SimulationError, match="too far"):
        filters.evaluate(far)
    assert filters.widen(far)
    assert np.isfinite(filters.evaluate(far).value)
    assert not filters.widen(far)


def test_initial_amounts_are_refused(model: Callable[..., sg.Model]) -> None:
    document = model({"X": {"amount": 3}}, {"loss": ("X -> ", "g*X")}, {"g": 0.5})
    from sbmlgrad.simulation.prepare import discretised

    problem = differentiable(discretised(document, ["X"]), ["X"])
    data = Trajectories(("X",), np.array([1.0]), np.array([[[2.0]]]), np.zeros((1, 1, 1)))
    with pytest.raises(SimulationError, match="paths of particles have no derivative for initial amounts"):
        ParticlePaths(problem, data).prepare(np.array([3.0]))


def test_which_molecules_are_few(expression: Problem, draw: Draw) -> None:
    data = proteins(draw, 0.0)
    assert few_molecules(expression, data, VALUES)
    assert not few_molecules(expression, data, np.array([300.0, 1.0, 2.0, 0.5]))


def test_noise_is_read_off_the_filters() -> None:
    random = np.random.default_rng(1)
    values = 0.3 * random.normal(size=(FILTERS, 1)) - 50.0
    found = Estimate(values, np.ones((2, FILTERS, 1)), 0.0)
    assert found.value == pytest.approx(np.log(np.mean(np.exp(values + 50))) - 50)
    assert 0.1 < found.noise < 0.6
    np.testing.assert_allclose(found.score, [1.0, 1.0])
    np.testing.assert_allclose(found.score_noise, np.zeros((2, 2)), atol=1e-20)
