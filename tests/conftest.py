"""What all tests share: where data and models lie, small models from Python, and stricter rules for JAX."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["SBMLGRAD_COMPILED_MB"] = "0"  # what a test run compiles is its own

import jax
import libsbml
import pytest

import sbmlgrad as sg

ROOT = Path(__file__).resolve().parents[1]

# Broadcasting between ranks is the commonest silent mistake in array code; here it is an error.
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks, which take longest, come first: at the end nobody waits for the process that has the last of them."""
    items.sort(key=lambda item: item.path.stem != "test_notebooks")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Published models and data sets, which are not part of the repository."""
    path = Path(os.environ.get("SBMLGRAD_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no data sets at {path}; set SBMLGRAD_DATA to their folder")
    return path


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The example models of the repository, each a folder with model.xml, data.csv and README.md."""
    return ROOT / "models"


@pytest.fixture(scope="session")
def benchmark_script() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script of `benchmarks/`, which is no package, by its name; scripts find each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module


@pytest.fixture(scope="session")  # with what is compiled for it
def cascade() -> sg.ReactionNetwork:
    """Three species, eight reactions and ten numbers for parameters; two initial counts are fractions."""

    def propensities(x: jax.Array, p: dict[str, jax.Array]) -> jax.Array:
        a, b, c = x[0], x[1], x[2]
        k = [p[f"k{i}"] for i in range(10)]
        return jax.numpy.stack(
            [
                k[0] / (1 + (c / k[9]) ** 2),
                k[1] * a,
                k[2] * a * (a - 1),
                k[3] * b,
                k[4] * b * (1 + a),
                k[5] * c,
                k[6] * a / (k[8] + a + b),
                k[7] * c,
            ]
        )

    values = [4.0, 0.3, 0.05, 1.2, 0.02, 0.6, 2.0, 0.15, 0.7, 3.0]
    jumps = [[1, -1, -2, 2, 0, 0, -1, 0], [0, 0, 1, -1, -1, 0, 0, 1], [0, 0, 0, 0, 1, -1, 3, -1]]
    parameters = {f"k{i}": value for i, value in enumerate(values)}
    return sg.ReactionNetwork(jumps, propensities, x0=[5.2, 2.5, 3], parameters=parameters)


@pytest.fixture(scope="session")
def text() -> Callable[..., str]:
    """Writes the document that its arguments describe; see :func:`document`."""
    return document


@pytest.fixture(scope="session")
def model() -> Callable[..., sg.Model]:
    """Reads the document that its arguments describe; see :func:`document`."""

    def build(*args: Any, molecules_per_unit: float | None = None, **kwargs: Any) -> sg.Model:
        return sg.read_sbml(document(*args, **kwargs), molecules_per_unit=molecules_per_unit)

    return build


def document(
    species: Mapping[str, Mapping[str, Any]],
    reactions: Mapping[str, tuple[str, str]] | None = None,
    parameters: Mapping[str, float | None] | None = None,
    compartments: Mapping[str, float] | None = None,
    rules: Mapping[str, str] | None = None,
    initial: Mapping[str, str] | None = None,
    substance: tuple[str, int] | None = None,
    conversion: str | None = None,
    local: Mapping[str, Mapping[str, float]] | None = None,
    rates: Mapping[str, str] | None = None,
    algebraic: Sequence[str] = (),
    events: Mapping[str, Mapping[str, Any]] | None = None,
    varying: Collection[str] = (),
) -> str:
    """An SBML Level 3 document with formulas in libsbml's own notation.

    ``species`` maps ids to attributes: ``amount`` or ``concentration``, ``only`` (amounts in formulas, the
    default), ``boundary``, ``constant``, ``compartment`` and ``conversion``. ``reactions`` maps ids to an
    equation such as ``"2 A + B -> C"``, or ``<->``
    for a reversible one, and a law. ``substance`` is a base unit with its power of ten.
    ``rules``, ``rates`` and ``initial`` map ids to formulas. ``events`` maps ids to ``trigger``, a mapping ``set``
    and, where wanted, ``delay``, ``priority``, ``initial``, ``persistent`` and ``from_trigger``. ``varying`` are
    parameters and compartments that only algebraic rules determine.
    """
    file = libsbml.SBMLDocument(libsbml.SBMLNamespaces(3, 2, "distrib", 1))
    file.setPackageRequired("distrib", True)
    model = file.createModel()
    _set_units(model, substance)
    if conversion:
        model.setConversionFactor(conversion)
    assigned = {name for event in (events or {}).values() for name in event.get("set", {})}
    moving = {*(rules or {}), *(rates or {}), *assigned, *varying}
    for identifier, size in (compartments or {"cell": 1.0}).items():
        item = model.createCompartment()
        item.setId(identifier)
        item.setSize(size)
        item.setSpatialDimensions(3)
        item.setConstant(identifier not in moving)
    for identifier, value in (parameters or {}).items():
        item = model.createParameter()
        item.setId(identifier)
        item.setConstant(identifier not in moving)
        if value is not None:
            item.setValue(value)
    for identifier, attributes in species.items():
        _add_species(model, identifier, **attributes)
    for identifier, formula in (initial or {}).items():
        item = model.createInitialAssignment()
        item.setSymbol(identifier)
        item.setMath(_math(formula))
    for formulas, create in ((rules, model.createAssignmentRule), (rates, model.createRateRule)):
        for identifier, formula in (formulas or {}).items():
            item = create()
            item.setVariable(identifier)
            item.setMath(_math(formula))
    for formula in algebraic:
        model.createAlgebraicRule().setMath(_math(formula))
    for identifier, (equation, law) in (reactions or {}).items():
        _add_reaction(model, identifier, equation, law, (local or {}).get(identifier, {}))
    for identifier, attributes in (events or {}).items():
        _add_event(model, identifier, **attributes)
    return str(libsbml.writeSBMLToString(file))


