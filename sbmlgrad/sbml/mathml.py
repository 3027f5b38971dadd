"""Mathematics of an SBML document as sympy expressions, node by node, never through text.

Nothing is simplified: an expression says what the file says, with function definitions and the rates of
reactions put in place. What is purely numeric is folded in float64. These nodes occur, and no others:

numbers
    ``Integer`` (below 2**53), ``Float`` (53 bits), ``S.Half`` (only as exponent: a square root),
    ``S.Infinity``, ``S.NegativeInfinity``, ``S.NaN``. Pi, e and Avogadro's number are Floats.
symbols
    ``Symbol``: an SBML id, ``reaction.parameter``, ``<time>``, or ``<rate of x>`` for an SBML id x.
arithmetic
    ``Add``, ``Mul``, ``Pow``. A division a/b is ``Mul(a, Pow(b, -1))``; x**0 is 1 for every x.
functions
    ``exp``, ``log`` (natural), ``log10`` and ``log2`` of ``sympy.codegen.cfunctions``, ``Abs``, ``floor``,
    ``ceiling``, ``factorial`` (gamma(x+1)), ``Max`` and ``Min`` (two args or more), and ``quotient``
    (truncated), ``rem`` (C's fmod), ``delayed`` (a value of the past) and ``draw`` (a random number) of
    ``sbmlgrad.model.functions``.
trigonometry
    ``sin cos tan sec csc cot sinh cosh tanh sech csch coth`` and their inverses ``asin acos atan asec acsc
    acot asinh acosh atanh asech acsch acoth``; sec(x) is 1/cos(x), acot(x) is atan(1/x), and so on.
``Piecewise``
    Its args are ``ExprCondPair(value, condition)``; the last condition is ``true``.
conditions
    ``Eq Ne Lt Le Gt Ge`` of two numbers, ``And``, ``Or``, ``Xor`` (an odd number of args is true) of two args
    or more, ``Not``, ``true``, ``false``.

Values are numbers and conditions are truth values throughout: where a file mixes them, a truth value becomes
``Piecewise((1, c), (0, True))`` and a number x becomes ``Ne(x, 0)``. Conditions may hold ``Piecewise``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import libsbml
import sympy
from sympy.codegen.cfunctions import log2, log10
from sympy.logic.boolalg import BooleanAtom

from sbmlgrad.errors import SbmlError
from sbmlgrad.model.elements import AVOGADRO, TIME, rate_id, symbol
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import (
    DISTRIBUTIONS,
    as_number,
    as_truth,
    build,
    delayed,
    draw,
    number,
    piecewise,
    quotient,
    rem,
    size_and_depth,
)

_LARGEST_FORMULA = 200_000  # nodes, with function definitions put in place
_MANY = 100  # arguments of one function
_DEEPEST_FORMULA = 150  # levels; sympy recurses over them, several calls to each


@dataclass
class Scope:
    """What ids mean in the formulas of one document.

    ``functions`` maps ids to their lambda nodes; ``rate`` gives the kinetic law of a reaction
    id, or None where the id is no reaction.
    """

    source: str
    ids: frozenset[str]
    functions: Mapping[str, Any]
    rate: Callable[[str], sympy.Expr | None]
    rates_of: set[str] = field(default_factory=set)
    """Ids of the variables whose rate of change formulas refer to."""
    draws: int = 0
    """Random numbers met so far."""

    def expression(self, node: Any, where: str, local: Mapping[str, sympy.Expr] | None = None) -> sympy.Expr:
        """The number-valued expression of a libsbml ASTNode; ``local`` are what ids mean here.

        Raises :class:`SbmlError` naming ``where`` for unknown ids and functions, wrong numbers of arguments,
        recursive functions, and formulas that are too large or too deep.
        """
        return as_number(self._converted(node, where, local))

    def condition(self, node: Any, where: str) -> sympy.Basic:
        """The truth value that a libsbml ASTNode stands for, as :meth:`expression` does for numbers."""
        return as_truth(self._converted(node, where, None))

    def _converted(self, node: Any, where: str, local: Mapping[str, sympy.Expr] | None) -> Any:
        formula = _Formula(self, where, {name: (target, 1) for name, target in (local or {}).items()})
        if node is None:
            raise formula.error("is missing; give it one")
        try:
            expression = formula.convert(node)
            depth = size_and_depth(expression, _LARGEST_FORMULA)[1]
        except RecursionError:
            depth = _DEEPEST_FORMULA + 1
        if depth > _DEEPEST_FORMULA:
            raise formula.error("is nested too deeply; split it with assignment rules")
        return expression


@dataclass
class _Formula:
    """One formula being converted: ``bound`` maps names in force to (expression, nodes in it)."""

    scope: Scope
    where: str
    bound: Mapping[str, tuple[Any, int]]
    nodes: int = 0
    open_functions: list[str] = field(default_factory=list)

    def error(self, problem: str) -> SbmlError:
        return SbmlError(f"{self.scope.source}: the formula of {self.where} {problem}")

    def convert(self, node: Any) -> Any:
        kind = node.getType()
        self.grow(1)
        if kind in _LEAVES:
            return _LEAVES[kind](node)
        if kind == libsbml.AST_NAME:
            return self.name(node.getName())
        if kind == libsbml.AST_FUNCTION:
            return self.call(node.getName(), [self.measured(child) for child in _children(node)])
        if kind in _SUMS:
            return self.folded(sympy.Add, [self.term(child, sign) for child, sign in _terms(node)])
        if kind in _NARY:
            return self.folded(_NARY[kind][0], [_NARY[kind][1](self.convert(c)) for c in _operands(node, kind)])
        args = [self.convert(child) for child in _children(node)]
        if kind == libsbml.AST_FUNCTION_RATE_OF and len(args) == 1:
            return self.rate_of(args[0])
        if kind in _DISTRIBUTIONS:
            return self.draw(_DISTRIBUTIONS[kind], [as_number(arg) for arg in args])
        return self.operator(node, kind, args)

    def rate_of(self, target: Any) -> Any:
        if not isinstance(target, sympy.Symbol):
            raise self.error("takes rateOf of something that is no variable; name a variable")
        if target == TIME:
            return sympy.Integer(1)
        if "." in target.name:  # a local parameter, which is constant
            return sympy.Integer(0)
        self.scope.rates_of.add(target.name)
        return symbol(rate_id(target.name))

    def draw(self, kind: int, parameters: list[Any]) -> Any:
        distribution = DISTRIBUTIONS[kind]
        if distribution.default is not None and len(parameters) == distribution.parameters - 1:
            parameters = [number(distribution.default), *parameters]
        if len(parameters) not in (distribution.parameters, distribution.parameters + 2):
            raise self.error(
                f"gives {len(parameters)} arguments to {distribution.name}, which takes {distribution.parameters},"
                " or two more for bounds"
            )
        self.scope.draws += 1
        return build(draw, sympy.Integer(kind), sympy.Integer(self.scope.draws), *parameters)

    def grow(self, nodes: int) -> None:
        # function definitions can double a formula at each call: count what it would be when written out
        self.nodes += nodes
        if self.nodes > _LARGEST_FORMULA:
            raise self.error(f"has more than {_LARGEST_FORMULA} terms when its functions are put in place")

    def name(self, identifier: str) -> Any:
        if identifier in self.bound:
            expression, nodes = self.bound[identifier]
            self.grow(nodes)
            return expression
        if identifier in self.scope.ids:
            return symbol(identifier)
        rate = self.scope.rate(identifier)
        if rate is None:
            raise self.error(f"uses '{identifier}', which the model does not declare; declare it or mend the formula")
        self.grow(size_and_depth(rate, _LARGEST_FORMULA)[0])
        return rate

    def measured(self, node: Any) -> tuple[Any, int]:
        before = self.nodes
        expression = self.convert(node)
        return expression, self.nodes - before

    def call(self, identifier: str, args: list[tuple[Any, int]]) -> Any:
        """A function definition's body with its arguments bound; names outside are never in sight of it."""
        body = self.scope.functions.get(identifier)
        if body is None:
            raise self.error(f"calls '{identifier}', which is no function definition; define it or mend the formula")
        if identifier in self.open_functions:
            circle = " -> ".join([*self.open_functions, identifier])
            raise self.error(f"calls a function that calls itself ({circle}); SBML allows no recursion")
        *bound, formula = _children(body) or [None]
        if formula is None or formula.isBvar():
            raise self.error(f"calls the function '{identifier}', whose definition has no formula; give it one")
        parameters = [child.getName() for child in bound]
        if len(parameters) != len(args):
            raise self.error(f"calls '{identifier}' with {len(args)} arguments; its definition has {len(parameters)}")
        outside, self.bound = self.bound, dict(zip(parameters, args, strict=True))
        self.open_functions.append(identifier)
        result = self.convert(formula)
        self.open_functions.pop()
        self.bound = outside
        return result

    def term(self, node: Any, sign: int) -> Any:
        value = as_number(self.convert(node))
        return value if sign > 0 else self.folded(sympy.Mul, [sympy.Integer(-1), value])

    def operator(self, node: Any, kind: int, args: list[Any]) -> Any:
        count = len(args)
        if kind == libsbml.AST_FUNCTION_PIECEWISE:
            return self.piecewise(args)
        if kind in _RELATIONS and count >= 2:
            numbers = [as_number(arg) for arg in args]
            chain = [self.folded(_RELATIONS[kind], pair) for pair in pairwise(numbers)]
            return chain[0] if len(chain) == 1 else self.folded(sympy.And, chain)
        if kind == libsbml.AST_LOGICAL_NOT and count == 1:
            return self.folded(sympy.Not, [as_truth(args[0])])
        if kind == libsbml.AST_LOGICAL_IMPLIES and count == 2:
            premise = self.folded(sympy.Not, [as_truth(args[0])])
            return self.folded(sympy.Or, [premise, as_truth(args[1])])
        numbers = [as_number(arg) for arg in args]
        if kind in _FUNCTIONS and count == _FUNCTIONS[kind][1]:
            return self.folded(_FUNCTIONS[kind][0], numbers)
        if kind == libsbml.AST_DIVIDE and count == 2:
            return self.divided(*numbers)
        if kind == libsbml.AST_FUNCTION_ROOT and count in (1, 2):
            return self.root(*numbers)
        if kind == libsbml.AST_FUNCTION_LOG and count in (1, 2):
            return self.logarithm(*numbers)
        if kind in (libsbml.AST_FUNCTION_MAX, libsbml.AST_FUNCTION_MIN) and count >= 1:
            return self.folded(sympy.Max if kind == libsbml.AST_FUNCTION_MAX else sympy.Min, numbers)
        formula = libsbml.formulaToL3String(node) or f"node {kind}"
        shown = formula if len(formula) < 60 else formula[:60] + "..."
        raise self.error(f"holds {shown}, which SBML's MathML does not define for {count} arguments; mend it there")

    def folded(self, kind: Any, args: Any) -> Any:
        """The node, or its value in float64 where all its arguments are numbers already."""
        args = list(args)
        node = build(kind, *args)
        if not all(isinstance(arg, (sympy.Number, BooleanAtom)) for arg in args):
            return node
        if isinstance(node, (sympy.Number, BooleanAtom)):
            return node
        value = evaluate(node, {})
        if isinstance(node, sympy.logic.boolalg.Boolean):
            return sympy.true if value else sympy.false
        return number(value)

    def divided(self, numerator: Any, denominator: Any) -> Any:
        if isinstance(numerator, sympy.Number) and isinstance(denominator, sympy.Number):
            return number(evaluate(build(sympy.Mul, numerator, build(sympy.Pow, denominator, sympy.Integer(-1))), {}))
        inverse = self.folded(sympy.Pow, [denominator, sympy.Integer(-1)])
        return inverse if numerator == 1 else self.folded(sympy.Mul, [numerator, inverse])

    def root(self, degree: Any, radicand: Any = None) -> Any:
        if radicand is None:
            degree, radicand = sympy.Integer(2), degree
        if degree == 2:
            return self.folded(sympy.Pow, [radicand, sympy.S.Half])
        return self.folded(sympy.Pow, [radicand, self.divided(sympy.Integer(1), degree)])

    def logarithm(self, base: Any, argument: Any = None) -> Any:
        if argument is None:
            base, argument = sympy.Integer(10), base
        if base in (2, 10):
            return self.folded(log2 if base == 2 else log10, [argument])
        return self.divided(self.folded(sympy.log, [argument]), self.folded(sympy.log, [base]))

    def piecewise(self, args: list[Any]) -> Any:
        otherwise = as_number(args.pop()) if len(args) % 2 else sympy.nan
        pairs = []
        for value, condition in zip(args[::2], args[1::2], strict=True):
            truth = as_truth(condition)
            if truth is sympy.true:
                otherwise = as_number(value)
                break
            if truth is not sympy.false:
                pairs.append((as_number(value), truth))
        return piecewise(pairs, otherwise) if pairs else otherwise


