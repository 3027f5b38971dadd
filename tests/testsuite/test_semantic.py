"""Reading and judging semantic cases, running them in other processes, and what the commands write."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from sbmlgrad.cli import main
from sbmlgrad.errors import SimulationError, TableError, UnsupportedError
from sbmlgrad.testsuite import CaseResult, run_cases, semantic, summary, write_results
from sbmlgrad.testsuite.cases import case_folders, kind_of, read_description, read_expected
from sbmlgrad.testsuite.semantic import excess, judge, read_case, run_case, write_course

TIMES = np.array([0.0, 0.5, 1.0])
VALUES = {"S1": np.array([1.0, 0.5, 0.25]), "S2": np.array([0.0, 5.0, 10.0]), "k": np.array([3.0, 3.0, 3.0])}
SETTINGS = """start: 0
duration: 1
steps: 2
variables: S1, S2, k
absolute: 1.000000e-007
relative: 0.0001
amount: S1
concentration: S2
"""
RESULTS = "Time,S1,S2,k\n0,1,0,3\n0.5,0.5,5,3\n1,2.5e-001,1.0e+001,3\n\n"
DESCRIPTION = """(*

category:      Test
synopsis:      Says: a great deal
componentTags: Compartment, Species, Reaction
 testTags:     Amount, Species
testType:      TimeCourse
generatedBy:   Analytic

The tags are
testTags: prose
*)
"""
MODEL = (
    '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" '
    'version="1"><model id="m"><listOfParameters><parameter id="k" value="3" constant="true"/></listOfParameters>'
    "</model></sbml>"
)


def write_case(
    folder: Path,
    settings: str = SETTINGS,
    results: str = RESULTS,
    description: str = DESCRIPTION,
    formats: tuple[str, ...] = ("l2v4", "l3v1"),
) -> Path:
    folder.mkdir()
    name = folder.name
    (folder / f"{name}-settings.txt").write_text(settings)
    (folder / f"{name}-results.csv").write_text(results)
    (folder / f"{name}-model.m").write_text(description)
    for format_ in formats:
        (folder / f"{name}-sbml-{format_}.xml").write_text(MODEL)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_case(tmp_path / "00007")


def course(**changes: object) -> SimpleNamespace:
    """The right values as a simulation returns them, with changed columns."""
    columns = {"S1": VALUES["S1"], "[S2]": VALUES["S2"], "k": VALUES["k"], **changes}
    return SimpleNamespace(mean=pd.DataFrame(columns, index=pd.Index(TIMES, name="time")))


def returning(result: object) -> Callable[..., Any]:
    """A simulate function that checks what it is asked, and returns or raises what it was given."""

    def simulate(model: object, times: np.ndarray, /, *, method: str, select: list[str]) -> Any:
        assert (method, select) == ("ode", ["S1", "[S2]", "k"])
        np.testing.assert_array_equal(times, TIMES)
        if isinstance(result, Exception):
            raise result
        return result

    return simulate


def test_a_case_is_read(folder: Path) -> None:
    case = read_case(folder)
    assert (case.start, case.duration, case.steps) == (0.0, 1.0, 2)
    assert (case.absolute, case.relative) == (1e-7, 1e-4)
    assert (case.variables, case.amount, case.concentration) == (("S1", "S2", "k"), ("S1",), ("S2",))
    assert [case.column(variable) for variable in case.variables] == ["S1", "[S2]", "k"]
    assert case.model.name == "00007-sbml-l3v1.xml"
    assert read_description(folder).tags == ("Compartment", "Species", "Reaction", "Amount")
    assert kind_of(folder) == "semantic"


def test_expected_values_are_read(folder: Path) -> None:
    table = read_expected(folder)
    np.testing.assert_array_equal(table.index, TIMES)
    for name, values in VALUES.items():
        np.testing.assert_array_equal(table[name], values)


def test_expected_values_may_be_no_numbers(tmp_path: Path) -> None:
    table = read_expected(write_case(tmp_path / "00001", results="time,a,time\n0,NaN,INF\n1,nan,-INF\n2,NAN,inf\n"))
    assert table["a"].isna().all()
    np.testing.assert_array_equal(table["time"], [np.inf, -np.inf, np.inf])  # a variable may have this name
    np.testing.assert_array_equal(table.index, [0, 1, 2])


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ("time,a\n0,one\n", "could not convert"),
        ("time,a\n0,1,2\n", "columns"),
        ("0,1\n1,2\n", "not time"),
        ("", "time"),
    ],
)
def test_bad_results_are_named(tmp_path: Path, results: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_expected(write_case(tmp_path / "00001", results=results))


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("relative: 0.0001\n", "", "no relative"),
        ("steps: 2", "steps: many", "'many' is not a number"),
        ("absolute: 1.000000e-007", "absolute:", "'' is not a number"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, line: str, instead: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_case(write_case(tmp_path / "00001", SETTINGS.replace(line, instead)))


def test_the_newest_model_is_taken_unless_one_is_asked_for(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "00001", formats=("l1v2", "l2v5", "l2v4"))
    assert read_case(folder).model.name == "00001-sbml-l2v5.xml"
    assert read_case(folder, (1, 2)).model.name == "00001-sbml-l1v2.xml"
    with pytest.raises(TableError, match="no model 00001-sbml-l3v2.xml"):
        read_case(folder, (3, 2))


def test_other_tests_than_time_courses_are_refused(tmp_path: Path) -> None:
    description = DESCRIPTION.replace("TimeCourse", "FluxBalanceSteadyState")
    folder = write_case(tmp_path / "00001", SETTINGS.replace("start: 0", "start:"), description=description)
    with pytest.raises(UnsupportedError, match="FluxBalanceSteadyState"):
        read_case(folder)
    assert run_case(folder, returning(AssertionError())).status == "skipped"


def test_every_case_of_the_suite_is_read(data_dir: Path) -> None:
    suite = data_dir / "sbml-test-suite" / "semantic"
    if not suite.is_dir():
        pytest.skip(f"no semantic cases at {suite}")
    others = 0
    for folder in case_folders(suite):
        assert kind_of(folder) == "semantic"
        try:
            case = read_case(folder)
        except UnsupportedError:
            others += 1
            continue
        expected = read_expected(folder)
        assert tuple(expected.columns) == case.variables
        assert judge(case, expected, expected)[0]
        assert {tag.strip() for tag in read_description(folder).tags}
    assert others == 34  # of flux balance


@pytest.mark.parametrize(
    ("expected", "value", "good"),
    [
        (0.0, 0.125, True),  # the absolute tolerance alone
        (0.0, -0.125, True),
        (0.0, np.nextafter(0.125, 1), False),
        (8.0, 10.125, True),  # 0.125 + 0.25 * 8
        (8.0, 5.875, True),
        (8.0, np.nextafter(10.125, 11), False),
        (10.125, 8.0, True),  # relative to the expected value, not to the larger or smaller one
        (-8.0, -10.125, True),
        (-8.0, 8.0, False),
        (np.nan, np.nan, True),
        (np.nan, 0.0, False),
        (0.0, np.nan, False),
        (np.inf, np.inf, True),
        (-np.inf, -np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1e300, False),
        (1e300, np.inf, False),
        (np.inf, np.nan, False),
    ],
)
def test_what_is_within_tolerance(expected: float, value: float, good: bool) -> None:
    size = excess(np.array([expected]), np.array([value]), absolute=0.125, relative=0.25)
    assert (size[0] <= 1) is np.bool_(good)


def test_without_tolerance_only_the_same_is_right() -> None:
    sizes = excess(np.array([0.0, 0.0]), np.array([0.0, 1e-300]), absolute=0.0, relative=0.0)
    np.testing.assert_array_equal(sizes, [0, np.inf])


def test_the_largest_deviation_is_named(folder: Path) -> None:
    case, expected = read_case(folder), read_expected(folder)
    assert judge(case, expected, expected) == (
        True,
        "largest deviation 0 times the allowed (S1, t=0: 1 instead of 1), 0 of 9 outside",
    )
    wrong = expected.copy()
    wrong.loc[0.5, "S2"] += 0.02 * 5
    wrong.loc[1.0, "k"] += 2 * (1e-7 + 3e-4)
    good, detail = judge(case, expected, wrong)
    assert not good
    assert detail.startswith("largest deviation 2e+02 times the allowed (S2, t=0.5: 5.1 instead of 5), 2 of 9 outside")


@pytest.mark.parametrize(
    ("result", "status", "detail"),
    [
        (course(), "passed", "largest deviation 0 times"),
        (course(k=VALUES["k"] * 1.00009), "passed", "largest deviation 0.9 times the allowed (k, t=0: 3.00027"),
        (course(k=VALUES["k"] * 1.0002), "failed", "3 of 9 outside"),
        (course(S1=[1.0, np.nan, 0.25]), "failed", "largest deviation inf times the allowed (S1, t=0.5: nan"),
        (SimpleNamespace(mean=course().mean.drop(columns="[S2]")), "failed", "no column [S2] among S1, k"),
        (SimpleNamespace(mean=course().mean.iloc[1:]), "failed", "not given at 3 times from 0"),
        (UnsupportedError("model.xml", ["an event", "a\ndelay"]), "skipped", "an event | a delay"),
        (SimulationError("stiff\nat t=3"), "failed", "stiff at t=3"),
    ],
)
def test_how_a_case_ends(folder: Path, result: object, status: str, detail: str) -> None:
    ended = run_case(folder, returning(result))
    assert (ended.case, ended.status, ended.kind) == ("00007", status, "semantic")
    assert detail in ended.detail
    assert ended.tags == ("Compartment", "Species", "Reaction", "Amount")
    assert ended.seconds >= 0


def test_a_case_that_hangs_or_crashes_is_lost_alone(tmp_path: Path, stand_in: Any) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    for number in range(1, 6):
        write_case(suite / f"{number:05d}")
    results = list(run_cases(suite, None, 10, 0, stand_in.simulate, 3.0))
    assert [(r.case, r.status) for r in results] == [
        *(("00001", "passed"), ("00002", "failed"), ("00003", "failed"), ("00004", "failed"), ("00005", "passed"))
    ]
    assert [r.detail for r in results[1:4]] == [
        "took longer than 3 s",
        "crashed: ZeroDivisionError: by zero",
        "crashed: the process ended with status 3",
    ]
    assert 3 <= results[1].seconds < 30
    assert all(r.tags and r.kind == "semantic" for r in results)


ENDED = [
    CaseResult("00001", "passed", "good", "semantic", ("Reaction", "Amount"), 0.25),
    CaseResult("00002", "skipped", 'an "event", a delay', "semantic", ("EventWithDelay", "Reaction"), 0.5),
    CaseResult("00003", "failed", "why", "semantic", ("Reaction",), 1 / 3),
]


def test_the_summary_counts_by_tag() -> None:
    assert summary(ENDED) == [
        "tag             cases  passed  failed  skipped",
        "Amount              1       1       0        0",
        "EventWithDelay      1       0       0        1",
        "Reaction            3       1       1        1",
    ]


def test_results_are_written_as_a_table(tmp_path: Path) -> None:
    write_results(ENDED, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["case", "status", "seconds", "tags", "detail"]
    assert rows[2] == ["00002", "skipped", "0.500", "EventWithDelay;Reaction", 'an "event", a delay']
    assert [row[2] for row in rows[1:]] == ["0.250", "0.500", "0.333"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_testsuite_prints_a_summary_and_writes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.testsuite.run_cases", lambda *_: iter(ENDED))
    result = run("testsuite", tmp_path, "-o", tmp_path / "out.csv")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:3] == ["00001 passed: good", '00002 skipped: an "event", a delay', "00003 failed: why"]
    assert lines[4:-2] == summary(ENDED)
    assert lines[-1] == "1 passed, 1 failed, 1 skipped"
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
    monkeypatch.setattr("sbmlgrad.testsuite.run_cases", lambda *_: iter(ENDED[:1]))
    assert run("testsuite", tmp_path).stdout.splitlines() == ["00001 passed: good", "1 passed, 0 failed, 0 skipped"]


def test_testsuite_runs_real_cases(data_dir: Path) -> None:
    suite = data_dir / "sbml-test-suite" / "semantic"
    if not suite.is_dir():
        pytest.skip(f"no semantic cases at {suite}")
    lines = run("testsuite", suite, "--case", "00001", "--case", "01192").stdout.splitlines()
    assert lines[0].startswith("00001 passed: ")
    assert lines[1].startswith("01192 skipped: it is a test of type FluxBalanceSteadyState")
    assert "Reaction                   2       1       0        1" in lines
    assert lines[-1] == "1 passed, 0 failed, 1 skipped"


def test_testsuite_tells_the_kinds_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "00001")
    write_case(tmp_path / "00002", SETTINGS + "output: S1-mean\nmeanRange: (-3, 3)\nsdRange: (-5, 5)\n")
    ran: list[object] = []
    monkeypatch.setattr(semantic, "in_workers", lambda work, folders, *rest: ran.append((folders, rest)) or [ENDED[0]])

    def refuse(*args: object, **options: object) -> None:
        raise UnsupportedError("", ["x"])

    results = [r.kind for r in run_cases(tmp_path, None, 10, 0, refuse, 7.0)]
    assert results == ["semantic", "stochastic"]
    assert ran == [([tmp_path / "00001"], (7.0, None))]


@pytest.fixture
def simulating(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    return lambda result: monkeypatch.setattr("sbmlgrad.simulate", returning(result))


def test_testcase_writes_what_the_test_runner_reads(folder: Path, simulating: Callable[[object], None]) -> None:
    simulating(course(S1=[np.nan, 0.1, 1e-30], k=[np.inf, -np.inf, 3]))
    result = run("testcase", folder.parent, folder.name, folder.parent, 3, 1)
    assert (result.output, result.exit_code) == ("", 0)
    written = (folder.parent / "00007.csv").read_bytes().decode()
    assert written == "time,S1,S2,k\n0.0,NaN,0.0,INF\n0.5,0.1,5.0,-INF\n1.0,1e-30,10.0,3.0\n"


def test_a_variable_may_be_called_time(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "00001", SETTINGS.replace("S1, S2, k", "time"))

    def simulate(model: object, times: np.ndarray, /, *, method: str, select: list[str]) -> Any:
        return SimpleNamespace(mean=pd.DataFrame({"time": times + 7}, index=pd.Index(times, name="time")))

    write_course(folder, tmp_path / "out.csv", (3, 1), simulate)
    assert (tmp_path / "out.csv").read_text() == "time,time\n0.0,7.0\n0.5,7.5\n1.0,8.0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("00007", ".", 3, 1), "error: model.xml: an event\n"),
        (("00008", ".", 3, 1), "no case 00008"),
        (("00007", ".", 3, 2), "no model 00007-sbml-l3v2.xml"),
        (("00007", "nowhere", 3, 1), "nowhere/00007.csv: cannot be written, there is no folder"),
    ],
)
def test_testcase_refuses(
    folder: Path,
    simulating: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("00007.csv").write_text("values of an earlier run")
    simulating(UnsupportedError("model.xml", ["an event"]))
    result = run("testcase", ".", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    if arguments[:2] == ("00007", "."):
        assert not Path("00007.csv").exists()


def test_testcase_says_what_the_test_runner_needs() -> None:
    assert "sbmlgrad testcase %d %n %o %l %v" in run("testcase", "--help").stdout
