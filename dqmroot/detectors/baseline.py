"""The plain baselines that every better detector has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.shapes import check_length, flat, shares

__all__ = ["ZScore", "ZeroFraction"]

_LEAST_SPREAD = 1e-3  # of a bin's mean: bins that never varied in a small sample are not infinitely sure


class ZeroFraction(Binwise):
    """Share of empty bins among those that good LS fill, which is what production systems cut on."""

    name = "zero_fraction"
    sees = (Sees("dead", 3, 100, 2), Sees("dead", 6, 300, 1))

    def __init__(self) -> None:
        pass

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.live_ = (flat(x) > 0).mean(axis=0) > 0.5
        if not self.live_.any():
            self.live_ = (flat(x) > 0).any(axis=0)

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.asarray((flat(x) == 0) & self.live_, np.float64).reshape(x.shape)

    def _made_of(self, bins: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(bins.sum(axis=1) / np.count_nonzero(self.live_))

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"live": self.live_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.live_ = check_length(np.asarray(arrays["live"], np.bool_), int(np.prod(self.bins_ or ())), "live")


class ZScore(Binwise):
    """The largest distance of a bin's share from its mean over good LS, in standard deviations of those LS.

    Args:
        k: How many of the largest count.
    """

    name = "z_score"
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 1, 100, 2), Sees("hot", 1, 100, 2))

    def __init__(self, *, k: int = 1) -> None:
        self.k = k

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        rows = shares(x)
        self.mean_ = rows.mean(axis=0)
        spread = rows.std(axis=0)
        # A bin that never varied gets the spread typical of the others.
        self.spread_ = np.maximum(spread, max(float(np.median(spread)), _LEAST_SPREAD * float(self.mean_.mean())))
        self.spread_ = np.where(spread > 0, np.maximum(spread, _LEAST_SPREAD * self.mean_), self.spread_)

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.asarray(np.abs(shares(x) - self.mean_) / self.spread_).reshape(x.shape)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"mean": self.mean_, "spread": self.spread_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n_bins = int(np.prod(self.bins_ or ()))
        self.mean_ = check_length(arrays["mean"], n_bins, "mean")
        self.spread_ = check_length(arrays["spread"], n_bins, "spread")
