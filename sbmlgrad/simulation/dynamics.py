"""The mean dynamics of a process as numpy functions, for looks ahead that must not wait for a compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.columns import Columns
from sbmlgrad.network.discretise import OfCounts
from sbmlgrad.network.hybrid_model import EventSystem, HybridModel
from sbmlgrad.network.jacobian import coloured, held_variables, members
from sbmlgrad.network.numpy_program import NumpyProgram
from sbmlgrad.network.program import Program
from sbmlgrad.simulation.deterministic import landmarks
from sbmlgrad.simulation.distributions import expected

ROUNDING = 1e-9
"""Of a propensity, by how much it may be below 0 and come of rounding."""

_PER_CALL = 3e-6  # seconds that a call of numpy takes, and a number in it
_PER_NUMBER = 4e-9
_LARGEST_DENSE = 100_000  # numbers in the matrix of jumps

Rates = Callable[[np.ndarray], np.ndarray]
"""Of vectors (time, state and coefficients; columns), one value a row and column."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which outputs depend on which variables: in ``directions`` (variables, directions) each variable moves once, and
    no output depends on two of those that move together.

    Output ``outputs[k]`` depends on variable ``variables[k]``, which moves in direction ``where[k]``.
    """

    directions: np.ndarray
    outputs: np.ndarray
    variables: np.ndarray
    where: np.ndarray

    @classmethod
    def of(cls, programs: Sequence[Program], size: int) -> Pattern:
        """That of the outputs of some programs, one after the other."""
        everything = (1 << size) - 1
        held = []
        for program in programs:
            variables = held_variables(program, size)
            held += [variables[output] & everything for output in program.outputs]
        colours = coloured(held, size)
        directions = np.zeros((size, max(colours, default=-1) + 1))
        directions[np.arange(size), colours] = 1.0
        pairs = [(output, variable) for output, bits in enumerate(held) for variable in members(bits)]
        outputs, variables_of = np.array(pairs, np.int64).reshape(-1, 2).T
        return cls(directions, outputs, variables_of, np.array(colours, np.int64)[variables_of])

    @classmethod
    def dense(cls, count: int, size: int) -> Pattern:
        """Everything may depend on everything."""
        outputs, variables = (part.ravel() for part in np.indices((count, size)))
        return cls(np.eye(size), outputs, variables, variables)


@dataclass(frozen=True, eq=False)
class Dynamics:
    """A state that changes by reactions at their mean rate, and flows.

    ``state`` (variables,) is that at the start, ``jumps`` (variables, channels) what reactions change. ``rates`` gives
    the propensities, after them the flow (channels + variables, columns), of times (columns,) and states (variables,
    columns), and ``look_for_pattern`` what each of them depends on. ``seconds`` is about what a call with so many
    columns takes, ``nodes`` how many operations are in it. ``timed`` says whether anything follows time, ``is_deep``
    whether operations wait for each other so that they are compiled one by one, ``updates`` how many propensities
    change when a reaction fires, where only those are computed. ``stops`` is how often between two times the steps of a
    solver have to end because of what follows time alone; it raises
    :class:`~sbmlgrad.errors.SimulationError` for what nobody could follow.
    """

    state: np.ndarray
    jumps: Columns
    whole: np.ndarray
    rates: Callable[[np.ndarray, np.ndarray], np.ndarray]
    look_for_pattern: Callable[[], Pattern]
    seconds: Callable[[int], float]
    nodes: int
    timed: bool = False
    events: EventSystem | None = None
    is_deep: bool = False
    updates: float | None = None
    stops: Callable[[float, float], int] = field(default=lambda start, end: 0, repr=False)
    joined: Callable[[np.ndarray, np.ndarray], np.ndarray] = field(default=lambda times, states: states, repr=False)
    """The vectors of which programs are functions (inputs, columns)."""

    @property
    def channels(self) -> int:
        """How many reactions there are."""
        return self.jumps.shape[1]

    def propensities(self, time: float) -> np.ndarray:
        """Propensities (channels,) of ``state`` at a time."""
        return self.rates(np.array([time]), self.state[:, None])[: self.channels, 0]

    @property
    def turned(self) -> bool:
        """Whether a law that is a difference is negative at the start, where a model that says so splits it."""
        return bool(np.any(self.propensities(0.0) < -ROUNDING))

    @cached_property
    def changing(self) -> np.ndarray:
        """Which variables are numbers of molecules that reactions change (variables,)."""
        moved = np.zeros(len(self.state), bool)
        moved[self.jumps.rows[self.jumps.values != 0]] = True
        return np.asarray(self.whole & moved)

    @cached_property
    def pattern(self) -> Pattern:
        """Which propensities and slopes depend on which variables; it takes long where there are thousands."""
        return self.look_for_pattern()

    @property
    def only_counts(self) -> bool:
        """Whether nothing moves but numbers of molecules, by reactions."""
        return bool(np.all(self.whole)) and self.events is None

    def propensities_and_slopes(self, times: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The propensities (channels, columns), and the time derivative of the state (variables, columns).

        A mean may be where no trajectory gets: below 0 there are no molecules, and no law is negative.
        """
        values = self.rates(times, np.where(self.whole[:, None], np.maximum(states, 0.0), states))
        values[: self.channels] = np.maximum(values[: self.channels], 0.0)
        with np.errstate(all="ignore"):
            return values[: self.channels], np.asarray(self._change @ values)

    def jacobian(self, time: float, state: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """About the derivative of the slopes by the state (variables, variables), from differences of ``steps``."""
        columns = state[:, None] + np.column_stack([np.zeros(len(state)), self.pattern.directions * steps[:, None]])
        values = self.rates(np.full(columns.shape[1], time), columns)
        pattern, size = self.pattern, len(state)
        with np.errstate(all="ignore"):
            moved = values[pattern.outputs, 1 + pattern.where] - values[pattern.outputs, 0]
            entries = np.nan_to_num(moved / steps[pattern.variables])
        rows = self.channels + size
        if self._is_sparse:
            from scipy import sparse  # takes time that small models need not

            slopes = sparse.csr_matrix((entries, (pattern.outputs, pattern.variables)), (rows, size))
            return np.asarray((self._change @ slopes).todense())
        slopes = np.zeros((rows, size))
        slopes[pattern.outputs, pattern.variables] = entries
        return np.asarray(self._change @ slopes)

    @property
    def _is_sparse(self) -> bool:
        return bool(np.prod(self.jumps.shape) > _LARGEST_DENSE)

    @cached_property
    def matrix(self) -> Any:
        """The jumps as a matrix (variables, channels) to multiply with; a sparse one of scipy's where it is large."""
        return self._matrix(self.jumps.values)

    @cached_property
    def squares(self) -> Any:
        """Those of the jumps, as such a matrix."""
        return self._matrix(self.jumps.values**2)

    @property
    def entries(self) -> int:
        """How many numbers there are in such a matrix."""
        return len(self.jumps.values) if self._is_sparse else int(np.prod(self.jumps.shape))

    def _matrix(self, values: np.ndarray) -> Any:
        if not self._is_sparse:
            return self.jumps._replace(values=values).matrix(np.float64)
        from scipy import sparse

        columns = values.astype(np.float64), self.jumps.rows, self.jumps.starts
        return sparse.csr_matrix(sparse.csc_matrix(columns, self.jumps.shape))

    @cached_property
    def _change(self) -> Any:
        """What is done to the variables by all reactions and by the flow (variables, channels + variables)."""
        if not self._is_sparse:
            return np.column_stack([self.matrix, np.eye(len(self.state))])
        from scipy import sparse

        return sparse.csr_matrix(sparse.hstack([self.matrix, sparse.identity(len(self.state))]))


def of_process(process: HybridModel, quantities: np.ndarray) -> Dynamics:
    """The mean dynamics of a jump process; values of the past are taken to be those of the present."""
    kept = process.compiled.setdefault("numpy", {})
    size, propensities, flow = len(process.variables), process.propensities, process.flow_program
    assert isinstance(flow, Program)
    assert isinstance(process.start_program, Program)
    started = NumpyProgram(process.start_program)(np.asarray(quantities, np.float64), expected)
    state, coefficients = started[:size], started[size:]
    programs = [flow] if propensities is None else [propensities, flow]
    delays = process.delays
    now = None if delays is None else NumpyProgram(delays.now)

    def joined(times: np.ndarray, states: np.ndarray) -> np.ndarray:
        fixed = np.broadcast_to(coefficients[:, None], (len(coefficients), states.shape[1]))
        inputs = np.concatenate([times[None], states, fixed])
        if delays is not None and now is not None:
            inputs[1 + size + delays.indices] = now(inputs)
        return inputs

    dynamics = _of_programs(programs, kept, joined, state, process.columns, process.whole, process.events)

    def stops(start: float, end: float) -> int:
        return int(np.count_nonzero(np.isfinite(landmarks(process, quantities, start, np.array([end]))[0])))

    return replace(dynamics, stops=stops)


def of_network(
    network: ReactionNetwork,
    counts: Sequence[float] | np.ndarray,
    coefficients: Sequence[Any],
    compiled: Rates | None = None,
) -> Dynamics:
    """The mean dynamics of a network; ``compiled`` gives propensities (channels, 1) of one state (variables, 1)."""
    jumps, size = network.columns, len(network.species)
    whole, state = np.ones(size, bool), np.asarray(counts, np.float64)
    if isinstance(network.rates, OfCounts) and network.rates.program is not None and network.rates.timed is None:
        kept = network.compiled.setdefault("numpy", {})
        fixed = np.array([float(value) for value in coefficients]).reshape(-1, 1)

        def joined(times: np.ndarray, states: np.ndarray) -> np.ndarray:
            return np.concatenate([times[None], states, np.broadcast_to(fixed, (len(fixed), states.shape[1]))])

        return _of_programs([network.rates.program], kept, joined, state, jumps, whole, None)
    assert compiled is not None

    def rates(times: np.ndarray, states: np.ndarray) -> np.ndarray:
        values = np.concatenate([compiled(states[:, [column]]) for column in range(states.shape[1])], axis=1)
        return np.concatenate([values, np.zeros(states.shape)])

    count = jumps.shape[1]

    def seconds(columns: int) -> float:
        return columns * (5e-5 + count * _PER_NUMBER)

    return Dynamics(state, jumps, whole, rates, partial(Pattern.dense, count + size, size), seconds, nodes=4 * count)


def _of_programs(
    programs: Sequence[Program],
    kept: dict[str, Any],
    joined: Callable[[np.ndarray, np.ndarray], np.ndarray],
    state: np.ndarray,
    jumps: Columns,
    whole: np.ndarray,
    events: EventSystem | None,
) -> Dynamics:
    """``programs`` give propensities, where there are any, and the flow, where there is any."""
    size = len(state)
    if not kept:
        kept["run"] = [NumpyProgram(program) for program in programs]
        kept["timed"] = _timed(programs, events)
    run, missing = kept["run"], jumps.shape[1] + size - sum(len(program.outputs) for program in programs)

    def rates(times: np.ndarray, states: np.ndarray) -> np.ndarray:
        inputs = joined(times, states)
        return np.concatenate([*(program(inputs) for program in run), np.zeros((missing, states.shape[1]))])

    def pattern() -> Pattern:
        found: Pattern | None = kept.get("pattern")
        if found is None:
            found = kept["pattern"] = Pattern.of(programs, size)
        return found

    return Dynamics(
        state=state,
        jumps=jumps,
        whole=whole,
        rates=rates,
        look_for_pattern=pattern,
        seconds=partial(_seconds, sum(p.batches for p in run), sum(p.nodes for p in run)),
        nodes=sum(p.nodes for p in run),
        timed=kept["timed"],
        is_deep=any(program.is_deep for program in programs),
        events=events,
        joined=joined,
    )


def _seconds(batches: int, nodes: int, columns: int) -> float:
    return (10 + 2 * batches) * _PER_CALL + nodes * columns * _PER_NUMBER


def _timed(programs: Sequence[Program], events: EventSystem | None) -> bool:
    """Whether anything follows time, or waits for a trigger."""
    if events is not None:
        return True
    return any(not program.graph.dynamic([program.inputs[0]]).isdisjoint(program.outputs) for program in programs)
