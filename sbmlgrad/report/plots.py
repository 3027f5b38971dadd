"""Pictures of fits and simulations: figures without global state, saved as PNG, SVG or PDF.

Ids and names come from files that nobody has checked: texts made of them never are mathematics, so a ``$``
is a dollar sign, and they never pass through matplotlib's rule that a label ``_x`` is hidden.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter, MaxNLocator

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.files import replacing
from sbmlgrad.model.labels import Labels
from sbmlgrad.report.content import FitContent

FORMATS = ("png", "svg", "pdf")
# Ten colours that readers with colour vision deficiencies can tell apart (Petroff 2021, arXiv:2107.02270).
COLOURS = (
    "#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#94a4a2",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MODEL, DATA, QUIET = COLOURS[0], "#1b1f24", "#6b7280"
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
NORMAL_95 = 1.96
MOST_PANELS = 36
MOST_LABELS = 40
MANY_POINTS = 1000  # of a cloud of cells; more are drawn as pixels even in SVG and PDF
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
STATISTICS = {"mean": ("value", "mean", "cov"), "sd": ("sd",)}  # curve of a panel -> measured statistics in it


def plot_fit(content: FitContent) -> Picture:
    """Measurements and the fitted model over time, a panel per observable and one more for a measured sd."""
    measured, curves = content.measured, content.curves
    spread = set(measured.loc[measured["statistic"] == "sd", "observable"])
    observables = list(pd.unique(pd.concat([measured["observable"], curves["observable"]])))
    quantities = ("mean", "sd") if spread else ("mean",)
    drawn = [(name, quantity) for name in observables for quantity in quantities][:MOST_PANELS]
    figure, axes = panels(len(drawn), columns=2 if spread else None)
    conditions = _conditions(measured, curves)
    for panel, (name, quantity) in zip(axes, drawn, strict=True):
        if quantity == "sd" and name not in spread:
            panel.set_axis_off()
            continue
        for number, condition in enumerate(conditions):
            colour = MODEL if len(conditions) == 1 else COLOURS[number % len(COLOURS)]
            rows = _pick(measured, name, condition)
            is_signed = bool((rows.loc[rows["statistic"] != "sd", "measured"] < 0).any())
            _draw_curve(panel, _pick(curves, name, condition), quantity, colour, is_signed)
            rows = rows[rows["statistic"].isin(STATISTICS[quantity])]
            _draw_measured(panel, rows, DATA if len(conditions) == 1 else colour)
        shown = content.labels.name(name)
        panel.set_title(short(f"standard deviation of {shown}" if quantity == "sd" else shown), **PLAIN)
        measure = content.labels.quantity(name)
        panel.set_ylabel(short(f"sd of {measure}" if quantity == "sd" else measure), **PLAIN)
        panel.set_xlabel(content.labels.time, **PLAIN)
    _fit_legend(figure, content, conditions)
    say_left_out(figure, len(observables) * len(quantities) - len(drawn), "panels")
    return figure


def plot_loss(content: FitContent) -> Picture:
    """The loss at each step, with the noise of its estimate (1.96 standard errors)."""
    history = content.steps
    figure, (axes,) = panels(1, width=7.5)
    step, loss = _numbers(history, "step"), _numbers(history, "loss")
    noise = NORMAL_95 * np.nan_to_num(_numbers(history, "loss_stderr"))
    finite = loss[np.isfinite(loss)]
    low = loss - noise
    if finite.size and finite.min() > 0:
        log_scale(axes)
        low = np.maximum(low, finite.min() / 2)  # noise larger than the loss would reach down to zero
    axes.fill_between(step, low, loss + noise, color=MODEL, alpha=0.2, linewidth=0)
    axes.plot(step, loss, color=MODEL, marker="o" if len(step) < 60 else None, markersize=3)
    _mark_phases(axes, history)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    return figure


def plot_parameters(content: FitContent) -> Picture:
    """Each parameter over the steps, with its final estimate and standard error."""
    parameters, traces = content.parameters, content.traces
    shown = parameters.iloc[:MOST_PANELS]
    figure, axes = panels(len(shown), height=2.3)
    step = _numbers(content.steps, "step")
    for panel, (name, row) in zip(axes, shown.iterrows(), strict=False):
        trace = _numbers(traces, name)
        estimate, stderr = float(row["estimate"]), float(row["stderr"])
        if math.isfinite(stderr):
            panel.axhspan(estimate - stderr, estimate + stderr, color=MODEL, alpha=0.2, linewidth=0)
        panel.axhline(estimate, color=MODEL, linewidth=1, linestyle="--")
        panel.plot(step, trace, color=DATA, linewidth=1.2)
        bounds = [float(b) for b in (row["lower"], row["upper"]) if pd.notna(b) and math.isfinite(b)]
        if row["at_bound"] and bounds:
            reached = min(bounds, key=lambda bound: abs(bound - estimate))
            panel.axhline(reached, color=COLOURS[1], linewidth=1.5)
        finite = trace[np.isfinite(trace)]
        if finite.size and finite.min() > 0 and finite.max() > 20 * finite.min():
            log_scale(panel)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        panel.set_title(short(str(name)), **PLAIN)
        panel.set_xlabel("step")
        panel.set_ylabel("value")
    handles: dict[str, Artist] = {
        "at each step": Line2D([], [], color=DATA),
        "estimate": Line2D([], [], color=MODEL, linestyle="--"),
        "± standard error": Patch(color=MODEL, alpha=0.2),
    }
    if parameters["at_bound"].any():
        handles["bound that was reached"] = Line2D([], [], color=COLOURS[1])
    legend(figure, handles, loc="outside upper center", ncols=4)
    say_left_out(figure, len(parameters) - len(shown), "parameters")
    return figure


def plot_residuals(content: FitContent) -> Picture:
    """Standardised residuals over time, and their distribution against the standard normal density."""
    figure = _figure(8.5, 3.4)
    over_time, spread = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    measured = content.measured[np.isfinite(content.measured["residual"])]
    handles: dict[str, Artist] = {"standard normal": Line2D([], [], color=DATA, linewidth=1)}
    for number, (key, rows) in enumerate(measured.groupby(["observable", "statistic"], sort=False)):
        name, statistic = (str(part) for part in key)
        colour = COLOURS[number % len(COLOURS)]
        over_time.plot(rows["time"], rows["residual"], **_dots(colour, len(rows)))
        label = name if statistic == "value" else f"{statistic} of {name}"
        handles[label] = Line2D([], [], color=colour, marker="o", linestyle="", markersize=4)
    residuals = measured["residual"].to_numpy(dtype=float)
    reach = max(4.0, float(np.abs(residuals).max(initial=0.0)) * 1.05)
    if residuals.size:
        bins = np.linspace(-reach, reach, min(61, 2 * int(math.sqrt(residuals.size)) + 5))
        spread.hist(residuals, bins, density=True, orientation="horizontal", color=QUIET, alpha=0.5)
    grid = np.linspace(-reach, reach, 201)
    spread.plot(np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), grid, color=DATA, linewidth=1)
    for axes in (over_time, spread):
        _clean(axes)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for edge in (-NORMAL_95, NORMAL_95):
            axes.axhline(edge, color=QUIET, linewidth=0.8, linestyle=":")
    over_time.set_ylim(-reach, reach)
    over_time.set_xlabel("time")
    over_time.set_ylabel("residual / error")
    spread.set_xlabel("density")
    spread.set_ylabel("residual / error")
    spread.yaxis.label.set_visible(False)
    legend(figure, handles, loc="outside upper center", ncols=5)
    return figure


def plot_simulation(
    mean: pd.DataFrame, sd: pd.DataFrame | None, labels: Labels | None = None, *, caption: str = ""
) -> Picture:
    """A line per column over time (the index), with a band of one standard deviation if ``sd`` is given.

    Columns that measure the same share a panel. ``caption`` says below the title what is drawn.
    """
    labels = labels or Labels()
    by_quantity: dict[str, list[int]] = {}
    for number, name in enumerate(mean.columns):
        by_quantity.setdefault(labels.quantity(str(name)), []).append(number)
    wide = len(mean.columns) > 1
    shown = list(by_quantity.items())[:MOST_PANELS]
    figure, axes = panels(len(shown), columns=1, width=8.0 if wide else 6.5, height=3.7 if len(shown) == 1 else 2.8)
    handles: dict[str, Artist] = {}
    for panel, (quantity, columns) in zip(axes, shown, strict=False):
        for number in columns:
            name = str(mean.columns[number])
            style: dict[str, Any]
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
            spread = _numbers(sd, mean.columns[number]) if sd is not None else None
            _draw_course(panel, mean.iloc[:, number], spread, style, name in labels.signed)
            handles[labels.name(name)] = Line2D([], [], **style)
        panel.set_xlabel(labels.time, **PLAIN)
        panel.set_ylabel(short(quantity, 60) if wide else _of_one(labels, str(mean.columns[0])), **PLAIN)
        panel.margins(x=0)
    axes[0].set_title(short(labels.title, 80), **PLAIN, pad=18 if caption else 6)
    if caption:
        axes[0].text(0.5, 1.02, caption, transform=axes[0].transAxes, ha="center", fontsize=8, color=QUIET, **PLAIN)
    if wide:
        legend(figure, handles, loc="outside right upper", ncols=1 if len(handles) <= 20 else 2)
    say_left_out(figure, len(by_quantity) - len(shown), "kinds of quantities")
    return figure


def _of_one(labels: Labels, name: str) -> str:
    return short(f"{labels.name(name)}, {labels.quantity(name)}" if name in labels.quantities else name, 60)


def _draw_course(
    axes: Axes, mean: pd.Series[Any], spread: np.ndarray | None, style: dict[str, Any], is_signed: bool
) -> None:
    time, value = mean.index.to_numpy(dtype=float), pd.to_numeric(mean).to_numpy(dtype=float, na_value=np.nan)
    if spread is not None:
        low = value - spread if is_signed else _from_zero(value, value - spread)
        axes.fill_between(time, low, value + spread, color=style["color"], alpha=0.15, linewidth=0)
    axes.plot(time, value, **style)


def _from_zero(value: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The lower edge of a band, which stops at 0 where the values themselves are above."""
    return np.where(value >= 0, np.maximum(low, 0.0), low)


