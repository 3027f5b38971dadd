"""Pictures of dwell times: how many sojourns at each level lasted how long, and how many a model expects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sbmlgrad.report import plots


def plot_dwells(histogram: pd.DataFrame) -> Figure:
    """A panel for each level (and condition, and table of it): bars of what was seen, a line of what is expected.

    ``histogram`` is the table of :attr:`sbmlgrad.fitting.result.Fit.dwells`. On square roots the bars' errors are alike
    everywhere (Sigworth & Sine, Biophys. J. 52, 1047, 1987).
    """
    by = [name for name in ("condition", "data", "level") if name in histogram]
    groups = list(histogram.groupby(by, sort=False))
    figure, axes = plots.panels(len(groups[: plots.MOST_PANELS]), height=2.8)
    for panel, (keys, rows) in zip(axes, groups, strict=False):
        lower, upper, seen, expected = (
            rows[name].to_numpy(dtype=float) for name in ("lower", "upper", "sojourns", "expected")
        )
        panel.bar(lower, np.sqrt(seen), upper - lower, align="edge", color=plots.DATA, alpha=0.25)
        panel.plot(np.sqrt(lower * upper), np.sqrt(np.maximum(expected, 0.0)), color=plots.MODEL, linewidth=1.5)
        plots.log_scale(panel, "x")
        panel.set_ylim(bottom=0)
        panel.yaxis.set_major_formatter(_squared)
        panel.set_title(plots.short(_title(keys, int(seen.sum()))), **plots.PLAIN)
        panel.set_xlabel("dwell time")
        panel.set_ylabel("sojourns")
    handles: dict[str, Artist] = {
        "seen": Patch(color=plots.DATA, alpha=0.25),
        "expected": Line2D([], [], color=plots.MODEL),
    }
    plots.legend(figure, handles, loc="outside upper center", ncols=2)
    plots.say_left_out(figure, len(groups) - plots.MOST_PANELS, "levels")
    return figure


def _title(keys: tuple[Any, ...], sojourns: int) -> str:
    *where, level = keys
    return ", ".join([*map(str, where), f"level {level:g}: {sojourns}"])


def _squared(height: float, _: float) -> str:
    """What a height on the axis of square roots stands for."""
    return f"{height**2:g}"
