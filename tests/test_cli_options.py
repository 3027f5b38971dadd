"""Values of options, and options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sbmlgrad.cli import main
from sbmlgrad.cli_options import MAX_EVENTS, bounded
from sbmlgrad.cores import cores
from sbmlgrad.simulation import experiment


def test_parameters_to_fit_stand_between_commas() -> None:
    assert bounded("k") == [("k", None)]
    assert bounded("k=1:2, r.g ,[S]=1e-3:4") == [("k", (1.0, 2.0)), ("r.g", None), ("[S]", (1e-3, 4.0))]


@pytest.mark.parametrize("text", ["", "k,", "k=1", "k=2:1", "k=1:2,k2=", "=1:2"])
def test_parameters_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        bounded(text)


def test_commas_and_repeated_options_are_the_same(models_dir: Path, tmp_path: Path) -> None:
    path, data = str(models_dir / "birth_death" / "model.xml"), tmp_path / "data.csv"
    data.write_text("time,X\n0,0\n1,6\n2,9\n3,9\n", encoding="utf-8")
    said = []
    for number, given in enumerate((["-p", "k=1:100,g"], ["-p", "k=1:100", "-p", "g"])):
        json_path = tmp_path / f"{number}.json"
        arguments = ["fit", path, str(data), *given, "--method", "ode", "--json", str(json_path)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        said.append(json.loads(json_path.read_text(encoding="utf-8"))["parameters"])
    assert said[0] == said[1]
    assert list(said[0]) == ["k", "g"]


def test_the_limit_of_reactions_is_that_of_python() -> None:
    assert experiment.MAX_EVENTS == MAX_EVENTS
    asked = ["simulate", "m.xml", "--end", "1", "--points", "2", "--max-events", str(2**32)]
    assert CliRunner().invoke(main, asked).exit_code == 2


def test_jobs_are_threads(models_dir: Path) -> None:
    path = str(models_dir / "birth_death" / "model.xml")
    before = cores()
    shown = []
    for jobs in ([], ["--jobs", "1"], ["--jobs", "3"], []):
        result = CliRunner().invoke(main, ["simulate", path, "--end", "1", "--points", "2", "-n", "600", *jobs])
        assert cores() == (int(jobs[1]) if jobs else before)
        shown.append(result.stdout)
    assert shown[0].startswith("time,X-mean")
    assert len(set(shown)) == 1
