"""What this package does on a GPU: right or not, how fast, and how far from the limit, in five minutes.

    python benchmarks/on_gpu.py -o benchmarks/results/DATE-gpu.json

needs one GPU, the package's own requirements, and nothing else; with cupy it also measures a CUDA kernel written by
hand, and with stochastix or jsmfsb installed those. Each part stands by itself: one that fails says why, and the file
is written after each. ``--small`` makes everything short enough to be tried on a CPU.

Trajectories are held against those of the loop for CPUs, which runs in a process of its own meanwhile. "z" are
differences in standard errors: of means and variances of other trajectories than the CPU's, from the CPU's and from
finite state projection where states are few. Speeds are the best of five (of derivatives: of two), without
compilation; "kernel" is the time of the compiled loop alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cuda_limit
import jax
import numpy as np

import sbmlgrad as sg
from sbmlgrad.benchmark.peers import PEERS
from sbmlgrad.errors import SbmlgradError
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.exact import Exact
from sbmlgrad.gradient.observables import Moment
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.simulation import ensemble as loops
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.prepare import discretised, prepare
from sbmlgrad.simulation.random import streams

MODELS = Path(__file__).resolve().parents[1] / "models"
HORIZONS = {  # times at which models are compared, in their own units
    "birth_death": (1.0, 10.0),
    "dimerisation": (1.0, 10.0),
    "lotka_volterra": (0.01, 0.05),
    "michaelis_menten": (1.0, 10.0),
    "repressilator": (0.05, 0.2),
    "schlogl": (0.1, 0.5),
    "sir_influenza": (1.0, 5.0),
    "telegraph": (1.0, 10.0),
    "toggle_switch": (0.1, 0.5),
    "vilar_oscillator": (0.1, 0.5),
}
RUNS = {  # time of observation and trajectories, for speed
    "dimerisation": (50.0, 1 << 20),
    "vilar_oscillator": (5.0, 1 << 16),
    "repressilator": (5.0, 1 << 16),
    "schlogl": (0.5, 1 << 18),
    "toggle_switch": (0.5, 1 << 18),
}
GRADIENTS: dict[str, tuple[Any, ...]] = {  # time of observation, and what is differentiated by
    "dimerisation": (10.0, "c1", "c2"),
    "birth_death": (10.0, "k", "g"),
    "toggle_switch": (0.5, "alpha_1", "alpha_2"),
}
SEED, OTHER_SEED = 11, 12
_MOVES = 100  # of all trajectories together, that moments need


@dataclass
class Run:
    """What is asked for, and what has been measured."""

    small: bool
    output: Path | None
    seconds: float
    facts: dict[str, Any]
    parts: dict[str, Any] = field(default_factory=dict)
    reference: Path | None = None
    child: subprocess.Popen[bytes] | None = None
    begun: float = field(default_factory=time.perf_counter)

    @property
    def repeats(self) -> int:
        """How often a speed is measured."""
        return 2 if self.small else 5

    def size(self, n: int) -> int:
        """So many trajectories, or a few."""
        return min(n, 512) if self.small else n

    def models(self, names: Sequence[str]) -> list[str]:
        """These models, or the first two."""
        return list(names)[:2] if self.small else list(names)

    def write(self) -> None:
        """What there is so far."""
        if self.output is not None:
            text = json.dumps({"facts": self.facts, "parts": self.parts}, indent=1, default=float)
            self.output.write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts, print a line a row, and say whether all trajectories were right."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Correctness and speed on a GPU.")
    parser.add_argument("-o", "--output", type=Path, help="JSON file, written after each part")
    parser.add_argument("--small", action="store_true", help="few trajectories of few models")
    parser.add_argument("--seconds", type=float, default=300.0, help="in all")
    parser.add_argument("--reference", type=Path, help="only write the CPU's trajectories into this folder")
    options = parser.parse_args(given)
    run = Run(options.small, options.output, options.seconds, {})
    if options.reference is not None:
        leave_cores()
        write_reference(run, options.reference)
        return 0
    run.facts = facts(given)
    print(", ".join(f"{key} {value}" for key, value in run.facts.items()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run.reference = Path(folder)
        begin_reference(run)
        try:
            for name, part, limit in PARTS:
                do(run, name, part, limit)
        finally:
            if run.child is not None:
                run.child.kill()
                run.child.wait()
    run.facts["seconds"] = round(time.perf_counter() - run.begun, 1)
    run.write()
    rows = run.parts.get("correctness", {}).get("rows", [])
    return 0 if rows and all(row["right"] for row in rows) else 1


def do(run: Run, name: str, part: Callable[[Run], Iterator[dict[str, Any]]], limit: float) -> None:
    """One part within its time: its rows, and why it ended early if it did."""
    left = run.seconds - (time.perf_counter() - run.begun)
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {"rows": rows}
    run.parts[name] = result
    print(f"\n{name}", flush=True)
    begun = time.perf_counter()
    try:
        with time_limit(min(limit, left)):
            for row in part(run):
                rows.append(row)
                print("  " + ", ".join(f"{k} {_short(v)}" for k, v in row.items()), flush=True)
    except Exception as error:  # of any kind: the other parts are to run
        result["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
        print(f"  {result['failed']}", flush=True)
    result["seconds"] = round(time.perf_counter() - begun, 1)
    run.write()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after so many seconds."""

    def ring(*_: Any) -> None:
        raise TimeoutError("out of time")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def facts(given: Sequence[str]) -> dict[str, Any]:
    """Card, driver, versions, date, and the command without folders."""
    device = jax.devices()[0]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python benchmarks/on_gpu.py", *(Path(word).name for word in given)]),
        "platform": device.platform,
        "card": device.device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "sbmlgrad": sg.__version__,
    }
    for package in ("jax", "jaxlib", "numpy", "cupy", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            continue
    query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,memory.total", "--format=csv,noheader"]
    if device.platform == "gpu":
        try:
            result["nvidia-smi"] = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            result["nvidia-smi"] = f"failed: {type(error).__name__}"
    return result


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def read(name: str) -> sg.Model:
    """A model of `models/`."""
    return sg.read_sbml(MODELS / name / "model.xml")


# ---- correctness -----------------------------------------------------------------------------------------------


def begin_reference(run: Run) -> None:
    """Simulate on the CPU, beside what is measured on the GPU; here and now where there is none."""
    assert run.reference is not None
    if jax.default_backend() == "cpu":
        write_reference(run, run.reference)
        return
    command = [sys.executable, __file__, "--reference", str(run.reference), *(["--small"] if run.small else [])]
    run.child = subprocess.Popen(command, env={**os.environ, "JAX_PLATFORMS": "cpu"})


def leave_cores() -> None:
    """Stay away from some cores, on which meanwhile speed is measured."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= 8:
        os.sched_setaffinity(0, cores[4:])


def write_reference(run: Run, folder: Path) -> None:
    """Counts of each model by the loop for CPUs, and exact means and variances where states are few."""
    for name in run.models(list(HORIZONS)):
        model, times = read(name), np.array(HORIZONS[name])
        counts = sg.simulate(model, times, n=run.size(20_000), seed=SEED, keep_counts=True).counts
        mean, variance = exact_moments(model, times)
        part = folder / f"{name}.part.npz"
        np.savez(part, counts=counts, mean=mean, variance=variance)
        part.rename(folder / f"{name}.npz")  # whole, once it is there


def exact_moments(model: sg.Model, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances (times, species) by finite state projection; nan where there are many states."""
    discrete = discretised(model)
    species = [name for name in discrete.network.species if name in discrete.observables]
    none = np.full((len(times), len(discrete.network.species)), np.nan)
    if len(species) < len(discrete.network.species):
        return none, none
    problem = differentiable(
        discrete, [next(iter(discrete.quantities))], [Moment(s) for s in species] + [Moment(s, s) for s in species]
    )
    values = [discrete.quantities[name] for name in problem.parameters]
    try:
        estimate = Exact(tolerance=1e-10, limit=5_000).estimate(problem, Task(values, times, 1, 0))
    except SbmlgradError:
        return none, none
    first, second = np.split(np.asarray(estimate.values), 2)
    return first.T, (second - first**2).T


def correctness(run: Run) -> Iterator[dict[str, Any]]:
    """Each model: the share of trajectories with the CPU's bits, and z of moments of other trajectories."""
    assert run.reference is not None
    for name in run.models(list(HORIZONS)):
        model, times = read(name), np.array(HORIZONS[name])
        path = run.reference / f"{name}.npz"
        while not path.exists():
            if run.child is not None and run.child.poll() is not None:
                raise RuntimeError(f"the CPU's process ended with {run.child.returncode} before {name}")
            time.sleep(0.05)
        with np.load(path) as stored:
            expected, mean, variance = stored["counts"], stored["mean"], stored["variance"]
        again = sg.simulate(model, times, n=len(expected), seed=SEED, keep_counts=True).counts
        others = sg.simulate(model, times, n=run.size(200_000), seed=OTHER_SEED, keep_counts=True).counts
        of_cpu = largest_z(others, expected.mean(axis=0), expected.var(axis=0), len(expected))
        of_exact = largest_z(others, mean, variance, None)
        yield {
            "model": name,
            "n": len(others),
            "bit-equal share": float(np.mean(np.all(again == expected, axis=(1, 2)))),
            "z from the CPU": of_cpu,
            "z from exact": of_exact,
            "right": bool(of_cpu < 5 and not of_exact >= 5),  # nan where there is no exact value
        }


def largest_z(counts: np.ndarray, mean: np.ndarray, variance: np.ndarray, of: int | None) -> float:
    """The largest difference of means and variances, in standard errors, from those ``of`` so many trajectories.

    Species that next to no trajectory sees move are left out: their moments are far from normal.
    """
    n = len(counts)
    own, spread = counts.mean(axis=0), counts.var(axis=0)
    fourth = np.mean((counts - own) ** 4, axis=0)
    share = 1 / n + (1 / of if of else 0.0)
    errors = np.sqrt(np.stack([spread, np.maximum(fourth - spread**2, 0.0)]) * share)
    differences = np.abs(np.stack([own - mean, spread - variance]))
    seldom = np.maximum(spread, variance) * min(n, of or n) < _MOVES
    differences = np.where(seldom, np.nan, differences)
    return float("nan") if np.all(np.isnan(differences)) else float(np.nanmax(differences / np.maximum(errors, 1e-9)))


# ---- speed ------------------------------------------------------------------------------------------------------


def best(call: Callable[[int], Any], repeats: int) -> tuple[float, float, Any]:
    """Shortest seconds, those of the first call, which compiles, and the last result."""
    seconds = []
    for seed in range(repeats + 1):
        begun = time.perf_counter()
        result = call(seed)
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:]), seconds[0], result


