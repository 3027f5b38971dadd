"""Hostile inputs: documents, command lines and tables with faults, each in a process of its own.

    python benchmarks/fuzz.py FOLDER... --documents 2000 --lines 300 --tables 1000 -o fuzz.json --keep BAD

Of each is asked: no signal, no traceback, no line that says "bug", one line of error, at most 30 seconds of a
processor and 4 GiB, and no file that is left when it failed. A seed and a number make an input again. With
``--every 1`` each document that can be read is simulated, too, and each table fitted. FOLDERs hold files to start from,
``.xml`` and ``.csv``. Processes are forked from one that has imported everything; not for Windows.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

import fuzz_documents
import fuzz_inputs

from sbmlgrad.cli import main as command
from sbmlgrad.errors import SbmlgradError
from sbmlgrad.files import write_text
from sbmlgrad.tables import read_measurements

ROOT = Path(__file__).resolve().parents[1]
SECONDS, PATIENCE, MEMORY = 30, 600, 4 * 2**30
LARGEST = 60_000  # bytes of a document that is simulated too; larger ones take their time
EVERY = 20  # one of so many documents is simulated too, one of so many tables fitted
MEASURED = "time,X\n0,0\n1,6\n2,9\n"  # of the model of birth and death
PROBLEM = """format_version: 1
parameter_file: parameters.tsv
problems:
- sbml_files: [model.xml]
  measurement_files: [measurements.tsv]
  condition_files: [conditions.tsv]
  observable_files: [observables.tsv]
