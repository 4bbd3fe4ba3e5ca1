"""Arrays → figures, in the style of CMS; palettes that colour-blind people can read. Nothing is shown or kept in global state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.files import whole_file
from dqmroot.series import Axis

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_map", "plot_score_trend", "plot_spectrum", "plot_worst", "save_figure"]

# Okabe and Ito's palette: blue, vermilion, grey.
GOOD_COLOUR, BAD_COLOUR, NOT_JUDGED_COLOUR = "#0072B2", "#D55E00", "#999999"

LABEL = "Private work"


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or PDF, by the ending of ``path``, whole or not at all."""
    import os

    with whole_file(path) as temporary:
        figure.savefig(temporary, format=os.fspath(path).rpartition(".")[2], dpi=110, bbox_inches="tight")


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

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for value, colour, marker, name in (
            (0, GOOD_COLOUR, "o", "good"),
            (1, BAD_COLOUR, "X", "bad"),
            (-1, NOT_JUDGED_COLOUR, "s", "not judged"),
        ):
            rows = (flags == value) & np.isfinite(y)
            if rows.any():
                axes.plot(x[rows], y[rows], marker, color=colour, markersize=7, label=f"{name} ({int(rows.sum())} LS)")
        if np.isfinite(threshold):
            axes.axhline(threshold, color="black", linestyle="--", linewidth=1.5, label=f"cut {threshold:.3g}")
        if (y[np.isfinite(y)] > 0).any() and not (y[np.isfinite(y)] <= 0).any():
            axes.set_yscale("log")
        axes.set_xlabel("Lumisection")
        axes.set_ylabel("Score (higher is worse)")
        axes.legend(loc="upper right", frameon=True, fontsize=13)
        _dress(axes, title, label)

    return _figure(draw)


def plot_map(
    values: ArrayLike, axes: Sequence[Axis], *, title: str = "", ztitle: str = "", label: str = LABEL
) -> Figure:
    """Draw a map ``(ny, nx)`` over its x and y axes; empty cells stay white."""

    def draw(figure: Figure) -> None:
        _draw_map(figure, figure.add_subplot(), np.asarray(values, np.float64), axes, ztitle)
        _dress(figure.axes[0], title, label)

    return _figure(draw)


def plot_spectrum(
    curves: Sequence[tuple[str, ArrayLike]], axis: Axis, *, title: str = "", ytitle: str = "", label: str = LABEL
) -> Figure:
    """Draw 1-D histograms ``(nx,)`` over each other, each with its name."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _draw_curves(axes, [(name, np.asarray(values)) for name, values in curves], axis)
        axes.set_ylabel(ytitle)
        _dress(axes, title, label)

    return _figure(draw)


def plot_worst(
    original: ArrayLike,
    reconstruction: ArrayLike | None,
    loss: ArrayLike | None,
    axes: Sequence[Axis],
    *,
    title: str = "",
    label: str = LABEL,
) -> Figure:
    """Draw original, reconstruction and badness per bin of one LS side by side.

    Args:
        original: ``(…, y, x)``.
        reconstruction: Same shape, or ``None``.
        loss: Same shape, or ``None``.
        axes: x, y.
        title: Name of the monitoring element, run and LS.
        label: What stands beside "CMS".
    """
    panels = [("Original", original), ("Reconstruction", reconstruction), ("Loss per bin", loss)]
    shown = [(name, np.asarray(values, np.float64)) for name, values in panels if values is not None]

    def draw_maps(figure: Figure) -> None:
        figure.set_size_inches(8.5 * len(shown), 7)
        for i, (name, values) in enumerate(shown):
            one = figure.add_subplot(1, len(shown), i + 1)
            _draw_map(figure, one, values, axes, name)
            _dress(one, title if i == 0 else "", label if i == 0 else None)

    def draw_curves(figure: Figure) -> None:
        figure.set_size_inches(10, 9)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        curves = [shown[0]]
        if reconstruction is not None:
            curves.append(("Reconstruction", np.asarray(reconstruction, np.float64)))
        _draw_curves(top, curves, axes[0])
        top.set_xlabel("")
        top.set_ylabel("Entries")
        if loss is not None:
            bottom.stairs(np.asarray(loss), axes[0].bin_edges, color=BAD_COLOUR, fill=True)
        bottom.set_ylabel("Loss")
        bottom.set_xlabel(axes[0].title or "x")
        _dress(top, title, label)

    return _figure(draw_curves if len(axes) == 1 else draw_maps)


def _draw_curves(axes: Axes, curves: Sequence[tuple[str, NDArray[Any]]], axis: Axis) -> None:
    styles = [("black", "-"), (BAD_COLOUR, "--"), (GOOD_COLOUR, "-."), ("#009E73", ":")]
    for (name, values), (colour, style) in zip(curves, styles * (len(curves) // 4 + 1), strict=False):
        axes.stairs(values, axis.bin_edges, color=colour, linestyle=style, linewidth=2, label=name)
    axes.set_xlim(axis.low, axis.high)
    axes.set_xlabel(axis.title or "x")
    axes.legend(fontsize=14)


def _draw_map(figure: Figure, axes: Axes, values: NDArray[np.float64], ax: Sequence[Axis], ztitle: str) -> None:
    shown = np.ma.masked_where(~np.isfinite(values) | (values == 0), values)
    mesh = axes.pcolormesh(ax[0].bin_edges, ax[1].bin_edges, shown, cmap="cividis", rasterized=True)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label(ztitle)
    axes.set_xlabel(ax[0].title or "x")
    axes.set_ylabel(ax[1].title or "y")
    for axis, set_ticks in ((ax[0], axes.set_xticks), (ax[1], axes.set_yticks)):
        if axis.labels:
            step = -(-axis.nbins // 12)
            set_ticks(axis.centres[::step], axis.labels[::step], fontsize=12)


def _dress(axes: Axes, title: str, label: str | None) -> None:
    """Put the experiment's label above the frame and the title inside it, in small letters."""
    if label is not None:
        import mplhep

        mplhep.cms.text(label, ax=axes, fontsize=18)
    if title:
        axes.set_title(_plain(title), fontsize=11, loc="right", pad=6)


def _plain(text: str) -> str:
    """Keep a title to one short line, and its dollar signs from being read as mathematics."""
    one = " ".join(text.split()).replace("$", r"\$")
    return one if len(one) <= 90 else "…" + one[-89:]


def _figure(draw: Callable[[Figure], None]) -> Figure:
    import matplotlib as mpl
    import mplhep
    from matplotlib.figure import Figure

    with mpl.rc_context(mplhep.style.CMS):
        figure = Figure(figsize=(10, 7), layout="constrained")
        draw(figure)
        # What is drawn lazily must still see the style.
        figure.canvas.draw_idle()
    return figure
