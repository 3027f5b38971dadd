"""Fits of smFISH counts, whole distributions over time: STL1 in yeast after salt, DUSP1 after dexamethasone.

    python benchmarks/smfish.py prepare FOLDER OUT      tables of the published counts, as `sbmlgrad fit` takes them
    python benchmarks/smfish.py fit stl1 OUT            the fit, its log-likelihood beside two others, and pictures
    python benchmarks/smfish.py fit dusp1 OUT
    python benchmarks/smfish.py moments stl1 OUT        adds the same likelihood at what a fit of moments finds

FOLDER holds `STL1Data.csv` and `DUSP1_Dex_100nM_Rep1_Rep2.csv` of https://github.com/MunskyGroup/SSIT (BSD-3), which
are not part of this repository. Both replicates are taken together. Every cell counts; nothing is binned or left out.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy.stats import poisson

import sbmlgrad as sg
from sbmlgrad.fitting.likelihood_fit import LikelihoodFit, likelihood_fit
from sbmlgrad.fitting.trials import set_up
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.report.histograms import plot_histograms

ROOT = Path(__file__).resolve().parents[1]
MODELS = {"stl1": "stl1_osmotic", "dusp1": "dusp1"}
PARAMETERS: dict[str, dict[str, tuple[float, float] | None]] = {
    "stl1": {
        "k01": (1e-5, 1.0),
        "k10a": (0.02, 4.0),
        "k10b": (1.0, 1e6),
        "k12": (1e-5, 1.0),
        "k21": (1e-5, 1.0),
        "k23": (1e-6, 1.0),
        "k32": (1e-6, 1.0),
        "kr0": (1e-7, 0.1),
        "kr1": (1e-6, 2.0),
        "kr2": (1e-2, 10.0),
        "kr3": (1e-5, 2.0),
        "g": (1e-4, 0.1),
    },
    "dusp1": {
        "k_on": (1e-4, 1.0),
        "k_off": (1e-3, 5.0),
        "k_r": (0.1, 100.0),
        "g_n": (1e-3, 1.0),
        "a": (0.1, 100.0),
        "r": (1e-3, 1.0),
    },
}
LEAD = {"stl1": 900.0, "dusp1": 120.0}
"""How long before the stimulus the model begins, so that it is at rest by then."""

HOG1_LEAVES = {"salt_0.2": 6.9e-3, "salt_0.4": 3.6e-3}
"""Published r2 of the Hog1 signal by condition; see models/stl1_osmotic/README.md."""


def prepare(folder: Path, out: Path) -> None:
    """Write the tables: `stl1.csv`, `stl1-conditions.csv` and `dusp1.csv`."""
    out.mkdir(parents=True, exist_ok=True)
    cells = pandas.read_csv(folder / "STL1Data.csv")
    names = dict(zip((0.2, 0.4), HOG1_LEAVES, strict=True))
    stl1 = {"time": cells["TIMES"] + LEAD["stl1"], "M": cells["STL1"], "condition": cells["SALT"].map(names)}
    pandas.DataFrame(stl1).to_csv(out / "stl1.csv", index=False)
    table = pandas.DataFrame({"condition": list(HOG1_LEAVES), "r2": list(HOG1_LEAVES.values())})
    table.to_csv(out / "stl1-conditions.csv", index=False)
    cells = pandas.read_csv(folder / "DUSP1_Dex_100nM_Rep1_Rep2.csv")
    dusp1 = {"time": cells["time"] + LEAD["dusp1"], "N": cells["RNA_nuc"]}
    pandas.DataFrame(dusp1).to_csv(out / "dusp1.csv", index=False)


def tables(name: str, out: Path) -> tuple[sg.Model, pandas.DataFrame, pandas.DataFrame | None]:
    """The model, the cells, and the conditions where there are several."""
    model = sg.read_sbml(ROOT / "models" / MODELS[name] / "model.xml")
    conditions = out / f"{name}-conditions.csv"
    return model, pandas.read_csv(out / f"{name}.csv"), pandas.read_csv(conditions) if conditions.exists() else None


def likelihood_of(name: str, out: Path, start: Mapping[str, float]) -> LikelihoodFit:
    """The likelihood of the same cells, made ready at a start."""
    model, cells, conditions = tables(name, out)
    trials = set_up(model, cells, PARAMETERS[name], start, conditions, {}, {})
    made = likelihood_fit(trials.every, PARAMETERS[name], start, "projection", None)
    assert isinstance(made, LikelihoodFit)
    return made


def poisson_baseline(cells: pandas.DataFrame, observable: str) -> float:
    """The log-likelihood with a Poisson law of each time's own mean."""
    groups = [key for key in ("condition", "time") if key in cells]
    return float(sum(poisson.logpmf(own, own.mean()).sum() for _, own in cells.groupby(groups)[observable]))


