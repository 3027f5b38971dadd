"""Fits of rate equations, against scipy's fit of the closed-form solution."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.optimize import curve_fit

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import FitError

TIMES = np.linspace(0.2, 5, 25)


def rise(t: np.ndarray, k: float, g: float) -> np.ndarray:
    """dX/dt = k - g X from 0."""
    return k / g * (1 - np.exp(-g * t))


@pytest.fixture(scope="module")
def birth_death(models_dir: Path) -> sg.Model:
    return sg.read_sbml(models_dir / "birth_death" / "model.xml")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    noise = np.random.default_rng(5).normal(0, 0.5, TIMES.size)
    return pd.DataFrame({"time": TIMES, "X": rise(TIMES, 12.0, 0.8) + noise})


def test_estimates_and_errors_are_those_of_scipy(birth_death: sg.Model, data: pd.DataFrame) -> None:
    fit = sg.fit(birth_death, data, {"k": (0.1, 1000.0), "g": None}, method="ode")
    sigma = fit.measured["error"].to_numpy()
    values, covariance = curve_fit(rise, TIMES, data["X"], p0=[10, 1], sigma=sigma, absolute_sigma=False)
    assert fit.converged
    assert fit.estimator == "ode"
    assert fit.parameters["estimate"].to_numpy() == pytest.approx(values, rel=1e-5)
    # ours are on a logarithmic scale, which agrees to first order
    assert fit.parameters["stderr"].to_numpy() == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-3)
    assert fit.correlation.to_numpy()[0, 1] == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-3
    )


def test_standard_deviations_weigh_and_are_not_predicted(birth_death: sg.Model) -> None:
    mean = rise(TIMES, 12.0, 0.8)
    table = pd.DataFrame({"time": TIMES, "X-mean": mean, "X-sd": np.sqrt(mean)})
    fit = sg.fit(birth_death, table, {"k": None, "g": None}, method="ode")
    assert fit.parameters["estimate"].to_numpy() == pytest.approx([12.0, 0.8], rel=1e-6)
    assert set(fit.measured["statistic"]) == {"mean"}
    with pytest.raises(FitError, match="standard deviations only"):
        sg.fit(birth_death, table.drop(columns="X-mean"), {"k": None}, method="ode")


def test_bounds_hold_and_are_told(birth_death: sg.Model, data: pd.DataFrame) -> None:
    fit = sg.fit(birth_death, data, {"k": (0.1, 11.0), "g": None}, method="ode")
    assert fit.parameters.loc["k", "estimate"] == pytest.approx(11.0, rel=1e-4)
    assert bool(fit.parameters.loc["k", "at_bound"])


def test_a_parameter_that_does_nothing_is_refused(models_dir: Path, data: pd.DataFrame) -> None:
    text = (models_dir / "birth_death" / "model.xml").read_text(encoding="utf-8")
    idle = text.replace("</listOfParameters>", '<parameter id="idle" value="1" constant="true"/></listOfParameters>')
    with pytest.raises(FitError, match="'idle' moves none of the observables"):
        sg.fit(sg.read_sbml(idle), data, {"idle": None}, method="ode")


def test_an_exact_fit_can_start_where_this_one_ends(birth_death: sg.Model, data: pd.DataFrame) -> None:
    far = {"k": 300.0, "g": 20.0}
    rough = sg.fit(birth_death, data, {"k": None, "g": None}, init=far, method="ode")
    fit = sg.fit(birth_death, data, {"k": None, "g": None}, init=far, init_from="ode", n=200, seed=1)
    assert fit.start == pytest.approx(rough.parameters["estimate"].to_dict())
    assert fit.estimator == "auto"
    # both match means of the same linear model
    assert fit.parameters["estimate"].to_numpy() == pytest.approx(rough.parameters["estimate"].to_numpy(), rel=0.05)
    with pytest.raises(FitError, match="init_from 'pde'"):
        sg.fit(birth_death, data, {"k": None}, init_from="pde")


def test_the_command_line_writes_the_fitted_model(models_dir: Path, data: pd.DataFrame, tmp_path: Path) -> None:
    table, fitted = tmp_path / "data.csv", tmp_path / "fitted.xml"
    data.to_csv(table, index=False)
    model = str(models_dir / "birth_death" / "model.xml")
    arguments = ["fit", model, str(table), "-p", "k", "-p", "g", "--method", "ode", "-o", str(fitted)]
    arguments += ["--report", str(tmp_path / "report")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report" / "index.html").is_file()
    again = sg.simulate(sg.read_sbml(fitted), TIMES, method="ode").mean["X"].to_numpy()
    assert again == pytest.approx(data["X"].to_numpy(), abs=2.5)  # five standard deviations of the noise
