"""The loop of sparse networks against the stochastic cases of the SBML Test Suite, wherever it takes the model.

    pytest tests/simulation/test_sparse_against_suite.py -m ""   # all cases; without -m "" a few

Seeds are fixed; false alarms are those of ``sbmlgrad.testsuite.stochastic.run_cases``, below 0.1 % for each variable.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError, UnsupportedError
from sbmlgrad.testsuite.stochastic import run_cases

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("SBMLGRAD_DATA", ROOT.parent / "shared" / "data")) / "sbml-test-suite" / "stochastic"
NAMES = sorted(path.name for path in CASES.glob("[0-9]*") if path.is_dir())
FEW = {"00001", "00020", "00030", "00037"}  # births and deaths, immigration, dimers, batches
N = 10_000


def simulate(model: sg.Model, *args: Any, **more: Any) -> Any:
    """By the sparse loop; what it does not take is not supported."""
    try:
        return sg.simulate(model, *args, method="ssa-sparse", **more)
    except SimulationError as error:
        if "'ssa-sparse'" not in str(error):
            raise
        raise UnsupportedError(model.elements.source.path, [str(error)]) from error


@pytest.mark.skipif(not NAMES, reason=f"no stochastic cases at {CASES}; set SBMLGRAD_DATA to the data folder")
@pytest.mark.filterwarnings("ignore::sbmlgrad.errors.SbmlgradWarning")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FEW else [pytest.mark.slow]) for n in NAMES])
def test_moments_are_those_of_the_suite(name: str) -> None:
    (result,) = run_cases(CASES, [name], N, 1, simulate)
    if result.status == "skipped":
        assert name not in FEW
        pytest.skip(result.detail[:200])
    assert result.status == "passed", result.detail
