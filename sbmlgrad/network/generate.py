"""From sympy expressions to JAX functions, by way of readable source in names of our own.

Names in the source are counters (``x0``, ``k3``, ``t7``), never ids from a file, so whatever an id is called,
nothing but arithmetic reaches the compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import sympy
from sympy.codegen.cfunctions import log2, log10

from sbmlgrad.model.functions import quotient, rem

_FUNCTIONS: Mapping[Any, str] = {
    sympy.exp: "jnp.exp",
    sympy.log: "jnp.log",
    log2: "jnp.log2",
    log10: "jnp.log10",
    sympy.Abs: "jnp.abs",
    sympy.floor: "jnp.floor",
    sympy.ceiling: "jnp.ceil",
    sympy.sin: "jnp.sin",
    sympy.cos: "jnp.cos",
    sympy.tan: "jnp.tan",
    sympy.asin: "jnp.arcsin",
    sympy.acos: "jnp.arccos",
    sympy.atan: "jnp.arctan",
    sympy.sinh: "jnp.sinh",
    sympy.cosh: "jnp.cosh",
    sympy.tanh: "jnp.tanh",
    sympy.asinh: "jnp.arcsinh",
    sympy.acosh: "jnp.arccosh",
    sympy.atanh: "jnp.arctanh",
    sympy.Not: "jnp.logical_not",
    rem: "jnp.fmod",
}
_RECIPROCALS: Mapping[Any, str] = {  # 1 / f(x)
    sympy.sec: "jnp.cos",
    sympy.csc: "jnp.sin",
    sympy.cot: "jnp.tan",
    sympy.sech: "jnp.cosh",
    sympy.csch: "jnp.sinh",
    sympy.coth: "jnp.tanh",
}
_OF_RECIPROCAL: Mapping[Any, str] = {  # f(1 / x)
    sympy.asec: "jnp.arccos",
    sympy.acsc: "jnp.arcsin",
    sympy.acot: "jnp.arctan",
    sympy.asech: "jnp.arccosh",
    sympy.acsch: "jnp.arcsinh",
    sympy.acoth: "jnp.arctanh",
}
_FOLDS: Mapping[Any, str] = {
    sympy.Max: "jnp.maximum",
    sympy.Min: "jnp.minimum",
    sympy.And: "jnp.logical_and",
    sympy.Or: "jnp.logical_or",
    sympy.Xor: "jnp.logical_xor",
}
_RELATIONS: Mapping[Any, str] = {
    sympy.Eq: "==",
    sympy.Ne: "!=",
    sympy.Lt: "<",
    sympy.Le: "<=",
    sympy.Gt: ">",
    sympy.Ge: ">=",
}
_LARGEST_PRODUCT = 8  # a power up to this is written as multiplications


class Program:
    """A function under construction: statements in order, each in a name of ours.

    Equal subexpressions become one statement (common subexpressions shared), since every compound node is
    looked up by structure before it is written.
    """

    def __init__(self, name: str, arguments: Mapping[str, Sequence[sympy.Symbol]]):
        """``arguments`` maps the letter of each argument tuple to the symbols that it holds, in order."""
        self._name = name
        self._arguments = arguments
        self._lines: list[str] = []
        self._known: dict[Any, str] = {}
        self._statements: dict[str, str] = {}
        for letter, symbols in arguments.items():
            self._known.update({symbol: f"{letter}{i}" for i, symbol in enumerate(symbols)})

    def define(self, symbol: sympy.Symbol, expression: sympy.Expr) -> None:
        """Let ``symbol`` stand for the value of ``expression`` from here on."""
        value = self.value(expression)
        if not value.isidentifier():  # numbers as arrays: 1 / 0 is then infinite rather than an exception
            value = self._statement(f"jnp.float64({value})")
        self._known[symbol] = value

    def value(self, expression: Any) -> str:
        """The name or literal that holds the expression's value, written out on first use."""
        known = self._known.get(expression)
        if known is None:
            known = self._known[expression] = self._write(expression)
        return known

    def source(self, outputs: Sequence[str]) -> str:
        """The function's source; it returns the tuple of ``outputs``."""
        lines = [f"def {self._name}({', '.join(self._arguments)}):"]
        for letter, symbols in self._arguments.items():
            if symbols:
                lines.append(f"    ({', '.join(f'{letter}{i}' for i in range(len(symbols)))},) = {letter}")
        lines += [f"    {line}" for line in self._lines]
        lines.append(f"    return ({', '.join(outputs)}{',' if len(outputs) == 1 else ''})")
        return "\n".join(lines) + "\n"

    def _statement(self, text: str) -> str:
        name = self._statements.get(text)
        if name is None:
            name = self._statements[text] = f"t{len(self._statements)}"
            self._lines.append(f"{name} = {text}")
        return name

    def _write(self, node: Any) -> str:
        if node is sympy.true or node is sympy.false:
            return str(node is sympy.true)
        if isinstance(node, (sympy.Number, sympy.NumberSymbol)):
            return _literal(node)
        if isinstance(node, sympy.Symbol):
            raise KeyError(f"no value for {node.name!r}")
        return self._statement(self._operation(node))

    def _operation(self, node: Any) -> str:
        kind = node.func
        if kind is sympy.Pow:
            return self._power(*node.args)
        if kind is sympy.Mul:
            return self._product(node.args)
        if kind is sympy.Piecewise:
            return self._piecewise(node.args)
        if kind is sympy.factorial:
            return f"gamma({self.value(node.args[0])} + 1.0)"
        values = [self.value(arg) for arg in node.args]
        if kind is sympy.Add:
            return " + ".join(values)
        if kind is quotient:
            return f"jnp.trunc({values[0]} / {values[1]})"
        if kind in _RELATIONS:
            return f"{values[0]} {_RELATIONS[kind]} {values[1]}"
        if kind in _FOLDS:
            text = values[0]
            for value in values[1:]:
                text = f"{_FOLDS[kind]}({text}, {value})"
            return text
        if kind in _RECIPROCALS:
            return f"1.0 / {_RECIPROCALS[kind]}({values[0]})"
        if kind in _OF_RECIPROCAL:
            return f"{_OF_RECIPROCAL[kind]}(1.0 / {values[0]})"
        return f"{_FUNCTIONS[kind]}({', '.join(values)})"

    def _product(self, factors: Sequence[Any]) -> str:
        below = [f for f in factors if f.func is sympy.Pow and _is_negative_integer(f.args[1])]
        above = [f for f in factors if f not in below]
        text = " * ".join(self.value(f) for f in above) or "1.0"
        for factor in below:
            base, exponent = factor.args
            text = f"{text} / {self.value(base) if exponent == -1 else self.value(_power(base, -exponent))}"
        return text

    def _power(self, base: Any, exponent: Any) -> str:
        if exponent == sympy.S.Half:
            return f"jnp.sqrt({self.value(base)})"
        if _is_negative_integer(exponent):
            return f"1.0 / {self.value(base) if exponent == -1 else self.value(_power(base, -exponent))}"
        if isinstance(exponent, sympy.Integer) and 0 < exponent <= _LARGEST_PRODUCT:
            return " * ".join([self.value(base)] * int(exponent))
        return f"power({self.value(base)}, {self.value(exponent)})"

    def _piecewise(self, branches: Sequence[Any]) -> str:
        text = self.value(branches[-1].args[0])
        for branch in reversed(branches[:-1]):
            value, condition = branch.args
            text = f"jnp.where({self.value(condition)}, {self.value(value)}, {text})"
        return text


