"""Nodes that are straight lines of one variable, in pieces: their slopes, and where the pieces end."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sbmlgrad.network.graph import LOGIC, RELATIONS, Graph, Node

_PIECEWISE_AFFINE = frozenset(
    ("add", "sub", "mul", "div", "neg", "floor", "ceil", "rem", "quotient", "where", "max", "min", "abs")
).union(RELATIONS, LOGIC)


@dataclass(frozen=True, eq=False)
class Lines:
    """The straight lines of a ``variable`` in a graph, some nodes of which are ``moving``, the variable among them."""

    graph: Graph
    variable: int
    moving: AbstractSet[int]
    _affine: dict[int, tuple[int, int] | None] = field(default_factory=dict, repr=False)

    def affine(self, index: int) -> tuple[int, int] | None:
        """``(a, b)`` with ``node = a * variable + b`` around the present; None where there are none.

        Of what else moves, both hold only steps, such as a floor or a comparison of two such nodes: they are
        as they stand until the next of the :meth:`switches`. What moves not at all, or is held between jumps, may be
        in them.
        """
        if index not in self._affine:
            self._affine[index] = self._find_affine(index)
        return self._affine[index]

    def _find_affine(self, index: int) -> tuple[int, int] | None:
        zero, one = self.graph.constant(0.0), self.graph.constant(1.0)
        if index == self.variable:
            return one, zero
        if index not in self.moving:
            return zero, index
        node = self.graph.nodes[index]
        if node.operation not in _PIECEWISE_AFFINE:
            return None
        parts = [self.affine(arg) for arg in node.args]
        if any(part is None for part in parts):
            return None
        slopes, rests = zip(*[part for part in parts if part is not None], strict=True)
        if node.operation in ("add", "sub", "neg"):
            return self.graph.add(node.operation, *slopes), self.graph.add(node.operation, *rests)
        if node.operation == "mul" and slopes[0] == zero:
            return self._scaled("mul", rests[0], slopes[1]), self.graph.add("mul", *rests)
        if node.operation in ("mul", "div"):
            if slopes[1] != zero:
                return None
            return self._scaled(node.operation, slopes[0], rests[1]), self.graph.add(node.operation, *rests)
        if node.operation in ("floor", "ceil") or node.operation in RELATIONS or node.operation in LOGIC:
            return zero, index
        if node.operation in ("rem", "quotient"):
            if slopes[1] != zero:
                return None
            if node.operation == "quotient":
                return zero, index
            whole = self.graph.add("quotient", *node.args)
            return slopes[0], self.graph.add("sub", rests[0], self.graph.add("mul", rests[1], whole))
        if node.operation == "where":
            return tuple(self._chosen(node.args[0], *pair[1:]) for pair in (slopes, rests))  # type: ignore[return-value]
        if node.operation == "abs":
            positive = self.graph.add("ge", node.args[0], zero)
            negated = [self.graph.add("neg", part[0]) for part in (slopes, rests)]
            return self._chosen(positive, slopes[0], negated[0]), self._chosen(positive, rests[0], negated[1])
        first = self.graph.add("ge" if node.operation == "max" else "le", *node.args)
        return self._chosen(first, *slopes), self._chosen(first, *rests)

    def _scaled(self, operation: str, slope: int, factor: int) -> int:
        """A slope times or over a factor, 0 where it is 0 by its form."""
        return slope if slope == self.graph.constant(0.0) else self.graph.add(operation, slope, factor)

    def _chosen(self, condition: int, one: int, other: int) -> int:
        return one if one == other else self.graph.add("where", condition, one, other)

    def switches(self, index: int) -> list[int]:
        """Where a node switches between the pieces on which it is :meth:`affine`: nodes of values of the variable.

        All that are near the present, before and after it; infinite or nan where there is none.
        """
        node, zero = self.graph.nodes[index], self.graph.constant(0.0)
        if node.operation in RELATIONS or node.operation in ("max", "min"):
            sides = [self.affine(arg) for arg in node.args]
        elif node.operation == "abs":
            sides = [self.affine(node.args[0]), (zero, zero)]
        elif node.operation in ("floor", "ceil", "rem", "quotient"):
            return self._whole_values(node)
        else:
            return []
        if sides[0] is None or sides[1] is None:
            return []
        if sides[0][0] == sides[1][0]:  # parallel
            return []
        slope, rest = (self.graph.add("sub", left, right) for left, right in zip(*sides, strict=True))
        return [self.graph.add("div", self.graph.add("neg", rest), slope)]

    def _whole_values(self, node: Node) -> list[int]:
        """Where what is rounded is whole: the two whole numbers around its present value and their neighbours."""
        lines = [self.affine(arg) for arg in node.args]
        zero, one = self.graph.constant(0.0), self.graph.constant(1.0)
        above, below = (*lines, (zero, one))[:2]
        if above is None or below is None or below[0] != zero or above[0] == zero:
            return []
        slope, rest = (self.graph.quotient(part, below[1]) for part in above)
        present = self.graph.add("floor", self.graph.quotient(node.args[0], below[1]))
        return [
            self.graph.add(
                "div", self.graph.add("sub", self.graph.add("add", present, self.graph.constant(shift)), rest), slope
            )
            for shift in (-1.0, 0.0, 1.0, 2.0)
        ]
