"""Calibrate SBML models where noise and small molecule numbers matter."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sbmlgrad.about import __version__
from sbmlgrad.precision import use_float64
from sbmlgrad.reading import takes_documents

if TYPE_CHECKING:
    from sbmlgrad.errors import SbmlgradWarning
    from sbmlgrad.fitting.fit import fit as _fit
    from sbmlgrad.fitting.result import Fit
    from sbmlgrad.fitting.training import Training, train
    from sbmlgrad.gradient.observables import (
        Autocorrelation,
        Expectation,
        FirstPassage,
        Moment,
        Observable,
        Probability,
        Region,
        TimeAverage,
    )
    from sbmlgrad.gradient.result import Sensitivity
    from sbmlgrad.gradient.sensitivity import check as _check
    from sbmlgrad.gradient.sensitivity import sensitivity as _sensitivity
    from sbmlgrad.gradient.value_and_grad import Expectations, Gradient, expectations, value_and_grad
    from sbmlgrad.model.model import Model
    from sbmlgrad.network.network import ReactionNetwork
    from sbmlgrad.petab.read import read_petab
    from sbmlgrad.sbml.read import read_sbml
    from sbmlgrad.sbml.write import write_sbml
    from sbmlgrad.simulation.experiment import Experiment
    from sbmlgrad.simulation.methods import ODE, SSA
    from sbmlgrad.simulation.processes import distribute
    from sbmlgrad.simulation.result import Simulation
    from sbmlgrad.simulation.simulate import simulate as _simulate
    from sbmlgrad.simulation.solvers import DormandPrince, Rosenbrock

    check, fit, sensitivity, simulate = (
        takes_documents(_check),
        takes_documents(_fit),
        takes_documents(_sensitivity),
        takes_documents(_simulate),
    )

__all__ = [
    "ODE",
    "SSA",
    "Autocorrelation",
    "DormandPrince",
    "Expectation",
    "Expectations",
    "Experiment",
    "FirstPassage",
    "Fit",
    "Gradient",
    "Model",
    "Moment",
    "Observable",
    "Probability",
    "ReactionNetwork",
    "Region",
    "Rosenbrock",
    "SbmlgradWarning",
    "Sensitivity",
    "Simulation",
    "TimeAverage",
    "Training",
    "__version__",
    "check",
    "distribute",
    "expectations",
    "fit",
    "read_petab",
    "read_sbml",
    "sensitivity",
    "simulate",
    "train",
    "value_and_grad",
    "write_sbml",
]

_HOMES = {
    "Autocorrelation": "sbmlgrad.gradient.observables",
    "DormandPrince": "sbmlgrad.simulation.solvers",
    "Expectation": "sbmlgrad.gradient.observables",
    "Expectations": "sbmlgrad.gradient.value_and_grad",
    "Experiment": "sbmlgrad.simulation.experiment",
    "FirstPassage": "sbmlgrad.gradient.observables",
    "Fit": "sbmlgrad.fitting.result",
    "Gradient": "sbmlgrad.gradient.value_and_grad",
    "Model": "sbmlgrad.model.model",
    "Moment": "sbmlgrad.gradient.observables",
    "ODE": "sbmlgrad.simulation.methods",
    "Observable": "sbmlgrad.gradient.observables",
    "Probability": "sbmlgrad.gradient.observables",
    "Region": "sbmlgrad.gradient.observables",
    "ReactionNetwork": "sbmlgrad.network.network",
    "Rosenbrock": "sbmlgrad.simulation.solvers",
    "SSA": "sbmlgrad.simulation.methods",
    "SbmlgradWarning": "sbmlgrad.errors",
    "Sensitivity": "sbmlgrad.gradient.result",
    "Simulation": "sbmlgrad.simulation.result",
    "TimeAverage": "sbmlgrad.gradient.observables",
    "Training": "sbmlgrad.fitting.training",
    "check": "sbmlgrad.gradient.sensitivity",
    "distribute": "sbmlgrad.simulation.processes",
    "expectations": "sbmlgrad.gradient.value_and_grad",
    "fit": "sbmlgrad.fitting.fit",
    "read_petab": "sbmlgrad.petab.read",
    "read_sbml": "sbmlgrad.sbml.read",
    "sensitivity": "sbmlgrad.gradient.sensitivity",
    "simulate": "sbmlgrad.simulation.simulate",
    "train": "sbmlgrad.fitting.training",
    "value_and_grad": "sbmlgrad.gradient.value_and_grad",
    "write_sbml": "sbmlgrad.sbml.write",
}

_OF_MODELS = {"check", "fit", "sensitivity", "simulate"}

use_float64()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: JAX takes seconds, and ``sbmlgrad --help`` must not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value = takes_documents(value) if name in _OF_MODELS else value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)  # what is for users: tab completion shows no rooms of the house
