"""The state of training on disk."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import optax

from sbmlgrad.fitting.training_state import TrainingState, digest, read_state, write_state


def test_what_is_written_is_read(tmp_path: Path) -> None:
    optimiser = optax.chain(optax.clip(1.0), optax.adam(optax.linear_schedule(0.1, 0.0, 10)))
    parameters = {"a": np.arange(3.0), "b": [np.float32(2.0)]}
    begun = TrainingState(parameters, optimiser.init(parameters))
    state = TrainingState(parameters, begun.optimiser, 2, 5, 1.5, 50, 0.25, ({"epoch": 1, "loss": float("nan")},))
    write_state(tmp_path / "file", state, {"seed": "1"})
    read = read_state(tmp_path / "file", begun, {"seed": "1"})
    assert jax.tree.structure((read.parameters, read.optimiser)) == jax.tree.structure((parameters, begun.optimiser))
    for leaf, other in zip(read.leaves, state.leaves, strict=True):
        assert leaf.dtype == np.asarray(other).dtype
        assert np.array_equal(leaf, other)
    assert (read.epoch, read.batch, read.total, read.items, read.seconds) == (2, 5, 1.5, 50, 0.25)
    assert np.isnan(read.rows[0]["loss"])


def test_a_digest_tells_arrays_apart() -> None:
    trees = [np.zeros(4), np.zeros((2, 2)), np.zeros(8, np.float32), [np.zeros(4)], np.array([0, 0, 0, 1e-300])]
    assert len({digest(tree) for tree in trees}) == len(trees)
    assert digest(np.zeros((4, 4))[:, ::2]) == digest(np.zeros((4, 2)))
