"""Where an entry of a bin goes when an axis is shifted, mis-scaled or blurred: one row of probabilities for each bin."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UsageError
from dqmroot.series import Axis

__all__ = ["moved", "peak", "smeared"]

Matrix = NDArray[np.float64]

_FAR = 6.0  # standard deviations beyond which nothing is smeared


def moved(axis: Axis, scale: float, shift: float) -> Matrix:
    """Probabilities when each value v becomes ``scale·v + shift`` (in units of the axis); entries lie evenly in a bin.

    Returns:
        ``(nbins + 2, nbins + 2)`` with flow bins, whose entries stay.
    """
    if scale <= 0:
        raise UsageError(f"an axis can be scaled by numbers above 0 only; got {scale}")
    edges = axis.bin_edges
    low, high = scale * edges[:-1] + shift, scale * edges[1:] + shift
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    overlap = np.minimum(high[:, None], bounds[1:]) - np.maximum(low[:, None], bounds[:-1])
    return _with_flow(np.clip(overlap, 0, None) / (high - low)[:, None])


def smeared(axis: Axis, sigma: float) -> Matrix:
    """Probabilities when each value gets a Gaussian error of ``sigma`` (in units of the axis); entries lie in bin middles."""
    if sigma < 0:
        raise UsageError(f"a width cannot be negative; got {sigma}")
    if sigma == 0:
        return moved(axis, 1.0, 0.0)
    bounds = np.concatenate([[-np.inf], axis.bin_edges, [np.inf]])
    distance = np.clip((bounds - axis.centres[:, None]) / sigma, -_FAR, _FAR)
    # Beyond the clip the two ends meet: nothing goes there, and the rows still add up to 1.
    below = np.vectorize(lambda d: 0.5 * math.erfc(-d / math.sqrt(2)))(distance)
    return _with_flow(np.diff(below, axis=1))


def _with_flow(inside: Matrix) -> Matrix:
    n = len(inside)
    out = np.zeros((n + 2, n + 2))
    out[1:-1] = inside / inside.sum(axis=1, keepdims=True)
    out[0, 0] = out[-1, -1] = 1.0
    return out


def peak(axis: Axis, position: float, width: float) -> Matrix:
    """``(nbins,)``: how a Gaussian at ``position`` with standard deviation ``width`` falls into the bins; it adds up to 1."""
    if width <= 0:
        raise UsageError(f"a peak needs a width above 0; got {width}")
    distance = (axis.bin_edges - position) / (width * math.sqrt(2))
    falls: Matrix = np.diff([0.5 * math.erfc(-d) for d in distance])
    if falls.sum() <= 0:
        raise UsageError(f"a peak at {position:g} is outside the axis, {axis.low:g} to {axis.high:g}")
    share: Matrix = falls / falls.sum()
    return share
