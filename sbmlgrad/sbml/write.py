"""Writes a model back into the SBML document that it came from.

The document keeps its bytes except for the changed numbers and one annotation that says what was fitted. It
is read back with libSBML and compared with what was asked before the file appears under its name.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from xml.etree import ElementTree

import libsbml

from sbmlgrad.errors import SbmlError
from sbmlgrad.files import replacing
from sbmlgrad.model.elements import Elements, Source
from sbmlgrad.sbml.document import parse
from sbmlgrad.sbml.edit import FIT_NAMESPACE, bare_id, edit_values, format_number

ElementTree.register_namespace("sbmlgrad", FIT_NAMESPACE)

_DECLARATION = re.compile(r"<\?xml\s[^>]*?\?>")
_ENCODING = re.compile(r"""encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
# XML allows no white space before its declaration; our reader does.
_BEFORE_DECLARATION = re.compile(r"\A[ \t\r\n]+(?=<\?xml\s)")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class ChangedModel(Protocol):
    """What writing needs of a model: its elements with their source, and the values changed since."""

    @property
    def elements(self) -> Elements:
        """The parts of the model, with the document in ``elements.source``."""

    @property
    def changes(self) -> Mapping[str, float]:
        """New values by id."""


@dataclass(frozen=True)
class FitRecord:
    """What was fitted and how: goes into the annotation of a written model.

    ``parameters`` maps ids to (estimate, standard error); ``data`` is the file name of the table, ``loss``
    the name of the loss and ``loss_value`` its value at the estimate; ``version`` is that of sbmlgrad and
    ``date`` is ISO 8601.
    """

    parameters: Mapping[str, tuple[float, float]]
    data: str
    loss: str
    loss_value: float
    seed: int
    version: str
    date: str


def fit_annotation(record: FitRecord) -> str:
    """Return a fit as one ``sbmlgrad:fit`` XML element, lines indented from 0 by two spaces."""
    fit = ElementTree.Element(
        f"{{{FIT_NAMESPACE}}}fit",
        {
            "version": _legal(record.version),
            "date": _legal(record.date),
            "data": _legal(record.data),
            "loss": _legal(record.loss),
            "lossValue": format_number(record.loss_value),
            "seed": str(record.seed),
        },
    )
    for identifier, (estimate, error) in record.parameters.items():
        attributes = {
            "id": _legal(identifier),
            "estimate": format_number(estimate),
            "standardError": format_number(error),
        }
        ElementTree.SubElement(fit, f"{{{FIT_NAMESPACE}}}parameter", attributes)
    ElementTree.indent(fit)
    return ElementTree.tostring(fit, encoding="unicode")


def _legal(text: str) -> str:
    """Text without the characters that XML cannot hold, which a file name may have."""
    return _NOT_XML.sub("\ufffd", text)


def write_sbml(model: ChangedModel, path: str | os.PathLike[str], fit: FitRecord | None = None) -> None:
    """Write a model to ``path`` as its original document with the changed values.

    Without changes and without ``fit`` the file has the bytes of the original. An existing file is replaced
    only once the new one is complete.

    Raises UnknownIdError where a changed id is not in the document or a value written for it would be
    ignored; SbmlError where the result, read back, is not what was asked or breaks a rule of SBML that the
    original does not break, or where the file cannot be written.

    Parameters
    ----------
    model
        A model with the document it was read from; its ``changes`` are written, ids as in
        :func:`~sbmlgrad.sbml.edit.edit_values`.
    path
        The file to write, uncompressed XML.
    fit
        What was fitted, written as an annotation of the model; it replaces that of an earlier fit.
    """
    source = model.elements.source
    original = _BEFORE_DECLARATION.sub("", source.text, count=1)
    annotation = fit_annotation(fit) if fit else None
    text = edit_values(original, model.changes, annotation, source.path)
    if text != original:
        _verify(Source(source.path, original), Source(source.path, text), model.changes)
    with replacing(path) as part:
        part.write_bytes(_encode(text, source.path))


# ---- reading back --------------------------------------------------------------------------------------


def _verify(original: Source, edited: Source, changes: Mapping[str, float]) -> None:
    """Raise SbmlError unless ``edited`` differs in the changed values alone and has no new errors."""
    before, after = parse(original)[0], parse(edited)[0]
    # Values first: a value that is not what was asked explains an error better than the error does.
    _compare_values(_values(before.getModel()), _values(after.getModel()), changes, original.path)
    old = Counter(error.getErrorId() for error in _consistency_errors(before))
    for error in _consistency_errors(after):
        if old[error.getErrorId()] == 0:
            raise SbmlError(
                f"{original.path}: not written, the new values break an SBML rule: {_one_line(error)};"
                " change the values concerned"
            )
        old[error.getErrorId()] -= 1


