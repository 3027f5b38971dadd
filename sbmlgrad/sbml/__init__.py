"""SBML documents in and out: the only room that imports libsbml."""
