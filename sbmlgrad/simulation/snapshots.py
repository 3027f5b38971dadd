"""Snapshots of single cells: at each time others, as flow cytometry and smFISH have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sbmlgrad.headers import column
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.simulate import simulate

if TYPE_CHECKING:
    import pandas


def snapshots(
    model: Model | ReactionNetwork, times: Sequence[float] | np.ndarray, *, seed: int = 0, **options: Any
) -> pandas.DataFrame:
    """``n`` cells at each time, of trajectories of their own: a row a cell, columns ``time`` and each observable.

    ``options`` are those of :func:`sbmlgrad.simulate`.
    """
    import pandas

    tables = []
    for index, time in enumerate(times):
        own = int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
        cells = simulate(model, [float(time)], seed=own, keep_counts=True, **options)
        seen = {column(name): cells.values[:, 0, i] for i, name in enumerate(cells.mean.columns)}
        tables.append(pandas.DataFrame({"time": float(time), **seen}))
    return pandas.concat(tables, ignore_index=True)
