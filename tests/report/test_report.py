"""Pictures and pages of a made-up fit whose names are as hostile as a file may make them."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.report import (
    FitContent,
    check_folder,
    html,
    plot_fit,
    plot_loss,
    plot_parameters,
    plot_residuals,
    plot_simulation,
    save_figure,
    write_report,
)
from sbmlgrad.report.html import PAGE, TABLES, with_error

SCRIPT = "<script>alert(1)</script>"
NAMES = (
    "_hidden",
    "$x_{$",
    "n",
)  # a label matplotlib would hide, broken mathematics, a column of the history
TIMES = np.linspace(0.0, 10.0, 41)


def made_up_content() -> FitContent:
    """Two observables, one of them with a measured sd; three parameters, one of which ended at a bound."""
    curves = pd.concat(
        pd.DataFrame({"observable": name, "time": TIMES, "mean": 9 + TIMES, "mean_stderr": 0.1, "sd": 3.0})
        for name in ("[$S]", SCRIPT)
    )
    rows = [
        {
            "observable": name,
            "statistic": statistic,
            "time": t,
            "measured": 9 + t,
            "error": 1.0,
            "residual": 0.5,
        }
        for name, statistic in (("[$S]", "mean"), ("[$S]", "sd"), (SCRIPT, "value"))
        for t in range(10)
    ]
    steps = np.arange(20)
    traces = pd.DataFrame({name: 1.0 + 100 * np.exp(-steps) for name in NAMES})
    history = pd.DataFrame({"step": steps, "loss": 1.0, "loss_stderr": 2.0, "n": 1000})
    history["phase"] = np.where(steps < 10, "descent", SCRIPT)
    parameters = pd.DataFrame(
        {"start": 2.0, "estimate": 1.0, "stderr": [0.1, np.nan, 3.0], "lower": [1e-3, None, 1.0]}
        | {"upper": [10.0, None, np.nan], "at_bound": [False, False, True]}
        | {"ci_lower": [0.8, np.nan, 0.0], "ci_upper": [1.2, np.nan, np.inf]},
        index=list(NAMES),
    )
    return FitContent(
        title=SCRIPT,
        model=SCRIPT,
        data="data.csv",
        parameters=parameters,
        measured=pd.DataFrame(rows).assign(predicted=9.0),
        curves=curves,
        history=pd.concat([history, traces], axis=1),
        correlation=pd.DataFrame([[1, -0.5, np.nan]] * 3, index=list(NAMES), columns=list(NAMES)),
        facts={"loss": SCRIPT, "version": "1.2.3"},
        warnings=(f"{SCRIPT} ended at its bound",),
    )


@pytest.fixture
def content() -> FitContent:
    return made_up_content()


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
    figure = plot_simulation(mean, mean / 2 if spread else None, "$t$")
    assert {"$t$", "time", *columns[:30]} <= set(texts(figure))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_a_picture_is_saved_the_same_each_time(suffix: str, content: FitContent, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_figure(plot_fit(replace(content, title="模型")), tmp_path / f"{name}{suffix}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_name_in_another_script_is_no_warning(tmp_path: Path) -> None:
    mean = pd.DataFrame({"A": 1.0}, index=TIMES)
    save_figure(plot_simulation(mean, None, "模型"), tmp_path / "a.png")


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


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages with empty pictures, for tests of where files go."""
    monkeypatch.setattr(html, "render", lambda *_, **__: None)


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_report_needs_nothing_else_and_escapes_names(content: FitContent, tmp_path: Path) -> None:
    write_report(content, tmp_path / "new" / "report")
    assert {path.name for path in (tmp_path / "new" / "report").iterdir()} == {PAGE, *TABLES}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report"]
    page = (tmp_path / "new" / "report" / PAGE).read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 5
    addresses = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(addresses) == 4 + len(TABLES)
    assert all(address.startswith("data:image/svg+xml") or address in TABLES for address in addresses)
    table = pd.read_csv(tmp_path / "new" / "report" / "parameters.csv", index_col="parameter")
    assert list(table.index) == list(NAMES)


@pytest.mark.usefixtures("no_pictures")
def test_an_earlier_report_is_replaced(content: FitContent, tmp_path: Path) -> None:
    write_report(content, tmp_path / "report")
    write_report(replace(content, title="the second"), tmp_path / "report")
    assert "the second" in (tmp_path / "report" / PAGE).read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.usefixtures("no_pictures")
def test_an_empty_folder_is_used(content: FitContent, tmp_path: Path) -> None:
    write_report(content, tmp_path)
    assert (tmp_path / PAGE).is_file()


@pytest.mark.parametrize("stranger", ["notes.txt", PAGE, "parameters.csv"])
def test_a_folder_with_anything_else_is_refused(stranger: str, content: FitContent, tmp_path: Path) -> None:
    (tmp_path / stranger).write_text("mine")
    with pytest.raises(SbmlgradError, match=re.escape(stranger)):
        write_report(content, tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.usefixtures("no_pictures")
def test_a_report_with_another_file_in_it_is_refused(content: FitContent, tmp_path: Path) -> None:
    write_report(content, tmp_path / "report")
    (tmp_path / "report" / "fitted.xml").write_text("mine")
    with pytest.raises(SbmlgradError, match=re.escape("fitted.xml")):
        check_folder(tmp_path / "report")


def test_a_file_in_the_way_is_refused(content: FitContent, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target in ("file", "file/report"):
        with pytest.raises(SbmlgradError, match="name a"):
            write_report(content, tmp_path / target)


@pytest.mark.usefixtures("no_pictures")
def test_a_failing_report_leaves_the_old_one(
    content: FitContent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(content, tmp_path / "report")
    move = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: full_disk() if Path(a).name == "new" else move(a, b))
    with pytest.raises(SbmlgradError, match="No space left"):
        write_report(replace(content, title="the second"), tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert "the second" not in (tmp_path / "report" / PAGE).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.123456, 0.0056, "0.1235 ± 0.0056"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (-12.345, 3.0, "-12.3 ± 3.0"),
        (760.4, 12.0, "760 ± 12"),
        (7604.0, 123.0, "(7.60 ± 0.12)e+03"),
        (2.183e-7, 3.1e-9, "(2.183 ± 0.031)e-07"),
        (0.001, 0.5, "0.00 ± 0.50"),
        (0.0, 2e-9, "(0.0 ± 2.0)e-09"),
        (1.23456, np.nan, "1.235"),
        (np.nan, 1.0, "nan"),
    ],
)
def test_the_error_decides_the_digits(value: float, error: float, text: str) -> None:
    assert with_error(value, error) == text
