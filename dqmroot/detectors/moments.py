"""Moments of a histogram: mean, width, skewness and kurtosis along each axis, against those of good lumisections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.errors import UsageError

__all__ = ["Moments", "moments"]


def moments(x: NDArray[Any], order: int) -> NDArray[np.float64]:
    """Return the mean, and the width and standardised central moments up to ``order``, along each axis.

    Args:
        x: ``(n_ls, *bins)``, not all empty.
        order: 1 mean; 2 and width; 3 and skewness; 4 and kurtosis.

    Returns:
        ``(n_ls, order × axes)``, mean and width in bins.
    """
    out = []
    for axis in range(1, x.ndim):
        others = tuple(a for a in range(1, x.ndim) if a != axis)
        weight = x.sum(axis=others, dtype=np.float64)
        weight /= weight.sum(axis=1, keepdims=True)
        at = np.arange(weight.shape[1]) + 0.5
        mean = weight @ at
        distance = at - mean[:, None]
        width = np.sqrt((weight * distance**2).sum(axis=1))
        out.append(mean)
        for n in range(2, order + 1):
            central = (weight * distance**n).sum(axis=1)
            out.append(width if n == 2 else np.divide(central, width**n, out=np.zeros_like(central), where=width > 0))
    return np.stack(out, axis=1)


class Moments(Detector):
    """The largest distance of a moment from that of good LS, in their standard deviations.

    Args:
        order: Moments along each axis up to this one.
    """

    name = "moments"
    sees = (Sees("scaled", 0, 300, 1), Sees("dead", 8, 100, 2))

    def __init__(self, *, order: int = 4) -> None:
        if not 1 <= order <= 8:
            raise UsageError(f"detector {self.name}: order must be 1 to 8, got {order}")
        self.order = order

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        values = moments(x, self.order)
        self.mean_ = values.mean(axis=0)
        self.spread_ = np.maximum(values.std(axis=0), 1e-3 * np.maximum(np.abs(self.mean_), 1e-3))

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.asarray(np.abs((moments(x, self.order) - self.mean_) / self.spread_).max(axis=1))

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"mean": self.mean_, "spread": self.spread_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.mean_, self.spread_ = arrays["mean"], arrays["spread"]
