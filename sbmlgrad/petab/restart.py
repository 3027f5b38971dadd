"""Rate equations that go on from any state: what experiments need that change a model on the way.

A model whose values are all given from outside, without initial assignments of its own, is compiled once for all
conditions and periods of a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sbmlgrad.errors import UnsupportedError
from sbmlgrad.model.elements import TIME, Elements, Species
from sbmlgrad.model.evaluate import evaluate, symbol_ids
from sbmlgrad.model.functions import delayed
from sbmlgrad.model.model import Model
from sbmlgrad.network.formulas import formulas
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.simulation.deterministic import equations, solve
from sbmlgrad.simulation.path import Settings

_A_MOMENT = 1e-6  # after the start, where nothing later is asked for


@dataclass(frozen=True, eq=False)
class State:
    """A model at one time.

    ``values`` are those of all symbols by id, as the symbols mean them. ``truth`` is that of the triggers of its events
    just before; None at the start, where the model itself says it.
    """

    time: float
    values: Mapping[str, float]
    truth: tuple[bool, ...] | None = None


class Equations:
    """The rate equations of a model, followed from state to state.

    ``watched`` are the ids whose course is known: all that moves, and those asked for.
    """

    def __init__(self, model: Model, observables: Iterable[str]):
        elements = self.elements = model.elements
        self.model = model
        self.ids = frozenset(model.initial_values())
        in_triggers = [name for event in elements.events for name in symbol_ids(event.trigger)]
        moving = [*elements.species, *elements.rate_rules, *sorted(elements.set_by_events)]
        names = dict.fromkeys((*moving, *in_triggers, *observables))
        self.watched = tuple(name for name in names if name in self.ids - {TIME.name} or name in elements.reactions)
        self._bare = Model(_without_initial_values(elements))
        self._uninitialised: dict[frozenset[str], Elements] = {}
        self._by_truth: dict[tuple[bool, ...] | None, HybridModel] = {}

    @property
    def moving(self) -> tuple[str, ...]:
        """The ids of what differential equations or events change."""
        return self._compiled(None).variables

    @property
    def follows_time(self) -> bool:
        """Whether events, or formulas of time, may change a course that seems to have come to its end."""
        return bool(self.elements.events) or any(TIME in f.free_symbols for _, f in formulas(self.elements))

    def initial(self, given: Mapping[str, float], time: float) -> State:
        """The state at the start for ``given`` values, which take the place of the model's initial assignments.

        Raises
        ------
        UnknownIdError
            for what the model does not have, or an assignment rule sets.
        """
        changed = frozenset(given)
        if changed not in self._uninitialised:
            kept = {name: f for name, f in self.elements.initial_assignments.items() if name not in changed}
            self._uninitialised[changed] = replace(self.elements, initial_assignments=kept)
        elements = self._uninitialised[changed]
        model = Model(elements, self.model.changes)
        values = model.with_parameters({_column(elements, name): value for name, value in given.items()})
        return State(time, {**values.initial_values(), TIME.name: time})

    def follow(self, state: State, times: Sequence[float], settings: Settings) -> tuple[list[dict[str, float]], State]:
        """The values of all symbols at increasing times from that of the state on, and the state at the last.

        Raises
        ------
        SimulationError
            where the equations cannot be followed.
        """
        model = self._compiled(state.truth)
        quantities = np.array([state.values[_symbol(name)] for name in model.quantities], dtype=float)
        grid = _filled(state.time, times)
        course = solve(model, quantities, grid, state.time, settings=settings)
        courses = []
        for index in np.searchsorted(grid, times):
            seen = zip(self.watched, course[:, index].tolist(), strict=True)
            courses.append({**state.values, **dict(seen), TIME.name: float(grid[index])})
        truth = tuple(evaluate(event.trigger, courses[-1]) > 0.5 for event in self.elements.events)
        return courses, State(float(times[-1]), courses[-1], truth)

    def check_restarts(self) -> None:
        """Raise :class:`UnsupportedError` if the model remembers more than its state."""
        remembers = [f"event {event.id!r} has a delay" for event in self.elements.events if event.delay is not None]
        remembers += [f"{where} needs the past" for where, formula in formulas(self.elements) if formula.has(delayed)]
        remembers += [f"the stoichiometry {name!r} changes" for name in self.moving if not self._can_be_given(name)]
        if remembers:
            reasons = [f"{reason}, which cannot go on from one period to the next" for reason in remembers]
            raise UnsupportedError(self.elements.source.path, reasons)

    def _can_be_given(self, name: str) -> bool:
        return _column(self.elements, name) in self._compiled(None).quantities

    def _compiled(self, truth: tuple[bool, ...] | None) -> HybridModel:
        """The equations with these triggers having been true before the start."""
        if truth not in self._by_truth:
            process = equations(self._bare, [_column(self.elements, name) for name in self.watched])
            if truth is not None and process.events is not None:
                process = replace(process, events=replace(process.events, initial=np.array(truth, bool)))
            self._by_truth[truth] = process
        return self._by_truth[truth]


def _without_initial_values(elements: Elements) -> Elements:
    """The elements with every initial value to be given from outside, of species in the kind that the symbol means."""
    given = {*elements.species, *elements.parameters, *elements.compartments}
    kept = {name: formula for name, formula in elements.initial_assignments.items() if name not in given}
    species = {name: _given_as_meant(elements, item) for name, item in elements.species.items()}
    return replace(elements, initial_assignments=kept, species=species)


def _given_as_meant(elements: Elements, species: Species) -> Species:
    if elements.means_amount(species.id):
        return replace(species, initial_amount=0.0, initial_concentration=None)
    return replace(species, initial_amount=None, initial_concentration=0.0)


def _column(elements: Elements, name: str) -> str:
    """What :func:`simulate` and quantities call the value that a symbol means."""
    return f"[{name}]" if name in elements.species and not elements.means_amount(name) else name


def _symbol(column: str) -> str:
    return column[1:-1] if column.startswith("[") else column


def _filled(start: float, times: Sequence[float]) -> np.ndarray:
    """The times with others in between, so that their number is 2, 4, 8, ...: a program is compiled for each number."""
    filled = np.asarray(times, dtype=float)
    if filled[-1] == start:
        return np.array([start, start + _A_MOMENT * max(1.0, abs(start))])
    while len(filled) < 2 or len(filled) & (len(filled) - 1):
        gaps = np.diff(filled, prepend=start)
        widest = int(np.argmax(gaps))
        filled = np.insert(filled, widest, filled[widest] - gaps[widest] / 2)
    return filled
