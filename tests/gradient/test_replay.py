"""Reverse mode by replay: the trajectories of the ensemble, the derivatives of forward mode and of the exact answer.

False alarms: where a statistical test has a number of standard errors for its bound, seeds are fixed and the chance of
a false alarm is given beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SbmlgradError, SimulationError, TruncationError
from sbmlgrad.gradient.value_and_grad import Gradient, value_and_grad
from sbmlgrad.network import ReactionNetwork, discretise
from sbmlgrad.simulation import ensemble
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.replay import array_loop, run_batches

pytestmark = pytest.mark.filterwarnings("ignore:.* a number of molecules that is not whole")

BOTH = ["score", "straight_through"]
NAMES = [f"k{i}" for i in range(10)]
VALUES = [4.0, 0.3, 0.05, 1.2, 0.02, 0.6, 2.0, 0.15, 0.7, 3.0]


@cache  # with what is compiled for it
def cascade() -> ReactionNetwork:
    """Three species, eight reactions and ten numbers for parameters; two initial counts are fractions."""

    def propensities(x: Array, p: dict[str, Array]) -> Array:
        a, b, c = x[0], x[1], x[2]
        k = [p[name] for name in NAMES]
        return jnp.stack(
            [
                k[0] / (1 + (c / k[9]) ** 2),
                k[1] * a,
                k[2] * a * (a - 1),
                k[3] * b,
                k[4] * b * (1 + a),
                k[5] * c,
                k[6] * a / (k[8] + a + b),
                k[7] * c,
            ]
        )

    jumps = [[1, -1, -2, 2, 0, 0, -1, 0], [0, 0, 1, -1, -1, 0, 0, 1], [0, 0, 0, 0, 1, -1, 3, -1]]
    return ReactionNetwork(jumps, propensities, x0=[5.2, 2.5, 3], parameters=dict(zip(NAMES, VALUES, strict=True)))


@cache
def birth_death() -> ReactionNetwork:
    return ReactionNetwork(
        [[1, -1]], lambda x, p: jnp.stack([p["k"], p["g"] * x[0]]), x0=[0], parameters={"k": 10.0, "g": 1.0}
    )


@cache
def genes(count: int) -> ReactionNetwork:
    """More reactions than are added up one by one."""
    rng = np.random.default_rng(0)
    eye = np.eye(count, dtype=int)
    return ReactionNetwork(
        np.hstack([eye, -eye]),
        lambda x, p: jnp.concatenate([5 * jax.nn.sigmoid(p["weights"] @ x + p["bias"]), x]),
        x0=np.ones(count),
        parameters={"weights": rng.normal(size=(count, count)) / count, "bias": np.full(count, -1.0)},
    )


@cache
def switched() -> ReactionNetwork:
    """Clones that die out at once or grow to thousands: births, deaths, and a mutation that stops them."""
    return ReactionNetwork(
        [[1, -1]],
        lambda x, p: jnp.stack([p["birth"] * x[0], p["death"] * x[0]]),
        x0=[1],
        parameters={"birth": 2.0, "death": 1.0},
    )


# ---- trajectories --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "times", "start", "n", "batch_size"),
    [
        (cascade, [0.0, 0.5, 3.0, 10.0], 0.0, 50, 16),
        (cascade, np.linspace(1.0, 9.0, 90), 1.0, 20, 24),  # more times than the ensemble handles at once
        (lambda: genes(40), [0.3, 1.0], 0.0, 20, 20),
        (lambda: ReactionNetwork(np.zeros((1, 0), int), lambda x, p: jnp.zeros(0), x0=[3]), [0.0, 1.0], 0.0, 3, 2),
    ],
    ids=["fractions", "many times", "genes", "no reactions"],
)
def test_trajectories_are_those_of_the_ensemble(
    network: Callable[[], ReactionNetwork], times: Any, start: float, n: int, batch_size: int
) -> None:
    net = network()
    task = Ensemble(net, net.x0, net.coefficients, np.asarray(times, float), n, seed=3, start=start)
    chunks = list(ensemble.run(task))
    expected = np.concatenate([np.stack(chunk.records) for chunk in chunks], axis=-1)
    batches = list(run_batches(task, array_loop(net, batch_size, len(times)), keep=False))
    got = np.concatenate([batch.observed[..., : batch.count] for batch in batches], axis=-1)
    assert np.array_equal(got, np.swapaxes(expected, 0, 1))
    assert sum(batch.events for batch in batches) == sum(chunk.events for chunk in chunks)
    assert not any(batch.checkpoints for batch in batches)


# ---- forward mode --------------------------------------------------------------------------------------


def forward(network: ReactionNetwork, times: list[float], n: int, seed: int, estimator: str) -> np.ndarray:
    """Derivatives (parameters, functions, times) of means and second moments by forward mode."""
    from sbmlgrad.gradient.estimator import Task
    from sbmlgrad.gradient.observables import Moment
    from sbmlgrad.gradient.problem import differentiable
    from sbmlgrad.gradient.score import Score
    from sbmlgrad.gradient.straight_through import StraightThrough

    functions = [Moment(s) for s in network.species] + [Moment(s, s) for s in network.species]
    chosen = Score() if estimator == "score" else StraightThrough(window=math.inf)
    problem = differentiable(network, NAMES, functions)
    return chosen.estimate(problem, Task(VALUES, np.array(times), n, seed)).derivatives


@pytest.mark.parametrize("estimator", BOTH)
def test_gradients_are_those_of_forward_mode(estimator: str) -> None:
    times = [0.0, 0.5, 2.0, 5.0]
    weights = np.random.default_rng(0).normal(size=(4, 6))
    net = cascade()
    expected = forward(net, times, 200, 7, estimator)

    def moments(x: Array, p: object) -> Array:
        return jnp.concatenate([x, x**2])

    linear = [] if estimator == "score" else [(lambda x, p: x, slice(0, 3), 64)]  # where it goes another way
    for function, columns, batch in [(moments, slice(0, 6), None), *linear]:
        chosen = weights[:, columns]
        result = value_and_grad(
            net,
            function,
            times,
            loss=lambda e, w=chosen: jnp.sum(e * w),
            n=200,
            seed=7,
            estimator=estimator,
            batch=batch,
        )
        got = [result.gradient[name] for name in NAMES]
        assert got == pytest.approx(np.einsum("pmk,km->p", expected[:, columns], chosen), rel=1e-6)


# ---- the exact answer ----------------------------------------------------------------------------------

MOST = 40  # molecules in the exact answer


@cache
def neural() -> ReactionNetwork:
    """A gene whose production is a small neural network of its product; parameters in tuples, lists and dicts."""
    rng = np.random.default_rng(1)

    def propensities(x: Array, p: dict[str, Any]) -> Array:
        hidden = x / 10
        for weights, bias in p["layers"]:
            hidden = jnp.tanh(weights @ hidden + bias)
        return jnp.stack([8 * jax.nn.softplus(p["out"]["weights"] @ hidden + p["out"]["bias"]), p["decay"] * x[0]])

    layers = [(rng.normal(size=(3, 1)), rng.normal(size=3)), (rng.normal(size=(2, 3)), rng.normal(size=2))]
    parameters = {
        "layers": layers,
        "out": {"weights": rng.normal(size=2), "bias": np.array(0.1)},
        "decay": 1.0,
        "readout": np.array([0.5, 0.02]),
    }
    return ReactionNetwork([[1, -1]], propensities, x0=[2], parameters=parameters)


def exact(net: ReactionNetwork, function: Callable[..., Any], times: list[float], leaves: list[np.ndarray]) -> float:
    """The sum of E f(X_t) by the matrix exponential of the generator, cut off at MOST molecules."""
    states = jnp.arange(MOST + 1.0)[:, None]
    birth, death = np.asarray(jax.vmap(lambda x: net.propensities_at(x, leaves))(states)).T
    generator = np.diag(birth[:-1], -1) + np.diag(death[1:], 1)
    generator -= np.diag(generator.sum(axis=0))
    values = np.asarray(jax.vmap(lambda x: jnp.atleast_1d(function(x, net.structured(leaves))))(states)).sum(axis=1)
    start = np.zeros(MOST + 1)
    start[int(net.x0[0])] = 1.0
    return float(sum(values @ (expm(generator * t) @ start) for t in times))


@pytest.mark.parametrize(
    ("function", "estimator"),
    [
        ("linear", "score"),
        ("linear", "straight_through"),
        ("square", "straight_through"),
        ("bin", "score"),  # of which straight-through has a bias
    ],
)
def test_a_neural_propensity_has_the_exact_gradient(function: str, estimator: str) -> None:
    """20 derivatives in each case, the functions' own parameters among them: a false alarm in 1 of 100 runs."""
    net = neural()
    times = [0.3, 1.0]

    def observed(x: Array, p: dict[str, Any]) -> Array:
        weights = p["readout"]
        if function == "linear":
            return weights[0] * x[0] + weights[1]
        if function == "square":
            return jnp.stack([weights[0] * x[0], weights[1] * x[0] ** 2])
        return weights[0] * jnp.where(x[0] > 6, 1.0, 0.0)

    result = value_and_grad(net, observed, times, n=6000, seed=11, estimator=estimator)
    leaves = [leaf.copy() for leaf in net.coefficients]
    expected, got = [], []
    assert jax.tree.structure(result.gradient) == jax.tree.structure(net.parameters)
    ordered = [leaf for name in net.parameters for leaf in jax.tree.leaves(result.gradient[name])]
    errors = [leaf for name in net.parameters for leaf in jax.tree.leaves(result.gradient_stderr[name])]
    for leaf, slope, error in zip(leaves, ordered, errors, strict=True):
        assert slope.shape == error.shape == leaf.shape
        for index in np.ndindex(leaf.shape):
            value, ends = float(leaf[index]), []
            for shift in (1e-4, -1e-4):
                leaf[index] = value + shift
                ends.append(exact(net, observed, times, leaves))
            leaf[index] = value
            expected.append((ends[0] - ends[1]) / 2e-4)
            got.append((float(slope[index]), float(error[index])))
    assert len(expected) == 20
    for (slope, error), truth in zip(got, expected, strict=True):
        assert abs(slope - truth) < 4 * error + 1e-7
    assert abs(result.value - exact(net, observed, times, leaves)) < 4 * result.stderr


