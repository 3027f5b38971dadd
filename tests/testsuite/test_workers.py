"""Work in other processes: in order, bounded in time, and what crashes is lost alone."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sbmlgrad.testsuite import workers
from sbmlgrad.testsuite.workers import Lost, in_workers

SETTINGS = """start: 0
duration: 1
steps: 2
variables: S1, S2, k
absolute: 1.000000e-007
relative: 0.0001
amount: S1
concentration: S2
"""
RESULTS = "Time,S1,S2,k\n0,1,0,3\n0.5,0.5,5,3\n1,2.5e-001,1.0e+001,3\n\n"
DESCRIPTION = """(*

category:      Test
synopsis:      Says: a great deal
componentTags: Compartment, Species, Reaction
 testTags:     Amount, Species
testType:      TimeCourse
generatedBy:   Analytic

The tags are
testTags: prose
*)
"""
MODEL = (
    '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" '
    'version="1"><model id="m"><listOfParameters><parameter id="k" value="3" constant="true"/></listOfParameters>'
    "</model></sbml>"
)


def write_case(
    folder: Path,
    settings: str = SETTINGS,
    results: str = RESULTS,
    description: str = DESCRIPTION,
    formats: tuple[str, ...] = ("l2v4", "l3v1"),
) -> Path:
    folder.mkdir()
    name = folder.name
    (folder / f"{name}-settings.txt").write_text(settings)
    (folder / f"{name}-results.csv").write_text(results)
    (folder / f"{name}-model.m").write_text(description)
    for format_ in formats:
        (folder / f"{name}-sbml-{format_}.xml").write_text(MODEL)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_case(tmp_path / "00007")


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


def test_a_process_is_used_for_some_items_only(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ITEMS_OF_A_PROCESS", 3)
    results = list(in_workers(stand_in.process_of, range(5), limit=30, processes=1))
    items, processes = zip(*(result for result in results if not isinstance(result, Lost)), strict=True)
    assert items == (0, 1, 2, 3, 4)
    assert len({os.getpid(), *processes}) == 3
    assert len(set(processes[:3])) == 1


def test_no_items_need_no_processes() -> None:
    assert list(in_workers(abs, [], limit=1)) == []