def _children(node: Any) -> list[Any]:
    count = node.getNumChildren()
    if count <= _MANY or node.isLambda():  # whose bound variables libsbml counts, and loses when they are moved
        return [node.getChild(index) for index in range(count)]
    children = []
    for _ in range(count):  # once around: libsbml walks to a child along all before it
        children.append(node.getChild(0))
        node.removeChild(0)
        node.addChild(children[-1])
    return children


def _operands(node: Any, kind: int) -> Iterator[Any]:
    """The operands of an associative operator through nested nodes of its kind, without recursion."""
    stack = [node]
    while stack:
        top = stack.pop()
        if top.getType() == kind:
            stack.extend(reversed(_children(top)))
        else:
            yield top


def _terms(node: Any) -> Iterator[tuple[Any, int]]:
    """The terms of nested sums, differences and minus signs with their signs, without recursion."""
    stack = [(node, 1)]
    while stack:
        top, sign = stack.pop()
        children = _children(top)
        if top.getType() == libsbml.AST_PLUS:
            stack.extend((child, sign) for child in reversed(children))
        elif top.getType() == libsbml.AST_MINUS and len(children) == 1:
            stack.append((children[0], -sign))
        elif top.getType() == libsbml.AST_MINUS and len(children) == 2:
            stack += [(children[1], -sign), (children[0], sign)]
        else:
            yield top, sign


