"""What tests of simulation share: the comparison of counts with their law."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

ALARM = 1e-4  # the probability below which a check rejects


@pytest.fixture(scope="session")
def fits() -> Callable[[np.ndarray, np.ndarray], bool]:
    """Whether counts (categories,) follow probabilities; see :func:`counts_fit`."""
    return counts_fit


def counts_fit(observed: np.ndarray, probabilities: np.ndarray) -> bool:
    """Whether counts (categories,) follow the probabilities, by chi-square; rare categories are put together."""
    expected = probabilities * observed.sum()
    assert observed[probabilities < 1e-15].sum() == 0, "an impossible state was observed"
    order = np.argsort(expected)
    groups = np.unique(np.cumsum(expected[order]) // 10, return_inverse=True)[1]
    together = [np.bincount(groups, values[order]) for values in (observed, expected)]
    seen, due = (np.append(values[:-2], values[-2:].sum()) for values in together)  # the last may be small
    due *= seen.sum() / due.sum()
    return len(seen) < 2 or bool(stats.chisquare(seen, due).pvalue > ALARM)
