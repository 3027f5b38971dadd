"""Pictures and pages of what was fitted or simulated, from plain tables."""

from sbmlgrad.report.content import FitContent
from sbmlgrad.report.html import check_folder, write_report
from sbmlgrad.report.plots import (
    check_picture,
    plot_fit,
    plot_loss,
    plot_parameters,
    plot_residuals,
    plot_simulation,
    save_figure,
)

__all__ = [
    "FitContent",
    "check_folder",
    "check_picture",
    "plot_fit",
    "plot_loss",
    "plot_parameters",
    "plot_residuals",
    "plot_simulation",
    "save_figure",
    "write_report",
]