@pytest.mark.parametrize("estimator", BOTH)
def test_standard_errors_are_honest(estimator: str) -> None:
    """Squares of z over 60 seeds, each with 8 or more degrees of freedom: false alarms in 1 of 1,000 runs."""
    net, time = birth_death(), 1.0
    fading = math.exp(-time)
    truth = {"k": 1 - fading, "g": -10 * (1 - fading) + 10 * time * fading}
    value = 10 * (1 - fading)

    def count(x: Array, p: object) -> Array:
        return x[0]

    runs = [value_and_grad(net, count, [time], n=200, seed=seed, estimator=estimator, batch=100) for seed in range(60)]
    scores = {
        "value": [(run.value - value) / run.stderr for run in runs],
        **{name: [(run.gradient[name] - truth[name]) / run.gradient_stderr[name] for run in runs] for name in truth},
    }
    for z in scores.values():
        squares = float(np.sum(np.square(z)))
        assert stats.chi2.ppf(1e-4, 60) < squares < stats.chi2.ppf(1 - 1e-4, 60) * 1.1
        assert abs(np.sum(z)) < 4 * math.sqrt(60)


@pytest.mark.parametrize("estimator", BOTH)
def test_trajectories_of_very_different_lengths(estimator: str) -> None:
    """Some are extinct after one event and others take thousands; 4 comparisons, a false alarm in 1 of 4,000 runs."""
    net = switched()
    times = [0.5, 6.0]

    def count(x: Array, p: object) -> Array:
        return x[0]

    result = value_and_grad(net, count, times, loss=lambda e: e[1, 0], n=1500, seed=2, estimator=estimator)
    task = Ensemble(net, net.x0, net.coefficients, np.array(times), 1500, 2)
    ends = np.concatenate([chunk.records[0][1] for chunk in ensemble.run(task)])
    assert np.count_nonzero(ends == 0) > 300
    assert ends.max() > 100 * np.median(ends[ends > 0]) / 30
    truth = math.exp(6.0)  # E X_t = exp((birth - death) t)
    assert abs(result.value - truth) < 4 * result.stderr
    assert abs(result.gradient["birth"] - 6 * truth) < 4 * result.gradient_stderr["birth"]
    assert abs(result.gradient["death"] + 6 * truth) < 4 * result.gradient_stderr["death"]


