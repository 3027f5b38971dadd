"""How far fits of trajectories are from the truth, in units of their own standard errors.

    python benchmarks/fits.py -o benchmarks/results/DATE-fits.json

draws trajectories by Gillespie's direct method in numpy, so that nothing of what is judged makes the data, and fits
both rates of three models with stationary means of 2, 10 and 50 molecules to 1, 20 and 100 replicates, by exact
simulation and by rate equations. For each rate: the mean and the root mean square of (estimate - truth) / stderr, which
are 0 and 1 for honest error bars, the same mean on the scale of the logarithm (an error bar in proportion to the
estimate gives (estimate - truth) / stderr a mean below 0 even where the logarithm is unbiased), the median estimate
over the truth, how often estimate +- 1.96 stderr holds the truth, and how many of the fits warned. With 20 data sets a
mean is off by 0.22 and a root mean square by 0.16 by chance (one sd). Data sets of one kind share what was compiled,
and their seconds are the median.
"""

from __future__ import annotations

import argparse
import sys
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from gradients import facts, write

import sbmlgrad as sg

DOCUMENT = """<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="{name}"
 substanceUnits="item" extentUnits="item"><listOfCompartments><compartment id="cell" spatialDimensions="3" size="1"
 constant="true"/></listOfCompartments><listOfSpecies>{species}</listOfSpecies>
<listOfParameters>{parameters}</listOfParameters><listOfReactions>{reactions}</listOfReactions></model></sbml>"""
SPECIES = """<species id="{}" compartment="cell" initialAmount="{}" substanceUnits="item" hasOnlySubstanceUnits="true"
 boundaryCondition="false" constant="false"/>"""
PARAMETER = '<parameter id="{}" value="{}" constant="true"/>'
REACTION = """<reaction id="{}" reversible="false" fast="false">{}{}{}<kineticLaw>
<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math></kineticLaw></reaction>"""
REFERENCE = '<listOf{}><speciesReference species="{}" stoichiometry="1" constant="true"/></listOf{}>'
MODIFIER = '<listOfModifiers><modifierSpeciesReference species="{}"/></listOfModifiers>'


@dataclass(frozen=True)
class Case:
    """A process with two rates to be found, whose observed species has about ``mean`` molecules in the end.

    ``rates`` takes counts (species, batch) and gives propensities (reactions, batch).
    """

    name: str
    mean: int
    model: sg.Model
    truth: Mapping[str, float]
    jumps: np.ndarray
    start: np.ndarray
    rates: Callable[[np.ndarray], np.ndarray]
    times: np.ndarray

    @property
    def observed(self) -> str:
        return "P"


def _product(*factors: str) -> str:
    return f"<apply><times/>{''.join(f'<ci>{f}</ci>' for f in factors)}</apply>"


def _reaction(name: str, reactant: str | None, product: str | None, law: str, modifier: str | None = None) -> str:
    sides = [REFERENCE.format(s, n, s) if n else "" for s, n in (("Reactants", reactant), ("Products", product))]
    return REACTION.format(name, *sides, MODIFIER.format(modifier) if modifier else "", law)


def _model(name: str, species: Mapping[str, float], parameters: Mapping[str, float], *reactions: str) -> sg.Model:
    return sg.read_sbml(
        DOCUMENT.format(
            name=name,
            species="".join(SPECIES.format(*item) for item in species.items()),
            parameters="".join(PARAMETER.format(*item) for item in parameters.items()),
            reactions="".join(reactions),
        )
    )


def birth_death(mean: int) -> Case:
    """0 -> P at k, P -> 0 at g P."""
    truth = {"k": float(mean), "g": 1.0}
    birth, death = _reaction("birth", None, "P", "<ci>k</ci>"), _reaction("death", "P", None, _product("g", "P"))
    return Case(
        name="birth_death",
        mean=mean,
        model=_model("birth_death", {"P": 0}, truth, birth, death),
        truth=truth,
        jumps=np.array([[1, -1]]),
        start=np.array([0]),
        rates=lambda x: np.stack([np.full(x.shape[1], truth["k"]), truth["g"] * x[0]]),
        times=np.linspace(0, 10, 21),
    )


def isomerisation(mean: int) -> Case:
    """P <-> Q of twice as many molecules, all of them P at first."""
    truth = {"k": 0.5, "g": 0.5}
    forth, back = _reaction("forth", "P", "Q", _product("k", "P")), _reaction("back", "Q", "P", _product("g", "Q"))
    return Case(
        name="isomerisation",
        mean=mean,
        model=_model("isomerisation", {"P": 2 * mean, "Q": 0}, truth, forth, back),
        truth=truth,
        jumps=np.array([[-1, 1], [1, -1]]),
        start=np.array([2 * mean, 0]),
        rates=lambda x: np.stack([truth["k"] * x[0], truth["g"] * x[1]]),
        times=np.linspace(0, 10, 21),
    )


