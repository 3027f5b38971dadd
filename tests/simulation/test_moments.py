"""Moments of a stream of trajectories: those of numpy, and the same bits however the stream is cut."""

from __future__ import annotations

import numpy as np
import pytest

from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.shares import GRAIN

VALUES = np.random.default_rng(1).normal(1e9, 1.0, (2, 3, 3 * GRAIN + 17))


def moments(*ends: int) -> Moments:
    result = Moments()
    for part in np.split(VALUES, [end * GRAIN for end in ends], axis=-1):
        result.add(part)
    return result


def test_large_numbers_keep_their_digits() -> None:
    whole = moments()
    assert whole.count == VALUES.shape[-1]
    np.testing.assert_allclose(whole.mean, VALUES.mean(axis=-1), rtol=1e-15)
    np.testing.assert_allclose(whole.variance, (VALUES - 1e9).var(axis=-1, ddof=1), rtol=1e-7)
    np.testing.assert_allclose(whole.stderr, whole.sd / np.sqrt(whole.count))


@pytest.mark.parametrize("ends", [(1,), (2,), (1, 2, 3)])
def test_cuts_change_no_bit(ends: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(moments(*ends).mean, moments().mean)
    np.testing.assert_array_equal(moments(*ends).variance, moments().variance)


def test_one_trajectory_has_no_variance() -> None:
    single = Moments()
    single.add(np.array([[3.0], [5.0]]))
    assert single.mean.tolist() == [3.0, 5.0]
    assert np.isnan(single.sd).all()


def test_what_is_infinite_has_no_moments_and_spoils_no_others() -> None:
    both = Moments()
    both.add(np.array([[1.0, np.inf], [1.0, 3.0]]))
    assert np.isnan(both.variance[0])
    assert (both.mean[1], both.variance[1]) == (2.0, 2.0)
