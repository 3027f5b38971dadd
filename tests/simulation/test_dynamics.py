"""Mean dynamics of large networks take room in proportion to what reactions change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.network import ReactionNetwork, discretise
from sbmlgrad.simulation import dynamics as module
from sbmlgrad.simulation.dynamics import Dynamics, of_network
from sbmlgrad.simulation.forecast import forecast


@pytest.fixture(scope="module")
def network(model: Callable[..., sg.Model]) -> ReactionNetwork:
    """Molecules that go round on a ring, in pairs, too."""
    size = 30
    species = {f"S{i}": {"amount": 10 * (i % 4)} for i in range(size)}
    reactions = {f"r{i}": (f"S{i} -> S{(i + 1) % size}", f"k * S{i}") for i in range(size)}
    reactions |= {f"p{i}": (f"S{i} + S{i + 2} -> 2 S{i + 1}", f"k * S{i} * S{i + 2}") for i in range(size - 2)}
    return discretise(model(species, reactions, {"k": 0.1})).network


def of(network: ReactionNetwork) -> Dynamics:
    return of_network(network, network.x0, network.coefficients)


def test_jumps_are_not_written_out(network: ReactionNetwork) -> None:
    ahead = forecast(of(network), 0.0, 1.0, 1e8)
    assert ahead.complete
    assert "stoichiometry" not in vars(network)


def test_sparse_matrices_say_what_dense_ones_say(network: ReactionNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = of(network)
    expected, steps = forecast(dense, 0.0, 2.0, 1e8), np.full(30, 1e-4)
    jacobian, squares, entries = dense.jacobian(0.0, dense.state, steps), dense.squares, dense.entries
    monkeypatch.setattr(module, "_LARGEST_DENSE", 1)
    sparse = of(network)
    assert sparse.entries == len(network.columns.values) < entries == network.stoichiometry.size
    np.testing.assert_array_equal(sparse.matrix.toarray(), network.stoichiometry)
    np.testing.assert_array_equal(sparse.squares.toarray(), squares)
    np.testing.assert_array_equal(sparse.changing, dense.changing)
    assert forecast(sparse, 0.0, 2.0, 1e8).firings == pytest.approx(expected.firings, rel=1e-9)
    np.testing.assert_allclose(sparse.jacobian(0.0, sparse.state, steps), jacobian)


def test_what_is_too_large_to_follow_is_taken_to_fire_as_at_first(
    network: ReactionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked for that takes the square of the number of species."""
    large = of(network)
    monkeypatch.setattr("sbmlgrad.simulation.mean_course._OF_A_MATRIX", 1.0)
    ahead = forecast(large, 0.0, 2.0, 1e8, closely=False)
    total = large.propensities_and_slopes(np.zeros(1), large.state[:, None])[0].sum()
    assert ahead.firings == pytest.approx(2.0 * total)
    assert ahead.steps == 0
    assert not ahead.complete
    assert "pattern" not in vars(large)
