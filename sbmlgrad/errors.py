"""What can go wrong, in the user's words.

Every error that a user can cause or meet is a :class:`SbmlgradError`. Its text is one sentence or two
that name the file or SBML id, what is wrong and the remedy; the command line prints it after ``error: ``
and exits with status 1.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable


class SbmlgradError(Exception):
    """Base of all errors that sbmlgrad raises on purpose."""


class SbmlError(SbmlgradError):
    """A file is missing, is not XML, is not SBML, or breaks SBML's own rules."""


class UnsupportedError(SbmlgradError):
    """A model uses constructs that sbmlgrad refuses; ``reasons`` holds one sentence for each."""

    def __init__(self, source: str, reasons: Iterable[str]):
        self.source = source
        self.reasons = tuple(reasons)
        super().__init__(f"{source}: " + "; ".join(self.reasons))


class UnknownIdError(SbmlgradError):
    """An id was named that the model does not have, or that cannot be used in this way."""


class TableError(SbmlgradError):
    """A table of measurements cannot be read or does not match the model."""


class PetabError(SbmlgradError):
    """A PEtab problem breaks the rules of the format, contradicts its model, or asks for what is not there."""


class SimulationError(SbmlgradError):
    """An exact simulation could not be completed as asked."""


class PropensityError(SimulationError):
    """A propensity was negative, infinite or not a number; the message names reaction, time and trajectory."""


class TruncationError(SimulationError):
    """A trajectory needed more events than allowed; nothing is returned rather than a shortened ensemble."""


class SbmlgradWarning(UserWarning):
    """What was taken for granted: a result is right, but perhaps not what was meant."""


def warn_user(text: str) -> None:
    """Give a :class:`SbmlgradWarning` at the line outside the package from which it was called."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "sbmlgrad":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, SbmlgradWarning, stacklevel=level)


class EstimatorError(SbmlgradError):
    """A gradient estimator cannot serve an observable or a parameter; the message names one that can."""


class FitError(SbmlgradError):
    """A fit was asked for that cannot be done: bounds that exclude the start, nothing to fit, no data."""


class CheckpointError(SbmlgradError):
    """A file is no checkpoint of a fit, or that of another one."""
