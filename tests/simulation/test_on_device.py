"""What is taken on a device is what would have come of the trajectories; here the CPU plays the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.simulation import ensemble, grains, methods, on_device
from sbmlgrad.simulation.moments import Moments

TIMES = [0.0, 1.0, 3.0]


@pytest.fixture
def on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ensemble, methods):
        monkeypatch.setattr(module, "on_accelerator", lambda: True)


@pytest.fixture(scope="module")
def expected(models_dir: Path) -> sg.Simulation:
    return sg.simulate(models_dir / "dimerisation" / "model.xml", TIMES, n=700, seed=2)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000, 1024])
def test_moments_by_grain_are_moments(count: int) -> None:
    values = 1e6 + np.random.default_rng(1).normal(size=(2, 3, 1024))
    plain, by_grain = Moments(), Moments()
    plain.add(values[..., :count])
    by_grain.add_grains(*grains.fetched(grains.moments_of(values, np.int32(count)), count))
    assert by_grain.count == count
    np.testing.assert_allclose(by_grain.mean, plain.mean, rtol=1e-14)
    np.testing.assert_allclose(by_grain.sd, plain.sd, rtol=1e-8)


def test_means_of_others_leave_out_what_is_no_trajectory() -> None:
    values = np.arange(512.0)
    others = np.asarray(grains.mean_of_others(values, np.int32(258)))
    np.testing.assert_allclose(others[:256], (np.arange(256).sum() - np.arange(256)) / 255)
    np.testing.assert_array_equal(others[256:258], [257, 256])


@pytest.mark.usefixtures("on_a_device")
def test_an_ensemble_is_the_same(models_dir: Path, expected: sg.Simulation) -> None:
    taken = sg.simulate(models_dir / "dimerisation" / "model.xml", TIMES, n=700, seed=2)
    assert taken.counts.dtype == np.int64
    np.testing.assert_array_equal(taken.counts, expected.counts)
    np.testing.assert_allclose(taken.mean, expected.mean, rtol=1e-14)
    np.testing.assert_allclose(taken.sd, expected.sd, rtol=1e-12)
    assert taken.events == expected.events


@pytest.mark.usefixtures("on_a_device")
def test_no_cut_changes_a_bit(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models_dir / "dimerisation" / "model.xml"
    whole = sg.simulate(path, TIMES, n=700, seed=2)
    monkeypatch.setattr(ensemble, "layout", lambda *_: (1, 256))
    monkeypatch.setattr(ensemble, "_SEGMENT", 2)
    cut = sg.simulate(path, TIMES, n=700, seed=2, keep_counts=False)
    assert cut.mean.equals(whole.mean)
    assert cut.sd.equals(whole.sd)


@pytest.mark.parametrize(("largest", "width"), [(300.0, np.int16), (40_000.0, np.int32), (2.0**40, np.int64)])
def test_counts_come_in_few_bytes(largest: float, width: type) -> None:
    records = (np.array([[1.0, largest]]), np.array([[0.0, 2.0]]))
    counts = on_device.counts_of(records)
    assert counts.dtype == width
    np.testing.assert_array_equal(counts, [[[1, 0]], [[largest, 2]]])


@pytest.mark.usefixtures("on_a_device")
def test_errors_are_named(models_dir: Path) -> None:
    with pytest.raises(sg.errors.TruncationError, match="trajectory"):
        sg.simulate(models_dir / "dimerisation" / "model.xml", TIMES, n=300, max_events=10)