# ---- the function itself -------------------------------------------------------------------------------


def first(x: Array, p: object) -> Array:
    return x[0]


@pytest.mark.parametrize("estimator", BOTH)
def test_batches_do_not_change_the_gradient(estimator: str) -> None:
    net = cascade()
    runs = [
        value_and_grad(net, lambda x, p: x, [0.0, 0.5, 2.0, 5.0], n=64, seed=1, estimator=estimator, batch=batch)
        for batch in (None, 7)  # of which there are too few for the groups of the first
    ]
    for run in runs:
        assert run.value == runs[0].value
        assert run.events == runs[0].events
        for name in NAMES:
            assert run.gradient[name] == pytest.approx(runs[0].gradient[name], rel=1e-9)
            assert 0 < run.gradient_stderr[name] < 10 * runs[0].gradient_stderr[name]


def test_few_trajectories_have_an_error_and_one_has_none() -> None:
    net = birth_death()
    few = value_and_grad(net, first, [1.0], n=9)
    assert few.gradient_stderr["g"] > 0
    assert few.stderr > 0
    alone = value_and_grad(net, first, [1.0], n=1)
    assert np.isnan(alone.stderr)
    assert np.isnan(alone.gradient_stderr["g"])
    assert np.isfinite(alone.gradient["g"])


