"""What tests of simulation share: the comparison of counts with their law."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

_FEWEST = 10  # expected in a group of categories
ALARM = 1e-4  # the probability below which a check rejects


@pytest.fixture(scope="session")
def fits() -> Callable[[np.ndarray, np.ndarray], bool]:
    """Whether counts (categories,) follow probabilities; see :func:`counts_fit`."""
    return counts_fit


def counts_fit(observed: np.ndarray, probabilities: np.ndarray) -> bool:
    """Whether counts (categories,) follow the probabilities, by chi-square; rare categories are put together."""
    expected = probabilities * observed.sum()
    assert observed[probabilities < 1e-15].sum() == 0, "an impossible state was observed"
    groups: list[list[float]] = [[0.0, 0.0]]
    for index in np.argsort(expected):
        if groups[-1][1] >= _FEWEST:
            groups.append([0.0, 0.0])
        groups[-1][0] += observed[index]
        groups[-1][1] += expected[index]
    if groups[-1][1] < _FEWEST:
        groups[-2:] = [list(np.sum(groups[-2:], axis=0))]
    seen, due = np.array(groups).T
    return len(seen) < 2 or bool(stats.chisquare(seen, due * seen.sum() / due.sum()).pvalue > ALARM)
