"""A small PEtab problem of each version, whose files tests write and spoil."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import sbmlgrad as sg
from sbmlgrad.petab.problem import Problem

# A decays to nothing at rate k: A(t) = A0 exp(-k t), in a compartment of size 2.
MODEL = {
    "species": {"A": {"concentration": 8.0, "only": False}},
    "reactions": {"decay": ("A ->", "k * A * cell")},
    "parameters": {"k": 0.5},
    "compartments": {"cell": 2.0},
}

Write = Callable[..., Path]


@pytest.fixture
def version1(tmp_path: Path, text: Callable[..., str]) -> Write:
    """Writes a problem of PEtab 1 and returns its YAML file; tables are given by the kind of what they hold."""

    def write(model: Mapping[str, object] | None = None, **tables: str) -> Path:
        return _write(tmp_path, text(**{**MODEL, **(model or {})}), {**TABLES_1, **tables}, YAML_1)

    return write


@pytest.fixture
def version2(tmp_path: Path, text: Callable[..., str]) -> Write:
    """Writes a problem of PEtab 2 and returns its YAML file; tables are given by the kind of what they hold."""

    def write(model: Mapping[str, object] | None = None, **tables: str) -> Path:
        return _write(tmp_path, text(**{**MODEL, **(model or {})}), {**TABLES_2, **tables}, YAML_2)

    return write


@pytest.fixture(scope="session")
def decay(tmp_path_factory: pytest.TempPathFactory, text: Callable[..., str]) -> Problem:
    """The problem of PEtab 1 as it is, which is compiled once."""
    return sg.read_petab(_write(tmp_path_factory.mktemp("decay"), text(**MODEL), TABLES_1, YAML_1))


def _write(folder: Path, model: str, tables: Mapping[str, str], yaml: str) -> Path:
    folder.joinpath("model.xml").write_text(model, encoding="utf-8")
    for kind, table in tables.items():
        lines = ("\t".join(cell.strip() for cell in line.split("|")) for line in table.strip().splitlines())
        folder.joinpath(f"{kind}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "problem.yaml"
    path.write_text(yaml, encoding="utf-8")
    return path


TABLES_1 = {
    "conditions": "conditionId | k\nfast | 1\nslow | k_slow",
    "observables": "observableId | observableFormula | noiseFormula\na | s * A | 0.5",
    "measurements": "observableId | simulationConditionId | time | measurement\na | fast | 0 | 8\na | slow | 2 | 3",
    "parameters": "parameterId | parameterScale | lowerBound | upperBound | nominalValue | estimate\n"
    "k_slow | log10 | 0.01 | 10 | 0.25 | 1\ns | lin | 0 | 10 | 1 | 1",
}
YAML_1 = """format_version: 1
parameter_file: parameters.tsv
problems:
- condition_files: [conditions.tsv]
  measurement_files: [measurements.tsv]
  observable_files: [observables.tsv]
  sbml_files: [model.xml]
"""

TABLES_2 = {
    "conditions": "conditionId | targetId | targetValue\nagain | A | A + 8\nlarger | cell | 4",
    "experiments": "experimentId | time | conditionId\ntwice | 0 |\ntwice | 2 | again",
    "observables": "observableId | observableFormula | noiseFormula\na | A | 0.5",
    "measurements": "observableId | experimentId | time | measurement\na | twice | 0 | 8\na | twice | 3 | 6",
    "parameters": "parameterId | lowerBound | upperBound | nominalValue | estimate\nk | 0 | 10 | 0.25 | true",
}
YAML_2 = """format_version: 2.0.0
parameter_files: [parameters.tsv]
condition_files: [conditions.tsv]
experiment_files: [experiments.tsv]
measurement_files: [measurements.tsv]
observable_files: [observables.tsv]
model_files:
  model:
    language: sbml
    location: model.xml
"""
