"""What can happen in a model: every reaction as jumps of molecule counts with a law in events per time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy

from sbmlgrad.model.dynamics import by_reactions
from sbmlgrad.model.elements import TIME, Reaction, Species, SpeciesReference, rate_id, symbol
from sbmlgrad.model.evaluate import evaluate, reaching
from sbmlgrad.model.functions import build, delayed, draw, holds, number, piecewise, substitute
from sbmlgrad.model.model import Model
from sbmlgrad.network.bounds import ROUNDING, Bounds, Flow, Flows, Room, Rooms, by_species, listing
from sbmlgrad.network.formulas import formulas, undefined
from sbmlgrad.network.jumps import Jumps
from sbmlgrad.network.split import COUNT, Parts, signed_parts, split_reversible, vanishes

_HOPELESS = 1e12  # molecules of one species beyond which exact simulation is refused
_LARGEST_GUARD = 8  # a law is searched for its zeros at this many counts; beyond, it is guarded without asking


@dataclass(frozen=True)
class Channel:
    """One way in which counts change: a reaction, or one direction of a reversible one."""

    name: str
    law: sympy.Expr  # events per time, over count symbols and the model's other symbols
    jumps: Mapping[str, int]  # species id -> change of its count


@dataclass(frozen=True)
class Difference:
    """A law that is a difference: whether it runs as two reactions, whether it is shown never to be negative, why."""

    split: bool
    sure: bool
    why: str


@lru_cache(maxsize=100_000)
def count_symbol(species: str) -> sympy.Symbol:
    """The symbol of a species' molecule count."""
    return sympy.Symbol(COUNT + species)


def product(*factors: sympy.Expr) -> sympy.Expr:
    """The product, without factors of 1."""
    return build(sympy.Mul, *[factor for factor in factors if factor != 1])


def ratio(above: sympy.Expr, below: sympy.Expr) -> sympy.Expr:
    """The quotient; ``above`` itself where ``below`` is 1."""
    return above if below == 1 else build(sympy.Mul, above, build(sympy.Pow, below, sympy.Integer(-1)))


