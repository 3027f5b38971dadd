"""Variables that a stochastic case looks at but its model does not have: logarithms, and sides of a median.

A Cauchy distribution has no moments, so the suite gives its median as the mean and no standard deviation. What can be
tested is that half of the values lie above: that fraction has mean and standard deviation 1/2. A truncated one has
moments, but the suite gives only the mean; the ensemble's own standard deviation is then the scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import sympy

from sbmlgrad.model import Model
from sbmlgrad.model.elements import Parameter, symbol
from sbmlgrad.model.functions import DISTRIBUTIONS, build, draw, number, piecewise
from sbmlgrad.testsuite.cases import MomentCase

_LOGARITHM = re.compile(r"ln\((\w+)\)")


def with_derived(case: MomentCase, model: Model) -> tuple[MomentCase, dict[str, sympy.Expr]]:
    """The case in terms of variables that have moments, and the formulas of those that the model lacks."""
    without_moments = _draws_cauchy(model)
    formulas: dict[str, sympy.Expr] = {}
    output = []
    expected = case.expected.copy()
    for variable, moment in case.output:
        logarithm = _LOGARITHM.fullmatch(variable)
        name = variable
        if logarithm is not None and logarithm[1] in case.variables:
            # the suite writes 0 for the logarithm of the 0 that its models start from
            inner = symbol(logarithm[1])
            positive = build(sympy.Ne, inner, sympy.Integer(0))
            formulas[variable] = piecewise([(build(sympy.log, inner), positive)], sympy.Integer(0))
        elif variable in case.variables and f"{variable}-sd" not in expected.columns:
            if without_moments:
                name = _above_median(variable, expected, formulas)
            else:
                expected[f"{variable}-sd"] = np.nan
        output.append((name, moment))
    variables = (*case.variables, *formulas)
    return replace(case, output=tuple(output), expected=expected, variables=variables), formulas


def _above_median(variable: str, expected: pd.DataFrame, formulas: dict[str, sympy.Expr]) -> str:
    """The name of the variable that is 1 above the median and 0 below, with its formula and expected moments."""
    course = expected[f"{variable}-mean"]
    median = float(course.iloc[-1])
    name = f"{variable} > {median:g}"
    above = build(sympy.Gt, symbol(variable), number(median))
    formulas[name] = piecewise([(sympy.Integer(1), above)], sympy.Integer(0))
    certain = course.index == course.index[0]  # what the model starts from
    expected[f"{name}-mean"] = np.where(certain, (course > median).astype(float), 0.5)
    expected[f"{name}-sd"] = np.where(certain, 0.0, 0.5)
    return name


def _draws_cauchy(model: Model) -> bool:
    """Whether an event draws from a Cauchy distribution without bounds."""
    cauchy = next(index for index, item in enumerate(DISTRIBUTIONS) if item.name == "cauchy")
    drawn = [d for e in model.elements.events for value in e.assignments.values() for d in value.atoms(draw)]
    return any(d.args[0] == cauchy and len(d.args) - 2 == DISTRIBUTIONS[cauchy].parameters for d in drawn)


def with_variables(model: Model, formulas: Mapping[str, sympy.Expr]) -> Model:
    """The model with more variables, set by assignment rules; their names are no SBML ids, so none is taken."""
    if not formulas:
        return model
    elements = model.elements
    added = {name: Parameter(name, name, None, False, "") for name in formulas}
    return Model(
        replace(
            elements,
            parameters={**elements.parameters, **added},
            assignment_rules={**elements.assignment_rules, **formulas},
        ),
        model.changes,
    )
