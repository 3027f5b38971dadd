"""Read a PEtab problem of version 1 or 2 from its YAML file."""

from __future__ import annotations

import os
from typing import Any

from petab.v1.yaml import load_yaml, validate_yaml_syntax

from sbmlgrad.errors import PetabError
from sbmlgrad.petab import version1, version2
from sbmlgrad.petab.counts import check_counts
from sbmlgrad.petab.library import asking_libpetab
from sbmlgrad.petab.problem import Problem

_READERS = {1: version1.read, 2: version2.read}


def read_petab(path: str | os.PathLike[str], molecules_per_unit: float | None = None) -> Problem:
    """Read a PEtab problem, version 1 or 2, with SBML models.

    Parameters
    ----------
    path
        The YAML file of the problem; the files that it names lie where it says, seen from its folder.
    molecules_per_unit
        How many molecules one unit of amount is, in place of what the models' units say; for exact simulation.

    Raises
    ------
    PetabError
        A file is missing, or breaks the rules of the format; the message names it, what is wrong and the remedy.
    SbmlError, UnsupportedError
        A model cannot be read, or uses constructs that sbmlgrad refuses.
    """
    source = os.fspath(path)
    config = _configuration(source)
    major = str(config.get("format_version", "")).partition(".")[0]
    if not major.isdecimal() or int(major) not in _READERS:
        raise PetabError(f"{source}: format_version is {config.get('format_version')!r}; expected 1 or 2.0.0")
    definition = _READERS[int(major)](source, config, molecules_per_unit)
    check_counts(definition)
    return Problem(definition)


def _configuration(source: str) -> dict[str, Any]:
    if not os.path.isfile(source):
        raise PetabError(f"{source}: there is no such file; give the YAML file of a PEtab problem")
    with asking_libpetab(source):
        config = load_yaml(source)
        if isinstance(config, dict):
            validate_yaml_syntax(config)
            return config
    raise PetabError(f"{source}: this is no PEtab problem; give the YAML file that names its tables and models")
