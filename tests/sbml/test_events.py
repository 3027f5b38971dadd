"""What documents say of events, rate rules, rates of change, delays and random numbers, read as it is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sympy

import sbmlgrad as sg
from sbmlgrad.errors import SbmlError, UnsupportedError
from sbmlgrad.model.elements import TIME, Event
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.model.functions import DISTRIBUTIONS, delayed, draw

Make = Callable[..., sg.Model]
X, Y = sympy.symbols("x y")
MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
AFTER_2 = (
    '<apply><gt/><csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
    "<cn>2</cn></apply>"
)
SET_X = '<listOfEventAssignments><eventAssignment variable="x">{}</eventAssignment></listOfEventAssignments>'
DISTRIB = 'xmlns:distrib="http://www.sbml.org/sbml/level3/version1/distrib/version1" distrib:required="true"'


def math(formula: str) -> str:
    return f"<math {MATHML}>{formula}</math>"


def raw(events: str, level: int = 3, version: int = 1, functions: str = "") -> str:
    """A document with the variables x and y and these events, written out."""
    core = f"http://www.sbml.org/sbml/level{level}" + (f"/version{version}" + ("/core" if level > 2 else ""))
    return (
        f'<sbml xmlns="{core}" level="{level}" version="{version}" {DISTRIB if version == 2 else ""}><model id="m">'
        f'{functions}<listOfParameters><parameter id="x" value="1" constant="false"/>'
        '<parameter id="y" value="2" constant="false"/></listOfParameters>'
        f"<listOfEvents>{events}</listOfEvents></model></sbml>"
    )


def random_number(distribution: str, arguments: str) -> str:
    address = f"http://www.sbml.org/sbml/symbols/distrib/{distribution}"
    return f'<apply><csymbol encoding="text" definitionURL="{address}">d</csymbol>{arguments}</apply>'


def event_of(text: str) -> Event:
    (event,) = sg.read_sbml(text).elements.events
    return event


def events_of(model: Make, **attributes: Any) -> Event:
    system = model({}, parameters={"x": 1.0, "y": 2.0}, events={"e": {"trigger": "x > y", **attributes}}, varying="xy")
    (event,) = system.elements.events
    return event


# ---- events --------------------------------------------------------------------------------------------


def test_everything_that_an_event_says(model: Make) -> None:
    event = events_of(
        model,
        trigger="x > y && time > 2",
        set={"x": "x + 1", "y": "time"},
        delay="y/2",
        priority="-x",
        initial=False,
        persistent=False,
        from_trigger=False,
    )
    assert event.id == "e"
    values = {"x": 3.0, "y": 2.0, TIME.name: 5.0}
    assert evaluate(event.trigger, values) == 1
    assert evaluate(event.trigger, {**values, TIME.name: 2.0}) == 0
    assert {name: evaluate(e, values) for name, e in event.assignments.items()} == {"x": 4.0, "y": 5.0}
    assert evaluate(event.delay, values) == 1.0
    assert evaluate(event.priority, values) == -3.0
    assert (event.initial_value, event.persistent, event.values_from_trigger_time) == (False, False, False)


def test_what_an_event_does_not_say(model: Make) -> None:
    event = events_of(model, set={"x": "0"})
    assert (event.delay, event.priority) == (None, None)
    assert (event.initial_value, event.persistent, event.values_from_trigger_time) == (True, True, True)


def test_events_of_level_2() -> None:
    """Triggers are true before time 0, persist, and events may have no ids."""
    content = f"<trigger>{math(AFTER_2)}</trigger><delay>{math('<cn>3</cn>')}</delay>{SET_X.format(math('<ci>y</ci>'))}"
    event = event_of(raw(f"<event>{content}</event>", 2, 1).replace("level2/version1", "level2"))
    assert event == Event("event 1", sympy.Gt(TIME, 2), {"x": Y}, delay=sympy.Integer(3))
    event = event_of(raw(f'<event id="a" useValuesFromTriggerTime="false">{content}</event>', 2, 4))
    assert (event.id, event.values_from_trigger_time) == ("a", False)


def test_numbers_and_truth_values_are_either() -> None:
    """A trigger that is a number is true where it is not 0, and a value that is a condition is 1 or 0."""
    opening = '<event id="e" useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">'
    event = event_of(raw(f"{opening}{math('<ci>x</ci>')}</trigger>{SET_X.format(math(AFTER_2))}</event>"))
    assert event.trigger == sympy.Ne(X, 0, evaluate=False)
    assert [evaluate(event.assignments["x"], {TIME.name: time}) for time in (2.0, 3.0)] == [0, 1]


def test_what_level_3_version_2_may_leave_out() -> None:
    """No trigger never fires, no mathematics assigns nothing, and an event need not assign anything."""
    event = event_of(raw(f'<event id="e" useValuesFromTriggerTime="true">{SET_X.format("")}</event>', version=2))
    assert (event.trigger, event.assignments) == (sympy.false, {})
    assert event_of(raw('<event id="e" useValuesFromTriggerTime="true"/>', version=2)).assignments == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"events": {"e": {"trigger": "x > 1", "set": {"z": "1"}}}}, "assignment in event 'e' of 'z' sets an id"),
        ({"events": {"e": {"trigger": "z > 1", "set": {}}}}, "the trigger of event 'e' uses 'z'"),
        ({"events": {"e": {"trigger": "x > 1", "delay": "z", "set": {}}}}, "the delay of event 'e' uses 'z'"),
        ({"events": {"e": {"trigger": "x > 1", "priority": "z", "set": {}}}}, "the priority of event 'e' uses 'z'"),
        ({"events": {"e": {"trigger": "x > 1", "set": {"x": "z"}}}}, "assignment in event 'e' of 'x' uses 'z'"),
        ({"rates": {"x": "1"}, "rules": {"x": "2"}}, "'x' has an assignment rule and a rate rule"),
        (
            {"rules": {"x": "2"}, "events": {"e": {"trigger": "y > 1", "set": {"x": "1"}}}},
            "event 'e' sets 'x', which a rule determines",
        ),
        (
            {"algebraic": ["x - y"], "events": {"e": {"trigger": "y > 1", "set": {"x": "1", "y": "2"}}}},
            "event 'e' sets 'x', which a rule determines",
        ),
        ({"rates": {"z": "1"}}, "the rate rule of 'z' sets an id that is not declared"),
    ],
)
def test_errors_name_the_event_and_the_id(model: Make, content: dict[str, Any], message: str) -> None:
    with pytest.raises(SbmlError, match=message) as caught:
        model({}, parameters={"x": 1.0, "y": 2.0}, **content)
    assert "\n" not in str(caught.value)


# ---- rates of change -----------------------------------------------------------------------------------


def test_rate_rules_are_read(model: Make) -> None:
    system = model({}, parameters={"x": 1.0, "y": 2.0}, rates={"x": "y - x", "y": "time"})
    assert dict(system.elements.rate_rules) == {"x": sympy.Add(Y, -X), "y": TIME}
    assert system.initial_values()["x"] == 1.0
    assert system.quantities() == {"x": 1.0, "y": 2.0, "cell": 1.0}, "initial values can be set and fitted"


def test_rates_of_change_in_formulas(model: Make) -> None:
    system = model(
        {"S": {"amount": 6.0, "only": False}},
        {"decay": ("S -> ", "k*S*cell")},
        {"k": 0.5, "x": 3.0, **dict.fromkeys(("of_x", "of_S", "of_k", "of_both"), 0.0)},
        {"cell": 2.0},
        rates={"x": "2*x", "cell": "0.1*cell"},
        rules={
            "of_x": "rateOf(x)",
            "of_S": "rateOf(S)",
            "of_k": "rateOf(k)",
            "of_both": "rateOf(x) - rateOf(S)",
        },
    )
    start = system.initial_values()
    slope = -0.5 * 3.0 - 0.1 * 3.0  # a concentration of 3 that decays and is diluted
    assert start["of_x"] == 6.0
    assert start["of_S"] == pytest.approx(slope, rel=1e-14)
    assert start["of_k"] == 0.0
    assert start["of_both"] == pytest.approx(6.0 - slope, rel=1e-14)
    event = sg.simulate(system, [0.0, 1.0], method="ode", select=["[S]", "of_S"]).mean
    assert event["of_S"].iloc[1] == pytest.approx(-0.6 * event["[S]"].iloc[1], rel=1e-12)


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ({"x": "rateOf(y)", "y": "2*time"}, UnsupportedError, "rateOf is taken of 'y', which an assignment rule sets"),
        ({"x": "rateOf(z)"}, SbmlError, "uses 'z'"),
    ],
)
def test_rates_of_what_has_none(model: Make, rules: dict[str, str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model({}, parameters={"x": 1.0, "y": 2.0}, rules=rules)


def test_a_rate_that_needs_itself_is_a_circle(model: Make) -> None:
    with pytest.raises(SbmlError, match="depend on each other in a circle"):
        model({}, parameters={"x": 1.0, "y": 2.0}, rates={"y": "x"}, rules={"x": "1 + rateOf(y)"})


def test_exact_simulation_refuses_the_rate_of_what_jumps(model: Make) -> None:
    system = model({"S": {"amount": 6.0}}, {"decay": ("S -> ", "S")}, {"x": 0.0}, rules={"x": "rateOf(S)"})
    with pytest.raises(UnsupportedError, match="the rule of 'x' uses the rate of 'S', which jumps and so has none"):
        sg.simulate(system, [1.0], n=2)
    assert sg.simulate(system, [1.0], method="ode", select=["x"]).mean["x"].iloc[0] == pytest.approx(-6 * 0.36787944117)


# ---- the past and chance -------------------------------------------------------------------------------


def test_values_of_the_past_are_read(model: Make) -> None:
    rule = model({}, parameters={"x": 1.0, "y": 2.0}, rules={"x": "delay(y, 3) + 1"}).elements.assignment_rules["x"]
    assert rule.atoms(delayed) == {delayed(Y, 3)}
    assert evaluate(rule, {"y": 5.0}) == 6.0, "where nothing is known of it, the past is what is now"


@pytest.mark.parametrize("index", range(len(DISTRIBUTIONS)), ids=lambda index: DISTRIBUTIONS[index].name)
def test_random_numbers_are_read(model: Make, index: int) -> None:
    """Each by its kind, with bounds where there are some; evaluated, they are their means."""
    distribution = DISTRIBUTIONS[index]
    own = ["3", "0.5"][-distribution.parameters :]
    bounded = [] if distribution.name in ("uniform", "bernoulli") else ["0", "y"]
    formulas = {"x": own, "z": [*own, *bounded]}
    initial = {name: f"{distribution.name}({', '.join(arguments)})" for name, arguments in formulas.items()}
    system = model({}, parameters={"x": 1.0, "y": 2.0, "z": 3.0}, initial=initial)
    first, second = (system.elements.initial_assignments[name] for name in "xz")
    assert (first.func, list(map(float, first.args))) == (draw, [index, 1, *map(float, own)])
    assert list(second.args[2:]) == [*first.args[2:], *([0, Y] if bounded else [])]
    assert evaluate(first, {}) == pytest.approx(distribution.mean(*map(float, own)))


def test_each_place_in_a_document_draws_its_own_number(model: Make) -> None:
    system = model(
        {}, parameters={"x": 1.0, "y": 2.0}, initial={"x": "normal(0, 1) - normal(0, 1)", "y": "normal(0, 1)"}
    )
    drawn = [node for e in system.elements.initial_assignments.values() for node in e.atoms(draw)]
    assert sorted(int(node.args[1]) for node in drawn) == [1, 2, 3]


def test_an_argument_of_a_function_is_drawn_once_and_each_call_draws() -> None:
    """f(a) = a - a + normal(0, 1), called twice: the arguments cancel, the two numbers inside do not."""
    normal = random_number("normal", "<cn>0</cn><cn>1</cn>")
    body = f"<apply><plus/><apply><minus/><ci>a</ci><ci>a</ci></apply>{normal}</apply>"
    inside = math(f"<lambda><bvar><ci>a</ci></bvar>{body}</lambda>")
    function = f'<functionDefinition id="f">{inside}</functionDefinition>'
    call = f"<apply><ci>f</ci>{normal}</apply>"
    assigned = SET_X.format(math(f"<apply><minus/>{call}{call}</apply>"))
    event = f'<event id="e" useValuesFromTriggerTime="true">{assigned}</event>'
    text = raw(event, version=2, functions=f"<listOfFunctionDefinitions>{function}</listOfFunctionDefinitions>")
    actual = event_of(text).assignments["x"]
    assert len({node.args[1] for node in actual.atoms(draw)}) == 4


@pytest.mark.parametrize(
    ("name", "count"), [("normal", 1), ("normal", 3), ("poisson", 0), ("poisson", 2), ("uniform", 3), ("gamma", 5)]
)
def test_random_numbers_with_a_wrong_number_of_arguments(name: str, count: int) -> None:
    assigned = SET_X.format(math(random_number(name, "<cn>1</cn>" * count)))
    text = raw(f'<event id="e" useValuesFromTriggerTime="true">{assigned}</event>', version=2)
    with pytest.raises(SbmlError, match=f"event 'e' .*{name}"):
        sg.read_sbml(text)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"rules": {"x": "normal(0, 1)"}}, "the rule of 'x'"),
        ({"rates": {"x": "normal(0, 1)"}}, "the rule of 'x'"),
        ({"events": {"e": {"trigger": "normal(0, 1) > x", "set": {"x": "1"}}}}, "event 'e'"),
        ({"reactions": {"r": ("S -> ", "poisson(3)")}}, "reaction 'r'"),
    ],
)
def test_numbers_that_would_be_drawn_all_the_time_are_refused(model: Make, content: dict[str, Any], where: str) -> None:
    read = model({"S": {"amount": 6.0}}, parameters={"x": 1.0}, **content)
    with pytest.raises(UnsupportedError, match=f"{where} draws random numbers all the time"):
        sg.simulate(read, [1.0], n=2)
    with pytest.raises(UnsupportedError, match=f"{where} draws random numbers, which only exact simulation"):
        sg.simulate(read, [1.0], method="ode")
