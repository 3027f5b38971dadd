"""Room that is left, as ``N - X`` in a rate law: where it can be shown that it never falls below 0."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from sbmlgrad.model.elements import TIME
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import build, number, piecewise
from sbmlgrad.network.jumps import Jumps
from sbmlgrad.network.split import COUNT, counts_down, vanishes

ROUNDING = 1e-9  # relative distance from a whole number, or from 0, that is rounding, not meaning
_MOST_NAMED = 6
_MOST_FACTORS = 10  # of a product that is looked at for zeros


@dataclass(frozen=True)
class Room:
    """A part ``node`` of a law that is ``total`` less ``weights`` times counts, or, where ``flipped``, minus that.

    ``symbol`` stands for it, never negative, in laws that are looked at. ``exact`` says whether its arithmetic is one
    of whole numbers, and ``origins`` are the symbols that the total comes from.
    """

    node: sympy.Expr
    symbol: sympy.Symbol
    total: float
    weights: Mapping[str, float]
    flipped: bool
    exact: bool
    origins: frozenset[sympy.Symbol]

    @property
    def stand_in(self) -> sympy.Expr:
        """What replaces ``node`` in laws that are looked at."""
        return build(sympy.Mul, sympy.Integer(-1), self.symbol) if self.flipped else self.symbol

    @property
    def open(self) -> sympy.Expr:
        """What ``symbol`` stands for."""
        return build(sympy.Mul, sympy.Integer(-1), self.node) if self.flipped else self.node

    def kept(self, alike: Iterable[Room]) -> sympy.Expr:
        """What the law has in place of ``symbol`` in the end: 0 where nothing but rounding keeps ``node`` from it.

        With less room in another of those ``alike``, for the same species, this one never gets there.
        """
        if self.exact or any(_is_below(other, self) for other in alike):
            return self.open
        least = number(ROUNDING * self.total)
        return piecewise([(self.open, build(sympy.Gt, build(sympy.Abs, self.node), least))], sympy.Integer(0))

    def __str__(self) -> str:
        return f"the room for {listing(self.weights)}"


@dataclass(frozen=True)
class Flow:
    """Counts that change by ``jumps`` at the rate ``law``, over symbols of rooms."""

    law: sympy.Expr
    jumps: Mapping[str, int]


class Flows:
    """Flows, looked up by the species whose counts they change."""

    def __init__(self, flows: Iterable[Flow]):
        self._flows = tuple(flows)
        self._indices: dict[str, list[int]] = {}
        for index, flow in enumerate(self._flows):
            for species in flow.jumps:
                self._indices.setdefault(species, []).append(index)

    def changing(self, species: Iterable[str]) -> list[Flow]:
        """Those that change the count of one of these, in their order."""
        return [self._flows[index] for index in sorted({i for s in species for i in self._indices.get(s, ())})]


@dataclass
class Bounds:
    """What is known of the counts of a model when its rooms are looked for.

    ``values`` are the initial values of all symbols, ``moving`` the symbols that follow the state, ``rules`` the
    assignment rules among them. ``counts`` are the initial counts of the species, ``units`` the weights that one
    molecule of each has by its units alone, ``sizes`` the compartments, and ``free`` the ids that events set or that
    are drawn at random, ``flowing`` those that rate rules set. ``jumps`` are those of all reactions.
    """

    values: Mapping[str, float]
    moving: AbstractSet[sympy.Symbol]
    rules: Mapping[str, sympy.Expr]
    counts: Mapping[str, float]
    units: Mapping[str, Sequence[float]]
    sizes: AbstractSet[sympy.Symbol]
    free: AbstractSet[str]
    flowing: AbstractSet[str]
    jumps: Jumps
    _conserved: dict[sympy.Symbol, bool] = field(default_factory=dict)
    _forms: dict[str, _Linear | None] = field(default_factory=dict)

    def rooms(self, laws: Iterable[sympy.Expr]) -> dict[sympy.Expr, Room]:
        """Every part of the laws that has the form of room that is left."""
        room_of: dict[sympy.Expr, Room] = {}
        for node in _parts(laws, room_of):
            if node.func is sympy.Add or getattr(node, "name", None) in self.rules:
                room = self._room(node, sympy.Symbol(f"room:{len(room_of)}"))
                if room is not None:
                    room_of[node] = room
        return room_of

    def moved_by(self, room: Room) -> str:
        """What moves the room beside reactions; empty where nothing does."""
        names = {*room.weights, *(symbol.name for symbol in room.origins)} & self.free
        return f"an event or a random number sets {listing(sorted(names))}" if names else ""

    def failing(self, room: Room, alike: Iterable[Room], flows: Flows) -> str:
        """Why the room might fall below 0; empty where it cannot, as long as others ``alike`` and in laws do not.

        By induction over the jumps of ``flows``: the room starts at a whole number of steps, and whatever takes a
        step off it does not fire when none is left; or a conserved sum of counts keeps it. What :meth:`moved_by` says
        is not looked at.
        """
        start = self._start(room)
        if not start >= -ROUNDING * room.total:
            return f"{room} is negative at the start"
        if any(_is_below(other, room) and not self.moved_by(other) for other in alike):
            return ""
        reason = self._jumped_over(room, start, flows)
        if reason and room.symbol not in self._conserved:
            self._conserved[room.symbol] = self._is_conserved(room)
        return "" if not reason or self._conserved[room.symbol] else reason

    def falling(
        self,
        laws: Iterable[sympy.Expr],
        rooms: Mapping[sympy.Expr, Room],
        lost: Mapping[sympy.Expr, Room],
    ) -> dict[sympy.Expr, sympy.Expr]:
        """Products in the laws in which something ``lost`` is below 0 only where a room beside it is 0, in symbols.

        So ``R*(R - 1)`` of a room ``R`` that goes down to 0 in whole steps is never negative, though ``R - 1`` is.
        """
        products: dict[sympy.Expr, sympy.Expr] = {}
        for node in _parts(laws):
            if node.func is not sympy.Mul:
                continue
            beside = [rooms[arg] for arg in node.args if arg in rooms]
            others = [lost[arg] for arg in node.args if arg in lost]
            stand_ins = {room.node: room.stand_in for room in beside}
            for room in others:
                alike = [other for other in beside if _is_alike(other, room)]
                zeros = [*alike, *(other for other in others if _is_alike(other, room))]
                if alike and self._is_zero_below(room, alike, zeros):
                    stand_ins[room.node] = room.stand_in
            if stand_ins.keys() & lost.keys():
                products[node] = build(sympy.Mul, *[stand_ins.get(arg, arg) for arg in node.args])
        return products

    def _is_zero_below(self, room: Room, beside: Sequence[Room], zeros: Sequence[Room]) -> bool:
        """Whether wherever ``room`` is below 0, and those ``beside`` it are not, one of ``zeros`` is 0."""
        one = next(iter(room.weights))
        weights = {species: weight / room.weights[one] for species, weight in room.weights.items()}
        if self.moved_by(room) or not all(_is_whole(self.counts[species]) for species in weights):
            return False
        changes = self.jumps.changes(weights)
        step = min(map(abs, changes), default=0.0)
        if step == 0 or not all(_is_whole(change / step) for change in changes):
            return False
        start = sum(weight * self.counts[species] for species, weight in weights.items())
        edge = min(other.total / other.weights[one] for other in beside)
        bottom = room.total / room.weights[one]
        first = np.floor((bottom - start) / step + ROUNDING) + 1  # steps from the start to where it is below 0
        last = np.floor((edge - start) / step + ROUNDING)
        if not last - first < _MOST_FACTORS:
            return False
        totals = np.array([other.total / other.weights[one] for other in zeros])
        taken = start + step * np.arange(first, last + 1)
        return all(np.any(np.abs(totals - value) <= ROUNDING * max(1.0, abs(value))) for value in taken)

    def _start(self, room: Room) -> float:
        """The room at the start: the least where a count that is not whole becomes one of its neighbours."""
        return room.total - sum(weight * _upper(self.counts[species]) for species, weight in room.weights.items())

    def _jumped_over(self, room: Room, start: float, every: Flows) -> str:
        flows = every.changing(room.weights)
        changes = [-sum(w * flow.jumps.get(species, 0) for species, w in room.weights.items()) for flow in flows]
        step = min((abs(change) for change in changes if change != 0), default=0.0)
        if step == 0:
            return ""
        drawn = [weight for species, weight in room.weights.items() if not _is_whole(self.counts[species])]
        if not all(_is_whole(weight / step) for weight in drawn):
            return f"{listing(room.weights)} may start between steps"
        if not _is_whole(start / step, room.total / step):
            return f"{room} is no whole number of steps at the start ({start / step:.6g})"
        for flow, change in zip(flows, changes, strict=True):
            if not _is_whole(change / step):
                return f"{room} changes by steps of different sizes"
            if change < 0 and round(change / step) < -1:
                return f"{room} can be jumped over"
            if change < 0 and not vanishes(flow.law, room.symbol):
                return f"{room} is taken by what does not stop when none is left"
        return ""

    def _is_conserved(self, room: Room) -> bool:
        """Whether a sum of counts that no jump changes, with no weight below the room's, is within the total."""
        unit = min(room.weights.values())
        counts = {species: _upper(count) for species, count in self.counts.items()}
        least = {species: weight / unit for species, weight in room.weights.items()}
        return self.jumps.conserve(counts, least, room.total / unit, ROUNDING)

    def _room(self, node: sympy.Expr, stands: sympy.Symbol) -> Room | None:
        shared = _shared_factors(node, self.moving)
        form = self._linear(_without(node, shared) if shared else node)
        if form is None or not form.weights:
            return None
        scale = float(np.prod([self.values[factor.name] for factor in shared]))
        flipped = form.total < 0 or (form.total == 0 and min(form.weights.values()) > 0)
        total = -form.total if flipped else form.total
        weights = {species: weight if flipped else -weight for species, weight in form.weights.items()}
        if not (0 < scale < np.inf and all(weight > 0 for weight in weights.values())):
            return None
        if not (total > 0 or form.origins):
            return None
        # ``k1 - k2*X`` is no room but two rates: what stands before the counts there is not their unit
        in_units = form.scales <= self.sizes and all(
            any(_is_whole(weight / unit) for unit in self.units[species]) for species, weight in weights.items()
        )
        if not in_units and not (total == 1 and not form.origins):
            return None
        scaled = {species: scale * weight for species, weight in weights.items()}
        exact = node.func is sympy.Add and not shared and self._is_whole_arithmetic(node)
        return Room(node, stands, scale * total, scaled, flipped, exact, form.origins | form.scales)

    @cached_property
    def _flowing(self) -> AbstractSet[sympy.Symbol]:
        """The symbols that change otherwise than by events alone."""
        return self.moving - {sympy.Symbol(i) for i in self.free if i not in self.counts and i not in self.flowing}

    def _is_whole_arithmetic(self, node: sympy.Expr) -> bool:
        """Whether nothing is rounded on the way to the value."""
        if node.func in (sympy.Add, sympy.Mul):
            return all(self._is_whole_arithmetic(arg) for arg in node.args)
        if isinstance(node, sympy.Symbol):
            return node.name.startswith(COUNT) or (node not in self.moving and self.values[node.name].is_integer())
        return isinstance(node, sympy.Integer)

    def _of_rule(self, name: str) -> _Linear | None:
        """The form of an assignment rule, after those that it depends on, so that no chain is too long to follow."""
        if name not in self._forms:
            for identifier, rule in self.rules.items():
                if identifier not in self._forms:
                    self._forms[identifier] = None  # as long as it is looked at
                    self._forms[identifier] = self._linear(rule)
                if identifier == name:
                    break
        return self._forms[name]

    def _linear(self, node: Any) -> _Linear | None:
        """The expression as a sum of a constant and counts; None where it is none."""
        symbols = frozenset(node.free_symbols)
        if not symbols & self._flowing and TIME not in symbols:
            if any(item.name not in self.values for item in symbols):
                return None
            value = evaluate(node, self.values)
            return _Linear(value, {}, symbols) if np.isfinite(value) else None
        if isinstance(node, sympy.Symbol):
            if node.name in self.rules:
                return self._of_rule(node.name)
            return _Linear(0.0, {node.name.removeprefix(COUNT): 1.0}) if node.name.startswith(COUNT) else None
        if node.func not in (sympy.Add, sympy.Mul):
            return None
        combine = _plus if node.func is sympy.Add else _times
        total = self._linear(node.args[0])
        for arg in node.args[1:]:
            other = self._linear(arg)
            total = None if total is None or other is None else combine(total, other)
        return total