def _one_line(error: Any) -> str:
    return f"line {error.getLine()}: {' '.join(error.getMessage().split())} (rule {error.getErrorId()})"


def _consistency_errors(document: Any) -> list[Any]:
    # Units are left out: they take most of the time, and no number changes one, except an exponent, where a
    # fit must not fail because a Hill coefficient is no longer an integer.
    document.setConsistencyChecks(libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, False)
    document.checkConsistency()  # its return value, the number of failures, counts warnings too
    errors = [document.getError(index) for index in range(document.getNumErrors())]
    return [error for error in errors if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]


@dataclass(frozen=True)
class _Values:
    """All numbers of a document that an edit may change, as libSBML reads them; None where unset."""

    parameters: Mapping[str, float | None]
    sizes: Mapping[str, float | None]
    amounts: Mapping[str, float | None]
    concentrations: Mapping[str, float | None]
    compartments: Mapping[str, str]  # of the species

    def amount(self, species: str) -> float | None:
        stored = self.amounts[species]
        return stored if stored is not None else _product(self.concentrations[species], self.size(species))

    def size(self, species: str) -> float | None:
        return self.sizes.get(self.compartments[species])

    def as_dict(self) -> dict[str, float | None]:
        """Every stored number by the id that changes it."""
        return {
            **self.parameters,
            **self.sizes,
            **self.amounts,
            **{f"[{species}]": value for species, value in self.concentrations.items()},
        }


def _product(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left * right


def _values(model: Any) -> _Values:
    species = model.getListOfSpecies()
    reactions = [r for r in model.getListOfReactions() if r.isSetKineticLaw()]
    laws = [(r.getId(), r.getKineticLaw()) for r in reactions]
    local = [(name, law.getParameter(i)) for name, law in laws for i in range(law.getNumParameters())]
    return _Values(
        parameters={p.getId(): _optional(p.isSetValue(), p.getValue()) for p in model.getListOfParameters()}
        | {f"{name}.{p.getId()}": _optional(p.isSetValue(), p.getValue()) for name, p in local},
        sizes={c.getId(): _optional(c.isSetSize(), c.getSize()) for c in model.getListOfCompartments()},
        amounts={s.getId(): _optional(s.isSetInitialAmount(), s.getInitialAmount()) for s in species},
        concentrations={
            s.getId(): _optional(s.isSetInitialConcentration(), s.getInitialConcentration()) for s in species
        },
        compartments={s.getId(): s.getCompartment() for s in species},
    )


def _optional(is_set: bool, value: float) -> float | None:
    return value if is_set else None


def _compare_values(before: _Values, after: _Values, changes: Mapping[str, float], source: str) -> None:
    """Raise SbmlError unless the changed ids have their new value and all others their old one."""
    stored = after.as_dict()
    changed = {bare_id(name) for name in changes}
    kept = {name: old for name, old in before.as_dict().items() if bare_id(name) not in changed}
    checks = [(name, asked, _as_asked(after, name)) for name, asked in changes.items()]
    for name, expected, stored_value in [*checks, *((name, old, stored.get(name)) for name, old in kept.items())]:
        if not _same(expected, stored_value):
            raise SbmlError(
                f"{source}: not written, {name} reads back as {stored_value} instead of {expected}; "
                "report this with the file"
            )


def _as_asked(values: _Values, name: str) -> float | None:
    """The value under an id of a change: a species id asks for the amount, ``[S]`` for the concentration."""
    if name in values.amounts:
        return values.amount(name)
    species = bare_id(name)
    if species in values.amounts and values.concentrations[species] is None:
        amount, size = values.amounts[species], values.size(species)
        return None if amount is None or not size else amount / size
    return values.as_dict().get(name)


def _same(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=1e-15) or (math.isnan(left) and math.isnan(right))


# ---- the file ------------------------------------------------------------------------------------------


def _encode(text: str, source: str) -> bytes:
    """The bytes of a document in its declared encoding, UTF-8 where it declares none or has a mark."""
    declaration = _DECLARATION.match(text)  # no match after a byte order mark, which readers follow first
    declared = _ENCODING.search(declaration[0]) if declaration else None
    encoding = declared[1] if declared else "utf-8"
    try:
        # Only our annotation can hold characters that the encoding lacks; XML has references for these.
        return text.encode(encoding, errors="xmlcharrefreplace")
    except LookupError:
        message = f"{source}: declares the unknown encoding {encoding}; convert the file to UTF-8"
        raise SbmlError(message) from None
