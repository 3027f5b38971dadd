"""What is said before a simulation begins: the truth about its length, in time, with a remedy that is there."""

from __future__ import annotations

import time as clock
import warnings
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

import sbmlgrad as sg
from sbmlgrad.cli import main
from sbmlgrad.errors import LongRunWarning, PropensityError, TruncationError
from sbmlgrad.info import describe
from sbmlgrad.model import Model
from sbmlgrad.network.stochastic import chemistry_of, jump_process
from sbmlgrad.simulation import forecast as module
from sbmlgrad.simulation.dynamics import of_network, of_process
from sbmlgrad.simulation.forecast import Forecast, forecast
from sbmlgrad.simulation.prepare import prepare


@pytest.fixture
def birth_death(models_dir: Path) -> Path:
    return models_dir / "birth_death" / "model.xml"


def ahead(model: Model, end: float, limit: float = 1e8) -> Forecast:
    process = jump_process(chemistry_of(model))
    return forecast(of_process(process, np.array(list(process.quantities.values()))), 0.0, end, limit)


def test_as_many_fire_as_were_forecast(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "dimerisation" / "model.xml")
    simulation = sg.simulate(model, [10.0], n=200, seed=1)
    assert ahead(model, 10.0).firings == pytest.approx(simulation.events / 200, rel=0.1)


def test_networks_from_python_are_looked_at_as_models_are(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "dimerisation" / "model.xml")
    prepared = prepare(model)
    own = forecast(of_network(prepared.network, prepared.counts, prepared.coefficients), 0.0, 10.0, 1e8)
    assert own.firings == pytest.approx(ahead(model, 10.0).firings, rel=1e-6)
    network = sg.ReactionNetwork(
        [[-2, 2], [1, -1]], lambda x, _: jnp.stack([0.001 * x[0] * (x[0] - 1), 0.1 * x[1]]), x0=[100, 0]
    )
    with pytest.raises(
        TruncationError, match="the network: about [0-9]+ reactions .* more than the 20 allowed; .* by time"
    ) as error:
        sg.simulate(network, [10.0], n=200, max_events=20)
    assert "molecules_per_unit" not in str(error.value)


def test_what_cannot_be_followed_is_taken_to_go_on_as_it_did() -> None:
    cut = Forecast(0.0, 10.0, firings=5e8, reached=1.0, limit=1e8, limit_at=None, largest=(0, 1.0))
    assert not cut.complete
    assert not cut.hopeless  # in doubt not
    assert Forecast(0.0, 10.0, 5e9, 1.0, 1e8, None, (0, 1.0)).hopeless
    assert Forecast(0.0, 10.0, 2e8, 10.0, 1e8, 4.0, (0, 1.0)).hopeless


@pytest.mark.parametrize("way", ["simulate", "sensitivity", "check"])
def test_the_hopeless_is_refused_at_once(birth_death: Path, way: str) -> None:
    model = sg.read_sbml(birth_death)
    hopeless = sg.Experiment([1.0, 10.0], parameters={"k": 1e12})
    begun = clock.process_time()
    with pytest.raises(TruncationError, match=r"about 1.* more than the 1e\+08 allowed.*; .*\(method='ode'\)") as error:
        getattr(sg, way)(model, hopeless, **({} if way == "simulate" else {"parameters": ["k"]}))
    assert clock.process_time() - begun < 2
    assert str(birth_death) in str(error.value)
    assert "species 'X' comes to 1e+12 molecules" in str(error.value)


