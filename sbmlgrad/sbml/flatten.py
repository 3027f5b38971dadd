"""Models that are put together from others (the package ``comp``), flattened into one by libsbml's own converter."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import libsbml

from sbmlgrad.errors import SbmlError
from sbmlgrad.model.elements import Source
from sbmlgrad.sbml.document import read_document, read_source
from sbmlgrad.sbml.quantities import listing
from sbmlgrad.sbml.rehearsal import flattening, rehearse
from sbmlgrad.sbml.tags import as_read, tags

_REFERENCE = re.compile(r" Reference: L3V1 Comp V1 Sections? [\d., and]*\d\.? ")
_INSIDE = re.compile(r"\A(?:Error )?[Ii]n \w+::\w+[,:] | in \w+::\w+(?=:)")  # the name of a function in libsbml
_LINKS = ("submodel", "deletion", "replacedElement", "replacedBy", "sBaseRef", "port")
_MOST_MODELS = 5_000  # that submodels come to
_MOST_FILES = 100  # that a model may be put together from


def flatten(document: Any, source: Source) -> tuple[str, ...]:
    """Replace the submodels of a document by their contents, in place; ids become ``submodel__id``.

    Returns warnings of the files that it refers to. Raises :class:`SbmlError` where one is missing or is no SBML, or
    submodels do not fit, and :class:`UnsupportedError` where one requires a package that is not read.
    """
    plugin = document.getPlugin("comp")
    model = document.getModel().getPlugin("comp")
    if plugin is None:
        return ()
    parts = (model.getNumSubmodels(), model.getNumPorts()) if model is not None else (0, 0)
    if not any((*parts, plugin.getNumExternalModelDefinitions(), plugin.getNumModelDefinitions())):
        return ()
    warnings = _check_files(plugin, source)
    submodels = [item.getId() for item in model.getListOfSubmodels()] if model is not None else []
    _check_number(plugin, submodels and model, source)
    location = f"file:{Path(source.path).resolve()}" if source.path != "<text>" else ""
    if location:
        document.setLocationURI(location)
    if submodels:
        rehearse(as_read(source.text), location, source, listing([f"'{identifier}'" for identifier in submodels]))
    while model is not None and model.getNumPorts():
        model.removePort(0)  # nobody refers to those of the whole, right or wrong
    document.getErrorLog().clearLog()
    converted = document.convert(flattening()) == libsbml.LIBSBML_OPERATION_SUCCESS
    errors = [document.getError(index) for index in range(document.getNumErrors())]
    errors = [error for error in errors if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
    if errors or not converted:
        # the first says that there are more
        detail = _why(errors[-1], source) if errors else "they do not fit"
        raise SbmlError(f"{source.path}: its submodels cannot be put together: {detail}; mend the model there")
    return warnings


def _why(error: Any, source: Source) -> str:
    """What is wrong and where: what a message says of this model follows a reference to the standard."""
    problem = _REFERENCE.split(" ".join(error.getMessage().split()).rstrip("."), maxsplit=1)[-1]
    problem = _INSIDE.sub("", problem)
    there = [tag for tag in tags(source.text) if tag.line == error.getLine() and tag.name in _LINKS]
    there = [tag for tag in there if any(f"'{value}'" in problem for value in tag.attributes.values())]
    if len(there) != 1:
        return problem
    submodel = next((value for key, value in there[0].attributes.items() if key.endswith("submodelRef")), "")
    of_submodel = f" (of submodel '{submodel}')" if submodel else ""
    return f"line {error.getLine()}, {there[0].in_words}{of_submodel}: {problem}"


def _check_number(plugin: Any, model: Any, source: Source) -> None:
    """Refuse what doubles and doubles: how many models submodels of submodels come to is counted before."""
    definitions = {item.getId(): item.getPlugin("comp") for item in plugin.getListOfModelDefinitions()}
    inside = {
        name: [item.getModelRef() for item in part.getListOfSubmodels()] if part is not None else []
        for name, part in definitions.items()
    }
    models: dict[str, int] = {}
    with contextlib.suppress(CycleError):  # of which libSBML tells more
        for name in TopologicalSorter(inside).static_order():
            models[name] = 1 + sum(models[other] for other in inside.get(name, ()))
    for item in model.getListOfSubmodels() if model else ():
        number = models.get(item.getModelRef(), 1)
        if number > _MOST_MODELS:
            raise SbmlError(
                f"{source.path}: its submodels cannot be put together: submodel '{item.getId()}' comes to {number} "
                f"models, since '{item.getModelRef()}' holds others that hold others, and {_MOST_MODELS} is the most "
                "that are; take fewer"
            )


def _check_files(plugin: Any, source: Source) -> tuple[str, ...]:
    """Look at every file that the model is put together from before libsbml opens it; returns warnings."""
    documents: dict[Path, Any] = {}  # they stay referenced: their parts die with them
    warnings: list[str] = []
    pending = list(_references(plugin, source))
    while pending:
        definition, path = pending.pop()
        if path not in documents:
            if len(documents) == _MOST_FILES:
                raise SbmlError(f"{source.path}: is put together from more than {_MOST_FILES} files; put it into one")
            part = read_source(path)
            documents[path], faults = read_document(part)
            warnings += (f"{path.name}: {fault}" for fault in faults)
            inner = documents[path].getPlugin("comp")
            pending.extend(_references(inner, part) if inner is not None else ())
        _check_definition(definition, documents[path], path)
    return tuple(warnings)


@dataclass(frozen=True)
class _Definition:
    """A model definition that refers to a file: the file that it stands in, its id, and the model it means there."""

    source: str
    identifier: str
    model: str


def _check_definition(definition: _Definition, document: Any, path: Path) -> None:
    words = f"{definition.source}: the model definition '{definition.identifier}' refers to {path}"
    if document.getLevel() < 3:
        raise SbmlError(f"{words}, which is SBML Level {document.getLevel()}; export that file as Level 3")
    models = [document.getModel().getId()] if document.getModel() is not None else []
    plugin = document.getPlugin("comp")
    if plugin is not None:
        models += [item.getId() for item in plugin.getListOfModelDefinitions()]
        models += [item.getId() for item in plugin.getListOfExternalModelDefinitions()]
    if definition.model and definition.model not in models:
        ids = ", ".join(map(repr, models))
        raise SbmlError(f"{words} for the model '{definition.model}', but it has {ids}; correct the reference")


def _references(plugin: Any, source: Source) -> Iterator[tuple[_Definition, Path]]:
    for item in plugin.getListOfExternalModelDefinitions():
        location = item.getSource().removeprefix("file:")
        outside = ":" in location or Path(location).is_absolute() or ".." in Path(location).parts
        if source.path == "<text>" or outside:
            raise SbmlError(
                f"{source.path}: the model definition '{item.getId()}' refers to {item.getSource()!r}; only files "
                "beside the model's own file are opened, so put it there and refer to it by its name"
            )
        definition = _Definition(source.path, item.getId(), item.getModelRef())
        yield definition, Path(source.path).resolve().parent / location
