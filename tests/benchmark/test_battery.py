"""The battery of small networks: what it covers, and that its exact answers are those of simulated ensembles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sbmlgrad.simulation.ensemble import Ensemble, run

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "battery.py"
MODELS = {
    "birth_death",
    "dimerisation",
    "feedback_gene",
    "toggle_switch",
    "schlogl",
    "enzyme",
    "lotka_volterra",
    "ion_channel",
    "sir",
    "ring_oscillator",
}
QUICK = [
    "birth_death mean X 1",
    "enzyme variance C 10",
    "dimerisation probability P-150-302 10",
    "toggle_switch probability U-0-10 3",
]


@pytest.fixture(scope="module")
def battery(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("battery")


def named(battery: ModuleType, name: str) -> Any:
    return next(case for case in battery.CASES if case.name == name)


def test_it_covers_models_kinds_and_observables(battery: ModuleType) -> None:
    cases = battery.CASES
    assert len(cases) >= 24
    assert len({case.name for case in cases}) == len(cases)
    assert {case.model for case in cases} == MODELS
    assert {case.model for case in cases if case.kind == "transient"} == MODELS
    assert Counter(case.kind for case in cases)["stationary"] >= 10
    assert min(Counter(case.observable[0] for case in cases).values()) >= 8
    for case in cases:
        assert 1 <= len(case.parameters) <= 6
        assert set(case.parameters) <= set(case.network.parameters)
        assert case.observable[1] in case.network.species


@pytest.mark.parametrize("name", QUICK)
def test_exact_values_are_those_of_an_ensemble(battery: ModuleType, name: str) -> None:
    """Within 4.5 standard errors, which a right value misses about once in 150,000 seeds."""
    case = named(battery, name)
    ensemble = Ensemble(case.network, case.network.x0, case.network.coefficients, np.array([case.time]), 20_000, 1)
    species = case.network.species.index(case.observable[1])
    seen = battery.observed(case, np.concatenate([chunk.records[species][0] for chunk in run(ensemble)]))
    value, _ = battery.exact(case)
    assert abs(seen.mean() - value) < 4.5 * seen.std() / np.sqrt(len(seen))


@pytest.mark.parametrize("name", QUICK)
def test_every_parameter_moves_what_is_seen(battery: ModuleType, name: str) -> None:
    case = named(battery, name)
    value, derivatives = battery.exact(case)
    moved = derivatives * [float(case.network.parameters[parameter]) for parameter in case.parameters]
    assert np.all(np.abs(moved) > 0.02 * abs(value))


def test_derivatives_in_closed_form(battery: ModuleType) -> None:
    """Birth and death from 0: E X = k/g (1 - e^-gt), and as much variance."""
    for name in ("birth_death mean X 1", "birth_death variance X 8"):
        case = named(battery, name)
        k, g, time = 40.0, 1.0, case.time
        value, derivatives = battery.exact(case)
        np.testing.assert_allclose(value, k / g * -np.expm1(-g * time), rtol=1e-5)
        by_g = k / g * time * np.exp(-g * time) + k / g**2 * np.expm1(-g * time)
        np.testing.assert_allclose(derivatives, [-np.expm1(-g * time) / g, by_g], rtol=1e-5)


def test_the_script_prints_a_line_a_case(battery: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert battery.main(["birth_death mean"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("birth_death mean X 1 (transient): 25.28")
    assert " states, " in line
