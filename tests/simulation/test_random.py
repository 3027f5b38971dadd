"""The generator against published answers, and its distributions against theirs.

Statistical tests have fixed seeds and fail by chance once in 10,000 seeds each.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from sbmlgrad.simulation import random
from sbmlgrad.simulation.random import exponential, streams, threefry2x32, uniform

ALARM = 1e-4
WORD = 2.0**32

# Random123's kat_vectors, lines "threefry2x32 20": counter, key, answer.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def words(*values: int) -> tuple[jnp.ndarray, ...]:
    return tuple(jnp.uint32(value) for value in values)


def draws(seed: int, count: int, trajectory: int = 0) -> tuple[jnp.ndarray, jnp.ndarray]:
    """Trajectory and draw numbers of the first ``count`` draws of a trajectory."""
    return jnp.full(count, trajectory, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)


@pytest.fixture
def chosen_words(monkeypatch: pytest.MonkeyPatch):
    """Let the generator return words of our choice: the "trajectory" as high word, the "draw" as low word."""
    monkeypatch.setattr(random, "threefry2x32", lambda key, counter: counter)
    return jnp.zeros(2, jnp.uint32)


# ---- Threefry ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter: tuple[int, int], key: tuple[int, int], answer: tuple[int, int]) -> None:
    first, second = threefry2x32(words(*key), words(*counter))
    assert (int(first), int(second)) == answer
    assert first.dtype == second.dtype == jnp.uint32


def test_the_generator_agrees_with_that_of_jax() -> None:
    chosen = np.random.default_rng(0).integers(0, 2**32, size=(20, 2, 1000), dtype=np.uint32)
    for row, counters in enumerate(chosen):
        key = jnp.asarray(chosen[row, :, 0])
        ours = threefry2x32((key[0], key[1]), tuple(jnp.asarray(counters)))
        # JAX takes the first words of all counters, then all second ones
        theirs = threefry_2x32(key, jnp.asarray(counters.reshape(-1))).reshape(2, -1)
        np.testing.assert_array_equal(np.stack(ours), theirs)


# ---- streams -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -1])
def test_each_use_of_randomness_has_a_key_of_its_own(seed: int) -> None:
    keys = [tuple(np.asarray(key).tolist()) for s in (seed, 12345) for key in streams(s)]
    assert len(set(keys)) == len(keys)
    again = [tuple(np.asarray(key).tolist()) for key in streams(seed)]
    assert again == keys[: len(again)]


def test_seeds_that_share_their_low_word_differ() -> None:
    assert np.any(np.asarray(streams(7).waiting) != np.asarray(streams(7 + 2**32).waiting))


def test_waiting_times_say_nothing_about_choices_nor_neighbours_about_neighbours() -> None:
    keys, count = streams(3), 2**17
    choice = np.asarray(uniform(keys.choice, *draws(3, count)))
    waiting = np.exp(-np.asarray(exponential(keys.waiting, *draws(3, count)), np.float64))
    neighbour = np.asarray(uniform(keys.choice, *draws(3, count, trajectory=1)))
    other_seed = np.asarray(uniform(streams(4).choice, *draws(4, count)))
    for one, two in (
        (choice, waiting),
        (choice, neighbour),
        (choice, other_seed),
        (choice[1:], choice[:-1]),
        (waiting[1:], waiting[:-1]),
    ):
        table = np.histogram2d(one, two, bins=32, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(table.ravel()).pvalue > ALARM


# ---- uniforms ------------------------------------------------------------------------------------------


def test_uniforms_are_uniform() -> None:
    values = np.asarray(uniform(streams(1).choice, *draws(1, 1_000_000)))
    assert values.dtype == np.float64
    assert stats.kstest(values, "uniform").pvalue > ALARM
    # within a thousandth, where a choice among rare reactions is made, and in the last bits
    inside = values[values < 1e-3] * 1e3
    assert stats.kstest(inside, "uniform").pvalue > ALARM
    low_bits = (values * 2.0**53).astype(np.int64) & 1023
    assert stats.chisquare(np.bincount(low_bits, minlength=1024)).pvalue > ALARM


def test_uniforms_lie_on_the_grid_of_53_bits_and_below_one(chosen_words: jnp.ndarray) -> None:
    high = jnp.array([0, 0, 0, 1, 2**32 - 1, 2**31, 0x12345678], jnp.uint32)
    low = jnp.array([0, 2**11 - 1, 2**11, 0, 2**32 - 1, 0, 0x9ABCDEF0], jnp.uint32)
    values = np.asarray(uniform(chosen_words, high, low))
    exact = [(h * 2**21 + (lo >> 11)) / 2**53 for h, lo in zip(high.tolist(), low.tolist(), strict=True)]
    np.testing.assert_array_equal(values, exact)
    assert values.max() < 1.0
    assert values[2] == 2.0**-53


# ---- exponentials --------------------------------------------------------------------------------------


def test_exponentials_are_exponential() -> None:
    values = np.asarray(exponential(streams(2).waiting, *draws(2, 1_000_000)), np.float64)
    assert stats.kstest(values, "expon").pvalue > ALARM
    assert abs(values.mean() - 1) * 1e3 < stats.norm.isf(ALARM / 2)
    small = values[values < 0.01]
    assert stats.kstest(-np.expm1(-small) / -np.expm1(-0.01), "uniform").pvalue > ALARM


def test_the_tail_of_exponentials_is_exponential() -> None:
    keys, beyond = streams(5), []
    for trajectory in range(20):
        values = np.asarray(exponential(keys.waiting, *draws(5, 1_000_000, trajectory)), np.float64)
        beyond.append(values[values > 10] - 10)
    excess = np.concatenate(beyond)
    expected = 20e6 * np.exp(-10)
    assert abs(excess.size - expected) < stats.norm.isf(ALARM / 2) * np.sqrt(expected)
    assert stats.kstest(excess, "expon").pvalue > ALARM


def test_exponentials_take_all_64_bits(chosen_words: jnp.ndarray) -> None:
    high = np.array([0, 0, 0, 1, 77, 2**16, 2**31, 2**32 - 2**12, 2**32 - 1], np.uint32)
    low = np.array([0, 1, 2**31, 2**32 - 1, 5, 0, 9, 0, 2**32 - 1], np.uint32)
    values = np.asarray(exponential(chosen_words, jnp.asarray(high), jnp.asarray(low)), np.float64)
    fraction = (high + (low + 0.5) / WORD) / WORD
    np.testing.assert_allclose(values, -np.log(fraction), rtol=3e-7, atol=6e-8)
    assert values.max() > 45
    assert np.all(values >= 0)


def test_the_mean_wait_is_not_biased_by_float32(chosen_words: jnp.ndarray) -> None:
    """A clock that ran 1e-7 too fast would be 100 events early after 1e9; midpoints of 2**22 strata show it."""
    strata = 2**22
    high = (np.arange(strata, dtype=np.uint64) * 2**10 + 2**9).astype(np.uint32)
    low = np.full(strata, 2**31, np.uint32)
    values = np.asarray(exponential(chosen_words, jnp.asarray(high), jnp.asarray(low)), np.float64)
    fraction = (high + (low + 0.5) / WORD) / WORD
    assert abs(np.mean(values + np.log(fraction))) < 3e-8
