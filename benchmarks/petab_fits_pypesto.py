"""The part of petab_fits.py that pyPESTO does, in an environment of its own: it is called by that script.

    python benchmarks/petab_fits_pypesto.py PROBLEM.yaml TASK.json ANSWER.json

The task holds the names of the estimated parameters, starts on the linear scale, and how many iterations a search may
take. AMICI gives gradients by forward sensitivities and the Fisher information, fides follows them, both with pyPESTO's
defaults but for that number. A model that AMICI has imported stays in the folder ``petab-fits-models`` of the system's
temporary folder, so that it is not compiled again; ``preparation_seconds`` is null then.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import amici
import fides
import numpy as np
import pypesto
import pypesto.optimize
import pypesto.petab


def scaled(value: float, scale: str) -> float:
    """A value on the scale of its parameter."""
    return {"lin": lambda x: x, "log": math.log, "log10": math.log10}[scale](value)


def searched(problem: Any, start: np.ndarray, most: int) -> tuple[float | None, int, float]:
    """Objective, evaluations and the processor's seconds of the search from a start."""
    begin = process_time()
    own = pypesto.Problem(
        objective=problem.objective,
        lb=problem.lb_full,
        ub=problem.ub_full,
        x_fixed_indices=problem.x_fixed_indices,
        x_fixed_vals=problem.x_fixed_vals,
        x_guesses=[start],
        x_names=problem.x_names,
    )
    result = pypesto.optimize.minimize(
        own,
        optimizer=pypesto.optimize.FidesOptimizer(verbose=logging.ERROR, options={"maxiter": most}),
        n_starts=1,
        progress_bar=False,
        filename=None,
        options=pypesto.optimize.OptimizeOptions(allow_failed_starts=True),
    )
    best = result.optimize_result.list[0]
    found = math.inf if best["fval"] is None else float(best["fval"])
    return found if math.isfinite(found) else None, int(best["n_grad"] or 0), process_time() - begin


def main(path: str, task_file: str, answer_file: str) -> None:
    """Import, search from all starts, and write what was found."""
    logging.disable(logging.CRITICAL)
    task = json.loads(Path(task_file).read_text())
    folder = Path(tempfile.gettempdir(), "petab-fits-models", Path(path).stem)
    known, begin = folder.exists(), perf_counter()
    importer = pypesto.petab.PetabImporter.from_yaml(path, output_folder=str(folder))
    problem = importer.create_problem()
    table = importer.petab_problem.parameter_df
    if list(task["names"]) != list(importer.petab_problem.x_free_ids):
        raise ValueError("the parameters are not in the same order")
    scales = [table.loc[name, "parameterScale"] for name in task["names"]]
    starts = [np.array([scaled(*pair) for pair in zip(start, scales, strict=True)]) for start in task["starts"]]
    problem.objective(starts[0])
    ready = perf_counter() - begin
    rows = [searched(problem, start, task["most"]) for start in starts]
    answer = {
        "pypesto": pypesto.__version__,
        "amici": amici.__version__,
        "fides": fides.__version__,
        "objectives": [row[0] for row in rows],
        "evaluations": [row[1] for row in rows],
        "preparation_seconds": None if known else ready,
        "search_seconds": sum(row[2] for row in rows),
    }
    Path(answer_file).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
