"""Every command on every model; and for wrong input the right status, one line on stderr, nothing written."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import sbmlgrad
from sbmlgrad.cli import main
from sbmlgrad.errors import SimulationError
from sbmlgrad.sbml.read import read_sbml

ROOT = Path(__file__).resolve().parents[1]
MODELS = sorted(path.name for path in (ROOT / "models").iterdir() if path.is_dir())
FEW = ("michaelis_menten", "stl1_osmotic", "telegraph")  # reactions, rates that follow time, a switch
BRIEFLY = ("--end", 0.01, "--points", 3, "-n", 16, "--seed", 2)
HEAVY = ("jax", "libsbml", "matplotlib", "numpy", "pandas", "sympy")

MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math>'
Reaction = tuple[str, Sequence[str], Sequence[str], str]  # id, reactants, products, law


def apply(operator: str, *identifiers: str) -> str:
    return f"<apply><{operator}/>{''.join(map(ci, identifiers))}</apply>"


def ci(identifier: str) -> str:
    return f"<ci>{identifier}</ci>"


def side(tag: str, species: Sequence[str]) -> str:
    references = (f'<speciesReference species="{s}" stoichiometry="1" constant="true"/>' for s in species)
    return f"<{tag}>{''.join(references)}</{tag}>" if species else ""


def sbml(species: dict[str, float], parameters: dict[str, float], reactions: Sequence[Reaction], more: str = "") -> str:
    """A document whose species are numbers of molecules."""
    listed_species = "".join(
        f'<species id="{s}" compartment="cell" initialAmount="{x}" substanceUnits="item" '
        'hasOnlySubstanceUnits="true" boundaryCondition="false" constant="false"/>'
        for s, x in species.items()
    )
    listed_parameters = "".join(f'<parameter id="{p}" value="{x}" constant="true"/>' for p, x in parameters.items())
    listed_reactions = "".join(
        f'<reaction id="{name}" reversible="false" fast="false">{side("listOfReactants", reactants)}'
        f"{side('listOfProducts', products)}<kineticLaw>{MATH.format(law)}</kineticLaw></reaction>"
        for name, reactants, products, law in reactions
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">\n'
        '<model id="m" substanceUnits="item" extentUnits="item" timeUnits="second"><listOfCompartments>'
        '<compartment id="cell" size="1" spatialDimensions="3" constant="true"/></listOfCompartments>'
        f"<listOfSpecies>{listed_species}</listOfSpecies>"
        f"<listOfParameters>{listed_parameters}</listOfParameters>"
        f"<listOfReactions>{listed_reactions}</listOfReactions>{more}</model></sbml>"
    )


BIRTH_DEATH = sbml(
    {"X": 0},
    {"k": 10, "g": 1},
    [("birth", [], ["X"], ci("k")), ("death", ["X"], [], apply("times", "g", "X"))],
)
EXPLODING = sbml({"X": 1}, {"k": 1}, [("double", ["X"], ["X", "X"], apply("times", "k", "X"))])
NEGATIVE = sbml(
    {"X": 0, "Y": 0},
    {"k": 5},
    [("grow", [], ["Y"], ci("k")), ("make", [], ["X"], apply("minus", "k", "Y"))],
)
EVENT = BIRTH_DEATH.replace(
    "</model>",
    '<listOfEvents><event id="kick" useValuesFromTriggerTime="true"><trigger initialValue="true" '
    f'persistent="true">{MATH.format(apply("gt", "X", "g"))}</trigger></event></listOfEvents></model>',
)
STRANGE = sbml(
    {"lambda": 20, "S": 10, "I": 3, "__class__": 2},
    {"pi": 0.5, "E": 0.25, "import": 2},
    [
        ("print", ["lambda"], ["S"], apply("times", "pi", "lambda")),
        ("exec", ["S", "I"], ["I", "I"], apply("times", "E", "S", "I")),
        ("None", ["I"], ["__class__"], apply("times", "import", "I")),
        ("gamma", ["__class__"], [], apply("times", "E", "__class__")),
    ],
)
FILES = {
    "model.xml": BIRTH_DEATH,
    "data.csv": "time,X\n0,0\n1,7\n2,8\n",
    "exploding.xml": EXPLODING,
    "negative.xml": NEGATIVE,
    "event.xml": EVENT,
    "fast.xml": BIRTH_DEATH.replace('fast="false"', 'fast="true"', 1),
    "words.xml": "This is not XML.\n",
    "page.xml": "<html><body/></html>",
    "invalid.xml": BIRTH_DEATH.replace('compartment="cell"', 'compartment="well"'),
    "mismatch.csv": "time,Xx\n0,0\n1,7\n",
    "text.csv": "time,X\n0,0\n1,seven\n",
    "negative.csv": "time,X\n0,0\n-1,7\n",
    "repeated.csv": "time,X\n0,0\n1,7\n1,8\n",
    "empty.csv": "",
    "header.csv": "time,X\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with good and bad files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    """The output of a command that must work, and warns of nothing."""
    result = run(*arguments)
    assert [line for line in result.stderr.splitlines() if not line.startswith("note: ")] == []
    assert result.exit_code == 0
    return result.stdout


def refused(*arguments: object) -> str:
    """The message of a command that must end with status 1, one line and no files."""
    before = sorted(Path().rglob("*"))
    result = run(*arguments)
    assert result.stderr.startswith("error: ")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.endswith("\n")
    assert result.stderr.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return result.stderr


# ---- every command on every model ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_info_and_simulate_of_every_model(models_dir: Path, name: str) -> None:
    path = models_dir / name / "model.xml"
    said = json.loads(done("info", path, "--json"))
    assert said["exact"]
    assert said["warnings"] == []
    elements = read_sbml(path).elements
    assert said["numbers"]["reactions"] == len(elements.reactions)
    assert done("info", path).startswith(f"{elements.name} ({path})\n")
    table = pd.read_csv(io.StringIO(done("simulate", path, *BRIEFLY)))
    assert list(table.columns) == ["time", *(f"{s}-{m}" for s in said["observables"] for m in ("mean", "sd"))]
    assert table["time"].tolist() == [0, 0.005, 0.01]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FEW else [pytest.mark.slow]) for n in MODELS])
def test_sensitivity_of_every_model(models_dir: Path, name: str) -> None:
    path = models_dir / name / "model.xml"
    parameter = next(iter(read_sbml(path).quantities()))
    slopes = pd.read_csv(io.StringIO(done("sensitivity", path, *BRIEFLY, "-p", parameter)))
    assert list(slopes.columns) == ["time", "observable", "parameter", "sensitivity", "stderr"]
    assert slopes["time"].unique().tolist() == [0, 0.005, 0.01]


def test_simulate_fit_and_read_the_fitted_model(folder: Path) -> None:
    done("simulate", "model.xml", "--end", 4, "--points", 9, "-n", 500, "-o", "moments.csv", "--plot", "x.png")
    assert (folder / "x.png").read_bytes().startswith(b"\x89PNG")
    outputs = ("-o", "fitted.xml", "--json", "fit.json", "--report", "report")
    fitting = ("-p", "k=1:100", "-p", "g", "--init", "k=6", "-n", 100, "--seed", 3)
    result = run("fit", "model.xml", "moments.csv", *fitting, *outputs)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["estimate", "stderr", "lower", "upper", "at_bound", "ci_lower", "ci_upper"]
    assert lines[-1] == "wrote fitted.xml, report, fit.json"
    actual = json.loads((folder / "fit.json").read_text())
    told = {"loss_name", "converged", "message", "warnings", "method", "data", "goodness", "correlation"}
    assert set(actual) == {"parameters", "loss", "seconds", "seed", "version", *told}
    assert actual["data"] == ["moments.csv"]
    assert actual["goodness"]["n_data"] == 18
    assert actual["correlation"]["k"]["k"] == pytest.approx(1)
    assert list(actual["parameters"]) == ["k", "g"]
    assert actual["parameters"]["k"]["estimate"] == pytest.approx(10, rel=0.2)
    assert actual["parameters"]["k"]["ci_lower"] < 10 < actual["parameters"]["k"]["ci_upper"]
    assert (actual["parameters"]["k"]["lower"], actual["parameters"]["k"]["upper"]) == (1, 100)
    assert read_sbml(folder / "fitted.xml").quantities()["k"] == actual["parameters"]["k"]["estimate"]
    assert (folder / "report" / "index.html").is_file()


@pytest.mark.usefixtures("folder")
def test_a_single_trajectory_has_plain_columns() -> None:
    shown = done("simulate", "model.xml", "--end", 2, "--points", 3, "-n", 1, "--set", "X=4")
    assert shown.startswith("time,X\n0.0,4.0\n")


@pytest.mark.usefixtures("folder")
def test_options_reach_the_simulation() -> None:
    asked = ("simulate", "model.xml", "--end", 4, "--points", 3, "-n", 50, "--select", "[X]")
    table = pd.read_csv(io.StringIO(done(*asked, "--start", 2, "--set", "k=0", "--set", "X=7")))
    assert table["time"].tolist() == [2, 3, 4]
    assert list(table.columns) == ["time", "[X]-mean", "[X]-sd"]
    assert table["[X]-mean"][0] == 7
    assert table["[X]-mean"][2] < 7
    assert done(*asked, "--seed", 1) == done(*asked, "--seed", 1) != done(*asked, "--seed", 2)


def test_a_model_with_events_is_simulated_by_both_methods(folder: Path) -> None:
    for method, column in (("ssa", "X-mean"), ("ode", "X")):
        shown = done("simulate", folder / "event.xml", "--end", 4, "--points", 2, "-n", 50, "--method", method)
        assert pd.read_csv(io.StringIO(shown))[column][1] == pytest.approx(9.8, abs=2)  # 10*(1 - exp(-4))


def test_ids_that_are_words_of_python_or_sympy(folder: Path) -> None:
    path = folder / "strange.xml"
    path.write_text(STRANGE, encoding="utf-8")
    said = json.loads(done("info", path, "--json"))
    assert said["quantities"] == {
        **{"pi": 0.5, "E": 0.25, "import": 2, "cell": 1},
        **{"lambda": 20, "S": 10, "I": 3, "__class__": 2},
    }
    changes = ("--set", "import=4", "--set", "__class__=5", "--select", "lambda,__class__,[I]")
    shown = done("simulate", path, "--end", 1, "--points", 2, "-n", 1, *changes)
    assert shown.splitlines()[:2] == ["time,lambda,__class__,[I]", "0.0,20.0,5.0,3.0"]
    done("sensitivity", path, "--end", 1, "--points", 2, "-n", 20, "-p", "pi,E", "-p", "import")


def test_warnings_of_a_model_follow_the_result(folder: Path) -> None:
    units = ' substanceUnits="item"'
    (folder / "vague.xml").write_text(BIRTH_DEATH.replace(units, "").replace(' extentUnits="item"', ""))
    result = run("simulate", "vague.xml", "--end", 1, "--points", 2, "-n", 2)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: vague.xml: 'X', reaction extent: no units of substance")
    assert result.stdout.startswith("time,X-mean,X-sd\n")
    done("simulate", "vague.xml", "--end", 1, "--points", 2, "-n", 2, "--molecules-per-unit", 1)


# ---- wrong input ---------------------------------------------------------------------------------------

SIMULATE = ("--end", 10, "--points", 3, "-n", 4, "-o", "out.csv")
FIT = ("-n", 20, "-o", "fitted.xml", "--json", "fit.json", "--report", "report")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere.xml", "nowhere.xml: there is no such file"),
        ("words.xml", "words.xml: not XML"),
        ("page.xml", "page.xml: XML but not SBML: the root is <html>"),
        ("invalid.xml", "well"),
        ("fast.xml", "reaction 'birth' is fast"),
        ("exploding.xml", "species 'X' comes to"),
        ("negative.xml", "reaction 'make': its propensity is -"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_models_that_cannot_be_simulated(model: str, message: str) -> None:
    asked = ("--end", 1000, "--points", 3, "-n", 4, "-o", "out.csv")
    assert message in refused("simulate", model, *asked)


@pytest.mark.parametrize("command", ["info", "sensitivity", "fit"])
@pytest.mark.usefixtures("folder")
def test_other_commands_refuse_what_is_not_sbml(command: str) -> None:
    more: dict[str, tuple[object, ...]] = {
        "info": (),
        "sensitivity": ("-p", "k", *SIMULATE),
        "fit": ("data.csv", "-p", "k", *FIT),
    }
    for model in ("nowhere.xml", "words.xml", "page.xml", "invalid.xml"):
        assert model in refused(command, model, *more[command])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "model.xml", *SIMULATE, "--set", "kk=1"), "'kk'; did you mean k"),
        (("simulate", "model.xml", *SIMULATE, "--select", "Xx"), "no species or variable 'Xx'"),
        (("sensitivity", "model.xml", *SIMULATE, "-p", "kk"), "'kk'"),
        (("sensitivity", "model.xml", *SIMULATE, "-p", "k", "--estimator", "magic"), "estimator 'magic'"),
        (("fit", "model.xml", "data.csv", *FIT, "-p", "kk"), "'kk'; did you mean k"),
        (
            ("fit", "model.xml", "data.csv", *FIT, "-p", "k=20:30"),
            "'k' starts at 10, outside its bounds 20:30",
        ),
        (("fit", "model.xml", "data.csv", *FIT, "-p", "k=1:5", "--init", "k=9"), "outside its bounds 1:5"),
        (("fit", "model.xml", "nowhere.csv", *FIT, "-p", "k"), "nowhere.csv: there is no such file"),
        (("fit", "model.xml", "mismatch.csv", *FIT, "-p", "k"), "mismatch.csv: column 'Xx' matches nothing"),
        (("fit", "model.xml", "text.csv", *FIT, "-p", "k"), "text.csv: line 3, column 'X': 'seven'"),
        (("fit", "model.xml", "negative.csv", *FIT, "-p", "k"), "line 3, column 'time': time -1 is negative"),
        (("fit", "model.xml", "repeated.csv", *FIT, "-p", "k"), "line 4, column 'X': time 1 is there twice"),
        (("fit", "model.xml", "empty.csv", *FIT, "-p", "k"), "empty.csv: the file is empty"),
        (("fit", "model.xml", "header.csv", *FIT, "-p", "k"), "header.csv: there are no rows"),
        (("fit", "negative.xml", "data.csv", *FIT, "-p", "k"), "propensity"),
        (("testsuite", "."), "no cases here"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_wrong_inputs(arguments: Sequence[object], message: str) -> None:
    if arguments[1] == "negative.xml":
        Path("data.csv").write_text("time,X\n0,0\n100,7\n")
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (("-o", "no/out.csv"), "no/out.csv: cannot be written, there is no folder"),
        (("-o", "."), "cannot be written, this is a folder"),
        (("--plot", "out.xyz"), "out.xyz: unknown format"),
        (("--plot", "no/out.png"), "no/out.png: cannot be written"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_outputs_are_checked_before_the_work(output: Sequence[str], message: str) -> None:
    # a model that does not exist is not even looked for
    assert message in refused("simulate", "nowhere.xml", "--end", 1, "--points", 2, *output)


def test_a_report_does_not_replace_a_folder_with_other_things(folder: Path) -> None:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.tex").write_text("words")
    assert "thesis" in refused("fit", "nowhere.xml", "data.csv", "-p", "k", "--report", "thesis")
    assert "model.xml" in refused("fit", "nowhere.xml", "data.csv", "-p", "k", "--report", "model.xml/report")


@pytest.mark.parametrize(
    "line",
    [
        "simulate model.xml --end 1",
        "simulate model.xml --points 3",
        "simulate model.xml --end 1 --points 1",
        "simulate model.xml --end 0 --points 3",
        "simulate model.xml --end 1 --points 3 --start 2",
        "simulate model.xml --end inf --points 3",
        "simulate model.xml --end soon --points 3",
        "simulate model.xml --end 1 --points 3 -n 0",
        "simulate model.xml --end 1 --points 3 --seed -1",
        "simulate model.xml --end 1 --points 3 --method magic",
        "simulate model.xml --end 1 --points 3 --set k",
        "simulate model.xml --end 1 --points 3 --set k=fast",
        "simulate model.xml --end 1 --points 3 --set k=nan",
        "simulate model.xml --end 1 --points 3 --set k=1 --set k=2",
        "simulate model.xml --end 1 --points 3 --select X,",
        "simulate model.xml --end 1 --points 3 -o model.xml",
        "simulate model.xml --end 1 --points 3 -o out.png --plot ./out.png",
        "sensitivity model.xml --end 1 --points 3",
        "sensitivity model.xml --end 1 --points 3 -p k,k",
        "sensitivity model.xml --end 1 --points 3 -p k -n 1",
        "fit model.xml data.csv",
        "fit model.xml -p k",
        "fit model.xml data.csv -p k=1",
        "fit model.xml data.csv -p k=1:",
        "fit model.xml data.csv -p k=2:1",
        "fit model.xml data.csv -p k -p k=1:2",
        "fit model.xml data.csv -p k --init k",
        "fit model.xml data.csv -p k -o data.csv",
        "testsuite",
        "testsuite . --limit 0",
        "testcase . 00001 . 3",
        "testcase . 00001 . 3 one",
        "magic",
    ],
)
@pytest.mark.usefixtures("folder")
def test_wrong_usage_has_status_2(line: str) -> None:
    before = sorted(Path().rglob("*"))
    result = run(*line.split())
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(Path().rglob("*")) == before


# ---- errors that nobody planned ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "error: out of memory; ask for fewer trajectories (-n)\n"),
        (RuntimeError("RESOURCE_EXHAUSTED: 3 TB"), "error: out of memory; ask for"),
        (OSError(28, "No space left on device", "out.csv"), "error: out.csv: No space left on device; check"),
        (SimulationError("one\n  two\x1b[31m"), "error: one two?[31m\n"),
        (
            ZeroDivisionError("by\nzero"),
            "error: unexpected ZeroDivisionError: by zero; this is a bug in sbmlgrad",
        ),
        (RecursionError(), "error: unexpected RecursionError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_is_one_line(monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str) -> None:
    monkeypatch.setattr("sbmlgrad.info.describe", raising(error))
    assert refused("info", "model.xml").startswith(message)


@pytest.mark.parametrize("arguments", [("--debug", "info", "m.xml"), ("info", "m.xml", "--debug")])
def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]) -> None:
    monkeypatch.setattr("sbmlgrad.info.describe", raising(ValueError("odd")))
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback")
    assert result.stderr.splitlines()[-1].startswith("error: unexpected ValueError: odd")


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


# ---- testsuite and benchmark ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "code", "last"),
    [
        (("passed", "skipped"), 0, "1 passed, 0 failed, 1 skipped"),
        (("passed", "failed", "failed"), 1, "1 passed, 2 failed, 0 skipped"),
    ],
)
def test_testsuite_counts(monkeypatch: pytest.MonkeyPatch, states: Sequence[str], code: int, last: str) -> None:
    def run_cases(
        folder: str, cases: Sequence[str] | None, n: int, seed: int, _: object, limit: float
    ) -> Iterator[Any]:
        assert (folder, cases, n, seed, limit) == ("cases", ("1", "2"), 100, 5, 8)
        for number, status in enumerate(states):
            yield SimpleNamespace(case=f"{number:05d}", status=status, detail="why", kind="stochastic")

    monkeypatch.setattr("sbmlgrad.testsuite.run_cases", run_cases)
    result = run("testsuite", "cases", "--case", 1, "--case", 2, "-n", 100, "--seed", 5, "--limit", 8)
    assert result.exit_code == code
    assert result.stdout.splitlines()[0] == "00000 passed: why"
    assert result.stdout.endswith(f"{last}\n")
    assert len(result.stdout.splitlines()) == len(states) + 1


def test_testsuite_runs_a_real_case(data_dir: Path) -> None:
    folder = data_dir / "sbml-test-suite" / "stochastic"
    if not folder.is_dir():
        pytest.skip(f"no stochastic cases at {folder}")
    shown = done("testsuite", folder, "--case", "00001", "-n", 1000, "--seed", 1)
    assert shown.startswith("00001 passed: ")
    assert shown.endswith("1 passed, 0 failed, 0 skipped\n")


def test_benchmark_hands_its_arguments_on(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    calls: list[object] = []
    monkeypatch.setattr(
        "sbmlgrad.benchmark.run.run_benchmark",
        lambda models, *, peers, output, against: calls.append((models, peers, output, against)),
    )
    done("benchmark", "model.xml", "--peers", "-o", "bench.json", "--against", "old.json")
    done("benchmark")
    assert calls == [(["model.xml"], True, "bench.json", "old.json"), ([], False, None, None)]
    assert "no folder" in refused("benchmark", "-o", "no/bench.json")


# ---- the program ---------------------------------------------------------------------------------------


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("line", ["--help", "fit --help", "simulate m.xml", "fit m.xml d.csv -p k=3", "--version"])
def test_help_and_wrong_usage_come_without_heavy_imports(line: str) -> None:
    code = (
        "import sys\nfrom sbmlgrad.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: print(*[name for name in {HEAVY} if name in sys.modules], 'imported', file=sys.stderr)"
    )
    ended = python(code, *line.split())
    assert ended.returncode == (0 if "--" in line else 2)
    assert ended.stderr.splitlines()[-1] == "imported"


def test_the_version_is_the_packages() -> None:
    assert done("--version") == f"sbmlgrad {sbmlgrad.__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_error(models_dir: Path) -> None:
    path = models_dir / "birth_death" / "model.xml"
    command = [sys.executable, "-m", "sbmlgrad", "info", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
