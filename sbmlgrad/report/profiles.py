"""Pictures of profiles: how well a model fits while one parameter is held."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sbmlgrad.report import plots

_HIGHEST = 2.5  # times the threshold, that a panel shows


def plot_profiles(points: pd.DataFrame, limits: pd.DataFrame) -> Figure:
    """A panel per parameter: the difference from the best fit over its value, with the threshold and the limits.

    ``points`` and ``limits`` are the tables of :class:`sbmlgrad.fitting.profiled.Profile`. Values that span more than a
    factor of twenty are on a logarithmic axis.
    """
    shown = limits.iloc[: plots.MOST_PANELS]
    figure, axes = plots.panels(len(shown), height=2.6)
    quantity = str(points.columns[2])
    own = points.iloc[:, :3]  # a parameter may be called "value" too
    for panel, (name, row) in zip(axes, shown.iterrows(), strict=False):
        curve = own[own["parameter"] == name].sort_values("value")
        value, difference = (curve.iloc[:, column].to_numpy(dtype=float) for column in (1, 2))
        low, high, threshold = float(row["ci_lower"]), float(row["ci_upper"]), float(row["threshold"])
        finite = value[np.isfinite(value)]
        if finite.size and finite.min() > 0 and finite.max() > 20 * finite.min():
            plots.log_scale(panel, "x")
        if finite.size:
            panel.axvspan(max(low, finite.min()), min(high, finite.max()), color=plots.MODEL, alpha=0.12, linewidth=0)
        panel.plot(value, difference, color=plots.DATA, marker="o", markersize=3, linewidth=1.2)
        panel.axhline(threshold, color=plots.MODEL, linewidth=1, linestyle="--")
        panel.axvline(float(row["estimate"]), color=plots.QUIET, linewidth=0.8, linestyle=":")
        if math.isfinite(threshold) and threshold:
            panel.set_ylim(*sorted((_HIGHEST * threshold, -0.1 * threshold)))
        panel.set_title(plots.short(str(name)), **plots.PLAIN)
        panel.set_xlabel("value")
        panel.set_ylabel(quantity.replace("_", " "))
    handles: dict[str, Artist] = {
        "others fitted again": Line2D([], [], color=plots.DATA, marker="o", markersize=3),
        "95 % threshold": Line2D([], [], color=plots.MODEL, linestyle="--"),
        "95 % interval": Patch(color=plots.MODEL, alpha=0.12),
        "estimate": Line2D([], [], color=plots.QUIET, linestyle=":"),
    }
    plots.legend(figure, handles, loc="outside upper center", ncols=4)
    plots.say_left_out(figure, len(limits) - len(shown), "parameters")
    return figure
