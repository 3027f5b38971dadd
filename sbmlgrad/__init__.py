"""Calibrate SBML models where noise and small molecule numbers matter."""

import jax

# Exactness needs 64 bits: counts beyond 2**24, probabilities below 1e-7, clocks that do not stall.
jax.config.update("jax_enable_x64", True)

from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.simulation import Simulation, simulate

__version__ = "0.1.0"
__all__ = ["Model", "ReactionNetwork", "Simulation", "__version__", "read_sbml", "simulate"]
