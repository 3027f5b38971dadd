"""Packages and other parts of a document that are refused or passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# MathML of Level 3 Version 2, which libsbml lists as a package; random numbers; submodels, put in place before
_READ_HERE = ("l3v2extendedmath", "distrib", "comp")


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
    """The Level 3 packages that a document uses, with whether it declares them as required."""
    for index in range(document.getNumPlugins()):
        name = document.getPlugin(index).getPackageName()
        if document.getLevel() > 2 and name not in _READ_HERE:
            yield name, document.getPackageRequired(name)
    for index in range(document.getNumUnknownPackages()):
        yield (
            document.getUnknownPackagePrefix(index),
            document.getPackageRequired(document.getUnknownPackageURI(index)),
        )
