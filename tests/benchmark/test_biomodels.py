"""The comparison with another simulator: what it says of values, failures and differences."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "biomodels.py"
PATH = Path("some.xml")


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("biomodels")


def ours(script: ModuleType, *courses: np.ndarray | str, **more: Any) -> Any:
    """A result with a species of about 1000 and a parameter of about 1e-6."""
    return script.Ours(names=("S", "p"), species=frozenset({"S"}), courses=courses, **more)


def course(species: float = 1000.0, parameter: float = 1e-6) -> np.ndarray:
    return np.tile([species, parameter], (50, 1))


@pytest.fixture
def reference(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts a function of (end, settings) in the place of the reference; what it returns or raises is the result."""

    def replace(result: Callable[..., Any]) -> None:
        def call(path: Path, names: Sequence[str], end: float, sizes: Any, how: Any) -> Any:
            actual = result(end, how)
            if isinstance(actual, str):
                raise RuntimeError(actual)
            return actual

        monkeypatch.setattr(script, "reference_course", call)

    return replace


def test_small_differences_agree(script: ModuleType, reference: Any) -> None:
    reference(lambda end, how: course(1000.05, 1.00005e-6))
    assert script.refer((PATH, ours(script, course(), course()))) == script.Verdict("agrees", "", True)


@pytest.mark.parametrize(("species", "parameter"), [(1000.2, 1e-6), (1000.0, 1.0002e-6), (np.nan, 1e-6)])
def test_a_difference_is_told_with_variable_and_values(
    script: ModuleType, reference: Any, species: float, parameter: float
) -> None:
    """What is large does not excuse another variable that is small."""
    reference(lambda end, how: course())
    verdict = script.refer((PATH, ours(script, course(species, parameter), course())))
    assert verdict.status == "differs"
    assert verdict.reference_runs
    name, value, other = ("'p'", parameter, 1e-6) if species == 1000.0 else ("'S'", species, 1000.0)
    assert f"{name} at time 0: {value:.8g}, the reference has {other:.8g}; 1 of 2 variables differ" in verdict.reason
    assert "at other settings" in verdict.reason


def test_not_a_number_on_both_sides_agrees(script: ModuleType, reference: Any) -> None:
    reference(lambda end, how: course(np.nan))
    assert script.refer((PATH, ours(script, course(np.nan), course(np.nan)))).status == "agrees"


def test_agreement_at_other_settings_is_noted(script: ModuleType, reference: Any) -> None:
    reference(lambda end, how: course(900.0 if how == script.BEST else 1000.0))
    verdict = script.refer((PATH, ours(script, course(), course(), reason="a note")))
    assert verdict.status == "agrees"
    assert verdict.reason == f"a note | with the reference at {script.OTHERS[0]}, not at {script.BEST}"


def test_failures_are_told_apart(script: ModuleType, reference: Any) -> None:
    reference(lambda end, how: "no such thing")
    assert script.refer((PATH, ours(script, course(), course()))) == script.Verdict("reference_failed", "no such thing")
    both = script.refer((PATH, ours(script, "it stopped")))
    assert both == script.Verdict("failed", "it stopped (the reference fails too: no such thing)")
    reference(lambda end, how: course() if end == 10.0 else "no such thing")
    verdict = script.refer((PATH, ours(script, course(), course())))
    assert verdict == script.Verdict("agrees", "to time 10; beyond, no such thing", True)
    reference(lambda end, how: course())
    verdict = script.refer((PATH, ours(script, course(), "it stopped")))
    assert verdict == script.Verdict("failed", "it stopped (the reference gets to time 100)", True)
    refused = script.refer((PATH, script.Ours("refused", "no")))
    assert refused == script.Verdict("refused", "no", True)


def test_own_results(script: ModuleType, text: Callable[..., str], tmp_path: Path) -> None:
    """A species that is left open starts at 0, boundary species and constants are not looked at."""
    path = tmp_path / "model.xml"
    species = {"A": {"amount": 1.0}, "B": {}, "C": {"amount": 2.0, "boundary": True}}
    path.write_text(text(species, {"R": ("A -> B", "k*A*C")}, {"k": 0.1, "t": 0.0}, rules={"t": "A + B"}))
    actual = script.simulated(path)
    assert (actual.names, actual.species) == (("A", "B", "t"), {"A", "B"})
    assert actual.exact is False
    assert "'B': has no initial value" in actual.exact_reason
    assert actual.reason == "1 species without an initial value start at 0 here"
    assert [values.shape for values in actual.courses] == [(50, 3), (50, 3)]
    np.testing.assert_allclose(actual.courses[1][-1], [np.exp(-20.0), 1.0 - np.exp(-20.0), 1.0], rtol=1e-6)
    path.write_text(text({"A": {"amount": 1.0}}, {"R": ("A -> ", "A")}, {"p": 0.0}, algebraic=["p - 1"]))
    refused = script.simulated(path)
    assert (refused.status, refused.courses) == ("refused", ())
    assert str(tmp_path) not in refused.reason


def test_the_table_and_the_summary(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a1.xml", "a2.xml", "b.xml", "b.txt"):
        (tmp_path / name).touch()

    def run(paths: Sequence[Path], limit: float, processes: int) -> Any:
        assert [path.name for path in paths] == ["a1.xml", "a2.xml"]
        assert limit == 7
        yield script.Row("a1", script.Ours(read=1.0, compile=2.0, run=0.5, exact=False, exact_reason="no"), agrees)
        yield script.Row("a2", script.Ours(), script.Verdict("refused", "x | y", True))

    agrees = script.Verdict("agrees", "", True)
    output = tmp_path / "out.csv"
    script.main([str(tmp_path), "--only", "a", "--limit", "7", "-o", str(output)], run)
    with output.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(script.COLUMNS)
    assert rows[1:] == [
        ["a1", "agrees", "", "1.000", "2.000", "0.500", "no", "no"],
        ["a2", "refused", "x | y", "", "", "", "", ""],
    ]
    said = capsys.readouterr().out
    assert "1 of 2 agree (50.0%)" in said
    assert "1 of 1 agree (100.0%)" in said
    assert "median 3.00 s" in said
