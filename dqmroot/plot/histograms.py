"""Pictures of histograms: spectra over each other, maps, and the worst lumisection beside what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.plot.style import BAD, GOOD, GREEN, INK, LABEL, dress, legend_name, make_figure, plain
from dqmroot.series import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

__all__ = ["draw_map", "plot_map", "plot_spectra", "plot_spectrum", "plot_worst"]

_STYLES = ((INK, "-"), (BAD, "--"), (GOOD, "-."), (GREEN, ":"))


def plot_spectrum(
    curves: Sequence[tuple[str, ArrayLike]], axis: Axis, *, title: str = "", ytitle: str = "Entries", label: str = LABEL
) -> Figure:
    """Draw 1-D histograms ``(nx,)`` over each other, each with its name."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _draw_curves(axes, [(name, np.asarray(values, np.float64)) for name, values in curves], axis)
        axes.set_ylabel(plain(ytitle))
        dress(axes, title, label)

    return make_figure(draw)


def plot_spectra(
    values: ArrayLike,
    axis: Axis,
    by: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    title: str = "",
    by_title: str = "Lumisection",
    ytitle: str = "Entries",
    label: str = LABEL,
) -> Figure:
    """Draw many 1-D histograms as thin lines, coloured by a quantity.

    Args:
        values: ``(n, nx)``.
        axis: Their axis.
        by: ``(n,)`` what colours them, such as the LS.
        reference: ``(nx,)``, drawn on top; optional.
        title: Name of the monitoring element and run.
        by_title: What ``by`` is.
        ytitle: What the values are.
        label: What stands beside "CMS".
    """
    array, quantity = np.asarray(values, np.float64), np.asarray(by, np.float64)

    def draw(figure: Figure) -> None:
        from matplotlib import colormaps
        from matplotlib.collections import LineCollection
        from matplotlib.colors import ListedColormap

        axes = figure.add_subplot()
        edges = axis.bin_edges
        x = np.repeat(edges, 2)[1:-1]
        lines = np.stack([np.broadcast_to(x, (len(array), len(x))), np.repeat(array, 2, axis=1)], axis=-1)
        # Without the palest colours, which thin lines on white lose.
        colours = ListedColormap(colormaps["cividis"](np.linspace(0.0, 0.85, 256)))
        drawn = LineCollection(list(lines), array=quantity, cmap=colours, linewidths=1.0, alpha=0.8)
        axes.add_collection(drawn)
        if reference is not None:
            axes.stairs(np.asarray(reference, np.float64), edges, color=BAD, linewidth=2.5, label="reference")
            axes.legend(loc="upper right")
        finite = array[np.isfinite(array)]
        top = max(float(finite.max(initial=0.0)), float(np.max(reference)) if reference is not None else 0.0) or 1.0
        axes.set_ylim(min(0.0, float(finite.min(initial=0.0))), 1.15 * top)
        figure.colorbar(drawn, ax=axes, pad=0.02, label=plain(by_title))
        _dress_axis(axes, axis)
        axes.set_ylabel(plain(ytitle))
        dress(axes, title, label)

    return make_figure(draw)


def plot_map(
    values: ArrayLike,
    axes: Sequence[Axis],
    *,
    title: str = "",
    ztitle: str = "",
    colours: str = "cividis",
    label: str = LABEL,
) -> Figure:
    """Draw a map ``(ny, nx)`` over its x and y axes; empty cells stay white.

    Args:
        values: ``(ny, nx)``.
        axes: x, y.
        title: Name of the monitoring element and run.
        ztitle: What the values are.
        colours: A colour map of matplotlib; ``"Oranges"`` is that of losses.
        label: What stands beside "CMS".
    """

    def draw(figure: Figure) -> None:
        frame = figure.add_subplot()
        draw_map(figure, frame, np.asarray(values, np.float64), axes, ztitle, cmap=colours)
        dress(frame, title, label)

    return make_figure(draw)


