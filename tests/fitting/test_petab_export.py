"""Fits written as PEtab problems, as libpetab reads, checks and calculates them, and against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from petab import v1, v2
from petab.v1.lint import lint_problem as lint_1
from petab.v2.lint import lint_problem as lint_2
from scipy import stats

import sbmlgrad as sg
from sbmlgrad.errors import FitError, SbmlgradError, SbmlgradWarning
from sbmlgrad.petab.library import asking_libpetab
from sbmlgrad.petab.problem import Problem

TIMES = np.array([0.5, 1.0, 2.0, 3.0, 5.0])
# A decays at rate k, a concentration in a compartment of size 2.
DECAY: dict[str, Any] = {
    "species": {"A": {"concentration": 8.0, "only": False}},
    "reactions": {"decay": ("A ->", "k * A * cell")},
    "parameters": {"k": 0.5},
    "compartments": {"cell": 2.0},
}

Build = Callable[..., sg.Model]


@pytest.fixture(scope="module")
def decay(model: Build) -> sg.Model:
    return model(**DECAY)


def decayed(k: float = 0.5, start: float = 8.0, off: float = 0.3) -> np.ndarray:
    """The concentration of A at the times, each off by a little."""
    return start * np.exp(-k * TIMES) + off * np.array([1, -1, 0.5, 1, -0.7])


def conditions(**values: np.ndarray) -> pd.DataFrame:
    rows = [pd.DataFrame({"condition": name, "time": TIMES, "[A]": own}) for name, own in values.items()]
    return pd.concat(rows, ignore_index=True)


def version(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").splitlines()[0].removeprefix("format_version: ")


def checked(path: str) -> Problem:
    """The problem, once libpetab finds no fault with it."""
    with asking_libpetab(path):
        faults = lint_1(v1.Problem.from_yaml(path)) if version(path) == "1" else lint_2(v2.Problem.from_yaml(path))
    assert not faults
    return sg.read_petab(path)


def by_libpetab(path: str) -> tuple[float, float]:
    """Log-likelihood and chi-square that libpetab calculates of the written simulations."""
    with asking_libpetab(path):
        problem = v1.Problem.from_yaml(path)
        simulations = v1.get_simulation_df(str(Path(path).with_name("simulations.tsv")))
        tables = [problem.measurement_df, simulations, problem.observable_df, problem.parameter_df]
        return v1.calculate_llh(*tables), v1.calculate_chi2(*tables)


def table(path: str, name: str) -> pd.DataFrame:
    return pd.read_csv(Path(path).with_name(f"{name}.tsv"), sep="\t")


@pytest.mark.parametrize(
    ("noise", "density"),
    [
        ("s", lambda y, m, s: stats.norm(m, s).logpdf(y)),
        ("lognormal(s)", lambda y, m, s: stats.lognorm(s, scale=m).logpdf(y)),
        ("laplace(s)", lambda y, m, s: stats.laplace(m, s).logpdf(y)),
    ],
)
def test_the_likelihood_is_that_of_the_fit(decay: sg.Model, tmp_path: Path, noise: str, density: Any) -> None:
    data = pd.DataFrame({"time": TIMES, "[A]": decayed()})
    fit = sg.fit(decay, data, {"k": (0.01, 10), "s": (0.01, 10)}, noise={"[A]": noise}, method="ode")
    path = fit.to_petab(tmp_path)
    evaluation = checked(path).evaluate()
    k, s = fit.parameters["estimate"]
    by_hand = float(np.sum(density(decayed(), 8 * np.exp(-k * TIMES), s)))
    assert version(path) == "1"
    assert evaluation.llh == pytest.approx(by_hand, rel=1e-6)
    rounded = 1e-3 * TIMES.size if "laplace" in noise else 0.0  # the tip of that law, in a fit
    assert fit.goodness["log_likelihood"] == pytest.approx(by_hand, rel=1e-6, abs=rounded)
    assert by_libpetab(path) == pytest.approx((by_hand, evaluation.chi2), rel=1e-6)


def test_stated_errors_are_noise_parameters(decay: sg.Model, tmp_path: Path) -> None:
    error = np.array([0.3, 0.2, 0.1, 0.3, 0.2])
    data = pd.DataFrame({"time": TIMES, "[A]": decayed(), "[A]-error": error})
    path = sg.fit(decay, data, {"k": (0.01, 10)}, method="ode").to_petab(tmp_path)
    evaluation = checked(path).evaluate()
    off = (8 * np.exp(-evaluation.parameters["k"] * TIMES) - decayed()) / error
    assert evaluation.chi2 == pytest.approx(float(off @ off), rel=1e-6)
    assert by_libpetab(path) == pytest.approx((evaluation.llh, evaluation.chi2), rel=1e-6)
    assert list(table(path, "parameters")["parameterId"]) == ["k"]


def test_without_errors_a_deviation_is_estimated(decay: sg.Model, tmp_path: Path) -> None:
    data = pd.DataFrame({"time": TIMES, "[A]": decayed(), "A": 2 * decayed(off=0.1)})
    path = sg.fit(decay, data, {"k": (0.01, 10)}, method="ode").to_petab(tmp_path)
    problem = checked(path)
    evaluation, ids = problem.evaluate(), ("sigma_measured_concentration_A", "sigma_measured_A")
    assert list(evaluation.parameters) == ["k", *ids]
    assert evaluation.chi2 == pytest.approx(2 * TIMES.size)  # at the likeliest deviations
    for name in ids:
        for factor in (0.9, 1.1):
            assert problem.evaluate({name: factor * evaluation.parameters[name]}).llh < evaluation.llh


def test_means_have_their_standard_errors(decay: sg.Model, tmp_path: Path) -> None:
    first = pd.DataFrame({"time": TIMES, "[A]-mean": decayed(), "[A]-sem": 0.2, "[A]-sd": 2.0})
    second = pd.DataFrame({"time": TIMES, "[A]-mean": decayed(off=0.1), "[A]-sd": 2.0, "[A]-n": 25})
    third = pd.DataFrame({"time": TIMES, "[A]-mean": decayed(off=0.5)})
    fit = sg.fit(decay, [first, second, third], {"k": (0.01, 10)}, method="ode")
    with pytest.warns(SbmlgradWarning, match=r"no words for standard deviations: \[A\]-sd are left out"):
        path = fit.to_petab(tmp_path)
    checked(path)
    noise = list(table(path, "measurements")["noiseParameters"])
    assert noise == ["0.2"] * 5 + ["0.4"] * 5 + ["sigma_mean_concentration_A"] * 5


def test_moments_of_exact_simulation_are_left_to_rate_equations(model: Build, tmp_path: Path) -> None:
    counts = model(species={"A": {"amount": 800.0}}, reactions={"decay": ("A ->", "k * A")}, parameters={"k": 0.5})
    data = pd.DataFrame({"time": TIMES, "A-mean": 100 * decayed(off=0.01), "A-sem": 1.0})
    fit = sg.fit(counts, data, {"k": (0.01, 10)}, loss="moments", n=100, seed=1)
    with pytest.warns(SbmlgradWarning, match="fitted by exact simulation"):
        path = fit.to_petab(tmp_path)
    simulation = checked(path).evaluate().simulations["simulation"]
    k = fit.parameters.loc["k", "estimate"]
    assert list(simulation) == pytest.approx(list(800 * np.exp(-k * TIMES)), rel=1e-6)


# ---- conditions ----------------------------------------------------------------------------------------


def test_tied_parameters_and_names_of_conditions(decay: sg.Model, tmp_path: Path) -> None:
    data = conditions(**{"low dose": decayed(0.3), "2x": decayed(0.9, 4.0)})
    table_of = pd.DataFrame({"condition": ["low dose", "2x"], "k": ["k_low", "k_high"], "[A]": ["", "4"]})
    bounds = {"k_low": (0.01, 10), "k_high": (0.01, 10), "s": (0.01, 10)}
    fit = sg.fit(decay, data, bounds, conditions=table_of, noise={"[A]": "s"}, method="ode")
    path = fit.to_petab(tmp_path)
    evaluation = checked(path).evaluate()
    low, high, s = fit.parameters["estimate"]
    expected = np.concatenate([8 * np.exp(-low * TIMES), 4 * np.exp(-high * TIMES)])
    by_hand = stats.norm(expected, s).logpdf(data["[A]"]).sum()
    assert (version(path), evaluation.llh) == ("1", pytest.approx(by_hand, rel=1e-6))
    assert list(table(path, "conditions")["conditionId"]) == ["low_dose", "_2x"]
    assert list(table(path, "conditions")["conditionName"]) == ["low dose", "2x"]


def test_what_one_condition_sets_is_fitted_in_the_other(decay: sg.Model, tmp_path: Path) -> None:
    data = conditions(own=decayed(0.3), given=decayed(0.9))
    table_of = pd.DataFrame({"condition": ["own", "given"], "k": ["", "0.9"]})
    path = sg.fit(decay, data, {"k": (0.01, 10)}, conditions=table_of, method="ode").to_petab(tmp_path)
    found = checked(path).evaluate()
    expected = [*8 * np.exp(-found.parameters["k_fitted"] * TIMES), *8 * np.exp(-0.9 * TIMES)]
    assert list(found.simulations["simulation"]) == pytest.approx(expected, rel=1e-6)
    assert version(path) == "1"


@pytest.mark.parametrize(("name", "value", "number"), [("[A]", 8.0, "1"), ("A", 16.0, "2.0.0"), ("cell", 2.0, "1")])
def test_initial_values_and_sizes_are_fitted(
    decay: sg.Model, tmp_path: Path, name: str, value: float, number: str
) -> None:
    data = pd.DataFrame({"time": TIMES, "A": 2 * decayed(off=0.1)})
    fit = sg.fit(decay, data, {name: (value / 10, value * 10)}, init={name: 1.3 * value}, method="ode")
    path = fit.to_petab(tmp_path)
    found = checked(path).evaluate()
    amount = fit.parameters.loc[name, "estimate"] * 16 / value
    assert list(found.simulations["simulation"]) == pytest.approx(list(amount * np.exp(-0.5 * TIMES)), rel=1e-6)
    again = {key: 2 * fitted for key, fitted in found.parameters.items() if not key.startswith("sigma")}
    doubled = checked(path).evaluate(again).simulations["simulation"]
    assert list(doubled) == pytest.approx(list(2 * found.simulations["simulation"]), rel=1e-6)
    assert version(path) == number


def test_a_local_parameter_has_an_alias(model: Build, tmp_path: Path) -> None:
    local = model(**{**DECAY, "local": {"decay": {"k": 0.4}}})
    data = pd.DataFrame({"time": TIMES, "[A]": decayed(), "loss": decayed(off=0.1)})
    fit = sg.fit(local, data, {"decay.k": (0.01, 10)}, observables={"loss": "decay"}, method="ode")
    path = fit.to_petab(tmp_path)
    found = checked(path).evaluate({"decay_k_fitted": 0.7}).simulations["simulation"]
    course = 8 * np.exp(-0.7 * TIMES)
    assert list(found) == pytest.approx([*course, *0.7 * course * 2], rel=1e-6)


def test_a_dose_takes_periods(decay: sg.Model, tmp_path: Path) -> None:
    data = conditions(none=decayed(), dose=decayed() + np.where(TIMES >= 2, 3 * np.exp(-0.5 * (TIMES - 2)), 0))
    table_of = pd.DataFrame({"condition": ["none", "dose"], "time": [None, 2.0], "A": ["", "A + 2*dose"]})
    fit = sg.fit(decay, data, {"k": (0.01, 10), "dose": (0.1, 30)}, conditions=table_of, method="ode")
    path = fit.to_petab(tmp_path)
    found = checked(path).evaluate()
    k, dose = fit.parameters["estimate"]
    plain = 8 * np.exp(-k * TIMES)
    dosed = plain + np.where(TIMES >= 2, dose * np.exp(-k * (TIMES - 2)), 0)
    assert list(found.simulations["simulation"]) == pytest.approx([*plain, *dosed], rel=1e-6)
    assert version(path) == "2.0.0"


def test_resizing_on_the_way_is_that_of_the_fit(model: Build, tmp_path: Path) -> None:
    """Amounts are kept, and a concentration that is set at once is one in the compartment as it was."""
    species = {"A": {"concentration": 8.0, "only": False}, "B": {"amount": 5.0}, "C": {"amount": 2.0, "only": False}}
    resized = model(**{**DECAY, "species": species})
    data = conditions(wide=decayed()).assign(B=5.0, **{"[C]": np.where(TIMES >= 2, 2.0, 1.0)})
    table_of = pd.DataFrame({"condition": ["wide"], "time": [2.0], "cell": ["3*cell"], "[C]": ["6"]})
    fit = sg.fit(resized, data, {"k": (0.01, 10)}, conditions=table_of, method="ode")
    path = fit.to_petab(tmp_path)
    found = checked(path).evaluate()
    course = 8 * np.exp(-found.parameters["k"] * TIMES) / np.where(TIMES >= 2, 3, 1)
    expected = [*course, *[5.0] * 5, *np.where(TIMES >= 2, 2.0, 1.0)]
    assert list(found.simulations["simulation"]) == pytest.approx(expected, rel=1e-6)
    assert list(table(path, "simulations")["simulation"]) == pytest.approx(expected, rel=1e-6)


def test_a_start_by_a_formula_of_the_model(model: Build, tmp_path: Path) -> None:
    scaled = model(**{**DECAY, "parameters": {"k": 0.5, "dose": 4.0}, "initial": {"A": "2 * dose"}})
    table_of = pd.DataFrame({"condition": ["more", "plain"], "dose": ["top^2", ""], "k": ["dose / 20", ""]})
    data = conditions(more=decayed(9 / 20, 18.0), plain=decayed())
    fit = sg.fit(scaled, data, {"top": (1, 10), "k": (0.01, 10)}, conditions=table_of, method="ode")
    path = fit.to_petab(tmp_path)
    found = checked(path).evaluate()
    top, k = fit.parameters["estimate"]
    expected = [*2 * top**2 * np.exp(-(top**2) / 20 * TIMES), *8 * np.exp(-k * TIMES)]
    assert list(found.simulations["simulation"]) == pytest.approx(expected, rel=1e-6)


# ---- formulas ------------------------------------------------------------------------------------------


def test_observables_are_carried_over(decay: sg.Model, tmp_path: Path) -> None:
    data = pd.DataFrame({"time": TIMES, "signal": 3 * 2 * decayed() + 1})
    fit = sg.fit(
        decay,
        data,
        {"scale": (0.1, 30), "offset": (0.01, 10), "s": (0.01, 10)},
        observables={"signal": "max(scale*A, 0) + piecewise(offset, time < 100, 7)"},
        noise={"signal": "s*sqrt(signal)"},
        method="ode",
    )
    path = fit.to_petab(tmp_path)
    evaluation = checked(path).evaluate()
    scale, offset, s = fit.parameters["estimate"]
    signal = scale * 16 * np.exp(-0.5 * TIMES) + offset
    by_hand = stats.norm(signal, s * np.sqrt(signal)).logpdf(data["signal"]).sum()
    assert evaluation.llh == pytest.approx(by_hand, rel=1e-6)
    assert fit.goodness["log_likelihood"] == pytest.approx(by_hand, rel=1e-6)
    assert list(table(path, "observables")["observableId"]) == ["signal"]


def test_bounds_and_scales(decay: sg.Model, tmp_path: Path) -> None:
    data = pd.DataFrame({"time": TIMES, "y": decayed() + 2})
    fit = sg.fit(
        decay,
        data,
        {"k": (0.01, 10), "[A]": None, "offset": (0, 5)},
        observables={"y": "[A] + offset"},
        init={"offset": 1.0},
        method="ode",
    )
    path = fit.to_petab(tmp_path)
    checked(path)
    rows = table(path, "parameters").set_index("parameterId")
    assert list(rows["parameterScale"]) == ["log10", "log10", "lin", "log10"]
    assert list(rows.loc["k", ["lowerBound", "upperBound"]]) == [0.01, 10]
    assert list(rows.loc["offset", ["lowerBound", "upperBound"]]) == [0, 5]
    start = fit.parameters.loc["[A]", "estimate"]
    assert list(rows.loc["A_initial", ["lowerBound", "upperBound"]]) == pytest.approx([start / 1e3, start * 1e3])
    assert list(rows["nominalValue"])[:3] == list(fit.parameters["estimate"])


def test_the_model_is_the_fitted_document(decay: sg.Model, tmp_path: Path) -> None:
    data = pd.DataFrame({"time": TIMES, "[A]": decayed()})
    fit = sg.fit(decay, data, {"k": (0.01, 10)}, method="ode")
    fit.to_petab(tmp_path)
    fit.save(tmp_path / "fitted.xml")
    assert (tmp_path / "model.xml").read_bytes() == (tmp_path / "fitted.xml").read_bytes()
    assert sg.read_sbml(tmp_path / "model.xml").quantities()["k"] == fit.parameters.loc["k", "estimate"]


@pytest.mark.parametrize(
    ("noise", "law"),
    [
        ("poisson", lambda m, size: stats.poisson(m)),
        ("negative_binomial(size)", lambda m, size: stats.nbinom(size, size / (size + m))),
    ],
)
def test_noise_of_counts_is_an_extension(model: Build, tmp_path: Path, noise: str, law: Any) -> None:
    counts = model(species={"A": {"amount": 80.0}}, reactions={"decay": ("A ->", "k * A")}, parameters={"k": 0.5})
    data = pd.DataFrame({"time": TIMES, "A": [70, 40, 35, 12, 9]})
    fitted = {"k": (0.01, 10.0), **({"size": (0.1, 100.0)} if "size" in noise else {})}
    fit = sg.fit(counts, data, fitted, noise={"A": noise}, method="ode")
    with pytest.warns(SbmlgradWarning, match=f"{noise.partition('(')[0].replace('_', '-')} noise is an extension"):
        path = fit.to_petab(tmp_path)
    estimates = fit.parameters["estimate"].to_dict()
    by_hand = law(80 * np.exp(-estimates["k"] * TIMES), estimates.get("size")).logpmf(data["A"]).sum()
    assert sg.read_petab(path).evaluate().llh == pytest.approx(by_hand, rel=1e-6)
    assert fit.goodness["log_likelihood"] == pytest.approx(by_hand, rel=1e-6)


# ---- what PEtab has no words for -----------------------------------------------------------------------


def refused(fit: sg.Fit, folder: Path, match: str) -> None:
    with pytest.raises(FitError, match=match):
        fit.to_petab(folder)
    assert not folder.exists()


def test_a_network_from_python_is_refused(cascade: sg.ReactionNetwork, tmp_path: Path) -> None:
    data = sg.simulate(cascade, [1.0, 2.0, 3.0], method="ode").mean.round(1).reset_index()
    fit = sg.fit(cascade, data, {"k1": (0.1, 10)}, method="ode")
    refused(fit, tmp_path / "out", "PEtab needs an SBML model, and this is a network from Python")


def test_single_cells_and_jumps_are_refused(model: Build, tmp_path: Path) -> None:
    counts = model(species={"A": {"amount": 8.0}}, reactions={"decay": ("A ->", "k * A")}, parameters={"k": 0.5})
    trajectory = pd.DataFrame({"time": [0.0, 1.0, 2.0], "A": [8, 5, 3]})
    refused(
        sg.fit(counts, trajectory, {"k": (0.01, 10)}), tmp_path / "out", "likelihood of molecules that react at random"
    )
    cells = pd.DataFrame({"time": [1.0, 1, 1, 2, 2, 2], "A": [4, 5, 6, 3, 4, 2]})
    fit = sg.fit(counts, cells, {"k": (0.01, 10)}, method="ode")
    refused(fit, tmp_path / "out", r"no words for single cells; fit their means, columns 'A-mean' and 'A-sem'")


def test_a_function_that_petab_lacks_is_refused(decay: sg.Model, tmp_path: Path) -> None:
    data = pd.DataFrame({"time": TIMES, "y": np.floor(decayed() + 2)})
    fit = sg.fit(
        decay, data, {"offset": (0, 5)}, observables={"y": "floor([A]) + offset"}, init={"offset": 1}, method="ode"
    )
    refused(fit, tmp_path / "out", "observable 'y': PEtab has no function 'floor'")


def test_a_file_in_the_way_is_said(decay: sg.Model, tmp_path: Path) -> None:
    data = pd.DataFrame({"time": TIMES, "[A]": decayed()})
    fit = sg.fit(decay, data, {"k": (0.01, 10)}, method="ode")
    (tmp_path / "file").write_text("")
    with pytest.raises(SbmlgradError, match="cannot be written"):
        fit.to_petab(tmp_path / "file")


@pytest.mark.parametrize(
    ("times", "before"),
    [
        pytest.param(["-inf", ""], 4.0, id="rest"),
        pytest.param(["-inf"], None, id="at rest", marks=pytest.mark.slow),
        pytest.param(["-2", "0"], 4.0, id="earlier", marks=pytest.mark.slow),
    ],
)
def test_what_was_before_the_experiment(model: Build, tmp_path: Path, times: list[str], before: float | None) -> None:
    """Births at one rate until time 0, and at another from there on; or at rest throughout."""
    system = model({"X": {"amount": 0.0}}, {"birth": ("-> X", "b"), "death": ("X ->", "g*X")}, {"b": 1.0, "g": 0.5})
    level = 2 * 5.0 + (8.0 - 10.0) * np.exp(-0.5 * TIMES)
    data = pd.DataFrame({"time": TIMES, "X": level + 0.1 * np.array([1, -1, 0.5, 1, -0.7])})
    rows = {"condition": "c", "time": times, "b": [before, "b_new"] if before else ["b_new"]}
    fit = sg.fit(
        system,
        data,
        {"b_new": (0.1, 100), "g": (0.01, 10)},
        conditions=pd.DataFrame(rows),
        noise={"X": "0.1"},
        method="ode",
    )
    path = fit.to_petab(tmp_path)
    assert version(path) == "2.0.0"
    assert checked(path).evaluate().llh == pytest.approx(fit.goodness["log_likelihood"], abs=1e-5)
