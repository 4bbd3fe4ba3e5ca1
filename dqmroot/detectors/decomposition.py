"""Decompositions of good lumisections into a few components; the score is what they leave unexplained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.shapes import cached_blocks, check_length, flat, largest
from dqmroot.errors import UsageError
from dqmroot.scientific import load_scipy

__all__ = ["NMF", "PCA"]

_TINY = 1e-12


class _Decomposition(Detector):
    """What PCA and NMF share: the residual, its largest bins, and the components on disk."""

    k: int
    components: int

    def _check_parameters(self) -> None:
        for key in ("components", "k"):
            if getattr(self, key) < 1:
                raise UsageError(f"detector {self.name}: {key} must be at least 1, got {getattr(self, key)}")

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        score = np.empty(len(x))
        for rows, loss in self._losses(x):
            score[rows] = largest(loss, self.k)
        return score

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        bins = np.empty(x.shape)
        for rows, loss in self._losses(x):
            flat(bins)[rows] = loss
        return bins

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        score, bins = np.empty(len(x)), np.empty(x.shape)
        for rows, loss in self._losses(x):
            score[rows], flat(bins)[rows] = largest(loss, self.k), loss
        return score, bins

    def _losses(self, x: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Give the squared residuals, some rows at a time, so that what is made in between stays in the cache."""
        weights, values = self._weights(x.reshape(len(x), -1)), x.reshape(len(x), -1)
        for rows in cached_blocks(values):
            loss = np.subtract(values[rows], self._expected(weights[rows]), dtype=np.float64)
            yield rows, np.square(loss, out=loss)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return self._expected(self._weights(x.reshape(len(x), -1))).reshape(x.shape)

    def _encode(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return np.asarray(self._weights(x.reshape(len(x), -1)), np.float32)

    def _weights(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how much of each component there is in each row, ``(n_ls, components)``."""
        raise NotImplementedError

    def _expected(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the rows that the components make with these weights."""
        raise NotImplementedError

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n_bins = int(np.prod(self.bins_ or ()))
        self.components_ = check_length(np.asarray(arrays["components"], np.float64), n_bins, "components")
        self.mean_ = check_length(np.asarray(arrays["mean"], np.float64), n_bins, "mean")

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"components": self.components_, "mean": self.mean_}


class PCA(_Decomposition):
    """Principal components; the score is the mean of the k largest squared residuals.

    Args:
        components: How many; at most as many as there are LS and bins.
        k: How many of the largest squared residuals count.
        seed: Of scikit-learn's randomised solver.
    """

    name = "pca"
    values_only = True
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 3, 100, 2), Sees("hot", 3, 100, 2))

    def __init__(self, *, components: int = 5, k: int = 10, seed: int = 0) -> None:
        self.components = components
        self.k = k
        self.seed = seed
        self._check_parameters()

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        rows = flat(x)
        self.mean_ = rows.mean(axis=0)
        n = min(self.components, len(rows) - 1, rows.shape[1])
        if n < 1 or not np.ptp(rows, axis=0).any():
            self.components_ = np.zeros((0, rows.shape[1]))  # one LS, or all the same: the mean is all there is
            return
        load_scipy()
        from sklearn.decomposition import PCA as sk_PCA  # noqa: N811

        self.components_ = np.asarray(sk_PCA(n, random_state=self.seed).fit(rows).components_, np.float64)

    def _weights(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        weights = np.empty((len(values), len(self.components_)))
        for rows in cached_blocks(values):
            weights[rows] = (values[rows] - self.mean_) @ self.components_.T
        return weights

    def _expected(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(self.mean_ + weights @ self.components_, np.float32)


class NMF(_Decomposition):
    """Non-negative matrix factorisation; the score is the mean of the k largest squared residuals.

    Args:
        components: How many.
        k: How many of the largest squared residuals count.
        iterations: Of scikit-learn's solver while learning, and of the multiplicative updates that find the weights of a new LS
            (Lee and Seung, Nature 401 (1999) 788); their number is fixed, so that an LS scores the same in any company.
        seed: Of the first components.
    """

    name = "nmf"
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 3, 100, 2), Sees("hot", 3, 100, 2))

    def __init__(self, *, components: int = 5, k: int = 10, iterations: int = 200, seed: int = 0) -> None:
        self.components = components
        self.k = k
        self.iterations = iterations
        self.seed = seed
        self._check_parameters()

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        rows = flat(x)
        if (rows < 0).any():
            raise UsageError(f"{self.name}: negative contents in the training LS")
        load_scipy()
        from sklearn.decomposition import non_negative_factorization

        n = min(self.components, *rows.shape)
        scale = rows.mean()
        # tol=0: a fixed number of steps, so that scikit-learn neither stops early nor warns of it.
        found = non_negative_factorization(
            rows / scale,
            n_components=n,
            init="nndsvda" if n > 1 else "random",
            solver="mu",
            tol=0,
            max_iter=self.iterations,
            random_state=self.seed,
        )
        self.components_ = np.asarray(found[1], np.float64) + _TINY
        self.mean_ = rows.mean(axis=0)

    def _weights(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = np.maximum(flat(values), 0)
        gram = self.components_ @ self.components_.T
        projected = rows @ self.components_.T
        weights = np.full(projected.shape, 1.0) * (rows.sum(axis=1, keepdims=True) / self.components_.sum())
        for _ in range(self.iterations):
            weights *= projected / np.maximum(weights @ gram, _TINY)
        return np.asarray(weights)

    def _expected(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(weights @ self.components_, np.float32)
