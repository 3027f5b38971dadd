"""The PEtab test suite, and what its command says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sbmlgrad.cli import main
from sbmlgrad.petab.suite import run_cases

Write = Callable[..., Path]

VERSION_1 = [f"{number:04}" for number in range(1, 21)]
VERSION_2 = [f"{number:04}" for number in range(1, 33) if number != 19]
QUICK = {"v1.0.0": {"0009", "0015"}, "v2.0.0": {"0028"}}  # others take long to compile
CASES = [("v1.0.0", case) for case in VERSION_1] + [("v2.0.0", case) for case in VERSION_2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["petab", *map(str, arguments)])


def folder_of(data_dir: Path, *parts: str) -> Path:
    folder = data_dir.joinpath("petab-test-suite", *parts)
    if not folder.is_dir():
        pytest.skip(f"no PEtab test suite at {folder}")
    return folder


@pytest.mark.parametrize(
    ("version", "case"),
    [pytest.param(*case, marks=[] if case[1] in QUICK[case[0]] else pytest.mark.slow) for case in CASES],
)
def test_a_case_of_the_suite_passes(data_dir: Path, version: str, case: str) -> None:
    (result,) = run_cases(folder_of(data_dir, version, "sbml", case))
    assert (result.case, result.status) == (case, "passed"), result.detail


def test_formulas_of_the_suite_are_what_they_should_be(data_dir: Path) -> None:
    (result,) = run_cases(folder_of(data_dir, "v2.0.0", "math"))
    assert (result.status, result.detail) == ("passed", "98 formulas")


def test_the_command_counts_what_passes_and_what_does_not(data_dir: Path, tmp_path: Path) -> None:
    source = folder_of(data_dir, "v2.0.0", "sbml", "0024")
    for case in ("0001", "0002", "0003"):
        shutil.copytree(source, tmp_path / case)
        for name in ("_0024.yaml", "_0024_solution.yaml"):
            (tmp_path / case / name).rename(tmp_path / case / name.replace("0024", case))
    wrong = tmp_path / "0002" / "_0002_solution.yaml"
    wrong.write_text(wrong.read_text().replace("llh: -0.91", "llh: -0.81"))
    spoilt = tmp_path / "0003" / "_simulations.tsv"
    spoilt.write_text(spoilt.read_text().replace("\t1\t", "\t2\t"))
    result = run("--testsuite", tmp_path)
    assert result.exit_code == 1
    passed, likelihood, simulation, count = result.output.splitlines()
    assert passed == "0001 passed: chi2 0, llh -0.918939, simulations within 0.0e+00"
    assert likelihood == "0002 failed: llh is -0.918938533204673, not -0.81893853320467"
    assert simulation == "0003 failed: the simulation of 'obs_p1' at time 0 is 1, not 2"
    assert count == "1 passed, 2 failed, 0 skipped"


def test_a_folder_without_cases_is_said(tmp_path: Path) -> None:
    result = run("--testsuite", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {tmp_path}: no cases here")


def test_the_command_evaluates(version1: Write, tmp_path: Path) -> None:
    problem, output, folder = version1(), tmp_path / "found.json", tmp_path / "out"
    result = run(problem, "--evaluate", "--set", "s=1", "--json", output, "-o", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:1] == [f"chi2 {json.loads(output.read_text())['chi2']:.10g}"]
    assert (folder / "simulations.tsv").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "no=1"], "the parameter table has no 'no'"),
    ],
)
def test_what_cannot_be_done_is_said(version1: Write, arguments: list[str], said: str) -> None:
    result = run(version1(), *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert said in result.stderr


@pytest.mark.parametrize("arguments", [[], ["problem.yaml", "--testsuite", "cases"], ["problem.yaml", "--set", "a"]])
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
