"""Gradients by 200,000 parameters: peak memory, memory by the number of events, and time against a plain run.

    python benchmarks/replay.py

runs 64 trajectories of two networks of 448 genes, 896 reactions and 200,000 parameters: ``genes``, where every gene's
production is a sigmoid of a dense layer of all products, and ``neural``, where it is a softplus of two layers. Each
run is a process of its own, so that its peak memory (the highest resident set) is its own; what it compiles is
compiled before by a run of a hundredth of the length. It prints a table and writes it with date, versions, processor
and command to benchmarks/results/.

``plain`` is the loop that the gradient goes through forwards, without checkpoints, and ``ratio`` the time of value and
gradient over it: each runs three times by turns (once for 100,000 events), and the ratio is that of the shortest runs.
``cpu`` is the ratio of the processor time of all runs, which other programs on the machine disturb less.
``checkpoints`` is what is kept in the forward pass to run the trajectories again. ``ensemble`` is the loop of
``sbmlgrad.simulate``, one array a species, given five minutes for 1,000 events.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import sbmlgrad as sg
from sbmlgrad.gradient.value_and_grad import Gradient, value_and_grad
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.replay import STEPS, Batch, array_loop, run_batches

GENES = 448
HIDDEN = 223  # of the two layers, so that there are as many parameters
WATCHED = 10
TIMES = 10
TRAJECTORIES = 64
ESTIMATORS = ("score", "straight_through")
PLAN = [
    *(("genes", events, estimator) for events in (1_000, 10_000, 100_000) for estimator in ESTIMATORS),
    *(("neural", 10_000, estimator) for estimator in ESTIMATORS),
]
PATIENCE = 300  # seconds for the loop of one array a species


@dataclass(frozen=True)
class Row:
    """What one process measured; bytes and seconds."""

    network: str
    estimator: str
    parameters: int
    trajectories: int
    events: float  # of a trajectory, the mean
    plain: float
    gradient: float
    ratio: float
    cpu_ratio: float
    peak: int
    checkpoints: int


def network(name: str) -> sg.ReactionNetwork:
    """Genes that act on each other, at about 5 molecules each and 10 events a gene and unit of time."""
    rng = np.random.default_rng(0)
    parameters: dict[str, Any] = {"decay": np.ones(GENES), "top": np.full(GENES, 10.0)}
    if name == "genes":
        parameters["layers"] = [_layer(rng, GENES, GENES)]
        act = jax.nn.sigmoid
    else:
        parameters["layers"] = [_layer(rng, HIDDEN, GENES), _layer(rng, GENES, HIDDEN)]
        act = lambda x: jax.nn.softplus(x) / (2 * np.log(2))  # noqa: E731 - 0.5 at 0, as the sigmoid

    def propensities(x: jax.Array, p: dict[str, Any]) -> jax.Array:
        *hidden, (weights, bias) = p["layers"]
        signal = x - 5.0
        for first, shift in hidden:
            signal = jnp.tanh(first @ signal + shift)
        return jnp.concatenate([p["top"] * act(weights @ signal + bias), p["decay"] * x])

    eye = np.eye(GENES, dtype=int)
    return sg.ReactionNetwork(np.hstack([eye, -eye]), propensities, np.full(GENES, 5.0), parameters)


def _layer(rng: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    return 0.2 * rng.normal(size=(rows, columns)) / np.sqrt(columns), np.zeros(rows)


def watched(x: jax.Array, parameters: Any) -> jax.Array:
    """The functions whose expectations are differentiated: the first products."""
    return x[:WATCHED]


def measure(name: str, events: int, estimator: str) -> Row:
    """Time and memory of the gradient, in this process."""
    net, repeats = network(name), 3 if events <= 10_000 else 1
    times = np.linspace(1 / TIMES, 1, TIMES) * events / (10 * GENES)
    loop = array_loop(net, TRAJECTORIES, TIMES)

    def gradient(times: np.ndarray) -> Gradient:
        return value_and_grad(net, watched, times, n=TRAJECTORIES, seed=1, estimator=estimator, batch=TRAJECTORIES)

    def plain(times: np.ndarray) -> Batch:
        task = Ensemble(net, net.x0, net.coefficients, times, TRAJECTORIES, 1)
        return next(run_batches(task, loop, keep=False))

    gradient(times / 100)
    plain(times / 100)
    runs = [(timed(plain, times), timed(gradient, times)) for _ in range(repeats)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (bare, bare_cpu), (taken, taken_cpu) = (
        (min(one.seconds for one in side), sum(one.cpu for one in side)) for side in zip(*runs, strict=True)
    )
    batch, result = (one.result for one in runs[0])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(result.gradient))
    # Counts, time, position, draws and a mark of each trajectory before a segment; what happened in each of its steps.
    segment = TRAJECTORIES * (8 * GENES + 8 + 4 + 4 + 1 + 2 * STEPS)
    return Row(
        network=name,
        estimator=estimator,
        parameters=sum(leaf.size for leaf in net.coefficients),
        trajectories=TRAJECTORIES,
        events=result.events / TRAJECTORIES,
        plain=bare,
        gradient=taken,
        ratio=taken / bare,
        cpu_ratio=taken_cpu / bare_cpu,
        peak=peak,
        checkpoints=segment * batch.segments,
    )


class Timed(NamedTuple):
    """Seconds by the clock and of all processors, and what came of it."""

    seconds: float
    cpu: float
    result: Any


def timed(function: Callable[[np.ndarray], Any], times: np.ndarray) -> Timed:
    """Call a function and look at the clock."""
    begun, cpu = time.perf_counter(), time.process_time()
    result = function(times)
    return Timed(time.perf_counter() - begun, time.process_time() - cpu, result)


def ensemble(name: str, events: int) -> float:
    """Seconds of the loop of ``sbmlgrad.simulate``, compilation left out."""
    net = network(name)
    times = np.linspace(1 / TIMES, 1, TIMES) * events / (10 * GENES)

    def simulate(times: np.ndarray) -> int:
        return sum(c.events for c in run(Ensemble(net, net.x0, net.coefficients, times, TRAJECTORIES, 1)))

    simulate(times / 100)
    return timed(simulate, times).seconds


def in_process(*words: str, patience: float | None = None) -> Any:
    """What this script prints with these words, from a process of its own; None if it takes too long."""
    command = [sys.executable, __file__, "--one", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(f"error: {' '.join(words)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each case in a process of its own and write the table."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Memory and time of gradients by 200,000 parameters.")
    parser.add_argument("--one", nargs="+", metavar="WORD", help="network, events and estimator to measure in here")
    parser.add_argument("--most", type=int, default=100_000, help="leave out longer runs")
    parser.add_argument("-o", "--output", help="JSON file, by default benchmarks/results/DATE-replay.json")
    options = parser.parse_args(given)
    if options.one:
        name, events, what = options.one
        alone = what == "ensemble"
        print(json.dumps(ensemble(name, int(events)) if alone else asdict(measure(name, int(events), what))))
        return 0
    from gradients import facts  # not before: it imports more than is to be measured

    about = facts("replay.py", given, TRAJECTORIES)
    print(json.dumps(about, indent=2))
    rows = []
    for name, events, estimator in PLAN:
        if events > options.most:
            continue
        row = Row(**in_process(name, str(events), estimator))
        rows.append(row)
        print(
            f"{row.network:6s} {row.estimator:16s} {row.parameters} parameters {row.events:7.0f} events "
            f"plain {row.plain:6.2f} s gradient {row.gradient:6.2f} s  ratio {row.ratio:.2f} (cpu {row.cpu_ratio:.2f}) "
            f"peak {row.peak / 2**30:.2f} GiB  checkpoints {row.checkpoints / 2**20:.0f} MiB",
            flush=True,
        )
    seconds = in_process("genes", "1000", "ensemble", patience=PATIENCE)
    told = f"{seconds:.2f} s" if seconds is not None else f"not compiled in {PATIENCE} s"
    print(f"genes  ensemble, 1000 events: {told}")
    path = Path(options.output or Path(__file__).parent / "results" / f"{about['date']}-replay.json")
    report = {"facts": about, "results": [asdict(row) for row in rows], "ensemble_1000_events_seconds": seconds}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
