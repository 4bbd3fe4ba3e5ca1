"""Templates of good lumisections; the nearest one is the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.shapes import check_length, flat, largest, shares
from dqmroot.errors import UsageError
from dqmroot.scientific import load_scipy

__all__ = ["NearestTemplate"]


class NearestTemplate(Binwise):
    """Mean of the k largest squared differences to the nearest of a few typical shapes.

    Good lumisections of different conditions (fills, triggers, gaps in the detector) have different shapes, and a mean over all
    is far from each. The templates are the centres of k-means, so that the noise of single lumisections is not in them.

    Args:
        templates: At most so many.
        k: How many of the largest squared differences count; 0 for all, the mean squared error.
        seed: Of the first centres.
    """

    name = "nearest_template"
    values_only = True
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 3, 100, 2), Sees("hot", 3, 100, 2))

    def __init__(self, *, templates: int = 10, k: int = 10, seed: int = 0) -> None:
        for key, value, least in (("templates", templates, 1), ("k", k, 0)):
            if value < least:
                raise UsageError(f"detector {self.name}: {key} must be at least {least}, got {value}")
        self.templates = templates
        self.k = k
        self.seed = seed

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        load_scipy()
        from sklearn.cluster import KMeans

        rows = shares(x)
        n = min(self.templates, len(np.unique(rows, axis=0)))
        self.templates_ = np.asarray(KMeans(n, n_init=3, random_state=self.seed).fit(rows).cluster_centers_, np.float64)

    def _nearest(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the nearest template of each LS, ``(n_ls, all bins)``."""
        # |x - t|² without |x|², which is the same for all templates.
        distance = np.square(self.templates_).sum(axis=1) - 2 * (rows @ self.templates_.T)
        return np.asarray(self.templates_[distance.argmin(axis=1)])

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        rows = shares(x)
        return np.asarray(np.square(rows - self._nearest(rows))).reshape(x.shape)

    def _made_of(self, bins: NDArray[np.float64]) -> NDArray[np.float64]:
        return largest(bins, self.k or bins.shape[1])

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        rows = flat(x)
        expected = self._nearest(shares(x)) * rows.sum(axis=1, keepdims=True)
        return np.asarray(expected, np.float32).reshape(x.shape)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"templates": self.templates_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.templates_ = check_length(np.atleast_2d(arrays["templates"]), int(np.prod(self.bins_ or ())), "templates")
