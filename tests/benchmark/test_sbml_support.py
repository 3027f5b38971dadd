"""The page about what of SBML is supported, made from small tables."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "sbml_support.py"

SEMANTIC = """case,status,seconds,tags,detail
00001,passed,0.1,Reaction;Amount,largest deviation 0
00002,skipped,0.1,Reaction;EventWithDelay,reaction 'R1' is fast (slow it) | species 'S_1': at 3e+20; use S_1=value
00003,skipped,0.1,Reaction;EventWithDelay,reaction 'R2' is fast (slow it) | reaction 'R3' is fast (slow it)
00004,failed,0.1,Reaction,"/home/me/cases/00004/00004-sbml-l3v1.xml: rule of 'a_b', 3 | 4"
"""
STOCHASTIC = "case,status,seconds,tags,detail\n00001,passed,1.0,Reaction,good\n"
BIOMODELS = """model,status,reason,seconds
BIOMD1,agrees,,1
BIOMD2,refused,the package 'fbc' is required,1
BIOMD3,refused,the package 'fbc' is required,1
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, text in (("a.csv", SEMANTIC), ("b.csv", STOCHASTIC), ("c.csv", BIOMODELS)):
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("sbml_support")


def test_the_page_is_made_of_the_tables(tables: Path) -> None:
    ended = run(tables, "a.csv", "b.csv", "c.csv", "-o", "page.md")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    page = (tables / "page.md").read_text(encoding="utf-8")
    assert page.startswith("# What of SBML is supported\n")
    assert "sbml_support.py semantic.csv stochastic.csv biomodels.csv -o" in page
    for line in (
        "| `ode` | 4 | 1 | 1 | 2 |",
        "| Amount | 1/1 |  |",
        "| EventWithDelay | 0/2 |  |",
        "| Reaction | 1/4 | 1/1 |",
        "| reaction … is fast (slow it) | 2 | 00002, 00003 |",
        "| species …: at N; use …=value | 1 | 00002 |",
        r"- 00004 by `ode`: 00004-sbml-l3v1.xml: rule of 'a\_b', 3 \| 4",
        "| agrees | 1 |",
        "| the package 'fbc' is required | 2 | BIOMD2, BIOMD3 |",
    ):
        assert line in page.splitlines()
    assert "/home" not in page


def test_the_page_without_biomodels(tables: Path) -> None:
    assert run(tables, "b.csv", "b.csv", "-o", "page.md").returncode == 0
    page = (tables / "page.md").read_text(encoding="utf-8")
    assert "BioModels" not in page
    assert page.endswith("## Failed cases\n\nNone.\n")


def test_tables_of_another_kind_are_refused(tables: Path) -> None:
    ended = run(tables, "c.csv", "b.csv", "-o", "page.md")
    assert (ended.returncode, ended.stderr) == (
        1,
        "error: c.csv: no column case, tags, detail; the first line must name the columns\n",
    )
    assert not (tables / "page.md").exists()


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("algebraic rule on 'a', 'b' and 'c' cannot be solved", "algebraic rule on … cannot be solved"),
        ("species 'S': starts with 2.5e+10 molecules (and 3 more)", "species …: starts with N molecules (and N more)"),
        ("the package 'fbc2' is required", "the package 'fbc2' is required"),
        ("MathML of Level 3 uses x1 at -0.5", "MathML of Level N uses x1 at N"),
        ("file /a/b/m.xml: no", "file m.xml: no"),
    ],
)
def test_reasons_lose_what_is_special(script: ModuleType, reason: str, expected: str) -> None:
    assert script.general(reason) == expected
