"""What was fitted and what was done in each condition, in the words of PEtab.

A fitted parameter of the model that no condition changes keeps its id. Others cannot stand in a table of parameters:
initial values, compartments, local parameters, and what some condition sets. These get an id of their own, which
each condition gives them as the value to start with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy

from sbmlgrad.fitting.petab_formulas import is_id
from sbmlgrad.fitting.trials import Trial, Trials, numbers_of, plain_id
from sbmlgrad.model.derive import as_symbol
from sbmlgrad.model.elements import TIME, Elements, symbol
from sbmlgrad.model.evaluate import evaluate, symbol_ids
from sbmlgrad.model.functions import build, number, substitute
from sbmlgrad.model.model import Model


class Ids:
    """Ids that are taken, and new ones."""

    def __init__(self, taken: Iterable[str]):
        self._taken = set(taken)

    def new(self, wish: str) -> str:
        """The wish as an id that nothing has yet."""
        plain = re.sub(r"\W", "_", wish, flags=re.ASCII) or "_"
        plain = plain if is_id(plain) else f"_{plain}"
        name, count = plain, 1
        while name in self._taken:
            count += 1
            name = f"{plain}_{count}"
        self._taken.add(name)
        return name


@dataclass(frozen=True)
class Changes:
    """What is set at a time, by the id of what is set, as formulas."""

    time: float
    values: Mapping[str, Any]


class Words:
    """The ids of a fit in PEtab.

    Attributes
    ----------
    parameters
        Of what was fitted, by its name in the fit.
    aliases
        Of local parameters, which the tables cannot name as the model does.
    conditions
        One trial of each condition, by the id of the condition.
    ids
        All that are taken.
    """

    def __init__(self, model: Model, trials: Trials, fitted: Iterable[str]):
        self.trials, elements = trials, model.elements
        own, names = numbers_of(model), tuple(fitted)
        more = {rule for trial in trials.every for rule in _elements(trial).assignment_rules}
        self.ids = Ids({*own, *elements.reactions, *more, *(name for name in names if plain_id(name) not in own)})
        touched = {plain_id(name) for trial in trials.every for period in trial.periods for name in period.changes}
        kept = {*elements.parameters} - touched - elements.rate_rules.keys()
        self._observed: set[str] = set()
        self.parameters = {name: self._parameter(name, own, kept, elements) for name in names}
        self.aliases = {name: self.ids.new(name) for name in names if "." in name}
        self._given = [plain_id(name) for name in names if plain_id(name) in own and plain_id(name) not in kept]
        by_name = {trial.condition: trial for trial in reversed(trials.every)}
        ids = Ids(())
        names_of_conditions = dict.fromkeys(trial.condition for trial in trials.every)
        self.conditions = {ids.new(name or "all"): by_name[name] for name in names_of_conditions}

    def _parameter(self, name: str, own: set[str], kept: set[str], elements: Elements) -> str:
        plain = plain_id(name)
        if plain not in own:
            return name
        if plain in kept:
            return plain
        return self.ids.new(f"{plain}_{'initial' if plain in elements.species else 'fitted'}")

    def new_observable(self, name: str, statistic: str) -> str:
        """The id of what was measured: formulas keep their name, what the model has needs another one."""
        model = self.trials.every[0].model
        assert isinstance(model, Model)
        if name in model.elements.assignment_rules and name not in self.documented and name not in self._observed:
            self._observed.add(name)
            return name
        kind = "mean" if statistic == "mean" else "measured"
        return self.ids.new(f"{kind}_{name}" if plain_id(name) == name else f"{kind}_concentration_{plain_id(name)}")

    def condition_of(self, trial: Trial) -> str:
        """The id of its condition."""
        return next(key for key, other in self.conditions.items() if other.condition == trial.condition)

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """What some condition sets at the start."""
        changed = (name for trial in self.trials.every for name in _at_start(trial))
        return tuple(dict.fromkeys((*self._given, *changed)))

    def start(self, trial: Trial, targets: Iterable[str]) -> dict[str, Any]:
        """Values at the start, as symbols mean them: numbers, or formulas of ids in the table of parameters."""
        start = _Start(trial, self.parameters)
        return {self.aliases.get(name, name): start.value(name) for name in targets}

    def periods(self, trial: Trial) -> list[Changes]:
        """What is changed in a condition: at its start, and on the way by formulas of what was there just before.

        What comes to rest first starts at minus infinity, and goes on as it is where nothing changes then.
        """
        own = dict.fromkeys([name for name in self._given if name in map(plain_id, trial.names)])
        first = -math.inf if trial.resting is not None else trial.start
        result = [Changes(first, self.start(trial, {**own, **dict.fromkeys(_at_start(trial))}))]
        elements = _elements(trial)
        for period in trial.periods:
            if period.time is not None:
                values = dict(as_symbol(elements, name, formula) for name, formula in period.changes.items())
                values = {**values, **_resized(elements, values)}
                result.append(Changes(period.time, {k: self.seen(trial, v) for k, v in values.items()}))
        if trial.resting is not None and len(result) == 1:
            result.append(Changes(trial.first_time, {}))
        return result

    def seen(self, trial: Trial, formula: Any) -> Any:
        """A formula of what is there at some time, without ids that only sbmlgrad has."""
        model = trial.model
        assert isinstance(model, Model)
        own, values, new = model.elements.assignment_rules, model.initial_values(), {}
        for name in symbol_ids(formula):
            if "." in name:  # of one reaction, which never changes
                fitted = self.parameters.get(name)
                new[symbol(name)] = symbol(fitted) if fitted else number(values[name])
            elif name in own and name not in self.documented:
                new[symbol(name)] = self.seen(trial, own[name])
        return substitute(formula, new)

    @cached_property
    def documented(self) -> set[str]:
        """What rules of the document set."""
        assert isinstance(self.trials.model, Model)
        return {name for name in self.trials.model.elements.assignment_rules if is_id(name)}


class _Start:
    """The values of a condition's model at its start, as formulas of fitted parameters."""

    def __init__(self, trial: Trial, parameters: Mapping[str, str]):
        assert isinstance(trial.model, Model)
        self.model, self.elements = trial.model, trial.model.elements
        self.fitted = {plain_id(name): (name, symbol(parameters[name])) for name in trial.names}
        self.numbers = self.model.initial_values()

    def value(self, name: str) -> Any:
        """What the symbol of an id stands for."""
        elements, assigned = self.elements, {**self.elements.initial_assignments, **self.elements.assignment_rules}
        if name in self.fitted:
            given, formula = self.fitted[name]
            return self._as_meant(name, formula, given == name) if name in elements.species else formula
        if name in assigned:
            needed = {symbol(other): self.value(other) for other in symbol_ids(assigned[name]) if other != TIME.name}
            return _folded(substitute(assigned[name], {**needed, TIME: number(0.0)}))
        if name in elements.species:
            value, is_amount = self.model.initial_value(name)
            return self._as_meant(name, number(value), is_amount)
        return number(self.numbers[name])

    def _as_meant(self, species: str, value: Any, is_amount: bool) -> Any:
        if is_amount == self.elements.means_amount(species):
            return value
        size = self.value(self.elements.species[species].compartment)
        if size == 1:
            return value
        return _folded(build(sympy.Mul, value, build(sympy.Pow, size, sympy.Integer(-1)) if is_amount else size))


def _folded(formula: Any) -> Any:
    return formula if formula.free_symbols else number(evaluate(formula, {}))


def _elements(trial: Trial) -> Elements:
    assert isinstance(trial.model, Model)
    return trial.model.elements


def _at_start(trial: Trial) -> list[str]:
    return [plain_id(name) for period in trial.periods if period.time is None for name in period.changes]


def _resized(elements: Elements, values: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of species in a compartment that is resized: PEtab keeps concentrations there, SBML keeps amounts.

    A concentration that is set at once is one in the new compartment for PEtab, and in the old one for SBML.
    """
    result: dict[str, Any] = {}
    for name, species in elements.species.items():
        own = species.compartment
        if own in values and name not in elements.assignment_rules:
            value = values.get(name, symbol(name))
            shrunk = build(sympy.Mul, value, symbol(own), build(sympy.Pow, values[own], sympy.Integer(-1)))
            result[name] = value if elements.means_amount(name) else shrunk
    return result
