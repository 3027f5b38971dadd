"""Pictures of profiles of parameters whose names are as hostile as a file may make them."""

import numpy as np
import pandas as pd

from sbmlgrad.report.profiles import plot_profiles

NAMES = ("_hidden", "$x_{$", "value")


def test_names_are_shown_as_they_are_and_limits_may_be_missing() -> None:
    value = np.logspace(-2, 2, 9)
    points = pd.concat(
        [pd.DataFrame({"parameter": name, "value": value, "loss_difference": np.log(value) ** 2}) for name in NAMES]
    )
    points.insert(3, "value", 1.0, allow_duplicates=True)  # the parameter of that name
    limits = pd.DataFrame(
        {"estimate": 1.0, "ci_lower": [0.1, 0.0, 0.5], "ci_upper": [9.0, np.inf, 2.0], "threshold": 3.84},
        index=list(NAMES),
    )
    figure = plot_profiles(points, limits)
    figure.canvas.draw()
    assert [panel.get_title() for panel in figure.axes] == list(NAMES)
    for panel in figure.axes:
        assert panel.get_xscale() == "log"
        assert np.array_equal(panel.lines[0].get_xdata(), value)
