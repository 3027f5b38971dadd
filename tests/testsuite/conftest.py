"""What stands in for simulation in other processes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

STAND_IN = """
import os, time
from types import SimpleNamespace
import pandas as pd

def simulate(model, times, *, method, select):
    case = os.path.basename(model.elements.source.path)[:5]
    if case == "00002":
        time.sleep(60)
    if case == "00003":
        raise ZeroDivisionError("by zero")
    if case == "00004":
        os._exit(3)
    values = {"S1": 0.5**(2 * times), "[S2]": 10 * times, "k": 3 + 0 * times}
    return SimpleNamespace(mean=pd.DataFrame(values, index=times))

def process_of(item):
    return item, os.getpid()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that other processes can import: the stand-ins for what the cases need."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "semantic_stand_in.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("semantic_stand_in")
    sys.modules.pop("semantic_stand_in")
