"""From a model to the graph of its functions: what each symbol stands for at the start and on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import sympy

from sbmlgrad.errors import UnknownIdError, UnsupportedError
from sbmlgrad.model.dynamics import amount_rate, by_reactions, rate, references
from sbmlgrad.model.elements import TIME, Event, symbol
from sbmlgrad.model.functions import build
from sbmlgrad.model.model import Model
from sbmlgrad.network.columns import Columns
from sbmlgrad.network.formulas import formulas, refusals, too_deep
from sbmlgrad.network.graph import RELATIONS, Graph
from sbmlgrad.network.hybrid_model import Delays, EventSystem, HybridModel, Relations, Stepwise
from sbmlgrad.network.landmarks import Landmarks
from sbmlgrad.network.lines import Lines
from sbmlgrad.network.program import Program
from sbmlgrad.network.stepwise import changes_in_steps


def rate_equations(model: Model, observables: Iterable[str] | None = None) -> HybridModel:
    """The deterministic meaning of a model.

    Parameters
    ----------
    observables
        What to look at: species (amounts), ``[S]`` (concentrations), and every other id; all species and all
        variables of rules if not given.

    Raises
    ------
    UnsupportedError
        with all reasons at once.
    UnknownIdError
        for an observable that the model does not have.
    """
    reasons = refusals(model.elements)
    if reasons:
        raise UnsupportedError(model.elements.source.path, reasons)
    return Assembly(model).assembled(observables)


def initial_values(model: Model, names: Iterable[str]) -> tuple[Mapping[str, float], Program]:
    """The quantities of a model, and the function of them that gives what the symbols of some ids mean at time 0."""
    assembly = Assembly(model)
    outputs = tuple(assembly.initially[symbol(name)] for name in names)
    return assembly.quantities, Program(assembly.graph, tuple(assembly.given.values()), outputs)


def default_observables(model: Model) -> tuple[str, ...]:
    """All species, and the other variables that rules set."""
    elements = model.elements
    others = (*model.assignment_order, *elements.rate_rules)
    return (*elements.species, *(i for i in others if i not in elements.species and not i.startswith("<")))


class Assembly:
    """A model being turned into one graph; ``now`` and ``initially`` say what each symbol is, as nodes."""

    def __init__(self, model: Model):
        self.model, self.elements = model, model.elements
        self.graph = Graph()
        self.time = self.graph.input("time", moving=True)
        self.quantities = _quantities(model)
        self.given = {name: self.graph.input(f"quantity:{name}") for name in self.quantities}
        self.initially = self._environment(self.graph.constant(0.0))
        self.drawn = {index for index, node in enumerate(self.graph.nodes) if node.operation == "draw"}
        self.state = self._state()
        self.variables = tuple(self.state)
        self.indices = {identifier: index for index, identifier in enumerate(self.variables)}
        self.inputs = [self.graph.input(f"state:{identifier}", moving=True) for identifier in self.variables]
        self.now: dict[sympy.Symbol, int] = {}
        self._set_now()

    def assembled(self, observables: Iterable[str] | None) -> HybridModel:
        """The functions of the model."""
        names = default_observables(self.model) if observables is None else tuple(observables)
        flow = [self._change(identifier) for identifier in self.variables]
        watched = [self._observable(name) for name in names]
        propensities = self._propensities()
        outputs_of = {"flow": flow, "observe": watched, "propensities": propensities, **self._events()}
        delays = self._delays([index for outputs in outputs_of.values() for index in outputs])
        outputs_of["delayed"] = [self.graph.nodes[index].args[0] for index in delays]
        outputs_of["lags"] = [self.graph.nodes[index].args[1] for index in delays]
        outputs_of["before"] = self._before(delays)
        flowing = [index for index, change in zip(self.inputs, flow, strict=True) if self.graph.value(change) != 0.0]
        lines = Lines(self.graph, self.time, self.graph.dynamic([self.time, *flowing, *delays], self.drawn))
        needed = self.graph.reachable([index for outputs in outputs_of.values() for index in outputs])
        if reasons := too_deep(self.graph.depth(needed)):
            raise UnsupportedError(self.elements.source.path, reasons)
        landmarks = self._landmarks(needed, lines, delays)
        relations = self._relations(outputs_of, [*flowing, *delays])
        outputs_of["gaps"] = self._gaps(landmarks)
        outputs_of["relations"] = self._truths_gaps_and_sizes(relations)
        outputs_of["switches"] = self._switches(needed, lines)
        moving = self.graph.dynamic([self.time, *self.inputs], self.drawn)
        self._check_lags(outputs_of["lags"], delays)
        in_time = self.graph.dynamic([self.time], self.drawn)
        starts = [self._initial_state(identifier) for identifier in self.variables]
        coefficients = self._coefficients([index for outputs in outputs_of.values() for index in outputs], moving)
        present = [self.graph.expression(self.graph.delayed[index], self.initially, initial=True) for index in delays]
        order = [*coefficients, *present]
        inputs = (self.time, *self.inputs, *coefficients, *delays)  # what comes after them is not looked at
        programs = {name: Program(self.graph, inputs, tuple(outputs)) for name, outputs in outputs_of.items()}
        delayed = np.arange(len(coefficients), len(coefficients) + len(delays))
        return HybridModel(
            source=self.elements.source.path,
            quantities=self.quantities,
            variables=self.variables,
            amounts=np.array(list(self.state.values()), dtype=bool),
            observables=names,
            events=self._event_system(programs) if self.elements.events else None,
            channels=self._channels(),
            propensities=programs["propensities"] if propensities else None,
            columns=self._columns(),
            whole=np.array([self._is_count(identifier) for identifier in self.variables], dtype=bool),
            piecewise_constant=not flowing and in_time.isdisjoint(propensities),
            stepwise=None if flowing or delays else self._stepwise(programs, lines, landmarks),
            start_program=Program(self.graph, tuple(self.given.values()), (*starts, *order)),
            flow_program=programs["flow"],
            observe_program=programs["observe"],
            delays=Delays(delayed, programs["delayed"], programs["lags"], programs["before"]) if delays else None,
            relations=self._relation_system(relations, programs),
            switches=programs["switches"],
            landmarks=landmarks and replace(landmarks, gaps=programs["gaps"]),
        )

    # ---- what symbols stand for ------------------------------------------------------------------------

    def _environment(self, time: int, at_rest: bool = False) -> dict[sympy.Symbol, int]:
        """What each symbol stands for at the start, formulas of time as of ``time``; rates are 0 ``at_rest``."""
        elements, environment = self.elements, {TIME: time}
        for reference in references(elements):
            if reference.id is not None:
                environment[symbol(reference.id)] = self.graph.constant(reference.value)
        assigned = {**elements.initial_assignments, **elements.assignment_rules}
        for identifier in self.model.evaluation_order:
            if at_rest and identifier.startswith("<rate of"):
                index = self.graph.constant(0.0)
            elif identifier in assigned:
                index = self.graph.expression(assigned[identifier], environment, initial=True)
            elif identifier in elements.species:
                index = self._given_value(identifier, environment)
            else:
                index = self.given[identifier]
            environment[symbol(identifier)] = index
        return environment

    def _given_value(self, species: str, environment: Mapping[sympy.Symbol, int]) -> int:
        """What the species' symbol means at first, where nothing assigns it."""
        is_amount, means_amount = self.model.initial_value(species)[1], self.elements.means_amount(species)
        if is_amount:
            return self._meant(species, self.given[species], environment)
        concentration = self.given[f"[{species}]"]
        return self._amount(species, concentration, environment) if means_amount else concentration

    def _given_amount(self, species: str) -> int:
        if self.model.initial_value(species)[1]:
            return self.given[species]
        return self._amount(species, self.given[f"[{species}]"], self.initially)

    def _size(self, species: str, concentration: int, environment: Mapping[sympy.Symbol, int]) -> int:
        size = environment[symbol(self.elements.species[species].compartment)]
        return self.graph.product([concentration, size])

    def _amount(self, species: str, concentration: int, environment: Mapping[sympy.Symbol, int]) -> int:
        compartment = self.elements.compartments[self.elements.species[species].compartment]
        if compartment.dimensions == 0 and compartment.size is None:
            return concentration
        return self._size(species, concentration, environment)

    def _meant(self, species: str, amount: int, environment: Mapping[sympy.Symbol, int]) -> int:
        """What the species' symbol means, from its amount."""
        if self.elements.means_amount(species):
            return amount
        return self.graph.quotient(amount, environment[symbol(self.elements.species[species].compartment)])

    def _state(self) -> dict[str, bool]:
        """The ids of the state, with whether it holds their amount rather than their symbol's value."""
        elements = self.elements
        moved = {*elements.rate_rules, *elements.set_by_events} - elements.assignment_rules.keys()
        state = {}
        for identifier in elements.species:
            if identifier in moved or by_reactions(elements, identifier):
                compartment = elements.species[identifier].compartment
                # the rate of an amount needs that of the size, which an assignment rule does not give
                free = elements.means_amount(identifier) or identifier not in elements.rate_rules
                state[identifier] = free or rate(elements, compartment) is not None
        state.update({i: False for i in self.model.initial_values() if i in moved and i not in elements.species})
        return state

    def _set_now(self) -> None:
        elements = self.elements
        self.now = {TIME: self.time}
        for item, index in self.initially.items():
            if item.name not in elements.species and item.name not in elements.assignment_rules and item != TIME:
                self.now[item] = self.inputs[self.indices[item.name]] if item.name in self.indices else index
        rules = elements.assignment_rules
        waiting = [identifier for identifier in elements.species if identifier not in rules]
        sizes = {elements.species[identifier].compartment for identifier in waiting}
        # a concentration needs the size of its compartment, which a rule may set, which may need other species
        pending = [*waiting, *self.model.assignment_order]
        while pending:
            blocked = [identifier for identifier in pending if not self._define_now(identifier)]
            if len(blocked) == len(pending):
                circle = ", ".join(sorted(set(blocked) & (sizes | rules.keys())))
                reason = f"the rules of {circle} depend on each other in a circle"
                raise UnsupportedError(elements.source.path, [reason])
            pending = blocked

    def _define_now(self, identifier: str) -> bool:
        """Say what the symbol stands for during simulation, if all that it needs is known."""
        rule = self.elements.assignment_rules.get(identifier)
        if rule is not None:
            if not all(item in self.now for item in rule.free_symbols):
                return False
            self.now[symbol(identifier)] = self.graph.expression(rule, self.now)
            return True
        compartment = symbol(self.elements.species[identifier].compartment)
        if compartment not in self.now and not self.elements.means_amount(identifier):
            return False
        self.now[symbol(identifier)] = self._meant(identifier, self._amount_now(identifier), self.now)
        if self.state.get(identifier) is False:
            self.now[symbol(identifier)] = self.inputs[self.indices[identifier]]
        return True

    def _amount_now(self, species: str) -> int:
        """The amount of a species that no assignment rule sets."""
        if self.state.get(species) is True:
            return self.inputs[self.indices[species]]
        if species in self.state:
            return self._amount(species, self.inputs[self.indices[species]], self.now)
        return self._initial_amount(species)

    def _initial_amount(self, species: str) -> int:
        if species in self.elements.initial_assignments:
            value = self.initially[symbol(species)]
            return value if self.elements.means_amount(species) else self._size(species, value, self.initially)
        return self._given_amount(species)

    def _initial_state(self, identifier: str) -> int:
        if self.state[identifier]:
            return self._initial_amount(identifier)
        return self.initially[symbol(identifier)]

    # ---- what is computed ------------------------------------------------------------------------------

    def _change(self, identifier: str) -> int:
        elements = self.elements
        if not self.state[identifier] or elements.means_amount(identifier):
            change = rate(elements, identifier)
            assert change is not None
            return self.graph.expression(change, self.now)
        if identifier not in elements.rate_rules:
            change = amount_rate(elements, identifier) if by_reactions(elements, identifier) else sympy.Integer(0)
            return self.graph.expression(change, self.now)
        size = symbol(elements.species[identifier].compartment)
        growth = rate(elements, size.name)
        terms = [build(sympy.Mul, size, elements.rate_rules[identifier])]
        if growth is not None and growth != 0:
            terms.append(build(sympy.Mul, symbol(identifier), growth))
        return self.graph.expression(build(sympy.Add, *terms), self.now)

    def _observable(self, name: str) -> int:
        elements = self.elements
        plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        if plain in elements.species:
            item = elements.species[plain]
            if plain in elements.assignment_rules:
                value = self.now[symbol(plain)]
                amount = value if elements.means_amount(plain) else self._size(plain, value, self.now)
            else:
                amount = self._amount_now(plain)
            if name == plain:
                return amount
            return self.graph.quotient(amount, self.now[symbol(item.compartment)])
        if plain == name and symbol(name) in self.now and name != TIME.name:
            return self.now[symbol(name)]
        if name in elements.reactions:
            return self.graph.expression(elements.reactions[name].kinetic_law, self.now)
        raise UnknownIdError(f"{elements.source.path}: no species or variable {name!r} to look at")

    def _events(self) -> dict[str, list[int]]:
        """Outputs of the programs of the events."""
        events = self.elements.events
        if not events:
            return {}
        graph = self.graph
        triggers = [graph.expression(event.trigger, self.now) for event in events]
        nan, zero = graph.constant(float("nan")), graph.constant(0.0)
        delays = [zero if e.delay is None else graph.expression(e.delay, self.now) for e in events]
        orders = [nan if e.priority is None else graph.expression(e.priority, self.now) for e in events]
        values = [graph.expression(v, self.now) for e in events for v in e.assignments.values()]
        return {
            "triggers": triggers,
            "details": [*delays, *orders, *values],
            "sizes": [self._scale(identifier) for identifier in self.variables],
        }

    def _truths_gaps_and_sizes(self, relations: Iterable[int]) -> list[int]:
        """Each relation, the difference of its sides, and the sum of their sizes."""
        sides = [self.graph.nodes[index].args for index in relations]
        gaps = [self.graph.add("sub", *pair) for pair in sides]
        sizes = [self.graph.add("add", *(self.graph.add("abs", side) for side in pair)) for pair in sides]
        return [*relations, *gaps, *sizes]

    def _relation_system(
        self, relations: Mapping[int, tuple[bool, bool]], programs: Mapping[str, Program]
    ) -> Relations:
        flow, propensities = programs["flow"], programs["propensities"]
        smooth = (*flow.inputs, *(index for index, (follows, _) in relations.items() if follows))
        return Relations(
            program=programs["relations"],
            flowing=np.array([follows for follows, _ in relations.values()], bool),
            deciding=np.array([triggers for _, triggers in relations.values()], bool),
            flow=Program(self.graph, smooth, flow.outputs),
            propensities=Program(self.graph, smooth, propensities.outputs),
        )

    def _relations(
        self, outputs_of: Mapping[str, Sequence[int]], flowing: Sequence[int]
    ) -> dict[int, tuple[bool, bool]]:
        """The relations that steps must not pass unseen: whether each follows what flows, and whether it triggers."""
        graph = self.graph
        following = graph.dynamic(flowing, self.drawn)

        def relations(outputs: Sequence[int]) -> list[int]:
            return [index for index in graph.reachable(outputs) if graph.nodes[index].operation in RELATIONS]

        triggering = set(relations(outputs_of.get("triggers", [])))
        in_laws = {p for p in relations([*outputs_of["flow"], *outputs_of["propensities"]]) if p in following}
        return {index: (index in following, index in triggering) for index in sorted(triggering | in_laws)}

    def _scale(self, identifier: str) -> int:
        """What the value of the symbol is multiplied by to give the state."""
        if not self.state[identifier] or self.elements.means_amount(identifier):
            return self.graph.constant(1.0)
        return self.now[symbol(self.elements.species[identifier].compartment)]

    def _is_count(self, identifier: str) -> bool:
        """Whether the state holds a number of molecules."""
        return False

    def _channels(self) -> tuple[str, ...]:
        return ()

    def _propensities(self) -> list[int]:
        return []

    def _columns(self) -> Columns:
        return Columns.of(len(self.variables), [])

    def _event_system(self, programs: Mapping[str, Program]) -> EventSystem:
        events = self.elements.events
        widest = max(1, *(len(event.assignments) for event in events))
        targets = np.full((len(events), widest), len(self.variables))
        values = np.zeros((len(events), widest), np.int64)
        scaled = np.zeros((len(events), widest), bool)
        index = 0
        for row, event in enumerate(events):
            for column, identifier in enumerate(event.assignments):
                targets[row, column] = self.indices[identifier]
                values[row, column] = index
                scaled[row, column] = self.graph.value(self._scale(identifier)) != 1.0
                index += 1
        return EventSystem(
            names=tuple(event.id for event in events),
            triggers=programs["triggers"],
            details=programs["details"],
            targets=targets,
            scaled=scaled,
            values=values,
            initial=_flags(events, "initial_value"),
            persistent=_flags(events, "persistent"),
            delayed=np.array([event.delay is not None for event in events]),
            from_trigger_time=_flags(events, "values_from_trigger_time"),
            sizes=programs["sizes"],
        )

    def _switches(self, needed: Sequence[int], lines: Lines) -> list[int]:
        """Nodes of the times at which what is a straight line in time, in pieces, bends or jumps."""
        switches = [lines.switches(index) for index in needed if index in lines.moving]
        return list(dict.fromkeys(index for indices in switches for index in indices))

    def _landmarks(self, needed: Sequence[int], lines: Lines, delays: Sequence[int]) -> Landmarks | None:
        """What depends on time alone, and is not made of straight lines; still without the program of its gaps."""
        graph = self.graph
        others = graph.dynamic([*self.inputs, *delays, *self.drawn], self.drawn)
        alone = [index for index in needed if index in lines.moving and index not in others]
        bent = [index for index in alone if lines.affine(index) is None]
        if not bent:
            return None
        kinds = {index: graph.nodes[index].operation for index in alone}
        used = {arg for index in needed if index in others for arg in graph.nodes[index].args}
        inner = {arg for index in alone for arg in graph.nodes[index].args}
        curves = [index for index in bent if index in used or index not in inner]
        switches = []
        for index in alone:
            args = graph.nodes[index].args
            if kinds[index] in (*RELATIONS, "floor", "ceil", "quotient", "rem") and not set(args).isdisjoint(bent):
                switches.append(graph.add("quotient", *args) if kinds[index] == "rem" else index)
        switches = list(dict.fromkeys(switches))
        curves = [index for index in curves if index not in switches]
        return Landmarks(
            graph=graph,
            source=self.elements.source.path,
            time=self.time,
            given=tuple(self.given.values()),
            curves=tuple(curves),
            switches=tuple(switches),
            owners=self._owners([*curves, *switches]),
            gaps=Program(graph, (), ()),
        )

    def _stepwise(self, programs: Mapping[str, Program], lines: Lines, landmarks: Landmarks | None) -> Stepwise | None:
        """What only reactions move between known times; None where time moves more than that, or nothing reacts."""
        propensities, triggers = programs["propensities"], programs.get("triggers")
        reacting = np.unique(self._columns().rows)
        inputs = [self.inputs[index] for index in reacting]
        outputs = (*propensities.outputs, *(triggers.outputs if triggers else ()))
        switches = landmarks.switches if landmarks else ()
        if not reacting.size or not changes_in_steps(lines, outputs, switches, inputs, self.drawn):
            return None
        following = self.graph.dynamic(inputs, self.drawn)
        watched = [e for e, index in enumerate(triggers.outputs if triggers else ()) if index in following]
        reacting_triggers = tuple(triggers.outputs[event] for event in watched) if triggers else ()
        return Stepwise(
            reacting, Program(self.graph, propensities.inputs, reacting_triggers), np.array(watched, np.int64)
        )

    def _owners(self, indices: Sequence[int]) -> dict[int, str]:
        """In words, what each of some nodes is a part of."""
        owners = dict.fromkeys(indices, "a formula")
        for where, formula in reversed([*formulas(self.elements)]):
            if not where.startswith("the initial") and all(item in self.now for item in formula.free_symbols):
                inside = set(self.graph.reachable([self.graph.expression(formula, self.now)]))
                owners.update(dict.fromkeys(inside.intersection(indices), where))
        return owners

    def _gaps(self, landmarks: Landmarks | None) -> list[int]:
        """For each switch of the landmarks, the node of what is 0 or a whole number where it changes."""
        differences = []
        for index in landmarks.switches if landmarks else ():
            node = self.graph.nodes[index]
            if len(node.args) == 1:
                differences.append(node.args[0])
            else:
                differences.append(self.graph.add("div" if node.operation == "quotient" else "sub", *node.args))
        return differences

    def _delays(self, outputs: Sequence[int]) -> list[int]:
        """The nodes of values of the past that the outputs need."""
        return [index for index in self.graph.reachable(outputs) if index in self.graph.delayed]

    def _before(self, delays: Sequence[int]) -> list[int]:
        """What delays see of the time before the start: initial values, with formulas of time as of then, at rest."""
        if not delays:
            return []
        environment = self._environment(self.time, at_rest=True)
        return [self.graph.expression(self.graph.delayed[index], environment, initial=True) for index in delays]

    def _check_lags(self, lags: Sequence[int], delays: Sequence[int]) -> None:
        following = self.graph.dynamic([*self.inputs, *delays], self.drawn)
        if any(lag in following for lag in lags):
            reason = "a delay follows the state (delays may be constant, or change with time alone)"
            raise UnsupportedError(self.elements.source.path, [reason])

    def _coefficients(self, outputs: Sequence[int], moving: set[int]) -> list[int]:
        """The nodes that do not move but are needed by those that do, or by whoever looks."""
        needed = self.graph.reachable([index for index in outputs if index in moving])
        fixed = {arg for index in needed if index in moving for arg in self.graph.nodes[index].args}
        fixed |= set(outputs)
        return sorted(p for p in fixed if p not in moving and self.graph.nodes[p].operation != "constant")


def _flags(events: Sequence[Event], name: str) -> np.ndarray:
    return np.array([getattr(event, name) for event in events])


def _quantities(model: Model) -> dict[str, float]:
    """The numbers that can be changed, with species in the kind in which their initial value is given."""
    values = {}
    for identifier, value in model.quantities().items():
        if identifier in model.elements.species and not model.initial_value(identifier)[1]:
            values[f"[{identifier}]"] = model.initial_value(identifier)[0]
        else:
            values[identifier] = value
    return values
