"""A fit as a page: one HTML file that needs nothing else, and the tables behind it."""

from __future__ import annotations

import base64
import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.report.content import FitContent
from sbmlgrad.report.dwells import plot_dwells
from sbmlgrad.report.plots import plot_fit, plot_loss, plot_parameters, plot_residuals, render
from sbmlgrad.report.posteriors import plot_posterior
from sbmlgrad.report.profiles import plot_profiles

PAGE = "index.html"
TABLES = ("parameters.csv", "measured.csv", "history.csv")
PROFILE, SAMPLES, DWELLS = "profile.csv", "samples.csv", "dwells.csv"
MARK = '<meta name="generator" content="sbmlgrad'
MARK_WITHIN = 1024  # bytes from the beginning of the page
MOST_CORRELATED = 40  # rows of the table of correlations


def write_report(content: FitContent, folder: str | os.PathLike[str], inputs: Iterable[str] = ()) -> None:
    """Write ``folder`` with index.html, parameters.csv, measured.csv and history.csv.

    Profiles go to profile.csv, draws from a posterior to samples.csv, histograms of dwell times to dwells.csv.
    An earlier report in this place is replaced, at once and only when the new one is complete. Raises
    SbmlgradError if the folder holds anything else, or one of the ``inputs``, or cannot be written.
    """
    folder = check_folder(folder, inputs)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            new = beside / "new"
            new.mkdir()
            _write_files(content, new)
            _swap(new, folder, beside / "old")
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise SbmlgradError(f"{folder}: cannot write the report: {reason}; name another folder") from error


def check_folder(folder: str | os.PathLike[str], inputs: Iterable[str] = ()) -> Path:
    """Return the folder's full path if a report may be written there.

    Raises SbmlgradError if there is something else than an earlier report, or one of the files that were read, which
    would be lost.
    """
    folder = Path(folder).resolve()
    for path in inputs:
        if Path(path).is_file() and Path(path).resolve().is_relative_to(folder):
            raise SbmlgradError(f"{folder}: holds the input {path!r}, which would be lost; name another folder")
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise SbmlgradError(f"{folder}: cannot write the report, this is a file; name a folder")
    try:
        held = {path.name for path in folder.iterdir()}
        own = {PAGE, *TABLES, PROFILE, SAMPLES} if _is_report(folder / PAGE) else set()
    except OSError as error:
        raise SbmlgradError(f"{folder}: cannot be read: {error.strerror}; name another folder") from error
    if held <= own:
        return folder
    stranger = min(held - own)
    raise SbmlgradError(f"{folder}: holds {stranger!r}, no part of a report; name a new or empty folder")


def _is_report(page: Path) -> bool:
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return MARK.encode() in file.read(MARK_WITHIN)


def _write_files(content: FitContent, folder: Path) -> None:
    (folder / PAGE).write_text(render_page(content), encoding="utf-8")
    content.parameters.to_csv(folder / TABLES[0], index_label="parameter")
    content.measured.to_csv(folder / TABLES[1], index=False)
    content.history.to_csv(folder / TABLES[2], index=False)
    if content.profiles is not None:
        content.profiles[0].to_csv(folder / PROFILE, index=False)
    if content.posterior is not None:
        content.posterior[0].to_csv(folder / SAMPLES, index=False)
    if content.dwells is not None:
        content.dwells.to_csv(folder / DWELLS, index=False)


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Put ``new`` in the place of ``folder``, or leave ``folder`` as it was."""
    if not folder.exists():
        os.replace(new, folder)
        return
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        os.replace(old, folder)
        raise


def render_page(content: FitContent) -> str:
    """The page as HTML text, in which every name from a file is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    source = resources.files("sbmlgrad.report").joinpath("report.html").read_text(encoding="utf-8")
    correlation = content.correlation.iloc[:MOST_CORRELATED, :MOST_CORRELATED]
    return environment.from_string(source).render(
        content=content,
        parameters=[_parameter_row(str(name), row) for name, row in content.parameters.iterrows()],
        correlation=[
            (str(name), [_correlation_cell(value) for value in row])
            for name, row in zip(correlation.index, correlation.to_numpy(dtype=float), strict=True)
        ],
        uncorrelated=len(content.correlation) - len(correlation),
        pictures={
            "fit": _picture(plot_fit(content)),
            "loss": _picture(plot_loss(content)),
            "parameters": _picture(plot_parameters(content)),
            "residuals": _picture(plot_residuals(content)),
            "dwells": None if content.dwells is None else _picture(plot_dwells(content.dwells)),
            "profiles": None if content.profiles is None else _picture(plot_profiles(*content.profiles)),
            "posterior": None if content.posterior is None else _picture(plot_posterior(*content.posterior)),
        },
        posterior=[] if content.posterior is None else _posterior_rows(content.posterior[1]),
        tables=(
            *TABLES,
            *([] if content.profiles is None else [PROFILE]),
            *([] if content.posterior is None else [SAMPLES]),
            *([] if content.dwells is None else [DWELLS]),
        ),
    )


