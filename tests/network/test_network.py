"""Parameters of a network: numbers, arrays and trees of arrays, all in one order."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError

JUMPS = np.array([[1, -1]])


def layered(x: Array, p: dict[str, Any]) -> Array:
    hidden = x
    for layer in p["layers"]:
        hidden = jnp.tanh(layer["weights"] @ hidden + layer["bias"])
    return jnp.concatenate([p["out"][1] * jax.nn.softplus(p["out"][0] @ hidden)[None], p["decay"] * x])


def parameters() -> dict[str, Any]:
    """Names that do not come in the order of the alphabet, since JAX would sort them."""
    return {
        "out": (np.ones(2), 3.0),
        "layers": [{"weights": np.ones((2, 1)), "bias": [0.5, 1]}, {"weights": np.eye(2), "bias": np.zeros(2)}],
        "decay": 1.0,
    }


def test_flat_parameters_are_as_they_were() -> None:
    net = sg.ReactionNetwork(JUMPS, lambda x, p: p["z"] * x[0] * p["a"], [1], {"z": [1, 2], "a": 3})
    assert list(net.parameters) == ["z", "a"]
    assert [c.tolist() for c in net.coefficients] == [[1.0, 2.0], 3.0]
    assert all(isinstance(v, np.ndarray) and v.dtype == np.float64 for v in net.parameters.values())
    assert net.structured(net.coefficients) == {"z": net.coefficients[0], "a": net.coefficients[1]}


def test_trees_keep_their_structure_and_their_order() -> None:
    net = sg.ReactionNetwork(JUMPS, layered, [2], parameters())
    shapes = [c.shape for c in net.coefficients]
    assert shapes == [(2,), (), (2,), (2, 1), (2,), (2, 2), ()]  # name by name, and within a name as JAX has it
    assert isinstance(net.parameters["out"], tuple)
    assert net.parameters["layers"][0]["bias"].tolist() == [0.5, 1.0]
    rebuilt = net.structured(net.coefficients)
    assert list(rebuilt) == ["out", "layers", "decay"]
    assert jax.tree.structure(rebuilt) == jax.tree.structure(net.parameters)
    x = jnp.array([2.0])
    expected = layered(x, net.parameters)
    assert net.propensities_at(x, net.coefficients).tolist() == expected.tolist()
    assert net.rates is not None
    assert [float(r[0]) for r in net.rates((jnp.array([2.0]),), net.coefficients)] == pytest.approx(expected.tolist())


def test_networks_with_trees_are_simulated() -> None:
    net = sg.ReactionNetwork(JUMPS, layered, [2], parameters())
    sim = sg.simulate(net, [1.0], n=20)
    assert sim.events > 0
    assert np.all(sg.simulate(net, [1.0], n=20, parameters={"decay": 0.0}).counts >= 2)


def test_other_values_must_have_the_same_structure() -> None:
    net = sg.ReactionNetwork(JUMPS, layered, [2], parameters())
    doubled = jax.tree.map(lambda leaf: 2 * leaf, net.parameters)
    assert [c.tolist() for c in net.coefficients_of(doubled)] == [(2 * c).tolist() for c in net.coefficients]
    with pytest.raises(SbmlgradError, match="values for out, layers, decay"):
        net.coefficients_of({"decay": 1.0})
    with pytest.raises(SbmlgradError, match=r"parameter 'decay'.*shapes \[\(\)\], got shapes \[\(2,\)\]"):
        net.coefficients_of({**doubled, "decay": np.ones(2)})
    with pytest.raises(SbmlgradError, match="parameter 'out'"):
        net.coefficients_of({**doubled, "out": [np.ones(2), 3.0]})  # a list is no tuple


@pytest.mark.parametrize("value", ["fast", {"rate": "fast"}, [np.ones(2), object()]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(SbmlgradError, match="parameter 'k': expected numbers, arrays or trees") as error:
        sg.ReactionNetwork(JUMPS, layered, [2], {"k": value})
    assert "\n" not in str(error.value)