@contextmanager
def plain_loop() -> Iterator[None]:
    """Within it the loop is the one that XLA compiles."""
    chosen = loops._in_registers
    setattr(loops, "_in_registers", lambda ensemble: False)  # noqa: B010 - a function of the module, for a while
    try:
        yield
    finally:
        setattr(loops, "_in_registers", chosen)  # noqa: B010


def kernel_seconds(run: Run, model: sg.Model, times: np.ndarray, n: int) -> tuple[float, int, bool]:
    """Shortest seconds of the compiled loop alone, its trajectories, and whether it is the register kernel."""
    prepared = prepare(model)
    ensemble = Ensemble(prepared.network, prepared.counts, prepared.coefficients, times, n, SEED)
    registers = loops._register_kernel(ensemble)
    _, kernel = registers or loops._plain_kernel(ensemble)
    count, seconds = min(n, kernel.batch_size), []
    if len(times) > kernel.times:
        raise ValueError("more times than one call of the loop handles")
    fixed = (times, prepared.coefficients, (), streams(SEED), np.uint32(0), np.int64(1 << 30), np.float32(1.0))
    for _ in range(run.repeats + 1):
        state = kernel.start([float(c) for c in prepared.counts], prepared.coefficients, (), streams(SEED), 0, 0.0)
        state = jax.block_until_ready(state._replace(position=kernel.begin(count)))
        begun = time.perf_counter()
        jax.block_until_ready(kernel.advance(state, *fixed))
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:]), count, registers is not None


