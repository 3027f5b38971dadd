"""The simulated process is the one that the rates define, down to rare reactions, large counts and long runs.

What it is held to was not written here: Poisson, exponential and binomial laws, and the chemical master equation
solved by scipy's matrix exponential. Seeds are fixed. Each statistical check rejects below a probability of
1e-4, so that with about a hundred of them a change of all random numbers raises a false alarm once in a
hundred times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.simulation import ssa
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.ssa import Arrays, Step

ALARM = 1e-4
Fits = Callable[[np.ndarray, np.ndarray], bool]


def network(
    jumps: Sequence[Sequence[int]], propensities: Callable[[Any], Sequence[Any]], x0: Sequence[float]
) -> sg.ReactionNetwork:
    """A network without parameters; ``jumps`` has a row for each species."""

    def stacked(x: Array, parameters: object) -> Array:
        return jnp.stack([jnp.asarray(a, jnp.float64) for a in propensities(x)])

    return sg.ReactionNetwork(np.array(jumps), stacked, x0=x0, parameters={})


def is_poisson(count: float, mean: float) -> bool:
    """Whether a count is not too far out for its mean, by the exact test of both tails."""
    p = 2 * min(stats.poisson.cdf(count, mean), stats.poisson.sf(count - 1, mean))
    return p > ALARM


# ---- rare reactions ------------------------------------------------------------------------------------

FAST = 1000  # molecules of A and B, so the total propensity of A <-> B is 1000 whatever the state


def count_rare(share: float, index: int, trajectories: int) -> tuple[int, int]:
    """How often a reaction with this share of the total propensity fires, and all events, in 5000 a trajectory."""
    jumps = [[-1, 1], [1, -1], [0, 0]]
    for row, jump in zip(jumps, (0, 0, 1), strict=True):
        row.insert(index, jump)

    def propensities(x: Array) -> list[Any]:
        values: list[Any] = [x[0], x[1]]
        values.insert(index, share * FAST)
        return values

    rare = network(jumps, propensities, [FAST, 0, 0])
    sim = sg.simulate(rare, [5.0], n=trajectories, seed=11)
    return int(sim.counts[:, 0, 2].sum()), sim.events


@pytest.mark.parametrize("index", [0, 2, pytest.param(1, marks=pytest.mark.slow)], ids=["first", "last", "between"])
def test_a_reaction_with_3e_8_of_the_total_fires_at_its_rate(index: int) -> None:
    count, events = count_rare(3e-8, index, 80_000)
    assert events == pytest.approx(4e8, rel=1e-3)
    assert is_poisson(count, 3e-8 * 4e8)  # 12, so that both never and ten times too often are excluded


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 2], ids=["first", "last"])
def test_a_reaction_with_3e_8_of_the_total_fires_at_its_rate_in_1e9_events(index: int) -> None:
    count, events = count_rare(3e-8, index, 200_000)
    print(f"rare reaction listed at {index}: fired {count} times in {events:,} events, expected 30")
    assert events == pytest.approx(1e9, rel=1e-3)
    assert is_poisson(count, 3e-8 * 1e9)


class Chosen:
    """The reaction of the last step."""

    initial = record = staticmethod(lambda *_: ())

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        return (step.reaction,)


def chooser(propensities: Sequence[float]) -> Callable[[np.ndarray], np.ndarray]:
    """The reactions that uniforms choose, in one step of the loop itself."""
    net = network([[1] * len(propensities)], lambda x: list(propensities), [0])

    @jax.jit
    def choose(uniforms: Array, one: Array) -> Array:
        zero, ones = jnp.zeros_like(uniforms), jnp.ones_like(uniforms)
        state = ((zero,), zero, zero + jnp.inf, ())
        return ssa.take_step(net, Chosen(), *state, ones, uniforms, (), (), one)[2][0]

    return lambda uniforms: np.asarray(choose(jnp.asarray(uniforms), jnp.float32(1))).astype(int)


def chances(propensities: Sequence[float]) -> np.ndarray:
    """The probabilities with which reactions are chosen, exact: how much of the grid of 2**-53 each holds."""
    choose, reactions = chooser(propensities), np.arange(len(propensities))
    low, high = np.zeros(len(reactions), np.int64), np.full(len(reactions), 2**53, np.int64)
    while np.any(low < high):  # bisect for the first point of the grid that chooses a reaction after j
        middle = (low + high) // 2
        after = (middle == 2**53) | (choose(np.minimum(middle, 2**53 - 1) / 2.0**53) > reactions)
        low, high = np.where(after, low, middle + 1), np.where(after, middle, high)
    return np.diff(high, prepend=0) / 2.0**53


@pytest.mark.parametrize("index", [0, 7, 19])
def test_a_reaction_with_1e_12_of_the_total_has_its_chance(index: int) -> None:
    propensities = [17.0, 0.3, 250.0] * 6 + [80.0]
    propensities.insert(index, 1e-12 * sum(propensities))
    chance = chances(propensities)
    exact = np.array(propensities) / np.sum(propensities)
    assert chance[index] == pytest.approx(exact[index], rel=1e-3)
    np.testing.assert_allclose(chance, exact, rtol=1e-3)


def test_chances_are_propensities_whatever_their_order_and_size() -> None:
    rng = np.random.default_rng(1)
    for count in (2, 5, 30):
        propensities = 10.0 ** rng.uniform(-8, 8, count)
        propensities[rng.integers(count)] = 0.0
        exact = propensities / propensities.sum()
        np.testing.assert_allclose(chances(propensities.tolist()), exact, rtol=1e-9, atol=1e-15)


def test_a_reaction_without_propensity_never_fires() -> None:
    edges = np.array([0.0, 2.0**-53, 0.5 - 2.0**-53, 0.5, 1 - 2.0**-53])
    assert set(chooser([0.0, 1.0, 0.0, 1.0, 0.0])(edges)) == {1, 3}
    np.testing.assert_array_equal(chances([0.0, 1.0, 0.0, 1.0, 0.0]), [0, 0.5, 0, 0.5, 0])


# ---- large counts and long runs ------------------------------------------------------------------------


@pytest.mark.parametrize("start", [2**24 + 1, 2**40 + 1, 2**52 + 1])
def test_large_counts_count_every_event(start: int, fits: Fits) -> None:
    births = network([[1, -1]], lambda x: [30.0, 20.0], [start])
    only_births = network([[1]], lambda x: [50.0], [start])
    sim = sg.simulate(births, [1.0, 5.0], n=1000, seed=2)
    moved = sim.counts[:, 1, 0] - start
    assert abs(moved.mean() - 50) < 4 * np.sqrt(250 / 1000)
    assert fits(np.bincount(moved + 200, minlength=400), stats.skellam.pmf(np.arange(-200, 200), 150, 100))
    sim = sg.simulate(only_births, [5.0], n=1000, seed=2)
    assert int((sim.counts[:, 0, 0] - start).sum()) == sim.events


def test_large_counts_keep_their_parity_and_their_sum() -> None:
    start = 2**24 + 1
    dimers = network([[-2, 2], [1, -1]], lambda x: [1e-12 * x[0] * (x[0] - 1), 0.5 * x[1]], [start, 0])
    sim = sg.simulate(dimers, [1.0, 10.0], n=500, seed=3)
    free, pairs = sim.counts[..., 0], sim.counts[..., 1]
    assert pairs.max() > 100
    assert np.all(free % 2 == 1)
    assert np.all(free + 2 * pairs == start)


def test_a_trajectory_of_2e7_events_keeps_its_clock() -> None:
    """Increments of a Poisson process over 2000 intervals of one trajectory: their sum and their spread."""
    births = network([[1]], lambda x: [1000.0], [0])
    sim = sg.simulate(births, np.linspace(0, 20_000, 2001)[1:], n=1, seed=4)
    counts = sim.counts[0, :, 0]
    increments, mean = np.diff(counts, prepend=0), 10_000.0
    assert counts[-1] == sim.events
    z = (counts[-1] - 2e7) / np.sqrt(2e7)
    print(f"2e7 events on one trajectory: {counts[-1]:,}, z = {z:.2f}")
    assert abs(z) < stats.norm.isf(ALARM / 2)
    dispersion = stats.chi2.cdf(np.sum((increments - mean) ** 2) / mean, 2000)
    assert ALARM / 2 < dispersion < 1 - ALARM / 2
    scores = (increments - mean) / np.sqrt(mean)
    assert stats.kstest(scores, "norm").pvalue > ALARM
    halves = increments[:1000].sum(), increments[1000:].sum()  # late events come as fast as early ones
    assert abs(halves[0] - halves[1]) < stats.norm.isf(ALARM / 2) * np.sqrt(2e7)


def test_a_late_clock_resolves_short_intervals(fits: Fits) -> None:
    """At time 1e9 a float32 clock moves in steps of 64, and these intervals are of 0.01."""
    births = network([[1]], lambda x: [1000.0], [0])
    times = 1e9 + np.linspace(0, 1, 101)
    sim = sg.simulate(births, times, n=200, seed=5, start=1e9)
    increments = np.diff(sim.counts[:, :, 0], axis=1).ravel()
    assert fits(np.bincount(increments, minlength=60), stats.poisson.pmf(np.arange(60), 10))


# ---- dwell times and branching -------------------------------------------------------------------------


class FirstEvents:
    """Waiting time and reaction of the first two events of each trajectory, across observations."""

    def initial(self, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        zero = jnp.zeros_like(x[0])
        return zero, zero - 1, zero, zero - 1

    def advance(self, carry: Arrays, step: Step, aux: Any) -> Arrays:
        wait, reaction, next_wait, next_reaction = carry
        first, second = reaction < 0, (reaction >= 0) & (next_reaction < 0)
        return (
            jnp.where(first, wait + step.wait, wait),
            jnp.where(first & step.fires, step.reaction, reaction),
            jnp.where(second, next_wait + step.wait, next_wait),
            jnp.where(second & step.fires, step.reaction, next_reaction),
        )

    def record(self, carry: Arrays, x: Arrays, coefficients: Arrays, aux: Any) -> Arrays:
        return carry


RATES = np.array([0.4, 2.0, 0.02, 6.0, 1.58])


@pytest.mark.parametrize(
    ("times", "n"),
    [([5.0], 1_000_000), ([*np.linspace(0, 0.6, 31), 5.0], 250_000)],
    ids=["undisturbed", "observed often"],
)
def test_waiting_times_and_branching(times: list[float], n: int) -> None:
    """Five reactions with a total of 10; none is still waiting for its second event at 5 (1e-20)."""
    net = network([[1, -1, 2, 0, 0], [0, 0, 0, 1, -1]], lambda x: list(RATES), [1000, 1000])
    ensemble = Ensemble(net, net.x0, (), np.array(times), n, 6, functional=FirstEvents())
    records = [np.concatenate(parts, axis=-1) for parts in zip(*_last_records(ensemble), strict=True)]
    wait, reaction, next_wait, next_reaction = records
    assert wait.shape == (n,)
    for waits, reactions in ((wait, reaction), (next_wait, next_reaction)):
        assert stats.kstest(waits * RATES.sum(), "expon").pvalue > ALARM
        observed = np.bincount(reactions.astype(int), minlength=5)
        assert stats.chisquare(observed, n * RATES / RATES.sum()).pvalue > ALARM
    # Neither says anything about the other, nor about the next event.
    deciles = np.searchsorted(stats.expon.ppf(np.linspace(0.1, 0.9, 9)), wait * RATES.sum())
    next_deciles = np.searchsorted(stats.expon.ppf(np.linspace(0.1, 0.9, 9)), next_wait * RATES.sum())
    for other in (reaction, next_reaction, next_deciles):
        assert stats.chi2_contingency(np.histogram2d(deciles, other, bins=(10, 5))[0]).pvalue > ALARM
    assert stats.chi2_contingency(np.histogram2d(reaction, next_reaction, bins=5)[0]).pvalue > ALARM


def _last_records(ensemble: Ensemble) -> list[tuple[np.ndarray, ...]]:
    """What the functional wrote at the last observation time, chunk by chunk."""
    species = len(ensemble.network.species)
    return [tuple(record[-1] for record in chunk.records[species:]) for chunk in run(ensemble)]


# ---- the master equation -------------------------------------------------------------------------------

Case = tuple[list[list[int]], Callable[[Any], Sequence[Any]], list[int], list[tuple[int, ...]]]

CASES: dict[str, Case] = {
    "birth-death": ([[1, -1]], lambda x: [10.0, x[0]], [0], [(i,) for i in range(61)]),
    "dimerisation": (
        [[-2, 2], [1, -1]],
        lambda x: [0.01 * x[0] * (x[0] - 1), 0.1 * x[1]],
        [20, 0],
        [(20 - 2 * i, i) for i in range(11)],
    ),
    "epidemic": (  # ends for good where nobody is infected
        [[-1, 0], [1, -1]],
        lambda x: [0.15 * x[0] * x[1], x[1]],
        [12, 2],
        [(s, i) for s in range(13) for i in range(15 - s)],
    ),
}
# Times of observation, those among them that are compared, and the start.
SCHEDULES: dict[str, tuple[np.ndarray, list[int], float]] = {
    "one time": (np.array([2.0]), [0], 0.0),
    "from the start": (np.array([0.0, 0.1, 1.0, 4.0]), [0, 1, 2, 3], 0.0),
    "200 times": (np.linspace(0.02, 4.0, 200), [0, 20, 63, 64, 128, 199], 0.0),
    "crowded": (np.append(np.linspace(1.0, 1.0001, 100), 2.0), [0, 50, 99, 100], 0.0),
    "late start": (np.array([3.25, 3.5, 5.25]), [0, 1, 2], 3.25),
    "negative start": (np.array([-0.5, 1.0]), [0, 1], -1.0),
}


def distributions(case: Case, times: Sequence[float]) -> list[np.ndarray]:
    """Probabilities of the states at the times, by the matrix exponential of the generator."""
    jumps, propensities, x0, states = case
    index = {state: i for i, state in enumerate(states)}
    generator = np.zeros((len(states), len(states)))
    for state, i in index.items():
        for j, rate in enumerate(propensities(np.array(state, float))):
            target = tuple(int(s + row[j]) for s, row in zip(state, jumps, strict=True))
            if rate > 0 and target in index:
                generator[index[target], i] += rate
                generator[i, i] -= rate
    return [expm(generator * t)[:, index[tuple(x0)]] for t in times]


FIRST = (next(iter(SCHEDULES)), next(iter(CASES)))  # of which all of the others are in the default run


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        pytest.param(schedule, name, marks=[] if schedule == FIRST[0] or name == FIRST[1] else [pytest.mark.slow])
        for name in CASES
        for schedule in SCHEDULES
    ],
)
def test_distributions_solve_the_master_equation(name: str, schedule: str, fits: Fits) -> None:
    case, (times, compared, start) = CASES[name], SCHEDULES[schedule]
    jumps, propensities, x0, states = case
    sim = sg.simulate(network(jumps, propensities, x0), times, n=30_000, seed=7, start=start)
    assert sim.counts.min() >= 0
    for index, exact in zip(compared, distributions(case, times[compared] - start), strict=True):
        codes = {state: i for i, state in enumerate(states)}
        actual = np.array([codes[tuple(state)] for state in sim.counts[:, index].tolist()])
        assert fits(np.bincount(actual, minlength=len(states)), exact), f"at time {times[index]:g}"


def test_the_comparison_sees_small_differences(fits: Fits) -> None:
    """A mean that is 2 % off, and a spread that is 5 % too small."""
    random, poisson = np.random.default_rng(0), stats.poisson.pmf(np.arange(61), 10)
    assert fits(np.bincount(random.poisson(10, 30_000), minlength=61), poisson)
    assert not fits(np.bincount(random.poisson(10.2, 30_000), minlength=61), poisson)
    assert not fits(np.bincount(random.binomial(100, 0.1, 30_000), minlength=61), poisson)


def test_the_reference_knows_the_poisson_law() -> None:
    (exact,) = distributions(CASES["birth-death"], [2.0])
    np.testing.assert_allclose(exact[:50], stats.poisson.pmf(np.arange(50), 10 * -np.expm1(-2.0)), atol=1e-9)


def test_transitions_between_observations_are_those_of_the_chain() -> None:
    """A switch seen at 300 times: each step given the one before, which single times cannot show."""
    switch = network([[-1, 1]], lambda x: [2.0 * x[0], 1.0 * (1 - x[0])], [1])
    step = 0.25
    counts = sg.simulate(switch, step * np.arange(301), n=4000, seed=8).counts[:, :, 0]
    chain = expm(np.array([[-1.0, 2.0], [1.0, -2.0]]) * step)  # columns: from off, from on
    for state in (0, 1):
        here = counts[:, :-1] == state
        on, total, chance = counts[:, 1:][here].sum(), here.sum(), chain[1, state]
        assert abs(on - total * chance) < stats.norm.isf(ALARM / 2) * np.sqrt(total * chance * (1 - chance))


def test_a_state_without_reactions_stays(fits: Fits) -> None:
    decay = network([[-1]], lambda x: [x[0]], [5])
    sim = sg.simulate(decay, [0.0, 1.0, 200.0, 1e6], n=2000, seed=9)
    assert np.all(sim.counts[:, 2:] == 0)
    assert sim.events == 5 * 2000
    assert fits(np.bincount(sim.counts[:, 1, 0], minlength=6), stats.binom.pmf(np.arange(6), 5, np.exp(-1)))


def test_rates_of_any_size_make_exponential_lives(fits: Fits) -> None:
    """Lives of 1e-12 and of 1e12 units of time, where a clock with a fixed step would stand still."""
    for rate in (1e-12, 1e12):
        decay = network([[-1]], lambda x, rate=rate: [rate * x[0]], [1])
        alive = sg.simulate(decay, np.array([0.5, 1.0]) / rate, n=100_000, seed=10).counts[:, :, 0]
        table = np.bincount(alive.sum(axis=1), minlength=3)
        assert fits(table, np.array([-np.expm1(-0.5), np.exp(-0.5) - np.exp(-1), np.exp(-1)]))


# ---- models and networks -------------------------------------------------------------------------------

PYTHON = {
    "dimerisation": network([[-2, 2], [1, -1]], lambda x: [0.001 * x[0] * (x[0] - 1), 0.1 * x[1]], [100, 0]),
    "telegraph": network(
        [[-1, 1, 0, 0], [1, -1, 0, 0], [0, 0, 1, -1]],
        lambda x: [0.5 * x[0], 2.5 * x[1], 125.0 * x[1], 0.5 * x[2]],
        [1, 0, 0],
    ),
}


@pytest.mark.parametrize("name", PYTHON)
def test_a_network_from_python_is_the_model_from_sbml(name: str, models_dir: Path) -> None:
    """Two independent samples of 20,000 from one distribution, compared in quintiles at two times."""
    model = sg.read_sbml(models_dir / name / "model.xml")
    times = [1.0, 8.0]
    one = sg.simulate(model, times, n=20_000, seed=12).counts
    two = sg.simulate(PYTHON[name], times, n=20_000, seed=13).counts
    assert one.shape == two.shape
    for time in range(2):
        for species in range(one.shape[2]):
            both = [sample[:, time, species] for sample in (one, two)]
            edges = np.unique(np.quantile(np.concatenate(both), [0.2, 0.4, 0.6, 0.8]))
            table = np.array([np.bincount(np.searchsorted(edges, values), minlength=edges.size + 1) for values in both])
            table = table[:, table.sum(axis=0) > 0]
            assert table.shape[1] < 2 or stats.chi2_contingency(table).pvalue > ALARM
