"""Coverage of fits of PEtab problems by exact simulation, beside fits by rate equations.

    python benchmarks/petab_means.py [--problem decay|pairs] [--sets 100] [--first 0] -o RESULT.json

Data are means with normal noise, drawn by numpy around the solution of the master equation, by scipy. ``decay`` is A ->
B -> nothing, whose mean is that of rate equations, with a scale and the size of the noise fitted, too; ``pairs`` is A +
A -> nothing beside A -> nothing with 6 molecules, whose mean is not. Below k2 = 0.05 there is another minimum, at 0.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import expm

import sbmlgrad as sg

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
<model id="m" substanceUnits="item" extentUnits="item">
<listOfCompartments><compartment id="c" size="1" constant="true"/></listOfCompartments>
<listOfSpecies>{species}</listOfSpecies>
<listOfParameters>{parameters}</listOfParameters>
<listOfReactions>{reactions}</listOfReactions></model></sbml>"""
SPECIES = (
    '<species id="{0}" compartment="c" initialAmount="{1}" hasOnlySubstanceUnits="true" boundaryCondition="false" '
    'constant="false"/>'
)
PARAMETER = '<parameter id="{0}" value="{1}" constant="true"/>'
ONE = '<speciesReference species="{0}" stoichiometry="{1}" constant="true"/>'
REACTION = (
    '<reaction id="{0}" reversible="false" fast="false">{1}{2}<kineticLaw><math '
    'xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/>{3}</apply></math></kineticLaw></reaction>'
)
YAML = """format_version: 1
parameter_file: parameters.tsv
problems:
- condition_files: [conditions.tsv]
  measurement_files: [measurements.tsv]
  observable_files: [observables.tsv]
  sbml_files: [model.xml]
"""
COLUMNS = "parameterId parameterScale lowerBound upperBound nominalValue estimate"


def reaction(name: str, reactants: str, products: str, law: str) -> str:
    """One of mass action; reactants and products are like ``A*2``, the law is of MathML."""
    lists = []
    for kind, text in (("Reactants", reactants), ("Products", products)):
        pairs = [(*part.split("*"), "1")[:2] for part in text.split()]
        every = "".join(ONE.format(*pair) for pair in pairs)
        lists.append(f"<listOf{kind}>{every}</listOf{kind}>" if every else "")
    return REACTION.format(name, *lists, law)


DECAY = MODEL.format(
    species=SPECIES.format("A", 100) + SPECIES.format("B", 0),
    parameters=PARAMETER.format("k1", 0.5) + PARAMETER.format("k2", 0.3),
    reactions=reaction("turn", "A", "B", "<ci>k1</ci><ci>A</ci>") + reaction("end", "B", "", "<ci>k2</ci><ci>B</ci>"),
)
PAIRS = MODEL.format(
    species=SPECIES.format("A", 6),
    parameters=PARAMETER.format("k1", 0.15) + PARAMETER.format("k2", 0.2),
    reactions=reaction("pair", "A*2", "", "<ci>k1</ci><ci>A</ci><apply><minus/><ci>A</ci><cn>1</cn></apply>")
    + reaction("end", "A", "", "<ci>k2</ci><ci>A</ci>"),
)
TIMES = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def of_decay(values: dict[str, float]) -> dict[str, np.ndarray]:
    """Means of both observables."""
    k1, k2 = values["k1"], values["k2"]
    generator = np.array([[-k1, 0.0], [k1, -k2]])
    course = np.array([expm(generator * t) @ [100.0, 0.0] for t in TIMES]).T
    return {"a": course[0], "b": values["scale"] * course[1]}


def of_pairs(values: dict[str, float]) -> dict[str, np.ndarray]:
    """The mean, by the master equation."""
    generator = np.zeros((7, 7))
    for x in range(7):
        for lost, rate in ((2, values["k1"] * x * (x - 1)), (1, values["k2"] * x)):
            if rate:
                generator[x - lost, x] += rate
                generator[x, x] -= rate
    return {"a": np.array([np.arange(7) @ expm(generator * t)[:, 6] for t in TIMES])}


PROBLEMS: dict[str, dict[str, Any]] = {
    "decay": {
        "model": DECAY,
        "means": of_decay,
        "truth": {"k1": 0.5, "k2": 0.3, "scale": 2.0, "sigma": 2.0},
        "observables": "a\tA\tsigma\nb\tscale * B\tsigma",
        "parameters": "k1\tlog10\t0.01\t10\t1\t1\nk2\tlog\t0.01\t10\t1\t1\nscale\tlin\t0.1\t10\t1\t1\n"
        "sigma\tlog10\t0.1\t100\t1\t1",
    },
    "pairs": {
        "model": PAIRS,
        "means": of_pairs,
        "truth": {"k1": 0.15, "k2": 0.2, "sigma": 0.05},
        "observables": "a\tA\tsigma",
        "parameters": "k1\tlog10\t0.01\t5\t1\t1\nk2\tlog10\t0.05\t5\t1\t1\nsigma\tlog10\t0.05\t0.06\t0.05\t0",
    },
}


