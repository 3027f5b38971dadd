"""Tables of conditions: periods by time, formulas beside numbers, and the one line for what is none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.errors import TableError
from sbmlgrad.tables import read_measurements
from sbmlgrad.tables.conditions import read_conditions


def written(folder: Path, text: str) -> Path:
    path = folder / "conditions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_a_condition_are_its_periods(tmp_path: Path) -> None:
    found = read_conditions(
        written(tmp_path, "condition,time,k,[S]\ndose,5,,S0 + 2\ndose,,0.5,\n# washed\ndose,2.5,k_hi,0\nnone,,,\n")
    )
    (start, second, third), (none,) = found.periods["dose"], found.periods["none"]
    assert (start.time, second.time, third.time) == (None, 2.5, 5.0)
    assert {name: change.value for name, change in start.changes.items()} == {"k": 0.5}
    assert {name: change.value for name, change in second.changes.items()} == {"k": "k_hi", "[S]": 0.0}
    assert third.changes["[S]"].value == "S0 + 2"
    assert third.changes["[S]"].where.endswith("conditions.csv: line 2, column '[S]'")
    assert dict(none.changes) == {}


def test_what_held_long_before(tmp_path: Path) -> None:
    """Before the start, whatever the order of the rows; a number of the file or one of Python."""
    for table in (
        written(tmp_path, "condition,time,k\na,,1\na,-2,2\na,-inf,3\n"),
        pd.DataFrame({"condition": "a", "time": [np.nan, -2.0, -np.inf], "k": [1.0, 2.0, 3.0]}),
    ):
        periods = read_conditions(table).periods["a"]
        assert [(row.time, row.changes["k"].value) for row in periods] == [(-np.inf, 3.0), (None, 1.0), (-2.0, 2.0)]


def test_frames_and_other_separators(tmp_path: Path) -> None:
    frame = pd.DataFrame({"condition": [1, 2], "k": [0.5, np.nan]})
    assert [len(rows[0].changes) for rows in read_conditions(frame).periods.values()] == [1, 0]
    assert list(read_conditions(frame).periods) == ["1", "2"]
    german = read_conditions(written(tmp_path, "condition;k\na;0,5\n"))
    assert german.periods["a"][0].changes["k"].value == 0.5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,k\na,1\n", "needs one column 'condition'"),
        ("condition\na\n", "no column names anything that changes"),
        ("condition,k\n", "there are no rows"),
        ("condition,k\n,1\n", "line 2, column 'condition': it is blank"),
        ("condition,k\na,1\na,2\n", "'a' has two rows for the start"),
        ("condition,time,k\na,3,1\na,3,2\n", "'a' has two rows for time 3"),
        ("condition,time,k\na,soon,1\n", "'soon' is not a number"),
        ("condition,time,k\na,inf,1\n", "'inf' is not a finite number"),
        ("condition,k\na,inf\n", "'inf' is no finite number"),
        ("condition,k,k\na,1,2\n", "two columns 'k'"),
        ("condition,Time,time,k\na,1,2,3\n", "two columns of time"),
    ],
)
def test_what_is_no_table_of_conditions(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(TableError) as caught:
        read_conditions(written(tmp_path, text))
    assert problem in str(caught.value)
    assert "conditions.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_are_split_by_condition() -> None:
    frame = pd.DataFrame({"condition": ["a", "b", "a", "b"], "time": [0, 0, 1, 1], "A": [1.0, 2, 3, np.nan]})
    first, second = read_measurements(frame)
    assert (first.condition, second.condition) == ("a", "b")
    assert first.series[0].values.tolist() == [1, 3]
    assert second.series[0].times.tolist() == [0]
    cells = pd.DataFrame({"condition": ["a"] * 4 + ["b"] * 2, "time": [1, 1, 2, 2, 1, 2], "A": [1, 2, 3, 4, 5, 6]})
    first, second = read_measurements(cells)
    assert first.cells is not None
    assert second.cells is None
    with pytest.raises(TableError, match="say which condition"):
        read_measurements(pd.DataFrame({"condition": ["a", ""], "time": [0, 1], "A": [1.0, 2]}))
