"""Pictures of draws from a posterior."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sbmlgrad.report import plots


def plot_posterior(draws: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """A histogram per parameter, with its median and central 95 %.

    ``draws`` and ``summary`` are the tables of :class:`sbmlgrad.fitting.sampled.Posterior`.
    """
    shown = summary.iloc[: plots.MOST_PANELS]
    figure, axes = plots.panels(len(shown), height=2.4)
    values = draws.iloc[:, -len(summary) :].to_numpy(dtype=float)
    for number, (panel, (name, row)) in enumerate(zip(axes, shown.iterrows(), strict=False)):
        own = values[:, number]
        bins: list[float] | int = 40
        if own.min() > 0 and own.max() > 20 * own.min():
            plots.log_scale(panel, "x")
            bins = np.geomspace(own.min(), own.max(), 41).tolist()
        panel.hist(own, bins, density=True, color=plots.MODEL, alpha=0.5)
        panel.axvline(float(row["median"]), color=plots.DATA, linewidth=1)
        for end in ("ci_lower", "ci_upper"):
            panel.axvline(float(row[end]), color=plots.DATA, linewidth=0.8, linestyle=":")
        panel.set_title(plots.short(str(name)), **plots.PLAIN)
        panel.set_xlabel("value")
        panel.set_ylabel("density")
    handles: dict[str, Artist] = {
        "draws": Patch(color=plots.MODEL, alpha=0.5),
        "median": Line2D([], [], color=plots.DATA, linewidth=1),
        "central 95 %": Line2D([], [], color=plots.DATA, linewidth=0.8, linestyle=":"),
    }
    plots.legend(figure, handles, loc="outside upper center", ncols=3)
    plots.say_left_out(figure, len(summary) - len(shown), "parameters")
    return figure
