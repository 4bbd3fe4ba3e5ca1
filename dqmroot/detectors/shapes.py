"""Small sums that several detectors share: flat rows, mean shapes, templates per run, the largest bins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.detectors.base import Sample
from dqmroot.series import MonitorElement

__all__ = [
    "blocks",
    "cached_blocks",
    "flat",
    "interpolated",
    "largest",
    "mean_shape",
    "runs_of",
    "scaled",
    "shares",
    "shifted",
    "stretched",
]

Rows = NDArray[np.float64]

_CACHED = 1 << 15


def flat(x: ArrayLike) -> Rows:
    """Return ``(n_ls, all bins)`` float64."""
    array = np.asarray(x, np.float64)
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def shares(x: ArrayLike) -> Rows:
    """Return each LS divided by its sum, ``(n_ls, all bins)``."""
    rows = flat(x)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def mean_shape(x: ArrayLike) -> Rows:
    """Return the sum over LS divided by its total, ``(all bins,)``."""
    total = flat(x).sum(axis=0)
    return np.asarray(total / total.sum())


def scaled(counts: Rows, shape: Rows) -> Rows:
    """Return a shape with the counts of each LS, ``(n_ls, all bins)``."""
    return np.asarray(counts.sum(axis=1, keepdims=True) * shape)


def largest(rows: Rows, k: int) -> Rows:
    """Return the mean of the ``k`` largest of each row (of all, where there are fewer)."""
    k = min(k, rows.shape[1])
    if k == 1:
        return np.asarray(rows.max(axis=1))
    return np.asarray(np.partition(rows, -k, axis=1)[:, -k:].mean(axis=1))


def runs_of(sample: Sample) -> NDArray[np.uint32]:
    """Return the run of each LS; all zero where the sample is a bare array, which is taken for one run."""
    return sample.run if isinstance(sample, MonitorElement) else np.zeros(len(sample), np.uint32)


def stretched(shapes: ArrayLike, scale: ArrayLike) -> Rows:
    """Stretch the axis of spectra, bin contents kept whole: content of [a, b] moves to [a·scale, b·scale].

    Args:
        shapes: ``(n, bins)`` or ``(bins,)``, not negative.
        scale: ``(n,)`` or one number, in units of the axis, whose origin is its lower edge.

    Returns:
        ``(n, bins)``; what leaves the axis at its upper end is lost, and the rest is scaled to the sum it had.
    """
    rows = np.atleast_2d(np.asarray(shapes, np.float64))
    return _carried(rows, np.arange(rows.shape[1] + 1) / np.atleast_1d(np.asarray(scale, np.float64))[:, None])


def shifted(shapes: ArrayLike, by: ArrayLike) -> Rows:
    """Move spectra along their axis, bin contents kept whole: content of [a, b] moves to [a + by, b + by].

    Args:
        shapes: ``(n, bins)`` or ``(bins,)``, not negative.
        by: ``(n,)`` or one number, in bins.

    Returns:
        ``(n, bins)``; what leaves the axis is lost, and the rest is scaled to the sum it had.
    """
    rows = np.atleast_2d(np.asarray(shapes, np.float64))
    return _carried(rows, np.arange(rows.shape[1] + 1) - np.atleast_1d(np.asarray(by, np.float64))[:, None])


def _carried(rows: Rows, edges: Rows) -> Rows:
    """Return the content between edges that lie elsewhere, ``(n, bins + 1)``, brought to the sum it had."""
    cumulative = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    out = np.diff(interpolated(cumulative, edges), axis=1)
    total = out.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(out * cumulative[:, -1:], total, out=np.zeros_like(out), where=total > 0))


def interpolated(values: Rows, at: Rows) -> Rows:
    """Return values at places between, ``(n, places)``, by straight lines; outside it is the first or the last value.

    Args:
        values: ``(n, points)`` or ``(1, points)`` at 0, 1, 2, …
        at: ``(n, places)`` or ``(1, places)``.
    """
    n, last = max(len(values), len(at)), values.shape[1] - 1
    values, at = np.broadcast_to(values, (n, last + 1)), np.clip(at, 0, last)
    low = np.broadcast_to(np.minimum(at.astype(np.intp), last - 1), (n, at.shape[1]))
    left, right = (np.take_along_axis(values, low + i, axis=1) for i in (0, 1))
    return np.asarray(left + (at - low) * (right - left))


def cached_blocks(x: NDArray[Any]) -> Iterator[slice]:
    """Cut the rows of ``x`` into blocks whose bins, and what is made of them in between, lie in the cache."""
    return blocks(len(x), max(1, _CACHED // max(math.prod(x.shape[1:]), 1)))


def blocks(n: int, size: int) -> Iterator[slice]:
    """Cut ``n`` rows into slices of at most ``size``."""
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))


def check_length(array: NDArray[Any], length: int, what: str) -> NDArray[Any]:
    """Return a restored array, or raise `ValueError` where its last axis has another length."""
    if array.shape[-1] != length:
        raise ValueError(f"{what} has {array.shape[-1]} bins, the detector {length}")
    return array