"""


@dataclass(frozen=True)
class Outcome:
    """How a case ended: its kind and number, what it started from, what is wrong (empty: nothing), what it said."""

    kind: str
    number: int
    source: str
    wrong: str
    status: int
    seconds: float
    megabytes: int
    said: str


def run(kind: str, number: int, source: str, work: Callable[[], int], folder: Path) -> Outcome:
    """Do the work in a forked process in ``folder``, and judge how it ended."""
    before = {path.name for path in folder.rglob("*")}
    with tempfile.TemporaryFile() as said:
        process = os.fork()
        if process == 0:
            _child(work, folder, said.fileno())
        ended, usage, killed = _wait(process)
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    status = -os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)
    left = sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name not in before)
    seconds = usage.ru_utime + usage.ru_stime
    wrong = killed or _wrong(status, text, seconds, left)
    return Outcome(kind, number, source, wrong, status, round(seconds, 2), usage.ru_maxrss // 1024, text[-600:])


def _child(work: Callable[[], int], folder: Path, said: int) -> None:
    status = 99
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(process: int) -> tuple[int, resource.struct_rusage, str]:
    """The status of a process, what it used, and why it was killed, if it was."""
    begun, killed = time.monotonic(), ""
    while True:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        if ended:
            return status, usage, killed
        try:
            size = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
        except (OSError, IndexError, ValueError):
            size = 0
        if not killed and (size > MEMORY or time.monotonic() - begun > PATIENCE):
            killed = "memory" if size > MEMORY else "no end"
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _wrong(status: int, text: str, seconds: float, left: Sequence[str]) -> str:
    if status == -signal.SIGXCPU or seconds > SECONDS:
        return "time"
    if status < 0:
        return "signal"
    if "Traceback" in text or status not in (0, 1, 2):
        return "traceback"
    if "this is a bug" in text:
        return "bug"
    lines = [line for line in text.splitlines() if line.startswith(("error:", "Error:"))]
    if status and (len(lines) != 1 or not text.splitlines()[-1].startswith(("error:", "Error:"))):
        return "not one line"
    if (status and left) or any(name.endswith(".tmp") for name in left):
        return "partial file"
    return ""


def on_command_line(*arguments: str) -> int:
    """The status of a command."""
    try:
        command(list(arguments), standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


# ---- the three kinds -----------------------------------------------------------------------------------


def document(random: Random, sources: Sequence[Path], folder: Path, every: int) -> tuple[str, Callable[[], int]]:
    """A document with faults, and what is done with it."""
    source = random.choice(sources)
    content = fuzz_documents.mutant(source.read_text(encoding="utf-8", errors="replace"), random)
    (folder / "model.xml").write_bytes(content)
    beside = [path for path in source.parent.glob("*.xml") if path != source] if b"comp:source" in content else []
    for path in beside[:20]:
        shutil.copy(path, folder)
    times = ("model.xml", "--end", "0.01", "--points", "3")
    simulated = random.randrange(every) == 0 and len(content) <= LARGEST
    then = random.choice([("--method", "ode"), ("-n", "3"), ("--method", "ode", "-o", "out.csv")])

    def work() -> int:
        status = on_command_line("info", "model.xml")
        if status == 0 and simulated:
            sys.stdout.flush()
            return on_command_line("simulate", *times, *then)
        return status

    return str(source), work


def table(random: Random, sources: Sequence[Path], folder: Path, every: int) -> tuple[str, Callable[[], int]]:
    """A table with faults, which is read, and now and then fitted."""
    fitted, model = random.randrange(every) == 0, ROOT / "models" / "birth_death" / "model.xml"
    source = model if fitted else random.choice(sources)
    text = MEASURED if fitted else _beginning(source)
    (folder / "data.csv").write_bytes(fuzz_inputs.table(text, random))

    def work() -> int:
        if fitted:
            return on_command_line(
                "fit", str(model), "data.csv", "-p", "k=0.1:1000", "--method", "ode", "-o", "fitted.xml"
            )
        try:
            read_measurements("data.csv")
        except SbmlgradError as error:
            print(f"error: {error}")
            return 1
        return 0

    return str(source), work


def line(random: Random, sources: Sequence[Path], folder: Path, every: int) -> tuple[str, Callable[[], int]]:
    """A command line with faults, in a folder with a model, a table, a problem and other things."""
    model = ROOT / "models" / "birth_death"
    shutil.copy(model / "model.xml", folder)
    (folder / "data.csv").write_text(MEASURED)
    (folder / "empty").touch()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("link")
    (folder / "problem.yaml").write_text(PROBLEM)
    (folder / "parameters.tsv").write_text(
        "parameterId\tparameterScale\tlowerBound\tupperBound\tnominalValue\testimate\nk\tlin\t1\t100\t10\t1\n"
    )
    (folder / "conditions.tsv").write_text("conditionId\nc\n")
    (folder / "observables.tsv").write_text("observableId\tobservableFormula\tnoiseFormula\no\tX\t1\n")
    (folder / "measurements.tsv").write_text(
        "observableId\tsimulationConditionId\tmeasurement\ttime\no\tc\t6\t1\no\tc\t9\t2\n"
    )
    words = fuzz_inputs.line(random)
    return " ".join(words), lambda: on_command_line(*words)


def _beginning(path: Path) -> str:
    """The first rows of a table, with commas."""
    text = path.read_bytes()[:3000].decode("utf-8", "replace")
    return "\n".join(text.splitlines()[:25]).replace(";", ",").replace("\t", ",")


WARM = ("info", "fitting.fit", "gradient.sensitivity", "petab.read", "report.html", "simulation.simulate", "testsuite")
KINDS = {"documents": document, "lines": line, "tables": table}


def main() -> None:
    """Make and run the inputs, print how they ended, and end with 1 where one ended badly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="where files to start from are")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first of each kind")
    parser.add_argument("--every", type=int, default=EVERY, metavar="N", help=f"run one of so many, too ({EVERY})")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where inputs that ended badly are put")
    parser.add_argument("-o", "--output", metavar="JSON")
    options = parser.parse_args()
    for module in WARM:
        importlib.import_module(f"sbmlgrad.{module}")
    folders = [ROOT / "models", *options.folders]
    sources = {
        "documents": sorted(path for folder in folders for path in folder.rglob("*.xml")),
        "tables": sorted(path for folder in folders for path in folder.rglob("*.csv")),
        "lines": [],
    }
    outcomes = []
    for kind, make in KINDS.items():
        for number in range(options.first, options.first + getattr(options, kind)):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                source, work = make(Random(f"{options.seed} {kind} {number}"), sources[kind], folder, options.every)
                outcome = run(kind, number, source, work, folder)
                if outcome.wrong and options.keep:
                    (folder / "pipe").unlink(missing_ok=True)
                    shutil.copytree(folder, options.keep / f"{kind}-{options.seed}-{number}", symlinks=True)
            outcomes.append(outcome)
            if outcome.wrong:
                last = " ".join(outcome.said.splitlines()[-1:])
                print(f"{kind} {number}: {outcome.wrong} ({outcome.seconds:g} s) {source}: {last[:200]}", flush=True)
    _report(outcomes, options.seed, options.output)
    sys.exit(1 if any(outcome.wrong for outcome in outcomes) else 0)


def _report(outcomes: Sequence[Outcome], seed: int, output: str | None) -> None:
    for kind in KINDS:
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        if own:
            wrong = Counter(outcome.wrong for outcome in own if outcome.wrong)
            statuses = Counter(outcome.status for outcome in own)
            bad = ", ".join(f"{number} {what}" for what, number in wrong.items()) or "none ended badly"
            slowest, largest = max(o.seconds for o in own), max(o.megabytes for o in own)
            print(
                f"{len(own)} {kind}: {bad}; {statuses[0]} done, {statuses[1]} refused, {statuses[2]} wrong usage; "
                f"at most {slowest:g} s and {largest} MB"
            )
    if output:
        bad_ones = [asdict(outcome) for outcome in outcomes if outcome.wrong]
        counts = {kind: sum(outcome.kind == kind for outcome in outcomes) for kind in KINDS}
        write_text(output, json.dumps({"seed": seed, "counts": counts, "bad": bad_ones}, indent=2) + "\n")


if __name__ == "__main__":
    main()
