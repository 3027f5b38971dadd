"""A network of genes that reads digits: trained, and every image of the test set classified by an exact trajectory.

    python benchmarks/digits.py --checkpoint digits.ckpt -o benchmarks/results/DATE-digits.json
    python benchmarks/digits.py --checkpoint digits.ckpt --resume ...        goes on where it was cut off
    python benchmarks/digits.py --validate ...                               the last 5,000 training images are held out
    python benchmarks/digits.py --reduced                                    14 x 14 pixels, 64 genes, minutes

The network is that of ``gene_layers.py``; MNIST is read from the folder ``mnist`` of the data (SBMLGRAD_DATA). After
each epoch images are classified, each by one exact trajectory: of the test set or, with ``--validate``, training images
that are held out, so that choices can be made without the test set. What counts is the last epoch. In the end all of
the test set is classified by one and by several trajectories an image, by the package's own exact loop, reaction by
reaction (``--by-events``), with fewer and more molecules and read earlier and later (``--scan``), and by a perceptron
of the same shape that is trained in numpy for as many epochs (``--perceptron``).
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import time as clock
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from gene_layers import classes_of, drives, initial, loss_and_gradient, network, read_out, with_copies
from gradients import facts, write

import sbmlgrad as sg

PEAK_RATE = 3e-3  # of Adam; it falls to a hundredth along a cosine
BATCH = 120
HELD_OUT = 5000  # images at the end of the training set, with --validate
TRAJECTORIES = (1, 3)  # an image, whose read-out counts are added up
MORE_TRAJECTORIES, COPIES, UNTIL = (10,), (0.1, 0.3, 3.0), (0.25, 0.5, 0.75)  # with --scan

Tree = Any


def digits(kind: str, folder: Path, reduced: bool = False) -> dict[str, np.ndarray]:
    """``image`` (images, pixels), uint8, and ``label`` of the "train" or "t10k" set; reduced ones of 14 x 14."""
    with gzip.open(folder / f"{kind}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{kind}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    if reduced:
        images = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    return {"image": images.reshape(len(images), -1), "label": labels}


def held_out(train: Tree) -> tuple[Tree, Tree]:
    """What is left of the images to learn from, and the last ones, to make choices by."""
    first = {name: leaf[:-HELD_OUT] for name, leaf in train.items()}
    return first, {name: leaf[-HELD_OUT:] for name, leaf in train.items()}


def shifted(images: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Images (images, pixels), each moved by up to ``most`` pixels in both directions, with nothing coming in."""
    side = int(np.sqrt(images.shape[1]))
    padded = np.pad(images.reshape(-1, side, side), ((0, 0), (most, most), (most, most)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    rows, columns = rng.integers(0, 2 * most + 1, (2, len(images)))
    return windows[np.arange(len(images)), rows, columns].reshape(images.shape)


def objective(shift: int) -> Any:
    """What :func:`sbmlgrad.train` is handed."""

    def of_batch(parameters: Tree, batch: Tree, seed: int) -> tuple[float, Tree]:
        if shift:
            moved = shifted(batch["image"], shift, np.random.default_rng([seed, 1]))
            batch = {**batch, "image": moved}
        return loss_and_gradient(parameters, batch, seed)

    return of_batch


def accuracy(parameters: Tree, data: Tree, seed: int, trajectories: int = 1, until: float = 1.0) -> dict[str, float]:
    """The share of images that are classified rightly at a time, and hidden events a trajectory."""
    counts: Any = 0
    for number in range(trajectories):
        more, events = read_out(parameters, data["image"], seed + number, until=until)
        counts = counts + more
    right = float(np.mean(classes_of(counts) == data["label"]))
    return {"accuracy": right, "hidden_events": float(np.mean(events)), "readout": float(np.mean(more.sum(axis=1)))}


def by_events(parameters: Tree, data: Tree, seed: int, batch: int = 500) -> dict[str, float]:
    """As :func:`accuracy`, by the package's own loop: every event of the whole network, one after the other."""
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parameters)
    driven = network(exact, of_images=False)
    hidden, right, events = len(exact["hidden"]["bias"]), 0.0, 0
    begun = clock.perf_counter()

    def is_right(x: jax.Array, p: Tree, inputs: Tree) -> jax.Array:
        return 1.0 * (jax.numpy.argmax(x[hidden:]) == inputs["label"])

    labelled = sg.ReactionNetwork(
        driven.stoichiometry,
        lambda x, p, inputs: driven.propensities(x, p, inputs["rates"]),  # type: ignore[misc]
        x0=driven.x0,
        parameters=driven.parameters,
        inputs={"rates": driven.inputs, "label": 0},
    )
    for first in range(0, len(data["label"]), batch):
        some = {name: leaf[first : first + batch] for name, leaf in data.items()}
        inputs = {"rates": np.asarray(drives(exact, some["image"])), "label": some["label"]}
        run = sg.expectations(labelled, is_right, [1.0], inputs=inputs, seed=seed + first)
        right, events = right + float(run.values.sum()), events + run.events
    seconds = clock.perf_counter() - begun
    return {"accuracy": right / len(data["label"]), "events": events / len(data["label"]), "seconds": seconds}


def perceptron(train: Tree, test: Tree, hidden: int, epochs: int, shift: int, seed: int) -> list[dict[str, Any]]:
    """An ordinary perceptron of the same shape in numpy (rectifiers, cross-entropy, Adam): its accuracy by epoch."""
    rng, classes = np.random.default_rng(seed), 10
    sizes = (train["image"].shape[1], hidden, classes)
    values = [
        array.astype(np.float32)
        for inputs, outputs in pairwise(sizes)
        for array in (np.sqrt(2 / inputs) * rng.normal(size=(inputs, outputs)), np.zeros(outputs))
    ]
    optimiser = optax.adam(optax.cosine_decay_schedule(1e-3, epochs * -(-len(train["label"]) // BATCH), 0.01))
    state: Any = optimiser.init(values)
    step = jax.jit(optimiser.update)

    def layers(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inputs = images.astype(np.float32) / 255
        active = np.maximum(inputs @ values[0] + values[1], 0)
        return inputs, active, active @ values[2] + values[3]

    rows: list[dict[str, Any]] = []
    for epoch in range(epochs):
        order = rng.permutation(len(train["label"]))
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            images, labels = train["image"][chosen], train["label"][chosen]
            inputs, active, logits = layers(shifted(images, shift, rng) if shift else images)
            slope = np.exp(logits - logits.max(axis=1, keepdims=True))
            slope /= slope.sum(axis=1, keepdims=True)
            slope[np.arange(len(labels)), labels] -= 1
            slope /= len(labels)
            back = (slope @ values[2].T) * (active > 0)
            changes, state = step([inputs.T @ back, back.sum(axis=0), active.T @ slope, slope.sum(axis=0)], state)
            values = [value + np.asarray(change) for value, change in zip(values, changes, strict=True)]
        right = float(np.mean(np.argmax(layers(test["image"])[2], axis=1) == test["label"]))
        rows.append({"kind": "perceptron", "epoch": epoch + 1, "accuracy": right})
        print(f"perceptron, epoch {epoch + 1}: {right:.2%}", flush=True)
    return rows


def trained(options: argparse.Namespace, train: Tree, seen: Tree, hidden: int) -> sg.Training:
    """The network after training, which tells how it goes by images that are ``seen`` after each epoch."""
    items = len(train["label"])
    batches = -(-items // BATCH) * options.epochs
    begun = clock.perf_counter()

    some = {name: leaf[: options.evaluate] for name, leaf in seen.items()}

    def evaluate(parameters: Tree, seed: int) -> dict[str, float]:
        row = accuracy(parameters, some, seed)
        print(f"{row['accuracy']:.2%} right, {row['hidden_events']:.0f} hidden events", end=", ", flush=True)
        print(f"{clock.perf_counter() - begun:.0f} s so far", flush=True)
        return row

    return sg.train(
        objective(options.shift),
        initial(train["image"].shape[1], hidden, 10, options.seed),
        train,
        optimiser=optax.adam(optax.cosine_decay_schedule(PEAK_RATE, batches, 0.01)),
        epochs=options.epochs if options.until is None else min(options.until, options.epochs),
        batch_size=BATCH,
        seed=options.seed,
        evaluate=evaluate,
        checkpoint=options.checkpoint,
        resume=options.resume,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, classify, and write what came of it."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="A network of genes that reads digits.")
    parser.add_argument("--data", default=os.environ.get("SBMLGRAD_DATA", "../shared/data"), help="holds mnist/")
    parser.add_argument("--reduced", action="store_true", help="14 x 14 pixels, 64 genes, 6,000 images to learn from")
    parser.add_argument("--epochs", type=int, help="that the schedule of the learning rate spans")
    parser.add_argument("--until", type=int, help="stop after this epoch; --resume goes on")
    parser.add_argument("--shift", type=int, default=0, help="pixels by which images are moved at random in training")
    parser.add_argument("--evaluate", type=int, default=10_000, help="images that are classified after each epoch")
    parser.add_argument("--validate", action="store_true", help="by 5,000 training images that are held out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", help="file for the state of the training")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--scan", action="store_true", help="classify with other copy numbers and at other times")
    parser.add_argument("--by-events", action="store_true", help="classify by the package's loop too")
    parser.add_argument("--perceptron", action="store_true", help="train an ordinary perceptron too")
    parser.add_argument("-o", "--output", help="JSON file")
    options = parser.parse_args(given)
    folder = Path(options.data) / "mnist"
    train, test = (digits(kind, folder, options.reduced) for kind in ("train", "t10k"))
    train, seen = held_out(train) if options.validate else (train, test)
    if options.reduced:
        train = {name: leaf[:6000] for name, leaf in train.items()}
    hidden = 64 if options.reduced else 256
    options.epochs = options.epochs or (10 if options.reduced else 30)
    result = trained(options, train, seen, hidden)
    records = result.history.to_dict("records")
    rows: list[dict[str, Any]] = [{"kind": "epoch", **{str(name): row[name] for name in row}} for row in records]
    for number in TRAJECTORIES + (MORE_TRAJECTORIES if options.scan else ()):
        row = accuracy(result.parameters, test, options.seed, number)
        rows.append({"kind": "trajectories", "trajectories": number, **row})
        print(f"{number} trajectories an image: {row['accuracy']:.2%} of {len(test['label']):,} right", flush=True)
    for factor in COPIES if options.scan else ():
        row = accuracy(with_copies(result.parameters, factor), test, options.seed)
        rows.append({"kind": "copies", "factor": factor, **row})
        print(f"{factor:g} times the molecules: {row['accuracy']:.2%} right", flush=True)
    for until in UNTIL if options.scan else ():
        row = accuracy(result.parameters, test, options.seed, until=until)
        rows.append({"kind": "until", "until": until, **row})
        print(f"read at time {until:g}: {row['accuracy']:.2%} right", flush=True)
    if options.by_events:
        rows.append({"kind": "by events", **by_events(result.parameters, test, options.seed)})
        print(f"by all events of the whole network: {rows[-1]['accuracy']:.2%}", flush=True)
    if options.perceptron:
        rows += perceptron(train, test, hidden, options.epochs, options.shift, options.seed)
    if options.output:
        size = sum(leaf.size for leaf in jax.tree.leaves(result.parameters))
        write(options.output, {**facts("digits.py", given, 1), "parameters": str(size)}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
