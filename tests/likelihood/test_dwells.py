"""The likelihood of dwell times against closed forms, matrices by scipy, and records drawn by numpy."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import chi2, norm

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.likelihood.dwell_records import DwellRecord
from sbmlgrad.likelihood.dwells import Dwells

RATES = {"a": 0.2, "b": 1.0, "o": 5.0, "c": 3.0}
VALUES = np.array(list(RATES.values()))


@pytest.fixture(scope="module")
def bursts() -> Problem:
    """A channel that is shut for long, or for short before it opens."""
    network = sg.ReactionNetwork(
        [[-1, 1, 0, 0], [1, -1, -1, 1], [0, 0, 1, -1]],
        lambda x, p: jnp.stack([p["a"] * x[0], p["b"] * x[1], p["o"] * x[1], p["c"] * x[2]]),
        [1, 0, 0],
        RATES,
        species=("R", "C", "O"),
    )
    return differentiable(network, list(RATES))


def generator(values: np.ndarray) -> np.ndarray:
    a, b, o, c = values
    return np.array([[-a, a, 0], [b, -b - o, o], [0, c, -c]])


def drawn(random: np.random.Generator, sojourns: int) -> tuple[np.ndarray, np.ndarray]:
    """Times at which the channel opens and shuts, from the moment when it has shut."""
    a, b, o, c = VALUES
    times, now, opened = [0.0], 0.0, False
    for _ in range(sojourns):
        if opened:
            now += random.exponential(1 / c)
        else:
            now += random.exponential(1 / (b + o))
            while random.uniform() < b / (b + o):
                now += random.exponential(1 / a) + random.exponential(1 / (b + o))
        opened = not opened
        times.append(now)
    return np.array(times), np.arange(sojourns + 1) % 2.0


def test_all_seen(bursts: Problem) -> None:
    """The product of matrices of Colquhoun & Hawkes 1982, and its slopes; nothing is seen of the end."""
    times, levels = drawn(np.random.default_rng(1), 30)
    levels[-1] = levels[-2]
    likelihood = Dwells(bursts, DwellRecord.of("O", [(times, levels)]))

    def exact(values: np.ndarray) -> float:
        q, total = generator(values), 0.0
        law = np.array([0.0, 1.0])  # it has just shut
        for span in np.diff(times)[:-1]:
            own, other = (slice(0, 2), slice(2, 3)) if len(law) == 2 else (slice(2, 3), slice(0, 2))
            law = law @ expm(q[own, own] * span) @ q[own, other]
            total += np.log(law.sum())
            law = law / law.sum()
        own = slice(0, 2) if len(law) == 2 else slice(2, 3)
        return total + np.log((law @ expm(q[own, own] * np.diff(times)[-1])).sum())

    likelihood.prepare(VALUES)
    found = likelihood.evaluate(VALUES)
    assert found.value == pytest.approx(exact(VALUES), abs=1e-9)
    slopes = [(exact(VALUES + step) - exact(VALUES - step)) / 2e-5 for step in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(found.score, slopes, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def missed(bursts: Problem) -> Dwells:
    """A record of which a third of the sojourns are too short to be seen."""
    likelihood = Dwells(bursts, DwellRecord.of("O", [drawn(np.random.default_rng(2), 3000)], 0.1))
    likelihood.prepare(VALUES)
    return likelihood


def test_the_score_is_the_slope(missed: Dwells) -> None:
    found, shift = missed.evaluate(VALUES), 1e-4 * np.diag(VALUES)
    slopes = [(missed.evaluate(VALUES + s).value - missed.evaluate(VALUES - s).value) / (2 * s.sum()) for s in shift]
    np.testing.assert_allclose(found.score, slopes, rtol=1e-5, atol=1e-3)


def test_the_score_is_0_at_the_truth_but_for_chance(missed: Dwells) -> None:
    """By the curvature as its variance; beyond 4 standard deviations with a probability of 3e-4 for the four."""
    score, shift = missed.evaluate(VALUES).score, 1e-3 * np.diag(VALUES)
    rows = [(missed.evaluate(VALUES - s).score - missed.evaluate(VALUES + s).score) / (2 * s.sum()) for s in shift]
    assert np.all(np.abs(score / np.sqrt(np.diag(rows))) < norm.isf(3e-5))
    without = Dwells(missed.problem, replace(missed.record, resolution=0.0))  # as if nothing had been missed
    without.prepare(VALUES)
    assert np.max(np.abs(without.evaluate(VALUES).score / np.sqrt(np.diag(rows)))) > 20


def test_rates_that_grow_make_windows_narrower(missed: Dwells) -> None:
    """To the same number."""
    far = 5 * VALUES
    fine = Dwells(missed.problem, missed.record)
    fine.prepare(far)
    assert missed.evaluate(far).value == pytest.approx(fine.evaluate(far).value, abs=1e-6)
    fine.prepare(VALUES)


def test_dwell_times_are_expected_as_they_are_drawn(missed: Dwells) -> None:
    """Sums of squared residuals beyond their limits with a probability of about 1e-3."""
    expected = missed.expected(VALUES)
    residual = (expected.measured - expected.predicted) / expected.sd
    assert abs(residual.mean()) < 3.3 / np.sqrt(len(residual))
    assert abs(np.sum(residual**2 - 1)) < 3.3 * np.sqrt(np.sum(expected.wildness - 1))
    assert np.all(expected.wildness > 2)


def test_how_long_sojourns_last_where_all_are_seen(bursts: Problem) -> None:
    """Open for an exponential time; shut from C on, by the exponential of a matrix."""
    likelihood = Dwells(bursts, DwellRecord.of("O", [drawn(np.random.default_rng(3), 20)], 0.0))
    likelihood.prepare(VALUES)
    durations = np.array([0.01, 0.3, 2.0, 20.0])
    shut = [expm(generator(VALUES)[:2, :2] * t)[1].sum() for t in durations]
    found = likelihood.lasting(VALUES, durations)
    np.testing.assert_allclose(found, [shut, np.exp(-RATES["c"] * durations)], rtol=1e-9)


def test_histograms_of_dwell_times_with_missed_events(missed: Dwells) -> None:
    """Chi-square of either level beyond its quantile with a probability of 1e-3 in all; not so if none were missed."""
    table = missed.histogram(VALUES)
    assert table["sojourns"].sum() == missed.size
    assert table["lower"].min() == pytest.approx(0.1)

    def worst(table: dict[str, np.ndarray]) -> float:
        tails = []
        for level in (0.0, 1.0):
            use = (table["level"] == level) & (table["expected"] > 5)
            seen, expected = table["sojourns"][use], table["expected"][use]
            tails.append(chi2.sf(np.sum((seen - expected) ** 2 / expected), use.sum() - 1))
        return min(tails)

    assert worst(table) > 5e-4
    without = Dwells(missed.problem, replace(missed.record, resolution=0.0))
    without.prepare(VALUES)
    assert worst(without.histogram(VALUES)) < 1e-9


def test_a_record_of_one_stay_without_end_has_no_histogram(bursts: Problem) -> None:
    likelihood = Dwells(bursts, DwellRecord.of("O", [(np.array([0.0, 2.0]), np.array([1.0, 1.0]))]))
    likelihood.prepare(VALUES)
    assert likelihood.evaluate(VALUES).value == pytest.approx(-2 * RATES["c"])
    assert {name: len(column) for name, column in likelihood.histogram(VALUES).items()} == dict.fromkeys(
        ("level", "lower", "upper", "sojourns", "expected"), 0
    )


def test_the_level_at_rest(missed: Dwells) -> None:
    a, b, o, c = VALUES
    opened = 1 / (1 + c / o * (1 + b / a))
    assert missed.at_rest(VALUES) == pytest.approx((opened, np.sqrt(opened * (1 - opened))))


def test_a_start_far_from_the_truth_is_not_impossible(missed: Dwells) -> None:
    far = np.array([0.2, 1.0, 2.0, 60.0])  # openings of up to 2.5 would last 0.017
    found = missed.evaluate(far)
    assert np.isfinite(found.value)
    assert found.score[3] < 0


def test_levels_that_no_state_has_are_refused(bursts: Problem) -> None:
    record = DwellRecord.of("O", [(np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 0.0]))])
    with pytest.raises(SimulationError, match="'O' is 2 in the data, and 0, 1 in the states of the model"):
        Dwells(bursts, record).prepare(VALUES)


def test_too_many_states_are_refused(birth_death: Problem) -> None:
    record = DwellRecord.of("X", [(np.array([0.0, 1.0, 2.0]), np.array([3.0, 2.0, 3.0]))])
    with pytest.raises(SimulationError, match="more than 60 states"):
        Dwells(birth_death, record).prepare(np.array([4.0, 0.7]))
