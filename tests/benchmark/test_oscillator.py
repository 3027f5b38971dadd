"""The oscillator of the benchmark: its own simulator, its steps, and how periods are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def oscillator(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("oscillator")


def test_messengers_of_a_gene_that_nothing_binds_are_poisson(oscillator: ModuleType) -> None:
    """Without translation: transcription at 50, decay at 10. Mean and variance within 4.5 standard errors (1e-5)."""
    rates = np.array([0.0 if name.startswith("beta") else value for name, value in oscillator.TRUTH.items()])
    n, times = 4000, np.array([0.05, 0.5])
    counts = oscillator.gillespie(rates, times, n, 3)[:, :, oscillator.SPECIES.index("MA")]
    mean = 5 * (1 - np.exp(-10 * times))
    assert np.all(np.abs(counts.mean(axis=0) - mean) < 4.5 * np.sqrt(mean / n))
    assert np.all(np.abs(counts.var(axis=0) - mean) < 4.5 * np.sqrt((mean + 2 * mean**2) / n))


def test_molecules_are_conserved_while_genes_switch(oscillator: ModuleType) -> None:
    """Nothing is made or lost: activator is free, on a gene, or in the complex, and there is none from the start."""
    rates = np.array([0.0 if name[:5] in ("alpha", "beta_", "delta") else 1.0 for name in oscillator.TRUTH])
    rates[list(oscillator.TRUTH).index("alpha_A")] = 1e-9  # so that time goes on
    assert not oscillator.gillespie(rates, np.array([1.0, 10.0]), 3, 1).any()


@dataclass(frozen=True)
class Line:
    """Means that are straight lines of the logarithms of rates, seen with noise; nothing is simulated."""

    slopes: np.ndarray
    truth: np.ndarray

    def counts(self, values: np.ndarray, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        shape = (4000, len(self.slopes), 1)
        return (self.slopes @ (values - self.truth))[:, None] + random.normal(size=shape)


def test_steps_go_to_the_truth_of_a_straight_line(oscillator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rates from six means: found within 5 floors, and floors are those of least squares."""
    random = np.random.default_rng(4)
    line = Line(random.normal(size=(6, 2)), np.array([0.1, -0.1]))
    fitting = oscillator.Fitting(None, np.zeros((6, 1)), 4000, "coupled_fd", 4000)
    monkeypatch.setattr(oscillator.Fitting, "simulated", lambda self, values, seed: line.counts(values, seed))
    slopes = [line.slopes + 0.05 * random.normal(size=(6, 2)) for _ in range(4)]
    values = np.zeros(2)
    for number, doubt in enumerate((0.1, 0.05, 0.01)):
        values = fitting.step(values, slopes[:2], doubt, number)
    values, information = fitting.target(values, slopes, 9)
    floor = np.sqrt(np.diag(np.linalg.inv(4000 * line.slopes.T @ line.slopes)))
    assert np.all(np.abs(values - line.truth) < 5 * np.sqrt(2) * floor)
    assert np.allclose(np.sqrt(np.diag(np.linalg.inv(information))), floor, rtol=0.15)


def test_directions_of_which_only_noise_is_seen_are_left_out(oscillator: ModuleType) -> None:
    """Signal 100 in the one rate and none in the other, noise 1 in each of 400 means: the first keeps its share of
    100^2 / (100^2 + 400 / 8), the second less than a tenth of what noise would make of it."""
    random = np.random.default_rng(2)
    slopes = np.zeros((400, 2))
    slopes[:, 0] = 5.0
    white = slopes + random.normal(size=(8, 400, 2))
    signal, left, own = oscillator.weighed(white)
    assert signal[0, 0] == pytest.approx(400 * 25, rel=0.05)
    assert left[0, 0] == pytest.approx(10_000 / (10_000 + 50), rel=0.01)
    assert signal[1, 1] < 0.2 * 50
    assert own[1, 1] < 0.1 * 50


def test_periods_are_read_off_a_regular_clock(oscillator: ModuleType) -> None:
    time = oscillator.LONG
    beat = np.maximum(0, np.sin(2 * np.pi * (time - 7) / 20))
    counts = np.zeros((3, len(time), 7))
    counts[:, :, oscillator.SPECIES.index("A")] = 1000 * beat
    counts[:, :, oscillator.SPECIES.index("R")] = 1000 * np.cos(2 * np.pi * time / 20)
    found = oscillator.beats(counts)
    assert found["period"] == pytest.approx(20)
    assert found["variation"] == pytest.approx(0, abs=1e-12)
    assert found["frequency"] == pytest.approx(1 / 20, rel=0.01)
