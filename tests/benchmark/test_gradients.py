"""Estimators on the battery: unbiased ones are, over all cases together, and the page is made of what was measured."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from sbmlgrad.gradient.catalogue import ESTIMATORS
from sbmlgrad.gradient.estimator import Task

UNBIASED = ("controlled_score", "score", "alternative_path")
QUICK = (
    "birth_death probability X-30-60 1",
    "feedback_gene mean P 1",
    "enzyme variance C 10",
    "lotka_volterra mean Hunter 1.2",
    "ion_channel probability Open-25-51 3",
)


@pytest.fixture(scope="module")
def benchmark(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("gradients")


@pytest.mark.parametrize("name", UNBIASED)
@pytest.mark.parametrize("cases", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_unbiased_estimators_are(benchmark: ModuleType, name: str, cases: str) -> None:
    """Over all cases together: alarms falsely at most once in 1,000 batteries for each estimator.

    Of a case the largest score counts (Bonferroni, whatever scores of one ensemble have to do with each other), and
    cases are independent (Fisher's method).
    """
    chosen = [case for case in benchmark.CASES if cases == "all" or case.name in QUICK[:3]]
    pvalues = []
    for case in chosen:
        problem, (_, exact) = benchmark.posed(case), benchmark.exact(case)
        values = [float(case.network.parameters[p]) for p in case.parameters]
        actual = [
            ESTIMATORS[name].estimate(problem, Task(values, np.array([case.time]), 4000, seed)) for seed in range(4)
        ]
        off = np.mean([f.derivatives[:, 0, 0] - exact for f in actual], axis=0)
        error = np.sqrt(np.sum([f.stderr[:, 0, 0] ** 2 for f in actual], axis=0)) / len(actual)
        largest = float(np.max(np.abs(off) / error))
        pvalues.append(min(1.0, len(exact) * 2 * stats.norm.sf(largest)))
    assert stats.combine_pvalues(pvalues).pvalue > 1e-3, dict(zip([c.name for c in chosen], pvalues, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auto", "score"])
def test_intervals_cover(benchmark: ModuleType, name: str) -> None:
    """95 % intervals of four cases, 400 repetitions: 93 to 97 %, which an honest one misses for 1 in 15 derivatives."""
    inside = []
    for case in (c for c in benchmark.CASES if c.name in QUICK[:4]):
        problem, (_, exact) = benchmark.posed(case), benchmark.exact(case)
        values = [float(case.network.parameters[p]) for p in case.parameters]
        for seed in range(400):
            actual = ESTIMATORS[name].estimate(problem, Task(values, np.array([case.time]), 2000, seed))
            inside.append(np.mean(np.abs(actual.derivatives[:, 0, 0] - exact) < 1.959964 * actual.stderr[:, 0, 0]))
    assert 0.94 < np.mean(inside) < 0.96


def test_the_page_and_the_verdicts_are_made_of_rows(benchmark: ModuleType) -> None:
    def row(case: str, estimator: str, estimate: float, stderr: float, seconds: float) -> object:
        return benchmark.Row(case, "k", estimator, 2.0, estimate, stderr, stderr, seconds, 1.0)

    rows = [
        row("one", "auto", 2.01, 0.01, 2.0),
        row("two", "auto", 2.0, 0.02, 2.0),
        row("one", "score", 2.5, 0.1, 1.0),
        row("two", "score", 2.0, 0.01, 1.0),
    ]
    auto, score = benchmark.judge(rows)
    assert (auto.within, auto.derivatives, score.within) == (2, 2, 1)
    assert score.largest == pytest.approx(0.25)
    assert score.beaten == 0.5
    each = [2 * stats.norm.sf(5.0), 1.0]  # the second is exact
    assert score.p == pytest.approx(stats.combine_pvalues(each).pvalue)
    text = benchmark.page(
        rows,
        dict.fromkeys(("command", "date", "processor", "cores", "sbmlgrad", "jax", "trajectories"), "1"),
    )
    assert "| `score` | 1 of 2 | 25.00% |" in text
    assert "| one | k | 2 | +0.5% (0.005) | +25.0% (0.05) |" in text
