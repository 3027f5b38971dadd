"""The functions of one number that formulas are made of: the table that whoever evaluates or compiles them goes by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy.codegen.cfunctions import log2, log10

EVERYWHERE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Elementary:
    """A function by its name in graphs, which is that of NumPy's and JAX's function; sympy's; and in float64.

    ``trend`` is 1 where it grows on its whole ``domain``, -1 where it falls, and 0 where it does neither.
    """

    name: str
    symbol: Any
    evaluate: Callable[[Any], Any]
    trend: int = 0
    domain: tuple[float, float] = EVERYWHERE


@dataclass(frozen=True)
class Inverted:
    """1 / f(x), or f(1 / x) where it is ``inside``, of a function f by its name."""

    symbol: Any
    of: str
    inside: bool


def _factorial(x: Any) -> Any:
    try:
        return np.float64(math.gamma(x + 1.0))
    except OverflowError:
        return np.float64(math.inf)
    except ValueError:  # a pole, or minus infinity
        return np.float64(math.nan)


ELEMENTARY = (
    Elementary("exp", sympy.exp, np.exp, 1),
    Elementary("log", sympy.log, np.log, 1, (0.0, math.inf)),
    Elementary("log2", log2, np.log2, 1, (0.0, math.inf)),
    Elementary("log10", log10, np.log10, 1, (0.0, math.inf)),
    Elementary("abs", sympy.Abs, np.abs),
    Elementary("floor", sympy.floor, np.floor, 1),
    Elementary("ceil", sympy.ceiling, np.ceil, 1),
    Elementary("factorial", sympy.factorial, _factorial),
    Elementary("sin", sympy.sin, np.sin),
    Elementary("cos", sympy.cos, np.cos),
    Elementary("tan", sympy.tan, np.tan),
    Elementary("arcsin", sympy.asin, np.arcsin, 1, (-1.0, 1.0)),
    Elementary("arccos", sympy.acos, np.arccos, -1, (-1.0, 1.0)),
    Elementary("arctan", sympy.atan, np.arctan, 1),
    Elementary("sinh", sympy.sinh, np.sinh, 1),
    Elementary("cosh", sympy.cosh, np.cosh),
    Elementary("tanh", sympy.tanh, np.tanh, 1),
    Elementary("arcsinh", sympy.asinh, np.arcsinh, 1),
    Elementary("arccosh", sympy.acosh, np.arccosh, 1, (1.0, math.inf)),
    Elementary("arctanh", sympy.atanh, np.arctanh, 1, (-1.0, 1.0)),
)

INVERTED = (
    Inverted(sympy.sec, "cos", inside=False),
    Inverted(sympy.csc, "sin", inside=False),
    Inverted(sympy.cot, "tan", inside=False),
    Inverted(sympy.sech, "cosh", inside=False),
    Inverted(sympy.csch, "sinh", inside=False),
    Inverted(sympy.coth, "tanh", inside=False),
    Inverted(sympy.asec, "arccos", inside=True),
    Inverted(sympy.acsc, "arcsin", inside=True),
    Inverted(sympy.acot, "arctan", inside=True),
    Inverted(sympy.asech, "arccosh", inside=True),
    Inverted(sympy.acsch, "arcsinh", inside=True),
    Inverted(sympy.acoth, "arctanh", inside=True),
)
