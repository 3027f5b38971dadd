"""Errors of commands in the words of the command line, and what Ctrl-C leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sbmlgrad.cli import main
from sbmlgrad.cli_errors import INTERRUPTED, in_options
from sbmlgrad.errors import TruncationError


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_command_has_status_130_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.info.describe", interrupted)
    result = CliRunner().invoke(main, ["info", "model.xml"])
    assert (result.exit_code, result.stdout, result.stderr) == (INTERRUPTED, "", "error: interrupted\n")


LONG = """
import sys
from sbmlgrad.__main__ import run
import sbmlgrad as sg
sg.simulate, sg.read_sbml  # imported
print("ready", flush=True)
run()
"""


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of a Unix terminal")
def test_ctrl_c_ends_a_long_simulation_without_files(models_dir: Path, tmp_path: Path) -> None:
    model = models_dir / "vilar_oscillator" / "model.xml"
    asked = [str(model), "--end", "9e4", "--points", "101", "-n", "2000", "--max-events", "4000000000"]
    command = [sys.executable, "-c", LONG, "simulate", *asked, "-o", "out.csv", "--plot", "out.png"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(2)  # it takes hours
        process.send_signal(signal.SIGINT)
        ending = threading.Timer(60, process.kill)  # so that no failure waits for hours
        ending.start()
        shown, said = process.communicate()
        ending.cancel()
    assert (process.returncode, shown) == (INTERRUPTED, "")
    assert said.splitlines()[-1] == "error: interrupted"  # before it, that it takes hours, if it came to that
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_that_a_library_turned_into_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("while the extension was initialised") from None

    monkeypatch.setattr("sbmlgrad.info.describe", fail)
    before = signal.getsignal(signal.SIGINT)
    result = CliRunner().invoke(main, ["info", "model.xml"])
    assert (result.exit_code, result.stderr) == (INTERRUPTED, "error: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_gets_lost_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        time.sleep(30)

    monkeypatch.setattr("sbmlgrad.info.describe", fail)
    monkeypatch.setattr("sbmlgrad.cli_errors._PATIENCE", 0.05)
    began = time.monotonic()
    assert CliRunner().invoke(main, ["info", "model.xml"]).exit_code == INTERRUPTED
    assert time.monotonic() - began < 20


def test_an_interrupt_in_a_callback_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Collected:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def fail(*_: object) -> None:
        Collected()
        time.sleep(30)

    monkeypatch.setattr("sbmlgrad.info.describe", fail)
    result = CliRunner().invoke(main, ["info", "model.xml"])
    assert (result.exit_code, result.stderr) == (INTERRUPTED, "error: interrupted\n")


def test_remedies_are_what_the_command_has() -> None:
    text = "a: too many; end earlier or raise max_events"
    assert in_options(text, main.commands["simulate"]) == "a: too many; end earlier or raise --max-events"
    assert in_options(text, main.commands["info"]) == "a: too many; end earlier"
    assert in_options(text, None) == "a: too many; end earlier"
    full = "out of memory; ask for fewer trajectories (-n) or fewer times (--points)"
    assert in_options(full, main.commands["simulate"]) == full
    assert in_options(full, main.commands["fit"]) == "out of memory; ask for fewer trajectories (-n)"
    earlier = "a: too many; solve the rate equations (--method ode), end earlier (--end) or raise --max-events (to 30)"
    assert in_options(earlier, main.commands["fit"]) == earlier.replace(", end earlier (--end)", "")
    said = "use method 'ode', or start with init={'r.k': value}; method 'tau': not available"
    expected = "use --method ode, or start with --init r.k=value; method 'tau': not available"
    assert in_options(said, main.commands["fit"]) == expected


def test_a_limit_of_reactions_is_told_by_the_option_that_raises_it(models_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("time,X-mean,X-sd\n1,7,3\n2,9,3\n", encoding="utf-8")
    asked = [str(models_dir / "birth_death" / "model.xml"), str(data), "-p", "k", "-n", "40", "--max-events", "5"]
    result = CliRunner().invoke(main, ["fit", *asked])
    assert result.exit_code == 1, result.output
    assert "(--method ode), allow more (--max-events 50) or read fewer" in result.stderr
    assert result.stderr.count("\n") == 1


def test_python_names_its_keyword(models_dir: Path) -> None:
    import sbmlgrad as sg

    with pytest.raises(TruncationError, match="raise max_events"):
        sg.sensitivity(models_dir / "birth_death" / "model.xml", [2000.0], ["k"], n=40, max_events=300)


def test_a_command_without_options_is_no_obstacle() -> None:
    assert in_options("max_events", click.Command("x")) == "--max-events"
