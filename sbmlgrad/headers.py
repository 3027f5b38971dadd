"""What columns of tables are called, where they are written and where they are read.

``S`` is a value of the id ``S``, ``S-mean`` the mean of many. A few names mean something by themselves, and an id may
be one of them: it is told by what its number is, ``time-value``, ``time-mean``. No id of SBML has a hyphen.
"""

from __future__ import annotations

LABELS = ("replicate", "cell", "trajectory")
"""Columns that number trajectories."""

RESERVED = ("time", *LABELS, "condition")


def column(observable: str, statistic: str = "value") -> str:
    """The column that holds a statistic (``value``, ``mean``, ``sd``, ...) of an observable."""
    if statistic == "value" and observable not in RESERVED:
        return observable
    return f"{observable}-{statistic}"
