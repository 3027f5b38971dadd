"""Pictures of draws of parameters whose names are as hostile as a file may make them."""

import numpy as np
import pandas as pd

from sbmlgrad.report.posteriors import plot_posterior

NAMES = ("_hidden", "$x_{$", "draw")


def test_names_are_shown_as_they_are() -> None:
    random = np.random.default_rng(0)
    values = np.exp(random.normal(size=(200, 3)) * [0.1, 0.1, 2.0])
    own = pd.DataFrame({"chain": 0, "draw": range(200), "log_likelihood": 0.0})
    draws = pd.concat([own, pd.DataFrame(values, columns=list(NAMES))], axis=1)
    low, median, high = np.percentile(values, [2.5, 50, 97.5], axis=0)
    summary = pd.DataFrame({"median": median, "ci_lower": low, "ci_upper": high}, index=list(NAMES))
    figure = plot_posterior(draws, summary)
    figure.canvas.draw()
    assert [panel.get_title() for panel in figure.axes] == list(NAMES)
    assert [panel.get_xscale() for panel in figure.axes] == ["linear", "linear", "log"]
    for panel, middle in zip(figure.axes, median, strict=True):
        assert panel.lines[0].get_xdata()[0] == middle
