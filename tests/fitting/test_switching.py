"""Fits of switching records by their dwell times: truth, what is chosen, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError, SbmlgradError
from sbmlgrad.fitting.likelihood_fit import LikelihoodFit
from sbmlgrad.fitting.switching import resolution
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.likelihood.dwell_records import DwellRecord
from sbmlgrad.likelihood.dwells import Dwells
from sbmlgrad.report.dwells import plot_dwells
from sbmlgrad.tables import read_measurements

TRUTH = {"a": 0.2, "b": 1.0, "o": 5.0, "c": 3.0}


@pytest.fixture(scope="module")
def channel() -> sg.ReactionNetwork:
    """Shut for long (R), shut for short (C) or open (O); rates to start from."""
    return sg.ReactionNetwork(
        [[-1, 1, 0, 0], [1, -1, -1, 1], [0, 0, 1, -1]],
        lambda x, p: jnp.stack([p["a"] * x[0], p["b"] * x[1], p["o"] * x[1], p["c"] * x[2]]),
        [1, 0, 0],
        {"a": 0.1, "b": 2.0, "o": 3.0, "c": 5.0},
        species=("R", "C", "O"),
    )


@pytest.fixture(scope="module")
def record() -> pd.DataFrame:
    """Drawn one stay after the other; those below 0.1 stand in the table, but count as not seen."""
    random, moves = np.random.default_rng(5), {0: [(1, "a")], 1: [(0, "b"), (2, "o")], 2: [(1, "c")]}
    state, now, rows = 0, 0.0, []
    for _ in range(3000):
        if not rows or rows[-1][1] != (state == 2):
            rows.append((now, float(state == 2)))
        rates = np.array([TRUTH[name] for _, name in moves[state]])
        now += random.exponential(1 / rates.sum())
        state = moves[state][random.choice(len(rates), p=rates / rates.sum())][0]
    return pd.DataFrame(rows, columns=["time", "O"]).assign(**{"O-resolution": 0.1})


def test_a_resolution_makes_it_dwell_times(channel: sg.ReactionNetwork, record: pd.DataFrame) -> None:
    """Four estimates within four standard errors: 3e-4 by chance."""
    fit = sg.fit(channel, record, dict.fromkeys(TRUTH))
    assert fit.converged
    assert fit.loss_name == ("-2 log likelihood (likelihood of dwell times, events shorter than 0.1 missed, 3 states)")
    table = fit.parameters
    assert np.all(np.abs(np.log(table["estimate"] / pd.Series(TRUTH))) < 4 * table["stderr"] / table["estimate"])
    assert np.all(table["stderr"] < 0.3 * table["estimate"])
    assert fit.warnings == ()
    assert fit.measured["statistic"].unique().tolist() == ["dwell time"]
    assert fit.measured["measured"].min() >= 0.1
    assert fit.goodness["n_data"] == len(fit.measured)
    assert fit.dwells is not None
    assert fit.dwells["sojourns"].sum() == len(fit.measured)
    assert fit.dwells["expected"].sum() == pytest.approx(len(fit.measured))


def test_tables_of_the_same_condition_have_histograms_of_their_own(
    channel: sg.ReactionNetwork, record: pd.DataFrame
) -> None:
    """The third is of one stay whose end was not seen, which has none."""
    problem, values = differentiable(channel, list(TRUTH)), np.array(list(TRUTH.values()))
    stay = (np.array([0.0, 3.0]), np.array([0.0, 0.0]))
    columns = [(table["time"].to_numpy(), table["O"].to_numpy()) for table in (record[:60], record[60:100])]
    parts = [Dwells(problem, DwellRecord.of("O", [one], 0.1)) for one in (*columns, stay)]
    for part in parts:
        part.prepare(values)
    studies = [SimpleNamespace(trial=SimpleNamespace(condition="", places=np.arange(4)))] * 3
    of_three: Any = SimpleNamespace(studies=studies, _total=SimpleNamespace(parts=parts))
    dwells = LikelihoodFit._dwells(of_three, values)
    assert dwells is not None
    seen = dwells.groupby("data", sort=False)["sojourns"].sum()
    assert seen.to_dict() == {"table 1": parts[0].size, "table 2": parts[1].size}
    assert len(plot_dwells(dwells).axes) == 4


def test_one_number_says_the_resolution(record: pd.DataFrame) -> None:
    once = record.assign(**{"O-resolution": [0.1, *[np.nan] * (len(record) - 1)]})
    assert resolution(read_measurements(once)[0]) == 0.1
    assert resolution(read_measurements(record[["time", "O"]])[0]) == 0.0


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"method": "ode"}, "which method 'ode' does not have; use method 'ssa', or remove the column"),
        ({}, {"loss": "moments"}, "loss 'moments' is of something else; use loss 'dwells', or remove the column"),
        ({}, {"loss": "projection"}, "loss 'projection' is of something else"),
        ({"O-resolution": [0.1] * 3 + [0.2] * 3}, {}, "has 0.1 and 0.2; a record has one resolution"),
        ({"O-resolution": [0.0] * 6}, {}, "0 is no resolution, which is the shortest time that is seen"),
        ({"O-resolution": [-1.0] * 6}, {}, "-1 is no resolution"),
        ({"O": [0.0, 2.0] * 3}, {}, "loss 'dwells': 'O' is 2 in the data, and 0, 1 in the states of the model"),
        ({"O-resolution": [9.0] * 6}, {}, "'O' has no two levels that are not shorter than 9 one after the other"),
        ({"O-resolution": [0.5] * 6, "C": [0.0] * 6}, {}, "and the table has 'O', 'C'; keep one"),
        ({"O-error": [0.1] * 6}, {}, "there is a column 'O-error'; remove it"),
    ],
)
def test_what_has_no_dwell_times_is_refused(
    channel: sg.ReactionNetwork, change: dict[str, list[float]], options: dict[str, Any], message: str
) -> None:
    table = pd.DataFrame({"time": np.arange(6.0), "O": [0.0, 1.0] * 3, "O-resolution": 0.5}).assign(**change)
    with pytest.raises(SbmlgradError) as caught:
        sg.fit(channel, table, {"c": None}, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dwell_times_need_no_resolution(model: Any) -> None:
    """Of two channels all of whose stays are seen, rates are numbers of events over the time in which they may happen;
    the current is two units for each of them, and a second record begins anew."""
    random, x, times, levels = np.random.default_rng(2), 0, [0.0], [0.0]
    for _ in range(400):
        rates = np.array([3.0 * (2 - x), 5.0 * x])
        times.append(times[-1] + random.exponential(1 / rates.sum()))
        x += 1 if random.uniform() * rates.sum() < rates[0] else -1
        levels.append(2.0 * x)
    document = model(
        {"O": {"amount": 0, "only": True}, "C": {"amount": 2, "only": True}},
        {"open": ("C -> O", "o*C"), "shut": ("O -> C", "c*O")},
        {"o": 2.0, "c": 2.0},
    )
    table = pd.DataFrame({"time": times, "current": levels, "replicate": [1] * 200 + [2] * 201})
    fit = sg.fit(document, table, {"o": None, "c": None}, loss="dwells", observables={"current": "2*O"})
    spans, opened = np.diff(times), np.array(levels[:-1]) / 2
    whole = np.arange(400) != 199  # the stay between both records is in neither
    up = np.diff(levels) > 0
    expected = [np.sum((up == way) & whole) / np.sum((spans * at)[whole]) for way, at in ((1, 2 - opened), (0, opened))]
    assert fit.parameters["estimate"].tolist() == pytest.approx(expected, rel=1e-3)
    with pytest.raises(FitError, match="is of trajectories, and the table has other cells at each time"):
        sg.fit(document, pd.DataFrame({"time": [1.0] * 4, "O": [0.0, 1.0] * 2}), {"o": None}, loss="dwells")
