"""Training: minibatches, any optax transformation, evaluation, and checkpoints from which it goes on to the same bits.

Everything random is a function of (seed, epoch, batch): which items a batch has, and the seed that its objective is
handed. The state between two batches is a value of its own, so that whatever ends a run, the last whole batch counts.
"""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd

from sbmlgrad.errors import FitError, SbmlgradError
from sbmlgrad.files import check_file
from sbmlgrad.fitting.training_state import TrainingState, digest, read_state, write_state
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.experiment import check_seed
from sbmlgrad.simulation.progress import bar

Objective = Callable[[Any, Any, int], Any]
"""(parameters, batch, seed) -> (loss, gradient), or what has them as ``value`` and ``gradient``"""

Evaluation = Callable[[Any, int], Mapping[str, float]]
"""(parameters, seed) -> numbers by name"""

_EVERY = 60.0  # seconds between two times that a checkpoint is written within an epoch


@dataclass(frozen=True, eq=False)
class Training:
    """What a run of :func:`train` came to.

    Attributes
    ----------
    parameters
        After the last batch, in the structure in which they were handed in.
    history
        A row an epoch: ``epoch`` (from 1), ``loss`` (mean over the epoch's items), ``seconds`` (of the epoch, its
        evaluation included) and what ``evaluate`` said.
    """

    parameters: Any
    history: pd.DataFrame