def autorepression(mean: int) -> Case:
    """0 -> P at k / (1 + P / K), P -> 0 at g P, with a K of half the synthesis."""
    truth, constant = {"k": 2.0 * mean, "g": 1.0}, float(mean)
    ratio = "<apply><divide/><ci>P</ci><ci>K</ci></apply>"
    law = f"<apply><divide/><ci>k</ci><apply><plus/><cn>1</cn>{ratio}</apply></apply>"
    birth, death = _reaction("birth", None, "P", law, "P"), _reaction("death", "P", None, _product("g", "P"))
    return Case(
        name="autorepression",
        mean=mean,
        model=_model("autorepression", {"P": 0}, {**truth, "K": constant}, birth, death),
        truth=truth,
        jumps=np.array([[1, -1]]),
        start=np.array([0]),
        rates=lambda x: np.stack([truth["k"] / (1 + x[0] / constant), truth["g"] * x[0]]),
        times=np.linspace(0, 10, 21),
    )


CASES = {"birth_death": birth_death, "isomerisation": isomerisation, "autorepression": autorepression}


def trajectories(case: Case, count: int, random: np.random.Generator) -> np.ndarray:
    """The observed species (count, times) along exact trajectories (Gillespie, J. Phys. Chem. 81, 2340, 1977)."""
    x = np.repeat(case.start[:, None], count, axis=1)
    time, seen = np.zeros(count), np.zeros((count, len(case.times)), np.int64)
    while np.any(time <= case.times[-1]):
        rates = case.rates(x)
        total = rates.sum(axis=0)
        with np.errstate(divide="ignore"):
            later = time + random.exponential(size=count) / total
        seen = np.where((time[:, None] <= case.times) & (case.times < later[:, None]), x[0][:, None], seen)
        fired = np.sum(random.uniform(size=count) * total >= np.cumsum(rates, axis=0)[:-1], axis=0)
        x, time = x + case.jumps[:, fired], later
    return seen


def table(case: Case, values: np.ndarray) -> pd.DataFrame:
    """Replicates (replicates, times) as a table of measurements."""
    label = np.repeat(np.arange(len(values)), len(case.times))
    time = np.tile(case.times, len(values))
    return pd.DataFrame({"replicate": label, "time": time, case.observed: values.ravel().astype(float)})


def scored(case: Case, method: str, sets: Sequence[pd.DataFrame], n: int) -> list[dict[str, Any]]:
    """A row for each rate."""
    truth = pd.Series(case.truth)
    start = dict(zip(truth.index, truth * [1.5, 0.7], strict=True))
    fits = [
        sg.fit(case.model, data, dict.fromkeys(truth.index), init=start, n=n, seed=seed, method=method)
        for seed, data in enumerate(sets)
    ]
    estimate = pd.DataFrame([fit.parameters["estimate"] for fit in fits]).reset_index(drop=True)
    stderr = pd.DataFrame([fit.parameters["stderr"] for fit in fits]).reset_index(drop=True)
    z, z_log = (estimate - truth) / stderr, np.log(estimate / truth) * estimate / stderr
    return [
        {
            "mean_z": float(z[name].mean()),
            "mean_z_log": float(z_log[name].mean()),
            "rms_z": float(np.sqrt(np.square(z[name]).mean())),
            "median_ratio": float(estimate[name].median() / truth[name]),
            "coverage": float((np.abs(z[name]) <= 1.959964).mean()),
            "parameter": name,
            "converged": float(np.mean([fit.converged for fit in fits])),
            "warned": float(np.mean([bool(fit.warnings) for fit in fits])),
            "seconds": float(np.median([fit.seconds for fit in fits])),
            "z": z[name].round(3).tolist(),
            "warnings": sorted({text for fit in fits for text in fit.warnings})[:10],
        }
        for name in truth.index
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each rate of each case, number of replicates and method."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Estimates of fits in units of their own standard errors.")
    parser.add_argument("--sets", type=int, default=20, help="data sets of each kind")
    parser.add_argument("--n", type=int, default=400, help="trajectories in a step of a fit")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--means", default="2,10,50")
    parser.add_argument("--replicates", default="1,20,100")
    parser.add_argument("--methods", default="ode,ssa")
    parser.add_argument("-o", "--output", help="JSON file, written after each case")
    options = parser.parse_args(given)
    rows: list[dict[str, Any]] = []
    begun = clock.perf_counter()
    for name in options.cases.split(","):
        for mean in map(int, options.means.split(",")):
            case = CASES[name](mean)
            for replicates in map(int, options.replicates.split(",")):
                random = np.random.default_rng([mean, replicates])
                values = trajectories(case, options.sets * replicates, random)
                sets = [table(case, part) for part in np.split(values, options.sets)]
                for method in options.methods.split(","):
                    for row in scored(case, method, sets, options.n):
                        where = {"case": name, "mean": mean, "replicates": replicates, "method": method}
                        rows.append({**where, **row})
                        print(
                            f"{name:15s} {mean:3d} {replicates:4d} {method:4s} {row['parameter']:2s} "
                            f"z {row['mean_z']:+6.2f} ({row['mean_z_log']:+5.2f}) rms {row['rms_z']:5.2f}  "
                            f"median/truth {row['median_ratio']:5.3f} coverage {row['coverage']:4.0%} "
                            f"warned {row['warned']:4.0%} {row['seconds']:5.1f} s",
                            flush=True,
                        )
                    if options.output:
                        write(options.output, facts("fits.py", given, options.n), rows)
    print(f"{clock.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
