"""One call for a first look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dqmroot.errors import UsageError
from dqmroot.plot.histograms import plot_map, plot_spectrum
from dqmroot.series import MonitorElement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(me: MonitorElement, index: int | None = None) -> Figure:
    """Draw one lumisection, or the mean of all; a notebook shows what is returned.

    Args:
        me: A histogram with one or two axes.
        index: Which lumisection, counted from 0; by default the mean over all.

    Returns:
        A matplotlib figure; `dqmroot.plot.save_figure` writes it.

    Raises:
        UsageError: No such lumisection, or a histogram that has no one picture.

    Examples:
        >>> type(dq.draw(occupancy, 3)).__name__
        'Figure'
    """
    if not len(me.axes) or len(me.axes) > 2:
        raise UsageError(f"{me.name}: only histograms with one or two axes can be drawn, this one has {len(me.axes)}")
    if not len(me) or (index is not None and not -len(me) <= index < len(me)):
        raise UsageError(f"{me.name}: there is no lumisection {index} among {len(me)}")
    values = me.values()
    if index is None:
        shown, where = np.asarray(values, np.float64).mean(axis=0), f"mean of {len(me)} LS"
    else:
        shown, where = np.asarray(values[index], np.float64), f"run {me.run[index]}, LS {me.lumi[index]}"
    if len(me.axes) == 1:
        return plot_spectrum([(where, shown)], me.axes[0], title=me.name)
    return plot_map(shown, me.axes, title=f"{me.name}, {where}")