def _decimal(node: Any) -> Any:
    # libsbml multiplies mantissa and power of ten, which rounds twice; reading the digits rounds once
    if node.getType() == libsbml.AST_REAL_E and math.isfinite(node.getMantissa()):
        digits, _, shift = repr(node.getMantissa()).partition("e")  # 1e-05 has a power of ten of its own
        return number(float(f"{digits}e{int(shift or 0) + node.getExponent()}"))
    return number(node.getReal())


_LEAVES: dict[int, Callable[[Any], Any]] = {
    libsbml.AST_INTEGER: lambda node: number(node.getInteger()),
    libsbml.AST_REAL: _decimal,
    libsbml.AST_REAL_E: _decimal,
    libsbml.AST_RATIONAL: lambda node: number(
        evaluate(build(sympy.Mul, number(node.getNumerator()), sympy.Pow(number(node.getDenominator()), -1)), {})
    ),
    libsbml.AST_CONSTANT_PI: lambda node: number(math.pi),
    libsbml.AST_CONSTANT_E: lambda node: number(math.e),
    libsbml.AST_CONSTANT_TRUE: lambda node: sympy.true,
    libsbml.AST_CONSTANT_FALSE: lambda node: sympy.false,
    libsbml.AST_NAME_TIME: lambda node: TIME,
    libsbml.AST_NAME_AVOGADRO: lambda node: number(AVOGADRO),
}