def train(
    objective: Objective,
    parameters: Any,
    data: Any,
    *,
    optimiser: optax.GradientTransformation | None = None,
    epochs: int = 10,
    batch_size: int = 100,
    seed: int = 0,
    evaluate: Evaluation | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Training:
    """Minimise the mean of an objective over the items of data, batch by batch.

    Parameters
    ----------
    objective
        ``objective(parameters, batch, seed)`` returns a loss, mean over the items of ``batch``, and its gradient in
        the structure of ``parameters``: either as a pair, or as :func:`value_and_grad` does. ``seed`` is another one
        for each batch of each epoch.
    parameters
        Where to begin: a tree of arrays, such as ``network.parameters``.
    data
        A tree of arrays with a leading axis of items, such as images and labels.
    optimiser
        Any optax transformation; its schedules count batches. Adam at 1e-3 if not given.
    epochs, batch_size
        Each epoch takes every item once, in an order of its own; its last batch may be smaller.
    evaluate
        ``evaluate(parameters, seed)`` after each epoch, for instance on held-out data: numbers by name.
    checkpoint, resume
        A file that is written once a minute, after each epoch and when training ends for whatever reason, Ctrl-C
        included. With ``resume`` training goes on from it to the same bits; ``epochs`` may be more then, the
        rest has to be as it was. If there is no such file yet, training begins.
    progress
        Whether to show a bar, on a terminal or in a notebook.

    Returns
    -------
    Training
        Parameters and history.

    Raises
    ------
    FitError
        for data or an objective that do not fit together, and for a loss that is not finite.
    CheckpointError
        for a file that is no checkpoint of training, or that of other data, seed, batches or parameters.
    """
    require_float64()
    if checkpoint is not None:
        check_file(checkpoint)
    run = _Run(
        objective, optimiser or optax.adam(1e-3), data, _whole(batch_size=batch_size), check_seed(seed), parameters
    )
    state = run.begin(checkpoint, resume)
    epochs = _whole(epochs=epochs)
    written = clock.monotonic()
    try:
        with bar(progress, desc="train", unit="batch", total=epochs * run.batches, initial=run.done(state)) as shown:
            while state.epoch < epochs:
                while state.batch < run.batches:
                    state = run.step(state)
                    shown.update()
                    shown.set_postfix(epoch=state.epoch + 1, loss=f"{state.total / state.items:.4g}", refresh=False)
                    if checkpoint is not None and clock.monotonic() - written > _EVERY:
                        run.write(checkpoint, state)
                        written = clock.monotonic()
                state = run.end_epoch(state, evaluate)
                if checkpoint is not None:
                    run.write(checkpoint, state)
    finally:
        if checkpoint is not None:
            run.write(checkpoint, state)
    return Training(state.parameters, pd.DataFrame(list(state.rows)))


def batches_of(items: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The items of each batch of an epoch, every item in one of them."""
    order = np.random.default_rng([seed, epoch]).permutation(items)
    return np.split(order, np.arange(batch_size, items, batch_size))


@dataclass
class _Run:
    """What stays the same from batch to batch."""

    objective: Objective
    optimiser: optax.GradientTransformation
    data: Any
    batch_size: int
    seed: int
    first: Any  # parameters
    items: int = field(init=False)
    batches: int = field(init=False)

    def __post_init__(self) -> None:
        self.data = jax.tree.map(np.asarray, self.data)
        shapes = [leaf.shape for leaf in jax.tree.leaves(self.data)]
        if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) != 1 or not shapes[0][0]:
            raise FitError(f"data: expected arrays with a leading axis of as many items, got shapes {shapes}")
        self.items = shapes[0][0]
        self.batches = -(-self.items // self.batch_size)
        self._order: tuple[int, list[np.ndarray]] = (-1, [])
        self._update = jax.jit(self._updated)

    def begin(self, checkpoint: str | os.PathLike[str] | None, resume: bool) -> TrainingState:
        """The state to go on from."""
        begun = jax.tree.map(jax.numpy.asarray, self.first)
        if not jax.tree.leaves(begun):
            raise FitError("parameters: there are none to train")
        state = TrainingState(begun, self.optimiser.init(begun))
        self._identity = {
            "data": digest(self.data),
            "seed": str(self.seed),
            "batch_size": str(self.batch_size),
            "parameters to begin with": digest(self.first),
        }
        if resume:
            if checkpoint is None:
                raise FitError("resume: name the checkpoint to go on from (checkpoint='run.ckpt')")
            if os.path.exists(checkpoint):
                return read_state(checkpoint, state, self._identity)
        return state

    def write(self, checkpoint: str | os.PathLike[str], state: TrainingState) -> None:
        write_state(checkpoint, state, self._identity)

    def done(self, state: TrainingState) -> int:
        """Batches so far."""
        return state.epoch * self.batches + state.batch

    def step(self, state: TrainingState) -> TrainingState:
        """The state after another batch."""
        begun = clock.monotonic()
        if self._order[0] != state.epoch:
            self._order = (state.epoch, batches_of(self.items, self.batch_size, self.seed, state.epoch))
        chosen = self._order[1][state.batch]
        batch = jax.tree.map(lambda leaf: leaf[chosen], self.data)
        result = self.objective(state.parameters, batch, self._seed_of(state))
        loss, gradient = self._parts(result, state)
        parameters, optimiser = self._update(gradient, state.optimiser, state.parameters)
        return replace(
            state,
            parameters=jax.block_until_ready(parameters),
            optimiser=optimiser,
            batch=state.batch + 1,
            total=state.total + loss * len(chosen),
            items=state.items + len(chosen),
            seconds=state.seconds + clock.monotonic() - begun,
        )

    def end_epoch(
        self, state: TrainingState, evaluate: Callable[[Any, int], Mapping[str, float]] | None
    ) -> TrainingState:
        """The state at the begin of the next epoch, with a row for this one."""
        begun = clock.monotonic()
        said = {} if evaluate is None else evaluate(state.parameters, self._seed_of(state))
        row = {"epoch": state.epoch + 1, "loss": state.total / state.items}
        row["seconds"] = state.seconds + clock.monotonic() - begun
        row.update({name: float(value) for name, value in said.items()})
        return TrainingState(state.parameters, state.optimiser, state.epoch + 1, rows=(*state.rows, row))

    def _seed_of(self, state: TrainingState) -> int:
        """That of the next batch or, where none is left, of the evaluation."""
        sequence = np.random.SeedSequence([self.seed, state.epoch, state.batch])
        return int(sequence.generate_state(1, np.uint64)[0])

    def _parts(self, result: Any, state: TrainingState) -> tuple[float, Any]:
        loss, gradient = (result.value, result.gradient) if hasattr(result, "gradient") else result
        expected, got = ([np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (state.parameters, gradient))
        trees: list[Any] = [jax.tree.structure(tree) for tree in (state.parameters, gradient)]
        if trees[0] != trees[1] or expected != got:
            raise FitError(
                f"objective: expected a gradient in the structure of the parameters, {trees[0]} with shapes "
                f"{expected}, got {trees[1]} with shapes {got}"
            )
        if not np.isfinite(loss) or not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)):
            raise FitError(
                f"objective: the loss is {float(loss):g} in batch {state.batch + 1} of epoch {state.epoch + 1}, and it "
                "or its gradient is not finite; take smaller steps (a smaller learning rate, optax.clip_by_global_norm)"
            )
        return float(loss), gradient

    def _updated(self, gradient: Any, optimiser: Any, parameters: Any) -> tuple[Any, Any]:
        updates, optimiser = self.optimiser.update(gradient, optimiser, parameters)
        return optax.apply_updates(parameters, updates), optimiser


def _whole(**number: Any) -> int:
    """A number of at least 1."""
    ((name, value),) = number.items()
    try:
        count = index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise SbmlgradError(f"{name}: expected a whole number of at least 1, got {value!r}")
    return count
