"""Random numbers follow their distributions, against scipy's.

Seeds are fixed; each of the 30 checks rejects below a probability of 1e-4, so that a change of all random numbers
raises a false alarm three times in a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sbmlgrad.errors import SimulationError
from sbmlgrad.model.functions import DISTRIBUTIONS
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.simulation.deterministic import quick_to_compile
from sbmlgrad.simulation.distributions import sample
from sbmlgrad.simulation.random import key, streams
from sbmlgrad.simulation.simulate import simulate

ALARM = 1e-4
Fits = Callable[[np.ndarray, np.ndarray], bool]
N = 20_000

# The parameters as SBML has them, and scipy's distribution for them.
CASES: dict[str, list[tuple[tuple[float, ...], Any]]] = {
    "normal": [((3.0, 2.0), stats.norm(3, 2))],
    "uniform": [((-1.0, 4.0), stats.uniform(-1, 5))],
    "bernoulli": [((0.3,), stats.bernoulli(0.3))],
    "binomial": [((5.0, 0.3), stats.binom(5, 0.3)), ((200.0, 0.7), stats.binom(200, 0.7))],
    "cauchy": [((1.0, 2.0), stats.cauchy(1, 2))],
    "chisquare": [((1.0,), stats.chi2(1)), ((7.0,), stats.chi2(7))],
    "exponential": [((2.5,), stats.expon(scale=1 / 2.5))],
    "gamma": [((0.4, 3.0), stats.gamma(0.4, scale=3)), ((5.0, 0.5), stats.gamma(5, scale=0.5))],
    "laplace": [((-2.0, 0.5), stats.laplace(-2, 0.5))],
    "lognormal": [((0.5, 0.8), stats.lognorm(0.8, scale=np.exp(0.5)))],
    "poisson": [((0.7,), stats.poisson(0.7)), ((80.0,), stats.poisson(80))],
    "rayleigh": [((1.5,), stats.rayleigh(scale=1.5))],
}
BOUNDS = {"binomial": (1.0, 2.0), "bernoulli": (0.5, 2.0), "poisson": (1.0, 2.0)}


def drawn(name: str, parameters: tuple[float, ...], index: int = 1) -> np.ndarray:
    """One number for each of many trajectories, as the simulation draws them."""
    kind = next(kind for kind, distribution in enumerate(DISTRIBUTIONS) if distribution.name == name)
    return np.asarray(_many(kind, index, len(parameters))(jnp.asarray(parameters)))


@cache
def _many(kind: int, index: int, count: int) -> Any:
    stream = streams(1).drawing

    def one(parameters: Any, trajectory: Any) -> Any:
        return sample(key(stream, trajectory, jnp.uint32(0)), kind, index, tuple(parameters[i] for i in range(count)))

    def all_of_them(parameters: Any) -> Any:
        return jax.vmap(partial(one, parameters))(jnp.arange(N, dtype=jnp.uint32))

    return jax.jit(all_of_them, compiler_options=quick_to_compile())


def follows(values: np.ndarray, law: Any, fits: Fits, low: float = -np.inf, high: float = np.inf) -> bool:
    """Whether values come from the law between bounds, which belong to it."""
    if hasattr(law.dist, "pmf"):
        numbers = np.arange(1000)
        chances = np.where((numbers >= low) & (numbers <= high), law.pmf(numbers), 0.0)
        return fits(np.bincount(values.astype(int), minlength=1000), chances / chances.sum())
    below, above = law.cdf([low, high])
    return bool(stats.kstest((law.cdf(values) - below) / (above - below), "uniform").pvalue > ALARM)


def test_all_distributions_are_here() -> None:
    assert list(CASES) == [distribution.name for distribution in DISTRIBUTIONS]
    for distribution in DISTRIBUTIONS:
        for parameters, law in CASES[distribution.name]:
            assert len(parameters) == distribution.parameters
            centre = law.median() if distribution.name == "cauchy" else law.mean()
            assert distribution.mean(*parameters) == pytest.approx(centre)


@pytest.mark.parametrize("name", CASES)
def test_numbers_follow_their_distribution(name: str, fits: Fits) -> None:
    for parameters, law in CASES[name]:
        assert follows(drawn(name, parameters), law, fits)


SLOW = ("chisquare", "gamma", "poisson")  # to compile


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_numbers_stay_within_their_bounds(name: str, fits: Fits) -> None:
    """Between quantiles in a tail, where nothing but these bounds would keep them."""
    for parameters, law in CASES[name][:1]:
        low, high = BOUNDS.get(name, (law.ppf(0.8), law.ppf(0.95)))
        values = drawn(name, (*parameters, low, high))
        assert low <= values.min() <= values.max() <= high
        assert follows(values, law, fits, low, high)


def test_each_place_has_its_own_number() -> None:
    one, two, again = (drawn("normal", (0.0, 1.0), index) for index in (1, 2, 1))
    np.testing.assert_array_equal(one, again)
    assert stats.pearsonr(one, two).pvalue > ALARM


def test_bounds_that_nothing_reaches_give_no_number() -> None:
    kind = [distribution.name for distribution in DISTRIBUTIONS].index("uniform")
    bounds = tuple(jnp.float64(value) for value in (0, 1, 2, 3))
    assert np.isnan(sample(key(streams(1).drawing, jnp.uint32(0), jnp.uint32(0)), kind, 1, bounds))


def test_the_comparison_sees_small_differences(fits: Fits) -> None:
    random = np.random.default_rng(0)
    assert follows(random.normal(3, 2, N), stats.norm(3, 2), fits)
    assert not follows(random.normal(3.1, 2, N), stats.norm(3, 2), fits)
    assert follows(random.poisson(5, N), stats.poisson(5), fits)
    assert not follows(random.poisson(5.1, N), stats.poisson(5), fits)
    assert not follows(random.binomial(50, 0.1, N), stats.poisson(5), fits)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("normal", (0.0, -1.0)),
        ("uniform", (5.0, 1.0)),
        ("bernoulli", (1.5,)),
        ("binomial", (3.5, 0.5)),
        ("binomial", (1e300, 0.5)),
        ("cauchy", (0.0, -1.0)),
        ("chisquare", (-2.0,)),
        ("exponential", (0.0,)),
        ("gamma", (-1.0, 2.0)),
        ("laplace", (0.0, -1.0)),
        ("lognormal", (0.0, -1.0)),
        ("poisson", (1e300,)),
        ("poisson", (-1.0,)),
        ("rayleigh", (-1.0,)),
        ("normal", (0.0, 1.0, 5.0, 3.0)),
        ("poisson", (3.0, 1000.0, 2000.0)),
    ],
)
def test_impossible_parameters_give_no_number(name: str, parameters: tuple[float, ...]) -> None:
    kind = next(kind for kind, distribution in enumerate(DISTRIBUTIONS) if distribution.name == name)
    value = sample(key(streams(1).drawing, jnp.uint32(0), jnp.uint32(0)), kind, 1, tuple(map(jnp.float64, parameters)))
    assert np.isnan(value)


DRAWN = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"
xmlns:distrib="http://www.sbml.org/sbml/level3/version1/distrib/version1" distrib:required="true">
<model substanceUnits="item" extentUnits="item"><listOfCompartments><compartment id="c" size="1" constant="true"/>
</listOfCompartments><listOfSpecies><species id="X" compartment="c" initialAmount="10" hasOnlySubstanceUnits="true"
boundaryCondition="false" constant="false"/></listOfSpecies>
<listOfParameters><parameter id="k" value="1" constant="false"/><parameter id="open" constant="true"/>
<parameter id="limit" value="0.5" constant="false"/></listOfParameters>{}</model></sbml>"""
MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math>'
NORMAL = (
    '<apply><csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/distrib/normal">n</csymbol>'
    "<cn>10</cn><cn>{}</cn></apply>"
)
AT_FIRST = f'<initialAssignment symbol="X">{MATH}</initialAssignment>'
AT_FIRST = f"<listOfInitialAssignments>{AT_FIRST}</listOfInitialAssignments>"
TIME = "<csymbol encoding='text' definitionURL='http://www.sbml.org/sbml/symbols/time'>t</csymbol>"
LATER = (
    '<listOfEvents><event useValuesFromTriggerTime="true"><trigger initialValue="false" persistent="true">'
    + MATH.format(f"<apply><gt/>{TIME}<ci>limit</ci></apply>")
    + f'</trigger><listOfEventAssignments><eventAssignment variable="X">{MATH}'
    "</eventAssignment></listOfEventAssignments></event></listOfEvents>"
)


@pytest.mark.parametrize(
    ("form", "what"),
    [(AT_FIRST, "an initial value is not a number"), (LATER, "'X' is not a number at time 0.5")],
    ids=["at first", "later"],
)
def test_what_cannot_be_drawn_is_one_line(form: str, what: str) -> None:
    """Cells were blank; what nothing sets, and nothing needs, may be no number."""
    good = simulate(read_sbml(DRAWN.format(form.format(NORMAL.format(1)))), [0.0, 1.0], n=5, select=["X"])
    assert np.isfinite(good.mean.to_numpy()).all()
    told = f"{what} in trajectory 0: a random number cannot be drawn where .*; correct them$"
    with pytest.raises(SimulationError, match=told):
        simulate(read_sbml(DRAWN.format(form.format(NORMAL.format(-1)))), [0.0, 1.0], n=5)
