"""Histograms of counts in single cells at each time, with the probabilities of a fitted model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_COLUMNS = 4
_MOST_BARS = 60


def plot_histograms(
    times: np.ndarray,
    values: Sequence[np.ndarray],
    cells: Sequence[np.ndarray],
    counts: np.ndarray,
    shares: np.ndarray,
    observable: str,
) -> Figure:
    """One panel a time: the share of cells with each count (bars), and the model's probability (line).

    Parameters
    ----------
    times
        (times,), for the titles.
    values, cells
        For each time the counts (rows,) that were seen, and how many cells had them.
    counts, shares
        Counts (K,) from 0 on, and the model's probabilities (times, K) of them.

    Wide ranges are drawn in bins of several counts, of data and model alike; the scale is logarithmic.
    """
    rows = -(-len(times) // _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.3 * rows), layout="constrained")
    for place, (time, seen, numbers, share) in enumerate(zip(times, values, cells, shares, strict=True)):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        width = max(1, -(-int(seen.max() + 1) // _MOST_BARS))
        edges = np.arange(0, counts.max() + width + 1, width)
        bars = np.histogram(seen, edges, weights=numbers / numbers.sum())[0]
        line = np.histogram(counts, edges, weights=share)[0]
        axes.bar(edges[:-1], bars, width, align="edge", color="0.75")
        axes.step(edges[:-1], line, where="post", color="C3", linewidth=1.2)
        axes.set(yscale="log", ylim=(0.3 / numbers.sum(), 1.5), xlim=(0, max(5, 1.1 * seen.max())))
        axes.set_title(f"t = {time:g}, {int(numbers.sum())} cells", fontsize=9)
        axes.set_xlabel(observable if width == 1 else f"{observable}, in bins of {width}", fontsize=8)
        axes.tick_params(labelsize=7)
    return figure
