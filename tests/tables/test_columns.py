"""What a column is, from its name: ids that also name something in tables, and what stands behind a number."""

from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import TableError
from sbmlgrad.headers import RESERVED
from sbmlgrad.tables import match, read_measurements, write_table


def columns(folder: Path, text: str) -> list[tuple[str, str]]:
    path = folder / "data.csv"
    path.write_text(text, encoding="utf-8")
    return [(series.observable, series.statistic) for series in read_measurements(path)[0].series]


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(TableError) as caught:
        columns(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_statistic_is_the_end_of_a_name(tmp_path: Path) -> None:
    text = "time,A-mean,A-sd,A-sem,A-n,B,B-error,B-resolution,[C]-value\n0,1,2,1,4,5,6,7,8\n"
    assert columns(tmp_path, text) == [
        *(("A", statistic) for statistic in ("mean", "sd", "sem", "n")),
        ("B", "value"),
        ("B", "error"),
        ("B", "resolution"),
        ("[C]", "value"),
    ]


@pytest.mark.parametrize("identifier", RESERVED)
def test_an_id_that_names_something_else_is_told_by_its_statistic(tmp_path: Path, identifier: str) -> None:
    assert columns(tmp_path, f"time,{identifier}-value\n0,1\n") == [(identifier, "value")]
    assert columns(tmp_path, f"time,[{identifier}]\n0,1\n") == [(f"[{identifier}]", "value")]
    moments = columns(tmp_path, f"time,{identifier}-mean,{identifier}-sd\n0,1,1\n")
    assert moments == [(identifier, "mean"), (identifier, "sd")]
    assert f"'{identifier}-value'" in refusal(tmp_path, f"time,{identifier}\n0,1\n")


def test_copasi_names_parameters_and_compartments_its_own_way(tmp_path: Path) -> None:
    text = "Time\t[A]\tValues[k1]\tCompartments[cell].Volume\t(R1).Flux\n0\t1\t2\t3\t4\n"
    assert columns(tmp_path, text) == [(name, "value") for name in ("[A]", "k1", "cell", "R1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,A,A-value\n0,1,1\n", "columns 'A' and 'A-value' are the same; remove one of them"),
        ("Time,k,Values[k]\n0,1,1\n", "columns 'k' and 'Values[k]' are the same; remove one of them"),
        ("time,A,A-sem\n0,1,1\n", "columns 'A' and 'A-sem': one is a trajectory, the other a moment of many"),
        ("time,A,A-n\n0,1,1\n", "columns 'A' and 'A-n': one is a trajectory"),
        ("time,A-sem\n0,1\n", "column 'A-sem' says how exact 'A-mean' is, which is not there; add it"),
        ("time,A-n\n0,1\n", "column 'A-n' says how exact 'A-mean' or 'A-sd' is"),
        ("time,A-error\n0,1\n", "column 'A-error' says how exact 'A' or 'A-mean' is"),
        ("time,A-resolution\n0,1\n", "column 'A-resolution' says how exact 'A' is, which is not there; add it"),
        (
            "time,A,A-resolution\n0,1,0\n",
            "0 is no resolution, which is the shortest time that is seen; give one above 0",
        ),
        ("time,A-mean,A-n,cell\n0,1,1,1\n", "column 'A-mean' is a moment of many trajectories, but 'cell' marks"),
    ],
)
def test_columns_that_contradict_each_other(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_a_table_with_underscores_is_told_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("time,A_mean,A_std\n0,1,0.1\n", encoding="utf-8")
    with pytest.raises(TableError, match="column 'A_mean' matches nothing in the model; did you mean A-mean"):
        match(read_measurements(path)[0], {"A"})


@pytest.mark.parametrize("name", ["A{cell}", "[A{cell}]"])
def test_a_compartment_in_braces_is_no_part_of_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "copasi.txt"
    path.write_text(f"# Time\t{name}\n0\t1\n1\t2\n", encoding="utf-8")
    (series,) = match(read_measurements(path)[0], {"A"}).series
    assert series.observable == name.replace("{cell}", "")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("A.ParticleNumber", "name it 'A' if the model's amounts are molecules"),
        ("A.InitialParticleNumber", "is an initial value, not one at each time; remove it"),
        ("[A]_0", "is an initial value"),
        ("Values[k].InitialValue", "is an initial value"),
        ("A.Rate", "is a rate; remove it"),
        ("(r).ParticleFlux", "is a rate; remove it"),
    ],
)
def test_what_else_copasi_exports_has_a_remedy(tmp_path: Path, name: str, remedy: str) -> None:
    said = refusal(tmp_path, f"# Time\t{name}\n0\t1\n1\t2\n")
    assert f"column {name!r}" in said
    assert remedy in said


