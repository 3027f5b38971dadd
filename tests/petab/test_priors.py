"""Densities of priors: each one integrates to 1 between its bounds."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from sbmlgrad.errors import PetabError
from sbmlgrad.petab.definition import Parameter, Prior
from sbmlgrad.petab.priors import log_prior

PRIORS = {
    "cauchy": (3.0, 2.0),
    "chisquare": (4.0,),
    "exponential": (2.0,),
    "gamma": (3.0, 0.5),
    "laplace": (1.0, 2.0),
    "log-laplace": (0.5, 0.4),
    "log-normal": (0.5, 0.4),
    "log-uniform": (0.6, 5.0),
    "normal": (1.0, 2.0),
    "rayleigh": (1.5,),
    "uniform": (0.6, 5.0),
}


def parameter(prior: Prior | None, lower: float = 0.5, upper: float = 6.0) -> Parameter:
    return Parameter("p", 1.0, lower, upper, "lin", True, prior)


@pytest.mark.parametrize("name", PRIORS)
def test_priors_are_densities_between_their_bounds(name: str) -> None:
    row = {"p": parameter(Prior(name, PRIORS[name]))}

    def density(value: float) -> float:
        actual = log_prior(row, {"p": value}, "here")
        assert actual is not None
        return math.exp(actual["p"])

    assert quad(density, 0.5, 6.0, points=[0.6, 1.0, 5.0], limit=200)[0] == pytest.approx(1.0, abs=1e-6)
    assert (density(0.4), density(6.1)) == (0.0, 0.0)


def test_without_a_prior_beside_others_it_is_uniform() -> None:
    rows = {"p": parameter(None), "q": parameter(Prior("normal", (0.0, 1.0)), -np.inf, np.inf)}
    rows["q"] = Parameter("q", 1.0, -np.inf, np.inf, "lin", True, rows["q"].prior)
    actual = log_prior(rows, {"p": 1.0, "q": 0.0}, "here")
    assert actual == pytest.approx({"p": -math.log(5.5), "q": -0.5 * math.log(2 * math.pi)})
    assert log_prior({"p": parameter(None)}, {"p": 1.0}, "here") is None


def test_unknown_priors_are_refused() -> None:
    with pytest.raises(PetabError, match=r"parameter 'p' has the prior 'normal' with 1 parameters"):
        log_prior({"p": parameter(Prior("normal", (1.0,)))}, {"p": 1.0}, "here")
