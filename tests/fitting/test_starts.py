"""Fits from several starts: where they lie, and which end counts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError
from sbmlgrad.fitting.parameters import choose
from sbmlgrad.fitting.starts import drawn


def test_starts_lie_within_bounds_or_near_the_start() -> None:
    values = {"a": 1.0, "b": 2.0, "c": -3.0}
    parameters = choose({"a": (0.01, 100.0), "b": None, "c": (-5.0, 5.0)}, values, {}, "model")
    points = pd.DataFrame(drawn(parameters, 101, seed=1))
    assert len(points) == 100
    for name, low, high, log in (("a", 0.01, 100, True), ("b", 0.2, 20, True), ("c", -5, 5, False)):
        column = points[name].to_numpy()
        assert low <= column.min() < column.max() <= high
        shares = (np.log(column / low) / np.log(high / low)) if log else (column - low) / (high - low)
        assert np.histogram(shares, 100, (0, 1))[0].tolist() == [1] * 100  # a Latin hypercube
    assert drawn(parameters, 101, seed=1)[0] == points.iloc[0].to_dict()
    assert drawn(parameters, 1, seed=1) == []


def test_the_best_end_counts(models_dir: Path) -> None:
    """A sine's frequency has many optima; from the start alone the nearest is found."""
    text = """<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model>
    <listOfParameters><parameter id="x" value="0" constant="false"/><parameter id="w" value="1" constant="true"/>
    </listOfParameters><listOfRules><rateRule variable="x"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply>
    <cos/><apply><times/><ci>w</ci><csymbol encoding="text"
    definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol></apply></apply></math></rateRule></listOfRules>
    </model></sbml>"""
    times = np.linspace(0.1, 10, 60)
    table = pd.DataFrame({"time": times, "x": np.sin(5 * times) / 5})
    model = sg.read_sbml(text)
    one, many = (sg.fit(model, table, {"w": (0.5, 8.0)}, method="ode", starts=n) for n in (1, 6))
    assert abs(one.parameters.loc["w", "estimate"] - 5) > 0.5
    assert many.parameters.loc["w", "estimate"] == pytest.approx(5, rel=1e-6)
    assert many.message.startswith("best of 6 starts, ")
    assert many.loss < one.loss
    with pytest.raises(FitError, match="starts: 0 are too few"):
        sg.fit(model, table, {"w": (0.5, 8.0)}, method="ode", starts=0)
