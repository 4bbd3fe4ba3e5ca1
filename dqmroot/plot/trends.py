"""Pictures against the lumisection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dqmroot.plot.style import (
    BAD,
    GOOD,
    GREEN,
    INK,
    LABEL,
    NOT_JUDGED,
    dress,
    legend_name,
    make_figure,
    plain,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_score_trend", "plot_trend"]

_VERDICTS = ((0, GOOD, "o", 5, "good"), (1, BAD, "X", 9, "bad"), (-1, NOT_JUDGED, "s", 5, "not judged"))


def plot_score_trend(
    lumi: ArrayLike, score: ArrayLike, flag: ArrayLike, threshold: float, *, title: str = "", label: str = LABEL
) -> Figure:
    """Draw score against lumisection of one run, with the cut.

    Args:
        lumi: ``(n,)``.
        score: ``(n,)``; NaN is not drawn.
        flag: ``(n,)``: 1 bad, 0 good, -1 not judged.
        threshold: The cut; NaN for none.
        title: Name of the monitoring element and run.
        label: What stands beside "CMS".
    """
    x, y, flags = np.asarray(lumi), np.asarray(score, np.float64), np.asarray(flag)
    drawn = y[np.isfinite(y)]
    shown = np.append(drawn, threshold) if np.isfinite(threshold) else drawn

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for value, colour, marker, size, name in _VERDICTS:
            rows = (flags == value) & np.isfinite(y)
            if rows.any():
                told = f"{name} ({int(rows.sum())} LS)"
                axes.plot(x[rows], y[rows], marker, color=colour, markersize=size, markeredgewidth=0, label=told)
        if np.isfinite(threshold):
            axes.axhline(threshold, color=INK, linestyle="--", linewidth=1.5, label=f"cut {threshold:.3g}")
        # A logarithmic axis only where the scores span it: elsewhere it would hide how far the bad ones lie.
        if shown.size and shown.min() > 0 and shown.max() > 20 * shown.min():
            axes.set_yscale("log")
            axes.set_ylim(shown.min() / 1.5, shown.max() * (shown.max() / shown.min()) ** 0.25)
        elif shown.size:
            span = float(shown.max() - shown.min()) or abs(float(shown.max())) or 1.0
            axes.set_ylim(shown.min() - 0.08 * span, shown.max() + 0.35 * span)
            axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        whole_ticks(axes)
        axes.set_xlabel("Lumisection")
        axes.set_ylabel("Score (higher is worse)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper right", ncols=2)
        dress(axes, title, label)

    return make_figure(draw)


def plot_trend(
    lumi: ArrayLike, curves: Mapping[str, ArrayLike], *, title: str = "", ytitle: str = "", label: str = LABEL
) -> Figure:
    """Draw quantities ``(n,)`` against the lumisection, each by its name: a mean, the pile-up, a number of bad channels."""
    x = np.asarray(lumi)
    styles = ((GOOD, "o"), (BAD, "^"), (GREEN, "s"), (INK, "D"))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for i, (name, values) in enumerate(curves.items()):
            colour, marker = styles[i % len(styles)]
            axes.plot(
                x,
                np.asarray(values, np.float64),
                marker,
                color=colour,
                markersize=5,
                markeredgewidth=0,
                label=legend_name(name),
            )
        axes.margins(y=0.18)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        whole_ticks(axes)
        axes.set_xlabel("Lumisection")
        axes.set_ylabel(plain(ytitle))
        if curves:
            axes.legend(loc="upper right", ncols=2)
        dress(axes, title, label)

    return make_figure(draw)
