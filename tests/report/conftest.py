"""A made-up fit whose names are as hostile as a file may make them."""

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.report import FitContent

SCRIPT = "<script>alert(1)</script>"
# A label matplotlib would hide, broken mathematics, a column of the history.
NAMES = ("_hidden", "$x_{$", "n")
TIMES = np.linspace(0.0, 10.0, 41)


def made_up_content() -> FitContent:
    """Two observables, one of them with a measured sd; three parameters, one of which ended at a bound."""
    curves = pd.concat(
        pd.DataFrame({"observable": name, "time": TIMES, "mean": 9 + TIMES, "mean_stderr": 0.1, "sd": 3.0})
        for name in ("[$S]", SCRIPT)
    )
    rows = [
        {
            "observable": name,
            "statistic": statistic,
            "time": t,
            "measured": 9 + t,
            "error": 1.0,
            "residual": 0.5,
        }
        for name, statistic in (("[$S]", "mean"), ("[$S]", "sd"), (SCRIPT, "value"))
        for t in range(10)
    ]
    steps = np.arange(20)
    traces = pd.DataFrame({name: 1.0 + 100 * np.exp(-steps) for name in NAMES})
    history = pd.DataFrame({"step": steps, "loss": 1.0, "loss_stderr": 2.0, "n": 1000})
    history["phase"] = np.where(steps < 10, "descent", SCRIPT)
    parameters = pd.DataFrame(
        {"start": 2.0, "estimate": 1.0, "stderr": [0.1, np.nan, 3.0], "lower": [1e-3, None, 1.0]}
        | {"upper": [10.0, None, np.nan], "at_bound": [False, False, True]}
        | {"ci_lower": [0.8, np.nan, 0.0], "ci_upper": [1.2, np.nan, np.inf]},
        index=list(NAMES),
    )
    return FitContent(
        title=SCRIPT,
        model=SCRIPT,
        data="data.csv",
        parameters=parameters,
        measured=pd.DataFrame(rows).assign(predicted=9.0),
        curves=curves,
        history=pd.concat([history, traces], axis=1),
        correlation=pd.DataFrame([[1, -0.5, np.nan]] * 3, index=list(NAMES), columns=list(NAMES)),
        facts={"loss": SCRIPT, "version": "1.2.3"},
        warnings=(f"{SCRIPT} ended at its bound",),
    )


@pytest.fixture
def content() -> FitContent:
    return made_up_content()
