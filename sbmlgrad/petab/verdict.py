"""How well a fitted problem explains its data, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from sbmlgrad.fitting.uncertainty import keeping_sign
from sbmlgrad.petab.definition import Definition
from sbmlgrad.petab.likelihood import told_by_all
from sbmlgrad.petab.objective import Posterior

_RARE = 1e-3  # the probability of residuals that are taken for a contradiction


@dataclass(frozen=True)
class Verdict:
    """``text`` is one line; ``poor`` whether the data contradict the fitted model, or know more than it does."""

    goodness: dict[str, float]
    text: str
    poor: bool


def judge(
    definition: Definition, best: Posterior, log_prior: float | None, stderr: np.ndarray | None = None
) -> Verdict:
    """Hold the residuals at the estimate against the noise that the problem states.

    Where noise is estimated too, residuals are as large as it says whatever the model, and only their order can tell.
    Where simulations are means, their standard errors ``stderr`` (n,) are part of the noise.
    """
    size, free = best.simulated.slopes.shape
    residuals = best.residuals
    if stderr is not None:
        told = told_by_all(definition, best.simulated.values, best.simulated.noise)
        residuals = residuals / np.sqrt(1 + told.of_value * stderr**2)
    squares = float(np.sum(np.square(residuals)))
    goodness = {"log_likelihood": best.llh, "n_data": float(size), "dof": float(size - free), "chi2": squares}
    shape = {definition.observables[item.observable].distribution for item in definition.measurements}
    stated = not np.any(best.simulated.noise_slopes) and shape == {"normal"}
    p_value = float(chi2.sf(squares, size - free)) if stated and size > free else np.nan
    goodness |= {"p_value": p_value, "aic": 2 * free - 2 * best.llh, "bic": free * np.log(size) - 2 * best.llh}
    if log_prior is not None:
        goodness["log_posterior"] = best.llh + log_prior
    patterns = keeping_sign(*_in_order(definition, residuals))
    texts = list(patterns)
    if p_value < _RARE:
        texts.insert(0, f"the residuals are larger than the noise allows (chi2 {squares:.4g}, {size - free} expected)")
    elif p_value > 1 - _RARE:
        texts.insert(0, f"the residuals are smaller than the noise says (chi2 {squares:.4g}, {size - free} expected)")
    if texts:
        return Verdict(goodness, "; ".join(texts), True)
    if np.isnan(p_value):
        why = "noise is estimated from the residuals" if np.any(best.simulated.noise_slopes) else "chi2 does not tell"
        return Verdict(goodness, f"nothing in the order of the residuals contradicts the model ({why})", False)
    return Verdict(goodness, f"the data agree with the model (chi2 {squares:.4g}, p = {p_value:.2g})", False)


def _in_order(definition: Definition, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of its series, which are observables in an experiment, for each residual, in order of time."""
    numbers: dict[tuple[str, str, str], int] = {}
    keys = []
    for item in definition.measurements:
        series = numbers.setdefault((item.model, item.experiment, item.observable), len(numbers))
        keys.append((series, item.time))
    order = sorted(range(len(keys)), key=lambda row: keys[row])
    return np.array([keys[row][0] for row in order]), residuals[order]