def test_a_loss_that_is_not_linear_is_differentiated_at_the_expectations() -> None:
    net = birth_death()
    data = np.array([3.0, 7.0])
    result = value_and_grad(net, first, [0.5, 2.0], loss=lambda e: jnp.sum((e[:, 0] - data) ** 2), n=100, seed=4)
    slopes = 2 * (result.expectations[:, 0] - data)
    linear = value_and_grad(net, first, [0.5, 2.0], loss=lambda e: jnp.sum(e[:, 0] * slopes), n=100, seed=4)
    assert result.expectations.shape == (2, 1)
    assert result.value == pytest.approx(np.sum((result.expectations[:, 0] - data) ** 2))
    for name in ("k", "g"):
        assert result.gradient[name] == pytest.approx(linear.gradient[name])
        assert result.gradient_stderr[name] == pytest.approx(linear.gradient_stderr[name])
    assert result.stderr == pytest.approx(linear.stderr)


def test_parameters_can_be_given_without_compiling_again() -> None:
    """One comparison: a false alarm in 1 of 16,000 runs."""
    net = neural()
    value_and_grad(net, first, [0.5], n=400)
    compiled = set(net.compiled)
    other = jax.tree.map(lambda leaf: leaf * 0.5, net.parameters)
    result = value_and_grad(net, first, [0.5], n=400, parameters=other)
    assert set(net.compiled) == compiled
    truth = exact(net, first, [0.5], list(net.coefficients_of(other)))
    assert abs(truth - exact(net, first, [0.5], list(net.coefficients))) > 8 * result.stderr
    assert abs(result.value - truth) < 4 * result.stderr


def test_a_network_of_generated_rates(model: Callable[..., sg.Model]) -> None:
    """It has no function of a vector, and its values may be such that nothing is checked for signs."""
    read = model(
        {"A": {"amount": 20}, "B": {"amount": 0}},
        {"forth": ("A -> B", "c * A"), "back": ("B -> A", "d * B")},
        {"c": 1.0, "d": 0.5},
    )
    generated = discretise(read).network
    assert generated.propensities is None
    named = {float(value): name for name, value in generated.parameters.items()}
    written = ReactionNetwork(
        generated.stoichiometry,
        lambda x, p: jnp.stack([p["c"] * x[0], p["d"] * x[1]]),
        x0=generated.x0,
        parameters={"c": 1.0, "d": 0.5},
    )
    by_rates, by_vector = (
        value_and_grad(net, first, [1.0], n=50, estimator="straight_through") for net in (generated, written)
    )
    assert by_rates.value == by_vector.value
    assert by_rates.gradient[named[1.0]] == pytest.approx(by_vector.gradient["c"], rel=1e-9)
    assert by_rates.gradient[named[0.5]] == pytest.approx(by_vector.gradient["d"], rel=1e-9)
    negative = {name: -value for name, value in generated.parameters.items()}
    with pytest.raises(PropensityError):
        value_and_grad(generated, first, [1.0], n=5, parameters=negative)


