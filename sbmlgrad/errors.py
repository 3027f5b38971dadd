"""What can go wrong, in the user's words.

Every error that a user can cause or meet is a :class:`SbmlgradError`. Its text is one sentence or two
that name the file or SBML id, what is wrong and the remedy; the command line prints it after ``error: ``
and exits with status 1.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable


class SbmlgradError(Exception):
    """Base of all errors that sbmlgrad raises on purpose."""

    is_shared = False
    """Whether all processes that share the work raise it, so that one is enough to say it."""


class Advised(Exception):
    """A problem with a remedy that is called by ``keywords`` in Python and by ``options`` on the command line."""

    def __init__(self, problem: str, keywords: str = "", options: str = ""):
        super().__init__(problem, keywords, options)
        self.problem, self.keywords, self.options = problem, keywords, options

    def __str__(self) -> str:
        return f"{self.problem}; {self.keywords}" if self.keywords else self.problem

    def on_command_line(self) -> str:
        """The text for who stands there."""
        return f"{self.problem}; {self.options}" if self.options else self.problem


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


def which(name: str, names: Iterable[str], most: int = 12) -> str:
    """What may have been meant by a name that is not among others, local parameters included; else which there are."""
    names = list(names)
    local = [each for each in names if each.endswith(f".{name}")]
    close = (local or difflib.get_close_matches(name, names, n=3))[:3]
    if close:
        return f"did you mean {' or '.join(close)}?"
    more = f" and {len(names) - most} more, which info --all lists" if len(names) > most else ""
    return f"there are {', '.join(names[:most])}{more}" if names else "there are none"


class TableError(SbmlgradError):
    """A table of measurements cannot be read or does not match the model."""


class PetabError(SbmlgradError):
    """A PEtab problem breaks the rules of the format, contradicts its model, or asks for what is not there."""


class SimulationError(SbmlgradError):
    """An exact simulation could not be completed as asked."""


class PropensityError(SimulationError):
    """A propensity was negative, infinite or not a number; the message names reaction, time and trajectory."""


class TruncationError(Advised, SimulationError):
    """A trajectory needs more reactions than allowed; nothing is returned rather than a shortened ensemble."""


class SbmlgradWarning(UserWarning):
    """What was taken for granted: a result is right, but perhaps not what was meant."""


class LongRunWarning(Advised, SbmlgradWarning):
    """What was asked for will take minutes, or longer."""


def warn_user(text: str | SbmlgradWarning) -> None:
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


class ProcessError(SbmlgradError):
    """Processes that share their work do not find each other, or one of them has ended."""
