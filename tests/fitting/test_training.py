"""Training: batches, what is learned, checkpoints to the same bits, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

import sbmlgrad as sg
from sbmlgrad.errors import CheckpointError, FitError, SbmlgradError
from sbmlgrad.fitting.training import Training, batches_of, train

Tree = dict[str, Any]


@cache
def gene() -> sg.ReactionNetwork:
    """Two genes that are to be on for inputs on either side of 0."""

    def propensities(x: Array, p: Tree, inputs: Tree) -> Array:
        return jnp.concatenate([20 * jax.nn.sigmoid(p["weight"] * inputs["z"] + p["bias"]), x])

    return sg.ReactionNetwork(
        np.hstack([np.eye(2, dtype=int), -np.eye(2, dtype=int)]),
        propensities,
        x0=[0, 0],
        parameters={"weight": [0.1, 0.0], "bias": [0.0, 0.0]},
        inputs={"z": 0.0, "label": 0},
    )


def cross_entropy(x: Array, p: Tree, inputs: Tree) -> Array:
    logits = jax.nn.log_softmax(0.3 * x)
    return jnp.stack([-logits[inputs["label"]], 1.0 * (jnp.argmax(x) == inputs["label"])])


def by_network(parameters: Tree, batch: Tree, seed: int) -> sg.Gradient:
    return sg.value_and_grad(
        gene(), cross_entropy, [2.0], inputs=batch, parameters=parameters, seed=seed, loss=lambda e: e[0, 0]
    )


def points(count: int, seed: int) -> Tree:
    z = np.random.default_rng(seed).choice([-1.0, 1.0], count) + 0.0
    return {"z": z, "label": (z > 0).astype(int)}


def test_a_network_learns_to_classify() -> None:
    """Half right before and all but some of 200 after; with genes fully on and off, 1 in 1e7 is a tie or worse."""
    held_out = points(200, 1)

    def evaluate(parameters: Tree, seed: int) -> dict[str, float]:
        result = sg.value_and_grad(gene(), cross_entropy, [2.0], inputs=held_out, parameters=parameters, seed=seed)
        return {"accuracy": result.expectations[0, 1]}

    result = train(
        by_network,
        gene().parameters,
        points(200, 0),
        optimiser=optax.adam(optax.exponential_decay(0.3, 10, 0.9)),
        epochs=5,
        batch_size=100,
        seed=3,
        evaluate=evaluate,
        progress=False,
    )
    assert evaluate(gene().parameters, 0)["accuracy"] < 0.7
    assert result.history["accuracy"].iloc[-1] > 0.95
    assert result.history["loss"].iloc[-1] < 0.5 * result.history["loss"].iloc[0]
    assert list(result.history.columns) == ["epoch", "loss", "seconds", "accuracy"]
    assert list(result.history["epoch"]) == [1, 2, 3, 4, 5]


def test_batches_take_every_item_once_an_epoch_in_an_order_of_its_own() -> None:
    first, second = batches_of(103, 10, 5, 0), batches_of(103, 10, 5, 1)
    assert [len(batch) for batch in first] == [10] * 10 + [3]
    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(103))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert np.array_equal(np.concatenate(first), np.concatenate(batches_of(103, 10, 5, 0)))


def noisy(parameters: Tree, batch: np.ndarray, seed: int) -> tuple[float, Tree]:
    """Squares of the distance to items, and noise of the seed."""
    noise = np.random.default_rng(seed).normal()
    rest = parameters["a"] - batch.mean(axis=0) - noise
    return float(jnp.sum(rest**2)), {"a": 2 * rest}


ITEMS = np.random.default_rng(0).normal(size=(7, 2))


def run(objective: Callable[..., Any] = noisy, data: Any = ITEMS, **options: Any) -> Training:
    settings = {"epochs": 3, "batch_size": 3, "optimiser": optax.adam(0.1), "progress": False, **options}
    return train(objective, {"a": np.zeros(2)}, data, **settings)


def interrupted(after: int) -> Callable[..., Any]:
    calls: Iterator[int] = iter(range(after))

    def objective(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return noisy(*arguments)

    return objective


@pytest.mark.parametrize("after", [0, 2, 3, 7])
def test_it_goes_on_to_the_same_bits(tmp_path: Path, after: int) -> None:
    """Cut off before the first batch, within an epoch, between two, and twice."""
    evaluate = lambda parameters, seed: {"drawn": seed % 1000, "a": parameters["a"][0]}  # noqa: E731
    whole = run(evaluate=evaluate)
    file = tmp_path / "run.ckpt"
    for more in (after, 1):
        with pytest.raises(KeyboardInterrupt):
            run(interrupted(more), checkpoint=file, resume=True, evaluate=evaluate)
    result = run(checkpoint=file, resume=True, evaluate=evaluate)
    assert np.array_equal(result.parameters["a"], whole.parameters["a"])
    assert result.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    ended = run(interrupted(0), checkpoint=file, resume=True)  # nothing is left to do
    assert np.array_equal(ended.parameters["a"], whole.parameters["a"])
    assert list(tmp_path.iterdir()) == [file]


def test_more_epochs_are_those_of_a_longer_run(tmp_path: Path) -> None:
    file = tmp_path / "run.ckpt"
    run(epochs=1, checkpoint=file)
    assert np.array_equal(run(checkpoint=file, resume=True).parameters["a"], run().parameters["a"])
    assert not np.array_equal(run(seed=1).parameters["a"], run().parameters["a"])


def expect(message: str, call: Callable[[], Any], kind: type[SbmlgradError] = FitError) -> None:
    with pytest.raises(kind, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


def test_what_does_not_fit_is_refused() -> None:
    expect("data: expected arrays", lambda: run(data={"a": np.zeros(3), "b": np.zeros(2)}))
    expect("data: expected arrays", lambda: run(data=np.zeros((0, 2))))
    expect("batch_size: expected a whole number of at least 1, got 0", lambda: run(batch_size=0), SbmlgradError)
    expect("epochs: expected", lambda: run(epochs=1.5), SbmlgradError)
    expect("seed: expected", lambda: run(seed=-1), SbmlgradError)
    expect("expected a gradient in the structure", lambda: run(lambda p, b, s: (0.0, {"b": np.zeros(2)})))
    expect("shapes [(2,)], got", lambda: run(lambda p, b, s: (0.0, {"a": np.zeros(3)})))
    expect("the loss is nan in batch 1 of epoch 1", lambda: run(lambda p, b, s: (np.nan, {"a": np.zeros(2)})))
    expect("not finite", lambda: run(lambda p, b, s: (0.0, {"a": np.array([0, np.inf])})))
    expect("resume: name the checkpoint", lambda: run(resume=True))
    expect("parameters: there are none", lambda: train(noisy, {}, ITEMS))


def test_a_checkpoint_is_of_one_training_only(tmp_path: Path) -> None:
    file = tmp_path / "run.ckpt"
    run(checkpoint=file)

    def again(**options: Any) -> Callable[[], Training]:
        return lambda: run(checkpoint=file, resume=True, **options)

    expect("with other seed; resume", again(seed=2), CheckpointError)
    expect("with other batch_size", again(batch_size=2), CheckpointError)
    expect("with other data", again(data=ITEMS + 1), CheckpointError)
    expect("with other optimiser", again(optimiser=optax.sgd(0.1)), CheckpointError)
    file.write_bytes(file.read_bytes()[:100])
    expect("is no checkpoint of training", again(), CheckpointError)
    with file.open("wb") as other:
        np.savez(other, header=np.zeros(1))
    expect("is no checkpoint of training", again(), CheckpointError)
    expect("cannot be written", lambda: run(checkpoint=tmp_path / "none" / "run.ckpt"), SbmlgradError)
