"""What the columns of a table are, from their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sbmlgrad.errors import TableError
from sbmlgrad.headers import LABELS, RESERVED, column
from sbmlgrad.tables.cells import Table, is_time

Statistic = Literal["value", "mean", "sd", "sem", "n", "error", "resolution"]

_COPASI = re.compile(r"Values\[([^\[\]]+)\]|Compartments\[([^\[\]]+)\]\.Volume|\(([^()]+)\)\.Flux")
_IN_COMPARTMENT = re.compile(r"(\[?)([^\[\]{}]+)\{[^{}]*\}(\]?)")
_NO_VALUES = (
    (
        re.compile(r"(.+)\.ParticleNumber"),
        "is a number of molecules: name it {0!r} if the model's amounts are molecules, else divide it by the molecules "
        "in a unit of amount, or export the concentration '[{0}]'",
    ),
    (
        re.compile(r"\[(.+)\]_0|(.+)\.Initial(?:ParticleNumber|Value|Volume)"),
        "is an initial value, not one at each time; remove it",
    ),
    (
        re.compile(r"(.+)\.(?:Rate|ParticleNumberRate)|\((.+)\)\.ParticleFlux"),
        "is a rate; remove it, or export the concentration or the flux '(reaction).Flux'",
    ),
)
"""What else COPASI exports, and what to do with it."""
_OF_MANY = ("mean", "sd", "sem", "n")
_MOST_NAMED = 5


@dataclass(frozen=True)
class Layout:
    """Which column is what: time, trajectory, condition, and (position, observable, statistic) of the rest."""

    time: int
    label: int | None
    condition: int | None
    measured: list[tuple[int, str, Statistic]]

    @classmethod
    def of(cls, table: Table) -> Layout:
        """The layout of a table; raises :class:`TableError` for columns that contradict each other."""
        header = table.header
        _check_names(table)
        time = _time(table)
        labels = [name for name in LABELS if name in header]
        if len(labels) > 1:
            raise TableError(
                f"{table.source}: columns {labels[0]!r} and {labels[1]!r} both number trajectories; remove one of "
                f"them, or name it {_names(labels[1])} if it is what was measured"
            )
        condition = header.index("condition") if "condition" in header else None
        apart = {time, condition, *(header.index(name) for name in labels)}
        measured = [(position, *_meaning(name)) for position, name in enumerate(header) if position not in apart]
        if not measured:
            labels += ["condition"] if condition is not None else []
            also = f"; if {labels[0]!r} was measured, name it {_names(labels[0])}" if labels else ""
            raise TableError(
                f"{table.source}: there is no column beside {header[time]!r}; add one for each id that was measured, "
                f"such as S or S-mean{also}"
            )
        _check_kinds(table, measured, labels)
        return cls(time, header.index(labels[0]) if labels else None, condition, measured)


def listing(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def _names(identifier: str) -> str:
    """How a species can be named whose id means something else in a table."""
    return " or ".join(repr(column(identifier, statistic)) for statistic in ("value", "mean"))


def _meaning(name: str) -> tuple[str, Statistic]:
    """The observable and statistic of a column; COPASI writes ``Values[k]``, ``(r).Flux`` and ``[S{compartment}]``."""
    observable, _, suffix = name.rpartition("-")
    statistic = next((kind for kind in get_args(Statistic) if observable and suffix == kind), None)
    bare = observable if statistic else name
    if placed := _IN_COMPARTMENT.fullmatch(bare):
        bare = "".join(placed.groups())
    copasi = _COPASI.fullmatch(bare)
    return copasi[copasi.lastindex or 0] if copasi else bare, statistic or "value"


def _check_names(table: Table) -> None:
    for position, name in enumerate(table.header):
        if not name:
            remedy = "name it or remove it" if any(map(is_time, table.header)) else "name it 'time' if it is the time"
            raise TableError(f"{table.source}: column {position + 1} has no name; {remedy}")
        for pattern, problem in _NO_VALUES:
            if found := pattern.fullmatch(name):
                said = problem.format(found[found.lastindex or 0])
                raise TableError(f"{table.source}: column {name!r} {said}")
        if name in table.header[:position]:
            also = f", as {_names(name)} where a species is called that" if name in RESERVED else ""
            raise TableError(f"{table.source}: there are two columns {name!r}; rename one{also}, or remove it")


def _time(table: Table) -> int:
    positions = [position for position, name in enumerate(table.header) if is_time(name)]
    if "time" in table.header:
        return table.header.index("time")
    if len(positions) > 1:
        names = [table.header[position] for position in positions]
        raise TableError(f"{table.source}: columns {listing(names)} may all be the time; rename it to 'time'")
    if positions:
        return positions[0]
    similar = [name for name in table.header if name.lower().startswith("time") or name.lower() == "t"]
    if similar:
        raise TableError(f"{table.source}: there is no column 'time'; rename {similar[0]!r} to 'time'")
    raise TableError(
        f"{table.source}: there is no column 'time' among {listing(table.header)}; the first line must name "
        "the columns, one of them 'time'"
    )


def _check_kinds(table: Table, measured: list[tuple[int, str, Statistic]], labels: list[str]) -> None:
    """Raise where the columns of an observable cannot all be true."""
    names = {(observable, statistic): table.header[position] for position, observable, statistic in measured}
    for position, observable, statistic in measured:
        name, same = table.header[position], names[observable, statistic]
        single = names.get((observable, "value"))
        if name != same:
            raise TableError(f"{table.source}: columns {name!r} and {same!r} are the same; remove one of them")
        if statistic in _OF_MANY and single:
            raise TableError(
                f"{table.source}: columns {single!r} and {name!r}: one is a trajectory, the other a "
                "moment of many; keep one of them"
            )
        if statistic in _OF_MANY and labels:
            raise TableError(
                f"{table.source}: column {name!r} is a moment of many trajectories, but {labels[0]!r} "
                f"marks single ones; remove one of the two, or name it {_names(labels[0])} if it was measured"
            )
        if statistic in _SAYS and not any((observable, what) in names for what in _SAYS[statistic]):
            needed = " or ".join(repr(column(observable, what)) for what in _SAYS[statistic])
            raise TableError(f"{table.source}: column {name!r} says how exact {needed} is, which is not there; add it")


_SAYS: dict[str, tuple[str, ...]] = {
    "sem": ("mean",),
    "n": ("mean", "sd"),
    "error": ("value", "mean"),
    "resolution": ("value",),
}
