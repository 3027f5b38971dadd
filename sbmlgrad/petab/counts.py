"""Noise of counts, which PEtab has no names for: an extension.

``noiseDistribution`` is ``poisson``, ``binomial`` or ``negative-binomial``; what is measured is a whole number, what is
simulated its mean, or the number of molecules of which each is counted or not. The noise formula is the probability of
that for ``binomial``, the size for ``negative-binomial`` (the variance is m + m^2 / size), and says nothing for
``poisson``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np

from sbmlgrad.errors import PetabError
from sbmlgrad.likelihood.measurement import central_moments, information, log_density
from sbmlgrad.petab.definition import Definition, Distribution

COUNTS: Mapping[Distribution, str] = {
    "poisson": "poisson",
    "binomial": "binomial",
    "negative-binomial": "negative_binomial",
}
"""What :mod:`sbmlgrad.likelihood.measurement` calls each distribution."""

_COLUMN = "noiseDistribution"


@dataclass(frozen=True, eq=False)
class Told:
    """What measured values (n,) tell of what is simulated, and of the value of the noise formula.

    Attributes
    ----------
    density
        Logs of densities, or of probabilities of counts.
    residuals
        Simulated minus measured, in units of the noise; of counts, of their mean in units of their standard deviation.
    by_value, by_noise
        Derivatives of the logs.
    of_value, of_both, of_noise
        Fisher's information of the one, of both and of the other.
    """

    density: np.ndarray
    residuals: np.ndarray
    by_value: np.ndarray
    by_noise: np.ndarray
    of_value: np.ndarray
    of_both: np.ndarray
    of_noise: np.ndarray


def counted(distribution: Distribution, measured: Any, simulated: Any, noise: Any) -> Told:
    """What counts (n,) tell; the log probability of those that cannot be is minus infinity."""
    law = COUNTS[distribution]
    y, m, p = (np.asarray(part, dtype=float) for part in (measured, simulated, noise))
    density, by_value, by_noise = (np.asarray(part) for part in jax.tree.leaves(_compiled(law)(y, m, p)))
    with np.errstate(all="ignore"):
        mean, variance = (np.asarray(part) for part in central_moments(law, m, p)[:2])
        residuals = np.where(y == mean, 0.0, (mean - y) / np.sqrt(variance))  # of nothing, nothing is counted
        known = (np.broadcast_to(np.asarray(part), m.shape) for part in information(law, m, p))
        of_value, of_both, of_noise = (np.where(np.isfinite(part), part, 0.0) for part in known)
    return Told(density, residuals, by_value, by_noise, of_value, of_both, of_noise)


def is_noise(distribution: Distribution, noise: float) -> bool:
    """Whether the noise formula of counts may have this value."""
    if distribution == "poisson":
        return True
    return 0 < noise <= 1 if distribution == "binomial" else 0 < noise < math.inf


def known_to_petab(table: Any) -> tuple[Any, dict[str, Distribution]]:
    """A table of observables, by id or with a column of ids, for libpetab to check, which takes counts for normal; and
    which observables are counts."""
    if _COLUMN not in table:
        return table, {}
    rows = table if "observableId" in table else table.reset_index()
    names = {str(row["observableId"]): row[_COLUMN] for row in rows.to_dict("records") if row[_COLUMN] in COUNTS}
    return table.assign(**{_COLUMN: table[_COLUMN].where(~table[_COLUMN].isin(list(COUNTS)), "normal")}), names


def check_counts(definition: Definition) -> None:
    """Raise :class:`PetabError` for counts on a logarithmic scale, or that are no whole numbers."""
    for item in definition.measurements:
        observable = definition.observables[item.observable]
        where = f"{definition.source}: observable {observable.id!r}"
        if observable.distribution not in COUNTS:
            continue
        if observable.scale != "lin":
            raise PetabError(
                f"{where}: counts are not compared as {observable.scale}; leave observableTransformation out"
            )
        if item.value < 0 or item.value != round(item.value):
            raise PetabError(
                f"{where}: {item.value:g} in row {item.row + 1} of the measurements is no count, which "
                f"{observable.distribution} noise is of; give whole numbers from 0 on"
            )


@cache
def _compiled(law: str) -> Any:
    """Log probabilities (n,) and their derivatives by signal and parameter."""

    def one(value: Any, signal: Any, parameter: Any) -> Any:
        return log_density(law, value, signal, parameter)

    return jax.jit(jax.vmap(jax.value_and_grad(one, argnums=(1, 2)), in_axes=(0, 0, 0)))
