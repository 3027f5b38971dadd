"""What estimates and tasks say of themselves."""

from __future__ import annotations

import numpy as np

from sbmlgrad.gradient.estimator import Estimate, Task


def estimate(values_stderr: list[float], values_sd: list[float], n: int = 100) -> Estimate:
    none = np.zeros((1, 1, len(values_sd)))
    error, sd = np.array([values_stderr]), np.array([values_sd])
    return Estimate(np.zeros_like(sd), error, none, none, n, sd)


def test_the_effective_size_is_that_of_plain_means() -> None:
    assert estimate([0.1], [2.0]).effective_size == 400
    assert estimate([0.1, 0.5, 0.0], [2.0, 5.0, 0.0]).effective_size == 250  # the median, of what is drawn at all
    assert estimate([0.0], [np.nan]).effective_size == 100


def test_another_use_has_other_random_numbers() -> None:
    task = Task([1.0], np.array([1.0]), 100, seed=7, progress="a bar")
    assert task.with_n(10) == Task([1.0], task.times, 10, seed=7, progress="a bar")
    seeds = {task.with_n(100, use).seed for use in range(5)}
    assert len(seeds) == 5
    assert task.with_n(100, 3) == task.with_n(100, 3)
    assert (task.experiment.n, task.experiment.seed) == (100, 7)
