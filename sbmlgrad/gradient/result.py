"""What a sensitivity gives: derivatives beside expectations, as tidy tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from sbmlgrad.markup import counted, html_table

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Derivatives of expectations by parameters.

    Attributes
    ----------
    table
        DataFrame ``time, observable, parameter, sensitivity, stderr``: d E / d parameter, in the observable's unit over
        the parameter's. ``stderr`` is 0 with method ``ode``, and a bound on the error with estimator ``exact``.
    expectations
        DataFrame ``time, observable, expectation, stderr`` of the same trajectories.
    estimator, note
        What derivatives were estimated by, and why, or how far an error can reach.
    n, seed
        Trajectories and seed.

    Whatever a DataFrame has, such as columns and ``to_csv``, is that of ``table``.
    """

    table: pandas.DataFrame
    expectations: pandas.DataFrame = field(repr=False)
    estimator: str
    note: str
    n: int
    seed: int

    def __getitem__(self, key: Any) -> Any:
        return self.table[key]

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.table)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self.__dataclass_fields__:  # of copies before they have a table, too
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.table, name)

    def __repr__(self) -> str:
        observables, parameters, times = (
            counted(self.table[what].nunique(), what) for what in ("observable", "parameter", "time")
        )
        return (
            f"<Sensitivity by {self.estimator!r}: {observables} by {parameters} at {times}, "
            f"n {self.n}, seed {self.seed}>"
        )

    def _repr_html_(self) -> str:
        tables = (("", self.table), ("expectations", self.expectations))
        shown = [html_table(title, list(table.columns), table.itertuples(index=False)) for title, table in tables]
        note = f"<p>note: {escape(self.note)}</p>" if self.note else ""
        return f"<p>{escape(repr(self))}</p>{note}{''.join(shown)}"