def listing(names: Iterable[str]) -> str:
    """The names, or the first of them and how many more."""
    listed = list(names)
    return ", ".join(listed[:_MOST_NAMED]) + (f" and {len(listed) - _MOST_NAMED} more" if listed[_MOST_NAMED:] else "")


@dataclass(frozen=True)
class _Linear:
    """``total`` plus ``weights`` times counts, and the symbols that the total and the weights come from."""

    total: float
    weights: Mapping[str, float]
    origins: frozenset[sympy.Symbol] = frozenset()
    scales: frozenset[sympy.Symbol] = frozenset()


def _plus(a: _Linear, b: _Linear) -> _Linear:
    sums = {s: a.weights.get(s, 0.0) + b.weights.get(s, 0.0) for s in (*a.weights, *b.weights)}
    weights = {species: weight for species, weight in sums.items() if weight != 0}
    return _Linear(a.total + b.total, weights, a.origins | b.origins, a.scales | b.scales)


def _times(a: _Linear, b: _Linear) -> _Linear | None:
    """The product; None where it is of second order in the counts."""
    if a.weights and b.weights:
        return None
    if not b.weights:
        a, b = b, a
    weights = {species: a.total * weight for species, weight in b.weights.items()}
    scales = b.scales | a.origins if b.weights else frozenset()
    return _Linear(a.total * b.total, weights, a.origins | b.origins if b.total else frozenset(), scales)


