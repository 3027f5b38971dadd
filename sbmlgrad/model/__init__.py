"""What an SBML model says, in sympy and numbers: no libsbml and no JAX here."""

from sbmlgrad.model.elements import Elements
from sbmlgrad.model.model import Model

__all__ = ["Elements", "Model"]
