"""Tests against a reference: the mean shape of the good lumisections, scaled to the counts of each lumisection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.shapes import flat, mean_shape, scaled
from dqmroot.errors import UsageError
from dqmroot.scientific import load_scipy

__all__ = ["BetaBinomial", "Chi2", "Kolmogorov", "MaxPull"]


class _Reference(Detector):
    """A detector that knows the mean shape and how many counts it was made of."""

    input = "counts"

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.shape_ = mean_shape(x)
        self.total_ = float(x.sum(dtype=np.float64))

    def _expected(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return scaled(flat(x), self.shape_)

    def _variance(self, expected: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Poisson, plus that of the reference; a bin where less than one count is expected counts as one count."""
        return np.maximum(expected, 1.0) * (1 + total[:, None] / self.total_)

    def _pull(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        counts, expected = flat(x), self._expected(x)
        return (counts - expected) / np.sqrt(self._variance(expected, counts.sum(axis=1)))

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return self._expected(x).astype(np.float32).reshape(x.shape)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"shape": self.shape_, "total": np.array(self.total_)}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.shape_ = np.asarray(arrays["shape"], np.float64)
        if self.shape_.shape != (int(np.prod(self.bins_ or ())),):
            raise ValueError("the reference has another number of bins than the detector")
        self.total_ = float(arrays["total"])


class Chi2(Binwise, _Reference):
    """Pearson's χ² to the mean shape, per bin that good LS fill."""

    name = "chi2"
    sees = (Sees("dead", 3, 300, 1), Sees("scaled", 0, 300, 1), Sees("dead", 3, 100, 2), Sees("hot", 3, 100, 2))

    def __init__(self) -> None:
        pass

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.square(self._pull(x)).reshape(x.shape)

    def _made_of(self, bins: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(bins.sum(axis=1) / max(1, np.count_nonzero(self.shape_)))


class MaxPull(Binwise, _Reference):
    """The mean of the k largest pulls abs(x - E)/√V, with V = E + E²/(counts of the reference).

    Args:
        k: How many; 1 is the largest pull.
    """

    name = "max_pull"
    sees = (Sees("dead", 3, 300, 1), Sees("hot", 1, 100, 2), Sees("dead", 1, 100, 2))

    def __init__(self, *, k: int = 1) -> None:
        if k < 1:
            raise UsageError(f"detector {self.name}: k must be at least 1, got {k}")
        self.k = k

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.abs(self._pull(x)).reshape(x.shape)


class BetaBinomial(Binwise, _Reference):
    """The relative probability of each bin under a beta-binomial law with a tolerance, as a pull √(-2 ln P).

    Data k of n and reference R of nR give P = BB(k; n, R'+1, nR'-R'+1) / max BB, with R' = sR, nR' = s·nR and
    s = (1 + R²·tolerance⁴)^(-1/2), so that a reference of any size knows a bin no better than ``tolerance``
    (AutoDQM, arXiv:2501.13789, eq. 1-3).

    Args:
        tolerance: Relative deviation of a bin that is not an error.
        k: How many of the largest pulls count.
    """

    name = "beta_binomial"
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 1, 100, 2))

    def __init__(self, *, tolerance: float = 0.01, k: int = 1) -> None:
        if k < 1:
            raise UsageError(f"detector {self.name}: k must be at least 1, got {k}")
        if not 0 <= tolerance < 1:
            raise UsageError(f"detector {self.name}: tolerance must be in [0, 1), got {tolerance}")
        self.tolerance = tolerance
        self.k = k

    def _pull(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        counts = np.rint(flat(x))
        n = counts.sum(axis=1, keepdims=True)
        reference = self.shape_ * self.total_
        weight = 1 / np.sqrt(1 + np.square(reference * self.tolerance**2))
        alpha = reference * weight + 1
        beta = (self.total_ - reference) * weight + 1
        mode = np.clip(np.rint(n * self.shape_), 0, n)
        log_ratio = _log_beta_binomial(counts, n, alpha, beta) - _log_beta_binomial(mode, n, alpha, beta)
        return np.asarray(np.sqrt(np.maximum(-2 * log_ratio, 0)) * np.sign(counts - n * self.shape_))

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.abs(self._pull(x)).reshape(x.shape)


class Kolmogorov(_Reference):
    """The largest distance between the cumulative distributions of a spectrum and of the mean shape.

    Args:
        significance: Multiply by √counts, which makes it the test of Kolmogorov and Smirnov; the plain distance does not grow
            with the statistics, so that a small drift stays small.
    """

    name = "kolmogorov"
    ndims = (1,)
    sees = (Sees("scaled", 0, 300, 1), Sees("dead", 6, 300, 1))

    def __init__(self, *, significance: bool = False) -> None:
        self.significance = significance

    def _distance(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        counts = flat(x)
        total = counts.sum(axis=1, keepdims=True)
        distance = np.abs(np.cumsum(counts / total - self.shape_, axis=1))
        return np.asarray(distance * np.sqrt(total) if self.significance else distance)

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.asarray(self._distance(x).max(axis=1))


def _log_beta_binomial(
    k: NDArray[np.float64], n: NDArray[np.float64], alpha: NDArray[np.float64], beta: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ln BB(k; n, α, β) without the terms that do not depend on k."""
    load_scipy()
    from scipy.special import gammaln

    return np.asarray(
        gammaln(k + alpha) + gammaln(n - k + beta) - gammaln(k + 1) - gammaln(n - k + 1), dtype=np.float64
    )
