"""The comparison of estimators on one problem."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import SbmlgradError


def test_comparison_warns_of_straight_through(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "telegraph" / "model.xml")
    comparison = sg.check(model, [24.0], ["k_on"], n=4000, seed=1, select=["M"])
    assert comparison.judge == "exact"
    assert comparison.recommended in ("controlled_score", "coupled_fd")
    assert any("straight_through" in warning and "d M / d k_on" in warning for warning in comparison.warnings)
    table = comparison.table
    assert list(table.columns) == ["bias", "bias_z", "stderr", "seconds", "efficiency", "remark"]
    assert table.loc["score", "efficiency"] == 1
    assert table.loc["controlled_score", "stderr"] < table.loc["score", "stderr"]
    assert "biased here" in table.loc["straight_through_plain", "remark"]


def test_comparison_without_an_exact_judge(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.gradient.compare._JUDGE_STATES", 3)
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    comparison = sg.check(model, [1.0], ["k", "X"], n=2000, seed=1)
    assert comparison.judge == "alternative_path"  # the only unbiased one for initial amounts
    assert "initial amounts" in comparison.table.loc["score", "remark"]
    with pytest.raises(SbmlgradError, match="all these derivatives are zero"):
        sg.check(model, [0.0], ["k"], n=100)


def test_the_command_line_prints_the_comparison(models_dir: Path, tmp_path: Path) -> None:
    path, output = models_dir / "birth_death" / "model.xml", tmp_path / "check.csv"
    asked = ["sensitivity", str(path), "--end", "2", "--points", "3", "-p", "k", "-n", "2000", "--check"]
    result = CliRunner().invoke(main, [*asked, "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "recommended: controlled_score" in result.stdout
    assert output.read_text().startswith("estimator,bias,bias_z,stderr,seconds,efficiency,remark\n")
    assert "warning: " in result.stderr
    assert "straight_through_plain is not to be trusted here: d X / d k at time" in result.stderr
    refused = CliRunner().invoke(main, [*asked, "--method", "ode"])
    assert refused.exit_code == 2
