"""Pictures of dwell times of conditions whose names are as hostile as a file may make them."""

import numpy as np
import pandas as pd

from sbmlgrad.report.dwells import plot_dwells


def test_a_panel_for_each_level_of_each_condition() -> None:
    edges = np.geomspace(0.1, 10, 9)
    parts = [
        pd.DataFrame({"condition": name, "level": level, "lower": edges[:-1], "upper": edges[1:]})
        for name in ("$x_{$", "_hidden")
        for level in (0.0, 1.0)
    ]
    histogram = pd.concat(parts).assign(sojourns=4, expected=9.0)
    figure = plot_dwells(histogram)
    figure.canvas.draw()
    assert [panel.get_title() for panel in figure.axes] == [
        f"{name}, level {level}: 32" for name in ("$x_{$", "_hidden") for level in (0, 1)
    ]
    for panel in figure.axes:
        assert panel.get_xscale() == "log"
        assert np.array_equal(panel.lines[0].get_ydata(), np.full(8, 3.0))
        assert all(bar.get_height() == 2.0 for bar in panel.patches)
