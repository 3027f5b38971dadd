"""Apparent sojourns against inverse Laplace transforms, closed forms and stays drawn by numpy."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy.stats import chi2

from sbmlgrad.errors import SimulationError
from sbmlgrad.likelihood.dwell_records import DwellRecord
from sbmlgrad.likelihood.sojourns import (
    Classes,
    Grid,
    Leaving,
    as_bits,
    entering,
    entry_law,
    leaving,
    moments,
    radau,
    stays,
)
from sbmlgrad.simulation.deterministic import quick_to_compile

NICOTINIC = np.array(
    [
        [-3.05, 0.05, 0, 3, 0],
        [2e-3 / 3, -0.5 - 2e-3 / 3, 0.5, 0, 0],
        [0, 15, -19, 4, 0],
        [0.015, 0, 0.05, -2.065, 2],
        [0, 0, 0, 0.01, -0.01],
    ]
)
"""Colquhoun & Hawkes 1982, per ms; two open states and three that are shut."""

ROUND = np.array([[-2.0, 2.0, 0, 0], [0, -1.5, 1.5, 0], [0, 0.5, -1.5, 1.0], [1.2, 0, 0, -1.2]])
"""Mostly one way around, with complex eigenvalues; three classes."""


class Followed(NamedTuple):
    """Rates (classes, times, members, entries + 1) into other classes, the law (classes, entries, states) of the state
    a resolution later, that (states,) with which sojourns begin, and moments (states, 4) of their lengths."""

    classes: Classes
    rates: np.ndarray
    lasting: np.ndarray
    law: np.ndarray
    moments: np.ndarray


def followed(generator: np.ndarray, of: np.ndarray, times: np.ndarray, resolution: float) -> Followed:
    """Sojourns at times after the resolution."""
    classes, grid = Classes(of, generator > 0), Grid.of(float(-np.diag(generator).min()), resolution)
    span, window, weights = grid.windows(times)
    bits = as_bits(span, grid.levels(float(times.max())))

    @partial(jax.jit, compiler_options=quick_to_compile())
    def every(generator: jax.Array) -> tuple[jax.Array, ...]:
        shape = grid.delay, grid.points
        staying = stays(generator, classes, *shape, grid.width)
        left, rates = leaving(staying, classes), []
        for own, members in enumerate(classes.members):
            one = Leaving(*(part[own] for part in left))
            rows, scale = entering(generator, staying, one, members, bits, shape, grid.width)
            rows = rows[np.arange(len(times)), window]
            rates.append(jnp.einsum("di,dmie->dme", weights, rows) * jnp.exp(scale)[:, None, None])
        rest = generator, staying, left, classes, shape, grid.width
        return jnp.stack(rates), left.entries @ staying.lasting, entry_law(*rest), moments(*rest)

    return Followed(classes, *map(np.asarray, every(jnp.asarray(generator))))


@pytest.mark.parametrize("resolution", [0.05, 0.2])
def test_open_times_of_five_states(resolution: float) -> None:
    """Of the survivor function the transform is known (Hawkes, Jalali & Colquhoun 1990), by the law of gaps."""
    times = np.array([0.5, 1.7, 31.3]) * resolution
    of = np.array([1, 1, 0, 0, 0])
    classes, rates, later, *_ = followed(NICOTINIC, of, times, resolution)
    tau, opened, shut = mp.mpf(resolution), slice(0, 2), slice(2, 5)
    oo, os, so, ss = (mp.matrix(NICOTINIC[a, b].tolist()) for a in (opened, shut) for b in (opened, shut))
    lasting = mp.expm(ss * tau)

    def survivor(z: mp.mpc) -> mp.matrix:
        gap = (mp.eye(3) - mp.exp(-z * tau) * lasting) * (z * mp.eye(3) - ss) ** -1
        return (z * mp.eye(2) - oo - os * gap * so) ** -1

    for index, time in enumerate(times):
        exact = [float(mp.invertlaplace(lambda z, b=b: survivor(z)[0, b], time, method="dehoog")) for b in (0, 1)]
        density = np.array(exact) @ NICOTINIC[opened, shut] @ np.array(lasting.tolist(), float)
        found = rates[1, index, 0, :-1] @ later[1]
        np.testing.assert_allclose(found[shut], density, rtol=1e-7)
    assert classes.entries[1].tolist() == [2, 3]


def test_two_states_within_twice_the_resolution() -> None:
    """Until then all gaps are unseen: the density is that of being open, times that of a gap that lasts."""
    a, b, tau = 0.7, 2.0, 0.4
    generator, times = np.array([[-a, a], [b, -b]]), np.linspace(0, 0.999 * tau, 7)
    _, rates, later, *_ = followed(generator, np.array([0, 1]), times, tau)
    being_there = (b + a * np.exp(-(a + b) * times)) / (a + b)
    np.testing.assert_allclose(rates[0, :, 0, 0] * later[0, 0, 1], a * np.exp(-b * tau) * being_there)
    np.testing.assert_allclose(rates[0, :, 0, -1], 1.0)


def test_moments_are_integrals_of_densities() -> None:
    of, tau = np.array([1, 1, 0, 0, 0]), 0.2
    widths = np.full(75, 0.2)
    nodes, weights = radau(12)[0], radau(12)[1][-1]
    times = (np.cumsum(widths) - widths)[:, None] + widths[:, None] * nodes
    fast = NICOTINIC.copy()
    fast[1] *= 30  # so that nothing is left after 15 ms
    _, rates, later, _, found = followed(fast, of, times.ravel(), tau)
    density = (rates[1, :, :2, :-1] @ later[1]).sum(axis=-1).reshape(*times.shape, 2)
    for power in range(1, 5):
        integral = np.einsum("w,p,wpm,wp->m", widths, weights, density, times**power)
        np.testing.assert_allclose(found[:2, power - 1], integral, rtol=1e-4)


def drawn(random: np.random.Generator, stays: int) -> tuple[np.ndarray, np.ndarray]:
    """When the process of three classes came into a state, and which."""
    passage, states, state = np.cumsum(np.maximum(ROUND, 0) / -np.diag(ROUND)[:, None], axis=1), np.zeros(stays, int), 0
    for row, share in enumerate(random.uniform(size=stays)):
        states[row] = state
        state = int(np.searchsorted(passage[state], share, side="right"))
    lasting = random.exponential(-1 / np.diag(ROUND)[states])
    return np.cumsum(lasting) - lasting, states


@pytest.mark.parametrize("resolution", [0.0, 0.3])
def test_three_classes_of_a_process_with_complex_eigenvalues(resolution: float) -> None:
    """Stays drawn one by one: a chi-square of four ranges of lengths and the class after, of each class, is above its
    limit with a probability of 1e-4, 6e-4 in all (if sojourns of a class were independent, which they nearly are)."""
    of = np.array([0, 1, 1, 2])
    times, states = drawn(np.random.default_rng(8), 60_000)
    record = DwellRecord.of("S", [(times, of[states].astype(float))], resolution)
    cuts = np.array([0.0, 0.3, 0.9, 2.0, 40.0])
    nodes, weights = np.polynomial.legendre.leggauss(50)
    at = (cuts[:-1, None] + np.diff(cuts)[:, None] * (nodes + 1) / 2).ravel()
    share = (np.diff(cuts)[:, None] * weights / 2).ravel()
    classes, rates, later, law, _ = followed(ROUND, of, at, resolution)
    law = np.append(law, 0.0)
    assert law.sum() == pytest.approx(1)
    for own in range(3):
        start = law[classes.members[own]] / law[classes.members[own]].sum()
        density = (start @ rates[own, :, :, :-1]) @ later[own]
        expected = np.stack([(density[:, of == k].sum(axis=1) * share).reshape(4, 50).sum(axis=1) for k in range(3)], 1)
        assert expected.sum() == pytest.approx(1, abs=1e-6)
        here = (record.level == own) & ~np.isnan(record.after)
        seen = np.histogram2d(record.duration[here] - resolution, record.after[here], [cuts, [0, 1, 2, 3]])[0]
        expected *= here.sum()
        telling = expected > 5
        assert seen[~telling].sum() < 30
        assert np.sum((seen - expected)[telling] ** 2 / expected[telling]) < chi2.isf(1e-4, telling.sum() - 1)


def test_what_is_next_to_impossible_has_its_probability() -> None:
    """Far beyond rounding it falls as the slowest part of it does, however slow other states are."""
    times = np.array([50.0, 100.0, 150.0, 1000.0])
    span, window, weights = (grid := Grid.of(20.0, 0.2)).windows(times)
    fast = NICOTINIC.copy()
    fast[1] *= 30
    classes, shape = Classes(np.array([1, 1, 0, 0, 0]), fast > 0), (grid.delay, grid.points)

    @partial(jax.jit, compiler_options=quick_to_compile())
    def logarithms(generator: jax.Array) -> jax.Array:
        staying = stays(generator, classes, *shape, grid.width)
        left = Leaving(*(part[1] for part in leaving(staying, classes)))
        bits = as_bits(span, grid.levels(1000.0))
        rows, scale = entering(generator, staying, left, classes.members[1], bits, shape, grid.width)
        return jnp.log(jnp.einsum("di,die->de", weights, rows[np.arange(4), window, 0])[:, -1]) + scale

    found = np.asarray(logarithms(jnp.asarray(fast)))
    slope = (found[1] - found[0]) / 50
    assert slope < -1
    np.testing.assert_allclose(found[1:] - found[0], slope * (times[1:] - 50), rtol=1e-9)


def test_rates_too_fast_for_a_resolution_are_refused() -> None:
    with pytest.raises(SimulationError, match=r"left at a rate of 1e\+04, too fast for a resolution of 0.1"):
        Grid.of(1e4, 0.1)
    assert Grid.of(1.0, 0.1).holds(1.9)
    assert not Grid.of(1.0, 0.1).holds(30.0)
