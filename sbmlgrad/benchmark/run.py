"""The benchmark: events per second of simulation and gradient, ours and others', from SBML files."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
import pandas as pd

from sbmlgrad.about import __version__
from sbmlgrad.benchmark.against import compared, read_record
from sbmlgrad.benchmark.peers import PEERS
from sbmlgrad.cores import cores
from sbmlgrad.errors import SbmlgradError
from sbmlgrad.files import write_text
from sbmlgrad.gradient.catalogue import named_estimator
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.model.model import Model
from sbmlgrad.network.compiled import use_nothing_kept
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.simulation.prepare import discretised
from sbmlgrad.simulation.simulate import simulate

DEFAULT_MODELS = ("dimerisation", "vilar_oscillator", "repressilator")
EVENTS = 394  # per trajectory: the run ends where a trajectory has taken about as many
_TRAJECTORIES = 10_000
_REPEATS = 5


@dataclass(frozen=True)
class Result:
    """One line of the table; ``ratio`` is our speed in the same task over this one's."""

    model: str
    task: str  # "simulate" or "gradient"
    tool: str
    version: str
    trajectories: int
    events_per_trajectory: float
    seconds: float
    million_events_per_second: float
    ratio: float


def run_benchmark(
    models: Sequence[str] = (),
    peers: bool = False,
    output: str | os.PathLike[str] | None = None,
    trajectories: int = _TRAJECTORIES,
    say: Callable[[str], None] = print,
    against: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Measure models (files; by default three from ``models/``), print a table and write it as JSON.

    Where it is to be compared ``against`` an earlier one, as it was written, speeds and ratios stand beside those.

    Every run goes from 0 to a time at which a trajectory has taken about ``EVENTS`` events, and is observed there.
    Compilation is left out, except in ``first call``: read, generate, compile and simulate 1,000 trajectories.
    The gradient is of all species' means by all parameters that matter: its cost is that of the forward run times
    ``forward / gradient``.
    """
    earlier = None if against is None else read_record(against)
    use_nothing_kept()
    rows: list[Result] = []
    facts = _facts(trajectories, " ".join(["sbmlgrad benchmark", *models, *["--peers"] * peers]))
    say(", ".join(f"{key} {value}" for key, value in facts.items()))
    for path in models or _default_models():
        say(f"\n{path}")
        for row in _measure_model(str(path), trajectories, peers):
            rows.append(row)
            say(_line(row))
    table = pd.DataFrame([asdict(row) for row in rows])
    if earlier is not None:
        for line in compared(earlier, facts, table):
            say(line)
    if output is not None:
        write_text(output, json.dumps({"facts": facts, "results": [asdict(row) for row in rows]}, indent=2) + "\n")
    return table


def _default_models() -> Iterable[str]:
    paths = [Path("models") / name / "model.xml" for name in DEFAULT_MODELS]
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise SbmlgradError(f"{absent[0]}: no such file here; name the models to measure")
    return [str(path) for path in paths]


def _measure_model(path: str, trajectories: int, peers: bool) -> Iterator[Result]:
    name = Path(path).parent.name if Path(path).stem == "model" else Path(path).stem

    def result(task: str, tool: str, made_by: str, n: int, seconds: float, ours: float) -> Result:
        speed = n * events / seconds / 1e6
        return Result(name, task, tool, made_by, n, events, seconds, speed, ours / speed if ours else 1.0)

    model = read_sbml(path)
    end, events = _end(model)
    first = _first_call(path, end)
    own = __version__
    seconds = _timed(lambda seed: simulate(model, [0.0, end], n=trajectories, seed=seed, keep_counts=False))
    forward = result("simulate", "sbmlgrad", own, trajectories, seconds, 0.0)
    yield Result(name, "first call", "sbmlgrad", own, 1000, events, first, 1000 * events / first / 1e6, 1.0)
    yield forward
    gradients = list(_gradients(model, end, trajectories))
    best = 0.0
    for tool, seconds in gradients:
        row = result("gradient", tool, own, trajectories, seconds, 0.0)
        best = best or row.million_events_per_second
        yield row
    if peers:
        yield from _measure_peers(path, end, trajectories, forward.million_events_per_second, best, result)


def _measure_peers(
    path: str, end: float, trajectories: int, forward: float, gradient: float, result: Callable[..., Result]
) -> Iterator[Result]:
    for peer in PEERS:
        reason = peer.available()
        if reason is not None:
            print(f"  {peer.name}: skipped, {reason}")
            continue
        try:
            run = peer.run(path, end, 2, trajectories, 1)
        except Exception as error:  # a peer's failure is a result, whatever it raises
            print(f"  {peer.name}: failed, {type(error).__name__}: {str(error)[:80]!r}")
            continue
        task, ours = ("gradient", gradient) if run.gradient else ("simulate", forward)
        yield result(task, run.name, run.version, run.trajectories, run.seconds, ours)


def _end(model: Model) -> tuple[float, float]:
    """A time, and the mean number of events up to it, near ``EVENTS``."""
    network = discretised(model).network
    assert network.rates is not None
    rates = network.rates(tuple(np.array([c]) for c in network.x0), network.coefficients)
    low, high = 0.0, 10.0 / max(float(sum(np.sum(a) for a in rates)), 1e-9)
    while _events(model, high) < EVENTS:
        low, high = high, 2 * high
    for _ in range(8):  # events need not grow in proportion to time, so the interval is halved
        middle = (low + high) / 2
        low, high = (middle, high) if _events(model, middle) < EVENTS else (low, middle)
    end = float(f"{high:.3g}")
    return end, _events(model, end, 10_000)


def _events(model: Model, end: float, n: int = 256) -> float:
    """Mean number of events of a trajectory."""
    return simulate(model, [end], n=n, seed=1, keep_counts=False).events / n


def _first_call(path: str, end: float) -> float:
    """Seconds to read, generate, compile and run 1,000 trajectories, JAX itself being imported."""
    begun = time.perf_counter()
    simulate(read_sbml(path), [0.0, end], n=1000, seed=1)
    return time.perf_counter() - begun


def _gradients(model: Model, end: float, trajectories: int) -> Iterator[tuple[str, float]]:
    """Seconds for the derivatives of all means by all parameters, for each estimator."""
    discrete = discretised(model)
    used = [name for name in discrete.quantities if name in _rate_parameters(model)]
    target = differentiable(discrete, used)
    values = [discrete.quantities[name] for name in used]
    for name in ("score", "controlled_score", "straight_through"):
        if name != "score" and len(used) > 4:
            continue  # their cost grows with parameters times species
        chosen = named_estimator(name)

        def sample(seed: int) -> Any:
            return chosen.estimate(target, Task(values, np.array([end]), trajectories, seed))  # noqa: B023

        yield f"sbmlgrad {name}, {len(used)} parameters", _timed(sample)


def _rate_parameters(model: Model) -> set[str]:
    """Parameters (global and local) that kinetic laws use."""
    laws = [reaction.kinetic_law for reaction in model.elements.reactions.values()]
    names = {item.name for law in laws for item in law.free_symbols}
    local = {p.id for reaction in model.elements.reactions.values() for p in reaction.local_parameters}
    return names & ({*model.elements.parameters} | local)


def _timed(sample: Callable[[int], Any]) -> float:
    """The median time of a sample, after one that compiles."""
    sample(0)
    seconds = []
    for seed in range(1, _REPEATS + 1):
        begun = time.perf_counter()
        sample(seed)
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


def _line(row: Result) -> str:
    ratio = "" if row.tool.startswith("sbmlgrad") else f"   ours is {row.ratio:8.1f} x"
    return (
        f"  {row.task:10s} {row.tool:42s} {row.version:9s} {row.trajectories:7d} trajectories {row.seconds:9.3f} s "
        f"{row.million_events_per_second:9.2f} M events/s{ratio}"
    )


def _facts(trajectories: int, command: str) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "sbmlgrad": __version__,
        "jax": version("jax"),
        "device": jax.devices()[0].device_kind,
        "processor": _processor(),
        "cores": str(cores()),
        "python": platform.python_version(),
        "trajectories": str(trajectories),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
