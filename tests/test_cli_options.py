"""Where outputs may go is found out before the work begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sbmlgrad.cli import main


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    return result.output.splitlines()[-1]


@pytest.fixture(autouse=True)
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
