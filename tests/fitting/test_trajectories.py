"""Fits of trajectories and replicates that numpy draws: near the truth, with honest error bars, and a verdict."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.report.html import render_page

BenchmarkScript = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def fits(benchmark_script: BenchmarkScript) -> ModuleType:
    return benchmark_script("fits")


@pytest.fixture(scope="module")
def birth_death(fits: ModuleType) -> Any:
    """A stationary mean of 10: k = 10, g = 1."""
    return fits.birth_death(10)


@pytest.fixture(scope="module")
def values(fits: ModuleType, birth_death: Any) -> np.ndarray:
    """Twenty exact trajectories (replicates, times)."""
    drawn: np.ndarray = fits.trajectories(birth_death, 20, np.random.default_rng(8))
    return drawn


def fit(case: Any, data: pd.DataFrame, method: str = "ode", **options: Any) -> sg.Fit:
    start = {name: value * factor for (name, value), factor in zip(case.truth.items(), (1.5, 0.7), strict=True)}
    return sg.fit(case.model, data, dict.fromkeys(case.truth), init=start, method=method, **{"n": 400, **options})


@pytest.mark.parametrize(
    ("case", "mean", "replicates", "method", "sets"),
    [
        ("birth_death", 2, 100, "ode", 20),
        pytest.param("birth_death", 50, 1, "ode", 20, marks=pytest.mark.slow),
        pytest.param("isomerisation", 10, 20, "ode", 20, marks=pytest.mark.slow),
        ("autorepression", 10, 100, "ode", 20),
        ("birth_death", 10, 20, "ssa", 8),
    ],
)
def test_estimates_are_off_as_far_as_their_errors_say(
    fits: ModuleType, case: str, mean: int, replicates: int, method: str, sets: int
) -> None:
    """Mean and root mean square of z-scores, for which each test gives a false alarm once in 1,000 seeds.

    Errors from measured numbers gave a mean of -6 with 100 replicates.
    """
    process = getattr(fits, case)(mean)
    drawn = fits.trajectories(process, sets * replicates, np.random.default_rng(5))
    tables = [fits.table(process, part) for part in np.split(drawn, sets)]
    for row in fits.scored(process, method, tables, 400):
        assert row["converged"] == 1
        assert abs(row["mean_z"]) < 3.6 / np.sqrt(sets)
        assert row["rms_z"] < 1 + 2.7 / np.sqrt(sets)
        assert row["warned"] <= 0.1  # a test of the residuals at 1e-3


def test_replicates_are_pooled(fits: ModuleType, birth_death: Any, values: np.ndarray) -> None:
    """As many numbers as times, however many replicates; some of them with values at some of the times only."""
    table = fits.table(birth_death, values)
    all_of_them = fit(birth_death, table)
    assert len(all_of_them.measured) == values.shape[1]
    assert set(all_of_them.measured["statistic"]) == {"mean"}
    assert all_of_them.measured["measured"].to_numpy() == pytest.approx(values.mean(axis=0))
    some = fit(birth_death, table[np.random.default_rng(1).uniform(size=len(table)) < 0.5])
    ratio = some.parameters["stderr"] / all_of_them.parameters["stderr"]
    assert np.all((ratio > 1) & (ratio < np.sqrt(2) * 1.3))  # half as many, but of trajectories that are seen nearby


def test_a_good_fit_has_no_warning(fits: ModuleType, birth_death: Any, values: np.ndarray) -> None:
    for method in ("ode", "ssa"):
        result = fit(birth_death, fits.table(birth_death, values), method)
        assert result.warnings == ()
        assert "contradict" not in result.message


@pytest.mark.parametrize("method", ["ode", "ssa"])
def test_what_the_model_cannot_do_is_said(fits: ModuleType, birth_death: Any, values: np.ndarray, method: str) -> None:
    dip = values.copy()
    dip[:, 8:14] = dip[:, 8:14] // 3
    result = fit(birth_death, fits.table(birth_death, dip), method)
    said = "times as large as the noise of these data allows" if method == "ode" else "times as far from the model's"
    assert any(said in text for text in result.warnings)
    assert "the data contradict the fitted model" in result.message


def test_noise_beyond_the_model_is_said_and_counted(fits: ModuleType, birth_death: Any, values: np.ndarray) -> None:
    noisy = values + np.random.default_rng(2).normal(0, 6, values.shape)
    plain, worse = (fit(birth_death, fits.table(birth_death, v)).parameters["stderr"] for v in (values, noisy))
    assert np.all(worse > 1.2 * plain)
    result = fit(birth_death, fits.table(birth_death, noisy))
    assert any("replicates scatter" in text for text in result.warnings)


def test_a_mean_that_passes_for_a_trajectory_is_told(fits: ModuleType, birth_death: Any) -> None:
    many = fits.trajectories(birth_death, 400, np.random.default_rng(3)).mean(axis=0)
    result = fit(birth_death, fits.table(birth_death, many[None]), "ssa")
    assert any("much smoother than single trajectories" in text for text in result.warnings)


def test_standard_errors_for_standard_deviations_are_told(birth_death: Any, fits: ModuleType) -> None:
    drawn = fits.trajectories(birth_death, 200, np.random.default_rng(4))[:, 1:]
    moments = {"P-mean": drawn.mean(axis=0), "P-sd": drawn.std(axis=0, ddof=1)}
    table = pd.DataFrame({"time": birth_death.times[1:], **moments})
    assert fit(birth_death, table, "ssa", n=1000).warnings == ()
    result = fit(birth_death, table.assign(**{"P-sd": table["P-sd"] / np.sqrt(200)}), "ssa")
    assert any("a column -sd holds standard errors" in text for text in result.warnings)


@pytest.mark.filterwarnings("ignore:.* a number of molecules that is not whole")
def test_one_number_does_not_scale_all_error_bars(fits: ModuleType) -> None:
    """120.44 molecules at the start: rounded in the data, as some simulators do, and one of two neighbours in a fit."""
    case = fits.isomerisation(50)
    model = case.model.with_parameters({"P": 120.44})
    drawn = fits.trajectories(case, 2000, np.random.default_rng(6)) * 1.2
    moments = {"P-mean": drawn.mean(axis=0), "P-sd": drawn.std(axis=0) / np.sqrt(1.2)}
    table = pd.DataFrame({"time": case.times, **moments})
    table.loc[0, ["P-mean", "P-sd"]] = 120.0, 0.0
    names: dict[str, None] = {"k": None, "g": None}
    with_start, without = (sg.fit(model, data, names, n=1000, seed=1) for data in (table, table.iloc[1:]))
    ratio = with_start.parameters["stderr"] / without.parameters["stderr"]
    assert np.all(np.abs(ratio - 1) < 0.2)
    assert any("P-sd at time 0 (0 measured" in text for text in with_start.warnings)
    assert "contradict" not in with_start.message


def test_models_of_more_than_counts_are_weighed_too(model: Callable[..., sg.Model]) -> None:
    """Without a linear noise approximation, variances grow with the prediction, and their size with the residuals."""
    dosed = model(
        {"A": {"amount": 0.0}},
        {"die": ("A -> ", "g * A")},
        {"g": 0.5, "dose": 100.0},
        events={"give": {"trigger": "time >= 1", "set": {"A": "A + dose"}}},
    )
    times = np.linspace(1.5, 8, 14)
    clean = 100 * np.exp(-0.5 * (times - 1))
    for count in (1, 30):
        noise = np.random.default_rng(7).normal(0, 1, (count, len(times)))
        data = pd.DataFrame(
            {
                "replicate": np.repeat(np.arange(count), len(times)),
                "time": np.tile(times, count),
                "A": (clean + noise * np.sqrt(clean)).ravel(),
            }
        )
        actual = sg.fit(dosed, data, {"g": None, "dose": None}, method="ode").parameters
        z = (actual["estimate"] - [0.5, 100.0]) / actual["stderr"]
        assert np.all(np.abs(z) < 4)  # a false alarm in 1,000, with few degrees of freedom
        assert np.all(actual["stderr"] / actual["estimate"] < 0.2 / np.sqrt(count))


def test_many_molecules_leave_measurement_errors(model: Callable[..., sg.Model]) -> None:
    """As least squares has them, and told by their pattern alone where they are not at random."""
    rise = model({"A": {"amount": 0.0}}, {"make": (" -> A", "k"), "die": ("A -> ", "g * A")}, {"k": 1e7, "g": 1.0})
    times = np.linspace(0.2, 5, 30)
    clean = 1e7 * (1 - np.exp(-times))
    data = pd.DataFrame({"time": times, "A": clean * (1 + np.random.default_rng(9).normal(0, 0.05, times.size))})
    result = sg.fit(rise, data, {"k": None, "g": None}, init={"k": 5e6}, method="ode")
    z = (result.parameters["estimate"] - [1e7, 1.0]) / result.parameters["stderr"]
    assert np.all(np.abs(z) < 4)
    assert result.warnings == ()
    bent = data.assign(A=clean * (1 + 0.3 * np.sin(times)))
    result = sg.fit(rise, bent, {"k": None, "g": None}, init={"k": 5e6}, method="ode")
    assert any("keep their sign for long" in text for text in result.warnings)


def test_the_verdict_is_printed_and_reported(
    fits: ModuleType, birth_death: Any, values: np.ndarray, tmp_path: Any
) -> None:
    dip = values.copy()
    dip[:, 8:14] = dip[:, 8:14] // 3
    table = fits.table(birth_death, dip)
    result = fit(birth_death, table)
    page = render_page(result.content())
    assert "times as large as the noise of these data allows" in page
    sg.write_sbml(birth_death.model, tmp_path / "model.xml")
    table.to_csv(tmp_path / "data.csv", index=False)
    arguments = [
        "fit",
        str(tmp_path / "model.xml"),
        str(tmp_path / "data.csv"),
        "-p",
        "k",
        "-p",
        "g",
        "--method",
        "ode",
    ]
    said = CliRunner().invoke(main, arguments)
    assert said.exit_code == 0
    assert "the data contradict the fitted model" in said.output
    assert "warning: " in said.stderr
    assert "times as large as the noise of these data allows" in said.stderr
