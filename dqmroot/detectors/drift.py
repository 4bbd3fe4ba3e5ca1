"""A reference that drifts: an exponentially weighted mean of the lumisections before, with its own uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.shapes import check_length, flat, largest, mean_shape, runs_of
from dqmroot.errors import UsageError

__all__ = ["DriftingReference"]


class DriftingReference(Binwise):
    """Pulls against a mean of the LS before that forgets slowly; each run starts from the mean of the good LS.

    An LS whose score is above ``reject`` does not enter the mean, so that a fault which stays is not taken for the new normal.
    The order of the LS is that of the sample: sort it by run and lumisection.

    Args:
        memory: LS after which the weight has fallen to 1/e.
        k: How many of the largest pulls count.
        reject: Multiple of the largest score among the training LS above which an LS is kept out of the mean.
    """

    name = "drifting_reference"
    input = "counts"
    sequential = True
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 1, 100, 2), Sees("hot", 1, 100, 2))

    def __init__(self, *, memory: float = 20.0, k: int = 1, reject: float = 1.5) -> None:
        if not memory > 0:
            raise UsageError(f"detector {self.name}: memory must be positive, got {memory}")
        if k < 1:
            raise UsageError(f"detector {self.name}: k must be at least 1, got {k}")
        self.memory = memory
        self.k = k
        self.reject = reject

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.shape_ = mean_shape(x)
        self.start_ = float(flat(x).sum(axis=1).mean()) * min(self.memory, len(x))
        self.limit_ = np.inf
        self.limit_ = self.reject * float(np.quantile(self._score(x, sample), 0.99))

    def _walk(self, x: NDArray[np.float32], sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return pulls and expectations, each ``(n_ls, bins)``, one LS after the other."""
        counts, run = flat(x), runs_of(sample)
        pulls, expectations = np.empty_like(counts), np.empty_like(counts)
        keep = np.exp(-1 / self.memory)
        known = self.shape_ * self.start_
        for i, (total, ls) in enumerate(zip(counts.sum(axis=1), counts, strict=True)):
            if i == 0 or run[i] != run[i - 1]:
                known = self.shape_ * self.start_
            share = total / known.sum()
            expected = known * share
            # The mean is itself counted: its error adds that of the LS scaled by how much larger the LS is.
            pulls[i] = (ls - expected) / np.sqrt(np.maximum(expected, 1) * (1 + share))
            expectations[i] = expected
            if largest(np.abs(pulls[i : i + 1]), self.k)[0] <= self.limit_:
                known = keep * known + ls
        return pulls, expectations

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.abs(self._walk(x, sample)[0]).reshape(x.shape)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return self._walk(x, sample)[1].astype(np.float32).reshape(x.shape)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"shape": self.shape_, "start": np.array(self.start_), "limit": np.array(self.limit_)}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.shape_ = check_length(arrays["shape"], int(np.prod(self.bins_ or ())), "shape")
        self.start_, self.limit_ = float(arrays["start"]), float(arrays["limit"])
