"""Maps over lumisections as a film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dqmroot.errors import EmptySelectionError
from dqmroot.files import whole_file
from dqmroot.plot.histograms import draw_map
from dqmroot.plot.style import LABEL, dress, make_figure, plain, style
from dqmroot.series import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["animate_maps"]


def animate_maps(
    maps: ArrayLike,
    axes: Sequence[Axis],
    lumi: ArrayLike,
    path: str | Path,
    *,
    title: str = "",
    ztitle: str = "",
    seconds: float = 0.25,
    label: str = LABEL,
) -> Path:
    """Write an animated GIF of maps, one frame per lumisection, all with the same colours.

    Args:
        maps: ``(n, ny, nx)``.
        axes: x, y.
        lumi: ``(n,)``.
        path: The GIF.
        title: Name of the monitoring element and run.
        ztitle: What the values are.
        seconds: How long each frame stays.
        label: What stands beside "CMS".

    Returns:
        The file.

    Raises:
        EmptySelectionError: No map.
        OutputError: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    array, numbers = np.asarray(maps, np.float64), np.asarray(lumi).tolist()
    if len(array) == 0:
        raise EmptySelectionError("no lumisection to draw a film of")
    finite = array[np.isfinite(array)]
    top = float(finite.max(initial=0.0)) or 1.0

    parts: list[Any] = []

    def draw(figure: Figure) -> None:
        frame = figure.add_subplot()
        mesh = draw_map(figure, frame, array[0], axes, ztitle, top=top)
        told = frame.text(0.98, 0.96, f"LS {numbers[0]}", transform=frame.transAxes, ha="right", va="top", bbox=_BOX)
        parts.extend((mesh, told))
        dress(frame, title, label)

    figure = make_figure(draw, (8.0, 5.6))
    mesh, told = parts
    figure.set_layout_engine("none")  # laid out once: nothing may jump from frame to frame
    canvas: Any = FigureCanvasAgg(figure)
    pictures = []
    with mpl.rc_context(style()):
        for values, number in zip(array, numbers, strict=True):
            mesh.set_array(np.ma.masked_where(~np.isfinite(values) | (values == 0), values))
            told.set_text(plain(f"LS {number}"))
            canvas.draw()
            rgb = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
            pictures.append(rgb.quantize(128, dither=Image.Dither.NONE))
    with whole_file(path) as temporary:
        pictures[0].save(
            temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=round(1000 * seconds), loop=0
        )
    return Path(path)


_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "boxstyle": "round,pad=0.25"}
