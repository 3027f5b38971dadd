"""Exact simulation of ensembles."""

from sbmlgrad.simulation.simulate import Simulation, simulate

__all__ = ["Simulation", "simulate"]
