"""What is refused of a problem's files, and in what words."""

from collections.abc import Callable
from pathlib import Path

import pytest

import sbmlgrad as sg
from sbmlgrad.errors import PetabError, SbmlgradError

Write = Callable[..., Path]


def refusal(problem: Path) -> str:
    with pytest.raises(SbmlgradError) as caught:
        sg.read_petab(problem).evaluate()
    message = str(caught.value)
    assert message.startswith(str(problem.parent))
    assert "\n" not in message
    return message


def test_what_is_read_is_told(version1: Write, version2: Write) -> None:
    assert repr(sg.read_petab(version1())).endswith("2 measurements of 1 observable in 2 experiments>")
    problem = sg.read_petab(version2())
    assert problem.definition.version == "2.0.0"
    assert dict(problem.nominal) == {"k": 0.25}


def test_a_missing_file_is_named(version1: Write) -> None:
    problem = version1()
    assert "there is no such file" in refusal(problem.with_name("other.yaml"))
    problem.with_name("observables.tsv").unlink()
    assert "there is no file 'observables.tsv' beside it" in refusal(problem)


@pytest.mark.parametrize("content", ["", "- 1\n", "format_version: 3\n", "a: [b", "format_version: 1\n"])
def test_what_is_no_problem_is_said(tmp_path: Path, content: str) -> None:
    problem = tmp_path / "problem.yaml"
    problem.write_text(content)
    assert refusal(problem)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"observables": "observableId | observableFormula | noiseFormula\na | A * | 1"}, "A *"),
        ({"observables": "observableId | observableFormula\na | A"}, "noiseFormula"),
        ({"measurements": "observableId | simulationConditionId | time | measurement\nb | fast | 0 | 8"}, "b"),
        ({"measurements": "observableId | simulationConditionId | time | measurement\na | no | 0 | 8"}, "'no'"),
        ({"measurements": "observableId | simulationConditionId | time | measurement\na | fast | x | 8"}, "'x'"),
        ({"measurements": "observableId | simulationConditionId | time\na | fast | 0"}, "measurement"),
        ({"measurements": "observableId | simulationConditionId | time | measurement\na | fast | -1 | 8"}, "-1"),
        ({"measurements": "observableId | simulationConditionId | time | measurement"}, "no measurements"),
        ({"conditions": "conditionId | k\nfast | 1 +\nslow | 1"}, "condition 'fast', column 'k'"),
        ({"parameters": "parameterId | parameterScale | lowerBound | upperBound | estimate\ns | lin | 0 | 1 | 2"}, "s"),
    ],
)
def test_what_is_wrong_with_tables_of_version_1_is_said(version1: Write, tables: dict[str, str], said: str) -> None:
    assert said in refusal(version1(**tables))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"observables": "observableId | observableFormula | noiseFormula\na | A * | 1"}, "A *"),
        ({"observables": "observableId | observableFormula\na | A"}, "noiseFormula"),
        ({"measurements": "observableId | experimentId | time | measurement\na | no | 0 | 8"}, "no"),
        ({"measurements": "observableId | experimentId | time | measurement\nb | twice | 0 | 8"}, "b"),
        ({"measurements": "observableId | experimentId | time | measurement\na | twice | x | 8"}, "time"),
        ({"experiments": "experimentId | time | conditionId\ntwice | 0 | no"}, "no"),
        ({"conditions": "conditionId | targetId | targetValue\nagain | k2 | 1"}, "'k2'"),
        ({"parameters": "parameterId | lowerBound | upperBound | nominalValue | estimate\nk | 0 | 1 | 1 | 1"}, "true"),
    ],
)
def test_what_is_wrong_with_tables_of_version_2_is_said(version2: Write, tables: dict[str, str], said: str) -> None:
    assert said in refusal(version2(**tables))


def test_text_in_tables_never_runs(version1: Write, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    formula = f"__import__('pathlib').Path('{harm}').touch()"
    refusal(version1(observables=f"observableId | observableFormula | noiseFormula\na | {formula} | 1"))
    refusal(version1(conditions=f"conditionId | k\nfast | {formula}\nslow | 1"))
    assert not harm.exists()


@pytest.mark.parametrize(
    "formula", ["9^9^9^9^9 * A", "(9^9^9^9)^A", "exp(exp(exp(exp(9))))", "(" * 3000 + "A" + ")" * 3000]
)
def test_formulas_without_end_are_refused_at_once(version1: Write, version2: Write, formula: str) -> None:
    observables = f"observableId | observableFormula | noiseFormula\na | {formula} | 1"
    refusal(version1(observables=observables))
    refusal(version2(observables=observables))
    refusal(version2(conditions=f"conditionId | targetId | targetValue\nagain | A | {formula}"))


def test_several_models_of_version_1_are_refused(version1: Write) -> None:
    problem = version1()
    problem.write_text(problem.read_text().replace("[model.xml]", "[model.xml, model.xml]"))
    with pytest.raises(PetabError, match="several problems or models"):
        sg.read_petab(problem)


def test_other_languages_of_models_are_refused(version2: Write) -> None:
    problem = version2()
    problem.write_text(problem.read_text().replace("language: sbml", "language: bngl"))
    with pytest.raises(PetabError, match="model 'model' is bngl, not SBML"):
        sg.read_petab(problem)
