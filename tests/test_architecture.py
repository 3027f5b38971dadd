"""The floors of the house, held by parsing the imports of every module; docs/architecture.md draws them."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "sbmlgrad"

# Bottom to top. Rooms of one set stand side by side and do not know each other; "" is sbmlgrad/__init__.py.
FLOORS = (
    {"about", "errors"},
    {"cores", "files", "headers", "markup", "precision"},
    {"model"},
    {"report", "sbml", "tables"},
    {"network"},
    {"simulation"},
    {"gradient"},
    {"likelihood"},
    {"fitting"},
    {"testsuite", "benchmark", "info", "petab"},
    {"reading"},
    {"cli", "cli_errors", "cli_options", "cli_petab", "cli_testsuite", "__main__", ""},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TOP = len(FLOORS) - 1

ONLY_ROOM = {"libsbml": "sbml", "matplotlib": "report", "petab": "petab"}  # library -> the one room that may import it
JAX = {"jax", "jaxlib", "optax", "equinox", "diffrax"}
TEXT_TO_CODE = {"eval", "exec", "sympify", "parse_expr"}
OPTIONAL = {"xarray"}  # extras without which the package works, and says how to install them where it does not
NO_ROOM_FOR = {"util", "utils", "utilities", "helper", "helpers", "misc", "common"}
LONGEST_FILE = 500
LONGEST_FUNCTION = 60  # lines below its signature and docstring

# The distribution that provides a library, where their names differ.
DISTRIBUTION = {"libsbml": "python-libsbml", "roadrunner": "libroadrunner"}


@dataclass(frozen=True)
class Module:
    """One source file and what it imports and calls."""

    name: str
    source: str
    is_package: bool = False

    @property
    def room(self) -> str:
        """The folder or file directly under the package that this module belongs to."""
        return room_of(self.name)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> frozenset[str]:
        """Dotted names of all that is imported, also inside functions and for type checking only."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                names.update(f"{base}.{alias.name}" for alias in node.names)
        return frozenset(names)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        package = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*package, node.module] if node.module else package)

    @property
    def libraries(self) -> set[str]:
        """Top names of what is imported from outside this package and the standard library."""
        tops = {name.split(".")[0] for name in self.imports}
        return tops - sys.stdlib_module_names - {PACKAGE}

    def targets(self, modules: set[str]) -> set[str]:
        """Imported modules of this package: ``from a import b`` names ``a.b`` where that is a module."""
        own = {name for name in self.imports if name.split(".")[0] == PACKAGE}
        return {name if name in modules else name.rpartition(".")[0] for name in own}

    def calls(self) -> Iterator[tuple[int, str]]:
        """Line and last name of everything that is called."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                yield node.lineno, node.func.id if isinstance(node.func, ast.Name) else node.func.attr


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def read_modules() -> dict[str, Module]:
    modules = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, path.read_text(encoding="utf-8"), is_package)
    return modules


MODULES = read_modules()
KNOWN = set(MODULES)
each_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


def imports_from_above(module: Module, modules: set[str]) -> list[str]:
    """What a module imports from its own floor's other rooms or from a higher floor."""
    floor = FLOOR_OF[module.room]
    return sorted(
        target
        for target in module.targets(modules)
        if room_of(target) != module.room
        and not (FLOOR_OF[room_of(target)] < floor or FLOOR_OF[room_of(target)] == floor == TOP)
    )


def text_made_code(module: Module) -> list[str]:
    """Calls that would run text as code."""
    return [f"line {line}: {name}(...)" for line, name in module.calls() if name in TEXT_TO_CODE]


@each_module
def test_every_module_has_a_room(module: Module) -> None:
    assert module.room in FLOOR_OF, "name the new room in FLOORS, and draw it in docs/architecture.md"
    assert NO_ROOM_FOR.isdisjoint(module.name.split(".")), "name the module after what it does"


@each_module
def test_imports_point_down(module: Module) -> None:
    assert imports_from_above(module, KNOWN) == []


@each_module
def test_simulation_knows_no_documents(module: Module) -> None:
    if module.room in {"network", "simulation", "gradient"}:
        assert {room_of(target) for target in module.targets(KNOWN)}.isdisjoint({"sbml", "tables"})


def test_modules_form_no_cycle() -> None:
    graph = {name: module.targets(KNOWN) - {name} for name, module in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " <- ".join(error.args[1]))


