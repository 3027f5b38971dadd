"""Exact simulation of ensembles."""

from sbmlgrad.simulation.result import Simulation
from sbmlgrad.simulation.simulate import simulate

__all__ = ["Simulation", "simulate"]
