"""Fits find the truth, say how sure they are, and refuse what cannot be fitted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import roadrunner

import sbmlgrad as sg
from sbmlgrad.errors import FitError, SbmlgradError, UnknownIdError

TRUTH = {"c1": 0.001, "c2": 0.1}
BOUNDS = {"c1": (1e-5, 0.1), "c2": (1e-3, 10.0)}


@pytest.fixture(scope="module")
def dimerisation(models_dir: Path) -> sg.Model:
    return sg.read_sbml(models_dir / "dimerisation" / "model.xml")


def recover(model: sg.Model, models_dir: Path) -> sg.Fit:
    """Both rates from means and sds of 10^5 trajectories, started a factor of 3 off."""
    start = {"c1": 3 * TRUTH["c1"], "c2": TRUTH["c2"] / 3}
    return sg.fit(model, models_dir / "dimerisation" / "data.csv", BOUNDS, init=start, n=4000, seed=1)


@pytest.fixture(scope="module")
def recovered(dimerisation: sg.Model, models_dir: Path) -> sg.Fit:
    return recover(dimerisation, models_dir)


def test_rates_are_recovered(recovered: sg.Fit) -> None:
    truth = pd.Series(TRUTH)
    estimate, stderr = recovered.parameters["estimate"], recovered.parameters["stderr"]
    assert np.all(np.abs(estimate / truth - 1) < 0.005)
    assert np.all(np.abs(estimate - truth) < 3.3 * stderr)  # false alarms: 1e-3 for each
    assert np.all(stderr / truth < 0.005)
    assert not recovered.parameters["at_bound"].any()


def test_the_fitted_document_holds_the_estimates(recovered: sg.Fit, tmp_path: Path) -> None:
    sg.write_sbml(recovered.model, tmp_path / "fitted.xml", fit=recovered.record())
    other = roadrunner.RoadRunner(str(tmp_path / "fitted.xml"))
    for name, estimate in recovered.parameters["estimate"].items():
        assert other[name] == estimate


def test_a_fit_writes_report_picture_and_json(recovered: sg.Fit, tmp_path: Path) -> None:
    recovered.report(tmp_path / "report")
    recovered.plot(tmp_path / "fit.png")
    recovered.save_json(tmp_path / "fit.json")
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((tmp_path / "fit.json").read_text())
    assert {"parameters", "loss", "seconds", "seed", "version", "goodness", "correlation"} <= set(content)
    assert set(content["parameters"]["c1"]) == {"estimate", "stderr", "lower", "upper", "ci_lower", "ci_upper"}


def test_the_same_seed_gives_the_same_fit(recovered: sg.Fit, dimerisation: sg.Model, models_dir: Path) -> None:
    pd.testing.assert_frame_equal(recover(dimerisation, models_dir).parameters, recovered.parameters)


def test_a_trajectory_is_fitted(models_dir: Path) -> None:
    """The influenza data: published reproduction numbers are near 3.7, by a fit without noise."""
    model = sg.read_sbml(models_dir / "sir_influenza" / "model.xml")
    result = sg.fit(model, models_dir / "sir_influenza" / "data.csv", {"beta": (0.1, 10), "gamma": (0.05, 5)}, n=1000)
    beta, gamma = result.parameters["estimate"]
    assert 3.2 < beta / gamma < 4.2
    assert result.converged
    assert np.all(np.isfinite(result.parameters["stderr"]))


def birth_death_data(model: sg.Model, changes: dict[str, float]) -> pd.DataFrame:
    return sg.simulate(model, np.linspace(0.5, 4, 8), n=20_000, seed=3, parameters=changes).to_table()


@pytest.mark.parametrize("estimator", ["auto", pytest.param("straight_through", marks=pytest.mark.slow)])
def test_initial_amounts_are_fitted_beside_rates(models_dir: Path, estimator: str) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    _, death = model.elements.parameters
    rates = model.quantities()
    data = birth_death_data(model, {"X": 60.0})
    result = sg.fit(model, data, {"X": (1, 500), death: None}, init={"X": 30.0}, n=2000, seed=2, estimator=estimator)
    truth = pd.Series({"X": 60.0, death: rates[death]})
    error = np.abs(result.parameters["estimate"] - truth) / result.parameters["stderr"]
    assert np.all(error < 4)
    assert np.all(np.abs(result.parameters["estimate"] / truth - 1) < 0.03)


VOLUME = """<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="m">
<listOfCompartments><compartment id="cell" spatialDimensions="3" size="2" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="cell" initialConcentration="50" hasOnlySubstanceUnits="false" boundaryCondition="false"
 constant="false"/>
