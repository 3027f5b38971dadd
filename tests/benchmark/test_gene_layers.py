"""Layers of genes in their cheap form: the law and the gradient of the network, reaction by reaction."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

import sbmlgrad as sg

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def layers(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("gene_layers")


@pytest.fixture(scope="module")
def small(layers: ModuleType) -> Tree:
    """Three pixels, four hidden genes, two classes, with weights of some size."""
    parameters = layers.initial(3, 4, 2, seed=1)
    rng = np.random.default_rng(0)
    parameters["readout"]["weights"] = rng.normal(scale=0.2, size=(4, 2))
    parameters["hidden"]["bias"] = np.array([0.5, 1.0, 0.0, -1.0])
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parameters)


IMAGE = np.array([200.0, 30.0, 90.0])


def test_the_number_of_parameters_is_that_of_the_paper(layers: ModuleType) -> None:
    assert sum(leaf.size for leaf in jax.tree.leaves(layers.initial(784, 256, 10, seed=0))) == 203_796


def test_paths_are_ordered_births_and_losses_at_their_rates(layers: ModuleType) -> None:
    """Births and what is left at time 1 are Poisson: 16 comparisons within 4.5 standard errors, 1 alarm in 9,000."""
    rates = np.tile([0.0, 0.5, 3.0, 20.0], (4000, 1))
    paths = layers.draw_paths(rates, np.random.default_rng(3))
    assert np.all(paths.gene[0] == 4)
    assert np.sum(paths.change != 0) == paths.events.sum()
    for gene, rate in enumerate(rates[0]):
        here = (paths.gene == gene) * paths.change
        assert np.all(np.cumsum(here, axis=0) >= 0)
        left = rate * (1 - np.exp(-layers.HIDDEN_LOSS)) / layers.HIDDEN_LOSS
        for counts, mean in ((np.sum(here > 0, axis=0), rate), (here.sum(axis=0), left)):
            assert abs(counts.mean() - mean) <= 4.5 * np.sqrt(mean / 4000)
            assert abs(counts.var() - mean) <= 4.5 * np.sqrt((mean + 2 * mean**2) / 4000)
    # All intervals together: integrals over [0, 1] of exp(-d (1 - s)), and of that times (1 - exp(-h s)) / h.
    loss, slow = layers.READOUT_LOSS, layers.HIDDEN_LOSS
    whole = (1 - np.exp(-loss)) / loss
    grown = (whole - np.exp(-loss) * (np.exp(loss - slow) - 1) / (loss - slow)) / slow
    np.testing.assert_allclose(paths.seen.sum(axis=0), whole)
    np.testing.assert_allclose(paths.grown.sum(axis=0), grown)


@pytest.mark.parametrize("until", [1.0, 0.4])
def test_the_read_out_has_the_law_of_the_network(layers: ModuleType, small: Tree, until: float) -> None:
    """Means, variances and covariance of two counts: 5 comparisons within 4.5 standard errors, and events in number."""
    n = 6000
    counts, events = layers.read_out(small, np.tile(IMAGE, (n, 1)), seed=1, until=until)
    net = layers.network(small)
    run = sg.expectations(net.with_inputs(IMAGE), lambda x, p, image: x[4:], [until], n=n, seed=2)
    a, b = counts.astype(float), run.values[0].T
    for f in (lambda x: x, lambda x: (x - b.mean(axis=0)) ** 2, lambda x: np.prod(x - b.mean(axis=0), axis=1)[:, None]):
        error = np.sqrt((np.var(f(a), axis=0) + np.var(f(b), axis=0)) / n)
        assert np.all(np.abs(f(a).mean(axis=0) - f(b).mean(axis=0)) < 4.5 * error)
    rates = np.asarray(layers.drives(small, IMAGE[None]))[0]
    left = rates * (1 - np.exp(-layers.HIDDEN_LOSS * until)) / layers.HIDDEN_LOSS
    expected = np.sum(2 * rates * until - left)
    assert abs(events.mean() - expected) < 4.5 * np.std(events) / np.sqrt(n)


def test_more_molecules_drive_as_much_with_less_noise(layers: ModuleType, small: Tree) -> None:
    """Twice the molecules make twice the read-out, of a variance less than twice the old one's: the drive has less.

    Means within 4.5 standard errors; the curvature of the softplus moves them by less than that.
    """
    n = 6000
    one, two = (
        layers.read_out(layers.with_copies(small, factor), np.tile(IMAGE, (n, 1)), seed=3)[0] for factor in (20.0, 40.0)
    )
    off = two.mean(axis=0) - 2 * one.mean(axis=0)
    assert np.all(np.abs(off) < 4.5 * np.sqrt((np.var(two, axis=0) + 4 * np.var(one, axis=0)) / n))
    relative = [counts.var(axis=0) / counts.mean(axis=0) ** 2 for counts in (one, two)]
    np.testing.assert_allclose(relative[0], 2 * relative[1], rtol=0.2)


def test_its_other_form_takes_rates_in_place_of_images(layers: ModuleType, small: Tree) -> None:
    rates = np.asarray(layers.drives(small, IMAGE[None]))
    runs = [
        sg.expectations(net, lambda x, p, inputs: x, [1.0], inputs=given, n=20, seed=2)
        for net, given in ((layers.network(small), IMAGE[None]), (layers.network(small, of_images=False), rates))
    ]
    assert np.array_equal(runs[0].values, runs[1].values)


def test_the_gradient_is_about_that_of_the_network(layers: ModuleType, small: Tree) -> None:
    """Against the unbiased score of the network: within 10 % of the largest, beside 4.5 standard errors."""
    n = 4000
    batch = {"image": np.tile(IMAGE, (n, 1)), "label": np.zeros(n, int)}
    loss, gradient = layers.loss_and_gradient(small, batch, seed=5)

    def cross_entropy(x: jax.Array, p: Tree, image: jax.Array) -> jax.Array:
        return -jax.nn.log_softmax(layers.SHARPNESS * x[4:])[0]

    judge = sg.value_and_grad(layers.network(small).with_inputs(IMAGE), cross_entropy, [1.0], n=20_000, seed=6)
    assert abs(loss - judge.value) < 4.5 * judge.stderr * np.sqrt(1 + 20_000 / n)
    for layer in ("hidden", "readout"):
        for name, slope in judge.gradient[layer].items():
            off = np.abs(np.asarray(gradient[layer][name]) - slope)
            assert np.all(off < 0.1 * np.abs(slope).max() + 4.5 * judge.gradient_stderr[layer][name]), (layer, name)
