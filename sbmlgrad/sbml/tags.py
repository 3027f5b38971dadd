"""The start tags of a document and where they stand: what libsbml does not keep of lists and attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

SBML = "http://www.sbml.org/sbml/level"  # how the namespaces of SBML and of its packages begin
_ASIDE = ("notes", "annotation", "annotations")
_PACKAGE = re.compile(r"/level3/version\d+/([^/]+)/version")
_COMP = re.compile(r"/level3/version\d+/comp/version")
_PREFIXES = re.compile(r"""\bxmlns:([\w.-]+)\s*=\s*["']([^"']*)["']""")
_QUOTED = re.compile(r"""("[^"]*"|'[^']*')""")
_MARKUP = re.compile(r"""<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?:[^<>"']|"[^"]*"|'[^']*')*>""", re.DOTALL)
_DECLARATION = re.compile(r"\A<\?xml\s[^>]*\?>")


@dataclass(eq=False)
class Tag:
    """A start tag of SBML or of one of its packages: attributes by name, or ``namespace name``; how much is inside."""

    line: int
    namespace: str
    name: str
    attributes: Mapping[str, str]
    parent: Tag | None
    children: int = 0

    @property
    def package(self) -> str:
        """The Level 3 package that it belongs to; "" for the core of SBML."""
        match = _PACKAGE.search(self.namespace)
        return match[1] if match else ""

    @property
    def identifier(self) -> str:
        """The id, whatever its namespace; "" where there is none."""
        key = "name" if self.namespace.startswith(f"{SBML}1") else "id"
        return next((value for name, value in self.attributes.items() if name.rpartition(" ")[2] == key), "")

    @property
    def in_words(self) -> str:
        """As messages name it: ``<species> 'A'``, ``<speciesReference> of <reaction> 'r'``."""
        if self.identifier:
            return f"<{self.name}> '{self.identifier}'"
        owner = self.parent
        while owner is not None and owner.name.startswith("listOf"):
            owner = owner.parent
        return f"<{self.name}> of {owner.in_words}" if owner else f"<{self.name}>"


def as_utf8(text: str) -> str:
    """The text declared as UTF-8, whatever it declared before; its lines keep their numbers."""
    body = text.lstrip("\ufeff \t\r\n")
    space = text[: len(text) - len(body)].removeprefix("\ufeff")
    return '<?xml version="1.0" encoding="UTF-8"?>' + space + _DECLARATION.sub("", body, count=1)


def as_read(text: str) -> str:
    """The text as libSBML is given it: in UTF-8, and with the prefix ``comp`` for that package.

    libSBML reads any prefix, but ends the process when it puts submodels together under another one.
    """
    text = as_utf8(text)
    declared = dict(_PREFIXES.findall(text))
    other = next((prefix for prefix, address in declared.items() if _COMP.search(address)), "comp")
    if other == "comp" or "comp" in declared or len(re.findall(rf"\bxmlns:{other}\s*=", text)) > 1:
        return text
    name = re.compile(rf"(?<=[</\s]){other}(?=:)|(?<=\bxmlns:){other}(?=\s*=)")

    def renamed(match: re.Match[str]) -> str:
        if match[0].startswith(("<!", "<?")):
            return match[0]
        parts = _QUOTED.split(match[0])  # every other one is the value of an attribute
        return "".join(name.sub("comp", part) if index % 2 == 0 else part for index, part in enumerate(parts))

    return _MARKUP.sub(renamed, text)


def tags(text: str) -> list[Tag]:
    """All start tags of a well-formed document, in its order; notes and annotations are passed over."""
    elements: list[Tag] = []
    inside: list[Tag | None] = []  # None for what is not of SBML

    def start(name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        parent = inside[-1] if inside else None
        if (inside and parent is None) or not namespace.startswith(SBML) or local in _ASIDE:
            inside.append(None)
            return
        if parent is not None:
            parent.children += 1
        elements.append(Tag(parser.CurrentLineNumber, namespace, local, attributes, parent))
        inside.append(elements[-1])

    def end(_: str) -> None:
        inside.pop()

    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(as_utf8(text).encode("utf-8", "surrogatepass"), True)
    return elements