FOREIGN = {
    "comment.csv": "A", "copasi_time.csv": "[A]", "copasi_tsv.txt": "[A] k1", "cr.csv": "A", "excel_de.csv": "[A]",
    "excel_sep.csv": "[A]", "fortran.csv": "A", "nan.csv": "A", "pandas_index.csv": "A", "quoted.csv": "[A]",
    "r_na.csv": "A", "sem.csv": "A A", "spaces.txt": "A", "tellurium_hash.csv": "[A]", "trailing.csv": "A",
    "utf16.csv": "A",
}  # fmt: skip


@pytest.mark.parametrize("name", [*FOREIGN, "std.csv"])
def test_tables_of_other_tools_are_read(data_dir: Path, name: str) -> None:
    read = read_measurements(data_dir / "cases" / "15-foreign-tables" / name)
    if name == "std.csv":
        with pytest.raises(TableError, match="column 'A_mean' matches nothing in the model; did you mean A-mean"):
            match(read[0], {"A", "k1"})
        return
    assert [series.observable for series in match(read[0], {"A", "k1"}).series] == FOREIGN[name].split()


def test_single_trajectories_of_a_species_called_time_are_fitted(data_dir: Path, tmp_path: Path) -> None:
    model = sg.read_sbml(data_dir / "cases" / "12-ids-of-columns" / "time.xml")
    (species,) = model.species_ids
    simulation = sg.simulate(model, np.linspace(0, 3, 4), n=20, seed=2)
    for table in (simulation.to_table(), simulation.trajectories()):
        path = tmp_path / "table.csv"
        write_table(table, path)
        fit = sg.fit(model, path, {"d": (0.01, 3.0)}, init={"d": 0.5}, method="ode")
        # 20 trajectories of a hundred molecules, which tell d to about 3 %
        assert fit.parameters["estimate"]["d"] == pytest.approx(model.quantities()["d"], rel=0.15)
        assert {series.observable for series in read_measurements(path)[0].series} == {species}


@pytest.mark.parametrize("n", [1, 500])
def test_what_simulate_writes_of_such_ids_is_read_and_fitted(text, tmp_path: Path, n: int) -> None:
    species = {identifier: {"amount": 500, "compartment": "box"} for identifier in RESERVED}
    decays = {f"r_{identifier}": (f"{identifier} ->", f"d * {identifier}") for identifier in RESERVED}
    model = sg.read_sbml(text(species, decays, {"d": 0.3}, {"box": 1.0}))
    simulation = sg.simulate(model, np.linspace(0, 2, 3), n=n, seed=1)
    path = tmp_path / "simulated.csv"
    write_table(simulation.to_table(), path)
    for table in (path, simulation.to_table()):
        measurements = read_measurements(table)[0]
        match(measurements, model.initial_values())
        assert [series.observable for series in measurements.series if series.statistic != "sd"] == list(RESERVED)
        assert measurements.series[0].values.tolist() == simulation.mean["time"].tolist()
    fit = sg.fit(model, path, {"d": (0.01, 3.0)}, init={"d": 0.5}, method="ode")
    error = abs(fit.parameters["estimate"]["d"] - 0.3)
    assert error < 4 * fit.parameters["stderr"]["d"]  # false alarm: 6e-5 a seed, and this seed is fixed


def test_a_constant_that_is_fitted_is_not_measured(text, tmp_path: Path) -> None:
    model = sg.read_sbml(text({"A": {"amount": 50}}, {"r": ("A ->", "d * A")}, {"d": 0.3}))
    path = tmp_path / "copasi.txt"
    path.write_text("# Time\tA\tValues[d]\n0\t50\t0.1\n1\t37\t0.1\n", encoding="utf-8")
    with pytest.raises(TableError, match="column 'd' is no measurement: 'd' is to be fitted; remove the column"):
        sg.fit(model, path, {"d": None}, method="ode")


def test_a_fit_finds_what_a_column_names(text, tmp_path: Path) -> None:
    document = text({"A": {"amount": 50}}, {"r": ("A ->", "d * A")}, {"d": 0.3})
    assert document.count('<species id="A"') == 1
    model = sg.read_sbml(document.replace('<species id="A"', '<species id="A" name="active receptor"'))
    path = tmp_path / "copasi.txt"
    rows = "".join(f"{t}\t{50 * np.exp(-0.4 * t)}\n" for t in range(5))
    path.write_text(f"# Time\tactive receptor\n{rows}", encoding="utf-8")
    fit = sg.fit(model, path, {"d": None}, method="ode")
    assert fit.parameters["estimate"]["d"] == pytest.approx(0.4, rel=1e-6)
