"""What a report of a fit shows: plain tables and words, whoever found them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from sbmlgrad.model.labels import Labels


@dataclass(frozen=True, eq=False)
class FitContent:
    """All that the pictures and the page of a fit are made of.

    Names and ids may come from untrusted files: the pictures and the page show them as they are and
    interpret nothing in them. Numbers that are not known are nan.
    """

    title: str
    model: str
    """name and path of the model"""
    data: str
    """file name of the measurements"""
    parameters: pd.DataFrame
    """index parameter id; columns start, estimate, stderr, lower, upper (bounds of the search), at_bound,
    ci_lower, ci_upper (95 % confidence limits)"""
    measured: pd.DataFrame
    """a row per measurement: (condition,) observable, statistic ("value", "mean" or "sd"), time, measured,
    predicted, error (a standard deviation), residual (predicted minus measured, in units of the error)"""
    curves: pd.DataFrame
    """the fitted model on a dense grid: (condition,) observable, time, mean, mean_stderr, sd"""
    history: pd.DataFrame
    """a row per step: step, loss, loss_stderr, n (trajectories), phase, then a column per parameter. A
    parameter may be called ``n`` or ``loss`` too: of two columns of one name, the second is the parameter."""
    correlation: pd.DataFrame
    """parameter x parameter, of the estimates"""
    facts: Mapping[str, str]
    """whatever else tells how the fit was made, by its name: loss, estimator, seed, version, ..."""
    warnings: tuple[str, ...] = ()
    posterior: tuple[pd.DataFrame, pd.DataFrame] | None = None
    """draws (chain, draw, log_likelihood, a column per parameter) and summary (index parameter; mean, sd, median,
    ci_lower, ci_upper, rhat, ess), where there are any"""
    labels: Labels = field(default_factory=Labels)
    """what axes call things"""
    profiles: tuple[pd.DataFrame, pd.DataFrame] | None = None
    """points (parameter, value, log_likelihood_difference or loss_difference, a column per parameter) and limits
    (index parameter; estimate, ci_lower, ci_upper, threshold), where there are any"""
    dwells: pd.DataFrame | None = None
    """(condition,) (data,) level, lower, upper (limits of a bin of dwell times), sojourns (seen), expected, where there
    are any"""

    @property
    def steps(self) -> pd.DataFrame:
        """The history without parameters of the same names."""
        return self.history.loc[:, ~self.history.columns.duplicated(keep="first")]

    @property
    def traces(self) -> pd.DataFrame:
        """The history in which each parameter's id means the parameter."""
        return self.history.loc[:, ~self.history.columns.duplicated(keep="last")]
