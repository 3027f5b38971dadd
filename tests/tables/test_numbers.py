"""Cells as numbers: missing ones, decimal commas, and numbers that cannot be what their column says."""

from pathlib import Path

import pandas as pd
import pytest

from sbmlgrad.errors import TableError
from sbmlgrad.tables import read_measurements


def numbers(folder: Path, text: str) -> list[list[float]]:
    path = folder / "data.csv"
    path.write_text(text, encoding="utf-8")
    return [series.values.tolist() for series in read_measurements(path)[0].series]


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(TableError) as caught:
        numbers(folder, text)
    message = str(caught.value)
    assert "\n" not in message
    return message.partition("data.csv: ")[2]


@pytest.mark.parametrize("cell", ["", "NaN", "nan", "NA", "N/A", "#N/A", "<NA>", "null", "None", " "])
def test_missing_values(tmp_path: Path, cell: str) -> None:
    assert numbers(tmp_path, f"time,A,B\n0,1,2\n1,{cell},3\n2,4,5\n") == [[1, 4], [2, 3, 5]]


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_decimal_commas_where_commas_separate_nothing(tmp_path: Path, separator: str) -> None:
    text = "time|A\n0,5|-1,25E+02\n1|7\n".replace("|", separator)
    assert numbers(tmp_path, text) == [[-125, 7]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "time;A\n0;0.5\n1;1,234\n",
            "line 3, column 'A': '1,234' has a comma, but '0.5' (line 2, column 'A') a point; write all numbers",
        ),
        ("time;A\n0;1.234,5\n", "line 2, column 'A': '1.234,5' is not a number"),
        ("time;A\n0;1,234,567\n", "line 2, column 'A': '1,234,567' is not a number"),
        ('time,A\n0,"0,5"\n', "line 2, column 'A': '0,5' is not a number; write one with a decimal point"),
        ("time,A-mean,A-sem\n0,1,-1\n", "line 2, column 'A-sem': -1 is negative, which no standard error is"),
        ("time,A,A-error\n0,1,-1\n", "line 2, column 'A-error': -1 is negative, which no measurement error is"),
        ("time,A-mean,A-n\n0,1,0\n", "line 2, column 'A-n': 0 is no number of cells"),
        ("time,A-mean,A-n\n0,1,20\n1,1,2.5\n", "line 3, column 'A-n': 2.5 is no number of cells"),
        ("time,A\n0,1e308\n", "line 2, column 'A': 1e+308 is above 1e+100, so that its square is no number; correct"),
        ("time,A-mean,A-sd\n0,1,1e308\n", "line 2, column 'A-sd': 1e+308 is above 1e+100"),
        ("time,A-mean,A-sem\n0,1,1e-320\n", "line 2, column 'A-sem': 9.99989e-321 is below 1e-100"),
        ("time,A-mean,A-n\n0,1,1e80\n", "line 2, column 'A-n': 1e+80 is more cells than there can be"),
        ("time,A-mean,A-n\n0,1,inf\n", "line 2, column 'A-n': 'inf' is not a finite number"),
        (
            "time,A-mean,A-sd,A-sem,A-n\n0,5,1,0.5,100\n",
            "line 2, column 'A-sem': 0.5 is not 1 (A-sd) over the root of 100 (A-n), which is 0.1; correct one",
        ),
        ("time,A-mean,A-sd,A-sem,A-n\n0,5,0,0.5,100\n", "line 2, column 'A-sem': 0.5 is not 0 (A-sd)"),
    ],
)
def test_numbers_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_rounded_numbers_do_not_contradict_each_other(tmp_path: Path) -> None:
    rows = ["0,5,1.0,0.1,100", "1,5,1.2,0.7,3", "2,5,0.44,0.1,10", "3,5,,0.1,10", "4,5,1,,10", "5,5,1,3,", "6,5,0,0,9"]
    assert len(numbers(tmp_path, "\n".join(["time,A-mean,A-sd,A-sem,A-n", *rows]))) == 4


def test_numbers_of_a_frame_agree_to_their_last_digit() -> None:
    frame = pd.DataFrame({"time": [0], "A-mean": [5.0], "A-sd": [1.0], "A-sem": [1 / 3], "A-n": [9]})
    assert len(read_measurements(frame)[0].series) == 4
    with pytest.raises(TableError, match="row 0, column 'A-sem': 0.5 is not 1"):
        read_measurements(frame.assign(**{"A-sem": 0.5}))[0]
