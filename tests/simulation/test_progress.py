"""Progress shows where somebody looks, and nowhere else."""

from __future__ import annotations

import io
import re
import sys
import time as clock
import types
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.simulation import progress
from sbmlgrad.simulation.progress import Progress, bar


class Terminal(io.StringIO):
    """Looks like one."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error, with bars that show at once; no fixture, since pytest puts its own there before a test."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(progress, "_DELAY", 0.0)
    monkeypatch.setattr(progress, "_INTERVAL", 0.02)
    return shown


def test_time_simulated_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with Progress("simulate", 4, start=1.0, end=3.0) as watch:
        watch.tell(0, np.array([1.0, 2.0]))
        watch.tell(2, [3.0, 3.5])
        assert watch.fraction == (0 + 0.5 + 1 + 1) / 4
        clock.sleep(0.3)
    assert re.search(r"simulate:  62%\|.*\| 00:00, 00:00 left", shown.getvalue())


def test_nothing_shows_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = io.StringIO()
    monkeypatch.setattr(sys, "stderr", silent)
    with Progress("simulate", 4, 0.0, 1.0) as watch:
        assert not watch.shown
    assert silent.getvalue() == ""


def test_nothing_shows_without_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with Progress(None, 4, 0.0, 1.0) as watch:
        assert not watch.shown
    assert shown.getvalue() == ""


def test_a_notebook_is_looked_at_though_it_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without ipywidgets has a bar of text, without the warning of tqdm."""
    kernel = types.SimpleNamespace(kernel=object(), config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.delitem(sys.modules, "tqdm.auto", raising=False)
    monkeypatch.delitem(sys.modules, "tqdm.autonotebook", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = bar(True, total=1)
    assert not shown.disable
    shown.close()
    assert bar(False, total=1).disable


@pytest.mark.parametrize(("n", "reactions"), [(5, 2e7), (20_000, 1e8)])
def test_ensembles_tell(monkeypatch: pytest.MonkeyPatch, n: int, reactions: float) -> None:
    shown = terminal(monkeypatch)
    network = sg.ReactionNetwork([[1]], lambda x, _: jnp.full(1, reactions / n), x0=[0])
    sg.simulate(network, [1.0], n=n, progress=True)
    shares = [int(share) for share in re.findall(r"(\d+)%", shown.getvalue())]
    assert shares
    assert shares == sorted(shares)
    assert any(0 < share < 100 for share in shares)  # within the one chunk of 5, too


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, r"\rprofile: evaluation 1, 00:00, loss 3\r?"),
        ({"total": 4}, r"\rprofile:  25%\|.*\| evaluation 1 of 4, 00:00, 00:00 left, loss 3\r?"),
        ({"iterable": [1, 2]}, r"\rprofile:  50%\|.*\| evaluation 1 of 2, 00:00, 00:00 left, loss 3\r?"),
    ],
)
def test_what_is_counted_is_said_in_words(monkeypatch: pytest.MonkeyPatch, options: dict, line: str) -> None:
    shown = terminal(monkeypatch)
    with bar(True, desc="profile", unit="evaluation", mininterval=0, **options) as counted:
        counted.set_postfix_str("loss 3", refresh=False)
        counted.update()
        said = shown.getvalue()
    assert re.search(line, said)