class Chemistry:
    """A model read as a jump process; ``reasons`` collects why exact simulation is refused.

    ``plain`` says whether nothing moves but counts, by reactions whose laws depend on nothing else: no events, no
    rate rules, no dependence on time, no random numbers.

    ``state`` are the species that reactions change, ``in_counts`` maps their symbols to expressions of count
    symbols, ``rules`` are the assignment rules that follow the state, in order, in those terms, and ``moving``
    are all symbols whose value follows the state. ``structural`` are ids whose values decide what the channels are;
    those of them that enter the jumps are ``stoichiometric``.

    ``differences`` say of every law that is a difference, by reaction, whether it is two channels or one, and why;
    ``warnings`` name the reactions that are two though the document declares them irreversible.
    """

    def __init__(self, model: Model):
        self.model = model
        self.elements = model.elements
        self.initial = model.initial_values()
        self.reasons: list[str] = []
        self.reasons += undefined(self.elements)
        delays = dict.fromkeys(where for where, formula in formulas(self.elements) if holds(formula, delayed))
        self.reasons += [f"{where} uses delay (only rate equations keep values of the past)" for where in delays]
        self.state = tuple(s for s in self.elements.species if by_reactions(self.elements, s))
        self._reacting = frozenset(self.state)
        self.in_counts = {symbol(s): self.value(s, self.amount_of_count(s)) for s in self.state}
        self.moving: set[sympy.Symbol] = {*self.in_counts, *(count_symbol(s) for s in self.state)}
        self.moving |= {symbol(i) for i in (*self.elements.rate_rules, *self.elements.set_by_events)}
        self.rules = self._moving_rules()
        self._signs: dict[str, bool] = {}
        self._parts: dict[tuple[str, sympy.Expr], Parts | None] = {}
        self.structural: set[str] = set()
        self.stoichiometric: set[str] = set()
        self.differences: dict[str, Difference] = {}
        self.warnings: list[str] = []
        self._stops: dict[str, str] = {}  # ids that decide at how many molecules a reaction stops, and the reaction
        self.channels: tuple[Channel, ...] = ()
        if not self.reasons:
            self.channels = tuple(self._channels())
            self.structural |= self.stoichiometric
            self._check_formulas()
            self._check_counts()
        self.plain = not (self.elements.rate_rules or self.elements.events or self.draws) and not any(
            self.depends_on_time(channel.law) for channel in self.channels
        )

    def is_amount(self, species: Species) -> bool:
        """Whether the species' symbol stands for its amount rather than its concentration."""
        return species.only_substance_units or self.elements.compartments[species.compartment].dimensions == 0

    def amount_of_count(self, identifier: str) -> sympy.Expr:
        """The amount of a species of the state, in terms of its count."""
        return ratio(count_symbol(identifier), number(self.elements.species[identifier].molecules_per_unit))

    def value(self, identifier: str, amount: sympy.Expr) -> sympy.Expr:
        """What the species' symbol means, for an expression of its amount."""
        species = self.elements.species[identifier]
        return amount if self.is_amount(species) else ratio(amount, symbol(species.compartment))

    def amount(self, identifier: str, value: sympy.Expr) -> sympy.Expr:
        """The amount, for an expression of what the species' symbol means."""
        species = self.elements.species[identifier]
        return value if self.is_amount(species) else product(value, symbol(species.compartment))

    def translate(self, expression: sympy.Expr) -> sympy.Expr:
        """The expression with count symbols for the symbols of the state."""
        return substitute(expression, self.in_counts)

    def surely_positive(self, expression: sympy.Expr) -> bool:
        """Whether the form of the expression keeps it from being negative, for non-negative quantities."""
        parts = signed_parts(expression)
        return parts is not None and parts[1] == 0 and not self._signs_unknown(expression)

    def depends_on_time(self, expression: sympy.Expr) -> bool:
        """Whether time enters, directly or through assignment rules."""
        return not self._following_time.isdisjoint(expression.free_symbols)

    @cached_property
    def _following_time(self) -> AbstractSet[sympy.Symbol]:
        following = reaching({TIME}, self._needs)
        # and species that change with the size of their compartment
        by_size = {item for item, value in self.in_counts.items() if not following.isdisjoint(value.free_symbols)}
        return {*following, *by_size}

    @cached_property
    def _following_counts(self) -> AbstractSet[sympy.Symbol]:
        return reaching({*self.in_counts, *(count_symbol(s) for s in self.state)}, self._needs)

    @cached_property
    def _needs(self) -> Mapping[sympy.Symbol, AbstractSet[sympy.Symbol]]:
        """The symbols in each assignment rule, with counts for the symbols of the state."""
        rules = self.elements.assignment_rules
        return {symbol(identifier): self.translate(rule).free_symbols for identifier, rule in rules.items()}

    def without_derivative(self, name: str) -> str:
        """Why nothing can be differentiated by a quantity that can be set; empty where something can."""
        if name in self.stoichiometric:
            return f"{name!r} sets a stoichiometry, which has no derivative; fix it"
        if name in self._stops:
            return (
                f"{name!r} decides at how many molecules reaction {self._stops[name]!r} stops, a whole number, which "
                "has no derivative; fix it"
            )
        return ""

    def _moving_rules(self) -> dict[str, sympy.Expr]:
        rules = {}
        for identifier in self.model.assignment_order:
            expression = self.translate(self.elements.assignment_rules[identifier])
            if expression.free_symbols & (self.moving | {TIME}):
                self.moving.add(symbol(identifier))
                rules[identifier] = expression
        return rules

    def follows_counts(self, expression: sympy.Basic) -> bool:
        """Whether numbers of molecules that react enter, directly or through assignment rules."""
        return not self._following_counts.isdisjoint(expression.free_symbols)

    def follows_state(self, expression: sympy.Basic) -> bool:
        """Whether anything but time and what stays as it is enters, directly or through assignment rules."""
        others = {symbol(i) for i in (*self.elements.rate_rules, *self.elements.set_by_events)}
        return self.follows_counts(expression) or not others.isdisjoint(self.through_rules(self.translate(expression)))

    def varies(self, expression: sympy.Basic) -> bool:
        """Whether it follows time or the state."""
        return self.follows_state(expression) or self.depends_on_time(expression)

    def through_rules(self, expression: sympy.Basic) -> set[sympy.Symbol]:
        """All symbols that enter, directly or through assignment rules."""
        symbols: set[sympy.Symbol] = set()
        pending = list(expression.free_symbols)
        while pending:
            item = pending.pop()
            if item not in symbols:
                symbols.add(item)
                pending.extend(self._needs.get(item, ()))
        return symbols

    def _origins(self, expression: sympy.Expr) -> set[str]:
        """Ids whose values enter, directly or through initial assignments and assignment rules."""
        computed = self._computed
        names: set[str] = set()
        pending = [item.name for item in expression.free_symbols]
        while pending:
            name = pending.pop()
            if name not in names:
                names.add(name)
                if name in computed:
                    pending.extend(item.name for item in computed[name].free_symbols)
        return names

    def _signs_unknown(self, expression: sympy.Expr) -> bool:
        """Whether anything that is computed, and may come out negative, enters."""
        names = {item.name for item in expression.free_symbols}
        return any(self._sign_unknown(name) for name in sorted(names & self._computed.keys()))

    def _sign_unknown(self, name: str) -> bool:
        if name not in self._signs:
            for identifier in self.model.initial_order:  # what it depends on comes first, however long the chain
                if identifier not in self._signs:
                    self._signs[identifier] = not self.surely_positive(self._computed[identifier])
                if identifier == name:
                    break
        return self._signs[name]

    @cached_property
    def _computed(self) -> Mapping[str, sympy.Expr]:
        """What initial assignments and assignment rules set, by id."""
        return {**self.elements.initial_assignments, **self.elements.assignment_rules}

    def _channels(self) -> Iterator[Channel]:
        """What can happen: every reaction, in two directions where its law, as one, might turn negative."""
        moving = [
            (reaction, jumps) for reaction in self.elements.reactions.values() if (jumps := self._jumps(reaction))
        ]
        scale = number(self.elements.extent_molecules)
        laws = {reaction.id: product(scale, self.translate(reaction.kinetic_law)) for reaction, _ in moving}
        rooms = self._rooms(moving, laws)
        for reaction, jumps in moving:
            law = _with(laws[reaction.id], rooms.stand_ins)
            parts = self._split(reaction, law)
            self._explain(reaction, law, parts, rooms)
            if self._split(reaction, laws[reaction.id]) is not None:
                for room in rooms.within(law):
                    self._stops |= {name: reaction.id for item in room.origins for name in self._origins(item)}
            if parts is None:
                channel = Channel(reaction.id, _with(law, rooms.opened), jumps)
                yield self._guarded(channel, reaction, reaction.reactants)
            else:
                forward, backward = (_with(part, rooms.opened) for part in parts)
                back = {species: -change for species, change in jumps.items()}
                yield self._guarded(Channel(reaction.id, forward, jumps), reaction, reaction.reactants)
                yield self._guarded(Channel(f"{reaction.id} (reverse)", backward, back), reaction, reaction.products)

    def _split(self, reaction: Reaction, law: sympy.Expr) -> Parts | None:
        """The two directions of a law over symbols of rooms; None where it is one reaction."""
        key = reaction.id, law
        if key not in self._parts:
            self._parts[key] = self._split_anew(reaction, law)
        return self._parts[key]

    def _split_anew(self, reaction: Reaction, law: sympy.Expr) -> Parts | None:
        reactants, products = self._counts(reaction.reactants), self._counts(reaction.products)
        # Of a species on both sides, as in A -> 2 A, form alone does not tell a way back from crowding.
        ambiguous = not reaction.reversible and set(reactants) & set(products)
        return None if ambiguous or self._signs_unknown(law) else split_reversible(law, reactants, products)

    def _rooms(self, moving: Sequence[tuple[Reaction, Mapping[str, int]]], laws: Mapping[str, sympy.Expr]) -> Rooms:
        """The rooms in the laws: those that reactions leave at 0 or above, and those that they might not.

        What holds one room may need another, so those that fail are given up until all that are left hold.
        """
        bounds = self._bounds(jumps for _, jumps in moving)
        rooms = bounds.rooms(laws.values())
        given_up: dict[sympy.Expr, tuple[Room, str]] = {}
        stand_ins: dict[sympy.Expr, sympy.Expr] = {}
        while rooms:
            lost = {node: room for node, (room, _) in given_up.items()}
            products = bounds.falling(laws.values(), rooms, lost) if lost else {}
            stand_ins = {**{node: room.stand_in for node, room in rooms.items()}, **products}
            flows = Flows(flow for reaction, jumps in moving for flow in self._flows(reaction, jumps, laws, stand_ins))
            alike = by_species(rooms.values())
            reasons = {
                node: bounds.failing(room, alike[frozenset(room.weights)], flows) for node, room in rooms.items()
            }
            failed = {node: why for node, why in reasons.items() if why}
            for node, why in failed.items():
                given_up[node] = rooms.pop(node), why
                self._decides(given_up[node][0], with_counts=True)
            if not failed:
                break
        for room in rooms.values():
            self._decides(room)
        moved = {room.symbol: why for room in rooms.values() if (why := bounds.moved_by(room))}
        return Rooms(rooms, given_up, moved, stand_ins if rooms else {})

    def _flows(
        self,
        reaction: Reaction,
        jumps: Mapping[str, int],
        laws: Mapping[str, sympy.Expr],
        stand_ins: Mapping[sympy.Expr, sympy.Expr],
    ) -> list[Flow]:
        law = _with(laws[reaction.id], stand_ins)
        parts = self._split(reaction, law)
        if parts is None:
            return [Flow(law, jumps)]
        return [Flow(parts[0], jumps), Flow(parts[1], {species: -change for species, change in jumps.items()})]

    def _decides(self, room: Room, with_counts: bool = False) -> None:
        """Keep in mind that other values might decide otherwise about the room."""
        for item in room.origins:
            self.structural |= self._origins(item)
        if with_counts:
            self.structural |= {name for species in room.weights for name in (species, f"[{species}]")}

    def _bounds(self, jumps: Iterable[Mapping[str, int]]) -> Bounds:
        counts, units = {}, {}
        drawing = {symbol(i) for i, e in self.elements.initial_assignments.items() if holds(e, draw)}
        needs = {symbol(name): expression.free_symbols for name, expression in self._computed.items()}
        random = reaching(drawing, needs)
        drawn = {name for name in self.initial if symbol(name) in random}
        for identifier in self.state:
            species = self.elements.species[identifier]
            size, molecules = self.initial[species.compartment], species.molecules_per_unit
            counts[identifier] = self.initial[identifier] * (1.0 if self.is_amount(species) else size) * molecules
            units[identifier] = (1.0 / molecules, *((1.0 / (molecules * size),) if size > 0 else ()))
        free = self.elements.set_by_events | drawn
        return Bounds(
            {i: value for i, value in self.initial.items() if i not in drawn},
            self.moving,
            self.rules,
            counts,
            units,
            {symbol(identifier) for identifier in self.elements.compartments},
            free,
            self.elements.rate_rules.keys(),
            Jumps(jumps, free),
        )

    def _explain(self, reaction: Reaction, law: sympy.Expr, parts: Parts | None, rooms: Rooms) -> None:
        held = rooms.within(law)
        if not held and parts is None and ((signs := signed_parts(law)) is None or signs[1] == 0):
            return
        unsure = [rooms.moved[room.symbol] for room in held if room.symbol in rooms.moved]
        sure = self.surely_positive(law) and not unsure
        if unsure and parts is None:
            whys = unsure
        elif sure:
            whys = [f"{room} never falls below 0" for room in held]
        else:
            whys = rooms.reasons(law)
        why = "; ".join(dict.fromkeys(whys))
        if parts is None:
            self.differences[reaction.id] = Difference(False, sure, why or self._undecided(reaction, law))
            return
        self.differences[reaction.id] = Difference(True, True, why or "a difference of two rates")
        if not reaction.reversible:
            self.warnings.append(
                f"reaction {reaction.id!r}: is declared irreversible, but its law can turn negative "
                f"({self.differences[reaction.id].why}), so it runs as two reactions, one a direction; "
                "write what happens in each direction as a reaction of its own"
            )

    def _undecided(self, reaction: Reaction, law: sympy.Expr) -> str:
        """Why a law that is a difference is not two reactions, though it might turn negative."""
        if self._signs_unknown(law):
            return "not split, since the sign of something that is computed in it is not known"
        both = {reference.species for reference in reaction.reactants} & {r.species for r in reaction.products}
        if both and not reaction.reversible:
            return f"not split, since {listing(sorted(both))} is on both sides"
        return (
            "not split, since one part does not stop where what it would take is used up, or needs what it would make"
        )

    def _jumps(self, reaction: Reaction) -> dict[str, int]:
        changes: dict[str, float] = {}
        for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
            for reference in side:
                if reference.species in self._reacting:
                    change = sign * self._molecules(reaction, reference)
                    changes[reference.species] = changes.get(reference.species, 0.0) + change
        for identifier, change in changes.items():
            if not abs(change - np.round(change)) <= ROUNDING * max(1.0, abs(change)):
                self.reasons.append(
                    f"reaction {reaction.id!r}: changes {identifier!r} by {change:g} molecules, not a whole number; "
                    "check its stoichiometry, units and conversion factor"
                )
            elif abs(change) > _HOPELESS:
                self.reasons.append(
                    f"reaction {reaction.id!r}: changes {identifier!r} by {change:g} molecules at once, too many for "
                    "exact simulation; check its stoichiometry, units and conversion factor, or use method 'ode'"
                )
        return {s: round(change) for s, change in changes.items() if np.isfinite(change) and round(change) != 0}

    def _molecules(self, reaction: Reaction, reference: SpeciesReference) -> float:
        """Molecules of the referenced species in one event."""
        expression = symbol(reference.id) if reference.id in self.initial else reference.stoichiometry
        if any(item in self.moving or item == TIME for item in self.through_rules(expression)):
            self.reasons.append(
                f"reaction {reaction.id!r}: the stoichiometry of {reference.species!r} changes during the simulation"
            )
            return 0.0
        self.stoichiometric |= self._origins(expression)
        species = self.elements.species[reference.species]
        factor = species.conversion_factor or self.elements.conversion_factor
        self.stoichiometric |= self._origins(symbol(factor)) if factor else set()
        if factor and symbol(factor) in self.moving:
            self.reasons.append(f"species {species.id!r}: its conversion factor changes during the simulation")
        conversion = (self.initial[factor] if factor else 1.0) * species.molecules_per_unit
        return evaluate(expression, self.initial) * conversion / self.elements.extent_molecules

    def _counts(self, side: Iterable[SpeciesReference]) -> list[sympy.Symbol]:
        return [count_symbol(s) for s in dict.fromkeys(ref.species for ref in side) if s in self._reacting]

    def _guarded(self, channel: Channel, reaction: Reaction, consumed: Iterable[SpeciesReference]) -> Channel:
        """The channel with its law zero wherever molecules that it takes, or only needs, are not there."""
        needed = {species: -change for species, change in channel.jumps.items() if change < 0}
        taken: dict[str, float] = {}
        for reference in consumed:
            if reference.species in self._reacting:
                molecules = self._molecules(reaction, reference)
                taken[reference.species] = taken.get(reference.species, 0.0) + molecules
        for species, molecules in taken.items():
            needed[species] = max(needed.get(species, 0), round(molecules) if np.isfinite(molecules) else 0)
        conditions = [
            build(sympy.Ge, count_symbol(species), sympy.Integer(least))
            for species, least in needed.items()
            if not _vanishes_below(channel.law, count_symbol(species), least)
        ]
        if not conditions:
            return channel
        condition = conditions[0] if len(conditions) == 1 else build(sympy.And, *conditions)
        return Channel(channel.name, piecewise([(channel.law, condition)], sympy.Integer(0)), channel.jumps)

    @property
    def draws(self) -> bool:
        """Whether random numbers are drawn, for initial values or by events."""
        elements = self.elements
        drawn = [*elements.initial_assignments.values(), *(v for e in elements.events for v in e.assignments.values())]
        return any(holds(expression, draw) for expression in drawn)

    def _check_formulas(self) -> None:
        """Refuse what has a meaning for rate equations only."""
        elements = self.elements
        laws = {f"reaction {reaction.id!r}": reaction.kinetic_law for reaction in elements.reactions.values()}
        rules = {f"the rule of {i!r}": e for i, e in {**elements.assignment_rules, **elements.rate_rules}.items()}
        decisions = {
            f"event {event.id!r}": sympy.Tuple(event.trigger, *([] if event.priority is None else [event.priority]))
            for event in elements.events
        }
        for where, formula in {**laws, **rules, **decisions}.items():
            if holds(formula, draw):
                self.reasons.append(f"{where} draws random numbers all the time; they can be drawn at events only")
        jumping = {symbol(rate_id(species)): species for species in self.state}
        for where, formula in {**laws, **rules, **decisions}.items():
            for item in formula.free_symbols & jumping.keys():
                self.reasons.append(f"{where} uses the rate of {jumping[item]!r}, which jumps and so has none")

    def _check_counts(self) -> None:
        hopeless: dict[str, float] = {}
        for identifier in self.state:
            species = self.elements.species[identifier]
            size = 1.0 if self.is_amount(species) else self.initial[species.compartment]
            count = self.initial[identifier] * size * species.molecules_per_unit
            if not np.isfinite(count):
                self.reasons.append(
                    f"species {identifier!r}: has no initial value; give it one with {identifier}=value"
                )
            elif count < 0:
                self.reasons.append(f"species {identifier!r}: starts with a negative amount")
            elif count > _HOPELESS:
                hopeless[identifier] = count
        if hopeless:
            largest = max(hopeless, key=lambda identifier: hopeless[identifier])
            others = f" (and {len(hopeless) - 1} more start with too many)" if len(hopeless) > 1 else ""
            self.reasons.append(
                f"species {largest!r}: starts with {hopeless[largest]:.3g} molecules{others}, which is hopeless for "
                "exact simulation; if its units do not mean what they say, give molecules_per_unit"
            )


def _with(law: sympy.Expr, others: Mapping[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    """The law with parts replaced; most models have none to look for."""
    return substitute(law, others) if others else law


def _vanishes_below(law: sympy.Expr, count: sympy.Symbol, least: int) -> bool:
    """Whether the law is zero by its form for every count below ``least``."""
    return least <= _LARGEST_GUARD and all(vanishes(law, count, n) for n in range(least))
