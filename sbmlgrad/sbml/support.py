"""Packages and other parts of a document that are refused or passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import libsbml

from sbmlgrad.sbml.tags import Tag, tags

# MathML of Level 3 Version 2, which libsbml lists as a package; random numbers; submodels, put in place before
_READ_HERE = ("l3v2extendedmath", "distrib", "comp")
# What these say of themselves holds, whatever a document says of whether they are required.
_DRAWINGS = ("layout", "render", "groups")
_MATHEMATICS = ("multi", "spatial")
_OF_ADDRESS = re.compile(r"/level3/version\d+/([^/]+)/")


def unsupported(document: Any, text: str) -> tuple[str, ...]:
    """One sentence for each construct that changes the mathematics and cannot be read, with its id."""
    return tuple(
        f"the package '{name}' is required to read it, and is not supported"
        for name, needed in packages(document, text)
        if needed
    )


def ignored(document: Any, text: str) -> tuple[str, ...]:
    """One warning for each construct that is passed over without changing the mathematics."""
    model = document.getModel()
    warnings = []
    for name, needed in packages(document, text):
        if not needed:
            unused = _required(document, name)
            reason = "nothing of it is in the document" if unused else "the document does not require it"
            warnings.append(f"the package '{name}' is ignored: {reason}")
    if model.getNumConstraints():
        warnings.append(f"{model.getNumConstraints()} constraints are not checked")
    return tuple(warnings)


def packages(document: Any, text: str) -> Iterator[tuple[str, bool]]:
    """The Level 3 packages that are declared and not read, with whether the mathematics requires them.

    Exporters declare as required what they may use: a package of which the text holds nothing is not needed.
    """
    declared = dict(_declared(document))
    if not declared:
        return
    elements = tags(text) if any(_required(document, name) for name in declared) else []
    for name, address in declared.items():
        yield name, _required(document, name) and any(_holds(tag, address) for tag in elements)


def _declared(document: Any) -> Iterator[tuple[str, str]]:
    """Name and namespace of each."""
    for index in range(document.getNumPlugins()):
        plugin = document.getPlugin(index)
        if document.getLevel() > 2 and plugin.getPackageName() not in _READ_HERE:
            yield plugin.getPackageName(), plugin.getURI()
    for index in range(document.getNumUnknownPackages()):
        address = document.getUnknownPackageURI(index)
        match = _OF_ADDRESS.search(address)
        yield match[1] if match else document.getUnknownPackagePrefix(index), address


def _required(document: Any, package: str) -> bool:
    if package in (*_DRAWINGS, *_MATHEMATICS):
        return package in _MATHEMATICS
    # libsbml takes what is not said for yes; flux balance may only be said not to be required
    unsaid = package == "fbc" and document.getErrorLog().contains(libsbml.FbcAttributeRequiredMissing)
    address = dict(_declared(document)).get(package, package)
    return document.getPackageRequired(address) and not unsaid


def _holds(tag: Tag, address: str) -> bool:
    """Whether an element is of a package, or says something of it but that it is required."""
    said = (name for name in tag.attributes if name.rpartition(" ")[0] == address)
    return tag.namespace == address or any(tag.name != "sbml" or not name.endswith(" required") for name in said)
