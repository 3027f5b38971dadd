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
    from sbmlgrad.gradient.observables import (
        Autocorrelation,
        Expectation,
        FirstPassage,
        Moment,
        Probability,
        TimeAverage,
    )
    from sbmlgrad.gradient.sensitivity import check as _check
    from sbmlgrad.gradient.sensitivity import sensitivity as _sensitivity
    from sbmlgrad.gradient.value_and_grad import Gradient, value_and_grad
    from sbmlgrad.model.model import Model
    from sbmlgrad.network.network import ReactionNetwork
    from sbmlgrad.sbml.read import read_sbml
    from sbmlgrad.sbml.write import write_sbml
    from sbmlgrad.simulation.simulate import Simulation
    from sbmlgrad.simulation.simulate import simulate as _simulate

    check, fit, sensitivity, simulate = (
        takes_documents(_check),
        takes_documents(_fit),
        takes_documents(_sensitivity),
        takes_documents(_simulate),
    )

__all__ = [
    "Autocorrelation",
    "Expectation",
    "FirstPassage",
    "Fit",
    "Gradient",
    "Model",
    "Moment",
    "Probability",
    "ReactionNetwork",
    "SbmlgradWarning",
    "Simulation",
    "TimeAverage",
    "__version__",
    "check",
    "fit",
    "read_sbml",
    "sensitivity",
    "simulate",
    "value_and_grad",
    "write_sbml",
]

_HOMES = {
    "Autocorrelation": "sbmlgrad.gradient.observables",
    "Expectation": "sbmlgrad.gradient.observables",
    "FirstPassage": "sbmlgrad.gradient.observables",
    "Fit": "sbmlgrad.fitting.result",
    "Gradient": "sbmlgrad.gradient.value_and_grad",
    "Model": "sbmlgrad.model.model",
    "Moment": "sbmlgrad.gradient.observables",
    "Probability": "sbmlgrad.gradient.observables",
    "ReactionNetwork": "sbmlgrad.network.network",
    "SbmlgradWarning": "sbmlgrad.errors",
    "Simulation": "sbmlgrad.simulation.simulate",
    "TimeAverage": "sbmlgrad.gradient.observables",
    "check": "sbmlgrad.gradient.sensitivity",
    "fit": "sbmlgrad.fitting.fit",
    "read_sbml": "sbmlgrad.sbml.read",
    "sensitivity": "sbmlgrad.gradient.sensitivity",
    "simulate": "sbmlgrad.simulation.simulate",
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
    return sorted({*globals(), *__all__})
