"""Models that are put together from others (the package ``comp``), flattened into one by libsbml's own converter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libsbml

from sbmlgrad.errors import SbmlError
from sbmlgrad.model.elements import Source
from sbmlgrad.sbml.document import check_xml, read_source

_REFERENCE = re.compile(r" Reference: L3V1 Comp V1 Sections? [\d., and]*\d\.? ")
_MOST_FILES = 100  # that a model may be put together from


def flatten(document: Any, source: Source) -> None:
    """Replace the submodels of a document by their contents, in place; ids become ``submodel__id``.

    Raises :class:`SbmlError` where a file that it refers to is missing or is no SBML, or submodels do not fit.
    """
    plugin = document.getPlugin("comp")
    model = document.getModel().getPlugin("comp")
    if plugin is None:
        return
    parts = (model.getNumSubmodels(), model.getNumPorts()) if model is not None else (0, 0)
    if not any((*parts, plugin.getNumExternalModelDefinitions(), plugin.getNumModelDefinitions())):
        return
    _check_files(plugin, source)
    if source.path != "<text>":
        document.setLocationURI(f"file:{Path(source.path).resolve()}")
    properties = libsbml.ConversionProperties()
    properties.addOption("flatten comp", True)
    properties.addOption("performValidation", False)
    properties.addOption("leavePorts", False)
    document.getErrorLog().clearLog()
    converted = document.convert(properties) == libsbml.LIBSBML_OPERATION_SUCCESS
    errors = [document.getError(index) for index in range(document.getNumErrors())]
    errors = [error for error in errors if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
    if errors or not converted:
        # the first says that there are more; what a message says of this model follows a reference to the standard
        detail = " ".join(errors[-1].getMessage().split()).rstrip(".") if errors else "they do not fit"
        detail = _REFERENCE.split(detail, maxsplit=1)[-1]
        raise SbmlError(f"{source.path}: its submodels cannot be put together: {detail}; mend the model there")


def _check_files(plugin: Any, source: Source) -> None:
    """Look at every file that the model is put together from before libsbml opens it."""
    seen: set[Path] = set()
    pending = list(_references(plugin, source))
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        if len(seen) > _MOST_FILES:
            raise SbmlError(f"{source.path}: is put together from more than {_MOST_FILES} files; put it into one")
        part = read_source(path)
        check_xml(part)
        inner = libsbml.readSBMLFromString(part.text)  # stays referenced: its parts die with it
        if inner.getPlugin("comp") is not None:
            pending.extend(_references(inner.getPlugin("comp"), part))


def _references(plugin: Any, source: Source) -> Iterator[Path]:
    for item in plugin.getListOfExternalModelDefinitions():
        place = item.getSource().removeprefix("file:")
        outside = ":" in place or Path(place).is_absolute() or ".." in Path(place).parts
        if source.path == "<text>" or outside:
            raise SbmlError(
                f"{source.path}: the model definition '{item.getId()}' refers to {item.getSource()!r}; only files "
                "beside the model's own file are opened, so put it there and refer to it by its name"
            )
        yield Path(source.path).resolve().parent / place
