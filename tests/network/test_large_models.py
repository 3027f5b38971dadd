"""Reading large models: the work is counted, not timed, and grows with the document, not faster."""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from typing import Any

import pytest

import sbmlgrad as sg
from sbmlgrad.network import discretise
from sbmlgrad.network.stochastic import chemistry_of

Arguments = tuple[dict[str, Any], dict[str, tuple[str, str]], dict[str, float]]
RATES = {f"k{i}": 1.0 + 0.1 * i for i in range(5)}
_SIZE = 150
_MOST = 2.15  # times the work for twice the reactions; what is not linear in them comes near 4


def cascade(size: int) -> Arguments:
    """Each species makes the next, and vanishes."""
    species = {f"S{i}": {"amount": 0} for i in range(size)}
    reactions = {"M0": ("-> S0", "k0")}
    for i in range(size):
        reactions[f"D{i}"] = (f"S{i} ->", f"k{i % 5}*S{i}")
        if i:
            reactions[f"M{i}"] = (f"S{i - 1} -> S{i - 1} + S{i}", f"k{i % 5}*S{i - 1}")
    return species, reactions, RATES


def dimers(size: int) -> Arguments:
    """Each species pairs with itself."""
    species = {f"{kind}{i}": {"amount": 10} for i in range(size) for kind in ("S", "D")}
    reactions = {}
    for i in range(size):
        reactions[f"P{i}"] = (f"2 S{i} -> D{i}", f"k0*S{i}*(S{i} - 1)")
        reactions[f"U{i}"] = (f"D{i} -> 2 S{i}", f"k1*D{i}")
    return species, reactions, RATES


def promoters(size: int) -> Arguments:
    """Each switches on and off where there is room for it: that each law stops at 0 is shown, one by one."""
    species = {f"G{i}": {"amount": 0} for i in range(size)}
    reactions = {}
    for i in range(size):
        reactions[f"on{i}"] = (f"-> G{i}", f"k0*(1 - G{i})")
        reactions[f"off{i}"] = (f"G{i} ->", f"k1*G{i}")
    return species, reactions, RATES


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, those of libraries included."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("network", [cascade, dimers, promoters])
def test_work_is_linear_in_reactions(network: Callable[[int], Arguments], text: Callable[..., str]) -> None:
    def work(size: int) -> Callable[[], object]:
        document = text(*network(size))
        return lambda: discretise(sg.read_sbml(document))

    calls(work(10))  # what happens once
    once, twice = calls(work(_SIZE)), calls(work(2 * _SIZE))
    assert twice < _MOST * once


def test_jumps_of_a_large_network_are_not_written_out(model: Callable[..., sg.Model]) -> None:
    network = discretise(model(*cascade(_SIZE))).network
    assert "stoichiometry" not in vars(network)
    assert len(network.columns.values) == 2 * _SIZE
    changed = network.with_parameters(dict.fromkeys(list(network.parameters)[:1], 2.0))
    assert "stoichiometry" not in vars(changed)
    assert network.stoichiometry.shape == (_SIZE, 2 * _SIZE)
    assert network.stoichiometry.dtype == int


def test_a_pair_of_molecules_is_no_room(model: Callable[..., sg.Model]) -> None:
    """X - 1 beside X is never below 0 where X is not; other initial counts decide nothing."""
    chemistry = chemistry_of(model(*dimers(1)))
    assert chemistry.structural == set()
    assert chemistry.differences == {}
    assert [str(channel.law) for channel in chemistry.channels] == [
        "count:S0*k0*(count:S0 - 1)",
        "count:D0*k1",
    ]
