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


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    return result.output.splitlines()[-1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("option", ["-o", "--json"])
def test_no_output_lies_in_the_folder_of_the_report(folder: Path, option: str) -> None:
    """It is written as a whole, in the end: the estimates of a whole fit were lost."""
    (folder / "report").mkdir()
    said = refused("fit", "nowhere.xml", "data.csv", "-p", "k", "--report", "report", option, "report/out")
    assert said == f"Error: {option}: 'report/out' lies in the folder of --report; name a place outside of it"


@pytest.mark.parametrize("table", ["DATA", "CONDITIONS", "MODEL"])
def test_no_input_lies_in_the_folder_of_the_report(folder: Path, table: str) -> None:
    """An earlier report may be replaced, and with it what has the name of one of its tables."""
    (folder / "report").mkdir()
    (folder / "report" / "measured.csv").write_text("time,X\n0,1\n")
    names = {"DATA": "data.csv", "CONDITIONS": "conditions.csv", "MODEL": "nowhere.xml"}
    names[table] = "report/measured.csv"
    conditions = ("--conditions", names["CONDITIONS"])
    said = refused("fit", names["MODEL"], names["DATA"], "-p", "k", *conditions, "--report", "report")
    assert said == "Error: --report: 'report' holds the input 'report/measured.csv'; name another folder"


def test_what_was_typed_is_repeated_in_one_line() -> None:
    assert refused("info", "model.xml", "a\nb\x1b[2J") == "Error: Got unexpected extra argument (a b?[2J)"


def test_a_petab_problem_s_own_tables_are_not_overwritten(folder: Path) -> None:
    (folder / "problem.yaml").write_text(
        "parameter_file: parameters.tsv\nproblems: [{simulation_files: [other.tsv]}]\n"
    )
    said = refused("petab", "problem.yaml", "--fit", "-o", ".")
    assert said == "Error: -o: parameters.tsv of 'problem.yaml' lies in '.'; name another folder"
    (folder / "out" / "report").mkdir(parents=True)
    said = refused("petab", "problem.yaml", "--fit", "-o", "out", "--json", "out/report/fit.json")
    assert "lies in the folder of -o (report); name a place outside of it" in said
    said = refused("petab", "problem.yaml", "-o", "out", "--json", "out/simulations.tsv")
    assert said == "Error: --json: 'out/simulations.tsv' is written by -o too; give another name"


@pytest.mark.parametrize(
    "line",
    [
        "petab problem.yaml --fit --starts {}",
        "petab problem.yaml --fit --sample {}",
        "petab problem.yaml --fit --max-events {}",
        "fit model.xml data.csv -p k --starts {}",
        "fit model.xml data.csv -p k --sample {}",
        "simulate model.xml --end 1 --points {}",
        "sensitivity model.xml --end 1 -p k --points {}",
    ],
)
def test_numbers_that_no_memory_holds_are_wrong_usage(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("problem.yaml", "model.xml", "data.csv"):
        (tmp_path / name).touch()
    result = CliRunner().invoke(main, line.format(2**64).split())
    assert result.exit_code == 2, result.output
    assert f"{2**64} is not in the range" in result.stderr
