"""Tables as other programs export them: what separates cells, which line names the columns, and what is no row."""

from pathlib import Path

import pandas as pd
import pytest

from sbmlgrad.errors import TableError
from sbmlgrad.tables import read_measurements

# What programs write of [A] = 1 and 0.5 at times 0 and 1.
EXPORTS = {
    "COPASI": "# Time\t[A]\n0\t1\n1\t0.5\n",
    "COPASI, tab at the end": "# Time\t[A]\t\n0\t1\t\n1\t0.5\t\n",
    "COPASI, its report": "Time-Course Task\n\nMethod: Deterministic (LSODA)\n    Relative Tolerance: 1e-06\n\n\n"
    "Time-Course Result:\n\n# Time\t[A]\t\n0\t1\t\n1\t0.5\t\n\n\n",
    "basico": "Time,[A]\n0.0,1.0\n1.0,0.5\n",
    "tellurium": "time,[A]\n0,1\n1,0.5\n",
    "numpy": "# time,[A]\n0.000000e+00,1.000000e+00\n1.000000e+00,5.000000e-01\n",
    "numpy, blanks": "# time [A]\n0.0 1.0\n 1.0   0.5 \n",
    "pandas": ",time,[A]\n0,0.0,1.0\n1,1.0,0.5\n",
    "pandas, read and written again": "Unnamed: 0,time,[A]\n0,0.0,1.0\n1,1.0,0.5\n",
    "R, write.csv": '"","time","[A]"\n"1",0,1\n"2",1,0.5\n',
    "R, write.csv2": '"";"time";"[A]"\n"1";0;1\n"2";1;0,5\n',
    "R, write.table": '"time" "[A]"\n"1" 0 1\n"2" 1 0.5\n',
    "R, write.table with tabs": '"time"\t"[A]"\n"row 1"\t0\t1\n"row 2"\t1\t0.5\n',
    "Excel": "\ufefftime,[A]\r\n0,1\r\n1,0.5\r\n",
    "Excel in German": "\ufefftime;[A]\r\n0;1\r\n1;0,5\r\n",
    "Excel, its first line": "sep=;\r\ntime;[A]\r\n0;1\r\n1;0.5\r\n",
    "Excel, its first line in quotes": '"sep=\t"\ntime\t[A]\n0\t1\n1\t0,5\n',
    "Excel for an old Macintosh": "time,[A]\r0,1\r1,0.5\r",
    "empty columns": "time,[A],,\n0,1\n1,0.5,\n",
    "more cells than names": "time,[A]\n0,1,,\n1,0.5,\n",
    "Fortran": "time [A]\n0.0D0 1.0D+00\n1.0d0 5.0D-01\n",
    "comments": '# at 37 degrees, "in situ"\n#\n\ntime,[A]\n0,1\n# washed, then\n1,0.5\n',
    "a comment that speaks of time": "# time, in hours\ntime,[A]\n0,1\n1,0.5\n",
    "comments above a line of names that is one": "# by me, in May\n# Time,[A]\n0,1\n1,0.5\n",
}


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "data.csv"
    path.write_bytes(text.encode(encoding))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(TableError) as caught:
        read_measurements(path)[0]
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("text", EXPORTS.values(), ids=EXPORTS)
def test_what_others_export_is_read(tmp_path: Path, text: str) -> None:
    (series,) = read_measurements(written(tmp_path, text))[0].series
    assert series.column == "[A]"
    assert (series.times.tolist(), series.values.tolist()) == ([0, 1], [1, 0.5])


def test_every_table_of_other_programs_at_hand_is_read(data_dir: Path) -> None:
    folder = data_dir / "cases" / "15-foreign-tables"
    if not folder.is_dir():
        pytest.skip(f"no tables at {folder}")
    for path in sorted(folder.iterdir()):
        assert read_measurements(path)[0].series[0].observable.startswith(("A", "[A]")), path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_encodings_of_excel(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "# gemessen für die Übung\ntime\tA\n0\t0,5\n", encoding)
    assert read_measurements(path)[0].series[0].values.tolist() == [0.5]


def test_lines_keep_their_numbers_under_comments(tmp_path: Path) -> None:
    text = "sep=,\n# one\n\ntime,A\n# two\n0,1\n\n# three\n1,many\n"
    assert refusal(written(tmp_path, text)).startswith("line 9, column 'A': 'many' is not a number")
    text = "# by me\n# time A\n0 1\n# two\n1 many\n"
    assert refusal(written(tmp_path, text)).startswith("line 5, column 'A': 'many' is not a number")


def test_a_row_is_never_taken_for_a_comment(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "cell,time,A\n#1,0,3\n#2,0,4\n"))
    assert message.startswith("line 2, column 'cell': '#1' may be a name or begin a comment; put it in quotes")
    quoted = read_measurements(written(tmp_path, 'cell,time,A\n# plate 2, at noon\n"#1",0,3\n"#2",0,4\n'))[0]
    assert [(series.replicate, series.values.tolist()) for series in quoted.series] == [("#1", [3]), ("#2", [4])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing but\n#\n", "the file is empty"),
        ("time A\n1 0 10\n2 1 5\n", "line 2 has 3 cells, but there are 2 columns"),  # row names, or a column too few
        ("time,A\n0,1,5\n1,2,5\n", "line 2 has 3 cells, but there are 2 columns"),  # decimal commas
        ("TIME,Time,A\n0,0,1\n", "columns 'TIME', 'Time' may all be the time; rename it to 'time'"),
        ("Time (h),A\n0,1\n", "there is no column 'time'; rename 'Time (h)' to 'time'"),
        ("# Time\tA\nNA\t1\n", "line 2, column 'Time': there is no time"),
        ("Time,A\n0,NA\n", "all cells beside 'Time' are blank"),
    ],
)
def test_what_may_mean_two_things_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(written(tmp_path, text))


def test_the_exact_name_comes_before_similar_ones(tmp_path: Path) -> None:
    (series,) = read_measurements(written(tmp_path, "Time,time\n5,0\n7,1\n"))[0].series
    assert (series.observable, series.times.tolist(), series.values.tolist()) == ("Time", [0, 1], [5, 7])


# ---- DataFrames ----------------------------------------------------------------------------------------


def test_a_frame_may_have_its_time_in_the_index() -> None:
    times = pd.Index([0.0, 1.0], name="Time")  # as basico has it
    (series,) = read_measurements(pd.DataFrame({"A": [1, 2]}, index=times))[0].series
    assert series.times.tolist() == [0, 1]
    cells = pd.MultiIndex.from_tuples([("x", 0.0), ("y", 0.0)], names=["cell", "time"])
    assert [s.replicate for s in read_measurements(pd.DataFrame({"A": [1, 2]}, index=cells))[0].series] == ["x", "y"]


def test_a_column_beside_an_index_of_its_name_is_a_species() -> None:
    times = pd.Index([0.0, 1.0], name="time")
    (series,) = read_measurements(pd.DataFrame({"time": [7, 8]}, index=times))[0].series
    assert (series.observable, series.times.tolist(), series.values.tolist()) == ("time", [0, 1], [7, 8])
    kept = pd.DataFrame({"time": [0.0, 1.0], "A": [7, 8]}).set_index("time", drop=False)
    assert [s.observable for s in read_measurements(kept)[0].series] == ["A"]


def test_a_frame_with_row_numbers_for_a_column() -> None:
    frame = pd.DataFrame({"Unnamed: 0": [0, 1], "time": [0, 1], "A": ["1", "NA"]})
    (series,) = read_measurements(frame)[0].series
    assert (series.observable, series.values.tolist()) == ("A", [1])
