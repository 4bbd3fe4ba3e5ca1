"""What should be expected next: the next histogram from the last ones of the run and from the conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.shapes import check_length, flat
from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.series import MonitorElement, windows

__all__ = ["Forecaster"]


class Forecaster(Binwise):
    """Forecasts each LS as mean + Σ aᵢ·(how the i-th LS before differed) + slopes · conditions, and scores how it came out.

    The weights aᵢ are shared by all bins and the slopes belong to each bin; both are fitted to good runs with least squares. Shares
    are forecast; the rate of the LS itself floats. The LS before must be of the same run and without gaps, else an LS is not
    judged.

    Args:
        history: How many LS before are used.
        conditions: Names of conditions of the series that the shape may follow, such as its pile-up.
        k: How many of the largest significances count.
        gap: How many LS may be missing between two of the history.
    """

    name = "forecaster"
    input = "counts"
    sequential = True
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 1, 100, 2), Sees("hot", 1, 100, 2))

    def __init__(self, *, history: int = 3, conditions: Sequence[str] = (), k: int = 1, gap: int = 0) -> None:
        if history < 1 or k < 1 or gap < 0:
            raise UsageError(f"detector {self.name}: history and k must be at least 1, gap not negative")
        self.history = history
        self.conditions = conditions
        self.k = k
        self.gap = gap

    @property
    def warmup(self) -> int:
        """How many LS of the same run must come before one that is judged."""
        return self.history

    def _past(self, rows: NDArray[np.float64], sample: Sample) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which LS have a history, and the rows it consists of, ``(n, history)``, the latest first."""
        if isinstance(sample, MonitorElement):
            order, _, length = windows(sample, self.history + 1, self.gap)
        else:
            order = np.arange(len(rows))
            length = np.minimum(order + 1, self.history + 1)
        place = np.flatnonzero(length == self.history + 1)
        past = order[place[:, None] - np.arange(1, self.history + 1)]
        return np.asarray(order[place], np.intp), np.asarray(past, np.intp)

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        counts = flat(x)
        self.occupancy_ = Occupancy.learn(x)
        mean = self.occupancy_.shape
        rest = counts / counts.sum(axis=1, keepdims=True) - mean
        told = self._told(sample)
        self.centre_, self.width_ = told.mean(axis=0), np.maximum(told.std(axis=0), 1e-9)
        told = (told - self.centre_) / self.width_
        self.slopes_ = np.linalg.lstsq(told, rest, rcond=None)[0] if told.shape[1] else np.zeros((0, len(mean)))
        rest = rest - told @ self.slopes_
        now, past = self._past(counts, sample)
        if len(now) == 0:
            raise UsageError(f"{self.name}: no training LS has {self.history} consecutive LS of its run before it")
        # Poisson: a bin scatters as the root of its share; weighted so, all bins say as much.
        weight = 1 / np.sqrt(np.maximum(mean, 1e-12))
        before = (rest[past] * weight).reshape(len(now), self.history, -1)
        gram = np.einsum("nib,njb->ij", before, before)
        target = np.einsum("nib,nb->i", before, rest[now] * weight)
        # A little ridge: with white noise alone the weights are 0, and none grows where two LS say the same.
        self.weights_ = np.linalg.solve(gram + 1e-3 * (np.trace(gram) + 1e-300) * np.eye(self.history), target)
        # Good LS scatter by what the forecast leaves over, not by what the mean shape does.
        self.occupancy_ = replace(self.occupancy_, scatter=1.0)
        left = np.nanmean(np.square(self._pulls(x, sample)), axis=0)[counts.mean(axis=0) >= 1]
        if len(left):
            self.occupancy_ = replace(self.occupancy_, scatter=max(1.0, float(left.mean())))

    def _told(self, sample: Sample) -> NDArray[np.float64]:
        if not self.conditions:
            return np.zeros((len(sample), 0))
        known = sample.conditions if isinstance(sample, MonitorElement) else {}
        for name in self.conditions:
            if name not in known:
                raise UnknownNameError("condition", name, known, f"detector {self.name}")
        return np.stack([np.asarray(known[name], np.float64) for name in self.conditions], axis=1)

    def _forecast(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        """Return expected counts, ``(n_ls, bins)``; NaN for LS without history."""
        counts = flat(x)
        base = self.occupancy_.shape + (self._told(sample) - self.centre_) / self.width_ @ self.slopes_
        rest = counts / counts.sum(axis=1, keepdims=True) - base
        now, past = self._past(counts, sample)
        # An LS that is itself far off does not pull its successors along.
        noise = 5 * np.sqrt((base + 1e-12) / counts.sum(axis=1, keepdims=True))
        rest = np.clip(rest, -noise, noise)
        share = base[now] + np.einsum("i,nib->nb", self.weights_, rest[past])
        out = np.full(counts.shape, np.nan)
        out[now] = np.maximum(share, 0) * self.occupancy_.rate(counts[now])
        return out

    def _pulls(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        expected = self._forecast(x, sample)
        rate = np.nansum(expected, axis=1, keepdims=True)
        variance = self.occupancy_.variance(expected, rate) + np.square(self.weights_).sum() * expected
        return np.asarray(np.abs(flat(x) - expected) / np.sqrt(np.maximum(variance, 1)))

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._pulls(x, sample).reshape(x.shape)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return np.asarray(self._forecast(x, sample).reshape(x.shape), np.float32)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        more = {"weights": self.weights_, "slopes": self.slopes_, "centre": self.centre_, "width": self.width_}
        return {**self.occupancy_.to_arrays(), **more}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n_bins = int(np.prod(self.bins_ or ()))
        self.occupancy_ = Occupancy.from_arrays(arrays, n_bins)
        self.weights_ = check_length(arrays["weights"], self.history, "weights")
        self.slopes_ = check_length(arrays["slopes"], n_bins, "slopes")
        self.centre_, self.width_ = arrays["centre"], arrays["width"]