</listOfSpecies>
<listOfReactions><reaction id="pair" reversible="false" fast="false">
<listOfReactants><speciesReference species="A" stoichiometry="2" constant="true"/></listOfReactants>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>cell</ci><ci>k</ci><ci>A</ci><ci>A</ci>
</apply></math><listOfLocalParameters><localParameter id="k" value="0.01"/></listOfLocalParameters></kineticLaw>
</reaction></listOfReactions></model></sbml>"""


def test_concentrations_local_parameters_and_sizes_are_fitted() -> None:
    """A pair reaction tells rate and volume apart when amounts and concentrations are both measured."""
    model = sg.read_sbml(VOLUME)
    times = np.linspace(0.2, 4, 10)
    data = sg.simulate(model, times, n=20_000, seed=5, select=["A", "[A]"]).to_table()
    bounds = {"pair.k": (1e-4, 1.0), "cell": (0.5, 10.0), "[A]": (10.0, 200.0)}
    result = sg.fit(model, data, bounds, init={"pair.k": 0.02, "cell": 3.0, "[A]": 40.0}, n=2000, seed=6)
    truth = pd.Series({"pair.k": 0.01, "cell": 2.0, "[A]": 50.0})
    assert np.all(np.abs(result.parameters["estimate"] / truth - 1) < 0.03)
    assert result.model.quantities()["pair.k"] == result.parameters["estimate"]["pair.k"]


def test_a_parameter_at_its_bound_is_marked(dimerisation: sg.Model, models_dir: Path) -> None:
    data = models_dir / "dimerisation" / "data.csv"
    result = sg.fit(dimerisation, data, {"c1": (0.002, 0.1)}, init={"c1": 0.003}, n=500, seed=1)
    assert result.parameters["at_bound"]["c1"]
    assert result.parameters["estimate"]["c1"] == pytest.approx(0.002)
    assert any("bound" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("parameters", "init", "error", "message"),
    [
        ({}, {}, FitError, "at least one parameter"),
        ({"c3": None}, {}, UnknownIdError, "'c3'"),
        ({"c1": (0.1, 1.0)}, {}, FitError, "outside its bounds 0.1:1"),
        ({"c1": (1.0, 0.1)}, {}, FitError, "not in increasing order"),
        ({"c1": None}, {"c2": 1.0}, FitError, "'c2' has a start value but is not fitted"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    dimerisation: sg.Model,
    models_dir: Path,
    parameters: dict[str, tuple[float, float] | None],
    init: dict[str, float],
    error: type[SbmlgradError],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as raised:
        sg.fit(dimerisation, models_dir / "dimerisation" / "data.csv", parameters, init=init)
    assert "\n" not in str(raised.value)


def test_as_many_parameters_as_numbers_leave_no_error_bars(models_dir: Path, tmp_path: Path) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    data = pd.DataFrame({"time": [2.0], "X-mean": [8.0], "X-sd": [3.0]})
    result = sg.fit(model, data, {"k": None, "g": None}, n=200)
    assert np.all(np.isinf(result.parameters["stderr"]))
    assert any("not determined" in warning for warning in result.warnings)
    result.save_json(tmp_path / "fit.json")
    assert json.loads((tmp_path / "fit.json").read_text())["parameters"]["k"]["stderr"] is None


@pytest.mark.slow
def test_standard_errors_cover_the_truth(dimerisation: sg.Model) -> None:
    """40 measurements of 500 trajectories each, each fitted: z-scores have the spread of standard normal ones.

    The mean square of 80 z-scores, two for each fit and correlated, lies in 0.5 to 1.7 but for one in 500 draws.
    """
    times = np.linspace(2, 40, 10)
    scores = []
    for seed in range(40):
        data = sg.simulate(dimerisation, times, n=500, seed=1000 + seed).to_table()
        result = sg.fit(dimerisation, data, BOUNDS, init={"c1": 0.002, "c2": 0.05}, n=2000, seed=seed)
        scores.append((result.parameters["estimate"] - pd.Series(TRUTH)) / result.parameters["stderr"])
    assert 0.5 < np.mean(np.square(scores)) < 1.7
