"""Changes numbers in the text of an SBML document and leaves every other byte as it is.

libSBML's own writer reformats a document, so values are changed by surgery: expat says where the start tags
of the elements concerned stand, and one attribute of each is replaced there. Elements are found by their
place (``sbml/model/listOfParameters/parameter``), so the same id in an annotation, a package, a comment or a
CDATA section is never touched.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from sbmlgrad.errors import SbmlError, UnknownIdError

FIT_NAMESPACE = "https://sbmlgrad.readthedocs.io/ns/fit/1"

_TAG = re.compile(rb"""<(?:"[^"]*"|'[^']*'|[^"'>])*>""")
_ATTRIBUTE = re.compile(rb"""([^\s=<>"'/]+)\s*=\s*("[^"]*"|'[^']*')""")
_SBML_NAMESPACE = re.compile(r"http://www\.sbml\.org/sbml/level([123])(?:/version\d+(?:/core)?)?")


def edit_values(text: str, values: Mapping[str, float], annotation: str | None = None, source: str = "<text>") -> str:
    """Return an SBML document with other values, and ``text`` itself where nothing changes.

    Raises UnknownIdError where an id is not in the document, or a value written for it would be ignored or is
    ambiguous; SbmlError where the text is not XML, has a DOCTYPE or is not an SBML document with a model.

    Parameters
    ----------
    text
        The document, Level 1 to 3, with its line ends and byte order mark untouched.
    values
        New values: of global parameters, compartments (size) and ``reaction.parameter`` local parameters; a
        species id is its initial amount, ``[S]`` its initial concentration. A species keeps the attribute it
        has: the other kind is converted with the size of the compartment after this edit. A changed size
        alone leaves the initial amounts and concentrations in the file as they are.
    annotation
        One ``sbmlgrad:fit`` element for the annotation of the model; it replaces an earlier one.
    source
        The name of the document in error messages.
    """
    data = _utf8(text, source)
    outline = _Outline(data, source)
    edits = [edit for name in values if (edit := _value_edit(data, outline, name, values))]
    if annotation is not None:
        edits.append(_annotation_edit(data, outline, _utf8(annotation, source).splitlines()))
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        data = data[: edit.start] + edit.replacement + data[edit.end :]
    return data.decode()


