"""What a fit gives back, and the files in which it does."""

import html
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import SbmlgradError
from sbmlgrad.petab.fitted import PetabFit
from sbmlgrad.petab.problem import Problem

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def fit(decay: Problem) -> PetabFit:
    return decay.fit(starts=2, seed=1)


def test_a_problem_can_be_used_again_with_the_estimates(fit: PetabFit, version1: Write, tmp_path: Path) -> None:
    problem, folder = version1(), tmp_path / "out"
    fit.write(folder)
    problem.with_name("parameters.tsv").write_bytes((folder / "parameters.tsv").read_bytes())
    again = sg.read_petab(problem)
    assert dict(again.nominal) == pytest.approx(dict(fit.parameters["estimate"]), rel=1e-15)
    assert again.evaluate().llh == pytest.approx(fit.llh, abs=1e-8)


def test_everything_is_written(fit: PetabFit, tmp_path: Path) -> None:
    written = fit.write(tmp_path / "out")
    assert [Path(path).name for path in written] == ["simulations.tsv", "parameters.tsv", "fitted.xml", "index.html"]
    assert all(Path(path).is_file() for path in written)
    table = pd.read_csv(written[0], sep="\t")
    assert list(table["simulation"]) == pytest.approx([8.0, 3.0], abs=1e-3)
    assert sg.read_sbml(written[2]).initial_values()["k"] == 0.5  # which the conditions set, not the estimates


def test_the_fitted_model_has_the_estimates_that_it_knows(version2: Write, tmp_path: Path) -> None:
    fit = sg.read_petab(version2()).fit(starts=2)
    fit.write(tmp_path / "out")
    model = sg.read_sbml(tmp_path / "out" / "fitted.xml")
    assert model.initial_values()["k"] == fit.parameters["estimate"]["k"]


def test_nothing_is_written_beside_what_is_in_the_way(fit: PetabFit, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.tex").write_text("mine")
    with pytest.raises(SbmlgradError, match=r"holds 'thesis.tex', no part of a report"):
        fit.write(tmp_path)
    assert not (tmp_path / "simulations.tsv").exists()


def test_json_has_the_fields_of_a_fit(fit: PetabFit, tmp_path: Path) -> None:
    fit.save_json(tmp_path / "fit.json")
    told = json.loads((tmp_path / "fit.json").read_text())
    assert set(told["parameters"]["s"]) == {"estimate", "stderr", "lower", "upper", "ci_lower", "ci_upper"}
    assert (told["llh"], told["chi2"], told["seed"], told["converged"]) == (fit.llh, fit.chi2, 1, True)
    assert len(told["starts"]) == 2
    assert {"loss", "seconds", "version", "message", "warnings", "method", "data", "goodness", "correlation"} <= set(
        told
    )


def test_the_command_fits(version1: Write, tmp_path: Path) -> None:
    problem, output, folder = version1(), tmp_path / "fit.json", tmp_path / "out"
    arguments = [problem, "--fit", "--starts", 2, "--seed", 5, "--json", output, "-o", folder]
    result = CliRunner().invoke(main, ["petab", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert f"llh {json.loads(output.read_text())['llh']:.10g}" in result.stdout.splitlines()
    assert sorted(path.name for path in folder.iterdir()) == [
        "fitted.xml",
        "parameters.tsv",
        "report",
        "simulations.tsv",
    ]


def test_the_command_takes_no_values_for_a_fit(version1: Write) -> None:
    result = CliRunner().invoke(main, ["petab", str(version1()), "--fit", "--set", "s=1"])
    assert result.exit_code == 2


def test_a_fit_shows_itself(fit: PetabFit) -> None:
    assert repr(fit).startswith("<PetabFit: ")
    assert "\n" not in repr(fit)
    assert len(repr(fit)) < 300
    shown = fit._repr_html_()
    assert all(str(name) in shown for name in fit.parameters.index)
    assert html.escape(fit.verdict) in shown


def test_a_problem_and_an_evaluation_show_themselves(decay: Problem) -> None:
    assert repr(decay).count("\n") == 0
    assert all(name in decay._repr_html_() for name in decay.nominal)
    assert "simulation" in decay.evaluate()._repr_html_()