def speed_row(run: Run, name: str, times: np.ndarray, n: int, plain: bool = True) -> dict[str, Any]:
    """Firings a second of :func:`sbmlgrad.simulate`, of its kernel alone, and of the loop that XLA compiles."""
    model = read(name)

    def simulate(seed: int) -> sg.Simulation:
        return sg.simulate(model, times, n=n, seed=seed, keep_counts=False)

    seconds, first, result = best(simulate, run.repeats)
    row = {
        "model": name,
        "n": n,
        "times": len(times),
        "firings": result.events,
        "seconds": seconds,
        "first": first,
        "G firings/s": result.events / seconds / 1e9,
    }
    if len(times) <= loops._SEGMENT:
        kernel, count, registers = kernel_seconds(run, model, times, n)
        row["kernel"] = kernel * n / count
        row["registers"] = registers
        row["kernel G firings/s"] = result.events / row["kernel"] / 1e9
    if plain and row.get("registers", True):
        with plain_loop():
            seconds, _, _ = best(simulate, run.repeats)
        row["XLA loop seconds"] = seconds
        row["XLA loop G firings/s"] = result.events / seconds / 1e9
    return row


def throughput(run: Run) -> Iterator[dict[str, Any]]:
    """A call for next to nothing, and five models with one observation time."""
    yield speed_row(run, "dimerisation", np.array([0.001]), 256)
    for name in run.models(list(RUNS)):
        end, n = RUNS[name]
        yield speed_row(run, name, np.array([end / 50 if run.small else end]), run.size(n))


