"""Over which time derivatives of oscillators can be had: noise and bias of every estimator as the horizon grows.

    python benchmarks/horizons.py -o benchmarks/results/DATE-horizons.json

takes the oscillators of `models/` at their published parameters. For each horizon and estimator it prints how many
trajectories a standard error of a tenth of the derivative takes ("needed": over species in units of their standard
deviations, the geometric mean over parameters; of the derivatives by coupled finite differences), the largest
difference from those in standard errors of both ("z": above 4 the estimator is wrong there), and the seconds that as
many trajectories would take.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from gradients import facts, write

import sbmlgrad as sg
from sbmlgrad.gradient.catalogue import ESTIMATORS
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.simulation.prepare import discretised

MODELS = {
    "vilar_oscillator": (("A", "R"), ("beta_A", "gamma_C", "delta_R"), (1.0, 2.0, 5.0, 10.0, 25.0)),
    "repressilator": (("P_lacI", "P_tetR"), ("k_full", "k_translate", "d_protein"), (1.0, 3.0, 10.0, 30.0, 100.0)),
}
NAMES = ("auto", "score", "alternative_path", "coupled_fd", "straight_through", "straight_through_plain")
JUDGE = "coupled_fd"  # of little noise on oscillators, and with a bias of order h^2 that does not matter here


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a horizon and estimator."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Estimators of derivatives on oscillators, by horizon.")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--n", type=int, default=2000, help="trajectories")
    parser.add_argument("--longest", type=float, default=np.inf, help="leave out longer horizons")
    parser.add_argument("-o", "--output", help="JSON file")
    options = parser.parse_args(given)
    folder = Path(__file__).resolve().parents[1] / "models"
    rows = []
    for name in options.models:
        species, parameters, horizons = MODELS[name]
        model = discretised(sg.read_sbml(folder / name / "model.xml"), species)
        problem = differentiable(model, parameters)
        values = np.array([model.quantities[p] for p in parameters])
        for horizon in (h for h in horizons if h <= options.longest):
            estimates: dict[str, tuple[Estimate, float]] = {}
            for estimator in NAMES:
                task = Task(values, np.array([horizon]), options.n, seed=1)
                ESTIMATORS[estimator].estimate(problem, replace(task, times=np.array([horizon / 1000])))  # compiles
                begun = time.perf_counter()
                estimates[estimator] = (ESTIMATORS[estimator].estimate(problem, task), time.perf_counter() - begun)
            best = estimates[JUDGE][0]
            sd = best.values_sd[None]
            size = np.sqrt(np.mean((best.derivatives / sd) ** 2, axis=(1, 2)))
            for estimator, (estimate, seconds) in estimates.items():
                with np.errstate(over="ignore", invalid="ignore"):
                    noise = np.sqrt(np.mean((estimate.stderr / sd) ** 2, axis=(1, 2)))
                    seen = size > 0  # a parameter without a measured effect has no scale
                    needed = float(options.n * np.exp(np.mean(np.log(noise[seen] / size[seen]))) ** 2 * 100)
                    error = np.hypot(estimate.stderr, best.stderr)
                    z = float(
                        np.max(np.abs(estimate.derivatives - best.derivatives) / np.where(error > 0, error, np.inf))
                    )
                cost = seconds * needed / options.n
                row = {
                    "model": name,
                    "horizon": horizon,
                    "estimator": estimator,
                    "needed": needed,
                    "z": z,
                    "seconds": cost,
                }
                rows.append(row)
                print(
                    f"{name:18s} {horizon:6g} {estimator:24s} needs {needed:10.3g} trajectories, {cost:10.3g} s; "
                    f"z {z:8.1f}" + (" WRONG" if z > 4 else ""),
                    flush=True,
                )
    if options.output:
        write(options.output, facts("horizons.py", given, options.n), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
