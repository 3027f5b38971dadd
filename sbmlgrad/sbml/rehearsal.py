"""Submodels put together in a process of its own first, since libSBML may end the process, or never be done.

Run as a program, this module reads a document from standard input and lets libSBML flatten it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from sbmlgrad.errors import SbmlError

if TYPE_CHECKING:  # the process imports no more than it needs
    from sbmlgrad.model.elements import Source

_SECONDS = 12  # of a processor
_PATIENCE = 120  # seconds, where others use the processor too
_MEMORY = 2 * 2**30  # bytes
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from sbmlgrad.sbml.rehearsal import main; main()"


def rehearse(text: str, location: str, source: Source, submodels: str) -> None:
    """Raise :class:`SbmlError` where libSBML crashes on the document, or needs too long or too much memory.

    ``location`` is where files beside it are looked for, and ``submodels`` names them for messages.
    """
    command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), location]
    try:
        ended = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        problem = f"that takes more than {_PATIENCE} s"
    except OSError:
        return  # no process can be had here, so it goes on without a rehearsal
    else:
        problem = _problem(ended.returncode)
    if problem:
        raise SbmlError(
            f"{source.path}: its submodels ({submodels}) cannot be put together: {problem}; have the tool that wrote "
            "the file export it as one model (flattened)"
        )


def _problem(status: int) -> str:
    """What the end of the process says; empty where it ended well, or another error is for the parent to tell."""
    if status >= 0:
        return ""
    limits = {
        24: f"that takes more than {_SECONDS} s",  # SIGXCPU
        9: f"that takes more than {_SECONDS} s",
        6: f"that takes more than {_MEMORY // 2**30} GiB of memory",  # SIGABRT, of what C++ could not allocate
    }
    return limits.get(-status, f"libSBML crashes on them (signal {-status})")


def main() -> None:
    """Flatten what comes from standard input, within limits of time and memory."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system has them
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    import libsbml

    document = libsbml.readSBMLFromString(sys.stdin.buffer.read().decode())
    if sys.argv[2]:
        document.setLocationURI(sys.argv[2])
    document.convert(flattening())


def flattening() -> object:
    """The properties of the conversion, in libSBML's words."""
    import libsbml

    properties = libsbml.ConversionProperties()
    properties.addOption("flatten comp", True)
    properties.addOption("performValidation", False)
    properties.addOption("leavePorts", False)
    properties.addOption("abortIfUnflattenable", "none")  # packages that matter have been refused before
    return properties