def _picture(figure: Figure) -> str:
    """An SVG as the address of an image: there it can neither run scripts nor clash with other ids."""
    target = io.BytesIO()
    render(figure, target, "svg", transparent=True)
    return "data:image/svg+xml;base64," + base64.b64encode(target.getvalue()).decode("ascii")


def _parameter_row(name: str, row: pd.Series[Any]) -> dict[str, Any]:
    estimate, stderr, start, lower, upper, low, high = (
        float("nan") if pd.isna(row[key]) else float(row[key])
        for key in ("estimate", "stderr", "start", "lower", "upper", "ci_lower", "ci_upper")
    )
    relative = abs(stderr / estimate) if estimate else math.nan
    return {
        "name": name,
        "estimate": with_error(estimate, stderr),
        "relative": f"{100 * relative:.2g} %" if relative < 10 else "> 1000 %" if relative >= 10 else "–",
        "interval": f"{low:.4g} to {high:.4g}" if math.isfinite(low) and math.isfinite(high) else "–",
        "start": f"{start:.4g}" if math.isfinite(start) else "–",
        "search": f"{lower:.4g} to {upper:.4g}" if math.isfinite(lower + upper) else _one_bound(lower, upper),
        "at_bound": bool(row["at_bound"]),
    }


def _posterior_rows(summary: pd.DataFrame) -> list[dict[str, str]]:
    """Texts of the table of a posterior."""
    return [
        {
            "name": str(name),
            "mean": f"{row['mean']:.4g}",
            "sd": f"{row['sd']:.2g}",
            "median": f"{row['median']:.4g}",
            "interval": f"{row['ci_lower']:.4g} to {row['ci_upper']:.4g}",
            "rhat": f"{row['rhat']:.3f}",
            "ess": f"{row['ess']:.0f}",
        }
        for name, row in summary.iterrows()
    ]


def _one_bound(lower: float, upper: float) -> str:
    if math.isfinite(lower):
        return f"from {lower:.4g}"
    return f"up to {upper:.4g}" if math.isfinite(upper) else "free"


def with_error(value: float, error: float) -> str:
    """A value with its standard error, to the two significant digits of the error: ``0.1234 ± 0.0056``."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    last_digit = math.floor(math.log10(float(f"{error:.1e}"))) - 1  # power of ten of the last digit shown
    size = max(math.floor(math.log10(abs(value))) if value else last_digit, last_digit + 1)
    if -4 <= size <= 5 and last_digit <= 0:
        return f"{value:.{-last_digit}f} ± {error:.{-last_digit}f}"
    digits = size - last_digit
    return f"({value / 10.0**size:.{digits}f} ± {error / 10.0**size:.{digits}f})e{size:+03d}"


def _correlation_cell(value: float) -> dict[str, str]:
    """Text and how strongly to colour it: blue where positive, red where negative."""
    if not math.isfinite(value):
        return {"text": "–", "sign": "none", "strength": "0%"}
    return {
        "text": f"{value:.2f}",
        "sign": "negative" if value < 0 else "positive",
        "strength": f"{70 * min(abs(value), 1.0):.0f}%",
    }
