"""Pictures of a made-up fit whose names are as hostile as a file may make them (see conftest.py)."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.model.labels import Labels
from sbmlgrad.report import (
    FitContent,
    plot_fit,
    plot_loss,
    plot_parameters,
    plot_residuals,
    plot_simulation,
    save_figure,
)

SCRIPT = "<script>alert(1)</script>"
# A label matplotlib would hide, broken mathematics, a column of the history.
NAMES = ("_hidden", "$x_{$", "n")
TIMES = np.linspace(0.0, 10.0, 41)


def without_history(content: FitContent) -> FitContent:
    return replace(content, history=content.history.iloc[:0])


def deterministic(content: FitContent) -> FitContent:
    return replace(content, curves=content.curves.assign(mean_stderr=np.nan, sd=np.nan))


def of_cells(content: FitContent) -> FitContent:
    return replace(content, measured=pd.concat([content.measured] * 100).assign(residual=np.nan))


def of_two_conditions(content: FitContent) -> FitContent:
    parts = {
        name: [getattr(content, name).assign(condition=c) for c in ("_low", "$high$")]
        for name in ("measured", "curves")
    }
    return replace(content, **{name: pd.concat(tables) for name, tables in parts.items()})


VARIANTS = [lambda content: content, without_history, deterministic, of_cells, of_two_conditions]
PLOTS = [plot_fit, plot_loss, plot_parameters, plot_residuals]


def texts(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


# Warnings are errors in these tests, so each of them also holds matplotlib to be silent.
@pytest.mark.parametrize("change", VARIANTS)
@pytest.mark.parametrize("plot", PLOTS)
def test_all_axes_have_labels(
    plot: Callable[[FitContent], Figure], change: Callable[[FitContent], FitContent], content: FitContent
) -> None:
    figure = plot(change(content))
    figure.canvas.draw()
    drawn = [axes for axes in figure.axes if axes.axison]
    assert drawn
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in drawn)


def test_an_observable_with_a_measured_sd_has_a_second_panel(content: FitContent) -> None:
    titles = [axes.get_title() for axes in plot_fit(content).axes if axes.axison]
    assert titles == ["[$S]", "standard deviation of [$S]", SCRIPT]


def test_a_parameter_may_be_called_like_a_column(content: FitContent) -> None:
    panel = plot_parameters(content).axes[NAMES.index("n")]
    (trace,) = [line for line in panel.lines if len(line.get_xdata()) == 20]
    assert np.max(trace.get_ydata()) == 101.0
    assert content.steps["n"].eq(1000).all()


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("columns", [["$a_{$"], ["_a", "$b$"], [f"_s{i}$" for i in range(60)]])
def test_a_simulation_shows_its_names_as_they_are(columns: list[str], spread: bool) -> None:
    mean = pd.DataFrame(1.0, index=pd.Index(TIMES, name="time"), columns=columns)
    figure = plot_simulation(mean, mean / 2 if spread else None, Labels("$t$"))
    assert {"$t$", "time", *columns[:30]} <= set(texts(figure))


def lowest_of_bands(figure: Figure) -> list[float]:
    bands = [band for axes in figure.axes for band in axes.collections if isinstance(band, PolyCollection)]
    return [float(band.get_paths()[0].vertices[:, 1].min()) for band in bands]


def test_bands_stop_at_zero_where_values_do() -> None:
    mean = pd.DataFrame({"A": 1.0, "x": 1.0}, index=TIMES)
    labels = Labels(quantities={"A": "amount", "x": "value"}, signed=frozenset({"x"}))
    assert lowest_of_bands(plot_simulation(mean, 3 * mean, labels)) == [0.0, -2.0]
    assert lowest_of_bands(plot_simulation(mean - 2, 3 * mean, labels))[0] == -4.0


def test_bands_of_fits_stop_at_zero_unless_data_are_negative(content: FitContent) -> None:
    wide = replace(content, curves=content.curves.assign(sd=30.0))
    assert lowest_of_bands(plot_fit(wide))[0] == 0.0
    negative = replace(wide, measured=wide.measured.assign(measured=-1.0))
    assert lowest_of_bands(plot_fit(negative))[0] < 0


def test_a_legend_says_what_bars_are_where_there_are_any(content: FitContent) -> None:
    assert "measured, ± error that the fit takes" in texts(plot_fit(content))
    values = content.measured[content.measured["statistic"] == "value"]  # whose spread is the band of the model
    assert "measured" in texts(plot_fit(replace(content, measured=values)))


def test_axes_carry_names_and_units(content: FitContent) -> None:
    mean = pd.DataFrame({"A": 1.0, "[A]": 1.0, "B": 2.0}, index=TIMES)
    quantities = {"A": "molecules", "B": "molecules", "[A]": "concentration (item/litre)"}
    labels = Labels("m", "time (hour)", {"A": "active (A)"}, quantities)
    figure = plot_simulation(mean, None, labels, caption="one trajectory")
    assert [axes.get_ylabel() for axes in figure.axes] == ["molecules", "concentration (item/litre)"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"time (hour)"}
    assert {"m", "one trajectory", "active (A)", "[A]"} <= set(texts(figure))
    assert plot_fit(replace(content, labels=labels)).axes[0].get_xlabel() == "time (hour)"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_a_picture_is_saved_the_same_each_time(suffix: str, content: FitContent, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_figure(plot_fit(replace(content, title="模型")), tmp_path / f"{name}{suffix}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_name_in_another_script_is_no_warning(tmp_path: Path) -> None:
    mean = pd.DataFrame({"A": 1.0}, index=TIMES)
    save_figure(plot_simulation(mean, None, Labels("模型")), tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "message"), [("a.jpg", "unknown format"), ("a", "unknown format"), ("no/a.png", "no folder")]
)
def test_a_picture_that_cannot_be_written_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SbmlgradError, match=message):
        save_figure(Figure(), tmp_path / name)


def test_a_failing_picture_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(SbmlgradError, match="No space left"):
        save_figure(Figure(), target)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")
