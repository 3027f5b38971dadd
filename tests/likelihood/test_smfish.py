"""Published smFISH counts under the models of this repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stl1", "dusp1"])
def test_real_counts_are_likelier_than_poisson_ones(
    name: str, data_dir: Path, tmp_path: Path, benchmark_script: Callable[[str], ModuleType]
) -> None:
    """At the numbers of the model files, whole distributions over time."""
    folder = data_dir / "smfish"
    if not folder.is_dir():
        pytest.skip(f"no smFISH counts at {folder}")
    smfish = benchmark_script("smfish")
    smfish.prepare(folder, tmp_path)
    _, cells, _ = smfish.tables(name, tmp_path)
    made = smfish.likelihood_of(name, tmp_path, {})
    observable = cells.columns[1]
    found = made.evaluate(made.parameters.start)
    assert found.value > smfish.poisson_baseline(cells, observable)
    assert found.information is not None
    assert sum(part.size for part in made.parts) == len(cells)
