"""A PEtab problem: read once, evaluated at any parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

from sbmlgrad.petab.definition import Definition
from sbmlgrad.petab.evaluate import Evaluation, Evaluator
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.path import Settings

_TOLERANCE = 1e-10  # relative: some published problems magnify errors ten thousandfold


class Problem:
    """Models, experiments, measurements and parameters of a PEtab problem, as :func:`read_petab` reads them.

    Attributes
    ----------
    definition
        What the files say, in the same form for all versions of the format.
    nominal
        The nominal values of all parameters in the table, on the linear scale, by id.
    """

    def __init__(self, definition: Definition):
        self.definition = definition
        self.nominal = MappingProxyType({name: row.nominal for name, row in definition.parameters.items()})

    def __repr__(self) -> str:
        parts = self.definition
        return (
            f"<PEtab {parts.version} problem {parts.source}: {len(parts.measurements)} measurements of "
            f"{len(parts.observables)} observables in {len(parts.experiments)} experiments>"
        )

    def evaluate(self, parameters: Mapping[str, float] | None = None) -> Evaluation:
        """Simulate every experiment by rate equations and compare with the measurements.

        Parameters
        ----------
        parameters
            Values on the linear scale, by id, that replace nominal ones of the parameter table.

        Raises
        ------
        UnknownIdError
            for a parameter that is not in the table.
        PetabError
            where a formula, a condition or an override cannot be computed, or noise is not positive.
        SimulationError
            where the equations cannot be followed, or a pre-equilibration finds no steady state.
        """
        require_float64()
        return self._evaluator.evaluate(parameters or {})

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.definition, Settings(relative=_TOLERANCE))