@pytest.mark.filterwarnings("ignore:.*not whole")
def test_a_law_that_is_negative_at_the_start_is_refused_before_anything_is_compiled(
    text: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What starts from a fraction of a molecule starts somewhere near, and is run; `info` says it of either."""

    def ran(*_: object, **__: object) -> None:
        raise AssertionError("it ran")

    for way in ("run", "run_hybrid"):
        monkeypatch.setattr(f"sbmlgrad.simulation.methods.{way}", ran)
    negative, infinite = ("k * ln(A / 7)", "-0.154151"), ("k / (A - 6)", "inf")
    for (law, value), flows in ((negative, {}), (infinite, {}), (negative, {"B": "1"})):
        document = text({"A": {"amount": 6}}, {"make": ("-> A", law)}, {"k": 1.0, "B": 0.0}, rates=flows)
        model = sg.read_sbml(document)
        assert any(f"'make': its propensity is {value} at the start" in line for line in describe(document).warnings)
        with pytest.raises(PropensityError, match=f"'make': its propensity is {value} at time 0 in trajectory 0"):
            sg.simulate(model, [1.0], n=4)
        with pytest.raises(AssertionError, match="it ran"):
            sg.simulate(model, [1.0], n=4, parameters={"A": 6.4})


def test_the_command_line_names_its_own_options(birth_death: Path) -> None:
    line = ["simulate", str(birth_death), "--end", "10", "--points", "3", "--set"]
    result = CliRunner().invoke(main, [*line, "k=1e12"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {birth_death}: about 1.9e+13 reactions would fire in each trajectory")
    assert result.stderr.count("\n") == 1
    for option in ("--method ode", "--end", "--molecules-per-unit"):
        assert option in result.stderr
    assert "max-events" not in result.stderr  # so many cannot be allowed
    assert "allow more (--max-events 300000000)" in CliRunner().invoke(main, [*line, "k=1e7"]).stderr


def test_what_takes_minutes_is_said_before(birth_death: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG", 1e-4)
    with pytest.warns(LongRunWarning, match="about [89][0-9] reactions will fire in each of 1000 .*method='ode'"):
        sg.simulate(birth_death, [5.0], parameters={"k": 10.0})
    result = CliRunner().invoke(main, ["simulate", str(birth_death), "--end", "5", "--points", "2"])
    assert result.exit_code == 0
    assert result.stderr.count("warning:") == 1
    assert "--method ode" in result.stderr


def test_what_turns_with_time_costs_steps(model: Callable[..., sg.Model]) -> None:
    """A law that turns 2 f times in a unit of time ends as many steps, which the mean alone does not show."""
    swinging = model({"X": {"amount": 10}}, {"D": ("X ->", "X*(1 + sin(w*time))")}, {"w": 2 * np.pi * 1000})
    process = jump_process(chemistry_of(swinging))
    dynamics = of_process(process, np.array(list(process.quantities.values())))
    assert dynamics.stops(0.0, 1.0) == pytest.approx(2000, abs=2)
    assert forecast(dynamics, 0.0, 1.0, 1e8).steps > 2000


def test_what_may_take_a_minute_is_said_though_less_is_expected(
    birth_death: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for expected, told in ((30.0, True), (15.0, False)):
        monkeypatch.setattr(module, "seconds", lambda dynamics, ahead, n, expected=expected: (2.0, expected))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LongRunWarning)
            sg.simulate(birth_death, [0.1], n=4)
        assert any(issubclass(item.category, LongRunWarning) for item in caught) == told


def test_the_remedy_is_for_what_takes_long() -> None:
    told = module._long("m.xml", Forecast(0, 1, 5e4, 1, 1e8, None, (0, 1.0)), 10**6, compiling=2.0, running=7200.0)
    assert str(told) == (
        "m.xml: about 5e+04 reactions will fire in each of 1000000 trajectories, which takes about 2 hours here, and "
        "compiling up to 2 seconds before that; fewer trajectories (n) or an earlier end take less; the rate equations "
        "(method='ode') take hardly any"
    )
    assert told.on_command_line().endswith(
        "; fewer trajectories (-n) or an earlier --end take less; --method ode takes hardly any"
    )


def test_what_is_quick_is_done_without_a_word(birth_death: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sg.simulate(birth_death, [5.0], n=10)


def test_events_and_rates_in_time_are_foreseen(model: Callable[..., Model]) -> None:
    described = model(
        parameters={"k": 1.0},
        species={"X": {"amount": 0}},
        reactions={"make": ("-> X", "k * (1 + sin(time))")},
        events={"faster": {"trigger": "time > 5", "set": {"k": "1e9"}}},
    )
    with pytest.raises(TruncationError, match="1e\\+08 allowed; .* by time 5"):
        sg.simulate(described, [10.0], n=10)


def test_a_second_call_looks_ahead_no_more(birth_death: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless values are far from those before, or it asks for longer."""
    model, seen = sg.read_sbml(birth_death), []
    follow = module.follow
    monkeypatch.setattr(module, "follow", lambda *asked: seen.append(asked) or follow(*asked))
    for parameters, end, times in (({}, 2.0, 1), ({"k": 12.0}, 3.0, 1), ({"k": 60.0}, 2.0, 2), ({"k": 60.0}, 40.0, 3)):
        sg.simulate(model, [end], n=4, seed=1, parameters=parameters)
        assert len(seen) == times


@pytest.mark.parametrize(("rate", "end"), [(1.9, 11.5), (1.0, 20.0)])
def test_growth_that_doubles_its_rate_is_looked_at_again(model: Callable[..., Model], rate: float, end: float) -> None:
    # exp(11.5) reactions fire at first, and a thousandth of the limit; then exp(21.85), or exp(20)
    described = model(parameters={"k": 1.0}, species={"X": {"amount": 1}}, reactions={"grow": ("X -> 2 X", "k * X")})
    sg.simulate(described, [11.5], n=1, seed=1)
    with pytest.raises(TruncationError, match="reactions would fire in each trajectory"):
        sg.simulate(described, [end], n=1, seed=1, parameters={"k": rate})
