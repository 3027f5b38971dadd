"""Spaces of states by their bounds."""

from __future__ import annotations

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.simulation.box import box, closed


def exchange() -> sg.ReactionNetwork:
    """A and B turn into each other, so that their sum stays; C comes and goes."""
    return sg.ReactionNetwork(
        [[-1, 1, 0, 0], [1, -1, 0, 0], [0, 0, 1, -1]],
        lambda x, p: (x[0], x[1], 1.0 + 0 * x[2], x[2]),
        [3, 0, 0],
    )


def test_only_what_can_be_reached_is_taken() -> None:
    space = box(exchange(), np.array([[3, 0, 0]]), np.zeros(3, int), np.array([9, 9, 4]))
    assert len(space) == 4 * 5
    assert set(space.states[:, :2].sum(axis=1)) == {3}
    first = int(np.flatnonzero(np.all(space.states == [3, 0, 0], axis=1))[0])
    assert space.states[space.successors[0, first]].tolist() == [2, 1, 0]
    assert space.successors[1, first] == len(space)  # there is no B


def test_what_would_leave_the_box_leads_outside() -> None:
    space = box(exchange(), np.array([[3, 0, 2]]), np.array([1, 0, 2]), np.array([9, 9, 3]))
    assert space.states[:, 0].min() == 1
    top = space.states[:, 2] == 3
    assert np.all(space.successors[2, top] == len(space))


def test_too_many_states_are_refused() -> None:
    with pytest.raises(SimulationError, match="more than 10 states"):
        box(exchange(), np.array([[3, 0, 0]]), np.zeros(3, int), np.array([9, 9, 90]), limit=10)


def test_states_that_no_rate_leads_out_of_are_closed() -> None:
    """One promoter, that is on or off by its rates alone; and a reaction that never fires leads nowhere."""
    network = sg.ReactionNetwork(
        [[1, -1, 0], [0, 0, 1]], lambda x, p: (2.0 * (1 - x[0]), 3.0 * x[0], 0.0 * x[0]), [0, 5], species=("G", "X")
    )
    space = closed(network, np.array([[0, 5]]), ())
    assert space.states.tolist() == [[0, 5], [1, 5]]
    assert space.successors.tolist() == [[1, 2], [2, 0], [2, 2]]
    with pytest.raises(SimulationError, match="more than 10 states"):
        closed(exchange(), np.array([[3, 0, 0]]), (), limit=10)