@dataclass(frozen=True)
class Rooms:
    """What came of the rooms in laws, by the parts of laws that they are.

    ``holding`` never fall below 0, ``given_up`` might, for a reason; ``moved`` says what moves some of the former
    beside reactions, by their symbols, and ``stand_ins`` replace parts of laws so that those rooms are symbols.
    """

    holding: Mapping[sympy.Expr, Room]
    given_up: Mapping[sympy.Expr, tuple[Room, str]]
    moved: Mapping[sympy.Symbol, str]
    stand_ins: Mapping[sympy.Expr, sympy.Expr]

    @cached_property
    def opened(self) -> Mapping[sympy.Expr, sympy.Expr]:
        """What the symbol of each room is in the end."""
        groups = by_species(self.holding.values())
        kept = {room.symbol: room.kept(groups[frozenset(room.weights)]) for room in self.holding.values()}
        return kept | {room.symbol: room.open for room, _ in self.given_up.values()}

    def within(self, law: sympy.Expr) -> list[Room]:
        """Those that hold in a law of their symbols."""
        indices = sorted(self._indices[item] for item in law.free_symbols & self._indices.keys())
        return [self._in_order[index] for index in indices]

    def reasons(self, law: sympy.Expr) -> list[str]:
        """Why those in a law were given up that were."""
        nodes = set(_parts([law])) if self.given_up else set()
        return [self.given_up[node][1] for node in sorted(nodes & self.given_up.keys(), key=list(self.given_up).index)]

    @cached_property
    def _in_order(self) -> list[Room]:
        return list(self.holding.values())

    @cached_property
    def _indices(self) -> Mapping[sympy.Symbol, int]:
        return {room.symbol: index for index, room in enumerate(self._in_order)}


