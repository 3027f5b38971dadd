"""Where training has come to, and that on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np

from sbmlgrad.errors import CheckpointError
from sbmlgrad.files import replacing

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class TrainingState:
    """All that the next batch depends on, and what has been said of the epochs so far."""

    parameters: Any
    optimiser: Any
    """The state of the optax transformation."""
    epoch: int = 0
    batch: int = 0
    """How many batches of this epoch are done."""
    total: float = 0.0
    """Sum of the loss over the items of this epoch so far."""
    items: int = 0
    seconds: float = 0.0
    rows: tuple[dict[str, float], ...] = ()
    """Of the history."""

    @property
    def leaves(self) -> list[Any]:
        """Arrays of the parameters and of the optimiser."""
        return jax.tree.leaves((self.parameters, self.optimiser))


def write_state(path: str | os.PathLike[str], state: TrainingState, identity: Mapping[str, str]) -> None:
    """Write a checkpoint, whole or not at all; raises :class:`SbmlgradError` where that cannot be."""
    header = {
        "format": _FORMAT,
        "identity": dict(identity),
        **{name: getattr(state, name) for name in ("epoch", "batch", "total", "items", "seconds", "rows")},
    }
    with replacing(path) as part, part.open("wb") as file:
        arrays = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(state.leaves)}
        np.savez(file, training=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]


def read_state(path: str | os.PathLike[str], begun: TrainingState, identity: Mapping[str, str]) -> TrainingState:
    """What a checkpoint holds, in the structure of the state that training would begin with.

    Raises :class:`CheckpointError` for a file that is none, or that of another training.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(str(file["training"]))
            leaves = [file[f"leaf{number}"] for number in range(len(file.files) - 1)]
        form, written = header["format"], dict(header["identity"])
        rows = tuple(dict(row) for row in header["rows"])
        counts = [int(header[key]) for key in ("epoch", "batch", "items")]
        total, seconds = float(header["total"]), float(header["seconds"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError) as error:
        raise CheckpointError(f"{name}: is no checkpoint of training: {error}; name another file") from None
    if form != _FORMAT:
        raise CheckpointError(f"{name}: was written by another version of sbmlgrad; name another file")
    others = [part for part in identity if written.get(part) != identity[part]]
    kinds = [[(np.shape(leaf), np.asarray(leaf).dtype) for leaf in each] for each in (begun.leaves, leaves)]
    if not others and kinds[0] != kinds[1]:
        others = ["optimiser"]
    if others:
        raise CheckpointError(
            f"{name}: is the checkpoint of training with other {', '.join(others)}; resume it with its own, or name "
            "another file"
        )
    tree = jax.tree.structure((begun.parameters, begun.optimiser))
    parameters, optimiser = jax.tree.unflatten(tree, [jax.numpy.asarray(leaf) for leaf in leaves])
    epoch, batch, items = counts
    return TrainingState(parameters, optimiser, epoch, batch, total, items, seconds, rows)


def digest(tree: Any) -> str:
    """A word that stands for arrays, their shapes and their structure."""
    total = hashlib.blake2b(str(jax.tree.structure(tree)).encode(), digest_size=16)
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        total.update(f"{array.shape} {array.dtype}".encode())
        total.update(array.data)
    return total.hexdigest()