def test_nothing_happens_in_a_network_that_cannot_react() -> None:
    net = ReactionNetwork([[-1]], lambda x, p: p["g"] * x, x0=[0], parameters={"g": 1.0})
    bare = ReactionNetwork(np.zeros((1, 0), int), lambda x, p: jnp.zeros(0), x0=[3], parameters={"g": 1.0})
    for estimator in BOTH:
        result = value_and_grad(net, lambda x, p: x[0] + p["g"], [0.0, 1.0], n=3, estimator=estimator)
        assert result.value == 2.0
        assert result.gradient["g"] == 2.0
        assert result.events == 0
        at_start = value_and_grad(net, first, [0.0], n=3, estimator=estimator)
        assert at_start.gradient["g"] == 0.0
        squared = value_and_grad(bare, lambda x, p: p["g"] * x**2, [1.0], n=3, estimator=estimator)
        assert squared.gradient["g"] == 9.0


def expect(message: str, call: Callable[[], Gradient], kind: type[SbmlgradError] = SbmlgradError) -> None:
    with pytest.raises(kind, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


def test_what_does_not_fit_is_refused() -> None:
    net = birth_death()
    expect("function: cannot be called", lambda: value_and_grad(net, lambda x: x, [1.0]))
    expect("(functions,), got shape (1, 1)", lambda: value_and_grad(net, lambda x, p: x[None], [1.0]))
    expect("(functions,), got shape (0,)", lambda: value_and_grad(net, lambda x, p: x[:0], [1.0]))
    expect("loss: cannot be called with", lambda: value_and_grad(net, first, [1.0], loss=lambda: 0, n=9))
    expect(
        "one number, got an array of shape (1,)", lambda: value_and_grad(net, first, [1.0], loss=lambda e: e[0], n=9)
    )
    expect("estimator 'best'", lambda: value_and_grad(net, first, [1.0], estimator="best"))
    expect("times: expected increasing", lambda: value_and_grad(net, first, [2.0, 1.0]), SimulationError)
    expect("whole numbers", lambda: value_and_grad(net, first, [1.0], n=2.5), SimulationError)
    expect("n: expected between", lambda: value_and_grad(net, first, [1.0], n=0), SimulationError)
    expect("batch: expected at least 1", lambda: value_and_grad(net, first, [1.0], batch=0))
    expect("parameters: expected values for k, g", lambda: value_and_grad(net, first, [1.0], parameters={"k": 1.0}))
    expect("'g': expected the structure", lambda: value_and_grad(net, first, [1.0], parameters={"k": 1, "g": [1, 2]}))
    expect("expected a ReactionNetwork, got str", lambda: value_and_grad("model.xml", first, [1.0]))
    still = ReactionNetwork([[1]], lambda x, p: jnp.ones(1), x0=[0])
    expect("no parameters", lambda: value_and_grad(still, first, [1.0]))


def test_errors_along_the_way_name_trajectory_time_and_reaction() -> None:
    net = ReactionNetwork(
        [[2, 1, 1]],
        lambda x, p: jnp.concatenate([p["leap"] * (3 - x), p["growth"] * (3 - x), p["explosion"] * x**2]),
        x0=[1],
        parameters={"leap": 0.0, "growth": 0.0, "explosion": 0.0},
        species=("A",),
        reactions=("leap", "growth", "explosion"),
    )

    def call(most: int = 10_000, **rates: float) -> Gradient:
        return value_and_grad(net, first, [50.0], n=4, max_events=most, parameters={**net.parameters, **rates})

    assert call(growth=1.0).value == 3.0
    assert call(most=2, growth=1.0).events == 8
    expect("more than the 1 allowed", lambda: call(most=1, growth=1.0), TruncationError)
    for part in ("reaction 'leap': its propensity is -1 at time ", "in trajectory ", " (A=4)"):
        expect(part, lambda: call(growth=1.0, leap=1.0), PropensityError)
    expect("reaction 'growth': its propensity is nan at time 0 in", lambda: call(growth=math.nan), PropensityError)
    for part in ("trajectory ", "species 'A' is at ", "more than the 1e+04 allowed"):
        expect(part, lambda: call(explosion=1.0), TruncationError)
