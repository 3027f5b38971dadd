"""What README.md shows works: its Python as one script, and its commands; with few trajectories, to be quick.

Its first two commands, and how all tests are run, are what `.ci/run` does.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sbmlgrad.cli import main

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FEW = "24"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)


def commands() -> list[str]:
    """Those whose files are in the repository."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if re.match(r"sbmlgrad \w+ models/", line)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_runs_as_it_stands(folder: Path) -> None:
    script = re.sub(r"\bn=[\d_]+", f"n={FEW}", "\n".join(blocks("python")))
    # the default of a fit is 2,000 trajectories a step, too
    script = re.sub(r"(sg\.fit\((?:(?!n=).)*?), seed=1\)", rf"\1, n={FEW}, seed=1)", script)
    (folder / "readme.py").write_text(script, encoding="utf-8")
    ended = subprocess.run([sys.executable, "readme.py"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert {"fit.png", "fitted.xml", "report"} <= {path.name for path in folder.iterdir()}


def test_both_commands_and_all_tests_are_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    first, second, *_ = blocks("sh")
    assert re.fullmatch(r"pip install \. && sbmlgrad fit [^\n]*\n", first)
    assert "grep -m 1 -o 'sbmlgrad fit .*'" in ci  # it is taken from here
    install, quick = second.strip().split(" && ")
    assert f"\n{install.replace('install', 'install -qq')} " in ci
    assert f"\n{quick}\n" in ci
    assert re.fullmatch(r"pytest -n \d", quick)
    assert f"`{quick} tests`" in TEXT
    assert f"\n{quick} tests " in ci


def test_commands_are_found() -> None:
    assert len(commands()) >= 7
    assert {line.split()[1] for line in commands()} == {"info", "simulate", "sensitivity", "fit"}


@pytest.mark.parametrize("line", commands())
@pytest.mark.usefixtures("folder")
def test_commands_run(line: str) -> None:
    arguments = shlex.split(line)[1:]
    if arguments[0] != "info":
        arguments += ["-n", FEW]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    for option in ("-o", "--json", "--plot", "--raw", "--snapshots"):
        if option in arguments:
            assert Path(arguments[arguments.index(option) + 1]).stat().st_size > 0