_SUMS = (libsbml.AST_PLUS, libsbml.AST_MINUS)

_NARY: dict[int, tuple[Any, Callable[[Any], Any]]] = {
    libsbml.AST_TIMES: (sympy.Mul, as_number),
    libsbml.AST_LOGICAL_AND: (sympy.And, as_truth),
    libsbml.AST_LOGICAL_OR: (sympy.Or, as_truth),
    libsbml.AST_LOGICAL_XOR: (sympy.Xor, as_truth),
}

_RELATIONS: dict[int, Any] = {
    libsbml.AST_RELATIONAL_EQ: sympy.Eq,
    libsbml.AST_RELATIONAL_NEQ: sympy.Ne,
    libsbml.AST_RELATIONAL_LT: sympy.Lt,
    libsbml.AST_RELATIONAL_LEQ: sympy.Le,
    libsbml.AST_RELATIONAL_GT: sympy.Gt,
    libsbml.AST_RELATIONAL_GEQ: sympy.Ge,
}

_DISTRIBUTIONS: dict[int, int] = {  # with the index in DISTRIBUTIONS
    getattr(libsbml, f"AST_DISTRIB_FUNCTION_{distribution.name.upper()}"): index
    for index, distribution in enumerate(DISTRIBUTIONS)
}

_FUNCTIONS: dict[int, tuple[Any, int]] = {  # with the number of arguments
    libsbml.AST_POWER: (sympy.Pow, 2),
    libsbml.AST_FUNCTION_POWER: (sympy.Pow, 2),
    libsbml.AST_FUNCTION_QUOTIENT: (quotient, 2),
    libsbml.AST_FUNCTION_REM: (rem, 2),
    libsbml.AST_FUNCTION_ABS: (sympy.Abs, 1),
    libsbml.AST_FUNCTION_CEILING: (sympy.ceiling, 1),
    libsbml.AST_FUNCTION_FLOOR: (sympy.floor, 1),
    libsbml.AST_FUNCTION_EXP: (sympy.exp, 1),
    libsbml.AST_FUNCTION_LN: (sympy.log, 1),
    libsbml.AST_FUNCTION_FACTORIAL: (sympy.factorial, 1),
    libsbml.AST_FUNCTION_DELAY: (delayed, 2),
    **{
        getattr(libsbml, f"AST_FUNCTION_{prefix_there}{name}{suffix}".upper()): (
            getattr(sympy, f"{prefix_here}{name}{suffix}"),
            1,
        )
        for prefix_there, prefix_here in (("", ""), ("arc", "a"))
        for name in ("sin", "cos", "tan", "sec", "csc", "cot")
        for suffix in ("", "h")
    },
}
