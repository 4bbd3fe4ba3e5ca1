"""Corrections around any detector: more statistics, the mean loss map divided out, and what lasts against what flickers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.shapes import check_length, flat
from dqmroot.distance import time_product
from dqmroot.errors import UsageError
from dqmroot.series import Axis, MonitorElement, windows

__all__ = ["SpatialCorrection", "SummedLumisections", "TimeProduct"]


class _Wrapper(Detector):
    """A detector around another one, which it makes from its name and parameters."""

    detector: str
    settings: Mapping[str, Any]

    def _make(self) -> Detector:
        # The registry imports this module by name only, when it is asked for.
        from dqmroot.detectors import detector

        made = detector(self.detector, **self.settings)
        self.input = made.input  # type: ignore[misc]
        self.ndims = made.ndims  # type: ignore[misc]
        return made

    def _need_map(self) -> None:
        if not self.inner_.localises:
            raise UsageError(f"detector {self.name}: {self.detector} cannot say which bin is bad")

    @abstractmethod
    def _check_more(self) -> None:
        """Check the parameters beside those of the inner detector."""

    def _wrap(self, detector: str, settings: Mapping[str, Any]) -> None:
        self.detector = detector
        self.settings = settings
        self._check_more()
        self.inner_ = self._make()

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {f"inner_{key}": value for key, value in self.inner_._state().items()}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.inner_.bins_ = self.bins_
        self.inner_._restore({key[6:]: value for key, value in arrays.items() if key.startswith("inner_")})


def _series(x: NDArray[np.float32], sample: Sample) -> MonitorElement:
    """Return values as a series that knows runs and LS; a bare array is one run of consecutive LS."""
    known = sample if isinstance(sample, MonitorElement) else None
    n = len(x)
    return MonitorElement(
        name="sample" if known is None else known.name,
        storage=f"TH{x.ndim - 1}F",
        axes=tuple(Axis(bins, 0, bins) for bins in reversed(x.shape[1:])),
        run=np.ones(n, np.uint32) if known is None else known.run,
        lumi=np.arange(1, n + 1, dtype=np.uint32) if known is None else known.lumi,
        entries=flat(x).sum(axis=1),
        contents=np.pad(x, [(0, 0), *[(1, 1)] * (x.ndim - 1)]),
        conditions={} if known is None else known.conditions,
    )


class SummedLumisections(_Wrapper):
    """The inner detector sees the sum of each LS and the n - 1 before it: √n times the significance, n LS later.

    Only consecutive LS of one run are added; an LS with fewer before it is not judged. The first LS of a run are left out of the
    training sample for the same reason.

    Args:
        detector: Name of the inner detector.
        settings: Its parameters.
        n: How many LS are added.
        gap: How many LS may be missing between two that are added.
    """

    name = "summed"
    sequential = True
    sees = (Sees("dead", 1, 50, 2),)

    def __init__(
        self, *, detector: str = "max_pull", settings: Mapping[str, Any] | None = None, n: int = 3, gap: int = 0
    ) -> None:
        self.n = n
        self.gap = gap
        self._wrap(detector, settings or {})

    def _check_more(self) -> None:
        if self.n < 1 or self.gap < 0:
            raise UsageError(f"detector {self.name}: n must be at least 1 and gap not negative")

    @property
    def warmup(self) -> int:
        """How many LS of the same run must come before one that is judged."""
        return self.n - 1

    @property
    def localises(self) -> bool:
        """Whether the inner detector says where."""
        return self.inner_.localises

    def _sums(self, x: NDArray[np.float32], sample: Sample) -> tuple[NDArray[np.float32], MonitorElement, NDArray[Any]]:
        """Return the sums, as series too, and which LS they belong to."""
        me = _series(x, sample)
        order, begin, length = windows(me, self.n, self.gap)
        place = np.flatnonzero(length == self.n)
        total = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x[order], axis=0, dtype=np.float64)])
        sums = total[place + 1] - total[begin[place]]
        if self.input != "counts":
            sums /= self.n
        rows = order[place]
        summed = np.asarray(np.maximum(sums, 0) if (x >= 0).all() else sums, np.float32)
        return summed, _series(summed, me[rows]), rows

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        sums, series, _ = self._sums(x, sample)
        if len(sums) == 0:
            raise UsageError(f"{self.name}: no {self.n} consecutive LS of a run in the training sample")
        self.inner_.fit(series, progress=progress)
        self.history_ = self.inner_.history_

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        out = np.full(len(x), np.nan)
        _, series, rows = self._sums(x, sample)
        out[rows] = self.inner_.score(series)
        return out

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._score_with_bins(x, sample)[1]

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        score, bins = np.full(len(x), np.nan), np.full(x.shape, np.nan)
        _, series, rows = self._sums(x, sample)
        score[rows], bins[rows] = self.inner_.score_with_bins(series)
        return score, bins


class SpatialCorrection(Binwise, _Wrapper):
    """Loss per bin relative to the mean loss of good LS there: bins that always reconstruct badly do not shout.

    Args:
        detector: Name of the inner detector, one that says where.
        settings: Its parameters.
        k: How many of the largest bins count.
    """

    name = "spatial"
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 3, 100, 2))

    def __init__(self, *, detector: str = "pca", settings: Mapping[str, Any] | None = None, k: int = 1) -> None:
        self.k = k
        self._wrap(detector, settings or {})

    def _check_more(self) -> None:
        if self.k < 1:
            raise UsageError(f"detector {self.name}: k must be at least 1, got {self.k}")

    @property
    def warmup(self) -> int:
        """That of the inner detector."""
        return self.inner_.warmup

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self._need_map()
        self.inner_.fit(sample, progress=progress)
        self.history_ = self.inner_.history_
        mean = flat(np.nan_to_num(self.inner_.score_bins(sample))).mean(axis=0)
        # Bins that are never off would divide by nothing: they get the loss that is typical of the map.
        self.mean_ = np.maximum(mean, max(0.1 * float(mean.mean()), np.finfo(np.float64).tiny))

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        loss = self.inner_.score_bins(sample)
        return np.asarray(flat(loss) / self.mean_).reshape(loss.shape)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {**super()._state(), "mean": self.mean_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(arrays)
        self.mean_ = check_length(arrays["mean"], int(np.prod(self.bins_ or ())), "mean")


class TimeProduct(Binwise, _Wrapper):
    """The geometric mean of the loss maps of the last n LS, bin by bin: what lasts stays, what flickers goes.

    Only consecutive LS of one run are multiplied; an LS with fewer before it is not judged.

    Args:
        detector: Name of the inner detector, one that says where.
        settings: Its parameters.
        n: How many LS.
        gap: How many LS may be missing between two of them.
        k: How many of the largest bins count.
    """

    name = "time_product"
    sequential = True
    sees = (Sees("dead", 3, 300, 1),)

    def __init__(
        self,
        *,
        detector: str = "max_pull",
        settings: Mapping[str, Any] | None = None,
        n: int = 3,
        gap: int = 0,
        k: int = 1,
    ) -> None:
        self.n = n
        self.gap = gap
        self.k = k
        self._wrap(detector, settings or {})

    def _check_more(self) -> None:
        if self.n < 1 or self.gap < 0 or self.k < 1:
            raise UsageError(f"detector {self.name}: n and k must be at least 1 and gap not negative")

    @property
    def warmup(self) -> int:
        """How many LS of the same run must come before one that is judged."""
        return self.n - 1 + self.inner_.warmup

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self._need_map()
        self.inner_.fit(sample, progress=progress)
        self.history_ = self.inner_.history_

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        loss = self.inner_.score_bins(sample)
        product = time_product(loss, _series(x, sample), self.n, gap=self.gap)
        return np.asarray(np.power(np.maximum(product, 0), 1 / self.n))
