"""The C program that sparse networks are measured against is right, and so is what is made for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.network.mass_action import mass_action_of
from sbmlgrad.simulation.prepare import prepare


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_c_program_and_the_sparse_loop_have_one_mean(
    benchmark_script: Callable[[str], ModuleType], model: Callable[..., sg.Model], tmp_path: Path
) -> None:
    """Means of 2,000 trajectories: 4.5 standard errors, 7e-6 for each of four species of two ways."""
    script = benchmark_script("large_networks")
    system = model(
        {"A": {"amount": 60}, "B": {"amount": 30}, "C": {"amount": 0}, "D": {"amount": 0}},
        {
            "bind": ("A + B -> C", "k1 * A * B"),
            "free": ("C -> A + B", "k2 * C"),
            "dimer": ("2 A -> D", "k1 * A * (A - 1)"),
            "made": ("-> B", "k3"),
        },
        {"k1": 0.02, "k2": 0.5, "k3": 4.0},
    )
    prepared = prepare(system)
    data = mass_action_of(prepared.network)
    network = script.Network("small", data, prepared.counts, 1.5, prepared.coefficients)
    plain = sg.simulate(system, [1.5], n=2000, seed=1, method=sg.SSA(sparse=False))
    error = plain.sd.iloc[0].to_numpy() * np.sqrt(2 / 2000)
    for by in (
        lambda: script.by_c(script.compiled_c(tmp_path), network, 2000),
        lambda: script.by_sbmlgrad(network, 2000),
    ):
        fired, seconds, means = by()
        assert np.all(np.abs(means - plain.mean.iloc[0].to_numpy()) < 4.5 * error)
        assert seconds > 0
        assert fired == pytest.approx(plain.events, rel=0.02)


def test_networks_from_arrays_are_what_they_say(benchmark_script: Callable[[str], ModuleType]) -> None:
    script = benchmark_script("large_networks")
    genes = script.cascade(60)
    assert (genes.data.reactions, genes.data.size) == (60, 30)
    values = genes.data.propensities(genes.x0[:, None], genes.data.numbers(()))
    np.testing.assert_array_equal(values, 20.0)
    many = script.contest(1000)
    assert many.data.updates == 10.0
    assert np.all(np.bincount(many.data.factors.items) == 5)
    assert np.all(many.data.changes.reshape(-1, 2).sum(axis=1) == 0)


def test_followers_are_what_the_species_of_a_jump_have(benchmark_script: Callable[[str], ModuleType]) -> None:
    script = benchmark_script("large_networks")
    data = script.contest(50).data
    found = script.followers(data)
    for reaction in range(50):
        species = data.jumps.items[data.jumps.starts[reaction] : data.jumps.starts[reaction + 1]]
        expected = np.flatnonzero(np.isin(data.factors.items, species))
        np.testing.assert_array_equal(found.items[found.starts[reaction] : found.starts[reaction + 1]], expected)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_more_memory_takes_longer(benchmark_script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """32 MB against 16 kB, which every processor has in its nearest cache."""
    script = benchmark_script("large_networks")
    program = script.compiled_c(tmp_path, "memory_wait")
    assert 0.1 < script.wait(program, 16 << 10) < script.wait(program, 32 << 20)
