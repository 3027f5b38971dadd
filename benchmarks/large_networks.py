"""Large sparse networks: firings a second beside a C program of the direct method over a sum tree, in the same run.

    python benchmarks/large_networks.py FOLDER -o large_networks.json

FOLDER holds multistate.xml, multisite2.xml, egfr_net.xml and whatever else is to be measured, .xz or not. Then come
cascades of genes and networks in the manner of the scaling contest of Sanft and Othmer (J. Chem. Phys. 143:074108,
2015): each reaction turns one species into another, drawn at random, and each species takes part in five, so that ten
propensities follow a firing whatever the size. Both are measured in seconds of one processor core, so that what else
runs on the machine enters little; sbmlgrad runs trajectories on all cores. Compilation is apart, reading is not in it.
Beside them stands how long a load takes that has to be waited for, in as much memory as the network needs
(memory_wait.c): a firing has a chain of such loads, from the sums to the reaction, its species and what follows them.
Needs a C compiler.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import sbmlgrad as sg
from sbmlgrad.network.mass_action import Lists, MassAction, mass_action_of
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.prepare import prepare
from sbmlgrad.simulation.progress import Progress
from sbmlgrad.simulation.sparse import SparseRun

HERE = Path(__file__).parent
ENDS = {"multistate": 10.0, "multisite2": 10.0, "egfr_net": 10.0, "bcr": 0.1, "fceri_gamma2": 1.0}
CASCADES = (60, 200, 600, 2000, 6000, 20_000)
CONTESTS = (1000, 10_000, 100_000, 1_000_000)
LARGEST_FOR_C = 1_000_000  # reactions, whose lists of dependents it reads as text


@dataclass(frozen=True, eq=False)
class Network:
    """A network as data, what it starts from, and to which time it is followed."""

    name: str
    data: MassAction
    x0: np.ndarray
    end: float
    coefficients: tuple[Any, ...] = ()


def of_documents(folder: Path) -> Iterator[Network]:
    """The networks of a folder, smallest documents first."""
    for path in sorted(folder.glob("*.xml*"), key=lambda path: path.stat().st_size):
        content = path.read_bytes()
        text = (lzma.decompress(content) if path.suffix == ".xz" else content).decode()
        name = path.name.split(".")[0]
        prepared = prepare(sg.read_sbml(text))
        data = mass_action_of(prepared.network)
        if data is None:
            print(f"{name}: not all laws are a number times counts", file=sys.stderr)
            continue
        yield Network(name, data, np.round(prepared.counts), ENDS.get(name, 1.0), prepared.coefficients)


def cascade(reactions: int) -> Network:
    """Genes of which each makes the next, near 20 molecules each: half the reactions make and half take."""
    genes = reactions // 2
    factors = [[], *([i] for i in range(genes - 1)), *([i] for i in range(genes))]
    jumps = [[i] for i in range(genes)] * 2
    constants = np.concatenate([[20.0], np.ones(2 * genes - 1)])
    changes = np.repeat([1.0, -1.0], genes)
    data = MassAction.of_arrays(genes, constants, Lists.of(factors), np.zeros(2 * genes - 1), Lists.of(jumps), changes)
    return Network(f"cascade {reactions}", data, np.full(genes, 20.0), 2e5 / (40 * genes))


def contest(reactions: int) -> Network:
    """Species turned into others at random, five reactions from each, of rates over a factor of ten."""
    random, species = np.random.default_rng(reactions), reactions // 5
    source = np.repeat(np.arange(species), 5)
    target = (source + 1 + random.integers(species - 1, size=reactions)) % species
    starts = np.arange(reactions + 1)
    jumps = Lists(2 * starts, np.stack([source, target], axis=1).ravel())
    data = MassAction.of_arrays(
        size=species,
        constants=10.0 ** random.uniform(-0.5, 0.5, reactions),
        factors=Lists(starts, source),
        offsets=np.zeros(reactions),
        jumps=jumps,
        changes=np.tile([-1.0, 1.0], reactions),
    )
    return Network(f"contest {reactions}", data, np.full(species, 10.0), 5e5 / (10 * reactions))


def for_c(network: Network, n: int, seed: int) -> str:
    """The network as the C program reads it."""
    data, numbers = network.data, network.data.numbers(network.coefficients)
    dependents = followers(data)
    text = io.StringIO()
    print(data.size, data.reactions, n, network.end, seed, file=text)
    for values in (
        network.x0,
        numbers.constants,
        *(*data.factors, numbers.offsets),
        *(*data.jumps, data.changes),
        *dependents,
    ):
        print(*values.tolist(), file=text)
    return text.getvalue()


def followers(data: MassAction) -> Lists:
    """For each reaction those whose propensities follow it when it fires, each once."""
    begins, ends = data.dependents.starts[data.jumps.items], data.dependents.starts[data.jumps.items + 1]
    counts = ends - begins
    places = np.arange(counts.sum()) + np.repeat(begins - np.cumsum(counts) + counts, counts)
    pairs = np.repeat(data.jumps.owners, counts) * data.reactions + data.dependents.reactions[places]
    owners, items = np.divmod(np.unique(pairs), data.reactions)
    return Lists(np.searchsorted(owners, np.arange(data.reactions + 1)), items)


def compiled_c(folder: Path, name: str = "sum_tree") -> Path:
    """A C program, compiled for this machine."""
    program = folder / name
    command = ["cc", "-O3", "-march=native", str(HERE / f"{name}.c"), "-o", str(program), "-lm"]
    subprocess.run(command, check=True)
    return program


def memory_of(data: MassAction) -> int:
    """Bytes of the arrays that a firing may have to look at, in sbmlgrad's loop."""
    per_reaction, per_jump, per_dependent = 8 + 4, 5 * 4 + 8, 2 * 4 + 8
    followed = len(data.dependents.reactions)
    return per_reaction * data.reactions + per_jump * len(data.jumps.items) + per_dependent * followed + 8 * data.size


