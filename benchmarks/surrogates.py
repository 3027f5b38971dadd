"""Bias and variance of surrogate gradients as trajectories get longer: a figure and a table from recorded runs.

    python benchmarks/surrogates.py --gradients benchmarks/results/2026-11-27-gradients.json \
        --horizons benchmarks/results/2026-11-25-horizons.json -o docs/surrogates.svg

reads what ``gradients.py`` (exact cases) and ``horizons.py`` (oscillators) measured. A case is early or late: at the
earliest time of its network in the battery, or at the latest. For each estimator the table has the median over
derivatives of the bias over the exact value, the share of derivatives that are off by more than four standard errors,
the share of those that have the wrong sign as well, and the median of the standard error of one trajectory over the
exact value.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

NAMES = {
    "score": "score (unbiased)",
    "coupled_fd": "coupled differences",
    "straight_through": "straight-through, second order",
    "straight_through_plain": "straight-through, plain",
}
COLOURS = dict(zip(NAMES, ("tab:blue", "tab:green", "tab:orange", "tab:red"), strict=True))
OSCILLATOR = "vilar_oscillator"
FAR = 4.0  # standard errors


def battery(path: Path) -> pd.DataFrame:
    """A row a derivative and estimator, with ``when`` it is: early or late."""
    rows = pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["rows"])
    words = rows["case"].str.split()
    network, time = words.str[0], words.str[-1].astype(float)
    first, last = (time.groupby(network).transform(kind) for kind in ("min", "max"))
    rows["when"] = np.select([time == first, time == last], ["early", "late"], "between")
    rows["bias"] = (rows["estimate"] - rows["exact"]) / rows["exact"].abs()
    rows["noise"] = rows["error"] / rows["exact"].abs()
    rows["one"] = rows["stderr"] / rows["exact"].abs()  # of as many trajectories as the facts say
    return rows[rows["estimator"].isin(NAMES) & (first < last)]


def table(rows: pd.DataFrame, trajectories: float) -> str:
    """Markdown, a line for each estimator and time."""
    lines = [
        "| estimator | time | derivatives | median bias | off by over 4 standard errors | wrong sign, too "
        "| noise of a trajectory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for estimator in NAMES:
        for when in ("early", "late"):
            part = rows[(rows["estimator"] == estimator) & (rows["when"] == when)]
            far = part["bias"].abs() > FAR * part["noise"]
            turned = far & (np.sign(part["estimate"]) != np.sign(part["exact"]))
            lines.append(
                f"| `{estimator}` | {when} | {len(part)} | {part['bias'].abs().median():.1%} | {far.mean():.0%} | "
                f"{turned.mean():.0%} | {part['one'].median() * np.sqrt(trajectories):.3g} |"
            )
    return "\n".join(lines)


def drawn(rows: pd.DataFrame, horizons: Sequence[dict[str, Any]], path: Path) -> None:
    """The figure: bias early and late, and trajectories that an oscillator takes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    show_biases(left, rows)
    for name in NAMES:
        seen = [row for row in horizons if row["model"] == OSCILLATOR and row["estimator"] == name]
        times, needed = ([row[key] for row in seen] for key in ("horizon", "needed"))
        right.plot(times, needed, "-", color=COLOURS[name])
        for row in seen:
            wrong = row["z"] is not None and row["z"] > FAR
            right.plot(row["horizon"], row["needed"], "x" if wrong else "o", color=COLOURS[name])
    right.set(xscale="log", yscale="log", ylim=(50, 1e9), xlabel="horizon, hours (a period takes 25)")
    right.set(ylabel="trajectories for a standard error of a tenth", title="Vilar oscillator; crosses: wrong")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def show_biases(axes: Axes, rows: pd.DataFrame) -> None:
    """A point a derivative, with a bar at the median."""
    random = np.random.default_rng(0)
    for index, (name, label) in enumerate(NAMES.items()):
        for late in (False, True):
            part = rows[(rows["estimator"] == name) & (rows["when"] == ("late" if late else "early"))]
            centre = index + 0.2 * (2 * late - 1)
            size = np.clip(part["bias"].abs(), 1e-4, 1e2)
            far = part["bias"].abs() > FAR * part["noise"]
            at = centre + random.uniform(-0.1, 0.1, len(part))
            axes.plot(at[~far], size[~far], "o", color=COLOURS[name], alpha=0.3, markersize=3)
            axes.plot(at[far], size[far], "x", color=COLOURS[name], markersize=4)
            axes.hlines(size.median(), centre - 0.15, centre + 0.15, color="black")
        axes.text(index, 1.3e2, label.replace(", ", ",\n").replace(" (", "\n("), ha="center", va="bottom", fontsize=7)
    axes.axhline(1.0, color="gray", linewidth=0.5)
    axes.set(
        yscale="log",
        ylim=(1e-4, 1e3),
        xlim=(-0.6, len(NAMES) - 0.4),
        ylabel="difference from the exact value, relative",
    )
    ticks = [index + side for index in range(len(NAMES)) for side in (-0.2, 0.2)]
    axes.set_xticks(ticks, ["early", "late"] * len(NAMES), fontsize=7)
    axes.set_title("battery; crosses: over 4 standard errors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description="Bias and variance of surrogate gradients, from recorded runs.")
    parser.add_argument("--gradients", type=Path, required=True, help="JSON file of gradients.py")
    parser.add_argument("--horizons", type=Path, required=True, help="JSON file of horizons.py")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture")
    options = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    rows = battery(options.gradients)
    about = json.loads(options.gradients.read_text(encoding="utf-8"))["facts"]
    print(table(rows, float(about["trajectories"])))
    drawn(rows, json.loads(options.horizons.read_text(encoding="utf-8"))["rows"], options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
