"""From a path or XML text to a libsbml document that can be trusted to be one."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any
from xml.parsers import expat

import libsbml

from sbmlgrad.errors import SbmlError, UnsupportedError
from sbmlgrad.files import read_bytes
from sbmlgrad.model.elements import Source
from sbmlgrad.sbml.biomodels import is_biomodels_id, read_biomodels
from sbmlgrad.sbml.faults import check_errors, without_nameless
from sbmlgrad.sbml.support import unsupported
from sbmlgrad.sbml.tags import as_read, as_utf8

_DEEPEST_XML = 1000  # elements; libsbml recurses, and a crash of it would end the process
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2"}


def read_source(source: str | Path) -> Source:
    """The text of a document, from a path, from a BioModels id or from text that starts with "<"."""
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("<"):
        return Source("<text>", source)
    if isinstance(source, str) and "\n" in source:
        raise SbmlError("<text>: this is neither a path nor XML: SBML text starts with '<'; give one of the two")
    path = Path(source)
    if isinstance(source, str) and not source.strip():
        raise SbmlError("no file was named: give the path of an SBML file, or its text")
    try:
        return Source(str(path), _decoded(read_bytes(path), str(path)))
    except FileNotFoundError:
        if not is_biomodels_id(str(source)):
            raise SbmlError(
                f"{path}: there is no such file; give the path of an SBML file, or an id such as BIOMD0000000035"
            ) from None
    except IsADirectoryError:
        raise SbmlError(f"{path}: this is a folder; give the path of an SBML file in it") from None
    except (OSError, ValueError) as error:
        raise SbmlError(f"{path}: the file cannot be read ({error}); check its name and permissions") from None
    return read_biomodels(str(source), _checked)


def read_document(source: Source) -> tuple[Any, tuple[str, ...]]:
    """The libsbml document of a text, with warnings of errors in it that touch no mathematics.

    Raises :class:`UnsupportedError` for packages that are required and not read, before anything in them is looked at,
    and :class:`SbmlError` for other errors, and for what is no document of SBML.
    """
    check_xml(source)
    document = libsbml.readSBMLFromString(as_read(source.text))
    reasons = unsupported(document, source.text)
    if reasons:
        raise UnsupportedError(source.path, reasons)
    warnings = check_errors(document, source)
    without_nameless(document)
    return document, warnings


def parse(source: Source) -> tuple[Any, tuple[str, ...]]:
    """As :func:`read_document`, of a document that holds a model, in Level 2 or 3."""
    document, warnings = read_document(source)
    if document.getModel() is None:
        raise SbmlError(f"{source.path}: the document holds no model; export it again with one")
    if document.getLevel() == 1:
        converted = document.setLevelAndVersion(2, 4, False)
        if not converted or document.getLevel() != 2 or document.getModel() is None:
            raise SbmlError(f"{source.path}: SBML Level 1 that does not convert to Level 2; export it as Level 2 or 3")
    return document, warnings


def items(every: Any) -> list[Any]:
    """What is in one of libsbml's lists, whose own iterator counts them anew at each step."""
    return [every.get(index) for index in range(every.size())]


def _decoded(content: bytes, path: str) -> str:
    if not content.strip():
        raise SbmlError(f"{path}: the file is empty; export the model again")
    for mark, compression in _COMPRESSED.items():
        if content.startswith(mark):
            raise SbmlError(f"{path}: the file is compressed ({compression}); unpack it and give the SBML file inside")
    declared = re.match(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']", content)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    encoding = encoding or (declared.group(1).decode("ascii") if declared else "utf-8")
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise SbmlError(f"{path}: the file is not XML: it is not text in {encoding} ({error})") from None


def _checked(content: bytes, path: str) -> Source:
    source = Source(path, _decoded(content, path))
    check_xml(source)
    return source


def check_xml(source: Source) -> None:
    """Well-formed XML with root ``sbml``, no document type, no absurd depth: before libsbml sees it."""
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 1 and name.rpartition(" ")[2] != "sbml":
            word = name.rpartition(" ")[2]
            raise SbmlError(f"{source.path}: XML but not SBML: the root is <{word}>; give an SBML file")
        if depth > _DEEPEST_XML:
            raise SbmlError(
                f"{source.path}: line {parser.CurrentLineNumber}: elements are more than {_DEEPEST_XML} deep;"
                " split the formula there with assignment rules"
            )

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: Any) -> None:
        raise SbmlError(f"{source.path}: the file declares a document type, which SBML has not; remove <!DOCTYPE ...>")

    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    try:
        parser.Parse(as_utf8(source.text).encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        raise SbmlError(f"{source.path}: not XML: {error}; export the model again or mend that line") from None