def drawn(name: str, seed: int) -> list[tuple[str, float, float]]:
    """Observable, time and value of each measurement of a set of data."""
    problem, random = PROBLEMS[name], np.random.default_rng((20261128, seed))
    truth = problem["truth"]
    return [
        (observable, time, mean + truth["sigma"] * random.standard_normal())
        for observable, course in problem["means"](truth).items()
        for time, mean in zip(TIMES.tolist(), course.tolist(), strict=True)
    ]


def read(name: str) -> Any:
    """The problem, with a set of data."""
    problem = PROBLEMS[name]
    rows = [f"{observable}\tonly\t{time}\t{value!r}" for observable, time, value in drawn(name, 0)]
    tables = {
        "model.xml": problem["model"],
        "conditions.tsv": "conditionId\nonly\n",
        "observables.tsv": f"observableId\tobservableFormula\tnoiseFormula\n{problem['observables']}\n",
        "parameters.tsv": "\t".join(COLUMNS.split()) + f"\n{problem['parameters']}\n",
        "measurements.tsv": "\n".join(["observableId\tsimulationConditionId\ttime\tmeasurement", *rows, ""]),
        "problem.yaml": YAML,
    }
    with tempfile.TemporaryDirectory() as folder:
        for file, text in tables.items():
            Path(folder, file).write_text(text, encoding="utf-8")
        return sg.read_petab(Path(folder, "problem.yaml"))


def compared(every: Any, name: str, seed: int, n: int) -> dict[str, Any]:
    """Estimates, standard errors and limits of one set of data, by both methods."""
    result: dict[str, Any] = {"set": seed}
    problem = every.with_measurements([value for _, _, value in drawn(name, seed)])
    for method in ("ode", "ssa"):
        begin = time.process_time()
        fit = problem.fit(starts=3, seed=seed, method=method, n=n)
        table = fit.parameters
        result[method] = {
            "converged": fit.converged,
            "llh": fit.llh,
            "p_value": float(fit.goodness["p_value"]),
            "seconds": round(time.process_time() - begin, 2),
            **{
                column: {str(k): float(v) for k, v in table[column].items()}
                for column in ("estimate", "stderr", "ci_lower", "ci_upper")
            },
        }
    return result


def summary(name: str, sets: list[dict[str, Any]]) -> dict[str, Any]:
    """For each method and parameter: the share of limits that hold the truth, and the bias in standard errors."""
    truth: dict[str, float] = PROBLEMS[name]["truth"]
    result: dict[str, Any] = {}
    for method in ("ode", "ssa"):
        rows = [one[method] for one in sets]
        result[method] = {
            parameter: {
                "covered": sum(r["ci_lower"][parameter] <= truth[parameter] <= r["ci_upper"][parameter] for r in rows),
                "bias_in_errors": float(
                    np.mean([(r["estimate"][parameter] - truth[parameter]) / r["stderr"][parameter] for r in rows])
                ),
                "stderr_over_scatter": float(
                    np.mean([r["stderr"][parameter] for r in rows])
                    / np.std([r["estimate"][parameter] for r in rows], ddof=1)
                )
                if len(rows) > 1
                else None,
            }
            for parameter in rows[0]["estimate"]
        }
        result[method]["converged"] = sum(r["converged"] for r in rows)
        result[method]["seconds"] = float(np.median([r["seconds"] for r in rows]))
    apart = [
        (one["ssa"]["estimate"][p] - one["ode"]["estimate"][p]) / one["ode"]["stderr"][p]
        for one in sets
        for p in sets[0]["ode"]["estimate"]
    ]
    ratios = [one["ssa"]["stderr"][p] / one["ode"]["stderr"][p] for one in sets for p in sets[0]["ode"]["estimate"]]
    result["ssa_less_ode_in_errors"] = {
        "rms": float(np.sqrt(np.mean(np.square(apart)))),
        "most": float(max(map(abs, apart))),
    }
    result["stderr_ssa_over_ode"] = {"median": float(np.median(ratios)), "most": float(max(ratios))}
    return result


def main() -> None:
    """Fit, and write after every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=list(PROBLEMS), default="decay")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("-n", type=int, default=4000)
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sets: list[dict[str, Any]] = []
    problem = read(arguments.problem)
    for seed in range(arguments.first, arguments.first + arguments.sets):
        sets.append(compared(problem, arguments.problem, seed, arguments.n))
        found = {
            "date": datetime.date.today().isoformat(),
            "version": sg.__version__,
            "python": platform.python_version(),
            "command": f"benchmarks/petab_means.py --problem {arguments.problem} --sets {len(sets)} -n {arguments.n}",
            "truth": PROBLEMS[arguments.problem]["truth"],
            "sets": len(sets),
            "summary": summary(arguments.problem, sets),
            "every": sets,
        }
        Path(arguments.output).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(seed, {m: sets[-1][m]["estimate"] for m in ("ode", "ssa")}, sets[-1]["ssa"]["seconds"], flush=True)


if __name__ == "__main__":
    main()
