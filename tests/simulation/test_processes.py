"""Processes that share ensembles: the same bits as one, and one clear line where they cannot go on."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from sbmlgrad.cli import main
from sbmlgrad.errors import ProcessError, TruncationError
from sbmlgrad.simulation import connections, processes, shares
from sbmlgrad.simulation.connections import Answer, Hub, Place, Spoke
from sbmlgrad.simulation.ensemble import Chunk


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def reach(port: int) -> socket.socket:
    """A connection to who is about to listen."""
    while True:
        try:
            return socket.create_connection(("localhost", port))
        except ConnectionRefusedError:
            continue


def meet(of: int) -> list[Hub | Spoke]:
    """The ends of connections between so many processes, which are threads here."""
    port = free_port()
    ways: list[Callable[[Place], Hub | Spoke]] = [Hub.meet, *[Spoke.meet] * (of - 1)]
    with ThreadPoolExecutor(of) as pool:
        places = [Place("localhost", port, of, process) for process in range(of)]
        return [
            future.result(60) for future in [pool.submit(way, place) for way, place in zip(ways, places, strict=True)]
        ]


def say(groups: Sequence[Hub | Spoke], answers: Sequence[Answer]) -> list[list[Answer]]:
    with ThreadPoolExecutor(len(groups)) as pool:
        futures = [pool.submit(group.exchange, answer) for group, answer in zip(groups, answers, strict=True)]
        return [future.result(60) for future in futures]


def hang_up(group: Hub | Spoke) -> None:
    """What the system does when a process dies."""
    for connection in group.others if isinstance(group, Hub) else [group.first]:
        connection.close()


# ---- what they tell each other -------------------------------------------------------------------------


def test_all_hear_all_in_order() -> None:
    groups = meet(3)
    assert [group.hosts for group in groups] == [[socket.gethostname()] * 3] * 3
    for size in (3, 1_000_000):  # beyond what a socket takes at once
        own = [Answer([Chunk(process, (np.full((2, size), float(process)),), 5)]) for process in range(3)]
        for heard in say(groups, own):
            chunks = [answer.results[0] for answer in heard]
            assert [chunk.first for chunk in chunks] == [0, 1, 2]
            for chunk in chunks:
                np.testing.assert_array_equal(chunk.records[0], np.full((2, size), float(chunk.first)))
    for group in groups:
        group.check()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_who_dies_ends_it_for_all_others(victim: int) -> None:
    groups = meet(3)
    hang_up(groups[victim])
    left = [group for group in groups if group.process != victim]
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(group.exchange, Answer([])) for group in left]:
            with pytest.raises(ProcessError, match=f"process {victim} of 3 .* has ended before its work was done"):
                future.result(60)


def test_a_death_is_seen_between_chunks() -> None:
    groups = meet(2)
    groups[0].check()
    hang_up(groups[1])
    with pytest.raises(ProcessError, match="process 1 of 2"):
        groups[0].check()


def test_an_error_is_raised_by_all_and_said_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 0 here; process 1 has a trajectory that explodes."""
    groups = meet(2)
    monkeypatch.setattr(processes, "_group", groups[0])
    exploded = TruncationError("trajectory 300: too many", "raise max_events", "raise --max-events")
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(groups[1].exchange, Answer((), *processes._told(exploded)))
        results = processes.shared(iter(["of grain 0"]))
        assert next(results) == "of grain 0"
        with pytest.raises(TruncationError, match=r"trajectory 300: too many; raise max_events") as error:
            next(results)
        assert len(other.result(60)) == 2
    assert error.value.is_shared
    assert error.value.on_command_line().endswith("raise --max-events")


def test_what_comes_cannot_run() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, ("true",)

    for bomb in (Bomb(), [np.array([Bomb()], object)]):
        with pytest.raises(ProcessError, match="cannot be read"):
            connections._read(pickle.dumps(bomb))
    # neither what a module of this package has imported, nor what it does
    for name in ("connections\nos.system", "connections\n_listener", "connections\nsocket"):
        with pytest.raises(ProcessError, match="cannot be read"):
            connections._read(f"csbmlgrad.simulation.{name}\n.".encode())


def test_strangers_are_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 1.0)
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Hub.meet, Place("localhost", port, 2, 0))
        with reach(port) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ProcessError, match="process 1 of 2 did not come within 1 s"):
            waiting.result(60)


def test_all_are_to_be_started_alike() -> None:
    port = free_port()
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(Hub.meet, Place("localhost", port, 2, 0))
        other = pool.submit(Spoke.meet, Place("localhost", port, 3, 1))
        with pytest.raises(ProcessError, match="process 1 of 3 .* came to 2 processes .* start all of them alike"):
            waiting.result(60)
        with pytest.raises(ProcessError, match="process 1 of 3 .* came to 2 processes"):
            other.result(60)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    port = free_port()
    with pytest.raises(ProcessError, match=f"process 1 cannot reach process 0 at localhost:{port}"):
        Spoke.meet(Place("localhost", port, 2, 1))
    with socket.create_server(("", port)), pytest.raises(ProcessError, match=f"cannot listen at port {port}"):
        Hub.meet(Place("localhost", port, 2, 0))


