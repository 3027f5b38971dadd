"""Networks as data have the propensities that the functions have which the same documents give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.network.discretise import discretise
from sbmlgrad.network.mass_action import Lists, MassAction, mass_action_of, not_as_data
from sbmlgrad.simulation.ensemble import propensities_of

REACTIONS = {
    "made": ("-> A", "k0 * cell"),
    "gone": ("A ->", "k1 * A"),
    "pair": ("A + B -> C", "k2 * A * B / cell"),
    "dimer": ("2 A -> D", "k3 * A * (A - 1) / 2"),
    "square": ("2 B -> D", "k3 * B * B"),
    "cube": ("3 C -> A", "k4 * C * (C - 1) * (C - 2)"),
    "drain": ("C ->", "k5"),
    "helped": ("A + D -> A + B", "sqrt(k2) * D * A * 2"),
    "shifted": ("D -> B", "k1 * (2 * D + 3)"),
    "crowded": ("D -> B", "k1 * D * (30 - A / cell)"),
    "both": ("C <-> D", "k1 * C - k5 * D"),
}
PARAMETERS = {"k0": 3.0, "k1": 0.5, "k2": 0.2, "k3": 0.125, "k4": 0.01, "k5": 2.0}


@pytest.mark.parametrize("only", [True, False], ids=["amounts", "concentrations"])
def test_propensities_are_those_of_the_laws(model: Callable[..., sg.Model], only: bool) -> None:
    species = {name: {"amount": 20, "only": only} for name in "ABCD"}
    network = discretise(model(species, REACTIONS, PARAMETERS, {"cell": 2.5})).network
    data = mass_action_of(network)
    assert data is not None
    assert mass_action_of(network) is data
    x = np.random.default_rng(1).integers(0, 6, (4, 200)).astype(float)
    expected = propensities_of(network, network.coefficients, x)
    np.testing.assert_allclose(data.propensities(x, data.numbers(network.coefficients)), expected, rtol=1e-13)
    assert (expected == 0).any(axis=1).sum() >= 8


def test_parameters_are_other_numbers_in_the_same_arrays(model: Callable[..., sg.Model]) -> None:
    system = model({name: {"amount": 20} for name in "ABCD"}, REACTIONS, PARAMETERS, {"cell": 2.5})
    discrete = discretise(system)
    data = mass_action_of(discrete.network)
    assert data is not None
    coefficients = discrete.start([{**discrete.quantities, "k2": 0.7, "cell": 0.5}[k] for k in discrete.quantities])[1]
    x = np.full((4, 1), 5.0)
    expected = propensities_of(discrete.network, coefficients, x)
    np.testing.assert_allclose(data.propensities(x, data.numbers(coefficients)), expected, rtol=1e-13)


def test_what_follows_a_species_is_found(model: Callable[..., sg.Model]) -> None:
    network = discretise(model({name: {"amount": 20} for name in "ABCD"}, REACTIONS, PARAMETERS, {"cell": 1.0})).network
    data = mass_action_of(network)
    assert data is not None
    numbers, x = data.numbers(network.coefficients), np.full((4, 1), 7.0)
    before = data.propensities(x, numbers)
    for species in range(4):
        moved = x.copy()
        moved[species] -= 6
        changed = np.flatnonzero((data.propensities(moved, numbers) != before)[:, 0])
        follows = data.dependents.reactions[data.dependents.starts[species] : data.dependents.starts[species + 1]]
        assert set(changed) <= set(follows)
        assert len(set(follows)) == len(follows)
        assert set(follows) - set(changed) <= {network.reactions.index("drain")}  # which needs only one


NO_PRODUCTS = {
    "enzyme": ("A ->", "k1 * A / (k0 + A)"),
    "hill": ("-> B", "k2 * A^2.5 / (k4 + A^2.5) * B"),
    "summed": ("B ->", "k1 * A + k2 * B + k3 * C"),
    "above": ("C ->", "k1 * piecewise(C, A > 3, 2 * C)"),
    "bell": ("-> D", "k3 * exp(-A / (1 + B))"),
    "shared": ("D ->", "k3 * D * exp(-A / (1 + B)) / (1 + C)"),
    "rest": ("-> A", "max(0, k0 - A) + abs(B - 2) + floor(C / 2)"),
    "plain": ("A + B -> C", "k2 * A * B"),
}


def test_laws_that_are_no_products_are_instructions(model: Callable[..., sg.Model]) -> None:
    network = discretise(model({name: {"amount": 9} for name in "ABCD"}, NO_PRODUCTS, PARAMETERS)).network
    data = mass_action_of(network)
    assert data is not None
    assert data.code is not None
    instructions = dict(zip(network.reactions, np.diff(data.code.starts), strict=True))
    assert instructions["plain"] == 0
    x = np.random.default_rng(1).integers(0, 6, (4, 200)).astype(float)
    expected = propensities_of(network, network.coefficients, x)
    np.testing.assert_allclose(data.propensities(x, data.numbers(network.coefficients)), expected, rtol=1e-13)
    followed = [
        {network.reactions[j] for j in data.dependents.reactions[begin:end]}
        for begin, end in zip(data.dependents.starts[:-1], data.dependents.starts[1:], strict=True)
    ]
    assert followed[0] == {"enzyme", "hill", "summed", "above", "bell", "shared", "rest", "plain"}
    assert followed[3] == {"shared"}
    other = [2 * float(value) for value in network.coefficients]
    doubled = propensities_of(network, tuple(other), x)
    np.testing.assert_allclose(data.propensities(x, data.numbers(other)), doubled, rtol=1e-13)


def test_what_is_no_data_says_why(model: Callable[..., sg.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.network.law_code.LONGEST", 3)
    system = model({"A": {"amount": 9}}, {"fine": ("A ->", "k * A"), "odd": ("A ->", "k * A / (1 + A)")}, {"k": 1.0})
    network = discretise(system).network
    assert mass_action_of(network) is None
    assert not_as_data(network) == "the law of reaction 'odd' is too long, or follows more than numbers of molecules"
    python = sg.ReactionNetwork([[1]], lambda x, p: x + 1.0, [1])
    assert not_as_data(python) == "the propensities are a function from Python"


def test_a_network_of_arrays() -> None:
    """A -> B, and A + A -> B."""
    data = MassAction.of_arrays(
        size=2,
        constants=np.array([0.5, 0.25]),
        factors=Lists.of([[0], [0, 0]]),
        offsets=np.array([0.0, 0.0, 1.0]),
        jumps=Lists.of([[0, 1], [0, 1]]),
        changes=np.array([-1.0, 1.0, -2.0, 1.0]),
    )
    values = data.propensities(np.array([[4.0], [0.0]]), data.numbers(()))
    np.testing.assert_array_equal(values[:, 0], [2.0, 3.0])
    np.testing.assert_array_equal(data.dependents.starts, [0, 2, 2])
    assert data.updates == 2.0
