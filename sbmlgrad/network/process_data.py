"""Processes with events as data: laws as those of a network, and the triggers that reactions may change.

All variables are counts here, whether reactions change them or only events do, and so is the time, which comes last: it
is held between the times at which laws change in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sbmlgrad.network.columns import Columns
from sbmlgrad.network.discretise import OfCounts
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.law_code import Coder, LawCode
from sbmlgrad.network.mass_action import Lists, MassAction, mass_action_of, not_as_data
from sbmlgrad.network.network import ReactionNetwork
from sbmlgrad.network.numpy_program import NumpyProgram
from sbmlgrad.network.program import Program

TIME = "time"


@dataclass(frozen=True, eq=False)
class ProcessData:
    """A process as arrays.

    ``triggers`` are the instructions of those that reactions may change, ``watched`` their indices among the events,
    ``numbers`` gives the numbers in them for coefficients, and ``touched`` says which of them may change when a
    reaction fires.
    """

    laws: MassAction
    triggers: LawCode
    watched: np.ndarray
    touched: Lists
    numbers: Callable[[Sequence[float]], np.ndarray]


def process_as_data(process: HybridModel) -> ProcessData | str:
    """A process as data, or in words why it is none; found once."""
    if "as data" not in process.compiled:
        process.compiled["as data"] = _read(process)
    found: ProcessData | str = process.compiled["as data"]
    return found


def coefficients_of(process: HybridModel, quantities: np.ndarray) -> np.ndarray:
    """The coefficients of a process whose start draws nothing."""
    assert isinstance(process.start_program, Program)
    return NumpyProgram(process.start_program)(np.asarray(quantities, np.float64))[len(process.variables) :]


def _read(process: HybridModel) -> ProcessData | str:
    program, parts = process.propensities, process.stepwise
    if not len(process.columns.rows):
        return "no reaction changes anything"
    if parts is None or program is None:
        return "something flows, or laws or triggers follow time other than in steps"
    if not isinstance(process.start_program, Program) or process.start_program.draws:
        return "random numbers are drawn for initial values"
    size, graph = len(process.variables), program.graph
    time, state, rest = program.inputs[0], program.inputs[1 : 1 + size], program.inputs[1 + size :]
    columns = process.columns
    network = ReactionNetwork(
        stoichiometry=Columns(size + 1, columns.starts, columns.rows, columns.values),
        x0=[0.0] * (size + 1),
        parameters={f"k{index}": 0.0 for index in range(len(rest))},
        species=(*process.variables, TIME),
        reactions=process.channels,
        rates=OfCounts(Program(graph, (graph.input("nothing"), *state, time, *rest), program.outputs), None),
    )
    laws = mass_action_of(network)
    if laws is None:
        return not_as_data(network)
    coder = Coder(graph, {node: index for index, node in enumerate((*state, time))})
    code = [coder.of([output]) for output in parts.triggers.outputs]
    for event, rows in zip(parts.watched.tolist(), code, strict=True):
        if rows is None:
            name = "" if process.events is None else process.events.names[event]
            return f"the trigger of event {name!r} is too long"
    written = [rows for rows in code if rows is not None]
    starts = np.cumsum([0, *map(len, written)], dtype=np.int64)
    triggers = LawCode(starts, np.array([row for rows in written for row in rows], np.uint32).reshape(-1, 4))
    of_coefficients = NumpyProgram(Program(graph, program.inputs, tuple(coder.numbers)))

    def numbers(coefficients: Sequence[float]) -> np.ndarray:
        return of_coefficients(np.concatenate([np.zeros(1 + size), np.asarray(coefficients, np.float64)]))

    return ProcessData(laws, triggers, parts.watched, _touched(laws, triggers), numbers)


def _touched(laws: MassAction, triggers: LawCode) -> Lists:
    """The triggers that each reaction may change, those that read what it changes."""
    following: list[list[int]] = [[] for _ in range(laws.size)]
    for trigger, species in zip(*triggers.reads, strict=True):
        following[species].append(int(trigger))
    lists: list[list[int]] = [[] for _ in range(laws.reactions)]
    for reaction, species in zip(laws.jumps.owners.tolist(), laws.jumps.items.tolist(), strict=True):
        lists[reaction] += [trigger for trigger in following[species] if trigger not in lists[reaction]]
    return Lists.of(lists)