def compile_source(source: str, name: str) -> Callable[..., tuple[jax.Array, ...]]:
    """The function ``name`` of generated source. The only place where text becomes code; it is all ours."""
    scope: dict[str, Any] = {"jnp": jnp, "gamma": jax.scipy.special.gamma, "power": power}
    exec(compile(source, f"<generated {name}>", "exec"), scope)  # noqa: S102
    function: Callable[..., tuple[jax.Array, ...]] = scope[name]
    return function


def power(base: Any, exponent: Any) -> jax.Array:
    """``base ** exponent`` by way of exp and log, which XLA turns into vector code where its own power is a call.

    As in IEEE 754, anything to the power of 0 is 1, and a negative base to a fraction is nan.
    """
    base, exponent = jnp.asarray(base, jnp.float64), jnp.asarray(exponent, jnp.float64)
    zero = base == 0
    size = jnp.exp(exponent * jnp.log(jnp.where(zero, 1.0, jnp.abs(base))))
    odd = jnp.abs(jnp.fmod(exponent, 2.0)) == 1.0
    whole = exponent == jnp.floor(exponent)
    signed = jnp.where(base > 0, size, jnp.where(whole, jnp.where(odd, -size, size), jnp.nan))
    at_zero = jnp.where(exponent == 1, base, jnp.where(exponent > 0, 0.0, jnp.inf))
    return jnp.where(exponent == 0, 1.0, jnp.where(zero, at_zero, signed))


def _literal(number: Any) -> str:
    if number is sympy.nan:
        return "jnp.nan"
    if number in (sympy.oo, -sympy.oo):
        return "jnp.inf" if number is sympy.oo else "-jnp.inf"
    value = float(number)
    return repr(value) if value >= 0 else f"({value!r})"


def _is_negative_integer(exponent: Any) -> bool:
    return isinstance(exponent, sympy.Integer) and exponent < 0


def _power(base: Any, exponent: Any) -> Any:
    return base if exponent == 1 else sympy.Pow(base, exponent, evaluate=False)
