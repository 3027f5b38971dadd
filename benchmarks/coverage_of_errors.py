"""How often 95 % confidence intervals of derivatives hold the exact value, on four cases of the battery.

    python benchmarks/coverage_of_errors.py -o benchmarks/results/DATE-coverage.json

repeats each estimate with other seeds. With 400 repetitions an honest interval covers 93 to 97 % of the time but for
about 1 in 15 derivatives, by chance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from battery import CASES, exact
from gradients import facts, posed, write

from sbmlgrad.gradient.catalogue import ESTIMATORS
from sbmlgrad.gradient.estimator import Task

CHOSEN = (
    "birth_death mean X 1",
    "dimerisation probability P-150-302 10",
    "toggle_switch mean U 3",
    "sir variance S 6",
)
NAMES = ("auto", "score", "alternative_path")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a derivative and estimator."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Coverage of 95 % confidence intervals of derivatives.")
    parser.add_argument("--n", type=int, default=2000, help="trajectories of one estimate")
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--estimators", default=",".join(NAMES), help="names, separated by commas")
    parser.add_argument("-o", "--output", help="JSON file")
    options = parser.parse_args(given)
    rows = []
    names = options.estimators.split(",")
    for case in (c for c in CASES if c.name in CHOSEN):
        problem, (_, slopes) = posed(case), exact(case)
        values = [float(case.network.parameters[p]) for p in case.parameters]
        for name in names:
            inside = np.zeros(len(slopes))
            for seed in range(options.repetitions):
                estimate = ESTIMATORS[name].estimate(problem, Task(values, np.array([case.time]), options.n, seed))
                off = np.abs(estimate.derivatives[:, 0, 0] - slopes)
                inside += off <= 1.959964 * estimate.stderr[:, 0, 0]
            for parameter, share in zip(case.parameters, inside / options.repetitions, strict=True):
                rows.append({"case": case.name, "parameter": parameter, "estimator": name, "coverage": share})
                print(f"{case.name:40s} {parameter:4s} {name:18s} {share:.1%}", flush=True)
    for name in names:
        shares = [row["coverage"] for row in rows if row["estimator"] == name]
        print(f"{name}: {np.mean(shares):.1%} over {len(shares)} derivatives, {min(shares):.1%} to {max(shares):.1%}")
    if options.output:
        write(options.output, facts("coverage.py", given, options.n), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
