"""Rate equations that go on from any state: what experiments need that change a model on the way.

A model whose values are all given from outside, without initial assignments of its own, is compiled once for all
conditions and periods of a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sbmlgrad.errors import UnsupportedError
from sbmlgrad.model.elements import TIME, Elements, Species
from sbmlgrad.model.evaluate import evaluate, symbol_ids
from sbmlgrad.model.functions import delayed
from sbmlgrad.model.model import Model
from sbmlgrad.network.formulas import formulas
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.petab.formulas import Known, Slopes
from sbmlgrad.petab.start import Start
from sbmlgrad.simulation.deterministic import directional, equations, solve
from sbmlgrad.simulation.path import Settings

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # numbers of directions to compile for
_A_MOMENT = 1e-6  # after the start, where nothing later is asked for


@dataclass(frozen=True, eq=False)
class State:
    """A model at one time.

    ``values`` are those of all symbols by id, as the symbols mean them. ``truth`` is that of the triggers of its events
    just before; None at the start, where the model itself says it. ``slopes`` are how values move with the parameters
    of a fit.
    """

    time: float
    values: Mapping[str, float]
    truth: tuple[bool, ...] | None = None
    slopes: Slopes = field(default_factory=dict)


class Equations:
    """The rate equations of a model, followed from state to state.

    ``watched`` are the ids whose course is known: all that moves, and those asked for. ``bare`` is the model without
    initial values of its own.
    """

    def __init__(self, model: Model, observables: Iterable[str]):
        elements = self.elements = model.elements
        self.model = model
        self.ids = frozenset(model.initial_values())
        in_triggers = [name for event in elements.events for name in symbol_ids(event.trigger)]
        moving = [*elements.species, *elements.rate_rules, *sorted(elements.set_by_events)]
        names = dict.fromkeys((*moving, *in_triggers, *observables))
        self.watched = tuple(name for name in names if name in self.ids - {TIME.name} or name in elements.reactions)
        self.bare = Model(_without_initial_values(elements))
        self._uninitialised: dict[frozenset[str], Elements] = {}
        self._starts: dict[frozenset[str], Start] = {}
        self._by_truth: dict[tuple[bool, ...] | None, HybridModel] = {}

    @property
    def moving(self) -> tuple[str, ...]:
        """The ids of what differential equations or events change."""
        return self._compiled(None).variables

    @property
    def follows_time(self) -> bool:
        """Whether events, or formulas of time, may change a course that seems to have come to its end."""
        return bool(self.elements.events) or any(TIME in f.free_symbols for _, f in formulas(self.elements))

    def initial(self, given: Known, time: float) -> State:
        """The state at the start for ``given`` values, which take the place of the model's initial assignments.

        Raises
        ------
        UnknownIdError
            for what the model does not have, or an assignment rule sets.
        """
        changed = frozenset(given.values)
        if changed not in self._uninitialised:
            kept = {name: f for name, f in self.elements.initial_assignments.items() if name not in changed}
            self._uninitialised[changed] = replace(self.elements, initial_assignments=kept)
        elements = self._uninitialised[changed]
        if given.slopes and changed in self._starts:
            known = self._starts[changed].at(given, time)
            return State(time, known.values, slopes=known.slopes)
        model = Model(elements, self.model.changes)
        values = model.with_parameters({column_of(elements, name): value for name, value in given.values.items()})
        if given.slopes:
            self._starts[changed] = self._start(elements, changed)
            return self.initial(given, time)
        return State(time, {**values.initial_values(), TIME.name: time})

    def _start(self, elements: Elements, given: frozenset[str]) -> Start:
        """Initial values as a function of those that are given, of species in the kind that the symbol means."""
        species = {
            name: _given_as_meant(elements, item) if name in given else item for name, item in elements.species.items()
        }
        model = Model(replace(elements, species=species), self.model.changes)
        return Start(model, {name: column_of(elements, name) for name in given})

    def follow(self, state: State, times: Sequence[float], settings: Settings) -> list[State]:
        """The states at increasing times from that of the state on, with slopes where this one has them.

        Raises
        ------
        SimulationError
            where the equations cannot be followed.
        """
        model = self._compiled(state.truth)
        quantities = np.array([state.values[_symbol(name)] for name in model.quantities], dtype=float)
        grid = _filled(state.time, times)
        directions = self._directions(model, state.slopes)
        if directions is None:
            course, slopes = solve(model, quantities, grid, state.time, settings=settings), None
        else:
            active, rows = directions
            course, moved = directional(model, quantities, rows, grid, state.time, settings)
            slopes = np.zeros((len(self.watched), len(grid), len(next(iter(state.slopes.values())))))
            slopes[:, :, active] = moved[: len(active)].transpose(1, 2, 0)
        states = []
        for index in np.searchsorted(grid, times):
            values = {**state.values, **dict(zip(self.watched, course[:, index].tolist(), strict=True))}
            values[TIME.name] = float(grid[index])
            truth = tuple(evaluate(event.trigger, values) > 0.5 for event in self.elements.events)
            new = {} if slopes is None else dict(zip(self.watched, slopes[:, index], strict=True))
            states.append(State(values[TIME.name], values, truth, {**state.slopes, **new}))
        return states

    def _directions(self, model: HybridModel, slopes: Slopes) -> tuple[np.ndarray, np.ndarray] | None:
        """Indices of those parameters of a fit that move the quantities, and how (directions, quantities).

        Directions of zeros are added, so that few programs have to be compiled. None where nothing moves.
        """
        columns = [(index, _symbol(name)) for index, name in enumerate(model.quantities)]
        moving = [(index, slopes[name]) for index, name in columns if name in slopes]
        if not moving:
            return None
        matrix = np.zeros((len(moving[0][1]), len(columns)))
        for index, slope in moving:
            matrix[:, index] = slope
        active = np.flatnonzero(np.any(matrix != 0, axis=1))
        if not len(active):
            return None
        size = next((size for size in _SIZES if size >= len(active)), len(active))
        return active, np.concatenate([matrix[active], np.zeros((size - len(active), len(columns)))])

    def check_restarts(self) -> None:
        """Raise :class:`UnsupportedError` if the model remembers more than its state."""
        remembers = [f"event {event.id!r} has a delay" for event in self.elements.events if event.delay is not None]
        remembers += [f"{where} needs the past" for where, formula in formulas(self.elements) if formula.has(delayed)]
        remembers += [f"the stoichiometry {name!r} changes" for name in self.moving if not self._can_be_given(name)]
        if remembers:
            reasons = [f"{reason}, which cannot go on from one period to the next" for reason in remembers]
            raise UnsupportedError(self.elements.source.path, reasons)

    def _can_be_given(self, name: str) -> bool:
        return column_of(self.elements, name) in self._compiled(None).quantities

    def _compiled(self, truth: tuple[bool, ...] | None) -> HybridModel:
        """The equations with these triggers having been true before the start."""
        if truth not in self._by_truth:
            process = equations(self.bare, [column_of(self.elements, name) for name in self.watched])
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


def column_of(elements: Elements, name: str) -> str:
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