def test_no_public_name_hides_a_room() -> None:
    public = {name.rpartition(".")[2] for name in MODULES[PACKAGE].imports - KNOWN}
    assert public & set(FLOOR_OF) == set(), "sbmlgrad.NAME would be the room or the function, as imports go"


@each_module
def test_libraries_stay_in_their_rooms(module: Module) -> None:
    strayed = {library for library in module.libraries if ONLY_ROOM.get(library, module.room) != module.room}
    assert strayed == set()
    if FLOOR_OF[module.room] < FLOOR_OF["network"]:
        assert module.libraries & JAX == set(), "jax begins at the floor of network"


def test_libraries_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]}
    core |= {re.split(r"[^\w-]", line)[0] for extra in OPTIONAL for line in project["optional-dependencies"][extra]}
    peers = {re.split(r"[^\w-]", line)[0] for line in project["optional-dependencies"]["benchmark"]}
    missing = {
        f"{module.name} imports {library}"
        for module in MODULES.values()
        for library in module.libraries
        if DISTRIBUTION.get(library, library) not in (core | peers if module.room == "benchmark" else core)
    }
    assert missing == set()


@each_module
def test_no_text_becomes_code(module: Module) -> None:
    assert text_made_code(module) == []


@pytest.mark.parametrize("folder", [PACKAGE, "tests"])
def test_files_are_short(folder: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def lines_of_functions(source: str) -> dict[str, int]:
    """How many lines each function has below its signature and docstring, inner functions and methods too."""
    lengths = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            begin = min([body[0].lineno, *(d.lineno for d in getattr(body[0], "decorator_list", ()))]) if body else 0
            lengths[f"{node.name}:{node.lineno}"] = (node.end_lineno or 0) - begin + 1 if body else 0
    return lengths


@pytest.mark.parametrize("folder", [PACKAGE, "tests"])
def test_functions_are_short(folder: str) -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{name}": lines
        for path in (ROOT / folder).rglob("*.py")
        for name, lines in lines_of_functions(path.read_text(encoding="utf-8")).items()
    }
    assert {name: lines for name, lines in lengths.items() if lines >= LONGEST_FUNCTION} == {}


def test_lines_of_functions_are_counted() -> None:
    source = '''
def documented(
    a: int,
) -> int:
    """One.

    Two.
    """
    b = a

    def inner() -> int:
        return b

    return inner()

def silent() -> None:
    """Nothing."""
'''
    assert lines_of_functions(source) == {"documented:2": 6, "inner:11": 1, "silent:16": 0}


def test_the_page_draws_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = set(FLOOR_OF) - {"", "__main__"}
    assert {room for room in rooms if not re.search(rf"\b{room}\b", page)} == set()


# The checks above would pass on a house that they cannot see into, so they are tried on a small one.
SMALL_HOUSE = {
    "sbmlgrad",
    "sbmlgrad.fitting",
    "sbmlgrad.fitting.result",
    "sbmlgrad.tables",
    "sbmlgrad.model.elements",
    "sbmlgrad.sbml.math",
}


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("import sbmlgrad.fitting.result", "sbmlgrad.fitting.result"),
        ("from sbmlgrad.fitting.result import Result", "sbmlgrad.fitting.result"),
        ("from sbmlgrad.fitting import result", "sbmlgrad.fitting.result"),
        ("from ..fitting import result", "sbmlgrad.fitting.result"),
        ("from .. import fitting", "sbmlgrad.fitting"),
        ("from ..fitting import Result", "sbmlgrad.fitting"),
        ("from sbmlgrad import __version__", "sbmlgrad"),
        ("def read():\n    from ..fitting.result import Result", "sbmlgrad.fitting.result"),
        ("from ..tables import read_table", "sbmlgrad.tables"),
    ],
)
def test_an_import_upwards_or_sideways_is_seen(line: str, target: str) -> None:
    assert imports_from_above(Module("sbmlgrad.sbml.read", line), SMALL_HOUSE) == [target]


@pytest.mark.parametrize("line", ["from ..model.elements import Species", "from .math import to_sympy"])
def test_an_import_downwards_or_within_a_room_passes(line: str) -> None:
    assert imports_from_above(Module("sbmlgrad.sbml.read", line), SMALL_HOUSE) == []


@pytest.mark.parametrize("call", ["eval(text)", "sympy.sympify(text)", "builtins.exec(text)", "parse_expr(text)"])
def test_text_made_code_is_seen(call: str) -> None:
    assert len(text_made_code(Module("sbmlgrad.sbml.read", call))) == 1
