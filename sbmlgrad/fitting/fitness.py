"""How well a likelihood's model fits: what was measured against what the model expects of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import gamma

from sbmlgrad.likelihood.likelihood import Expected

_RARE = 1e-3  # the probability of residuals that are taken for a contradiction


@dataclass(frozen=True)
class Fitness:
    """The sum of squares of what was measured, in units of what the model expects, and how likely a larger one is.

    ``dof`` is what the sum is expected to be.
    """

    chi2: float
    dof: float
    p_value: float
    warnings: tuple[str, ...]


def fitness(expected: Expected, parameters: int) -> Fitness:
    """Hold measured numbers against what the model expects of each before it is seen.

    Such a sum has a mean and a variance that the model tells; a gamma distribution with both tells how likely it is.
    """
    telling = expected.sd > 0
    squares = np.square((expected.measured - expected.predicted)[telling] / expected.sd[telling])
    found, mean = float(squares.sum()), float(telling.sum() - parameters)
    if mean < 0.5:
        return Fitness(found, mean, np.nan, ())
    variance = float(np.sum(expected.wildness[telling] - 1))
    above = float(gamma.sf(found, mean**2 / variance, scale=variance / mean))
    figures = f"(sum of squares {found:.3g}, where {mean:.3g} is expected; probability {min(above, 1 - above):.1g})"
    texts: tuple[str, ...] = ()
    if above < _RARE:
        texts = (
            f"the data lie {np.sqrt(found / mean):.2g} times as far from the model's predictions as its noise allows "
            f"{figures}: the model does not explain them, or there is noise that it does not have, such as an error of "
            "measurement (column -error)",
        )
    elif 1 - above < _RARE:
        texts = (
            f"the data lie closer to the model's predictions than its noise allows {figures}: they may be means of "
            "many cells (column -mean), or more molecules than the model has (molecules per unit)",
        )
    return Fitness(found, mean, above, texts)