def many(run: Run) -> Iterator[dict[str, Any]]:
    """Many trajectories, at two horizons."""
    for end in (50.0, 500.0):
        yield speed_row(run, "dimerisation", np.array([end / 500 if run.small else end]), run.size(10_000_000), False)


def observations(run: Run) -> Iterator[dict[str, Any]]:
    """20 and 100 observation times."""
    for times in (20, 100):
        end = 1.0 if run.small else 50.0
        yield speed_row(run, "dimerisation", np.linspace(end / times, end, times), run.size(1 << 20))


def limit(run: Run) -> Iterator[dict[str, Any]]:
    """The loop written by hand in CUDA."""
    if find_spec("cupy") is None:
        yield {"skipped": "cupy is not installed"}
        return
    if jax.default_backend() != "gpu":
        yield {"skipped": "there is no GPU"}
        return
    for times in (1, 20, 100):
        n = run.size(1 << 20)
        row = cuda_limit.measure(np.linspace(50.0 / times, 50.0, times), n, run.repeats)
        yield {
            "model": "dimerisation",
            "n": n,
            "times": times,
            **row,
            "G firings/s": row["events"] / row["seconds"] / 1e9,
        }


def gradients(run: Run) -> Iterator[dict[str, Any]]:
    """Derivatives of all means by two parameters, beside the same ensemble without them."""
    for name in run.models(list(GRADIENTS)):
        end, *parameters = GRADIENTS[name]
        yield from gradient_rows(run, name, [end / 10 if run.small else end], parameters)


def gradient_rows(run: Run, name: str, times: list[float], parameters: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each of two estimators."""
    model, n = read(name), run.size(1 << 18)
    forward, _, result = best(lambda seed: sg.simulate(model, times, n=n, seed=seed, keep_counts=False), run.repeats)
    for estimator in ("score", "auto"):
        differentiate = partial(sg.sensitivity, model, times, parameters, n=n, estimator=estimator)
        seconds, first, _ = best(lambda seed: differentiate(seed=seed), 2)  # noqa: B023 - called at once
        yield {
            "model": name,
            "estimator": estimator,
            "parameters": len(parameters),
            "n": n,
            "firings": result.events,
            "seconds": seconds,
            "first": first,
            "G firings/s": result.events / seconds / 1e9,
            "forward": forward,
            "ratio": seconds / forward,
        }


def peers(run: Run) -> Iterator[dict[str, Any]]:
    """Other simulators in JAX, where they are installed."""
    path, (end, n) = MODELS / "dimerisation" / "model.xml", RUNS["dimerisation"]
    for peer in PEERS:
        if not peer.name.startswith(("stochastix", "jsmfsb")):
            continue
        if reason := peer.available():
            yield {"peer": peer.name, "skipped": reason}
            continue
        measured = peer.run(path, end / 50 if run.small else end, 2, run.size(n), SEED)
        yield {"peer": peer.name, "version": measured.version, "n": measured.trajectories, "seconds": measured.seconds}
    installed = find_spec("crn_jax") is not None
    yield {"peer": "crn-jax", "skipped": "is not measured yet" if installed else "is not installed"}


PARTS: tuple[tuple[str, Callable[[Run], Iterator[dict[str, Any]]], float], ...] = (
    ("throughput", throughput, 75),
    ("many trajectories", many, 30),
    ("observation times", observations, 30),
    ("limit", limit, 15),
    ("gradients", gradients, 90),
    ("correctness", correctness, 100),
    ("peers", peers, 40),
)


if __name__ == "__main__":
    sys.exit(main())
