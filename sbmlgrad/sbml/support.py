"""Packages and other parts of a document that are refused or passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import libsbml

# MathML of Level 3 Version 2, which libsbml lists as a package; random numbers; submodels, put in place before
_READ_HERE = ("l3v2extendedmath", "distrib", "comp")
# What these say of themselves holds, whatever a document says of whether they are required.
_DRAWINGS = ("layout", "render", "groups")
_MATHEMATICS = ("multi", "spatial")
_OF_ADDRESS = re.compile(r"/level3/version\d+/([^/]+)/")


def unsupported(document: Any) -> tuple[str, ...]:
    """One sentence for each construct that changes the mathematics and cannot be read, with its id."""
    return tuple(
        f"the package '{name}' is required to read it, and is not supported"
        for name, needed in packages(document)
        if needed
    )


def ignored(document: Any) -> tuple[str, ...]:
    """One warning for each construct that is passed over without changing the mathematics."""
    model = document.getModel()
    warnings = [
        f"the package '{name}' is ignored: the document does not require it"
        for name, needed in packages(document)
        if not needed
    ]
    if model.getNumConstraints():
        warnings.append(f"{model.getNumConstraints()} constraints are not checked")
    return tuple(warnings)


def packages(document: Any) -> Iterator[tuple[str, bool]]:
    """The Level 3 packages that a document uses and that are not read, with whether the mathematics requires them."""
    for index in range(document.getNumPlugins()):
        name = document.getPlugin(index).getPackageName()
        if document.getLevel() > 2 and name not in _READ_HERE:
            yield name, _is_required(document, name)
    for index in range(document.getNumUnknownPackages()):
        address = document.getUnknownPackageURI(index)
        match = _OF_ADDRESS.search(address)
        name = match[1] if match else document.getUnknownPackagePrefix(index)
        yield name, document.getPackageRequired(address)


def _is_required(document: Any, package: str) -> bool:
    if package in (*_DRAWINGS, *_MATHEMATICS):
        return package in _MATHEMATICS
    # libsbml takes what is not said for yes; flux balance may only be said not to be required
    unsaid = package == "fbc" and document.getErrorLog().contains(libsbml.FbcAttributeRequiredMissing)
    return document.getPackageRequired(package) and not unsaid
