"""Fits of several conditions, and of observables that are formulas, against closed forms and what numpy draws."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import SbmlgradError

TIMES = np.linspace(0, 6, 7)
TIED = pd.DataFrame({"condition": ["low", "high"], "k": ["k_low", "k_high"]})
DOSE = pd.DataFrame({"condition": ["none", "dose"], "time": [np.nan, 2.0], "X": ["", "X + 50"]})
WASHOUT = pd.DataFrame({"condition": ["w", "w"], "time": [np.nan, 3.0], "k": [8.0, 0.0], "X": [20.0, np.nan]})


@pytest.fixture(scope="module")
def birth_death(models_dir: Path) -> sg.Model:
    return sg.read_sbml(models_dir / "birth_death" / "model.xml")


def level(k: float, g: float, start: float = 0.0, times: np.ndarray = TIMES) -> np.ndarray:
    """Of X, born at k and lost at g each."""
    return k / g + (start - k / g) * np.exp(-g * times)


def values(**columns: np.ndarray) -> pd.DataFrame:
    """One row a time of each condition."""
    frames = [pd.DataFrame({"condition": name, "time": TIMES, "X": own}) for name, own in columns.items()]
    return pd.concat(frames, ignore_index=True)


def dosed(k: float, g: float) -> np.ndarray:
    """With 50 more at time 2, an observation at which sees them."""
    return level(k, g) + np.where(TIMES >= 2, 50 * np.exp(-g * (TIMES - 2)), 0.0)


def washed(g: float) -> np.ndarray:
    """From 20, and not born from time 3 on."""
    before = level(8.0, g, 20.0)
    return np.where(TIMES < 3, before, level(8.0, g, 20.0, np.array(3.0)) * np.exp(-g * (TIMES - 3)))


@pytest.mark.parametrize(
    ("table", "conditions", "truth"),
    [
        (values(low=level(10, 0.5), high=level(30, 0.5)), TIED, {"k_low": 10, "k_high": 30, "g": 0.5}),
        (values(none=level(10, 0.5), dose=dosed(10, 0.5)), DOSE, {"k": 10, "g": 0.5}),
        (values(w=washed(0.4)), WASHOUT, {"g": 0.4}),
        (values(a=level(10, 0.5), b=level(10, 0.5)), None, {"k": 10, "g": 0.5}),
    ],
    ids=["tied", "dose", "washout", "none"],
)
def test_rate_equations_of_conditions(
    birth_death: sg.Model, table: pd.DataFrame, conditions: pd.DataFrame | None, truth: Mapping[str, float]
) -> None:
    bounds = {name: (1.0, 100.0) if "_" in name else None for name in truth}
    fit = sg.fit(birth_death, table, bounds, conditions=conditions, method="ode")
    assert fit.parameters["estimate"].to_dict() == pytest.approx(truth, rel=1e-5)
    assert set(fit.measured["condition"]) == set(fit.curves["condition"]) == set(table["condition"])
    own = {name: value for name, value in truth.items() if name in ("k", "g")}
    expected = {**birth_death.quantities(), **own}
    assert fit.model.quantities() == pytest.approx(expected, rel=1e-5)
    assert fit.model.elements is birth_death.elements


def test_formulas_with_parameters_of_their_own(birth_death: sg.Model) -> None:
    table = pd.DataFrame({"time": TIMES, "signal": 3 * level(10, 0.5) + 2})
    fit = sg.fit(
        birth_death,
        table,
        {"g": None, "scale": (0.1, 30.0), "offset": None},
        observables={"signal": "scale*[X]*cell + offset"},
        init={"offset": 1.0},
        method="ode",
    )
    assert fit.parameters["estimate"].to_dict() == pytest.approx({"g": 0.5, "scale": 3, "offset": 2}, rel=1e-4)
    assert "scale" not in fit.model.quantities()


def test_several_tables_are_of_independent_cells(birth_death: sg.Model) -> None:
    noise = np.random.default_rng(1).normal(0, 1, TIMES.size)
    table = pd.DataFrame({"time": TIMES, "X-mean": level(10, 0.5) + noise, "X-sem": 1.0})
    once, twice = (sg.fit(birth_death, [table] * n, {"k": None, "g": None}, method="ode") for n in (1, 2))
    assert twice.parameters["estimate"].to_numpy() == pytest.approx(once.parameters["estimate"].to_numpy(), rel=1e-6)
    ratio = (once.parameters["stderr"] / twice.parameters["stderr"]).to_numpy()
    assert ratio == pytest.approx(np.sqrt(2), rel=1e-2)
    assert twice.goodness["n_data"] == 14


def counts(random: np.random.Generator, k: float, time: float, n: int) -> np.ndarray:
    """Of cells in which X is born at k and lost at 0.5 each, from none."""
    return random.poisson(level(k, 0.5, times=np.array(time)), n)


def test_cells_of_two_conditions_by_likelihood(birth_death: sg.Model) -> None:
    """Each estimate within 4 of its standard errors: a false alarm in 5,000 runs."""
    random = np.random.default_rng(7)
    rows = [
        pd.DataFrame({"condition": name, "time": time, "X": counts(random, k, time, 100)})
        for name, k in (("low", 5.0), ("high", 12.0))
        for time in (1.0, 3.0)
    ]
    fit = sg.fit(birth_death, pd.concat(rows), {"k_low": (1, 40), "k_high": (1, 40), "g": None}, conditions=TIED)
    assert "200 cells by finite state projection" in fit.loss_name
    z = (fit.parameters["estimate"] - [5.0, 12.0, 0.5]) / fit.parameters["stderr"]
    assert np.all(np.abs(z) < 4)
    assert list(fit.measured.groupby("condition", sort=False).size().index) == ["low", "high"]


def test_moments_of_a_formula_in_two_conditions(birth_death: sg.Model) -> None:
    """Each estimate within 4 of its standard errors: a false alarm in 5,000 runs."""
    random = np.random.default_rng(8)
    rows = []
    for name, k in (("low", 10.0), ("high", 30.0)):
        cells = np.stack([2 * counts(random, k, time, 400) for time in TIMES[1:]])
        moments = {"y-mean": cells.mean(axis=1), "y-sd": cells.std(axis=1, ddof=1), "y-n": 400}
        rows.append(pd.DataFrame({"condition": name, "time": TIMES[1:], **moments}))
    bounds = {"k_low": (1.0, 100.0), "k_high": (1.0, 100.0), "g": None}
    fit = sg.fit(birth_death, pd.concat(rows), bounds, conditions=TIED, observables={"y": "2*X"}, n=400)
    z = (fit.parameters["estimate"] - [10.0, 30.0, 0.5]) / fit.parameters["stderr"]
    assert np.all(np.abs(z) < 4)
    assert not fit.warnings


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"conditions": TIED.replace("high", "hi")}, "condition 'high' is not in conditions, which has 'low', 'hi'"),
        ({"data": values(low=level(10, 0.5))}, "condition 'high' has no data"),
        ({"data": values(low=level(1, 1)).drop(columns="condition")}, "there is no column 'condition'"),
        ({"conditions": TIED.rename(columns={"k": "kk"})}, "the model has no 'kk' to be changed"),
        ({"conditions": TIED.rename(columns={"k": "[g]"})}, "'[g]' is no concentration"),
        ({"conditions": TIED.replace("k_low", "k_lo")}, "uses 'k_lo'"),
        ({"conditions": TIED.replace("k_low", "2 +")}, "is no formula"),
        ({"parameters": {"k": None}}, "uses 'k_low'"),
        ({"parameters": {"k": None, "k_low": (1, 2), "k_high": (1, 2)}}, "'k' is to be fitted, but every condition"),
        ({"parameters": {"k_low": None, "k_high": None}}, "'k_low' is no number of the model"),
        ({"parameters": {"k_low": (1, 2), "k_high": (1, 2), "kx": (1, 2)}}, "'kx'"),
        ({"observables": {"X": "2*X"}}, "has that id; choose another name"),
        ({"observables": {"k_low": "2*X"}}, "has that id; choose another name"),
        ({"observables": {"a b": "2*X"}}, "is no id"),
        ({"observables": {"y": "2*Z"}}, "uses 'Z'"),
        ({"data": []}, "give at least one table"),
    ],
)
def test_what_does_not_fit_together(birth_death: sg.Model, changes: Mapping[str, Any], problem: str) -> None:
    given: dict[str, Any] = {
        "data": values(low=level(10, 0.5), high=level(30, 0.5)),
        "parameters": {"k_low": (1, 100), "k_high": (1, 100)},
        "conditions": TIED,
        "method": "ode",
        **changes,
    }
    with pytest.raises(SbmlgradError) as caught:
        sg.fit(birth_death, given.pop("data"), given.pop("parameters"), **given)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_from_python_take_numbers_from_the_start() -> None:
    network = sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"] + 0 * x[0], p["g"] * x[0]), [0], {"k": 1.0, "g": 1.0}, species=("X",)
    )
    table = values(low=level(10, 0.5), high=level(30, 0.5))
    conditions = pd.DataFrame({"condition": ["low", "high"], "k": [10.0, 30.0]})
    fit = sg.fit(network, table, {"g": None}, conditions=conditions, method="ode")
    assert fit.parameters.loc["g", "estimate"] == pytest.approx(0.5, rel=1e-5)
    with pytest.raises(SbmlgradError, match="takes numbers from the start on"):
        sg.fit(network, table, {"g": None}, conditions=TIED, method="ode")


def test_on_the_command_line(models_dir: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        paths = [str(tmp_path / text) if text.endswith(".csv") else text for text in arguments]
        return CliRunner().invoke(main, ["fit", str(models_dir / "birth_death" / "model.xml"), *paths])

    times = np.linspace(1, 6, 6)
    rise = 1 - np.exp(-0.5 * times)
    rows = [pd.DataFrame({"condition": c, "time": times, "y": 2 * k / 0.5 * rise}) for c, k in (("a", 5), ("b", 9))]
    for name, table in zip("ab", rows, strict=True):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "conditions.csv").write_text("condition,k\na,k_a\nb,9\n")
    options = (
        "-p",
        "g",
        "-p",
        "k_a=1:20",
        "--observable",
        "y=2*X",
        "--method",
        "ode",
        "--json",
        str(tmp_path / "fit.json"),
    )
    run("a.csv", "b.csv", "--conditions", "conditions.csv", *options)
    found = json.loads((tmp_path / "fit.json").read_text())
    assert found["data"] == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    estimates = {name: one["estimate"] for name, one in found["parameters"].items()}
    assert estimates == pytest.approx({"g": 0.5, "k_a": 5}, rel=1e-5)
    assert run("a.csv", "--observable", "y").exit_code == 2
