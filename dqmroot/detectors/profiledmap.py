"""A reference for maps whose benign freedoms float: the rate, and slow changes that good lumisections were seen to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.shapes import blocks, check_length, flat, largest
from dqmroot.errors import UsageError

__all__ = ["ProfiledMap"]

_BLOCK = 512


class ProfiledMap(Detector):
    """The largest significance of any window of cells, after rate and learnt drifts have been fitted to the LS.

    Each cell gets a signed significance that is right at low counts and knows the binomial law; windows add them up, so that a
    region a little low is seen too. Drifts are the principal components of the significances of good LS (pile-up, timing, gain):
    their amplitudes float, and only what is left counts.

    Args:
        windows: Widths in cells of the square windows; each has the same say.
        drifts: Number of drifts that float.
        tolerance: Relative deviation of a cell that is not an error.
        k: How many of the largest significances count.
    """

    name = "profiled_map"
    input = "counts"
    ndims = (2,)
    sees = (Sees("dead", 1, 50, 2), Sees("hot", 1, 50, 2), Sees("dead", 3, 10, 2), Sees("hot", 3, 10, 2))

    def __init__(
        self, *, windows: Sequence[int] = (1, 3, 5), drifts: int = 0, tolerance: float = 0.005, k: int = 1
    ) -> None:
        if not windows or min(windows) < 1:
            raise UsageError(f"detector {self.name}: windows must be at least 1 cell wide, got {windows}")
        if drifts < 0 or k < 1 or tolerance < 0:
            raise UsageError(f"detector {self.name}: drifts and tolerance must not be negative, k must be at least 1")
        self.windows = windows
        self.drifts = drifts
        self.tolerance = tolerance
        self.k = k

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.occupancy_ = Occupancy.learn(x)
        self.drifts_ = np.zeros((0, self.occupancy_.shape.size))
        n = min(self.drifts, len(x) - 1)
        if n > 0:
            pulls = self.occupancy_.pulls(flat(x), self.tolerance)[0]
            self.drifts_ = np.linalg.svd(np.clip(pulls, -5, 5), full_matrices=False)[2][:n]

    def _pulls(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        pulls = self.occupancy_.pulls(flat(x), self.tolerance)[0]
        if len(self.drifts_):
            # Large pulls are faults: clipped, they cannot drag the amplitude of a drift along.
            pulls = pulls - np.clip(pulls, -5, 5) @ self.drifts_.T @ self.drifts_
        return pulls.reshape(x.shape)

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._score_with_bins(x, sample)[0]

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.abs(self._pulls(x))

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        live = (self.occupancy_.shape > 0).reshape(x.shape[1:]).astype(np.float64)
        score, bins = np.empty(len(x)), np.empty(x.shape)
        for part in blocks(len(x), _BLOCK):
            pulls = self._pulls(x[part])
            best = np.zeros(len(pulls))
            for width in self.windows:
                number = np.maximum(_windowed(live[None], width), 1)
                best = np.maximum(best, largest(flat(np.abs(_windowed(pulls, width)) / np.sqrt(number)), self.k))
            score[part], bins[part] = best, np.abs(pulls)
        return score, bins

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return np.asarray(self.occupancy_.pulls(flat(x))[1].reshape(x.shape), np.float32)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {**self.occupancy_.to_arrays(), "drifts": self.drifts_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n_cells = int(np.prod(self.bins_ or ()))
        self.occupancy_ = Occupancy.from_arrays(arrays, n_cells)
        self.drifts_ = check_length(np.asarray(arrays["drifts"], np.float64), n_cells, "drifts")


def _windowed(maps: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sum over the window of ``width`` × ``width`` cells around each cell, moved inside at the edges; ``(n_ls, y, x)``."""
    if width == 1:
        return maps
    out = maps
    for axis in (1, 2):
        n = out.shape[axis]
        w = min(width, n)
        sums = np.concatenate([np.zeros_like(np.take(out, [0], axis)), np.cumsum(out, axis=axis)], axis=axis)
        start = np.clip(np.arange(n) - w // 2, 0, n - w)
        out = np.take(sums, start + w, axis) - np.take(sums, start, axis)
    return out
