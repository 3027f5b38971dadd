"""What libSBML calls errors: those that touch no mathematics become warnings, the first other one is raised.

Exporters break rules of SBML that no number depends on: of annotations, of packages that are not read here, of lists
that must not be empty, of attributes that only repeat what the rest says. libSBML knows an error by its number and
package; which attribute or list it is about stands in its message or, for lists, nowhere, so that they are looked up.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import libsbml

from sbmlgrad.errors import SbmlError
from sbmlgrad.model.elements import Source
from sbmlgrad.sbml.support import packages
from sbmlgrad.sbml.tags import SBML, Tag, tags

_REFERENCE = re.compile(r" Reference: L\dV\d(?: \w+ V[\d.]+)?,? Sections? (?:[\d., and]*\d\.? ?)?")
_OF_XML = re.compile(r"\bThe http\S+ (.+?)(?:\. |$)")  # names an element after its namespace
_MISSING = re.compile(r"The required attribute '(\w+)' is missing(?: from the <(\w+)>(?:.* with the id '([^']*)')?)?")
_UNKNOWN = re.compile(r"Attribute '([^']+)' is not part of the definition of an SBML Level \d Version \d <(\w+)>")
_BLANK = re.compile(r"Attribute '(\w+)' on an <?(\w+)>? must not be an empty string")
_ELEMENT = re.compile(r"Element '(\w+)' is not part of the definition")
_NO_ID = re.compile(r"attribute 'id' is (?:missing|required)")
_OF_LEVEL_3 = re.compile(r"The L3 package '(\w+)' cannot be used in this document")
_OF_PACKAGE = re.compile(r'Level \d Version \d Package "(\w+)" Version')
_ONLY_ONE = re.compile(r"Only one <(?:annotation|notes)> element is permitted")
_IDENTIFIER = re.compile(r"The id '(.*)' does not conform")

_ANNOTATIONS = {
    *(libsbml.MissingAnnotationNamespace, libsbml.DuplicateAnnotationNamespaces, libsbml.SBMLNamespaceInAnnotation),
    *(libsbml.MultipleAnnotations, libsbml.NotesNotInXHTMLNamespace, libsbml.NotesContainsXMLDecl),
    *(libsbml.NotesContainsDOCTYPE, libsbml.InvalidNotesContent, libsbml.OnlyOneNotesElementAllowed),
    *(libsbml.InvalidSBOTermSyntax, libsbml.InvalidMetaidSyntax, libsbml.DuplicateMetaId, libsbml.InvalidNameSyntax),
}
_UNITS = {
    *(libsbml.InvalidUnitIdSyntax, libsbml.DanglingUnitReference),
    *(libsbml.DisallowedMathUnitsUse, libsbml.InvalidUnitsValue),
}
_EMPTY = {
    *(libsbml.EmptyListElement, libsbml.EmptyListInReaction, libsbml.EmptyListInKineticLaw),
    *(libsbml.EmptyListOfUnits, libsbml.EmptyUnitListElement, libsbml.MissingEventAssignment),
}
_READ_ANYWAY = {  # packages that are read whatever a document says of whether they are required
    *(libsbml.CompAttributeRequiredMissing, libsbml.CompAttributeRequiredMustBeTrue),
    *(1520101, 1520103, 1420101),  # the same of distrib and of MathML, for which libsbml has no names in Python
}
_ELEMENT_OF = {  # of the errors that do not name theirs
    libsbml.AllowedAttributesOnEvent: "event",
    libsbml.AllowedAttributesOnUnit: "unit",
}

# Whether something may vary is said by the rules and events that vary it; a law is taken as it is written.
_REPEATED = {
    *(("compartment", "constant"), ("species", "constant"), ("parameter", "constant"), ("reaction", "reversible")),
    *(("reaction", "fast"), ("speciesReference", "constant")),
}
# Attributes of other levels, about names and drawings.
_IDLE = {"metaid", "sboTerm", "name", "charge", "outside", "compartmentType", "speciesType", "spatialSizeUnits"}
_IDLE_IN = {("speciesReference", "constant"), ("localParameter", "constant")}
_USUAL = {"fast": ("false", "0"), "offset": ("0", "0.0")}  # values that say what holds without the attribute
_IDLE_BLANKS = {"metaid", "sboTerm", "name", "units", "timeUnits", "substanceUnits", "extentUnits", "lengthUnits"}
_IDLE_BLANKS |= {"areaUnits", "volumeUnits"}
_IDLE_IN_ANY_CASE = {name.lower() for name in _IDLE}
_TAKEN_FOR_FALSE = {
    "hasOnlySubstanceUnits": "formulas mean the concentration",
    "boundaryCondition": "reactions change the species",
}
_IDLE_LISTS = ("listOfCompartmentTypes", "listOfSpeciesTypes")
_TO_BE_NAMED = ("parameter", "localParameter", "species", "functionDefinition")  # without an id they say nothing
_NAMED_BY_NO_FORMULA = ("model", "event", "unitDefinition")


def check_errors(document: Any, source: Source) -> tuple[str, ...]:
    """Warnings, one for each kind of error that touches no mathematics; raises :class:`SbmlError` for any other."""
    log = _ErrorLog(document, source.text)
    kinds: dict[tuple[Any, ...], dict[str, None]] = {}
    for error in log.errors:
        said = log.harmless(error)
        if said is None:
            raise SbmlError(f"{source.path}: line {error.getLine()}: not valid SBML: {log.problem(error)}")
        kind, line, words = said
        kinds.setdefault(kind, {})[f"line {line}: {words}"] = None
    return tuple(
        next(iter(all_words)) + (f" (and {len(all_words) - 1} more like it)" if len(all_words) > 1 else "")
        for all_words in kinds.values()
    )


_Item = TypeVar("_Item")
_Verdict = tuple[tuple[Any, ...], int, str]  # the kind of an error, its line, and a sentence about it


def without_nameless(document: Any) -> None:
    """Take out, in place, what no formula can name because it has no id."""
    for item in _all_elements(document):
        if item.getElementName() in _TO_BE_NAMED and item.getPackageName() == "core" and not item.getId():
            item.removeFromParentAndDelete()


class _ErrorLog:
    """The errors of one document, with what is needed to tell what they touch.

    There may be as many errors as there are tags, so that none of them looks at the whole document.
    """

    def __init__(self, document: Any, text: str):
        self.document, self.text = document, text
        every = [document.getError(index) for index in range(document.getNumErrors())]
        self.errors = [error for error in every if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
        # whether strange packages are needed has been asked before, and not by what they are declared to be
        self.errors = [error for error in self.errors if error.getErrorId() != libsbml.RequiredPackagePresent]
        passed_over = [name for name, needed in packages(document, text) if not needed]
        self._told: set[Tag] = set()  # empty lists
        self._answers: dict[tuple[Any, ...], bool] = {}
        self.passed_over = passed_over if document.getLevel() > 2 else None  # before Level 3, all are annotations

    @cached_property
    def tags(self) -> list[Tag]:
        return tags(self.text)

    @cached_property
    def _at(self) -> Mapping[Any, list[Tag]]:
        """Tags by line, and by line and name."""
        return _grouped(self.tags, lambda tag: (tag.line, (tag.line, tag.name)))

    @cached_property
    def _called(self) -> Mapping[Any, list[Tag]]:
        """Tags by line and id; those that are there to be named and have none, by line."""
        named = _grouped(self.tags, lambda tag: ((tag.line, tag.identifier),))
        nameless = (tag for tag in self.tags if tag.name in _TO_BE_NAMED and not tag.identifier)
        return {**named, **_grouped(nameless, lambda tag: (tag.line,))}

    @cached_property
    def _packages_of(self) -> Mapping[Any, set[str]]:
        """The packages of tags, by name and the line of a tag or of what it is in."""
        near = _grouped(self.tags, lambda tag: {(tag.name, each.line) for each in (tag, tag.parent) if each})
        return {key: {tag.package for tag in there} for key, there in near.items()}

    @cached_property
    def _empty(self) -> Mapping[Any, deque[Tag]]:
        """Empty lists, by the lines at which libsbml may report them, and by line and name."""
        empty = (tag for tag in self.tags if tag.name.startswith("listOf") and not tag.children)

        def keys(tag: Tag) -> set[Any]:
            lines = {tag.line, tag.parent.line} if tag.parent else set()
            return {*lines, *((line, tag.name) for line in lines)}

        return {key: deque(there) for key, there in _grouped(empty, keys).items()}

    @cached_property
    def _numbers(self) -> set[int]:
        return {error.getErrorId() for error in self.errors}

    def _once(self, key: tuple[Any, ...], answer: Callable[[], bool]) -> bool:
        """The answer to a question that many errors ask."""
        if key not in self._answers:
            self._answers[key] = answer()
        return self._answers[key]

    @property
    def _edition(self) -> str:
        return f"SBML Level {self.document.getLevel()} Version {self.document.getVersion()}"

    def there(self, error: Any, name: str = "") -> list[Tag]:
        """The tags on the line of an error, those of one name where that is given."""
        return self._at.get((error.getLine(), name) if name else error.getLine(), [])

    def problem(self, error: Any) -> str:
        """What is wrong and where, for an error that is raised."""
        if error.getErrorId() == libsbml.InvalidNamespaceOnSBML:
            own = f"{self.tags[0].namespace!r} is" if self.tags else "the root's is"
            return f"{own} no namespace of it; export as SBML (in BioNetGen writeSBML, not writeXML)"
        there = self.there(error)
        meant = [tag for tag in there if re.search(rf"\b{tag.name}\b", _detail(error))] or there
        if len(meant) > 1 and all(inner.parent is outer for outer, inner in pairwise(meant)):
            meant = meant[-1:]
        culprit = meant[0].in_words if len(meant) == 1 else "that line"
        before = [tag for tag in self.tags if tag.line < error.getLine() and tag.identifier]
        if not there and before:
            culprit = f"that line, in {before[-1].in_words}"
        if error.getErrorId() == libsbml.OneOfEachListOf:
            names = [tag.name for tag in self.tags if tag.parent in there]
            culprit = next((f"<{name}>" for name in names if names.count(name) > 1), culprit)
        problem = ": ".join(part for part in (" ".join(error.getShortMessage().split()), _detail(error)) if part)
        match = _MISSING.search(error.getMessage())
        usual = match and _TAKEN_FOR_FALSE.get(match[1])
        remedy = f" (where it is missing, most tools take it for false: {usual})" if usual else ""
        return f"{problem}; mend {culprit}{remedy}"

    def harmless(self, error: Any) -> _Verdict | None:
        """The kind of an error and a sentence about it; None where numbers may depend on it."""
        package, number, line = self._package(error), error.getErrorId(), error.getLine()
        if package and (self.passed_over is None or package in self.passed_over):
            what = _detail(error) or error.getShortMessage()
            return (package,), line, f"the package '{package}', which is not read here, is used wrongly: {what}"
        if number in _READ_ANYWAY:
            return (number,), line, f"the package '{package}' is read whatever its attribute 'required' says"
        if package:
            return None
        rules = (
            *(self._version, self._aside, self._empty_list, self._nameless, self._missing, self._unknown, self._blank),
            *(self._idle, self._identifier),
        )
        return next(filter(None, (rule(error) for rule in rules)), None)

    def _package(self, error: Any) -> str:
        """The package that an error is of; libsbml files strange elements and strange namespaces under the core."""
        if error.getErrorId() == libsbml.NotSchemaConformant and (match := _OF_LEVEL_3.search(error.getMessage())):
            return match[1]
        if match := _OF_PACKAGE.search(error.getMessage()):
            return match[1]
        match = _ELEMENT.search(error.getMessage())
        if error.getErrorId() != libsbml.UnrecognizedElement or match is None:
            return error.getPackage()
        owners = self._packages_of.get((match[1], error.getLine()), set())
        return next(iter(owners)) if len(owners) == 1 else ""

    def _version(self, error: Any) -> _Verdict | None:
        """A namespace of another version of the same level: it is the attribute that libsbml reads by."""
        if error.getErrorId() != libsbml.MissingOrInconsistentVersion:
            return None
        if libsbml.MissingOrInconsistentLevel in self._numbers:
            return None
        if any("version" not in tag.attributes for tag in self.there(error, "sbml")):
            return None
        words = f"<sbml> has the namespace of another version; it is read as {self._edition}, as it says"
        return (error.getErrorId(),), error.getLine(), words

    def _nameless(self, error: Any) -> _Verdict | None:
        """An element that is there only to be named, and has no id; :func:`without_nameless` removes it."""
        there = self._called.get(error.getLine(), [])
        if not there or not _NO_ID.search(error.getMessage()):
            return None
        return ("nameless", there[0].name), error.getLine(), f"{there[0].in_words} has no id; it is passed over"

    def _aside(self, error: Any) -> _Verdict | None:
        """Annotations, notes, terms of ontologies, units of numbers, the order of lists."""
        number, problem = error.getErrorId(), ": ".join(filter(None, (error.getShortMessage(), _detail(error))))
        there = self.there(error)
        where = f" ({there[0].in_words})" if len(there) == 1 and there[0].name not in problem else ""
        twice = number == libsbml.NotSchemaConformant and _ONLY_ONE.search(problem)
        if number in _ANNOTATIONS or twice or error.getCategory() == libsbml.LIBSBML_CAT_SBO_CONSISTENCY:
            return (number,), error.getLine(), f"{problem}{where}; this part is not read"
        if number in _UNITS:
            return (number,), error.getLine(), f"{problem}{where}; it is taken as it is written"
        if number == libsbml.IncorrectOrderInModel:
            return (number,), error.getLine(), f"{problem}; they are read in any order"
        return None

    def _empty_list(self, error: Any) -> _Verdict | None:
        """A list without items, which libsbml reports at the line of what it is in, or by its name."""
        named = re.search(r"\b(listOf\w+) cannot be empty", error.getMessage())
        if error.getErrorId() not in _EMPTY and not named:
            return None
        empty = self._empty.get((error.getLine(), named[1]) if named else error.getLine())
        if not empty:
            return None
        while len(empty) > 1 and empty[0] in self._told:  # each list is an error of its own
            empty.popleft()
        tag = empty[0]
        self._told.add(tag)
        owner = f" of {tag.parent.in_words}" if tag.parent else ""
        words = f"<{tag.name}>{owner} is empty, which SBML does not allow here"
        return ("empty", tag.line, tag.name), tag.line, words

    def _missing(self, error: Any) -> _Verdict | None:
        match = _MISSING.search(error.getMessage())
        if match is None:
            return None
        attribute, element, identifier = match[1], match[2] or _ELEMENT_OF.get(error.getErrorId(), ""), match[3]
        attribute = attribute.replace("Valuesfrom", "ValuesFrom")  # libsbml misspells it
        line, kind = error.getLine(), ("missing", element, attribute)
        repeated = (element, attribute) in _REPEATED
        if not (repeated or self._once((*kind, line), lambda: self._needless(line, element, attribute))):
            return None
        there = self.there(error, element)
        words = there[0].in_words if len(there) == 1 else f"<{element}>" + (f" '{identifier}'" if identifier else "")
        reason = "which SBML requires; the mathematics does not need it"
        return kind, line, f"{words} lacks the attribute '{attribute}', {reason}"

    def _needless(self, line: int, element: str, attribute: str) -> bool:
        """Whether nothing depends on an attribute for any element of a line."""
        items = self._elements.get((line, element))
        if not items:
            return False
        if (element, attribute) == ("event", "useValuesFromTriggerTime"):
            return all(not item.isSetDelay() for item in items)
        if (element, attribute) == ("species", "boundaryCondition"):
            return self.document.getPlugin("comp") is None and all(item.getId() not in self._moved for item in items)
        if element == "unit":
            definitions = (item.getAncestorOfType(libsbml.SBML_UNIT_DEFINITION) for item in items)
            return all(definition.getId() not in self._counted for definition in definitions)
        return False

    @cached_property
    def _moved(self) -> set[str | None]:
        """Species that reactions change."""
        return {tag.attributes.get("species") for tag in self.tags if tag.name == "speciesReference"}

    @cached_property
    def _counted(self) -> set[str | None]:
        """Units that say how many molecules there are."""
        return {tag.attributes.get(name) for tag in self.tags for name in ("substanceUnits", "extentUnits")}

    @cached_property
    def _elements(self) -> Mapping[Any, list[Any]]:
        """What libsbml has read, by line and name."""
        return _grouped(_all_elements(self.document), lambda item: ((item.getLine(), item.getElementName()),))

    def _unknown(self, error: Any) -> _Verdict | None:
        match = _UNKNOWN.search(error.getMessage())
        if match is None:
            return None
        attribute, element = match[1], match[2]
        there = self.there(error, element)
        if not self._once((attribute, element, error.getLine()), lambda: _is_idle(attribute, element, there)):
            return None
        words = there[0].in_words if len(there) == 1 else f"<{element}>"
        kind, reason = ("unknown", element, attribute), f"which {self._edition} does not define; it is passed over"
        return kind, error.getLine(), f"{words} has an attribute '{attribute}', {reason}"

    def _blank(self, error: Any) -> _Verdict | None:
        match = _BLANK.search(error.getMessage())
        if match is None or (match[1] not in _IDLE_BLANKS and (match[2].lower(), match[1]) != ("model", "id")):
            return None
        words = f"<{match[2].lower()}> has a blank attribute '{match[1]}'"
        return ("blank", match[1], match[2]), error.getLine(), f"{words}; it is taken as not there"

    def _idle(self, error: Any) -> _Verdict | None:
        match = _ELEMENT.search(error.getMessage())
        if match is None or match[1] not in _IDLE_LISTS:
            return None
        return ("list", match[1]), error.getLine(), f"<{match[1]}> is not in {self._edition}; it is passed over"

    def _identifier(self, error: Any) -> _Verdict | None:
        """An id that no formula can name may be written as it likes."""
        match = _IDENTIFIER.search(error.getMessage())
        if error.getErrorId() != libsbml.InvalidIdSyntax or match is None:
            return None
        owners = self._called.get((error.getLine(), match[1]), [])
        if not owners or any(tag.name not in _NAMED_BY_NO_FORMULA for tag in owners):
            return None
        words = f"{owners[0].in_words} has an id that SBML does not allow; the mathematics does not need it"
        return ("id", owners[0].name), error.getLine(), words


def _all_elements(document: Any) -> list[Any]:
    """What libsbml has read: the first one each time, as its list walks from the head to whatever is asked for."""
    everything = document.getListOfAllElements()
    return [everything.remove(0) for _ in range(everything.getSize())]


def _grouped(items: Iterable[_Item], keys: Callable[[_Item], Iterable[Any]]) -> Mapping[Any, list[_Item]]:
    """The items of each of their keys, in order."""
    groups: dict[Any, list[_Item]] = defaultdict(list)
    for item in items:
        for key in keys(item):
            groups[key].append(item)
    return dict(groups)


def _is_idle(attribute: str, element: str, there: list[Tag]) -> bool:
    """Whether nothing depends on an attribute that SBML does not define for an element, in those that are there."""
    prefix, _, local = attribute.rpartition(":")
    keys = {key for tag in there for key in tag.attributes}
    foreign = bool(prefix) and not any(key.startswith(SBML) and key.endswith(f" {local}") for key in keys)
    of_no_use = element in ("sbml", "modifierSpeciesReference") or element.startswith("listOf")
    usual = attribute in _USUAL and all(tag.attributes.get(attribute) in _USUAL[attribute] for tag in there)
    idle = attribute.lower() in _IDLE_IN_ANY_CASE or (element, attribute) in _IDLE_IN
    return foreign or of_no_use or (bool(there) and usual) or idle


def _detail(error: Any) -> str:
    """What a message says of this document, which follows what it says of any."""
    whole = " ".join(error.getMessage().split()).rstrip(". ")
    parts = _REFERENCE.split(whole, maxsplit=1)
    if len(parts) > 1:
        return parts[1]
    if error.getErrorId() == libsbml.NotSchemaConformant:
        return whole.rpartition(". ")[2]
    match = _OF_XML.search(whole)
    return match[1] if match else ""
