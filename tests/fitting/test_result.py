"""A fit as people look at it and keep it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError


@pytest.fixture(scope="module")
def fitted(text) -> sg.Fit:
    document = text({"A": {"amount": 50}}, {"r": ("A ->", "d * A")}, {"d": 0.3})
    named = document.replace('<species id="A"', '<species id="A" name="active"')
    times = np.arange(5.0)
    data = pd.DataFrame({"time": times, "A": 50 * np.exp(-0.4 * times) + [0, 0.2, -0.2, 0.1, -0.1]})
    return sg.fit(sg.read_sbml(named), data, {"d": None}, method="ode")


def test_a_fit_shows_itself(fitted: sg.Fit) -> None:
    estimate = fitted.parameters["estimate"]["d"]
    assert repr(fitted) == f"<Fit: d={estimate:.4g}; {fitted.loss_name} {fitted.loss:.6g}, converged>"
    page = fitted._repr_html_()
    assert f"<td>{estimate:.6g}</td>" in page
    assert "<th>n_data</th>" in page
    assert page.count("<p>warning: ") == len(fitted.warnings)


def test_a_picture_is_returned_and_written_where_asked(fitted: sg.Fit, tmp_path: Path) -> None:
    figure = fitted.plot(tmp_path / "fit.png")
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    assert (axes.get_title(), axes.get_ylabel()) == ("active (A)", "molecules")
    assert [axes.get_title() for axes in fitted.plot().axes] == ["active (A)"]


def test_a_fit_is_saved_as_a_document(fitted: sg.Fit, tmp_path: Path) -> None:
    fitted.save(tmp_path / "fitted.xml")
    saved = sg.read_sbml(tmp_path / "fitted.xml")
    assert saved.parameters["value"]["d"] == fitted.parameters["estimate"]["d"]


def test_a_report_does_not_replace_what_the_fit_was_read_from(text: Callable[..., str], tmp_path: Path) -> None:
    """A table of an earlier report is data as any other."""
    document = text({"A": {"amount": 50}}, {"r": ("A ->", "d * A")}, {"d": 0.3})
    (tmp_path / "first").mkdir()
    data = tmp_path / "first" / "measured.csv"
    data.write_text("time,A\n0,50\n1,33\n2,23\n")
    fit = sg.fit(sg.read_sbml(document), data, {"d": None}, method="ode")
    fit.report(tmp_path / "second")
    data.rename(tmp_path / "second" / "measured.csv")
    again = sg.fit(sg.read_sbml(document), tmp_path / "second" / "measured.csv", {"d": None}, method="ode")
    with pytest.raises(SbmlgradError, match="holds the input .*measured.csv', which would be lost"):
        again.report(tmp_path / "second")
    fit.report(tmp_path / "second")  # nothing of its own is there
    assert "residual" in (tmp_path / "second" / "measured.csv").read_text()
