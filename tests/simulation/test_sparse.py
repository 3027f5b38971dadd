"""The loop of sparse networks has the law of the process: that of the master equation, and of the plain loop.

Seeds are fixed. Each statistical check rejects below a probability of 1e-4 (``fits``, and 4 standard errors).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.cores import use_cores
from sbmlgrad.errors import PropensityError, SimulationError, TruncationError
from sbmlgrad.network.discretise import discretise
from sbmlgrad.network.mass_action import Lists, MassAction, mass_action_of
from sbmlgrad.simulation import sparse_loop as loop
from sbmlgrad.simulation.ensemble import Ensemble
from sbmlgrad.simulation.progress import Progress
from sbmlgrad.simulation.random import streams, uniform
from sbmlgrad.simulation.sparse import SparseRun, run_sparse, suited
from sbmlgrad.simulation.sparse_paths import Followed

Fits = Callable[[np.ndarray, np.ndarray], bool]
Models = Callable[..., sg.Model]

SPECIES = {"A": {"amount": 5}, "B": {"amount": 3}, "C": {"amount": 0}, "D": {"amount": 1}}
REACTIONS = {
    "bind": ("A + B -> C", "k1 * A * B"),
    "free": ("C -> A + B", "k2 * C"),
    "dimer": ("2 A -> D", "k1 * A * (A - 1)"),
    "split": ("D -> 2 A", "k3 * D"),
    "square": ("2 B -> D + B", "k1 * B * B"),
    "drain": ("D -> B", "k2"),
}
PARAMETERS = {"k1": 0.3, "k2": 0.8, "k3": 0.5}


@pytest.fixture(scope="module")
def small(model: Models) -> sg.Model:
    """Counts of A, B, C and D, of which no more can be than there are molecules."""
    return model(SPECIES, REACTIONS, PARAMETERS)


def master(x0: tuple[int, ...], time: float) -> dict[tuple[int, ...], float]:
    """The law of the small model at a time, by the exponential of its generator over all states that it reaches."""
    k1, k2, k3 = PARAMETERS.values()
    channels: list[tuple[tuple[int, ...], Callable[..., float]]] = [
        ((-1, -1, 1, 0), lambda a, b, c, d: k1 * a * b),
        ((1, 1, -1, 0), lambda a, b, c, d: k2 * c),
        ((-2, 0, 0, 1), lambda a, b, c, d: k1 * a * (a - 1)),
        ((2, 0, 0, -1), lambda a, b, c, d: k3 * d),
        ((0, -1, 0, 1), lambda a, b, c, d: k1 * b * b if b >= 2 else 0.0),
        ((0, 1, 0, -1), lambda a, b, c, d: k2 if d >= 1 else 0.0),
    ]
    states, flows = {x0: 0}, []
    for state in (order := [x0]):
        for jump, rate in channels:
            if (value := rate(*state)) > 0:
                target = tuple(np.add(state, jump).tolist())
                if target not in states:
                    states[target] = len(states)
                    order.append(target)
                flows.append((states[state], states[target], value))
    generator = np.zeros((len(states), len(states)))
    for source, target, value in flows:
        generator[target, source] += value
        generator[source, source] -= value
    law = expm(generator * time)[:, 0]
    return dict(zip(order, law.tolist(), strict=True))


@pytest.mark.parametrize("bits", [None, 1], ids=["one level", "two levels"])
def test_the_law_is_that_of_the_master_equation(
    small: sg.Model, fits: Fits, bits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bits:
        monkeypatch.setattr("sbmlgrad.simulation.sparse_arrays._ONE_LEVEL", 1)
    counts = np.asarray(sg.simulate(small, [0.4, 1.5], n=20_000, seed=7, method="ssa-sparse").counts)
    for index, time in enumerate((0.4, 1.5)):
        law = master((5, 3, 0, 1), time)
        seen = dict.fromkeys(law, 0)
        for state in map(tuple, counts[:, index].tolist()):
            seen[state] += 1
        assert fits(np.array(list(seen.values())), np.array(list(law.values())))


def test_laws_that_are_no_products_have_the_law_of_the_master_equation(model: Models, fits: Fits) -> None:
    """Of A in both forms, with laws of Michaelis and Menten, of Hill, and one that stops at a number of molecules."""
    system = model(
        {"A": {"amount": 12}, "B": {"amount": 0}},
        {
            "go": ("A -> B", "v * A / (K + A)"),
            "back": ("B -> A", "w * B^3 / (27 + B^3)"),
            "late": ("B -> A", "piecewise(0.4, B > 6, 0)"),
        },
        {"v": 8.0, "K": 3.0, "w": 5.0},
    )
    size = 13
    b = np.arange(size)
    there = 8.0 * (12 - b) / (15 - b)
    back = 5.0 * b**3 / (27 + b**3) + np.where(b > 6, 0.4, 0.0)
    generator = np.diag(-there - back) + np.diag(there[:-1], -1) + np.diag(back[1:], 1)
    counts = np.asarray(sg.simulate(system, [0.7], n=20_000, seed=3, method="ssa-sparse").counts)[:, 0, 1]
    seen = np.bincount(counts.astype(int), minlength=size)
    assert fits(seen, expm(generator * 0.7)[:, 0])


def test_both_loops_have_one_law(model: Models) -> None:
    """Means of 45 species of a chain, on which molecules go round: 4.5 standard errors, 7e-6 for each."""
    size = 45
    species = {f"S{i}": {"amount": 30 if i % 3 else 200} for i in range(size)}
    reactions = {f"r{i}": (f"S{i} -> S{(i + 1) % size}", f"k{i % 3} * S{i}") for i in range(size)}
    reactions |= {f"p{i}": (f"S{i} + S{i + 2} -> 2 S{i + 1}", f"k3 * S{i} * S{i + 2}") for i in range(0, size - 2, 4)}
    chain = model(species, reactions, {"k0": 1.0, "k1": 0.4, "k2": 2.0, "k3": 0.01})
    assert suited(discretise(chain).network, None) is not None
    one, other = (sg.simulate(chain, [0.7], n=2000, seed=5, method=sg.SSA(sparse=sparse)) for sparse in (True, False))
    error = np.sqrt((one.sd**2 + other.sd**2) / 2000).to_numpy()
    assert np.all(np.abs((one.mean - other.mean).to_numpy()) < 4.5 * error)
    assert abs(one.events / other.events - 1) < 0.01


def test_bits_depend_on_seed_and_trajectory_alone(small: sg.Model) -> None:
    def counts(cores: int, n: int) -> np.ndarray:
        use_cores(cores)
        try:
            return np.asarray(sg.simulate(small, [0.5, 1.0, 2.0], n=n, seed=3, method="ssa-sparse").counts)
        finally:
            use_cores(None)

    many = counts(3, 600)
    np.testing.assert_array_equal(counts(1, 600), many)
    np.testing.assert_array_equal(counts(2, 7), many[:7])
    other = np.asarray(sg.simulate(small, [0.5, 1.0, 2.0], n=7, seed=4, method="ssa-sparse").counts)
    assert not np.array_equal(other, many[:7])


def test_the_output_grid_changes_no_law_and_the_last_time_is_seen(small: sg.Model) -> None:
    fine = sg.simulate(small, np.linspace(0, 1.5, 31), n=4000, seed=1, method="ssa-sparse")
    coarse = sg.simulate(small, [1.5], n=4000, seed=2, method="ssa-sparse")
    error = np.sqrt((fine.sd.iloc[-1] ** 2 + coarse.sd.iloc[-1] ** 2) / 4000)
    assert np.all(np.abs(fine.mean.iloc[-1] - coarse.mean.iloc[-1]) < 4 * error)
    np.testing.assert_array_equal(fine.mean.iloc[0], [5, 3, 0, 1])


# ---- exactness -----------------------------------------------------------------------------------------


def isolated(constants: list[float]) -> MassAction:
    """Reactions that change nothing, at constant rates."""
    none = Lists.of([[] for _ in constants])
    return MassAction.of_arrays(1, np.array(constants), none, np.zeros(0), none, np.zeros(0))


def prepared(network: MassAction, x0: list[float], n: int = 1) -> tuple[SparseRun, Any]:
    """A run of a network of data and its scratch, weighed at the counts."""
    ensemble = Ensemble(None, x0, (), np.array([1.0]), n, 1)  # type: ignore[arg-type]
    run = SparseRun(ensemble, network, Progress(None, n, 0.0, 1.0))
    scratch = run.arrays.scratch()
    scratch.x[:] = x0
    assert loop.weigh(run.arrays.tables, scratch, None, None, run.task(0, 1))
    return run, scratch


@pytest.mark.parametrize("index", [0, 7, 19, 600])
def test_a_reaction_with_1e_12_of_the_total_has_its_chance(index: int) -> None:
    values = [17.0, 0.3, 250.0] * (index // 3 + 6) + [80.0]
    values.insert(index, 1e-12 * sum(values))
    run, scratch = prepared(isolated(values), [0.0])
    total = int(scratch.place[loop.TOTAL])
    units = scratch.propensities[: len(values)]
    assert units.sum() == total
    assert 2**52 <= total < 2**62
    np.testing.assert_allclose(units / total, np.array(values) / sum(values), rtol=1e-3)
    ends = np.cumsum(units)
    assert loop.choose(scratch, run.arrays.bits, run.arrays.group_bits, int(ends[index]) - 1) == index
    assert loop.choose(scratch, run.arrays.bits, run.arrays.group_bits, int(ends[index] - units[index])) == index
    assert loop.choose(scratch, run.arrays.bits, run.arrays.group_bits, total - 1) == len(values) - 1


@pytest.mark.parametrize("rare", ["first", "last"])
def test_rare_reactions_fire_at_their_rate(rare: str) -> None:
    """3e-6 of 2e7 reactions: 60, of which a Poisson law has 30 to 96 with all but a probability of 1e-4."""
    constants, factors, jumps = [1.0, 1.0], [[0], [1]], [[0, 1], [0, 1]]
    changes = [-1.0, 1.0, 1.0, -1.0]
    place = 0 if rare == "first" else 2
    constants.insert(place, 3e-6 * 1000)
    factors.insert(place, [])
    jumps.insert(place, [2])
    changes.insert(2 * place, 1.0)
    network = MassAction.of_arrays(
        3, np.array(constants), Lists.of(factors), np.zeros(2), Lists.of(jumps), np.array(changes)
    )
    named = sg.ReactionNetwork(np.zeros((3, 3)), lambda x, p: x, [1000, 0, 0])
    ensemble = Ensemble(named, named.x0, (), np.array([5.0]), 4000, 11)
    fired = [(chunk.records[2].sum(), chunk.events) for chunk in run_sparse(ensemble, network)]
    count, events = np.sum(fired, axis=0)
    assert abs(events - 2e7) < 2e5
    assert 30 <= count <= 96


def test_nothing_drifts_when_much_has_come_and_gone() -> None:
    """1e9 molecules go by pairs; what is left is as if it had been computed now."""
    network = MassAction.of_arrays(
        size=2,
        constants=np.array([1e-3, 1e-12, 0.7]),
        factors=Lists.of([[0, 0], [1], [0, 1]]),
        offsets=np.array([0.0, 1.0, 0.0, 0.0, 0.0]),
        jumps=Lists.of([[0], [1], [1]]),
        changes=np.array([-2.0, -1.0, 1.0]),
    )
    run, scratch = prepared(network, [1e9, 5.0])
    total, unit = int(scratch.place[loop.TOTAL]), 2.0 ** scratch.place[loop.EXPONENT]
    tables, bits = run.arrays.tables, (run.arrays.bits, run.arrays.group_bits)
    for count in [*np.geomspace(1e9, 10, 200).astype(int).tolist(), 1, 0, 3, 0]:
        scratch.x[0] = count
        total, weight = loop._follow(tables, scratch, None, None, *bits, 0, unit, total)
        assert weight >= 2**62 or scratch.propensities[:3].sum() == total
        if weight >= 2**62 or not 2**52 <= total < 2**62:  # as when a reaction fires
            assert loop.weigh(run.arrays.tables, scratch, None, None, run.task(0, 1))
            total, unit = int(scratch.place[loop.TOTAL]), 2.0 ** scratch.place[loop.EXPONENT]
        exact = network.propensities(scratch.x[:2, None], run.arrays.numbers)[:, 0]
        np.testing.assert_allclose(scratch.propensities[:3] / unit, exact, rtol=1e-3, atol=exact.sum() * 1e-15)
    np.testing.assert_allclose(scratch.propensities[:3] / unit, [0.0, 5e-12, 0.0], rtol=1e-12)


def test_what_fires_of_a_kind_is_due(small: sg.Model) -> None:
    """Of each kind, less than 4 standard errors apart: those of a martingale, whose variance is what was due."""
    network = discretise(small).network
    data = mass_action_of(network)
    assert data is not None
    ensemble = Ensemble(network, network.x0, network.coefficients, np.array([0.5, 2.0]), 2000, 5)
    kinds = np.array([0, 1, 2, 1, 3, 2])
    chunks = list(run_sparse(ensemble, data, followed=Followed(kinds, np.zeros((0, 0)), data.code)))
    records = np.concatenate([np.array(chunk.records) for chunk in chunks], axis=-1)
    plain = np.concatenate([np.array(chunk.records) for chunk in run_sparse(ensemble, data)], axis=-1)
    np.testing.assert_array_equal(records[:4], plain)
    fired, due = records[4:8], records[8:]
    assert fired[:, -1].sum() == sum(chunk.events for chunk in chunks)
    assert np.all(np.abs((fired - due).mean(axis=-1)) < 4 * np.sqrt(due.mean(axis=-1) / 2000))
    assert np.all(np.diff(due, axis=1) >= 0)


def test_a_total_that_leaps_is_weighed_anew(model: Models) -> None:
    """A gene of which the product is made 1e12 times as fast as it is switched on: its count is Poisson then."""
    switch = model(
        {"off": {"amount": 1}, "on": {"amount": 0}, "P": {"amount": 0}},
        {"go": ("off -> on", "k * off"), "stop": ("on -> ", "d * on"), "make": ("on -> on + P", "m * on")},
        {"k": 1e-6, "d": 1e6, "m": 1e9},
    )
    sim = sg.simulate(switch, [1e9], n=400, seed=1, method="ssa-sparse")  # all are off again by then
    made = np.asarray(sim.counts)[:, 0, 2]
    assert abs(made.mean() - 1000) < 4 * 1000 / np.sqrt(400)  # geometric with this mean
    assert abs(made.std() / 1000 - 1) < 0.3


def test_a_total_that_leaps_by_several_species_at_once() -> None:
    """Each of five makes the total 6.5 times what it was: together 2**64 units and a little, of which int64 sees that.

    Counts are Poisson with a known mean; 4 standard errors.
    """
    network = MassAction.of_arrays(
        size=5,
        constants=np.array([1.0, *[6.5] * 5]),
        factors=Lists.of([[], *([i] for i in range(5))]),
        offsets=np.zeros(5),
        jumps=Lists.of([range(5), *([i] for i in range(5))]),
        changes=np.array([1.0] * 5 + [-1.0] * 5),
    )
    named = sg.ReactionNetwork(np.zeros((5, 6)), lambda x, p: np.zeros(6), [0] * 5)
    ensemble = Ensemble(named, named.x0, (), np.array([1.0]), 2000, 11)
    counts = np.concatenate([chunk.records for chunk in run_sparse(ensemble, network)], axis=-1)
    mean = (1 - np.exp(-6.5)) / 6.5
    assert np.all(np.abs(counts.mean(axis=-1)[:, 0] - mean) < 4 * np.sqrt(mean / 2000))


def test_random_numbers_are_those_of_the_plain_loop() -> None:
    _, scratch = prepared(isolated([1.0]), [0.0])
    keys = streams(9)
    loop.draw_block(np.array([keys.waiting, keys.choice]), 5, 128, scratch)
    trajectory, draw = np.full(64, 5, np.uint32), np.arange(128, 192).astype(np.uint32)
    np.testing.assert_array_equal(scratch.uniforms, np.asarray(uniform(keys.choice, trajectory, draw)))
    waiting = np.asarray(uniform(keys.waiting, trajectory, draw))
    np.testing.assert_allclose(scratch.exponentials, -np.log(waiting), rtol=1e-10)
    numbers = np.concatenate([np.random.default_rng(1).random(1000), 2.0 ** -np.arange(1.0, 65.0), [0.75, 0.70710678]])
    mantissas, powers = np.frexp(numbers)
    low = mantissas < np.sqrt(0.5)
    mantissas, powers = np.where(low, 2 * mantissas, mantissas), powers - low
    logs = [loop._minus_log(m, float(p)) for m, p in zip(mantissas, powers, strict=True)]
    np.testing.assert_allclose(logs, -np.log(numbers), rtol=1e-15)


# ---- what is refused -----------------------------------------------------------------------------------


def test_too_many_reactions_are_an_error_with_a_name(model: Models) -> None:
    growth = model({"A": {"amount": 1}}, {"grow": ("A -> 2 A", "k * A * A")}, {"k": 1.0})
    network = discretise(growth).network
    data = mass_action_of(network)
    assert data is not None
    ensemble = Ensemble(network, network.x0, network.coefficients, np.array([50.0]), 3, 1, max_events=5000)
    with pytest.raises(TruncationError, match=r"trajectory 0: at time .* more than the 5e\+03 allowed; species 'A' is"):
        list(run_sparse(ensemble, data))


def test_negative_propensities_are_an_error_with_a_name(model: Models) -> None:
    odd = model({"A": {"amount": 1}, "B": {"amount": 9}}, {"odd": ("B -> A", "k * B * (3.5 - A)")}, {"k": 1.0})
    with pytest.raises(PropensityError, match="reaction 'odd': its propensity is -.* in trajectory 0 .*A=4"):
        sg.simulate(odd, [9.0], n=2, seed=1, method=sg.SSA(sparse=True))
    with pytest.raises(PropensityError, match="reaction 'odd': its propensity is -11.25 at time 0"):
        sg.simulate(odd, [9.0], n=2, seed=1, parameters={"k": -0.5}, method=sg.SSA(sparse=True))


def test_a_negative_constant_is_an_error_when_its_species_comes(model: Models) -> None:
    """At 0 molecules nothing is wrong yet."""
    odd = model({"A": {"amount": 0}}, {"come": ("-> A", "5"), "odd": ("A ->", "k * A")}, {"k": -1.0})
    with pytest.raises(PropensityError, match=r"reaction 'odd': its propensity is -1 at time .* \(A=1\)"):
        sg.simulate(odd, [9.0], n=2, seed=1, method="ssa-sparse")


def test_a_line_without_slope_has_the_plain_loop(model: Models) -> None:
    helped = model({"A": {"amount": 3}}, {"gone": ("A ->", "k * A * (1 + a * A)")}, {"k": 1.0, "a": 0.0})
    network = discretise(helped).network
    assert suited(network, False, network.coefficients) is None
    assert mass_action_of(network) is not None
    with pytest.raises(SimulationError, match="'ssa-sparse': a number of molecules in a law is times 0 .* use"):
        suited(network, True, network.coefficients)
    assert suited(network, True, discretise(helped.with_parameters({"a": 2.0})).network.coefficients) is not None


def test_a_long_law_is_refused_where_the_loop_is_asked_for(model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.network.law_code.LONGEST", 3)
    odd = model({"A": {"amount": 9}}, {"odd": ("A ->", "k * A / (1 + A)")}, {"k": 1.0})
    with pytest.raises(SimulationError, match="'ssa-sparse': the law of reaction 'odd' is too long.* use method 'ssa'"):
        sg.simulate(odd, [1.0], n=2, method="ssa-sparse")


def test_fractions_keep_their_mean(model: Models) -> None:
    still = model({"A": {"amount": 2.3}}, {"slow": ("A ->", "k * A")}, {"k": 1e-9})
    with pytest.warns(sg.SbmlgradWarning, match="'A' starts from a number of molecules that is not whole"):
        counts = sg.simulate(still, [0.0], n=4000, seed=1, method="ssa-sparse").counts
    assert set(np.unique(counts)) == {2, 3}
    assert abs(counts.mean() - 2.3) < 4 * np.sqrt(0.21 / 4000)
