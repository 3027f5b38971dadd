"""The script for a GPU runs on a CPU as well, and finds the package right there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np


def test_it_writes_what_it_measures(benchmark_script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    output = tmp_path / "small.json"
    assert benchmark_script("on_gpu").main(["--small", "-o", str(output)]) == 0
    result = json.loads(output.read_text(encoding="utf-8"))
    assert result["facts"]["command"] == "python benchmarks/on_gpu.py --small -o small.json"
    parts = result["parts"]
    assert {name: part.get("failed") for name, part in parts.items()} == dict.fromkeys(parts)
    assert len(parts) == 7
    assert [row["bit-equal share"] for row in parts["correctness"]["rows"]] == [1.0, 1.0]
    assert all(row["seconds"] > 0 for row in parts["throughput"]["rows"])


def test_a_part_that_fails_or_lasts_too_long_says_so(
    benchmark_script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    script = benchmark_script("on_gpu")
    run = script.Run(True, tmp_path / "run.json", 10.0, {})

    def fails(_: object) -> object:
        yield {"row": 1}
        raise ValueError("no")

    def lasts(_: object) -> object:
        while True:
            yield {"row": 1}

    script.do(run, "fails", fails, 5.0)
    script.do(run, "lasts", lasts, 0.05)
    parts = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["parts"]
    assert parts["fails"]["failed"] == "ValueError: no"
    assert parts["fails"]["rows"] == [{"row": 1}]
    assert parts["lasts"]["failed"] == "TimeoutError: out of time"


def test_differences_are_in_standard_errors(benchmark_script: Callable[[str], ModuleType]) -> None:
    """Of one Poisson sample from its own law and from another; above 5 by chance less than once in 100,000 seeds."""
    script = benchmark_script("on_gpu")
    counts = np.random.default_rng(1).poisson(20.0, (10_000, 1, 1))
    same, other = np.full((1, 1), 20.0), np.full((1, 1), 21.0)
    assert script.largest_z(counts, same, same, None) < 5
    assert script.largest_z(counts, other, same, None) > 15
    assert np.isnan(script.largest_z(counts, same * np.nan, same * np.nan, None))
