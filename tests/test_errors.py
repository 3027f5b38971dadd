"""What errors say of names that are not there."""

from __future__ import annotations

import re

import pytest

from sbmlgrad.errors import which


@pytest.mark.parametrize(
    ("name", "names", "said"),
    [
        ("kk", ["k", "g"], "did you mean k?"),
        ("alpha", ["r1.alpha", "r2.alpha", "alpine"], "did you mean r1.alpha or r2.alpha?"),
        ("K", ["k", "g"], "there are k, g"),
        ("K", [f"p{i}" for i in range(14)], "there are p0, p1, .*, p11 and 2 more, which info --all lists$"),
        ("K", [], "there are none"),
    ],
)
def test_a_name_that_is_not_there_is_answered_by_those_that_are(name: str, names: list[str], said: str) -> None:
    assert re.match(said.replace("?", r"\?"), which(name, names))
