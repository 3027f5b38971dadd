"""The posterior of a fit: draws of its parameters, how they are summed up, and whether they can be trusted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sbmlgrad.errors import FitError, SimulationError
from sbmlgrad.fitting.chains import draw_chains, effective_size, split_rhat
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.profile import Surface

if TYPE_CHECKING:
    import pandas

_FEWEST_DRAWS = 4  # of a chain
_FEWEST_WARMUP = 100  # steps of a chain
_APART = 1.05  # of R-hat: chains that do not agree
_FEW = 100.0  # effective draws, that limits want
_NOT_TOLD = 1.0  # standard deviation on the optimiser's scale to begin with, where the data do not tell one


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws from the posterior of a fit's parameters, with a flat prior within bounds on the scale of the search.

    Attributes
    ----------
    draws
        DataFrame: ``chain``, ``draw``, ``log_likelihood``, and a column for each parameter. Of two columns of one name
        the second is the parameter.
    summary
        DataFrame by parameter: ``mean``, ``sd``, ``median``, the central 95 % from ``ci_lower`` to ``ci_upper``; on the
        scale of the search split R-hat, ``rhat``, and the effective number of draws, ``ess``.
    acceptance
        The share of steps that were accepted.
    note
        Prior and sampler.
    warnings
        Chains that do not agree, few effective draws, priors without bounds.
    """

    draws: pandas.DataFrame
    summary: pandas.DataFrame
    acceptance: float
    note: str
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """The summary by parameter; infinite numbers become null."""
        rows = {str(name): row.items() for name, row in self.summary.iterrows()}
        return {
            name: {str(column): float(value) if np.isfinite(value) else None for column, value in row}
            for name, row in rows.items()
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw a histogram for each parameter: a matplotlib figure, also written to a png, svg or pdf file if named."""
        from sbmlgrad.report.plots import save_figure
        from sbmlgrad.report.posteriors import plot_posterior

        figure = plot_posterior(self.draws, self.summary)
        if path is not None:
            save_figure(figure, path)
        return figure


class Density(Protocol):
    """The log-likelihood at points on the optimiser's scale."""

    @property
    def drawn(self) -> bool:
        """Whether each value is estimated by random numbers of its own."""
        ...

    def value(self, point: np.ndarray) -> float:
        """At a point (P,) within the bounds; raises :class:`SimulationError`."""
        ...

    def widen(self, point: np.ndarray) -> bool:
        """Whether what is taken into account was too little there, and is more from here on."""
        ...


def sampled(
    density: Density, surface: Surface, n: int, chains: int, warmup: int | None, seed: int, prior: str = ""
) -> Posterior:
    """Draws of the posterior around where a fit ended, with a ``prior`` in words; one that is flat if there are none.

    Raises :class:`FitError` for numbers of draws and chains that are too few.
    """
    import pandas

    if chains < 2:
        raise FitError(f"chains: {chains} are too few to tell whether they agree; give at least 2")
    each = -(-n // chains)
    if each < _FEWEST_DRAWS:
        raise FitError(f"n: {n} draws are too few for {chains} chains; give at least {_FEWEST_DRAWS * chains}")
    parameters, names = surface.parameters, surface.parameters.names
    bounded = _Bounded(density, parameters)
    steps = _warmup(each, warmup)
    found = draw_chains(
        bounded.value, surface.point, _first_covariance(surface), each, steps, chains, seed, bounded.arrived
    )
    values = np.array([[parameters.within(point) for point in chain] for chain in found.points])
    draws = pandas.DataFrame(values.reshape(-1, len(names)), columns=list(names))
    own = {"chain": np.repeat(np.arange(chains), each), "draw": np.tile(np.arange(each), chains)}
    draws = pandas.concat([pandas.DataFrame({**own, "log_likelihood": found.values.ravel()}), draws], axis=1)
    flat, percentiles = values.reshape(-1, len(names)), np.percentile(values, [2.5, 50, 97.5], axis=(0, 1))
    summary = pandas.DataFrame(
        {
            "mean": flat.mean(axis=0),
            "sd": flat.std(axis=0, ddof=1),
            "median": percentiles[1],
            "ci_lower": percentiles[0],
            "ci_upper": percentiles[2],
            "rhat": [split_rhat(column) for column in np.moveaxis(found.points, 2, 0)],
            "ess": [effective_size(column) for column in np.moveaxis(found.points, 2, 0)],
        },
        index=pandas.Index(names, name="parameter"),
    )
    anew = ", with a likelihood estimated anew at each step" if density.drawn else ""
    note = (
        f"{len(draws)} draws by {chains} chains of Metropolis-Hastings{anew}, {steps} steps of warm-up each, "
        f"acceptance {found.acceptance:.2g}; {prior or _flat(parameters)}"
    )
    return Posterior(draws, summary, found.acceptance, note, _warnings(parameters, summary, bounded.failed))


def evaluations(n: int, chains: int, warmup: int | None) -> int:
    """At how many points draws look at a density, if all of them lie within the bounds."""
    each = -(-n // max(chains, 1))
    return chains * (1 + each + _warmup(each, warmup))


def _warmup(each: int, warmup: int | None) -> int:
    return max(_FEWEST_WARMUP, each // 2) if warmup is None else warmup


def _flat(parameters: Parameters) -> str:
    logarithms = " (of logarithms, for parameters that stay positive)" if parameters.log.any() else ""
    return f"prior flat within the bounds{logarithms}"


class _Bounded:
    """A density that is 0 outside the bounds, and where it cannot be computed, which is counted."""

    def __init__(self, density: Density, parameters: Parameters):
        self._density, self._parameters, self.failed = density, parameters, 0

    def value(self, point: np.ndarray) -> float:
        if not np.array_equal(self._parameters.clip(point), point):
            return -np.inf
        try:
            value = self._density.value(point)
        except SimulationError:
            self.failed += 1
            return -np.inf
        return value if np.isfinite(value) else -np.inf

    def arrived(self, point: np.ndarray) -> bool:
        """Whether the density takes more into account from here on."""
        try:
            return self._density.widen(point)
        except SimulationError:
            return False


def _first_covariance(surface: Surface) -> np.ndarray:
    """The inverse of the curvature (P, P), where it is known, and no wider than the bounds."""
    parameters = surface.parameters
    width = parameters.to_scale(parameters.upper) - parameters.to_scale(parameters.lower)
    most = np.where(np.isfinite(width) & (width < np.log(1e12)), np.square(width) / 12, _NOT_TOLD**2)
    variance = np.diag(surface.covariance)
    told = np.isfinite(variance) & (variance > 0) & (variance < most)
    result = np.diag(np.where(told, variance, most))
    both = np.outer(told, told)
    result[both] = surface.covariance[both]
    return result


def _warnings(parameters: Parameters, summary: pandas.DataFrame, failed: int) -> tuple[str, ...]:
    texts = [
        f"{name}: the chains do not agree (R-hat {row['rhat']:.3g}, above {_APART}); draw more"
        for name, row in summary.iterrows()
        if not row["rhat"] <= _APART
    ]
    texts += [
        f"{name}: only {row['ess']:.0f} effective draws; draw more"
        for name, row in summary.iterrows()
        if row["rhat"] <= _APART and not row["ess"] >= _FEW
    ]
    lower = np.where(parameters.log, parameters.lower <= 0, ~np.isfinite(parameters.lower))
    upper = ~np.isfinite(parameters.upper) | (parameters.upper >= 1e300)
    open_ = [name for name, one in zip(parameters.names, lower | upper, strict=True) if one]
    if open_:
        texts.append(
            f"the prior of {', '.join(open_)} has no end, as there are no bounds: where the data set no limit the "
            "posterior does not exist; give bounds"
        )
    if failed:
        texts.append(f"the likelihood could not be computed at {failed} of the proposals, which were refused")
    return tuple(texts)
