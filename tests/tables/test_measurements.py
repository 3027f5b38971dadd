"""Tables of measurements: what is read, and the one line that says what is wrong with a table."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.errors import SbmlgradError, TableError
from sbmlgrad.tables import Measurements, match, read_measurements, write_table


def table(folder: Path, text: str) -> Path:
    path = folder / "data.csv"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> Measurements:
    return read_measurements(table(folder, text))[0]


def refusal(folder: Path, text: str) -> str:
    """The message for a table that cannot be read, which is one line and begins with the file."""
    path = table(folder, text)
    with pytest.raises(TableError) as caught:
        read_measurements(path)[0]
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# ---- what is read --------------------------------------------------------------------------------------


def test_a_trajectory_has_one_series_a_column(tmp_path: Path) -> None:
    result = read(tmp_path, "time,S,[I]\n0,760,3.5\n1,750,\n2,700,4e1\n")
    first, second = result.series
    assert (first.observable, first.statistic, first.replicates, first.replicate) == ("S", "value", 1, None)
    assert first.times.tolist() == [0, 1, 2]
    assert first.values.tolist() == [760, 750, 700]
    assert second.observable == second.column == "[I]"
    assert second.times.tolist() == [0, 2]  # blank is missing
    assert second.values.tolist() == [3.5, 40]


def test_moments_are_means_and_sds(tmp_path: Path) -> None:
    result = read(tmp_path, "time,A-mean,A-sd,[B]-mean\n0,1,0,5\n2,3,1.5,6\n")
    actual = [(s.observable, s.statistic, s.column, s.replicates) for s in result.series]
    assert actual == [
        ("A", "mean", "A-mean", None),
        ("A", "sd", "A-sd", None),
        ("[B]", "mean", "[B]-mean", None),
    ]


@pytest.mark.parametrize("name", ["replicate", "cell", "trajectory"])
def test_tracked_trajectories_keep_their_labels(tmp_path: Path, name: str) -> None:
    result = read(tmp_path, f"{name},time,A\nb,1,4\na,0,1\nb,0,3\na,1,2\n")
    assert [(s.replicate, s.values.tolist()) for s in result.series] == [("b", [3, 4]), ("a", [1, 2])]
    assert [s.replicates for s in result.series] == [1, 1]


def test_rows_are_sorted_and_identical_ones_count_once(tmp_path: Path) -> None:
    (series,) = read(tmp_path, "time,A\n2,5\n0,1\n2,5\n1,3\n").series
    assert series.times.tolist() == [0, 1, 2]
    assert series.values.tolist() == [1, 3, 5]


def test_rows_of_one_time_may_complete_each_other(tmp_path: Path) -> None:
    first, second = read(tmp_path, "time,A,B\n0,1,\n0,,2\n").series
    assert (first.values.tolist(), second.values.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    "text",
    [
        "\ufefftime,A\n0,1\n1,2\n",
        "time;A\n0;1\n1;2\n",
        "time\tA\n0\t1\n1\t2\n",
        "\n time , A ,\n\n 0 , 1 ,\n,,\n1,2,\n",
        '"time","A"\r\n"0","1"\r\n"1","2"\r\n',
        "time,A,B\n0,1,\n1,2,\n",  # nothing was measured of B
    ],
    ids=["byte order mark", "semicolons", "tabs", "blanks", "quotes", "empty column"],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str) -> None:
    (series,) = read(tmp_path, text).series
    assert series.times.tolist() == [0, 1]
    assert series.values.tolist() == [1, 2]


def test_a_frame_is_read_like_a_file() -> None:
    frame = pd.DataFrame({"time": [1, 0, 2], "A": [2.0, 1.0, np.nan], "replicate": [1.0, 1.0, 2.0]})
    (series,) = read_measurements(frame)[0].series
    assert (series.replicate, series.times.tolist(), series.values.tolist()) == ("1", [0, 1], [1, 2])
    by_index = frame[["time", "A"]].set_index("time")
    assert read_measurements(by_index)[0].series[0].times.tolist() == [0, 1]


def test_a_frame_names_its_rows() -> None:
    frame = pd.DataFrame({"time": [0, 1], "A": [1, "many"]}, index=["first", "second"])
    with pytest.raises(TableError, match=r"^table: row second, column 'A': 'many' is not a number"):
        read_measurements(frame)[0]


def test_many_replicates_are_read_in_reasonable_time(tmp_path: Path) -> None:
    rows = [f"{cell},{time},{cell + time}" for cell in range(2000) for time in range(10)]
    assert len(read(tmp_path, "\n".join(["cell,time,A", *rows])).series) == 2000


# ---- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("time,A\n", "there are no rows"),
        ("time,A\n0,\n1,\n", "all cells beside 'time' are blank"),
        ("time\n0\n", "there is no column beside 'time'"),
        ("replicate,time\n1,0\n", "there is no column beside 'time'"),
        ("A,B\n0,1\n", "there is no column 'time' among 'A', 'B'"),
        ("0,1\n1,2\n", "the first line must name the columns"),
        ("t,A\n0,1\n", "rename 't' to 'time'"),
        ("time,A,A\n0,1,2\n", "there are two columns 'A'"),
        ("time,,A\n0,0,1\n", "column 2 has no name; name it or remove it"),
        (",A\n0,1\n", "column 1 has no name; name it 'time' if it is the time"),
        ("time,A,cell,replicate\n0,1,1,1\n", "columns 'replicate' and 'cell'"),
        ("time,A,A-sd\n0,1,1\n", "columns 'A' and 'A-sd'"),
        ("time,A-mean,cell\n0,1,1\n", "column 'A-mean' is a moment of many trajectories, but 'cell' marks"),
        ("time,A\n0,1,2\n", "line 2 has 3 cells, but there are 2 columns"),
        ("time,A\n0,1\n\n1\n", "line 4 has 1 cells"),
        ("time,A\n0,1\n1,abc\n", "line 3, column 'A': 'abc' is not a number"),
        ("time,A\n0,1_000\n", "'1_000' is not a number"),
        ("time,A\n0,inf\n", "line 2, column 'A': 'inf' is not a finite number"),
        ("time,A\n0,1e999\n", "'1e999' is not a finite number"),
        ("time,A\n0,__import__('os').system('touch owned')\n", "line 2, column 'A': \"__import__('os')"),
        ("time,A\n-1,1\n", "line 2, column 'time': time -1 is negative"),
        ("time,A\n0,1\n,1\n", "line 3, column 'time': there is no time"),
        ("time,A\nnan,1\n", "line 2, column 'time': there is no time"),
        ("time,A\n0,1\n\n\n1,many\n", "line 5, column 'A': 'many' is not a number; write one with a decimal point"),
        ("time,A\n2 min,1\n", "line 2, column 'time': '2 min' is not a number"),
        ("time,A-sd\n0,-0.5\n", "line 2, column 'A-sd': -0.5 is negative"),
        ("time,cell,A\n0,,1\n", "line 2, column 'cell': it is blank"),
        ("time,A\n0,1\n1,2\n0,3\n", "line 4, column 'A': time 0 is there twice, with 1 (line 2) and 3"),
        ("time,A-mean\n0,1\n0,3\n", "keep one row for each time"),
        ("time,cell,A\n0,x,1\n0,x,3\n", "keep one row for each time of trajectory 'x'"),
    ],
)
def test_a_wrong_table_is_refused_with_place_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    refused = refusal(tmp_path, text)
    assert message in refused
    assert ";" in refused  # what to do follows
    assert not list(tmp_path.glob("owned"))


def test_rows_that_share_their_times_are_cells(tmp_path: Path) -> None:
    """Identical rows are different cells; blanks are what was not counted."""
    measurements = read(tmp_path, "time,A,B\n0,1,5\n0,1,5\n0,3,\n1,4,6\n1,5,7\n")
    cells = measurements.cells
    assert cells is not None
    assert cells.observables == ("A", "B")
    assert cells.times.tolist() == [0, 0, 0, 1, 1]
    assert cells.values[:, 0].tolist() == [1, 1, 3, 4, 5]
    moments = {(s.observable, s.statistic): s.values.tolist() for s in measurements.series}
    assert moments["A", "mean"] == pytest.approx([5 / 3, 4.5])
    assert moments["A", "sd"] == pytest.approx([np.std([1, 1, 3], ddof=1), np.sqrt(0.5)])
    assert moments["B", "n"] == [2, 2]


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no such file"):
        read_measurements(tmp_path / "nowhere.csv")[0]
    with pytest.raises(TableError, match="this is a folder"):
        read_measurements(tmp_path)[0]
    (tmp_path / "book.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00\x80")
    with pytest.raises(TableError, match="this is not CSV"):
        read_measurements(tmp_path / "book.csv")[0]
    with pytest.raises(TableError, match="this is not CSV"):
        read(tmp_path, f'time,A\n0,"{"x" * 200_000}"\n')
    with pytest.raises(TableError, match="cannot be read"):
        read_measurements("a\0b.csv")[0]


# ---- columns and the model -----------------------------------------------------------------------------


def test_columns_must_match_the_model(tmp_path: Path) -> None:
    ids = {"Susceptible", "Infected", "total"}
    match(read(tmp_path, "time,Infected-mean,[Susceptible],total\n0,1,2,3\n"), ids)
    with pytest.raises(TableError, match=r"column 'Infectd' matches nothing in the model; did you mean Infected"):
        match(read(tmp_path, "time,Infectd\n0,1\n"), ids)
    with pytest.raises(TableError, match=r"column 'Infected-std' .* did you mean Infected-sd"):
        match(read(tmp_path, "time,Infected-std\n0,1\n"), ids)
    with pytest.raises(TableError, match=r"column 'x' .* it has 'Infected', 'Susceptible', 'total'; rename"):
        match(read(tmp_path, "time,x\n0,1\n"), ids)


def test_columns_may_be_called_by_names_of_the_model(tmp_path: Path) -> None:
    names = {"Active receptor": {"R1"}, "twice": {"A", "B"}, "S": {"other"}}
    ids = {"R1", "A", "B", "S", "other"}
    actual = match(read(tmp_path, "time,[Active receptor]-mean,Active receptor-sd,S-mean\n0,1,2,3\n"), ids, names)
    assert [series.column for series in actual.series] == ["[R1]-mean", "R1-sd", "S-mean"]  # an id comes before a name
    with pytest.raises(TableError, match="column 'twice' matches nothing in the model"):
        match(read(tmp_path, "time,twice\n0,1\n"), ids, names)
    with pytest.raises(TableError, match="column 'Active receptor' and column 'R1' are both of 'R1'; remove one"):
        match(read(tmp_path, "time,R1,Active receptor\n0,1,1\n"), ids, names)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            "time,observable,value,trajectories,share\n1,X,0,3,0.3\n1,X,1,7,0.7\n",
            "this is a histogram .*a row for each",
        ),
        ("time,variable,value\n1,X,0\n2,X,1\n", "this table is long .columns .variable. and .value.*pivot it"),
        ("observableId,time,measurement\nobs_a,1,0\n", "this table is long .*sbmlgrad petab"),
    ],
)
def test_what_is_no_table_of_columns_is_said_with_what_to_do(tmp_path: Path, table: str, says: str) -> None:
    with pytest.raises(TableError, match=says):
        read(tmp_path, table)


def test_things_may_be_called_variable_and_value(tmp_path: Path) -> None:
    series = read(tmp_path, "time,variable,value\n1,3,0\n2,4,1\n").series
    assert [one.observable for one in series] == ["variable", "value"]


# ---- tables out ----------------------------------------------------------------------------------------


def test_a_written_table_reads_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": [0.0, 0.1], "A-mean": [1 / 3, 2.0], "A-sd": [0.0, np.nan]})
    path = tmp_path / "out.csv"
    path.write_text("old")
    write_table(frame, path)
    assert path.read_bytes().startswith(b"time,A-mean,A-sd\n0.0,0.333")
    mean, sd = read_measurements(path)[0].series
    assert mean.values.tolist() == [1 / 3, 2.0]  # to the last bit
    assert sd.times.tolist() == [0.0]
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]


def test_a_table_goes_through_a_link_and_into_a_pipe(tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": [0.0], "A": [1.0]})
    (tmp_path / "there.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "there.csv")
    write_table(frame, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "there.csv").read_text() == "time,A\n0.0,1.0\n"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    write_table(frame, pipe)
    assert os.read(end, 100) == b"time,A\n0.0,1.0\n"
    os.close(end)
    assert pipe.is_fifo()


@pytest.mark.parametrize("target", ["no/folder/out.csv", "."])
def test_a_table_that_cannot_be_written_is_one_line(tmp_path: Path, target: str) -> None:
    with pytest.raises(SbmlgradError, match=r"cannot be written: [^\n]+; choose another place$"):
        write_table(pd.DataFrame({"time": [0.0]}), tmp_path / target)
    assert not list(tmp_path.iterdir())
