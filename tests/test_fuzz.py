"""A small part of what `benchmarks/fuzz.py` does: hostile documents, command lines and tables end in good order.

They run in a process of their own, which forks, as this one, in which JAX has threads, must not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_hostile_inputs_end_in_good_order(tmp_path: Path) -> None:
    """The first of each kind, which are the same each time."""
    numbers = {"documents": 40, "lines": 8, "tables": 30}
    asked = [word for kind, number in numbers.items() for word in (f"--{kind}", str(number))]
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), *asked, "-o", str(tmp_path / "fuzz.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = json.loads((tmp_path / "fuzz.json").read_text())
    assert said == {"seed": 0, "counts": numbers, "bad": []}
