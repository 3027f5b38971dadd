"""Exact simulation of models that flow and jump, against laws that are known.

Seeds are fixed. Each statistical check rejects below a probability of 1e-4; there are about 75 of them in the default
run, so that a change of all random numbers raises a false alarm once in 130 times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import sbmlgrad as sg
from sbmlgrad.errors import PropensityError, SimulationError, TruncationError
from sbmlgrad.simulation import hybrid_ensemble
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.hybrid_ensemble import HybridChunk
from sbmlgrad.simulation.methods import SSA
from sbmlgrad.simulation.path import Settings
from sbmlgrad.simulation.result import Simulation
from sbmlgrad.simulation.shares import Span

Make = Callable[..., sg.Model]
Fits = Callable[[np.ndarray, np.ndarray], bool]
States = dict[str, np.ndarray]
ALARM = 1e-4
N = 20_000
E1, E2 = np.exp(-1.0), np.exp(-2.0)


def trajectories(model: sg.Model, times: Sequence[float], n: int, seed: int) -> States:
    """The course (times, trajectories) of everything that varies, by its id."""
    process, quantities = hybrid_ensemble.prepare_hybrid(model, None, None)
    chunks = hybrid_ensemble.run_hybrid(
        process, quantities, Experiment(np.asarray(times), n=n, seed=seed), SSA().settings
    )
    states = np.concatenate([chunk.states for chunk in chunks], axis=-1)
    return dict(zip(process.variables, states, strict=True))


def is_law(values: np.ndarray, chances: np.ndarray, fits: Fits) -> bool:
    """Whether whole numbers follow a law, given as the chances of 0, 1, ..."""
    return fits(np.bincount(np.rint(values).astype(int), minlength=len(chances)), chances)


def is_poisson(values: np.ndarray, mean: float, fits: Fits) -> bool:
    return is_law(values, poisson(mean, int(values.max()) + 60), fits)


def poisson(mean: float, size: int = 80) -> np.ndarray:
    return stats.poisson.pmf(np.arange(size), mean)


def is_distributed(values: np.ndarray, law: Any) -> bool:
    return bool(stats.kstest(values, law.cdf).pvalue > ALARM)


def unrelated(one: np.ndarray, two: np.ndarray) -> bool:
    return bool(stats.spearmanr(one, two).pvalue > ALARM)


# ---- propensities that change as time goes on ---------------------------------------------------------------

# The rate of each birth over time in terms of the model below, and its integral from 0.
RATES: dict[str, tuple[str, Callable[[float], float]]] = {
    "sinusoidal": ("3*(1 + sin(3*time))", lambda t: 3 * t + 1 - np.cos(3 * t)),
    "stepped": (
        "piecewise(2, time < 0.7, piecewise(20, time < 0.8, 0.5))",
        lambda t: float(np.interp(t, [0, 0.7, 0.8, 10.8], [0, 1.4, 3.4, 8.4])),
    ),
    "fading": ("6*exp(-2*time)", lambda t: 3 * -np.expm1(-2 * t)),
    "relaxing": ("4*level", lambda t: 4 * (t + np.expm1(-t))),
    "growing": ("2*cell", lambda t: 4 * np.expm1(t / 2)),
    "fixed": ("3", lambda t: 3 * t),
}
TIMES = np.array([0.0, 0.3, 0.75, 1.5])


@pytest.fixture(scope="module")
def births(model: Make) -> sg.Model:
    """A birth for each rate; "level" is 1 - exp(-time), and "area" sums up "fixed".

    "turnover" is lost too; its symbol is a concentration in a cell that grows as exp(time/2).
    """
    return model(
        {**{name: {"amount": 0} for name in RATES}, "turnover": {"amount": 0, "only": False}},
        {
            **{f"make_{name}": (f" -> {name}", law) for name, (law, _) in RATES.items()},
            "gain": (" -> turnover", "5 + 4*sin(5*time)"),
            "loss": ("turnover -> ", "1.5*turnover*cell"),
        },
        {"level": 0.0, "area": 0.0},
        rates={"level": "1 - level", "area": "fixed", "cell": "cell/2"},
    )


def check_births(sim: Simulation, fits: Fits) -> None:
    """All counts at all times, their independence, and what flows."""
    counts = {name: sim.counts[:, :, index] for index, name in enumerate(sim.species)}
    for index, time in enumerate(TIMES[1:], start=1):
        for name, (_, integral) in RATES.items():
            assert is_poisson(counts[name][:, index], integral(time), fits), (name, time)
        mean = quad(lambda s, t=time: (5 + 4 * np.sin(5 * s)) * np.exp(-1.5 * (t - s)), 0, time)[0]
        assert is_poisson(counts["turnover"][:, index], mean, fits), ("turnover", time)
    rate = RATES["sinusoidal"][1]
    assert is_poisson(counts["sinusoidal"][:, 3] - counts["sinusoidal"][:, 2], rate(1.5) - rate(0.75), fits)
    correlations = np.corrcoef(sim.counts[:, -1].T)[np.triu_indices(7, 1)]
    assert np.abs(correlations).max() < stats.norm.isf(ALARM / 42) / np.sqrt(sim.n)
    np.testing.assert_allclose(sim.mean["level"], -np.expm1(-TIMES), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(sim.sd["level"], 0, atol=1e-7)
    spread = np.sqrt(TIMES**3)  # of the integral of a Poisson process of rate 3
    assert np.all(np.abs(sim.mean["area"] - 1.5 * TIMES**2) <= stats.norm.isf(ALARM / 8) * spread / np.sqrt(sim.n))
    np.testing.assert_allclose(sim.sd["area"], spread, rtol=0.05)


def test_counts_are_poisson_with_the_integral_of_the_rate(births: sg.Model, fits: Fits) -> None:
    """Births at any rate are, and so are births with losses that begin at 0."""
    check_births(sg.simulate(births, TIMES, n=N, seed=1), fits)


@pytest.mark.slow
def test_counts_are_poisson_in_a_larger_sample(births: sg.Model, fits: Fits) -> None:
    check_births(sg.simulate(births, TIMES, n=100_000, seed=2), fits)


def test_a_later_start_has_the_rates_of_its_time(births: sg.Model, fits: Fits) -> None:
    sim = sg.simulate(births, TIMES + 0.5, n=5000, seed=3, start=0.5)
    for name in ("sinusoidal", "stepped", "fading"):
        integral = RATES[name][1]
        actual = sim.counts[:, -1, sim.species.index(name)]
        assert is_poisson(actual, integral(2.0) - integral(0.5), fits), name


# ---- events --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eventful(model: Make) -> States:
    """Births at rate 5 that events look at, at times 0.5, 1, 2 and 3; nothing flows."""
    births = {name: (f" -> {name}", "5") for name in ("reset", "wrapped", "waited")}
    system = model(
        {
            **{name: {"amount": 0} for name in (*births, "stopped", "turnover")},
            "thin": {"amount": 0, "only": False, "compartment": "vessel"},
        },
        {
            **{f"make_{name}": reaction for name, reaction in births.items()},
            "make_stopped": (" -> stopped", "speed"),
            "gain": (" -> turnover", "6"),
            "loss": ("turnover -> ", "2*turnover"),
            "fade": ("thin -> ", "thin*vessel"),
        },
        {**dict.fromkeys(("turns", "third_at", "seen_at", "seen", "renewals"), 0.0), "next": None, "speed": 4.0},
        {"cell": 1.0, "vessel": 4.0},
        initial={"next": "exponential(2)"},
        events={
            "at 1": {
                "trigger": "time >= 1",
                "set": {"reset": "2", "turnover": "turnover + 3", "speed": "0", "thin": "2.5"},
            },
            "full": {"trigger": "wrapped >= 4", "set": {"wrapped": "0", "turns": "turns + 1"}},
            "third": {"trigger": "waited >= 3", "set": {"third_at": "time"}},
            "later": {
                "trigger": "waited >= 3",
                "delay": "0.5",
                "from_trigger": False,
                "set": {"seen_at": "time", "seen": "waited"},
            },
            "renew": {"trigger": "time >= next", "set": {"next": "time + exponential(2)", "renewals": "renewals + 1"}},
        },
    )
    return trajectories(system, [0.5, 1.0, 2.0, 3.0], 10_000, 4)


def test_counts_are_set_at_the_time_of_an_event(eventful: States, fits: Fits) -> None:
    assert is_poisson(eventful["reset"][0], 2.5, fits)
    assert np.all(eventful["reset"][1] == 2)
    assert is_poisson(eventful["reset"][2] - 2, 5, fits)
    assert is_poisson(eventful["stopped"][1], 4, fits)
    np.testing.assert_array_equal(eventful["stopped"][3], eventful["stopped"][1])
    assert is_poisson(eventful["turnover"][1] - 3, 3 * (1 - E2), fits)
    assert np.all(eventful["thin"][1] == 10), "a concentration of 2.5 in a volume of 4"
    assert is_law(eventful["thin"][2], stats.binom.pmf(np.arange(11), 10, E1), fits)
    left = stats.binom.pmf(np.arange(4), 3, E2)  # of the three that were added
    assert is_law(eventful["turnover"][2], np.convolve(poisson(3 * (1 - E2**2)), left), fits)


def test_events_act_right_after_the_jump_that_triggers_them(eventful: States, fits: Fits) -> None:
    assert eventful["wrapped"].max() == 3
    for index, time in enumerate((0.5, 1.0, 2.0, 3.0)):
        assert is_poisson(4 * eventful["turns"][index] + eventful["wrapped"][index], 5 * time, fits)
    third = eventful["third_at"][3]
    law = stats.gamma(3, scale=1 / 5)
    assert np.sum(third == 0) < 10, "after time 3 come 0.4 of 10,000"
    assert is_distributed(third[third > 0], law)


def test_delayed_events_see_what_has_happened_since(eventful: States, fits: Fits) -> None:
    third, seen_at, seen = (eventful[name][3] for name in ("third_at", "seen_at", "seen"))
    early = (third > 0) & (third < 2.5)
    np.testing.assert_allclose((seen_at - third)[early], 0.5, rtol=1e-12)
    assert is_poisson(seen[early] - 3, 2.5, fits)
    assert unrelated(seen[early], third[early])


def test_events_may_draw_the_time_of_the_next(eventful: States, fits: Fits) -> None:
    """With exponential times in between there are as many as of a Poisson process."""
    for index, time in ((1, 1.0), (3, 3.0)):
        assert is_poisson(eventful["renewals"][index], 2 * time, fits)


def test_hazards_follow_what_flows_and_events_set_it_back(model: Make) -> None:
    """A propensity equal to the age makes Rayleigh lives; the event right after each jump is the next birth."""
    system = model(
        {"born": {"amount": 0}},
        {"birth": (" -> born", "age")},
        dict.fromkeys(("age", "known", "first", "second"), 0.0),
        rates={"age": "1"},
        events={
            "renew": {
                "trigger": "born > known",
                "set": {
                    "known": "born",
                    "age": "0",
                    "first": "piecewise(age, known == 0, first)",
                    "second": "piecewise(age, known == 1, second)",
                },
            }
        },
    )
    actual = trajectories(system, [1.0, 12.0], N, 5)
    assert actual["born"][1].min() >= 2
    for name in ("first", "second"):
        assert is_distributed(actual[name][1], stats.rayleigh), name
    assert unrelated(actual["first"][1], actual["second"][1])
    early = actual["born"][0] > 0
    assert abs(early.mean() + np.expm1(-0.5)) < stats.norm.isf(ALARM / 2) * np.sqrt(0.25 / N)


# ---- random numbers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawing(model: Make) -> sg.Model:
    """Numbers drawn at the start and by an event at time 1."""
    return model(
        {"dying": {"amount": 0}, "made": {"amount": 0}, "given": {"amount": 5}},
        {"die": ("dying -> ", "dying"), "make": (" -> made", "speed"), "use": ("given -> ", "0.5*given")},
        {**dict.fromkeys(("normal_1", "gamma_1", "truncated", "same"), 0.0), "speed": 0.0},
        initial={"dying": "10*bernoulli(0.4)", "speed": "6*bernoulli(0.3)"},
        events={
            "draw": {
                "trigger": "time >= 1",
                "set": {
                    "normal_1": "normal(2, 3)",
                    "gamma_1": "gamma(2.5, 0.5)",
                    "truncated": "normal(0, 1, 0.5, 2)",
                    "given": "floor(uniform(0, 5))",
                    "same": "normal(2, 3)",
                },
            }
        },
    )


@pytest.fixture(scope="module")
def drawn(drawing: sg.Model) -> States:
    return trajectories(drawing, [0.0, 1.0, 2.0], N, 6)


def test_random_numbers_of_the_start(drawn: States, fits: Fits) -> None:
    none = np.eye(1, 80)[0]
    for index, alive in enumerate((1, E1, E2)):
        assert is_law(drawn["dying"][index], 0.6 * none + 0.4 * stats.binom.pmf(np.arange(80), 10, alive), fits)
    # a number drawn at the start is one and the same for all the time
    for index, time in ((1, 1.0), (2, 2.0)):
        assert is_law(drawn["made"][index], 0.7 * none + 0.3 * poisson(6 * time), fits)
    assert unrelated(drawn["dying"][0], drawn["made"][2])


def test_random_numbers_of_events(drawn: States, fits: Fits) -> None:
    for name, law in (
        ("normal_1", stats.norm(2, 3)),
        ("gamma_1", stats.gamma(2.5, scale=0.5)),
        ("truncated", stats.truncnorm(0.5, 2)),
    ):
        assert np.all(drawn[name][0] == 0)
        assert is_distributed(drawn[name][1], law), name
        np.testing.assert_array_equal(drawn[name][1], drawn[name][2])
    assert is_law(drawn["given"][1], np.full(5, 0.2), fits)
    left = np.mean([stats.binom.pmf(np.arange(5), given, np.exp(-0.5)) for given in range(5)], axis=0)
    assert is_law(drawn["given"][2], left, fits)
    assert unrelated(drawn["normal_1"][2], drawn["same"][2])
    assert unrelated(drawn["normal_1"][2], drawn["dying"][0])


def test_the_same_seed_gives_the_same_bits_whatever_the_layout(
    drawing: sg.Model, drawn: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hybrid_ensemble, "layout", lambda *_: (2, 40))
    few = trajectories(drawing, [0.0, 1.0, 2.0], 100, 6)
    for name, values in few.items():
        np.testing.assert_array_equal(values, drawn[name][:, :100], err_msg=name)
    others = trajectories(drawing, [0.0, 1.0, 2.0], 100, 7)
    assert np.any(others["made"] != few["made"])


@pytest.mark.parametrize("found", [SSA().settings, replace(SSA().settings, slots=8)])
def test_chunks_run_at_once_with_the_settings_that_serve_the_first(found: Settings) -> None:
    """Two workers meet in the first two of five chunks; what ran with settings that did not serve runs again."""
    given = SSA().settings
    meeting = Barrier(2, timeout=60.0)

    def one(settings: Settings, span: Span) -> tuple[Settings, HybridChunk]:
        if settings == given and span.first in (0, 10):
            meeting.wait()
        used = found if span.first == 0 else settings
        return used, HybridChunk(span.first, np.zeros(0), np.zeros(0), used.slots, np.zeros(0))

    chunks = list(hybrid_ensemble._in_order(one, given, [Span(first, 10) for first in range(0, 50, 10)], 2))
    assert [chunk.first for chunk in chunks] == [0, 10, 20, 30, 40]
    assert {chunk.events for chunk in chunks} == {found.slots}


# ---- the same process in other ways --------------------------------------------------------------------


def test_what_changes_nothing_leaves_the_distribution(model: Make) -> None:
    """Dimers with an event that never happens and a variable that nothing looks at, against plain simulation."""
    plain = (
        {"A": {"amount": 30}, "B": {"amount": 0}},
        {"bind": ("2 A -> B", "0.02*A*(A - 1)"), "part": ("B -> 2 A", "0.3*B"), "lose": ("A -> ", "0.1*A")},
    )
    more = {
        "parameters": {"clock": 0.0, "unused": 1.0},
        "rates": {"clock": "1"},
        "events": {"never": {"trigger": "clock > 1e9", "set": {"unused": "2"}}},
    }
    actual = [
        sg.simulate(model(*plain, **kwargs), [0.5, 3.0], n=N, seed=seed).counts for seed, kwargs in ((8, {}), (9, more))
    ]
    for index in range(2):
        codes = [counts[:, index, 0] * 31 + counts[:, index, 1] for counts in actual]
        table = np.array([np.bincount(values, minlength=1000) for values in codes])
        common = table.sum(axis=0) >= 20
        table = np.column_stack([table[:, common], table[:, ~common].sum(axis=1)])
        assert table.shape[1] > 20
        assert stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue > ALARM


# ---- what cannot be done -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing(model: Make) -> sg.Model:
    """Fails in one of four ways where a, b or c is 1, or k is large."""
    return model(
        {"X": {"amount": 0}},
        {"make": (" -> X", "k - 20*a*time")},
        {"k": 10.0, "a": 0.0, "b": 0.0, "c": 0.0, "x": 1.0, "y": 0.0},
        rates={"x": "b*x^2"},
        events={
            "up": {"trigger": "y < 1 && c > 0 && time > 0.3", "set": {"y": "2"}},
            "down": {"trigger": "y >= 1", "set": {"y": "0"}},
        },
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"a": 1.0}, PropensityError, r"reaction 'make': its propensity is -\S+ at time \S+ in trajectory \d+"),
        ({"b": 1.0}, SimulationError, r"cannot be followed at time 1 in trajectory \d+, .*the largest is 'x'"),
        ({"c": 1.0}, SimulationError, "events trigger each other without end at time 0.3"),
        ({"k": 1e4}, TruncationError, "more than the 1e\\+03 allowed; .* max_events"),
    ],
)
def test_failures_are_named(
    failing: sg.Model,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, float],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr("sbmlgrad.simulation.events.MOST_AT_ONCE", 100)  # for none to take long
    with pytest.raises(error, match=message) as caught:
        sg.simulate(failing, [2.0], n=20, parameters=changes, max_events=1000)
    assert "\n" not in str(caught.value)


def test_events_are_reactions_that_fire(model: Make) -> None:
    """Some 100 births while the solver takes thousands of steps; both loops count the births alone."""
    plain = model({"X": {"amount": 0}}, {"make": (" -> X", "k")}, {"k": 10.0})
    flowing = model(
        {"X": {"amount": 0}}, {"make": (" -> X", "k*(1 + 0*x)")}, {"k": 10.0, "x": 1.0}, rates={"x": "cos(100*time)"}
    )
    for each in (plain, flowing):
        assert sg.simulate(each, [10.0], n=20, seed=1, max_events=150).counts.max() > 100
        with pytest.raises(TruncationError, match="more than the 50 allowed; species 'X'"):
            sg.simulate(each, [10.0], n=20, seed=1, max_events=50)


def test_the_rate_of_a_reaction_is_what_the_document_says_in_every_loop(model: Make) -> None:
    """A law in amounts per time, also where it is split in two and where molecules are many to the unit."""
    species = {"A": {"amount": 6}, "B": {"amount": 3}}
    system: dict[str, Any] = {"reactions": {"r": ("A <-> B", "0.5*A - 0.2*B")}, "parameters": {"x": 1.0}}
    for more in ({}, {"rates": {"x": "-x"}}):
        each = model(species, **system, **more)
        for method in ("ssa", "ode"):
            actual = sg.simulate(each, [0.0, 1.0], n=10, method=method, select=["r", "A", "B"]).mean
            np.testing.assert_allclose(actual["r"], 0.5 * actual["A"] - 0.2 * actual["B"], rtol=1e-6)
            assert actual["r"].iloc[0] == pytest.approx(2.4)


def test_a_wait_of_nothing_is_a_wait(model: Make) -> None:
    """Trajectory 150 of this seed draws a waiting time that is exactly 0."""
    dosed = model(
        {"X": {"amount": 0}},
        {"birth": (" -> X", "k"), "death": ("X -> ", "g*X")},
        {"k": 10.046576138, "g": 0.501133189},
        events={"dose": {"trigger": "time >= 5", "set": {"X": "X + 100"}}},
    )
    actual = sg.simulate(dosed, [1, 2, 4, 5.5, 6, 7, 8, 10], n=200, seed=1639577730)
    assert actual.mean["X"].iloc[-1] == pytest.approx(20 + 99 * np.exp(-2.5), rel=0.1)
