"""Derivatives of laws by what is inside their instructions, followed along a trajectory; compiled by Numba once.

One sweep back through the instructions of a law gives its derivatives by all of the numbers in it, however many
parameters move them (Griewank & Walther, Evaluating Derivatives, 2nd ed. 2008, section 3.2). They are computed again
where the law is, and their sums change by what they change, so that all costs what follows a firing, as the
propensities do. A comparison and a rounding have the derivative 0; where two numbers are equal, half of what takes the
larger or smaller of them goes to each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.network.compiled import compiled_loop, compiled_part
from sbmlgrad.simulation import sparse_code as machine
from sbmlgrad.simulation.sparse_code import law


class Slopes(NamedTuple):
    """Reactions have pairs with the directions that move them, and for each pair what is here as (pairs,)."""

    starts: np.ndarray  # of each reaction's pairs
    directions: np.ndarray
    active: np.ndarray  # (instructions,) whether any number that moves enters
    slots: np.ndarray  # where what is due is summed up
    tangents: np.ndarray  # (directions, numbers): derivatives of the numbers in instructions
    adjoints: np.ndarray  # (registers,)
    rates: np.ndarray  # derivatives of the propensity
    relative: np.ndarray  # those of its logarithm
    sums: np.ndarray  # (slots,) of the derivatives of propensities
    fired: np.ndarray  # (directions,) derivatives of logarithms of the propensities that fired, summed up
    due: np.ndarray  # (slots,) integrals of the sums


@compiled_part
def follow(slopes: Any, tables: Any, code: Any, x: Any, reaction: Any, propensity: Any) -> None:
    """Compute the derivatives of a propensity whose instructions have just been followed."""
    if slopes is None:
        return
    begin, end = np.int64(slopes.starts[reaction]), np.int64(slopes.starts[reaction + 1])
    if begin == end:
        return
    last = np.int64(code.starts[reaction + 1]) - np.int64(code.starts[reaction]) - 1
    factor = code.registers[last]
    others = propensity / factor if factor != 0.0 else law(tables, None, x, reaction)
    for pair in range(begin, end):
        slopes.relative[pair] = 0.0
    if others != 0.0:
        _sweep_back(slopes, code, reaction, begin, end)
    for pair in range(begin, end):
        rate = others * slopes.relative[pair]
        slopes.relative[pair] /= factor
        slopes.sums[slopes.slots[pair]] += rate - slopes.rates[pair]
        slopes.rates[pair] = rate


@compiled_part
def _sweep_back(slopes: Any, code: Any, reaction: Any, begin: Any, end: Any) -> None:
    """Add the derivatives of a factor to ``relative``."""
    first, adjoints = np.int64(code.starts[reaction]), slopes.adjoints
    last = np.int64(code.starts[reaction + 1]) - first - 1
    for i in range(last):
        adjoints[i] = 0.0
    adjoints[last] = 1.0
    for i in range(last, -1, -1):
        adjoint = adjoints[i]
        if adjoint == 0.0 or not slopes.active[first + i]:
            continue
        operation, a = code.rows[first + i, 0], code.rows[first + i, 1]
        if operation == machine.NUMBER:
            for pair in range(begin, end):
                slopes.relative[pair] += adjoint * slopes.tangents[slopes.directions[pair], a]
            continue
        b = code.rows[first + i, 2]
        if operation == machine.WHERE:
            chosen = b if code.registers[a] != 0.0 else code.rows[first + i, 3]
            adjoints[chosen] += adjoint
            continue
        by_first, by_second = _partial(operation, code.registers[a], code.registers[b], code.registers[i])
        if by_first != 0.0:  # also where the adjoint is infinite, as of sqrt(k * A) by k at A = 0
            adjoints[a] += adjoint * by_first
        if by_second != 0.0:
            adjoints[b] += adjoint * by_second


@compiled_loop
def _partial(operation: Any, first: Any, second: Any, value: Any) -> Any:
    """The derivatives of an operation by its two arguments."""
    if operation == machine.MUL:
        return second, first
    if operation == machine.ADD:
        return 1.0, 1.0
    if operation == machine.SUB:
        return 1.0, -1.0
    if operation == machine.DIV:
        return 1.0 / second, -value / second
    if operation == machine.POW:
        by_first = second * first ** (second - 1.0) if second != 0.0 else 0.0
        return by_first, value * np.log(first) if first != 0.0 else 0.0
    if operation == machine.MAX or operation == machine.MIN:
        share = 0.5 if first == second else (1.0 if value == first else 0.0)
        return share, 1.0 - share
    if operation == machine.REM:
        return 1.0, -np.trunc(first / second)
    return _slope(operation, first, value), 0.0


@compiled_loop
def _slope(operation: Any, x: Any, value: Any) -> Any:
    """The derivative of a function of one number."""
    slope = 0.0
    if operation == machine.NEG:
        slope = -1.0
    elif operation == machine.SQRT:
        slope = 0.5 / value
    elif operation == machine.EXP:
        slope = value
    elif operation == machine.LOG:
        slope = 1.0 / x
    elif operation == machine.LOG2:
        slope = 1.0 / (x * np.log(2.0))
    elif operation == machine.LOG10:
        slope = 1.0 / (x * np.log(10.0))
    elif operation == machine.ABS:
        slope = np.sign(x)
    elif operation > machine.FACTORIAL:
        slope = _slope_of_angles(operation, x, value)
    return slope


@compiled_loop
def _slope_of_angles(operation: Any, x: Any, value: Any) -> Any:
    if operation == machine.SIN:
        return np.cos(x)
    if operation == machine.COS:
        return -np.sin(x)
    if operation == machine.TAN:
        return 1.0 + value * value
    if operation == machine.ARCSIN:
        return 1.0 / np.sqrt(1.0 - x * x)
    if operation == machine.ARCCOS:
        return -1.0 / np.sqrt(1.0 - x * x)
    if operation == machine.ARCTAN:
        return 1.0 / (1.0 + x * x)
    if operation == machine.SINH:
        return np.cosh(x)
    if operation == machine.COSH:
        return np.sinh(x)
    if operation == machine.TANH:
        return 1.0 - value * value
    if operation == machine.ARCSINH:
        return 1.0 / np.sqrt(x * x + 1.0)
    if operation == machine.ARCCOSH:
        return 1.0 / np.sqrt(x * x - 1.0)
    return 1.0 / (1.0 - x * x)


@compiled_loop
def look(slopes: Any, tables: Any, code: Any, x: Any) -> None:
    """Compute the derivatives of all propensities in a state, whatever these are."""
    for reaction in range(slopes.starts.size - 1):
        if slopes.starts[reaction + 1] > slopes.starts[reaction]:
            follow(slopes, tables, code, x, reaction, law(tables, code, x, reaction))


@compiled_loop
def mark(active: Any, starts: Any, rows: Any, moved: Any) -> None:
    """Mark the instructions into which numbers enter that are ``moved`` (numbers,)."""
    for reaction in range(starts.size - 1):
        first = np.int64(starts[reaction])
        for i in range(first, np.int64(starts[reaction + 1])):
            operation = rows[i, 0]
            if operation == machine.NUMBER:
                active[i] = moved[rows[i, 1]]
            elif operation != machine.COUNT:  # arguments that an operation does not have are the first register
                active[i] = active[first + rows[i, 1]]
                if operation <= machine.LAST_ARITHMETIC:
                    active[i] |= active[first + rows[i, 2]] or active[first + rows[i, 3]]


@compiled_part
def restart(slopes: Any) -> None:
    """Forget the derivatives of all propensities, before they are computed anew."""
    if slopes is not None:
        for i in range(slopes.rates.size):
            slopes.rates[i] = 0.0
        for i in range(slopes.sums.size):
            slopes.sums[i] = 0.0


@compiled_part
def forget(slopes: Any) -> None:
    """Forget what has fired and was due, at the start of a trajectory."""
    if slopes is not None:
        for i in range(slopes.fired.size):
            slopes.fired[i] = 0.0
        for i in range(slopes.due.size):
            slopes.due[i] = 0.0


@compiled_part
def let_go_by(slopes: Any, wait: Any) -> None:
    """Let time go by."""
    if slopes is not None:
        for i in range(slopes.due.size):
            if not np.abs(slopes.sums[i]) < np.inf:  # as between two species that one reaction changes
                _sum_up(slopes)
            slopes.due[i] += wait * slopes.sums[i]


@compiled_loop
def _sum_up(slopes: Any) -> None:
    for i in range(slopes.sums.size):
        slopes.sums[i] = 0.0
    for pair in range(slopes.rates.size):
        slopes.sums[slopes.slots[pair]] += slopes.rates[pair]


@compiled_part
def sum_fired(slopes: Any, reaction: Any) -> None:
    """Have a reaction fire, before it changes anything."""
    if slopes is not None:
        for pair in range(np.int64(slopes.starts[reaction]), np.int64(slopes.starts[reaction + 1])):
            slopes.fired[slopes.directions[pair]] += slopes.relative[pair]


@compiled_part
def note(slopes: Any, records: Any, row: Any, position: Any, column: Any) -> None:
    """Write down what has fired and what was due, from a row on."""
    if slopes is not None:
        for i in range(slopes.fired.size):
            records[row + i, position, column] = slopes.fired[i]
        for i in range(slopes.due.size):
            records[row + slopes.fired.size + i, position, column] = slopes.due[i]
