"""Shares: whole grains, all of them once, in order, on all devices, and the same bits wherever they are simulated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner

from sbmlgrad.cli import main
from sbmlgrad.simulation import processes, shares
from sbmlgrad.simulation.shares import GRAIN, Span, Stop


@pytest.mark.parametrize("of", [1, 2, 4, 7])
@pytest.mark.parametrize("n", [1, 256, 257, 2500, 100_003])
def test_all_trajectories_are_somebodys(monkeypatch: pytest.MonkeyPatch, n: int, of: int) -> None:
    """Rounds of all processes, one after the other, are the ensemble; only its last chunk may be no whole grain."""
    monkeypatch.setattr(processes, "count", lambda: of)
    monkeypatch.setattr(shares, "_PIECE_BYTES", 8 * 100 * 20 * GRAIN)  # some rounds of 20 grains
    own = []
    for process in range(of):
        monkeypatch.setattr(processes, "index", lambda process=process: process)
        own.append(shares.own_spans(n, 2 * GRAIN, 100))
    assert len({len(pieces) for pieces in own}) == 1
    spans = [span for pieces in zip(*own, strict=True) for span in chain(*pieces)]
    assert spans[0].first == 0
    assert [first + size for first, size in spans] == [*(span.first for span in spans[1:]), n]
    assert all(span.first % GRAIN == 0 for span in spans)
    taken = [sum(span.size for span in chain(*pieces)) for pieces in own]
    assert max(taken) - min(taken) < GRAIN * (len(own[0]) + 1)


@pytest.mark.parametrize(("of", "grains"), [(2, 4), (3, 3), (4, 7)])
def test_whoever_may_have_a_grain_has_one_in_every_piece(monkeypatch: pytest.MonkeyPatch, of: int, grains: int) -> None:
    """However much a trajectory writes down."""
    monkeypatch.setattr(processes, "count", lambda: of)
    for process in range(of):
        monkeypatch.setattr(processes, "index", lambda process=process: process)
        assert all(shares.own_spans(grains * GRAIN, GRAIN, 1 << 20))


def test_a_process_without_a_grain_begins_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives results may have to agree with other processes before its first one."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "index", lambda: 1)
    monkeypatch.setattr(processes, "shared", lambda results: results)
    begun = []

    def made() -> Generator[int]:
        begun.append(True)
        yield from ()

    assert list(shares.gathered(made(), shares.own_spans(GRAIN, GRAIN, 1))) == []
    assert begun == [True]


def test_results_come_in_order_and_an_error_ends_it() -> None:
    spans = [[Span(first, 10) for first in range(0, 100, 10)]]
    assert list(shares.in_order(lambda span, _: span.first, spans, 3)) == list(range(0, 100, 10))
    stops: list[Stop] = []

    def fail(span: Span, stop: Stop) -> int:
        stops.append(stop)
        if span.first == 30:
            raise ValueError(str(span.first))
        return span.first

    results: Iterator[int] = shares.in_order(fail, spans, 2)
    assert [next(results) for _ in range(3)] == [0, 10, 20]
    with pytest.raises(ValueError, match="30"):
        next(results)
    assert all(stop.asked for stop in stops)


ON_EIGHT = """
import sys
import sbmlgrad
from sbmlgrad.cli import main
from sbmlgrad.simulation import shares

used, made_at = set(), shares._made_at

def spy(make, stop, span, device):
    def watched(span, stop):
        used.add(shares.device_in_use().id)
        return make(span, stop)
    return made_at(watched, stop, span, device)

shares._made_at = spy
main(sys.argv[1:], standalone_mode=False)
print("devices", *sorted(used))
"""


def test_eight_devices_write_what_one_does_byte_for_byte(models_dir: Path, tmp_path: Path) -> None:
    """Eight CPU devices of XLA, which stand for so many GPUs: each simulates two of sixteen grains."""
    one, eight = tmp_path / "one.csv", tmp_path / "eight.csv"
    command = ["simulate", str(models_dir / "dimerisation" / "model.xml"), "--end", "2", "--points", "5", "-n", "4000"]
    outcome = CliRunner().invoke(main, [*command, "-o", str(one)])
    assert outcome.exit_code == 0, outcome.output
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-c", ON_EIGHT, *command, "-o", str(eight)],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "devices 0 1 2 3 4 5 6 7"
    assert eight.read_bytes() == one.read_bytes()
