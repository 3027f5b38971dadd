"""Pages of a made-up fit whose names are as hostile as a file may make them (see conftest.py)."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.report import FitContent, check_folder, html, write_report
from sbmlgrad.report.html import PAGE, TABLES, with_error

NAMES = ("_hidden", "$x_{$", "n")  # as those of the parameters of the made-up fit


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
def test_dwell_times_are_shown_where_there_are_any(content: FitContent, tmp_path: Path) -> None:
    histogram = pd.DataFrame({"level": [0.0, 0.0, 1.0], "lower": 0.1, "upper": 0.2, "sojourns": 3, "expected": 2.5})
    write_report(replace(content, dwells=histogram), tmp_path / "report")
    assert (tmp_path / "report" / "dwells.csv").exists()
    assert "<h2>Dwell times</h2>" in (tmp_path / "report" / "index.html").read_text()


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
