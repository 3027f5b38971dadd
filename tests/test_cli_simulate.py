"""What `sbmlgrad simulate` writes beside means: single trajectories, snapshots, histograms, pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from sbmlgrad.cli import main
from sbmlgrad.tables import read_measurements


@pytest.fixture
def path(models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model, in a folder of its own to work in."""
    monkeypatch.chdir(tmp_path)
    return str(models_dir / "birth_death" / "model.xml")


def simulate(path: str, *more: object) -> Result:
    arguments = ["simulate", path, "--end", "4", "--points", "3", "-n", "40", "--seed", "2", *map(str, more)]
    return CliRunner().invoke(main, arguments)


def test_single_trajectories_and_cells_are_written_as_fit_reads_them(path: str) -> None:
    result = simulate(path, "--raw", "raw.csv", "--snapshots", "cells.csv")
    assert result.exit_code == 0, result.output
    means = pd.read_csv(io.StringIO(result.stdout))
    raw = pd.read_csv("raw.csv")
    assert list(raw.columns) == ["trajectory", "time", "X"]
    assert raw.groupby("time")["X"].mean().tolist() == pytest.approx(means["X-mean"].tolist())
    (read,) = read_measurements("raw.csv")
    assert len(read.series) == 40
    (cells,) = read_measurements("cells.csv")
    assert cells.cells is not None
    assert cells.cells.values.shape == (120, 1)


def test_a_histogram_at_a_time_between_the_others(path: str) -> None:
    result = simulate(path, "--histogram", "3.5", "--histogram", 4, "--plot", "x.png")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(io.StringIO(result.stdout))
    assert list(table.columns) == ["time", "observable", "value", "trajectories", "share"]
    assert table.groupby("time")["trajectories"].sum().to_dict() == {3.5: 40, 4.0: 40}
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")


def test_the_solution_of_rate_equations_is_one_trajectory(path: str) -> None:
    result = simulate(path, "--method", "ode", "--raw", "raw.csv")
    assert result.exit_code == 0, result.output
    assert pd.read_csv("raw.csv")["X"].tolist() == pd.read_csv(io.StringIO(result.stdout))["X"].tolist()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--histogram", 5), "--histogram 5 is not between --start 0 and --end 4"),
        (("--snapshots", "x.csv", "--method", "ode"), "--snapshots are of single cells"),
        (("--raw", "x.csv", "-o", "x.csv"), "is the output of -o too"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(path: str, more: tuple[object, ...], message: str) -> None:
    result = simulate(path, *more)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(Path().iterdir()) == []


def test_long_lists_are_cut_unless_all_is_asked_for(models_dir: Path) -> None:
    path = str(models_dir / "vilar_oscillator" / "model.xml")
    short, every = (CliRunner().invoke(main, ["info", path, *more]).stdout for more in ([], ["--all"]))
    assert "  and 5 more; --all lists them" in short
    assert "more; --all" not in every
    assert len(every.splitlines()) == len(short.splitlines()) + 4
