"""Over which time derivatives of oscillators can be had: noise and bias of every estimator as the horizon grows.

    python benchmarks/horizons.py -o benchmarks/results/DATE-horizons.json

takes the oscillators of `models/` at their published parameters. For each horizon and estimator it prints the median
over species and parameters of the standard error that --n trajectories leave, as a part of the derivative times the
parameter over the standard deviation of the species ("noise": below 1, a change of the parameter by its own size that
moves the mean by one standard deviation is seen), and the largest difference from the least noisy unbiased estimate in
standard errors of both ("z").
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gradients import facts

import sbmlgrad as sg
from sbmlgrad.gradient.catalogue import ESTIMATORS
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.simulation.simulate import discretised

MODELS = {
    "vilar_oscillator": (("A", "R"), ("beta_A", "gamma_C", "delta_R"), (0.5, 1.0, 2.0, 5.0, 10.0, 25.0)),
    "repressilator": (("P_lacI", "P_tetR"), ("k_full", "k_translate", "d_protein"), (1.0, 3.0, 10.0, 30.0, 100.0)),
}
NAMES = ("auto", "score", "alternative_path", "coupled_fd", "straight_through", "straight_through_plain")
UNBIASED = ("auto", "score", "alternative_path")


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
            found: dict[str, tuple[Estimate, float]] = {}
            for estimator in NAMES:
                task = Task(values, np.array([horizon]), options.n, seed=1)
                begun = time.perf_counter()
                found[estimator] = (ESTIMATORS[estimator].estimate(problem, task), time.perf_counter() - begun)
            best = min((found[e][0] for e in UNBIASED), key=lambda e: float(np.median(e.stderr)))
            scale = best.values_sd / values[:, None, None]
            for estimator, (estimate, seconds) in found.items():
                with np.errstate(over="ignore", invalid="ignore"):
                    noise = float(np.median(estimate.stderr / scale))
                    z = float(
                        np.max(np.abs(estimate.derivatives - best.derivatives) / np.hypot(estimate.stderr, best.stderr))
                    )
                rows.append(
                    {
                        "model": name,
                        "horizon": horizon,
                        "estimator": estimator,
                        "noise": noise,
                        "z": z,
                        "seconds": seconds,
                    }
                )
                size = float(np.median(np.abs(best.derivatives / scale)))
                print(
                    f"{name:18s} {horizon:6g} {estimator:24s} noise {noise:10.3g} of derivatives near {size:8.3g}, "
                    f"largest z {z:10.1f}, {seconds:6.1f} s",
                    flush=True,
                )
    if options.output:
        text = json.dumps({"facts": facts("horizons.py", given, options.n), "rows": rows}, indent=1)
        Path(options.output).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