def check_picture(path: str | os.PathLike[str]) -> Path:
    """Return ``path``; raise SbmlgradError if its suffix is unknown or its folder does not exist."""
    path = Path(path)
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise SbmlgradError(f"{path}: unknown format of a picture; end the name in .png, .svg or .pdf")
    if path.is_dir():
        raise SbmlgradError(f"{path}: this is a folder; name a file for the picture")
    if not path.parent.is_dir():
        raise SbmlgradError(f"{path}: there is no folder {path.parent} for the picture; create it first")
    return path


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a PNG, SVG or PDF, as the suffix says; a picture that fails leaves what was there untouched."""
    path = check_picture(path)
    with replacing(path) as part:
        render(figure, part, path.suffix.lower().removeprefix("."))


def render(figure: Figure, target: Any, format_: str, *, transparent: bool = False) -> None:
    """Write a figure to a path or binary file in one of FORMATS, the same bytes each time."""
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format_]
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "sbmlgrad"}):
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name in a script that the font lacks
        figure.savefig(target, format=format_, metadata=undated, transparent=transparent)


class Picture(Figure):
    """A figure that notebooks show, whether or not pyplot has been imported in them."""

    def _repr_png_(self) -> bytes:
        target = io.BytesIO()
        render(self, target, "png")
        return target.getvalue()


def _figure(width: float, height: float) -> Picture:
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)
    figure = Picture(figsize=(width, height), dpi=150, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def panels(
    number: int, columns: int | None = None, width: float | None = None, height: float = 3.0
) -> tuple[Picture, list[Axes]]:
    """A figure with this many panels in rows, at least one."""
    number = max(number, 1)
    columns = columns or {1: 1, 2: 2, 4: 2}.get(number, 3)
    rows = -(-number // columns)
    figure = _figure(width or {1: 6.5, 2: 8.5}.get(columns, 10.5), 0.5 + height * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[number:]:
        spare.set_axis_off()
    for panel in axes[:number]:
        _clean(panel)
    return figure, axes[:number]


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=QUIET, alpha=0.2, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=8)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_fontsize(9)
    axes.title.set_fontsize(10)


def log_scale(axes: Axes, direction: Literal["x", "y"] = "y") -> None:
    """A logarithmic axis with plain numbers."""
    (axes.set_xscale if direction == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if direction == "x" else axes.yaxis
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.2, 0.4)))


def legend(figure: Figure, handles: dict[str, Artist], **where: Any) -> None:
    """A legend of the figure, outside of its panels; the labels are set afterwards, as plain text."""
    if not handles:
        return
    labels = [short(label) for label in handles]
    if len(labels) > MOST_LABELS:
        labels = [*labels[: MOST_LABELS - 1], f"and {len(labels) - MOST_LABELS + 1} more"]
        where["ncols"] = 2
    keys = [*list(handles.values())[: len(labels)]]
    legend = figure.legend(keys, ["-"] * len(keys), frameon=False, fontsize=8, **where)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set(text=label, **PLAIN)


def _fit_legend(figure: Figure, content: FitContent, conditions: Sequence[Any]) -> None:
    one = len(conditions) == 1
    colour = MODEL if one else QUIET
    moments = content.measured[content.measured["statistic"] != "value"]
    said = "measured, ± error that the fit takes" if np.any(_numbers(moments, "error") > 0) else "measured"
    handles: dict[str, Artist] = {
        said: Line2D([], [], color=DATA if one else QUIET, marker="o", linestyle="", markersize=4),
        "fitted mean": Line2D([], [], color=colour),
    }
    if np.any(_numbers(content.curves, "mean_stderr") > 0):
        handles["95 % interval of the mean"] = Patch(color=colour, alpha=0.4, linewidth=0)
    if np.any(_numbers(content.curves, "sd") > 0):
        handles["± sd of single trajectories"] = Patch(color=colour, alpha=0.15, linewidth=0)
    if not one:
        for number, condition in enumerate(conditions):
            handles[str(condition)] = Line2D([], [], color=COLOURS[number % len(COLOURS)], linewidth=3)
    legend(figure, handles, loc="outside upper center", ncols=4)


def _draw_curve(axes: Axes, curve: pd.DataFrame, quantity: str, colour: str, is_signed: bool) -> None:
    curve = curve.sort_values("time")
    time, value, sd = (_numbers(curve, name) for name in ("time", quantity, "sd"))
    if quantity == "mean":
        noise = NORMAL_95 * _numbers(curve, "mean_stderr")
        low = value - sd if is_signed else _from_zero(value, value - sd)
        axes.fill_between(time, low, value + sd, color=colour, alpha=0.15, linewidth=0)
        axes.fill_between(time, value - noise, value + noise, color=colour, alpha=0.4, linewidth=0)
    axes.plot(time, value, color=colour, linewidth=1.5)


def _draw_measured(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """Points; moments with their error, while single values show theirs as the band of the model."""
    moments = rows[rows["statistic"] != "value"]
    axes.errorbar(
        _numbers(moments, "time"), _numbers(moments, "measured"), np.nan_to_num(_numbers(moments, "error")),
        fmt="none", ecolor=colour, elinewidth=0.9, alpha=0.7,
    )  # fmt: skip
    axes.plot(rows["time"], rows["measured"], **_dots(colour, len(rows)))


def _dots(colour: str, number: int) -> dict[str, Any]:
    """How to draw this many points: smaller and fainter where there are many."""
    crowd = number > 150
    return {
        "color": colour, "linestyle": "", "marker": "o", "markeredgewidth": 0, "zorder": 1.5 if crowd else 3,
        "markersize": 2.5 if crowd else 4, "alpha": 0.3 if crowd else 0.9, "rasterized": number > MANY_POINTS,
    }  # fmt: skip


def _mark_phases(axes: Axes, history: pd.DataFrame) -> None:
    """A line where each phase begins, and its name above the panel."""
    if "phase" not in history or history.empty:
        return
    begins = history[history["phase"] != history["phase"].shift()]
    if len(begins) < 2:
        return
    for row in begins.to_dict("records"):
        axes.axvline(row["step"], color=QUIET, linewidth=0.8, linestyle=":")
        axes.text(
            row["step"], 1.01, " " + short(str(row["phase"])), fontsize=8, color=QUIET,
            transform=axes.get_xaxis_transform(), **PLAIN,
        )  # fmt: skip


def say_left_out(figure: Figure, number: int, what: str) -> None:
    """Below a figure, how much of it there is no room for."""
    if number > 0:
        figure.supxlabel(f"and {number} more {what}, not drawn", fontsize=8, color=QUIET)


def _conditions(*tables: pd.DataFrame) -> list[Any]:
    """The conditions in order of appearance; [None] where no table tells them apart."""
    columns = [table["condition"].dropna() for table in tables if "condition" in table]
    return (list(pd.unique(pd.concat(columns))) if columns else []) or [None]


def _pick(table: pd.DataFrame, observable: str, condition: Any) -> pd.DataFrame:
    chosen = table["observable"] == observable
    if condition is not None and "condition" in table:
        chosen &= table["condition"] == condition
    return table[chosen]


def _numbers(table: pd.DataFrame, column: Any) -> np.ndarray:
    """A column as floats, nan where it is blank or missing."""
    if column not in table:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[column]).to_numpy(dtype=float, na_value=np.nan)


def short(text: str, most: int = 36) -> str:
    """One line of at most this many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