def _utf8(text: str, source: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        message = f"{source}: character {error.start} is not valid Unicode; repair the file"
        raise SbmlError(message) from None


# ---- where things are ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Edit:
    """Bytes ``start`` to ``end`` become ``replacement``."""

    start: int
    end: int
    replacement: bytes


@dataclass(frozen=True)
class _Tag:
    """A start tag: where its ``<`` stands, and its attributes."""

    start: int
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class _Span:
    """An element: where it starts, where its end tag starts (None for ``<x/>``), where it ends."""

    start: int
    close: int | None
    end: int


class _Outline:
    """What an edit needs to know of a document, with byte offsets into its UTF-8 text."""

    def __init__(self, data: bytes, source: str):
        self.source = source
        self.level = 0
        self.parameters: dict[str, _Tag] = {}
        self.compartments: dict[str, _Tag] = {}
        self.species: dict[str, _Tag] = {}
        self.assigned: dict[str, str] = {}  # id -> what computes it
        self.spans: dict[str, _Span] = {}  # model, notes, annotation, fit
        self.first_child: int | None = None  # of the model
        self.annotation_name = b"annotation"
        self._data = data
        self._core = ""
        self._path: list[str] = []
        self._reaction = ""
        self._open: dict[int, tuple[str, int]] = {}  # depth -> name and start of spans not yet closed
        self._scan()
        if "model" not in self.spans:
            raise SbmlError(f"{source}: the document has no model; give an SBML file with a <model> element")

    @property
    def id_attribute(self) -> str:
        """The attribute that holds an SBML id: Level 1 has no ``id`` and uses ``name``."""
        return "name" if self.level == 1 else "id"

    @property
    def size_attribute(self) -> str:
        return "volume" if self.level == 1 else "size"

    def _scan(self) -> None:
        # The bytes are UTF-8 whatever the XML declaration says, since they come from decoded text.
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            what = f"line {error.lineno}: {expat.ErrorString(error.code)}"
            raise SbmlError(f"{self.source}: not well-formed XML, {what}; repair the file") from None

    def _doctype(self, *_: object) -> None:
        raise SbmlError(f"{self.source}: has a DOCTYPE, which SBML does not use; remove it")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        if not self._path:
            self._root(namespace, local, attributes)
        # A foreign name keeps its namespace, so it never matches below.
        self._path.append(local if namespace == self._core else name)
        start = self._parser.CurrentByteIndex
        if len(self._path) == 3 and self._path[1] == "model" and self.first_child is None:
            self.first_child = start
        if self._path[1:2] == ["model"]:
            self._model_part(tuple(self._path[2:]), _Tag(start, attributes))

    def _root(self, namespace: str, local: str, attributes: Mapping[str, str]) -> None:
        match = _SBML_NAMESPACE.fullmatch(namespace)
        if local != "sbml" or not match:
            raise SbmlError(f"{self.source}: the root element is <{local}>, not <sbml>; give an SBML file")
        self._core, self.level = namespace, int(match[1])
        if self.level == 1 and attributes.get("version") == "1":
            self.annotation_name = b"annotations"

    def _model_part(self, element_path: tuple[str, ...], tag: _Tag) -> None:
        name = tag.attributes.get(self.id_attribute, "")
        match element_path:
            case ():
                self._track("model", tag)
            case ("notes",):
                self._track("notes", tag)
            case ("annotation" | "annotations",):
                self._track("annotation", tag)
            case ("annotation" | "annotations", child) if child == f"{FIT_NAMESPACE} fit":
                self._track("fit", tag)
            case ("listOfParameters", "parameter"):
                self.parameters[name] = tag
            case ("listOfCompartments", "compartment"):
                self.compartments[name] = tag
            case ("listOfSpecies", "species" | "specie"):
                self.species[name] = tag
            case ("listOfReactions", "reaction"):
                self._reaction = name
            case ("listOfReactions", _, "kineticLaw", _, "parameter" | "localParameter"):
                self.parameters[f"{self._reaction}.{name}"] = tag
            case ("listOfInitialAssignments", "initialAssignment"):
                self.assigned[tag.attributes.get("symbol", "")] = "an initial assignment"
            case ("listOfRules", rule):
                self._rule(rule, tag.attributes)

    def _rule(self, rule: str, attributes: Mapping[str, str]) -> None:
        if self.level == 1:  # one element per kind of variable; type="rate" makes it a rate rule
            is_assignment = attributes.get("type", "scalar") == "scalar"
        else:
            is_assignment = rule == "assignmentRule"
        for key in ("variable", "name", "compartment", "species", "specie"):
            if is_assignment and key in attributes:
                self.assigned[attributes[key]] = "an assignment rule"

    def _track(self, name: str, tag: _Tag) -> None:
        self._open[len(self._path)] = (name, tag.start)

    def _end(self, _: str) -> None:
        opened = self._open.pop(len(self._path), None)
        self._path.pop()
        if not opened:
            return
        name, start = opened
        tag = _tag_at(self._data, start)
        if tag.endswith(b"/>"):
            self.spans[name] = _Span(start, None, start + len(tag))
        else:
            close = self._parser.CurrentByteIndex
            self.spans[name] = _Span(start, close, close + len(_tag_at(self._data, close)))


def _tag_at(data: bytes, start: int) -> bytes:
    match = _TAG.match(data, start)
    assert match, "expat found a tag here"
    return match[0]


# ---- values --------------------------------------------------------------------------------------------


def bare_id(name: str) -> str:
    """Return ``S`` for ``[S]``, and any other id as it is."""
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _value_edit(data: bytes, outline: _Outline, name: str, values: Mapping[str, float]) -> _Edit | None:
    """The edit that gives the id ``name`` its value, or None where the document already says so."""
    bare = bare_id(name)
    if bare in outline.assigned:
        raise UnknownIdError(
            f"{outline.source}: {bare} is set by {outline.assigned[bare]}, so readers would ignore a value"
            " written for it; change what it is computed from"
        )
    if bare in outline.species:
        return _species_edit(data, outline, bare, values)
    if name in outline.parameters:
        return _attribute_edit(data, outline, outline.parameters[name], "value", values[name])
    if tag := outline.compartments.get(name):
        return _attribute_edit(data, outline, tag, outline.size_attribute, values[name])
    ids = [*outline.parameters, *outline.compartments, *outline.species]
    close = difflib.get_close_matches(name, ids, n=1)
    remedy = f"did you mean {close[0]}?" if close else "check the spelling"
    raise UnknownIdError(
        f"{outline.source}: has no parameter, compartment, species or local parameter {name}; {remedy}"
    )


def _species_edit(data: bytes, outline: _Outline, species: str, values: Mapping[str, float]) -> _Edit | None:
    tag = outline.species[species]
    concentration = f"[{species}]"
    present = [key for key in ("initialAmount", "initialConcentration") if key in tag.attributes]
    if len(present) == 2:
        message = f"{outline.source}: {species} has both an initial amount and an initial concentration"
        raise SbmlError(f"{message}; remove one of them from the file")
    if species in values and concentration in values:
        raise UnknownIdError(
            f"{outline.source}: values are given for both {species} and {concentration}; give one of them"
        )
    asked = "initialAmount" if species in values else "initialConcentration"
    attribute = present[0] if present else "initialAmount" if outline.level == 1 else asked
    value = float(values[species] if species in values else values[concentration])
    if attribute != asked:
        size = _size(outline, species, values)
        value = value / size if attribute == "initialConcentration" else value * size
    return _attribute_edit(data, outline, tag, attribute, value)


def _size(outline: _Outline, species: str, values: Mapping[str, float]) -> float:
    """The size, after this edit, of the compartment of a species."""
    compartment = outline.species[species].attributes.get("compartment", "")
    attributes = outline.compartments[compartment].attributes if compartment in outline.compartments else {}
    default = "1" if outline.level == 1 else "nan"
    size = float(values.get(compartment, _parse(attributes.get(outline.size_attribute, default))))
    if compartment in outline.assigned or not math.isfinite(size) or size == 0:
        is_amount = "initialAmount" in outline.species[species].attributes
        kind, other = ("amount", f"[{species}]") if is_amount else ("concentration", species)
        remedy = species if is_amount else f"[{species}]"
        why = outline.assigned.get(compartment, "no usable size")
        raise UnknownIdError(
            f"{outline.source}: the file holds the initial {kind} of {species}, to which {other} cannot be"
            f" converted, since compartment {compartment} has {why}; give {remedy}"
        )
    return size


def _parse(number: str) -> float:
    try:
        return float(number)
    except ValueError:
        return math.nan


def _attribute_edit(data: bytes, outline: _Outline, tag: _Tag, attribute: str, value: float) -> _Edit | None:
    old = tag.attributes.get(attribute)
    if old is not None and _parse(old) == value:
        return None
    name_of_attribute = (attribute if old is not None else outline.id_attribute).encode()
    match = next(m for m in _ATTRIBUTE.finditer(_tag_at(data, tag.start)) if m[1] == name_of_attribute)
    new = format_number(value, old).encode()
    if old is not None:
        return _Edit(tag.start + match.start(2) + 1, tag.start + match.end(2) - 1, new)
    quote = match[2][:1]
    after_id = tag.start + match.end()
    return _Edit(after_id, after_id, b" " + attribute.encode() + b"=" + quote + new + quote)


def format_number(value: float, old: str | None = None) -> str:
    """Return the shortest text that reads back as ``value``; ``.0`` only where ``old`` had a point."""
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "INF" if value > 0 else "-INF"
    text = repr(value)
    return text if old is not None and "." in old else text.removesuffix(".0")


# ---- the annotation ------------------------------------------------------------------------------------


def _annotation_edit(data: bytes, outline: _Outline, lines: list[bytes]) -> _Edit:
    """The edit that puts an element (as lines, indented from 0) into the annotation of the model."""
    model = outline.spans["model"]
    notes, annotation, fit = (outline.spans.get(name) for name in ("notes", "annotation", "fit"))
    newline = b"\r\n" if b"\r\n" in data else b"\n"
    margin = _margin(data, outline.first_child)
    unit = _unit(_margin(data, model.start), margin)
    if fit:
        return _Edit(fit.start, fit.end, _layout(lines, _margin(data, fit.start), newline))
    if annotation and annotation.close is not None:
        return _before_end_tag(data, annotation.close, lines, unit, newline)
    if annotation:
        tag = data[annotation.start : annotation.end]
        indented = _element(_open_tag(tag), lines, unit)
        block = _layout(indented, _margin(data, annotation.start), newline)
        return _Edit(annotation.start, annotation.end, block)

    tag = _tag_at(data, model.start)
    prefix, colon, _ = _name(tag).rpartition(b":")  # the model may be <sbml:model>
    indented = _element(b"<" + prefix + colon + outline.annotation_name + b">", lines, unit)
    block = (b"" if margin is None else newline + margin) + _layout(indented, margin, newline)
    if model.close is None:  # <model/>
        return _Edit(model.start, model.end, _open_tag(tag) + block + b"</" + _name(tag) + b">")
    after = notes.end if notes else model.start + len(tag)
    return _Edit(after, after, block)


def _before_end_tag(data: bytes, close: int, lines: list[bytes], unit: bytes, newline: bytes) -> _Edit:
    margin = _margin(data, close)
    if margin is None:
        return _Edit(close, close, _layout(lines, None, newline))
    line_start = close - len(margin)
    inner = margin + unit
    return _Edit(line_start, line_start, inner + _layout(lines, inner, newline) + newline)


def _layout(lines: list[bytes], margin: bytes | None, newline: bytes) -> bytes:
    """Lines joined under a margin, or on one line where the surroundings are (margin None)."""
    if margin is None:
        return b"".join(line.strip() for line in lines)
    return (newline + margin).join(lines)


def _element(open_tag: bytes, lines: list[bytes], unit: bytes) -> list[bytes]:
    return [open_tag, *(unit + line for line in lines), b"</" + _name(open_tag) + b">"]


def _open_tag(tag: bytes) -> bytes:
    """``<x a="1"/>`` as ``<x a="1">``."""
    return tag.removesuffix(b"/>").rstrip() + b">"


def _name(tag: bytes) -> bytes:
    return re.split(rb"[\s/>]", tag[1:], maxsplit=1)[0]


def _margin(data: bytes, start: int | None) -> bytes | None:
    """The white space before ``start`` on its line, or None where something else stands there."""
    if start is None:
        return None
    before = data[data.rfind(b"\n", 0, start) + 1 : start]
    return before if not before.strip(b" \t") and start > len(before) else None


def _unit(outer: bytes | None, inner: bytes | None) -> bytes:
    """One step of indentation, as between the model and its first child."""
    if outer is not None and inner is not None and inner.startswith(outer) and inner != outer:
        return inner.removeprefix(outer)
    return b"  "
