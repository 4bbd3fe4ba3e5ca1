"""Arrays → figures, in the style of CMS; palettes that colour-blind people can read. Nothing is shown or kept in global state.

Every function returns a matplotlib `Figure` that belongs to no window; `save_figure` writes it as PNG or PDF.
"""

from __future__ import annotations

from dqmroot.plot.animations import animate_maps
from dqmroot.plot.drawing import draw
from dqmroot.plot.histograms import plot_map, plot_spectra, plot_spectrum, plot_worst
from dqmroot.plot.scores import plot_calibration, plot_confusion, plot_loss, plot_roc, plot_score_distribution
from dqmroot.plot.style import LABEL, save_figure
from dqmroot.plot.trends import plot_score_trend, plot_trend

__all__ = [
    "LABEL",
    "animate_maps",
    "draw",
    "plot_calibration",
    "plot_confusion",
    "plot_loss",
    "plot_map",
    "plot_roc",
    "plot_score_distribution",
    "plot_score_trend",
    "plot_spectra",
    "plot_spectrum",
    "plot_trend",
    "plot_worst",
    "save_figure",
]