# ---- who is who ----------------------------------------------------------------------------------------

SLURM = {
    "SLURM_JOB_ID": "1000",
    "SLURM_STEP_NODELIST": "node[007-012]",
    "SLURM_NTASKS": "24",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}
OWN = {"JAX_COORDINATOR_ADDRESS": "[::1]:4000", "JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "2"}


@pytest.mark.parametrize(
    ("variables", "expected"), [(SLURM, Place("node007", 62440, 24, 5)), (OWN, Place("::1", 4000, 3, 2))]
)
def test_who_is_who(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], expected: Place) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert processes._place(None, None, None) == expected
    assert processes._place("here:1", 2, 1) == Place("here", 1, 2, 1)


@pytest.mark.parametrize(
    ("variables", "wrong"),
    [
        ({}, "neither Slurm, Open MPI nor Kubernetes has started this one; set JAX_COORDINATOR_ADDRESS"),
        ({**OWN, "JAX_PROCESS_ID": "3"}, "process 3 of 3"),
        ({**OWN, "JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES: expected a whole number, got 'two'"),
        ({**OWN, "JAX_COORDINATOR_ADDRESS": "here"}, "host:port, got 'here'"),
    ],
)
def test_who_is_not_clear(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], wrong: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ProcessError, match=wrong.replace("(", r"\(")):
        processes._place(None, None, None)


def test_fewer_grains_than_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 4)
    shares.check_enough(769)
    with pytest.raises(ProcessError, match="768 trajectories are 3 grains of 256, fewer than the 4 processes.*769"):
        shares.check_enough(768)


# ---- whole runs ----------------------------------------------------------------------------------------


def start(port: int, of: int, process: int, *arguments: str) -> subprocess.Popen[str]:
    variables = {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": str(of),
        "JAX_PROCESS_ID": str(process),
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


SIMULATE = ("simulate", "--end", "2", "--points", "3", "-n", "2500")
SENSITIVITY = ("sensitivity", "--end", "2", "--points", "3", "-n", "3000", "-p", "k1")


@pytest.mark.parametrize("command", [SIMULATE, pytest.param(SENSITIVITY, marks=pytest.mark.slow)])
def test_four_processes_write_what_one_does_byte_for_byte(
    models_dir: Path, tmp_path: Path, command: Sequence[str]
) -> None:
    arguments = [command[0], str(models_dir / "dimerisation" / "model.xml"), *command[1:]]
    one, four = tmp_path / "one.csv", tmp_path / "four.csv"
    outcome = CliRunner().invoke(main, [*arguments, "-o", str(one)])
    assert outcome.exit_code == 0, outcome.output
    port, own = free_port(), ["-m", "sbmlgrad", *arguments, "--distributed"]
    others = [start(port, 4, process, *own, "-o", str(tmp_path / "not.csv")) for process in (1, 2, 3)]
    every = [start(port, 4, 0, *own, "-o", str(four)), *others]
    said = [process.communicate(timeout=300) for process in every]
    assert [process.returncode for process in every] == [0, 0, 0, 0], said
    assert said[1:] == [("", "")] * 3
    assert four.read_bytes() == one.read_bytes()
    assert not (tmp_path / "not.csv").exists()


DIES = "import os, signal, sbmlgrad as sg; sg.distribute(); os.kill(os.getpid(), signal.SIGKILL)"


def test_a_process_that_is_killed_ends_the_run(models_dir: Path, tmp_path: Path) -> None:
    port, output = free_port(), tmp_path / "not.csv"
    command = [*SIMULATE, str(models_dir / "dimerisation" / "model.xml"), "--distributed", "-o", str(output)]
    first, second = start(port, 2, 0, "-m", "sbmlgrad", *command), start(port, 2, 1, "-c", DIES)
    said = first.communicate(timeout=300)[1].splitlines()
    assert second.wait(timeout=60) == -signal.SIGKILL
    second.communicate()
    assert first.returncode == 1
    assert [line for line in said if line.startswith("error: process 1 of 2 (on ")] == said
    assert len(said) == 1
    assert not output.exists()


def test_rate_equations_are_not_shared(models_dir: Path) -> None:
    command = [*SIMULATE, str(models_dir / "dimerisation" / "model.xml"), "--distributed", "--method", "ode"]
    outcome = CliRunner().invoke(main, command)
    assert outcome.exit_code == 2
    assert "rate equations have none" in outcome.output