def moment_fit(name: str, out: Path, start: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Estimates by means and standard deviations of the same cells, and seconds."""
    model, cells, conditions = tables(name, out)
    begun = time.perf_counter()
    fit = sg.fit(model, cells, PARAMETERS[name], conditions=conditions, init=start, loss="moments", n=2000, seed=1)
    return {str(k): float(v) for k, v in fit.parameters["estimate"].items()}, time.perf_counter() - begun


def fit(name: str, out: Path) -> dict[str, Any]:
    """Fit the cells, write the pictures, and say how well."""
    model, cells, conditions = tables(name, out)
    observable, begun = ("M" if name == "stl1" else "N"), time.perf_counter()
    found = sg.fit(model, cells, PARAMETERS[name], conditions=conditions, loss="projection", seed=1)
    seconds = time.perf_counter() - begun
    estimates = {str(k): float(v) for k, v in found.parameters["estimate"].items()}
    result: dict[str, Any] = {
        "cells": len(cells),
        "log_likelihood": float(found.goodness["log_likelihood"]),
        "log_likelihood_poisson": poisson_baseline(cells, observable),
        "evaluations": len(found.history),
        "seconds": round(seconds, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "converged": found.converged,
        "message": found.message,
        "parameters": json.loads(found.parameters.to_json(orient="index")),
    }
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _pictures(name, out, estimates, observable)
    return result


def _pictures(name: str, out: Path, estimates: Mapping[str, float], observable: str) -> None:
    """All histograms with the fitted probabilities, one picture a condition."""
    made = likelihood_of(name, out, estimates)
    values = made.parameters.start
    for study, part in zip(made.studies, made.parts, strict=True):
        assert isinstance(part, ProjectedCells)
        counts, shares = part.marginals(values[study.trial.places], 0)
        label = study.trial.condition or name
        figure = plot_histograms(
            part.data.times - LEAD[name],
            [rows[:, 0] for rows in part.data.values],
            part.data.cells,
            counts,
            shares,
            observable,
        )
        figure.savefig(out / f"{name}-{label}.png", dpi=110)


def beside(name: str, out: Path, result: dict[str, Any]) -> None:
    """Add the log-likelihood at what a fit of moments finds."""
    estimates, seconds = moment_fit(name, out, {})
    made = likelihood_of(name, out, estimates)
    result["moments"] = {
        "log_likelihood": made.evaluate(made.parameters.start).value,
        "seconds": round(seconds, 1),
        "parameters": estimates,
    }


def main(arguments: list[str]) -> None:
    """What the command line asks for."""
    if len(arguments) != 3 or arguments[0] not in ("prepare", "fit", "moments"):
        sys.exit(__doc__)
    if arguments[0] == "prepare":
        prepare(Path(arguments[1]), Path(arguments[2]))
        return
    name, out = arguments[1], Path(arguments[2])
    path = out / f"{name}.json"
    if arguments[0] == "fit":
        result = fit(name, out)
    else:
        result = json.loads(path.read_text(encoding="utf-8"))
        beside(name, out, result)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "parameters"}, indent=1))


if __name__ == "__main__":
    np.seterr(divide="ignore")
    main(sys.argv[1:])
