"""Replay draws the trajectories of the ensemble."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation import ensemble
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.replay import array_loop, run_batches


@cache
def genes(count: int) -> ReactionNetwork:
    """More reactions than are added up one by one."""
    rng = np.random.default_rng(0)
    eye = np.eye(count, dtype=int)
    return ReactionNetwork(
        np.hstack([eye, -eye]),
        lambda x, p: jnp.concatenate([5 * jax.nn.sigmoid(p["weights"] @ x + p["bias"]), x]),
        x0=np.ones(count),
        parameters={"weights": rng.normal(size=(count, count)) / count, "bias": np.full(count, -1.0)},
    )


# At none left the rate is k*0*(-1), which is -0.
PAIRING = ReactionNetwork([[-2]], lambda x, p: jnp.stack([p["k"] * x[0] * (x[0] - 1)]), x0=[6], parameters={"k": 0.1})


@pytest.mark.parametrize(
    ("network", "times", "start", "n", "batch_size"),
    [
        (lambda cascade: cascade, [0.0, 0.5, 3.0, 10.0], 0.0, 50, 16),
        (
            lambda cascade: cascade,
            np.linspace(1.0, 9.0, 90),
            1.0,
            20,
            24,
        ),  # more times than the ensemble handles at once
        (lambda _: genes(40), [0.3, 1.0], 0.0, 20, 20),
        (lambda _: PAIRING, [0.5, 1e3], 0.0, 20, 20),
        (lambda _: ReactionNetwork(np.zeros((1, 0), int), lambda x, p: jnp.zeros(0), x0=[3]), [0.0, 1.0], 0.0, 3, 2),
    ],
    ids=["fractions", "many times", "genes", "pairs", "no reactions"],
)
def test_trajectories_are_those_of_the_ensemble(
    cascade: ReactionNetwork,
    network: Callable[[ReactionNetwork], ReactionNetwork],
    times: Any,
    start: float,
    n: int,
    batch_size: int,
) -> None:
    net = network(cascade)
    task = Ensemble(net, net.x0, net.coefficients, np.asarray(times, float), n, seed=3, start=start)
    chunks = list(ensemble.run(task))
    expected = np.concatenate([np.stack(chunk.records) for chunk in chunks], axis=-1)
    batches = list(run_batches(task, array_loop(net, batch_size, len(times)), keep=False))
    got = np.concatenate([batch.observed[..., : batch.count] for batch in batches], axis=-1)
    assert np.array_equal(got, np.swapaxes(expected, 0, 1))
    assert sum(batch.events for batch in batches) == sum(chunk.events for chunk in chunks)
    assert not any(batch.checkpoints for batch in batches)