def _math(formula: str) -> Any:
    math = libsbml.parseL3Formula(formula)
    assert math is not None, libsbml.getLastParseL3Error()
    return math


def _set_units(model: Any, substance: tuple[str, int] | None) -> None:
    base, scale = substance or ("item", 0)
    definition = model.createUnitDefinition()
    definition.setId("amount")
    unit = definition.createUnit()
    unit.setKind(libsbml.UnitKind_forName(base))
    unit.setScale(scale)
    unit.setExponent(1)
    unit.setMultiplier(1)
    model.setSubstanceUnits("amount")
    model.setExtentUnits("amount")


def _add_species(
    model: Any,
    identifier: str,
    amount: float | None = None,
    concentration: float | None = None,
    only: bool = True,
    boundary: bool = False,
    constant: bool = False,
    compartment: str = "cell",
    conversion: str | None = None,
) -> None:
    item = model.createSpecies()
    item.setId(identifier)
    item.setCompartment(compartment)
    item.setHasOnlySubstanceUnits(only)
    item.setBoundaryCondition(boundary)
    item.setConstant(constant)
    if amount is not None:
        item.setInitialAmount(amount)
    if concentration is not None:
        item.setInitialConcentration(concentration)
    if conversion:
        item.setConversionFactor(conversion)


def _add_reaction(model: Any, identifier: str, equation: str, law: str, local: Mapping[str, float]) -> None:
    reaction = model.createReaction()
    reaction.setId(identifier)
    arrow = "<->" if "<->" in equation else "->"
    reaction.setReversible(arrow == "<->")
    left, right = (_side(side) for side in equation.split(arrow))
    for side, create in ((left, reaction.createReactant), (right, reaction.createProduct)):
        for species, stoichiometry in side:
            reference = create()
            reference.setSpecies(species)
            reference.setStoichiometry(stoichiometry)
            reference.setConstant(True)
    kinetic_law = reaction.createKineticLaw()
    kinetic_law.setMath(_math(law))
    for name, value in local.items():
        parameter = kinetic_law.createLocalParameter()
        parameter.setId(name)
        parameter.setValue(value)


def _side(text: str) -> Sequence[tuple[str, float]]:
    terms = [term.split() for term in text.split("+") if term.strip()]
    return [(term[-1], float(term[0]) if len(term) > 1 else 1.0) for term in terms]


def _add_event(
    model: Any,
    identifier: str,
    trigger: str,
    set: Mapping[str, str],
    delay: str | None = None,
    priority: str | None = None,
    initial: bool = True,
    persistent: bool = True,
    from_trigger: bool = True,
) -> None:
    event = model.createEvent()
    event.setId(identifier)
    event.setUseValuesFromTriggerTime(from_trigger)
    item = event.createTrigger()
    item.setMath(_math(trigger))
    item.setInitialValue(initial)
    item.setPersistent(persistent)
    for formula, create in ((delay, event.createDelay), (priority, event.createPriority)):
        if formula is not None:
            create().setMath(_math(formula))
    for variable, formula in set.items():
        assignment = event.createEventAssignment()
        assignment.setVariable(variable)
        assignment.setMath(_math(formula))
