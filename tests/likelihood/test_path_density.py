"""Densities of paths at other parameters, against the formula."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.likelihood.path_density import PathDensity

WAITS = [0.3, 0.1, 0.4, 0.2]
FIRED = [0, 0, 1, 2]  # none at the end
COUNTS = [2.0, 3.0, 4.0, 3.0]


def log_density(k: float, v: float, h: float) -> float:
    total = 0.0
    for x, wait, reaction in zip(COUNTS, WAITS, FIRED, strict=True):
        rates = [k + 0.5 * k * x, v * x / (h + x)]
        total += (np.log(rates[reaction]) if reaction < 2 else 0.0) - wait * sum(rates)
    return float(total)


@pytest.mark.parametrize(("move", "error"), [(1.5, 1e-12), (1.02, 1e-6)])
def test_against_the_formula(move: float, error: float) -> None:
    """Factors are exact however far one goes; others to second order."""
    network = sg.ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["k"] * (1 + 0.5 * x[0]), p["v"] * x[0] / (p["h"] + x[0])]),
        [2],
        {"k": 1.0, "v": 3.0, "h": 4.0},
        species=("X",),
    )
    names = ["k", "v"] if move == 1.5 else ["k", "v", "h"]
    problem = differentiable(network, names)
    values = np.array([1.0, 3.0, 4.0])[: len(names)]
    density = PathDensity.of(problem, problem.at(values), np.arange(8.0)[None])
    assert (density.factors, density.curved) == (((0, 1), ()) if move == 1.5 else ((0,), (1,)))
    start, now = (tuple(map(jnp.asarray, problem.at(v).coefficients)) for v in (values, values * move))
    kept = np.zeros((density.size, 1))
    for x, wait, reaction in zip(COUNTS, WAITS, FIRED, strict=True):
        kept += np.stack(density.gains((jnp.array([x]),), jnp.array([float(reaction)]), jnp.array([wait]), start))
    found = float(density.log_ratio(jnp.asarray(kept), start, now)[0])
    there = [1.0 * move, 3.0 * move, 4.0 * move if len(names) == 3 else 4.0]
    assert found == pytest.approx(log_density(*there) - log_density(1.0, 3.0, 4.0), abs=error)
