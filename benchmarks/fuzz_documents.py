"""Documents of SBML with faults: elements, attributes, numbers and formulas changed by chance, as XML and as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from xml.dom import minidom

MATHML = "http://www.w3.org/1998/Math/MathML"
LONGEST = 400_000  # characters of a document that is taken apart
NUMBERS = ["0", "-1", "1e300", "1e-300", "1e308", "-1e308", "INF", "-INF", "NaN", "9007199254740993", "1000000000"]
NUMBERS += ["0.5", "1e-5", "400", "", " ", "1,5", "0x10", "3.0000000000000001", "-0"]
WORDS = ["", " ", "time", "lambda", "1x", "S 1", "x" * 300, "true", "false", "é", "a.b", "None", "[X]"]
OPERATORS = ["plus", "minus", "times", "divide", "power", "root", "exp", "ln", "log", "abs", "floor", "ceiling"]
OPERATORS += ["factorial", "max", "min", "and", "or", "xor", "not", "eq", "neq", "lt", "leq", "gt", "geq", "implies"]
OPERATORS += ["sin", "cos", "tan", "arctan", "sinh", "arcsech", "rem", "quotient", "piecewise", "selector", "nothing"]
_ENCODINGS = ("utf-16", "utf-8-sig", "latin-1", "cp1252", "utf-7", "utf-32")
_MOST_COPIES = 300


def mutant(text: str, random: Random) -> bytes:
    """The document with one to four faults."""
    for _ in range(random.randint(1, 4)):
        if random.random() < 0.9 and len(text) <= LONGEST:
            text = _changed_tree(text, random)
        else:
            text = random.choice(_OF_TEXT)(text, random)
    if random.random() < 0.05:
        return _in_other_encoding(text, random)
    return text.encode("utf-8", "surrogatepass")


def _changed_tree(text: str, random: Random) -> str:
    try:
        tree = minidom.parseString(text.encode("utf-8", "surrogatepass"))
    except Exception:  # an earlier fault made it no XML
        return random.choice(_OF_TEXT)(text, random)
    elements = [node for node in tree.getElementsByTagName("*") if node.parentNode is not tree]
    formulas = [node for node in elements if node.namespaceURI == MATHML]
    if formulas and random.random() < 0.35:
        random.choice(_OF_FORMULAS)(random.choice(formulas), formulas, tree, random)
    elif elements:
        random.choice(_OF_ELEMENTS)(random.choice(elements), elements, tree, random)
    changed: str = tree.toxml()
    return changed


Change = Callable[[Any, Sequence[Any], Any, Random], None]


# ---- elements and attributes ---------------------------------------------------------------------------


def _delete(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    node.parentNode.removeChild(node)


def _repeat(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    copies = 1 if random.random() < 0.8 or len(node.toxml()) > 2000 else random.randint(2, _MOST_COPIES)
    for _ in range(copies):
        node.parentNode.insertBefore(node.cloneNode(True), node)


def _move(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    target = random.choice(nodes)
    above = target
    while above is not None and above is not node:
        above = above.parentNode
    if above is None:
        target.appendChild(node)


def _put_last(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    node.parentNode.appendChild(node)


def _rename(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    node.tagName = node.nodeName = random.choice(nodes).tagName


def _wrap(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    other = random.choice(nodes).cloneNode(False)
    node.parentNode.replaceChild(other, node)
    other.appendChild(node)


def _empty(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    while node.firstChild is not None:
        node.removeChild(node.firstChild)


def _change_attribute(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    having = [item for item in nodes if item.attributes.length]
    node = random.choice(having)
    name = random.choice(sorted(node.attributes.keys()))
    value = node.getAttribute(name)
    kind = random.randrange(5)
    if kind == 0:
        node.removeAttribute(name)
    elif kind == 1:
        other = random.choice(having)
        node.setAttribute(name, other.getAttribute(random.choice(sorted(other.attributes.keys()))))
    elif kind == 2:
        node.setAttribute(random.choice(["id", "name", "metaid", "constant", "units", "nonsense"]), value)
    elif value in ("true", "false"):
        node.setAttribute(name, "false" if value == "true" else "true")
    else:
        node.setAttribute(name, random.choice(NUMBERS if _is_number(value) else WORDS))


def _change_number(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    places = [
        (item, key) for item in nodes for key in sorted(item.attributes.keys()) if _is_number(item.getAttribute(key))
    ]
    if places:
        item, key = random.choice(places)
        item.setAttribute(key, random.choice(NUMBERS))


def _is_number(value: str) -> bool:
    return re.fullmatch(r"\s*[-+]?[\d.]+([eE][-+]?\d+)?\s*", value or "") is not None


# ---- formulas ------------------------------------------------------------------------------------------


def _leaf(tree: Any, random: Random, nodes: Sequence[Any]) -> Any:
    names = [node for node in nodes if node.localName == "ci"]
    if names and random.random() < 0.5:
        return random.choice(names).cloneNode(True)
    element = tree.createElementNS(MATHML, "cn")
    number = random.choice(NUMBERS)
    if random.random() < 0.3:
        element.setAttribute("type", random.choice(["integer", "rational", "e-notation", "real", "complex"]))
        element.appendChild(tree.createTextNode(number))
        element.appendChild(tree.createElementNS(MATHML, "sep"))
        number = random.choice(["3", "-400", "0", "1e9"])
    element.appendChild(tree.createTextNode(number))
    return element


def _replace_leaf(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    leaves = [item for item in nodes if item.localName in ("ci", "cn", "csymbol")]
    if leaves:
        leaf = random.choice(leaves)
        leaf.parentNode.replaceChild(_leaf(tree, random, nodes), leaf)


def _replace_operator(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    operators = [item for item in nodes if item.localName in OPERATORS]
    if operators:
        operator = random.choice(operators)
        operator.parentNode.replaceChild(tree.createElementNS(MATHML, random.choice(OPERATORS)), operator)


def _nest(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    if node.localName not in ("apply", "ci", "cn"):
        return
    operator = random.choice(OPERATORS)
    for _ in range(random.choice([1, 1, 2, 20, 200])):
        outer = tree.createElementNS(MATHML, "apply")
        outer.appendChild(tree.createElementNS(MATHML, operator))
        node.parentNode.replaceChild(outer, node)
        outer.appendChild(node)
        if random.random() < 0.5:
            outer.appendChild(_leaf(tree, random, nodes))


def _many_operands(node: Any, nodes: Sequence[Any], tree: Any, random: Random) -> None:
    applications = [item for item in nodes if item.localName == "apply"]
    if applications:
        application = random.choice(applications)
        for _ in range(random.choice([1, 3, 30, 1000])):
            application.appendChild(_leaf(tree, random, nodes))


_OF_ELEMENTS: Sequence[Change] = (
    *(_delete, _delete, _repeat, _move, _put_last, _rename, _wrap, _empty),
    *(_change_attribute, _change_attribute, _change_attribute, _change_number, _change_number, _change_number),
)
_OF_FORMULAS: Sequence[Change] = (
    *(_delete, _repeat, _move, _empty, _wrap, _replace_leaf, _replace_leaf),
    *(_replace_operator, _replace_operator, _nest, _many_operands),
)


# ---- text ----------------------------------------------------------------------------------------------


def _cut(text: str, random: Random) -> str:
    return text[: random.randrange(len(text) + 1)]


def _drop(text: str, random: Random) -> str:
    first = random.randrange(len(text) + 1)
    return text[:first] + text[first + random.choice([1, 1, 5, 100]) :]


def _insert(text: str, random: Random) -> str:
    place = random.randrange(len(text) + 1)
    return text[:place] + random.choice(["\0", "<", "&", "&#0;", "\x1b", "]]>", "é", '"', "\ud800"]) + text[place:]


def _other_namespace(text: str, random: Random) -> str:
    old, new = random.choice(
        [
            *(("version1/core", "version2/core"), ("version2/core", "version1/core"), ('level="3"', 'level="2"')),
            *(
                ('version="1"', 'version="9"'),
                ("level3", "level2"),
                (MATHML, "http://example.org/"),
                ("<sbml", "<SBML"),
            ),
            *(("comp:", "c:"), ("xmlns:comp", "xmlns:c"), ('required="true"', 'required="false"')),
        ]
    )
    return text.replace(old, new)


def _entity(text: str, random: Random) -> str:
    return '<!DOCTYPE sbml [<!ENTITY a "aaaaaaaaaa">]>' + text


_OF_TEXT: Sequence[Callable[[str, Random], str]] = (_cut, _drop, _insert, _other_namespace, _other_namespace, _entity)


def _in_other_encoding(text: str, random: Random) -> bytes:
    encoding = random.choice(_ENCODINGS)
    if random.random() < 0.5:
        text = re.sub(r"\A<\?xml[^>]*\?>", f'<?xml version="1.0" encoding="{encoding}"?>', text)
    return text.encode(encoding, "replace")
