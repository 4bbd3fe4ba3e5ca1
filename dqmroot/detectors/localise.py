"""Where: bad bins, clusters of them, and bins that are bad in several depths at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import UsageError
from dqmroot.scientific import load_scipy

__all__ = ["Cluster", "clusters", "coincidence"]


@dataclass(frozen=True)
class Cluster:
    """Bad bins of one LS that touch each other.

    Args:
        ls: Place of the LS in the sample.
        size: Number of bins.
        low: First bin along each axis, (…, y, x).
        high: Last bin along each axis.
        centre: Mean place, weighted with the badness.
        peak: The worst bin's badness.
    """

    ls: int
    size: int
    low: tuple[int, ...]
    high: tuple[int, ...]
    centre: tuple[float, ...]
    peak: float


def clusters(badness: ArrayLike, cut: float, *, smallest: int = 1, around: Sequence[int] = ()) -> list[Cluster]:
    """Find groups of neighbouring bins above a cut; bins that share a corner are neighbours.

    Args:
        badness: ``(n_ls, *bins)`` from `Detector.score_bins`; NaN is not bad.
        cut: A bin is bad above it.
        smallest: Clusters of fewer bins are left out: what flickers in single bins.
        around: Axes of the histogram, counted as in the array without the LS axis, that close on themselves, such as iphi.

    Returns:
        By LS, the worst first.
    """
    load_scipy()
    from scipy.ndimage import label

    values = np.asarray(badness, np.float64)
    if values.ndim < 2:
        raise UsageError(f"badness must be (n_ls, bins…), got shape {values.shape}")
    ndim = values.ndim - 1
    if any(not 0 <= axis < ndim for axis in around):
        raise UsageError(f"axes {list(around)} that close on themselves: the histogram has {ndim}")
    found = []
    for i, ls in enumerate(values):
        labels, n = label(ls > cut, np.ones((3,) * ndim))
        names = np.arange(n + 1)
        for axis in around:
            _join(names, np.take(labels, 0, axis), np.take(labels, -1, axis))
        groups = names[labels]
        mine = [_describe(i, ls, np.argwhere(groups == name)) for name in np.unique(groups[groups > 0])]
        found += sorted((c for c in mine if c.size >= smallest), key=lambda c: -c.peak)
    return found


def _join(names: NDArray[np.intp], first: NDArray[np.intp], last: NDArray[np.intp]) -> None:
    """Give clusters that meet across the seam one name."""
    for a, b in {(int(a), int(b)) for a, b in zip(first.ravel(), last.ravel(), strict=True) if a and b}:
        names[names == names[b]] = names[a]


def _describe(ls: int, badness: NDArray[np.float64], bins: NDArray[np.intp]) -> Cluster:
    weight = badness[tuple(bins.T)]
    return Cluster(
        ls=ls,
        size=len(bins),
        low=tuple(int(v) for v in bins.min(axis=0)),
        high=tuple(int(v) for v in bins.max(axis=0)),
        centre=tuple(float(v) for v in np.average(bins, axis=0, weights=np.maximum(weight, 1e-300))),
        peak=float(weight.max()),
    )


def coincidence(bad: ArrayLike, least: int = 2) -> NDArray[np.bool_]:
    """Return bins that are bad in at least ``least`` of several depths of the same LS: a readout box fails as a whole.

    Args:
        bad: ``(n_depths, n_ls, *bins)`` bool.
        least: In how many.
    """
    depths = np.asarray(bad, np.bool_)
    if depths.ndim < 3 or not 1 <= least <= len(depths):
        raise UsageError(f"at least {least} of depths with shape {depths.shape}: expected (n_depths, n_ls, bins…)")
    return np.asarray(depths.sum(axis=0) >= least)
