"""A picture of what the features of a bottleneck are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dqmroot.errors import UsageError
from dqmroot.plot.style import LABEL, dress, make_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_features"]


def plot_features(maps: ArrayLike, *, most: int = 12, title: str = "", label: str = LABEL) -> Figure:
    """Draw the features that follow the histogram most closely, the strongest first.

    Args:
        maps: ``(features, [y,] x)`` correlations from -1 to 1, as `dqmroot.detectors.features.feature_maps` gives them.
        most: At most so many are drawn.
        title: Beside the experiment's label.
        label: After "CMS".

    Raises:
        UsageError: Not of one or two dimensions beside the features, or none.
    """
    array = np.asarray(maps, np.float64)
    if array.ndim not in {2, 3} or len(array) == 0:
        raise UsageError(f"feature maps must be (features, [y,] x), got shape {array.shape}")
    strength = np.square(array).reshape(len(array), -1).mean(axis=1)
    chosen = np.argsort(-strength, kind="stable")[:most]
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)

    def paint(figure: Figure) -> None:
        frames = figure.subplots(lines, columns, squeeze=False).ravel()
        for frame in frames[len(chosen) :]:
            frame.set_axis_off()
        for frame, index in zip(frames, chosen, strict=False):
            if array.ndim == 2:
                frame.plot(array[index], drawstyle="steps-mid")
                frame.set_ylim(-1.05, 1.05)
            else:
                mesh = frame.pcolormesh(array[index], cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True)
            frame.set_xlabel(f"feature {index}", fontsize=13, loc="center")
            frame.tick_params(labelsize=10)
        if array.ndim == 3:
            figure.colorbar(mesh, ax=frames.tolist(), label="correlation with the bin")
        dress(frames[0], title, label)

    return make_figure(paint, (4.0 * columns + 1, 3.2 * lines + 1))
