"""The GPU kernel, interpreted: the trajectories of the plain loop, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, TruncationError
from sbmlgrad.gradient import score
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.gradient.score import Score
from sbmlgrad.simulation import ensemble, methods, registers
from sbmlgrad.simulation.ensemble import Chunk, Ensemble
from sbmlgrad.simulation.prepare import discretised, prepare


def run(experiment: Ensemble, kernel: bool) -> list[Chunk]:
    return list(ensemble.run(replace(experiment, registers=kernel)))


def assert_same(experiment: Ensemble) -> None:
    for chunk, expected in zip(run(experiment, True), run(experiment, False), strict=True):
        assert (chunk.first, chunk.events) == (expected.first, expected.events)
        for record, of_plain_loop in zip(chunk.records, expected.records, strict=True):
            np.testing.assert_array_equal(record, of_plain_loop)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("dimerisation", np.linspace(0, 3, 70)),  # more times than one call of the loop handles
        ("vilar_oscillator", np.array([0.05, 0.1])),
        ("schlogl", np.array([0.2])),
    ],
)
def test_trajectories_are_those_of_the_plain_loop(models_dir: Path, name: str, times: np.ndarray) -> None:
    prepared = prepare(sg.read_sbml(models_dir / name / "model.xml"), {}, None)
    assert_same(Ensemble(prepared.network, prepared.counts, prepared.coefficients, times, 40, 3))


def test_scores_are_those_of_the_plain_loop(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = differentiable(discretised(sg.read_sbml(models_dir / "dimerisation" / "model.xml")), ["c1", "c2"])
    task = Task([0.001, 0.1], np.array([1.0, 2.0]), 64, 5)
    expected = Score().estimate(problem, task)
    monkeypatch.setattr(ensemble, "_in_registers", lambda _: True)
    estimate = Score().estimate(problem, task)
    np.testing.assert_allclose(estimate.derivatives, expected.derivatives, rtol=1e-13)


def test_an_ensemble_from_its_start_to_its_moments(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, times = models_dir / "dimerisation" / "model.xml", np.linspace(0, 1, 70)
    expected = sg.simulate(path, times, n=300, seed=4)
    for module in (ensemble, methods):
        monkeypatch.setattr(module, "on_accelerator", lambda: True)
    monkeypatch.setattr(ensemble, "_in_registers", lambda _: True)
    taken = sg.simulate(path, times, n=300, seed=4)
    np.testing.assert_array_equal(taken.counts, expected.counts)
    np.testing.assert_allclose(taken.sd, expected.sd, rtol=1e-12)


def test_scores_taken_on_the_device(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = differentiable(discretised(sg.read_sbml(models_dir / "dimerisation" / "model.xml")), ["c1", "c2"])
    task = Task([0.001, 0.1], np.array([1.0, 2.0]), 300, 5)
    estimators = (Score(), Score(window=0.5))
    expected = [estimator.estimate(problem, task) for estimator in estimators]
    for module in (ensemble, score):
        monkeypatch.setattr(module, "on_accelerator", lambda: True)
    for estimator, plain in zip(estimators, expected, strict=True):
        estimate = estimator.estimate(problem, task)
        np.testing.assert_allclose(estimate.derivatives, plain.derivatives, rtol=1e-9)
        np.testing.assert_allclose(estimate.stderr, plain.stderr, rtol=1e-9)
        np.testing.assert_allclose(estimate.values, plain.values, rtol=1e-12)


def test_what_cannot_be_compiled_runs_in_the_plain_loop(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refuse(*_: object) -> None:
        tries.append(1)
        raise NotImplementedError("a primitive without a lowering")

    monkeypatch.setattr(registers, "build_kernel", refuse)
    prepared = prepare(sg.read_sbml(models_dir / "dimerisation" / "model.xml"), {}, None)
    experiment = Ensemble(prepared.network, prepared.counts, prepared.coefficients, np.array([1.0]), 40, 3)
    for _ in range(2):
        assert_same(experiment)
    assert len(tries) == 1


def test_errors_are_those_of_the_plain_loop() -> None:
    falling = sg.ReactionNetwork(np.array([[-1]]), lambda x, _: 1.5 + x, [3.0])
    with pytest.raises(PropensityError, match="its propensity is -0.5"):
        run(Ensemble(falling, [3.0], (), np.array([100.0]), 40, 1), True)
    exploding = sg.ReactionNetwork(np.array([[1]]), lambda x, _: x * x, [3.0])
    with pytest.raises(TruncationError, match="more than the 1e\\+04 allowed"):
        run(Ensemble(exploding, [3.0], (), np.array([100.0]), 40, 1, max_events=10_000), True)


def test_only_small_networks_of_single_numbers_suit() -> None:
    small = sg.ReactionNetwork(np.array([[1]]), lambda x, p: p["a"] * x, [3.0], {"a": 1.0})
    assert registers.suits(small, 0, small.coefficients)
    assert not registers.suits(small, 100, small.coefficients)
    assert not registers.suits(small, 0, (np.ones(3),))