def by_species(rooms: Iterable[Room]) -> dict[frozenset[str], list[Room]]:
    """Those that are for the same species, together."""
    groups: dict[frozenset[str], list[Room]] = {}
    for room in rooms:
        groups.setdefault(frozenset(room.weights), []).append(room)
    return groups


def _parts(laws: Iterable[sympy.Expr], whole: Collection[sympy.Expr] = ()) -> Iterator[sympy.Expr]:
    """Every part of the laws, each once; what is in ``whole`` by the next is not looked into.

    Nor is ``X - 1`` beside ``X`` a part of its own: that product is never negative, whatever the count.
    """
    pending, seen = list(laws), set()
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            yield node
            if node not in whole:
                steps = node.func is sympy.Mul
                pending.extend(arg for arg in node.args if not (steps and counts_down(arg, node.args)))


def _shared_factors(node: sympy.Expr, moving: AbstractSet[sympy.Symbol]) -> set[sympy.Symbol]:
    """The constants that stand as factors in every term, as k in ``k*N - k*X``."""
    if node.func is not sympy.Add:
        return set()
    factors = [set(term.args) if term.func is sympy.Mul else {term} for term in node.args]
    common = set.intersection(*factors)
    return {item for item in common if isinstance(item, sympy.Symbol) and item not in moving and item != TIME}


def _without(node: sympy.Expr, shared: set[sympy.Symbol]) -> sympy.Expr:
    terms = []
    for term in node.args:
        left = list(term.args) if term.func is sympy.Mul else [term]
        for factor in shared:
            left.remove(factor)
        terms.append(build(sympy.Mul, *left))
    return build(sympy.Add, *terms)


def _is_below(other: Room, room: Room) -> bool:
    """Whether ``room`` is ``other`` and something more, so that it holds where ``other`` does."""
    if other is room or not _is_alike(other, room):
        return False
    one = next(iter(room.weights))
    return other.total / other.weights[one] < room.total / room.weights[one] * (1 - ROUNDING)


def _is_alike(other: Room, room: Room) -> bool:
    """Whether both are of the same counts in the same proportions."""
    if other.weights.keys() != room.weights.keys():
        return False
    ratios = [room.weights[species] / weight for species, weight in other.weights.items()]
    return all(abs(ratio - ratios[0]) <= ROUNDING * ratios[0] for ratio in ratios)


def _upper(count: float) -> float:
    """The larger of the whole numbers that a count may be at the start."""
    return float(np.round(count) if _is_whole(count) else np.ceil(count))


def _is_whole(value: float, largest: float = 1.0) -> bool:
    return bool(abs(value - np.round(value)) <= ROUNDING * max(1.0, abs(value), abs(largest)))
