"""Whether what a model depends on in time changes at known times only, so that nothing moves between jumps."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sbmlgrad.network.graph import RELATIONS
from sbmlgrad.network.lines import Lines

_TO_STEPS = frozenset(("floor", "ceil", "quotient")).union(RELATIONS)


def changes_in_steps(
    lines: Lines, outputs: Sequence[int], switches: Collection[int], reacting: Sequence[int], drawn: Collection[int]
) -> bool:
    """Whether outputs follow time in steps only, at times that reactions do not move.

    Comparisons and roundings of time make steps where it is known when they change: at one of the
    :meth:`~sbmlgrad.network.lines.Lines.switches`, or as one of the ``switches`` that depend on time alone.
    """
    graph = lines.graph
    moved_by_reactions = graph.dynamic(reacting, drawn)
    moving = {lines.variable}
    for index in graph.reachable(outputs):
        by_chance = graph.nodes[index].operation == "draw" and index not in drawn
        if not by_chance and moving.isdisjoint(graph.nodes[index].args):
            continue
        if graph.nodes[index].operation in _TO_STEPS:
            times = lines.switches(index)
            if index in switches or (times and moved_by_reactions.isdisjoint(times)):
                continue
        moving.add(index)
    return moving.isdisjoint(outputs)
