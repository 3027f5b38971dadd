"""How objects show themselves: in a line, and in notebooks as small tables of HTML, with text from files escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

MOST_ROWS = 30


def counted(number: int, what: str) -> str:
    """``1 time``, ``2 times``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[Any]], most: int = MOST_ROWS) -> str:
    """A table of the first rows under a caption, and how many more there are; numbers with six digits."""
    every = list(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in every[:most])
    more = f"<tfoot><tr><td colspan={len(header)}>and {len(every) - most} more</td></tr></tfoot>"
    return (
        f'<table><caption style="text-align: left">{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody>{more if len(every) > most else ''}</table>"
    )


def _cell(value: Any) -> str:
    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))
