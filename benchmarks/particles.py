"""What particle filters say of small models, against the forward filter that is exact.

    python benchmarks/particles.py -o benchmarks/results/DATE-particles.json

Six models of which one species is seen, in one trajectory of 20 times that is drawn event by event with numpy, without
and with errors of measurement. Of many filters that know nothing of each other: z of the mean of
exp(log-likelihood - exact) against 1, at the parameters that particles are simulated with and at others 15 % away; the
standard deviation of the log-likelihood of one filter; how far the mean score is off, as the largest of its distances
in per cent of the exact one, in standard errors of that mean, and in standard errors of the parameter; and the standard
deviation of the score of one run in standard errors of the parameter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from gradients import facts, write

import sbmlgrad as sg
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.likelihood.particles import ParticlePaths
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.records import Trajectories

TIMES = 20
AWAY = 1.15


@dataclass(frozen=True)
class Case:
    """Jumps (species, reactions), propensities of counts and rates, rates, counts at the start, what is seen."""

    jumps: tuple[tuple[int, ...], ...]
    laws: Callable[[Any, Any], list[Any]]
    rates: dict[str, float]
    start: tuple[int, ...]
    seen: int
    spacing: float

    def problem(self) -> Problem:
        """All rates free."""
        names = tuple(f"X{i}" for i in range(len(self.start)))
        network = sg.ReactionNetwork(
            self.jumps, lambda x, p: jnp.stack(self.laws(x, p)), self.start, self.rates, species=names
        )
        return differentiable(network, list(self.rates))

    def data(self, error: float, random: np.random.Generator) -> Trajectories:
        """One trajectory."""
        times, jumps = self.spacing * np.arange(1, TIMES + 1), np.array(self.jumps)
        x, now, row = np.array(self.start, float), 0.0, []
        for time in times:
            while True:
                rates = np.array([float(a) for a in self.laws(x, self.rates)])
                wait = random.exponential(1 / max(rates.sum(), 1e-300))
                if now + wait > time:
                    now = time
                    break
                now += wait
                x = x + jumps[:, random.choice(len(rates), p=rates / rates.sum())]
            row.append(x[self.seen])
        values = np.array(row) + error * random.normal(size=TIMES)
        return Trajectories((f"X{self.seen}",), times, values[None, None], np.full((1, 1, TIMES), error**2))


CASES = {
    "birth and death": Case(
        ((1, -1),), lambda x, p: [p["k"] + 0 * x[0], p["g"] * x[0]], {"k": 10.0, "g": 1.0}, (0,), 0, 0.3
    ),
    "isomerisation": Case(
        ((-1, 1), (1, -1)), lambda x, p: [p["f"] * x[0], p["r"] * x[1]], {"f": 1.0, "r": 0.5}, (30, 0), 1, 0.2
    ),
    "dimerisation": Case(
        ((-2, 2), (1, -1)),
        lambda x, p: [p["c"] * x[0] * (x[0] - 1) / 2, p["d"] * x[1]],
        {"c": 0.02, "d": 0.1},
        (40, 0),
        1,
        0.5,
    ),
    "telegraph": Case(
        ((1, -1, 0, 0, 0, 0), (0, 0, 1, -1, 0, 0), (0, 0, 0, 0, 1, -1)),
        lambda x, p: [
            p["on"] * (1 - x[0]),
            p["off"] * x[0],
            p["k"] * x[0],
            p["d"] * x[1],
            p["b"] * x[1],
            p["g"] * x[2],
        ],
        {"on": 0.4, "off": 0.6, "k": 5.0, "d": 1.0, "b": 2.0, "g": 0.7},
        (0, 0, 0),
        2,
        0.5,
    ),
    "two stages": Case(
        ((1, -1, 0, 0), (0, 0, 1, -1)),
        lambda x, p: [p["k"] + 0 * x[0], p["d"] * x[0], p["b"] * x[0], p["g"] * x[1]],
        {"k": 2.0, "d": 1.0, "b": 2.5, "g": 0.5},
        (0, 0),
        1,
        0.5,
    ),
    "epidemic": Case(
        ((-1, 0), (1, -1)),
        lambda x, p: [p["beta"] * x[0] * x[1] / 63, p["gamma"] * x[1]],
        {"beta": 1.8, "gamma": 0.6},
        (60, 3),
        1,
        0.4,
    ),
}


def judged(name: str, noisy: bool, options: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    case = CASES[name]
    random = np.random.default_rng([len(name), noisy])
    data = case.data(1.5 if noisy else 0.0, random)
    problem, values = case.problem(), np.array(list(case.rates.values()))
    signs = AWAY ** np.where(np.arange(len(values)) % 2, -1.0, 1.0)
    exact = ProjectedPaths(problem, data)
    exact.prepare(values)
    while exact.widen(values) or exact.widen(values * signs):
        pass
    here, there = exact.evaluate(values), exact.evaluate(values * signs).value
    steps = [1e-3 * v * e for v, e in zip(values, np.eye(len(values)), strict=True)]
    curve = [(exact.evaluate(values - s).score - exact.evaluate(values + s).score)[i] for i, s in enumerate(steps)]
    information = np.array(curve) / (2e-3 * values)
    width = np.sqrt(np.where(information > 0, information, np.inf))  # one over the standard error, the others known
    adapted = ParticlePaths(problem, data)
    adapted.prepare(values)
    near, far, scores, noise = [], [], [], []
    for seed in range(options.runs):
        filters = ParticlePaths(problem, data, seed, adapted.particles)
        filters.prepare(values)
        found = filters.estimate(values)
        near.append(found.values.sum(axis=1) - here.value)
        scores.append(found.score)
        noise.append(found.noise)
        far.append(filters.estimate(values * signs).values.sum(axis=1) - there)
    rows = [np.exp(np.concatenate(part)) for part in (near, far)]
    z, z_away = ((row.mean() - 1) / (row.std(ddof=1) / np.sqrt(len(row))) for row in rows)
    off, spread = np.mean(scores, axis=0) - here.score, np.std(scores, axis=0, ddof=1)
    return {
        "model": name,
        "errors": noisy,
        "states": len(exact.space),
        "particles": adapted.particles,
        "filters": len(rows[0]),
        "z": float(z),
        "z_away": float(z_away),
        "sd": float(np.std(np.concatenate(near), ddof=1)),
        "score_percent": float(np.max(np.abs(off / here.score)) * 100),
        "score_z": float(np.max(np.abs(off / (spread / np.sqrt(options.runs))))),
        "score_in_se": float(np.max(np.abs(off) / width)),
        "one_run_in_se": float(np.max(spread / width)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each model, without and with errors of measurement."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description="Particle filters against the exact forward filter.")
    parser.add_argument("--runs", type=int, default=40, help="runs of eight filters each")
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("-o", "--output", help="JSON file")
    options = parser.parse_args(given)
    rows: list[dict[str, Any]] = []
    for name in options.models.split(","):
        for noisy in (False, True):
            rows.append(judged(name, noisy, options))
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in rows[-1].values()), flush=True)
            if options.output:
                write(options.output, facts("particles.py", given, 0), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
