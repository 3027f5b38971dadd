"""Results as tables."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.simulation.result import Simulation, by_time

TIMES = np.array([0.0, 2.0])


def simulation(n: int) -> Simulation:
    mean = by_time(TIMES, ["A", "time"], np.array([[1.0, 2.0], [3.0, 4.0]]))
    return Simulation(TIMES, mean, mean / 10, n, seed=1, events=5, species=("A",))


def test_one_trajectory_and_many_have_other_columns() -> None:
    table = simulation(1).to_table()
    assert list(table.columns) == ["time", "A", "time-value"]
    assert table["A"].tolist() == [1.0, 2.0]
    table = simulation(9).to_table()
    assert list(table.columns) == ["time", "A-mean", "A-sd", "time-mean", "time-sd"]
    assert table["time-sd"].tolist() == [0.3, 0.4]


def test_counts_that_were_not_kept_are_no_counts() -> None:
    with pytest.raises(SimulationError, match="kept with keep_counts=True"):
        _ = simulation(1).counts


@pytest.fixture(scope="module")
def decay(text) -> sg.Simulation:
    """Two species that decay, in a volume of 2; ten trajectories of 3 observables at 2 times."""
    species = {"A": {"amount": 30}, "B": {"amount": 8}}
    reactions = {"r": ("A ->", "d * A"), "s": ("B ->", "d * B")}
    document = text(species, reactions, {"d": 0.3}, {"cell": 2.0})
    return sg.simulate(sg.read_sbml(document), TIMES, n=10, seed=4, select=["[A]", "B", "A"])


def test_counts_are_looked_into_by_name(decay: sg.Simulation) -> None:
    assert decay.counts.shape == (10, 2, 2)
    assert decay.species == ("A", "B")
    assert np.array_equal(decay.counts["B"], decay.counts[:, :, 1])
    assert type(decay.counts["B"]) is type(decay.counts[:, 0]) is np.ndarray
    with pytest.raises(SimulationError, match="no counts of 'C'; there are A, B"):
        _ = decay.counts["C"]


def test_values_are_what_columns_mean(decay: sg.Simulation) -> None:
    assert np.array_equal(decay.values[..., 0], decay.counts["A"] / 2)
    assert np.array_equal(decay.values[..., 2], decay.counts["A"])
    assert decay.values.mean(axis=0) == pytest.approx(decay.mean.to_numpy())
    table = decay.trajectories()
    assert list(table.columns) == ["trajectory", "time", "[A]", "B", "A"]
    assert table.iloc[7].tolist() == [3, 2.0, *decay.values[3, 1]]


def test_values_of_what_flows(text) -> None:
    document = text({"A": {"amount": 30}}, {"r": ("A ->", "d * A")}, {"d": 0.3, "x": 0.0}, rates={"x": "2"})
    sim = sg.simulate(sg.read_sbml(document), TIMES, n=10, seed=4, select=["x", "A"])
    assert sim.values[:, 1, 0] == pytest.approx(4.0)
    assert sim.values.mean(axis=0) == pytest.approx(sim.mean.to_numpy())
    smooth = sg.simulate(sg.read_sbml(document), TIMES, method="ode")
    assert np.array_equal(smooth.values[0], smooth.mean.to_numpy())


def test_a_histogram_counts_trajectories(decay: sg.Simulation) -> None:
    table = decay.histogram(2)
    assert list(table.columns) == ["time", "observable", "value", "trajectories", "share"]
    own = table[table["observable"] == "B"]
    assert dict(zip(own["value"], own["trajectories"], strict=True)) == {
        value: (decay.counts["B"][:, 1] == value).sum() for value in np.unique(decay.counts["B"][:, 1])
    }
    assert table.groupby("observable")["share"].sum().tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(SimulationError, match=r"time 1\.5 was not observed"):
        decay.histogram(1.5)


def test_many_different_values_are_put_into_bins() -> None:
    values = np.random.default_rng(1).normal(size=(3000, 2, 1))
    mean = by_time(TIMES, ["x"], values.mean(axis=0).T)
    many = Simulation(TIMES, mean, mean, 3000, 1, 0, (), _observe=lambda: values)
    table = many.histogram(0.0)
    assert len(table) < 200
    assert table["trajectories"].sum() == 3000


def test_pickles_keep_numbers_and_drop_code(decay: sg.Simulation) -> None:
    fresh = pickle.loads(pickle.dumps(sg.Simulation(**{**vars_of(decay), "_observe": lambda: decay.values})))
    assert np.array_equal(fresh.counts["A"], decay.counts["A"])
    with pytest.raises(SimulationError, match="no trajectories"):
        _ = fresh.values


def vars_of(simulation: sg.Simulation) -> dict[str, Any]:
    return {name: vars(simulation)[name] for name in simulation.__dataclass_fields__}


def test_a_simulation_shows_itself(decay: sg.Simulation) -> None:
    assert repr(decay) == "<Simulation by 'ssa': 10 x 2 times (0 to 2) x 3 observables, seed 4>"
    page = simulation(9)._repr_html_()
    assert page.count("<tr>") == 3
    assert "<td>0.1</td>" in page


def test_a_picture_says_what_is_drawn(decay: sg.Simulation) -> None:
    figure = decay.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["concentration", "molecules"]
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert decay._caption == "means of 10 trajectories; bands: ± sd of single ones"


def test_xarray_is_asked_for_where_it_is_missing(decay: sg.Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(SimulationError, match=r"pip install 'sbmlgrad\[xarray\]'"):
        decay.to_xarray()


def test_a_dataset_has_named_dimensions(decay: sg.Simulation) -> None:
    pytest.importorskip("xarray")
    data = decay.to_xarray()
    assert data["counts"].dims == ("trajectory", "time", "species")
    assert np.array_equal(data["counts"].sel(species="B"), decay.counts["B"])
    assert data["mean"].sel(observable="[A]", time=2.0) == decay.mean["[A]"][2.0]
    assert data.attrs == {"n": 10, "seed": 4, "events": decay.events, "method": "ssa"}