def wait(program: Path, size: int) -> float:
    """Nanoseconds that a load takes which must be waited for, in so many bytes of memory."""
    kilobytes = str(max(1, size // 1024))
    return float(subprocess.run([program, kilobytes], capture_output=True, text=True, check=True).stdout)


def by_c(program: Path, network: Network, n: int, seed: int = 1) -> tuple[int, float, np.ndarray]:
    """Reactions fired, CPU seconds, and mean counts (species,) at the end, of ``n`` trajectories of the C program."""
    done = subprocess.run([program], input=for_c(network, n, seed), capture_output=True, text=True, check=True)
    first, *means = done.stdout.splitlines()
    fired, seconds = first.split()
    return int(fired), float(seconds), np.array(means, float)


def by_sbmlgrad(network: Network, n: int, seed: int = 1) -> tuple[int, float, np.ndarray]:
    """The same by the sparse loop, on one core."""
    times = np.array([network.end])
    ensemble = Ensemble(None, network.x0, network.coefficients, times, n, seed)  # type: ignore[arg-type]
    run = SparseRun(ensemble, network.data, Progress(None, n, 0.0, network.end))
    _ = run.arrays.tables, run.arrays.loop
    records = np.empty((network.data.size, 1, n))
    begin = time.thread_time()
    fired = run.run(0, records)
    return fired, time.thread_time() - begin, records[:, 0].mean(axis=1)


def measured(
    network: Network, program: Path | None, waiting: Path, repeats: int, given_seconds: float
) -> dict[str, Any]:
    """Firings a second of one core, medians of several, by turns with the C program, and how long memory takes."""
    fired, seconds, _ = by_sbmlgrad(network, 1)
    n = max(1, min(1000, round(given_seconds / max(seconds, 1e-3))))
    speeds: dict[str, list[float]] = {"sbmlgrad": [], "c": []}
    waits = []
    for seed in range(repeats):
        waits.append(wait(waiting, memory_of(network.data)))
        fired, seconds, _ = by_sbmlgrad(network, n, seed)
        speeds["sbmlgrad"].append(fired / seconds)
        if program is not None:
            fired, seconds, _ = by_c(program, network, n, seed + 1)
            speeds["c"].append(fired / seconds)
    result: dict[str, Any] = {
        "network": network.name,
        "species": network.data.size,
        "reactions": network.data.reactions,
        "updates": round(network.data.updates, 1),
        **{f"{who}_firings_per_second": round(statistics.median(v)) for who, v in speeds.items() if v},
    }
    result["megabytes"] = round(memory_of(network.data) / 1e6, 2)
    result["nanoseconds_of_a_wait_for_memory"] = round(statistics.median(waits), 1)
    if program is not None:
        result["ratio_on_one_core"] = round(statistics.median(speeds["sbmlgrad"]) / statistics.median(speeds["c"]), 2)
    print(json.dumps(result), flush=True)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where SBML documents lie")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of sbmlgrad in each repeat")
    parser.add_argument("--largest", type=int, default=1_000_000, help="reactions of the largest network from arrays")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args(arguments)
    begin = time.process_time()
    by_sbmlgrad(cascade(60), 1)
    compiling = time.process_time() - begin
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program, waiting = (compiled_c(Path(folder), name) for name in ("sum_tree", "memory_wait"))
        networks = chain.from_iterable(
            [
                of_documents(given.folder) if given.folder else (),
                (cascade(size) for size in CASCADES if size <= given.largest),
                (contest(size) for size in CONTESTS if size <= given.largest),
            ]
        )
        for network in networks:
            with_c = network.data.reactions <= LARGEST_FOR_C
            rows.append(measured(network, program if with_c else None, waiting, given.repeats, given.seconds))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/large_networks.py " + ("FOLDER" if given.folder else ""),
        "versions": {name: version(name) for name in ("sbmlgrad", "numba", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "compiling_or_loading_seconds": round(compiling, 2),
        "networks": rows,
    }
    if given.output:
        given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
