"""A benchmark beside an earlier one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sbmlgrad.benchmark import run
from sbmlgrad.benchmark.against import compared, read_record
from sbmlgrad.benchmark.run import Result, run_benchmark
from sbmlgrad.errors import SbmlgradError

FACTS = {"date": "2026-01-02", "processor": "Fast", "device": "cpu", "cores": "2"}


def row(tool: str, speed: float, ratio: float = 1.0, task: str = "simulate") -> dict[str, Any]:
    return asdict(Result("m", task, tool, "1", 100, 394.0, 1.0, speed, ratio))


def recorded(path: Path, *rows: Mapping[str, Any], **facts: str) -> Path:
    path.write_text(json.dumps({"facts": {**FACTS, **facts}, "results": rows}))
    return path


def test_speeds_and_ratios_stand_beside_each_other(tmp_path: Path) -> None:
    old = recorded(tmp_path / "old.json", row("sbmlgrad", 100.0), row("peer", 4.0, 25.0))
    now = pd.DataFrame([row("sbmlgrad", 150.0), row("peer", 5.0, 30.0), row("sbmlgrad score", 9.0, task="gradient")])
    head, ours, peer, new = compared(read_record(old), FACTS, now)
    assert head.endswith("old.json of 2026-01-02")
    assert ours.endswith("   1.50 x the speed")
    assert peer.endswith("   1.25 x the speed; ours is 30.0 x its speed, was 25.0 x")
    assert new.endswith("not measured then")


def test_another_machine_is_named(tmp_path: Path) -> None:
    old = read_record(recorded(tmp_path / "old.json", row("sbmlgrad", 1.0), processor="Slow", cores="8"))
    _, warning, _ = compared(old, FACTS, pd.DataFrame([row("sbmlgrad", 1.0)]))
    assert "another machine (processor Slow, cores 8): speeds say little" in warning


@pytest.mark.parametrize("text", ["[1, 2]", "{}", "no JSON", '{"facts": {}, "results": [{"model": "m"}]}', None])
def test_other_files_are_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(SbmlgradError, match=r"x\.json: .*; take a file that `sbmlgrad benchmark -o` wrote"):
        read_record(tmp_path / "x.json")


def test_a_run_is_written_and_compared_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = Result("m", "simulate", "sbmlgrad", "1", 100, 394.0, 1.0, 50.0, 1.0)
    monkeypatch.setattr(run, "_measure_model", lambda *args: iter([result]))
    monkeypatch.setattr(run, "use_nothing_kept", lambda: None)
    said: list[str] = []
    path = tmp_path / "new.json"
    run_benchmark(["m.xml"], output=path, say=said.append)
    assert json.loads(path.read_text())["facts"]["command"] == "sbmlgrad benchmark m.xml"
    run_benchmark(["m.xml"], say=said.append, against=path)
    assert said[-1].endswith("1.00 x the speed")
    assert "another machine" not in "".join(said)
