"""What a parameter moves besides rates, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import sbmlgrad as sg
from sbmlgrad.network.influence import moving

Make = Callable[..., sg.Model]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, ""),
        ({"events": {"e": {"trigger": "time > p", "set": {"w": "2"}}}}, "moves the time of event 'e'"),
        ({"events": {"e": {"trigger": "time > 1", "set": {"w": "2"}, "delay": "p"}}}, "moves the time of event 'e'"),
        ({"events": {"e": {"trigger": "time > 1", "set": {"S": "p"}}}}, "enters what event 'e' sets 'S' to"),
        ({"events": {"e": {"trigger": "time > 1", "set": {"w": "p"}}}}, ""),
        ({"rules": {"v": "2*p"}, "events": {"e": {"trigger": "time > v", "set": {"w": "2"}}}}, "moves the time"),
        ({"rules": {"v": "floor(time*p)"}}, "moves where the rule of 'v' jumps"),
        ({"initial": {"w": "normal(p, 1)"}}, "enters what 'w' is drawn from"),
    ],
)
def test_what_a_parameter_moves(model: Make, content: dict[str, Any], words: str) -> None:
    read = model({"S": {"amount": 4}}, {"r": ("S -> ", "p*S")}, {"p": 1.0, "v": 1.0, "w": 1.0, "other": 1.0}, **content)
    said = moving(read, ["p", "other"])
    assert said["p"].startswith(words)
    assert bool(said["p"]) == bool(words)
    assert said["other"] == ""