def plot_worst(
    original: ArrayLike,
    reconstruction: ArrayLike | None,
    loss: ArrayLike | None,
    axes: Sequence[Axis],
    *,
    title: str = "",
    label: str = LABEL,
) -> Figure:
    """Draw original, reconstruction and badness per bin of one LS: maps side by side, spectra over each other.

    Args:
        original: ``(…, y, x)``; of three axes the sum over z is drawn.
        reconstruction: Same shape, or ``None``.
        loss: Same shape, or ``None``.
        axes: x, y.
        title: Name of the monitoring element, run and LS.
        label: What stands beside "CMS".
    """
    panels = [("Original", original), ("Reconstruction", reconstruction), ("Loss per bin", loss)]
    shown = [(name, np.asarray(values, np.float64)) for name, values in panels if values is not None]

    def draw_maps(figure: Figure) -> None:
        frames = figure.subplots(1, len(shown), squeeze=False)[0]
        largest = [float(np.nanmax(values, initial=0.0)) for name, values in shown if not name.startswith("Loss")]
        # The same colours mean the same numbers, unless one map would then show nothing.
        top = max(largest) if 4 * min(largest) >= max(largest) else None
        for i, (frame, (name, values)) in enumerate(zip(frames, shown, strict=True)):
            flat = values.sum(axis=0) if values.ndim == 3 else values
            if name.startswith("Loss"):
                draw_map(figure, frame, flat, axes, name, cmap="Oranges")
            else:
                draw_map(figure, frame, flat, axes, name, top=top if values.ndim == 2 else None)
            dress(frame, title if i == len(shown) - 1 else "", label if i == 0 else None, letters=57 if i else 34)

    def draw_curves(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_curves(top, [(name, values) for name, values in shown if not name.startswith("Loss")], axes[0])
        top.set_xlabel("")
        top.set_ylabel("Entries")
        if loss is not None:
            bottom.stairs(np.asarray(loss, np.float64), axes[0].bin_edges, color=BAD, fill=True, alpha=0.8)
        bottom.set_ylabel("Loss")
        bottom.set_xlabel(plain(axes[0].title) or "x")
        dress(top, title, label)

    if len(axes) == 1:
        return make_figure(draw_curves, (10.0, 8.5))
    return make_figure(draw_maps, (7.5 * len(shown), 6.3))


def _draw_curves(axes: Axes, curves: Sequence[tuple[str, NDArray[Any]]], axis: Axis) -> None:
    top = 0.0
    for i, (name, values) in enumerate(curves):
        colour, line = _STYLES[i % len(_STYLES)]
        axes.stairs(values, axis.bin_edges, color=colour, linestyle=line, linewidth=2, label=legend_name(name))
        top = max(top, float(np.nanmax(values, initial=0.0)))
    # Room for the legend above the highest bin.
    axes.set_ylim(top=(1.1 + 0.07 * len(curves)) * top or 1.0)
    _dress_axis(axes, axis)
    axes.legend(loc="upper right")


def draw_map(
    figure: Figure,
    frame: Axes,
    values: NDArray[np.float64],
    axes: Sequence[Axis],
    ztitle: str,
    *,
    cmap: str = "cividis",
    top: float | None = None,
) -> QuadMesh:
    """Draw a map into a frame, with its colour bar, and return its cells."""
    shown = np.ma.masked_where(~np.isfinite(values) | (values == 0), values)
    low = min(0.0, float(shown.min())) if shown.count() else 0.0
    high = top if top is not None else (float(shown.max()) if shown.count() else 1.0)
    mesh = frame.pcolormesh(
        axes[0].bin_edges, axes[1].bin_edges, shown, cmap=cmap, vmin=low, vmax=max(high, low), rasterized=True
    )
    bar = figure.colorbar(mesh, ax=frame, pad=0.02)
    bar.set_label(plain(ztitle))
    bar.formatter.set_powerlimits((-3, 4))  # type: ignore[attr-defined]
    _dress_axis(frame, axes[0])
    _dress_axis(frame, axes[1], vertical=True)
    return mesh


def _dress_axis(frame: Axes, axis: Axis, *, vertical: bool = False) -> None:
    """Give one side of a frame the limits, the title and, where there are some, the labels of an axis."""
    low, high = float(axis.bin_edges[0]), float(axis.bin_edges[-1])
    if vertical:
        frame.set_ylim(low, high)
        frame.set_ylabel(plain(axis.title) or "y")
    else:
        frame.set_xlim(low, high)
        frame.set_xlabel(plain(axis.title) or "x")
    if not any(axis.labels):
        return
    step = -(-axis.nbins // 12)
    names = [plain(name, 14) for name in axis.labels[::step]]
    side = frame.yaxis if vertical else frame.xaxis
    side.set_ticks(axis.centres[::step], names, fontsize=13)
    side.set_ticks([], minor=True)
    if not vertical and max(map(len, names)) > 4:
        for text in frame.get_xticklabels():
            text.set(rotation=40, ha="right", rotation_mode="anchor")
