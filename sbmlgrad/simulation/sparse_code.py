"""The machine that works out laws from instructions (:mod:`sbmlgrad.network.law_code`), compiled by Numba once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.network.compiled import compiled_loop, compiled_part
from sbmlgrad.network.law_code import OPERATIONS


class Code(NamedTuple):
    """Instructions, the numbers in them, and room for what they give."""

    starts: np.ndarray  # of each reaction's instructions
    rows: np.ndarray  # (instructions, 4)
    numbers: np.ndarray
    registers: np.ndarray


_CODE = OPERATIONS.index
COUNT, NUMBER, ADD, SUB, MUL, DIV = map(_CODE, ("count", "number", "add", "sub", "mul", "div"))
NEG, POW, SQRT, WHERE = map(_CODE, ("neg", "pow", "sqrt", "where"))
MAX, MIN, REM, QUOTIENT = map(_CODE, ("max", "min", "rem", "quotient"))
LT, LE, GT, GE, EQ, NE = map(_CODE, ("lt", "le", "gt", "ge", "eq", "ne"))
AND, OR, XOR, NOT = map(_CODE, ("and", "or", "xor", "not"))
EXP, LOG, LOG2, LOG10, ABS = map(_CODE, ("exp", "log", "log2", "log10", "abs"))
FLOOR, CEIL, FACTORIAL = map(_CODE, ("floor", "ceil", "factorial"))
SIN, COS, TAN, ARCSIN, ARCCOS, ARCTAN = map(_CODE, ("sin", "cos", "tan", "arcsin", "arccos", "arctan"))
SINH, COSH, TANH, ARCSINH, ARCCOSH = map(_CODE, ("sinh", "cosh", "tanh", "arcsinh", "arccosh"))
LAST_ARITHMETIC = NOT  # functions of one number come after it


@compiled_loop
def worked_out(code: Any, x: Any, reaction: Any) -> Any:
    """The factor of a reaction's law that its instructions give; 1 where it has none."""
    rows, registers, begin = code.rows, code.registers, np.int64(code.starts[reaction])
    count, value = np.int64(code.starts[reaction + 1]) - begin, 1.0
    for i in range(count):
        operation, a = rows[begin + i, 0], rows[begin + i, 1]
        if operation == COUNT:
            value = x[a]
        elif operation == NUMBER:
            value = code.numbers[a]
        else:
            first, second = registers[a], registers[rows[begin + i, 2]]
            if operation == MUL:
                value = first * second
            elif operation == ADD:
                value = first + second
            elif operation == SUB:
                value = first - second
            elif operation == DIV:
                value = first / second
            elif operation == POW:
                value = first**second
            elif operation == WHERE:
                value = second if first != 0.0 else registers[rows[begin + i, 3]]
            elif operation <= LAST_ARITHMETIC:
                value = _arithmetic(operation, first, second)
            else:
                value = _function(operation, first)
        registers[i] = value
    return value


@compiled_part
def law(tables: Any, code: Any, x: Any, reaction: Any) -> Any:
    """A propensity, in full; ``code`` is None where no law has instructions, or they are to be left out."""
    value = tables.constants[reaction]
    for i in range(np.int64(tables.factor_starts[reaction]), np.int64(tables.factor_starts[reaction + 1])):
        value *= x[tables.factor_species[i]] - tables.offsets[i]
    if code is not None:
        value *= worked_out(code, x, reaction)
    for i in range(np.int64(tables.need_starts[reaction]), np.int64(tables.need_starts[reaction + 1])):
        if x[tables.need_species[i]] < tables.least[i]:
            return 0.0
    return value


@compiled_loop
def _arithmetic(operation: Any, first: Any, second: Any) -> Any:
    """What is seldom asked for, comparisons among it; 1 is true and 0 is false."""
    value = np.nan
    if operation == NEG:
        value = -first
    elif operation == SQRT:
        value = np.sqrt(first)
    elif operation == MAX:
        value = np.maximum(first, second)
    elif operation == MIN:
        value = np.minimum(first, second)
    elif operation == REM:
        value = np.fmod(first, second)
    elif operation == QUOTIENT:
        value = np.trunc(first / second)
    else:
        value = 1.0 if _true(operation, first, second) else 0.0
    return value


@compiled_loop
def _true(operation: Any, first: Any, second: Any) -> Any:
    if operation == LT:
        return first < second
    if operation == LE:
        return first <= second
    if operation == GT:
        return first > second
    if operation == GE:
        return first >= second
    if operation == EQ:
        return first == second
    if operation == NE:
        return first != second
    if operation == AND:
        return first != 0.0 and second != 0.0
    if operation == OR:
        return first != 0.0 or second != 0.0
    if operation == XOR:
        return (first != 0.0) != (second != 0.0)
    return first == 0.0


@compiled_loop
def _function(operation: Any, x: Any) -> Any:
    """A function of one number."""
    if operation == EXP:
        return np.exp(x)
    if operation == LOG:
        return np.log(x)
    if operation == LOG2:
        return np.log2(x)
    if operation == LOG10:
        return np.log10(x)
    if operation == ABS:
        return np.abs(x)
    if operation == FLOOR:
        return np.floor(x)
    if operation == CEIL:
        return np.ceil(x)
    if operation == FACTORIAL:
        return math.gamma(x + 1.0)
    return _of_angles(operation, x)


@compiled_loop
def _of_angles(operation: Any, x: Any) -> Any:
    """Those of angles, and the hyperbolic ones."""
    if operation == SIN:
        return np.sin(x)
    if operation == COS:
        return np.cos(x)
    if operation == TAN:
        return np.tan(x)
    if operation == ARCSIN:
        return np.arcsin(x)
    if operation == ARCCOS:
        return np.arccos(x)
    if operation == ARCTAN:
        return np.arctan(x)
    if operation == SINH:
        return np.sinh(x)
    if operation == COSH:
        return np.cosh(x)
    if operation == TANH:
        return np.tanh(x)
    if operation == ARCSINH:
        return np.arcsinh(x)
    if operation == ARCCOSH:
        return np.arccosh(x)
    return np.arctanh(x)
