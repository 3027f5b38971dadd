"""Optimisers that are handed in come to the same end."""

from __future__ import annotations

import numpy as np
import optax
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError

TIMES = np.linspace(1, 8, 8)


@pytest.fixture(scope="module")
def birth_death() -> tuple[sg.ReactionNetwork, pd.DataFrame]:
    """A network far from the truth, and moments (made by numpy) of 400 other cells at each time."""
    network = sg.ReactionNetwork(
        [[1, -1]],
        lambda x, p: (p["k"], p["g"] * x[0]),
        [0],
        {"k": 3.0, "g": 1.0},
        species=("X",),
    )
    random = np.random.default_rng(4)
    cells = [random.poisson(20 * (1 - np.exp(-0.5 * t)), 400) for t in TIMES]
    rows = {"time": TIMES, "X-mean": [c.mean() for c in cells], "X-sd": [c.std(ddof=1) for c in cells]}
    return network, pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("method", "optimiser"),
    [
        pytest.param("ssa", optax.adam(0.1), marks=pytest.mark.slow),  # hundreds of ensembles
        ("ode", optax.adam(0.1)),
        ("ode", optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))),
    ],
)
def test_the_end_is_the_same(
    birth_death: tuple[sg.ReactionNetwork, pd.DataFrame], method: str, optimiser: optax.GradientTransformation
) -> None:
    network, data = birth_death
    bounds = {"k": (0.1, 100.0), "g": (0.01, 10.0)}
    init = {"k": 13.0, "g": 0.6} if method == "ssa" else None  # a shorter way, since each look is an ensemble
    usual, other = (
        sg.fit(network, data, bounds, init=init, method=method, n=400, seed=1, **words)  # type: ignore[arg-type]
        for words in ({}, {"optimiser": optimiser})
    )
    assert usual.converged
    assert other.converged, other.message
    off = (other.parameters["estimate"] - usual.parameters["estimate"]) / usual.parameters["stderr"]
    assert np.abs(off).max() < (1e-3 if method == "ode" else 1.5)  # the error of each end is half of the data's at most
    assert len(other.history) > len(usual.history)


def test_what_is_no_optimiser_is_refused(birth_death: tuple[sg.ReactionNetwork, pd.DataFrame]) -> None:
    network, data = birth_death
    with pytest.raises(FitError, match="optimiser 'adam': not available; use 'gauss_newton' or"):
        sg.fit(network, data, {"k": None}, optimiser="adam")
