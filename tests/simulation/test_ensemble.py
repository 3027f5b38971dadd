"""Ensembles: the same bits however they are cut, and errors that say where, what and what to do."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats

import sbmlgrad as sg
from sbmlgrad.errors import (
    PropensityError,
    SbmlgradError,
    SimulationError,
    TruncationError,
    UnknownIdError,
)
from sbmlgrad.simulation import ensemble
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.result import Simulation

TIMES = np.linspace(0, 3, 150)  # more than are handled by one call of the loop


def network(
    jumps: Sequence[Sequence[int]],
    propensities: Callable[[Any], Sequence[Any]],
    x0: Sequence[float],
    **names: Any,
) -> sg.ReactionNetwork:
    def stacked(x: Array, parameters: object) -> Array:
        return jnp.stack([jnp.asarray(a, jnp.float64) for a in propensities(x)])

    return sg.ReactionNetwork(np.array(jumps), stacked, x0=x0, parameters={}, **names)


def dimerisation() -> sg.ReactionNetwork:
    """A new network each time, so that no compiled loop is found again."""
    return network([[-2, 2], [1, -1]], lambda x: [0.01 * x[0] * (x[0] - 1), 0.1 * x[1]], [60, 0])


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


# ---- seeds and layouts ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_trajectories() -> None:
    one, two = (sg.simulate(dimerisation(), TIMES, n=300, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.counts, two.counts)
    assert one.mean.equals(two.mean)
    assert one.sd.equals(two.sd)
    assert one.events == two.events
    other = sg.simulate(dimerisation(), TIMES, n=300, seed=6)
    assert np.mean(one.counts[:, 75, 0] == other.counts[:, 75, 0]) < 0.3


def test_a_smaller_ensemble_is_the_beginning_of_a_larger_one() -> None:
    net = dimerisation()
    small, large = (sg.simulate(net, TIMES, n=n, seed=1) for n in (700, 5000))
    np.testing.assert_array_equal(small.counts, large.counts[:700])
    single = sg.simulate(net, TIMES, n=1, seed=1)
    np.testing.assert_array_equal(single.counts, large.counts[:1])
    np.testing.assert_array_equal(single.mean, large.counts[0])


@pytest.fixture(scope="module")
def reference() -> Simulation:
    return sg.simulate(dimerisation(), TIMES, n=1500, seed=3)


@pytest.mark.parametrize(
    ("workers", "batch_size", "block", "window", "segment"),
    [
        (1, 256, 16, 4, 64),
        (3, 512, 4, 4, 64),
        (2, 1536, 16, 1, 64),
        (1, 768, 1, 2, 64),
        (2, 2048, 7, 9, 11),
        (4, 256, 16, 4, 1),
        (1, 1536, 4, 150, 150),
    ],
)
def test_no_layout_changes_a_bit(
    reference: Simulation,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    batch_size: int,
    block: int,
    window: int,
    segment: int,
) -> None:
    monkeypatch.setattr(ensemble, "layout", lambda *_: (workers, batch_size))
    monkeypatch.setattr(ensemble, "_block", lambda _: block)
    monkeypatch.setattr(ensemble, "_WINDOW", window)
    monkeypatch.setattr(ensemble, "_SEGMENT", segment)
    sim = sg.simulate(dimerisation(), TIMES, n=1500, seed=3)
    np.testing.assert_array_equal(sim.counts, reference.counts)
    assert sim.mean.equals(reference.mean)
    assert sim.sd.equals(reference.sd)
    assert sim.events == reference.events


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 4096, 10_001, 300_000])
def test_chunks_are_whole_grains(n: int) -> None:
    for arrays in (4, 100, 10_000):
        workers, batch_size = ensemble.layout(n, arrays)
        assert workers >= 1
        assert batch_size % ensemble.GRAIN == 0 or batch_size >= n


def test_moments_are_those_of_the_trajectories(reference: Simulation) -> None:
    np.testing.assert_allclose(reference.mean, reference.counts.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(reference.sd, reference.counts.std(axis=0, ddof=1), rtol=1e-12)
    assert list(reference.mean.columns) == list(reference.sd.columns) == ["X0", "X1"]
    np.testing.assert_array_equal(reference.mean.index, TIMES)


def test_moments_of_large_numbers_keep_their_digits() -> None:
    """A mean of 1e9 with a deviation of 1, where the difference of two sums of squares would have lost it."""
    values = 1e9 + np.random.default_rng(0).normal(size=(2, 1000))
    moments = Moments()
    for part in np.split(values, [256, 768], axis=1):
        moments.add(part)
    np.testing.assert_allclose(moments.variance, values.var(axis=1, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(moments.stderr, values.std(axis=1, ddof=1) / np.sqrt(1000), rtol=1e-6)


def test_events_are_counted() -> None:
    births = network([[1]], lambda x: [3.0], [0])
    for times in ([2.0], [0.0, 2.0], TIMES, [0.0]):
        sim = sg.simulate(births, times, n=400, seed=2)
        assert sim.events == sim.counts[:, -1].sum()


def test_counts_that_were_not_kept_are_not_made_up() -> None:
    births = network([[1]], lambda x: [3.0], [0])
    sim = sg.simulate(births, [1.0], n=10, keep_counts=False)
    assert np.isfinite(sim.mean.loc[1.0, "X0"])
    with pytest.raises(SimulationError, match="keep_counts=True"):
        _ = sim.counts


def test_one_trajectory_has_no_deviation() -> None:
    sim = sg.simulate(dimerisation(), [1.0], n=1)
    assert np.isnan(sim.sd.to_numpy()).all()
    assert list(sim.to_table().columns) == ["time", "X0", "X1"]
    assert list(sg.simulate(dimerisation(), [1.0], n=2).to_table().columns) == [
        *("time", "X0-mean", "X0-sd", "X1-mean", "X1-sd")
    ]


# ---- propensities that are no rates --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "value"),
    [
        (lambda x: 5.5 - x, "-0.5"),
        (lambda x: jnp.where(x < 6, 1.0, jnp.nan), "nan"),
        (lambda x: jnp.where(x < 6, 1.0, jnp.inf), "inf"),
        (lambda x: jnp.where(x < 6, 1.0, -jnp.inf), "-inf"),
    ],
    ids=["negative", "nan", "inf", "-inf"],
)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_propensity_that_is_no_rate_is_named(law: Callable[[Any], Any], value: str, index: int) -> None:
    """Both laws hold up to a count of five; births come at a rate of 1000, so that is early on."""
    laws = [lambda x: 1000.0, lambda x: 0.0]
    laws.insert(index, law)
    jumps = [1, 1]
    jumps.insert(index, 0)
    names = ["birth", "never"]
    names.insert(index, "culprit")
    net = network([jumps], lambda x: [a(x[0]) for a in laws], [0], reactions=tuple(names), species=("S",))
    with pytest.raises(PropensityError) as error:
        sg.simulate(net, [50.0], n=300)
    text = one_line(error)
    assert f"reaction 'culprit': its propensity is {value}" in text
    assert "S=6" in text
    assert "trajectory " in text
    time = float(re.search(r"at time (\S+)", text)[1])
    assert 0 < time < 0.1, "the time is that of the state, not of the next observation"


def test_a_negative_propensity_that_cancels_in_the_sum_is_found() -> None:
    net = network([[1, 1]], lambda x: [2.0, -1.0], [0])
    with pytest.raises(PropensityError, match="'R1'.* is -1"):
        sg.simulate(net, [1.0], n=10)


def test_a_propensity_that_goes_wrong_in_one_trajectory_stops_the_ensemble() -> None:
    """About 1 in 600 trajectories gets to 13 by chance, and one is enough."""
    net = network([[1, -1]], lambda x: [4.0, jnp.where(x[0] < 13, x[0], jnp.nan)], [4])
    with pytest.raises(PropensityError, match="X0=13"):
        sg.simulate(net, [2.0], n=3000)


def test_a_wrong_propensity_after_the_last_observation_does_not_matter() -> None:
    net = network([[1]], lambda x: [jnp.where(x[0] < 1000, 10.0, jnp.nan)], [0])
    assert sg.simulate(net, [1.0], n=100).mean.loc[1.0, "X0"] > 5


# ---- truncation ----------------------------------------------------------------------------------------


def test_an_exploding_population_is_refused() -> None:
    net = network([[1]], lambda x: [x[0]], [1], species=("rabbits",))
    with pytest.raises(TruncationError) as error:
        sg.simulate(net, [1.0, 100.0], n=10, max_events=1_000_000)
    text = one_line(error)
    for words in ("trajectory ", "time ", "'rabbits'", "1e+06 allowed", "end earlier"):
        assert words in text


def test_an_explosion_in_finite_time_is_refused() -> None:
    net = network([[1]], lambda x: [x[0] * (x[0] - 1)], [2])
    with pytest.raises(TruncationError):
        sg.simulate(net, [100.0], n=10, max_events=100_000)


def test_a_trajectory_that_was_not_looked_at_before_is_refused_on_its_way() -> None:
    net = network([[1]], lambda x: [x[0]], [1], species=("rabbits",))
    explosion = Ensemble(net, [1.0], (), np.array([1.0, 12.0]), 10, 1, max_events=10_000)
    with pytest.raises(TruncationError, match="trajectory .* more than the 1e\\+04 allowed; .*'rabbits'.*max_events"):
        list(ensemble.run(explosion))


def test_events_up_to_the_limit_are_allowed() -> None:
    births = network([[1]], lambda x: [100.0], [0])
    with pytest.raises(TruncationError):
        sg.simulate(births, [10.0], n=50, max_events=900)
    assert sg.simulate(births, [10.0], n=50, max_events=1200).counts.max() < 1200


def test_observations_are_no_events() -> None:
    births = network([[1]], lambda x: [1.0], [0])
    sim = sg.simulate(births, np.linspace(0, 1, 300), n=50, max_events=100)
    assert sim.counts.max() < 20


# ---- arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": []}, "times: expected one or more finite numbers"),
        ({"times": [[1.0]]}, "times: "),
        ({"times": [0.0, np.nan]}, "times: "),
        ({"times": [0.0, np.inf]}, "times: "),
        ({"times": [1.0, 1.0]}, "increasing"),
        ({"times": [2.0, 1.0]}, "increasing"),
        ({"times": [-1.0, 1.0]}, "from 0 on"),
        ({"times": [1.0], "start": 2.0}, "from 2 on"),
        ({"n": 0}, "n: expected between 1 and"),
        ({"max_events": 0}, "max_events"),
        ({"max_events": 2**32}, "max_events"),
        ({"method": "leap"}, "method 'leap'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message) as error:
        sg.simulate(dimerisation(), **{"times": [1.0], "n": 10, **arguments})
    one_line(error)


@pytest.mark.parametrize("x0", [[-1, 0], [np.nan, 0], [np.inf, 0]])
def test_counts_that_are_none_are_refused(x0: list[float]) -> None:
    net = network([[-2, 2], [1, -1]], lambda x: [x[0], x[1]], x0)
    with pytest.raises(SimulationError, match="initial counts") as error:
        sg.simulate(net, [1.0], n=10)
    one_line(error)


def propensities(x: Array, parameters: dict[str, Array]) -> Array:
    return jnp.stack([parameters["k"] * x[0], x[1]])


JUMPS = np.array([[-1, 1], [1, -1]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stoichiometry": [1, -1]}, "shape \\(species, reactions\\)"),
        ({"stoichiometry": [[0.5, 1], [1, -1]]}, "integer array"),
        ({"x0": [1, 2, 3]}, "expected 2 initial counts, one a species, got shape \\(3,\\)"),
        ({"x0": 1}, "expected 2 initial counts"),
        ({"species": ("A",)}, "one name for each"),
        ({"reactions": ("A", "B", "C")}, "one name for each"),
        ({"propensities": None}, "propensities: a function"),
        ({"propensities": lambda x, p: x[0]}, "shape \\(2,\\), one a reaction, got \\(\\)"),
        ({"propensities": lambda x, p: jnp.ones(3)}, "got \\(3,\\)"),
        ({"propensities": lambda x, p: p["nothing"]}, "cannot be called"),
        ({"propensities": lambda x: x}, "cannot be called"),
        ({"propensities": lambda x, p: x[0] + jnp.ones((2, 3)) @ jnp.ones(2)}, "cannot be called"),
        ({"propensities": lambda x, p: jnp.where(x > 0, x, 0) if x[0] > 0 else x}, "cannot be called"),
    ],
)
def test_networks_that_do_not_fit_together_are_refused(changed: dict[str, Any], message: str) -> None:
    arguments = {
        "stoichiometry": JUMPS,
        "propensities": propensities,
        "x0": [5, 0],
        "parameters": {"k": 1.0},
        **changed,
    }
    with pytest.raises(SbmlgradError, match=message) as error:
        sg.ReactionNetwork(**arguments)
    one_line(error)


def test_parameters_of_a_network_can_be_changed_and_be_arrays() -> None:
    net = sg.ReactionNetwork(
        JUMPS,
        lambda x, p: p["scale"] * (p["matrix"] @ x),
        x0=[10, 0],
        parameters={"scale": 1.0, "matrix": np.eye(2)},
    )
    still = sg.simulate(net, [5.0], n=20, parameters={"scale": 0.0})
    assert np.all(still.counts[:, 0] == [10, 0])
    swapped = sg.simulate(net, [50.0], n=20, parameters={"matrix": np.diag([1.0, 0.0])})
    assert np.all(swapped.counts[:, 0] == [0, 10])
    with pytest.raises(UnknownIdError, match="'skale'.*scale, matrix"):
        sg.simulate(net, [1.0], parameters={"skale": 1.0})
    with pytest.raises(UnknownIdError, match="'Z'"):
        sg.simulate(net, [1.0], select=["Z"])


def test_selected_species_come_in_their_order() -> None:
    net = dimerisation()
    sim = sg.simulate(net, [1.0], n=50, select=["X1"])
    assert list(sim.mean.columns) == ["X1"]
    assert sim.mean.loc[1.0, "X1"] == sg.simulate(net, [1.0], n=50).mean.loc[1.0, "X1"]


def test_a_network_without_reactions_stays_as_it_is() -> None:
    net = sg.ReactionNetwork(np.zeros((1, 0), int), lambda x, p: jnp.zeros(0), x0=[3])
    sim = sg.simulate(net, [1.0], n=3)
    assert np.all(sim.counts == 3)
    assert sim.events == 0


def test_no_two_trajectories_share_their_random_numbers() -> None:
    """Trajectories have numbers of 32 bits, so there can be no more than 2**32 of them."""
    net = dimerisation()
    too_many = Ensemble(net, net.x0, (), np.array([0.1]), 2**32 + 1, 0)
    with pytest.raises(SimulationError, match="n: "):
        next(ensemble.run(too_many))


def test_networks_are_forgotten_with_what_was_compiled_for_them() -> None:
    net = dimerisation()
    sg.simulate(net, [0.1], n=2)
    reference = weakref.ref(net)
    del net
    gc.collect()
    assert reference() is None


def test_forty_species_in_a_chain_reach_the_end() -> None:
    """A wide network: a molecule has arrived when a Poisson process has taken 39 steps (fails by chance 1e-4)."""
    size = 40
    jumps = np.eye(size, size - 1, k=-1) - np.eye(size, size - 1)
    chain = network(jumps.astype(int).tolist(), lambda x: list(10.0 * x[:-1]), [1] + [0] * (size - 1))
    sim = sg.simulate(chain, [4.0, 40.0], n=2000, seed=1)
    assert np.all(sim.counts.sum(axis=2) == 1)
    assert np.all(sim.counts[:, 1, -1] == 1)
    arrived, chance = sim.counts[:, 0, -1].sum(), stats.poisson.sf(size - 2, 40.0)
    assert stats.binomtest(arrived, 2000, chance).pvalue > 1e-4
