"""What jumps conserve, by hand: enzyme and substrate, and what comes from nowhere."""

from __future__ import annotations

import pytest

from sbmlgrad.network.jumps import Jumps

BIND = {"E": -1, "S": -1, "ES": 1}
RELEASE = {"ES": -1, "E": 1, "P": 1}
ENZYME = [BIND, {name: -change for name, change in BIND.items()}, RELEASE]
COUNTS = {"E": 3.0, "S": 10.0, "ES": 0.0, "P": 0.0}


def test_jumps_of_one_kind_are_kept_once() -> None:
    assert len(Jumps(ENZYME).kinds) == 2
    assert sorted(map(abs, Jumps(ENZYME).changes({"E": 2.0, "S": 1.0}))) == [2.0, 3.0]
    assert Jumps(ENZYME).changes({"E": 1.0, "ES": 1.0}) == []


@pytest.mark.parametrize(
    ("weights", "most", "answer"),
    [
        ({"E": 1.0}, 3.0, True),  # E + ES
        ({"E": 1.0}, 2.0, False),
        ({"E": 1.0, "ES": 1.0}, 3.0, True),
        ({"ES": 2.0}, 6.0, True),
        ({"P": 1.0}, 10.0, True),  # S + ES + P
        ({"P": 1.0}, 9.0, False),
        ({"P": 1.0, "E": 1.0}, 13.0, True),  # both
    ],
)
def test_a_conserved_sum_bounds_counts(weights: dict[str, float], most: float, answer: bool) -> None:
    assert Jumps(ENZYME).conserve(COUNTS, weights, most, 1e-9) is answer


def test_what_comes_from_nowhere_is_not_conserved() -> None:
    open_system = [*ENZYME, {"S": 1}]
    assert Jumps(open_system).conserve(COUNTS, {"E": 1.0}, 3.0, 1e-9)
    assert not Jumps(open_system).conserve(COUNTS, {"P": 1.0}, 1e6, 1e-9)


def test_what_is_free_is_not_conserved() -> None:
    held = Jumps(ENZYME, frozenset({"S"}))
    assert held.conserve(COUNTS, {"E": 1.0}, 3.0, 1e-9)
    assert not held.conserve(COUNTS, {"S": 1.0}, 1e6, 1e-9)
