"""Reading and judging stochastic cases, with made-up moments and a made-up case."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.errors import SimulationError, TableError, UnsupportedError
from sbmlgrad.model import Model
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.testsuite import stochastic
from sbmlgrad.testsuite.derived import with_derived, with_variables
from sbmlgrad.testsuite.stochastic import Case, deviations, judge, read_case, run_cases, tolerable

N = 10_000
TIMES = np.arange(5.0)
MEAN = np.array([100.0, 90.0, 80.0, 70.0, 60.0])
SD = np.array([0.0, 4.0, 5.0, 6.0, 7.0])  # certain at the start

SETTINGS = """start: 0
duration: 4
steps: 4
variables: X, Y
absolute:
relative:
amount: X
concentration: Y
output: X-mean, X-sd, Y-mean
meanRange: (-3, 3)
sdRange: (-5, 5)
"""


def write_case(folder: Path, settings: str = SETTINGS, formats: tuple[str, ...] = ("l3v1", "l2v4")) -> Path:
    folder.mkdir()
    name = folder.name
    (folder / f"{name}-settings.txt").write_text(settings)
    rows = [f"{t:g},{m},{m / 2},{s},{s / 2}" for t, m, s in zip(TIMES, MEAN, SD, strict=True)]
    # the suite writes the moments in this order, with a blank line at the end
    (folder / f"{name}-results.csv").write_text("\n".join(["time,X-mean,Y-mean, X-sd,Y-sd", *rows, "", ""]))
    for format_ in formats:
        (folder / f"{name}-sbml-{format_}.xml").write_text("<sbml/>")
    return folder


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return read_case(write_case(tmp_path / "00007"))


@dataclass(frozen=True)
class Moments:
    """Moments as a simulation returns them, right but for a shift of the mean and a factor of the sd of X."""

    mean: pd.DataFrame
    sd: pd.DataFrame


def moments(z: dict[int, float] | None = None, y: dict[int, float] | None = None) -> Moments:
    """Moments that deviate by Z or Y of the given size at the given times (indices)."""
    mean, variance = MEAN.copy(), SD**2
    for cell, value in (z or {}).items():
        mean[cell] += value * SD[cell] / np.sqrt(N)
    for cell, value in (y or {}).items():
        variance[cell] *= 1 + value / np.sqrt(N / 2)
    index = pd.Index(TIMES, name="time")
    return Moments(
        pd.DataFrame({"X": mean, "[Y]": MEAN / 2}, index=index),
        pd.DataFrame({"X": np.sqrt(variance), "[Y]": SD / 2}, index=index),
    )


def judged(case: Case, sim: Moments) -> list[tuple[str, str, float]]:
    return [(e.variable, e.moment, e.time) for e in judge(case, sim.mean, sim.sd, N)]


def test_a_case_is_read(case: Case) -> None:
    assert (case.start, case.duration, case.steps) == (0.0, 4.0, 4)
    assert (case.variables, case.amount, case.concentration) == (("X", "Y"), ("X",), ("Y",))
    assert case.output == (("X", "mean"), ("X", "sd"), ("Y", "mean"))
    assert (case.mean_range, case.sd_range) == ((-3.0, 3.0), (-5.0, 5.0))
    assert case.observed == ("X", "Y")
    assert [case.column(variable) for variable in case.observed] == ["X", "[Y]"]
    assert case.model.name == "00007-sbml-l3v1.xml"
    np.testing.assert_array_equal(case.times, TIMES)
    np.testing.assert_array_equal(case.expected["X-sd"], SD)
    np.testing.assert_array_equal(case.expected.index, TIMES)


def test_the_newest_model_is_taken(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "00001", formats=("l2v4", "l3v2", "l3v1"))
    assert read_case(folder).model.name == "00001-sbml-l3v2.xml"


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("sdRange: (-5, 5)\n", "", "no sdRange"),
        ("steps: 4", "steps: many", "'many' is not a number"),
        ("meanRange: (-3, 3)", "meanRange: 3", "not of the form"),
        ("output: X-mean", "output: X", "neither a -mean nor a -sd"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, line: str, instead: str, message: str) -> None:
    folder = write_case(tmp_path / "00001", SETTINGS.replace(line, instead))
    with pytest.raises(TableError, match=message):
        read_case(folder)


def test_a_case_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no model"):
        read_case(write_case(tmp_path / "00001", formats=()))


def test_exact_moments_have_no_excursion(case: Case) -> None:
    assert judged(case, moments()) == []


def test_moments_within_their_ranges_pass(case: Case) -> None:
    assert judged(case, moments(z={1: 2.99, 2: -2.99}, y={1: 4.99, 3: -4.99})) == []


def test_excursions_are_found_where_they_are(case: Case) -> None:
    sim = moments(z={1: 3.01, 4: -3.01}, y={2: 5.01, 3: -5.01})
    assert judged(case, sim) == [("X", "mean", 1), ("X", "mean", 4), ("X", "sd", 2), ("X", "sd", 3)]
    values = [e.value for e in judge(case, sim.mean, sim.sd, N)]
    np.testing.assert_allclose(values, [3.01, -3.01, 5.01, -5.01], rtol=1e-9)


def test_a_concentration_is_judged_in_its_own_column(case: Case) -> None:
    sim = moments()
    sim.mean.loc[2.0, "[Y]"] += 1.0
    assert judged(case, sim) == [("Y", "mean", 2)]


def test_a_certain_value_may_be_off_by_rounding_only(case: Case) -> None:
    sim = moments()
    sim.mean.loc[0.0, "X"] *= 1 + 1e-9
    assert judged(case, sim) == []
    sim.mean.loc[0.0, "X"] += 1e-3
    sim.sd.loc[0.0, "X"] = 1e-3
    excursions = judge(case, sim.mean, sim.sd, N)
    assert [(e.moment, e.time, e.value, e.gross) for e in excursions] == [
        ("mean", 0, np.inf, True),
        ("sd", 0, np.inf, True),
    ]


def test_a_value_that_is_no_number_is_an_excursion(case: Case) -> None:
    sim = moments()
    sim.mean.loc[3.0, "X"] = np.nan
    assert judged(case, sim) == [("X", "mean", 3)]
    assert not tolerable(judge(case, sim.mean, sim.sd, N))


@pytest.mark.parametrize("table", ["mean", "sd"])
def test_missing_columns_and_times_are_named(case: Case, table: str) -> None:
    sim = moments()
    with pytest.raises(TableError, match="no column X"):
        judged(case, replace(sim, **{table: getattr(sim, table).drop(columns="X")}))
    with pytest.raises(TableError, match="5 times"):
        judged(case, replace(sim, **{table: getattr(sim, table).iloc[1:]}))


@pytest.mark.parametrize(
    ("z", "y", "good"),
    [
        ({}, {}, True),
        ({1: 3.5}, {2: -6.0}, True),  # one of each
        ({1: 3.5, 2: 3.5}, {}, False),
        ({}, {1: 6.0, 2: 6.0}, False),
        ({1: 6.5}, {}, False),  # a single one, but gross
        ({}, {1: -11.0}, False),
    ],
)
def test_what_one_run_may_show(case: Case, z: dict[int, float], y: dict[int, float], good: bool) -> None:
    sim = moments(z, y)
    assert tolerable(judge(case, sim.mean, sim.sd, N)) is good


class Recorded:
    """A simulate function that hands out prepared ensembles, one for each seed."""

    def __init__(self, ensembles: dict[int, Moments | Exception]):
        self.ensembles = ensembles
        self.seeds: list[int] = []

    def __call__(self, model: object, times: np.ndarray, /, *, n: int, seed: int, select: list[str]) -> Moments:
        assert (n, select) == (N, ["X", "[Y]"])
        np.testing.assert_array_equal(times, TIMES)
        self.seeds.append(seed)
        ensemble = self.ensembles[seed]
        if isinstance(ensemble, Exception):
            raise ensemble
        return ensemble


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Callable[..., Model]) -> Path:
    small = model({"X": {"amount": 1}, "Y": {"amount": 1}})
    monkeypatch.setattr(stochastic, "read_sbml", lambda path: small)
    write_case(tmp_path / "00001")
    return tmp_path


def run_one(suite: Path, ensembles: dict[int, Moments | Exception]) -> tuple[str, str, list[int]]:
    simulate = Recorded(ensembles)
    (result,) = run_cases(suite, None, N, 4, simulate)
    assert result.case == "00001"
    return result.status, result.detail, simulate.seeds


def test_a_good_run_passes_at_once(suite: Path) -> None:
    status, detail, seeds = run_one(suite, {4: moments(z={3: -2.5}, y={1: 6.0})})
    assert (status, seeds) == ("passed", [4])
    assert "largest Z -2.50 (X, t=3), 0 of 10 outside" in detail
    assert "largest Y 6.00 (X, t=1), 1 of 5 outside" in detail


@pytest.mark.parametrize(("second", "expected"), [(moments(), "passed"), (moments(z={1: 4, 2: 4}), "failed")])
def test_a_second_run_decides(suite: Path, second: Moments, expected: str) -> None:
    status, detail, seeds = run_one(suite, {4: moments(z={2: 4.0, 3: 4.0}), 5: second})
    assert (status, seeds) == (expected, [4, 5])
    assert "run again with seed 5" in detail


def test_the_sd_test_of_a_skewed_case_is_not_decisive(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stochastic, "SKEWED", {"00001": "user guide 5.1.3"})
    status, detail, _ = run_one(suite, {4: moments(y={2: 20.0, 3: 20.0})})
    assert status == "passed"
    assert "user guide 5.1.3" in detail
    status, _, _ = run_one(suite, dict.fromkeys((4, 5), moments(z={2: 4.0, 3: 4.0})))
    assert status == "failed"


def test_what_is_not_supported_is_skipped(suite: Path) -> None:
    refusal = UnsupportedError("model.xml", ["an algebraic rule"])
    assert run_one(suite, {4: refusal})[:2] == ("skipped", "an algebraic rule")


def test_what_breaks_has_failed(suite: Path) -> None:
    error = SimulationError("R1 is negative\nat t=3")
    assert run_one(suite, {4: error})[:2] == ("failed", "R1 is negative at t=3")


def test_what_the_model_does_not_have_is_skipped(suite: Path) -> None:
    settings = SETTINGS.replace("output: X-mean, X-sd, Y-mean", "output: ln(Z)-mean")
    (suite / "00001" / "00001-settings.txt").write_text(settings)
    (result,) = run_cases(suite, ["00001"], N, 4, Recorded({}))
    assert result.status == "skipped"
    assert "ln(Z), which is no variable" in result.detail


def cauchy(model: Callable[..., Model], formula: str) -> Model:
    return model({"X": {"amount": 0}, "Y": {"amount": 1}}, events={"e": {"trigger": "time > 0", "set": {"X": formula}}})


def test_a_logarithm_is_a_variable(case: Case, model: Callable[..., Model]) -> None:
    expected = case.expected.rename(columns={"X-mean": "ln(X)-mean", "X-sd": "ln(X)-sd"})
    asked = replace(case, output=(("ln(X)", "mean"), ("ln(X)", "sd")), expected=expected)
    derived, formulas = with_derived(asked, cauchy(model, "1"))
    assert derived.observed == ("ln(X)",)
    values = {"X": np.e**2}
    assert evaluate(formulas["ln(X)"], values) == pytest.approx(2)
    assert evaluate(formulas["ln(X)"], {"X": 0.0}) == 0  # as the suite has it
    with_it = with_variables(cauchy(model, "1"), formulas)
    assert with_it.with_parameters({"X": 5.0}).initial_values()["ln(X)"] == pytest.approx(np.log(5))


def test_a_mean_without_sd_is_held_against_the_median_or_the_ensemble(case: Case, model: Callable[..., Model]) -> None:
    expected = case.expected.drop(columns="X-sd")
    expected["X-mean"] = [0.0, *[2.0] * (len(expected) - 1)]
    asked = replace(case, output=(("X", "mean"),), expected=expected)
    derived, formulas = with_derived(asked, cauchy(model, "cauchy(2, 1)"))  # has a median only
    assert derived.output == (("X > 2", "mean"),)
    assert [evaluate(formulas["X > 2"], {"X": x}) for x in (1.9, 2.1)] == [0, 1]
    assert derived.expected["X > 2-mean"].tolist() == [0.0, *[0.5] * (len(expected) - 1)]
    derived, formulas = with_derived(asked, cauchy(model, "cauchy(2, 1, 0, 5)"))  # truncated: has a mean
    assert (derived.output, formulas) == ((("X", "mean"),), {})
    assert derived.expected["X-sd"].isna().all()
    mean = pd.DataFrame({"X": expected["X-mean"] + 0.3})
    sd = pd.DataFrame({"X": np.full(len(expected), 3.0)}, index=mean.index)
    z = deviations(derived, mean, sd, n=100)["X", "mean"]
    assert z == pytest.approx(np.full(len(expected), 1.0))


def test_unknown_cases_are_named(suite: Path) -> None:
    with pytest.raises(TableError, match="no case 00009"):
        list(run_cases(suite, ["00009"], N, 1, Recorded({})))
    with pytest.raises(TableError, match="no cases here"):
        list(run_cases(suite / "00001", None, N, 1, Recorded({})))


def test_every_case_of_the_suite_is_read(data_dir: Path) -> None:
    folder = data_dir / "sbml-test-suite" / "stochastic"
    if not folder.is_dir():
        pytest.skip(f"no stochastic cases at {folder}")
    cases = [read_case(path.parent) for path in sorted(folder.glob("*/*-settings.txt"))]
    assert len(cases) == 100
    for case in cases:
        np.testing.assert_allclose(case.expected.index, case.times)
